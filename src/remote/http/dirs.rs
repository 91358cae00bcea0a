//! Listings: one GET of a directory's URL, and HEADs of its entries where the mount promised facts and it has none.
//!
//! Invariants: a listing is of the directory that was asked for, and of no other that a redirect led to; it takes a
//! bounded number of bytes; an entry that cannot be a name is left out.

use std::collections::HashSet;
use std::sync::Arc;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, Url};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{self, Judgement, Wanted};
use super::client::{Question, Reply, drain};
use super::listing::{self, Item, Listing, Style};
use super::patience::Patience;
use super::trouble::sentence;
use super::{facts, names, web::Web};
use crate::remote::api::{Entries, Entry, Growth, Held, Listed, RemoteError};
use crate::units::{FileKind, ObjectName, Timestamp};

/// The longest listing, in bytes.
const BODY_MAX: usize = 256 << 20;
/// So many times its length a listing may take in memory while its names are taken out of it: JSON, and pages.
const COSTS: [u64; 2] = [5, 9];
/// Room is taken for so many bytes of a listing at a time.
const STEP: u64 = 64 << 10;
/// How many entries are asked for their facts at a time.
const HEADS_AT_ONCE: usize = 16;
/// So many names that cannot be shown are logged of one listing.
const LOGGED: usize = 5;

/// The page that a directory's URL gives.
pub(super) struct Page {
    pub(super) body: Vec<u8>,
    /// What it lists, if it is a listing.
    pub(super) listing: Option<Listing>,
    /// The room for it.
    held: Held,
    growth: Growth,
}

/// A body that was read, or why it was not.
enum Read {
    Whole(Vec<u8>),
    Broke(String),
}

/// The entries of a directory.
pub(super) async fn list(web: &Arc<Web>, name: &ObjectName) -> Result<Entries, RemoteError> {
    if let Some((only, _)) = &web.site.only {
        return list_only(web, name, only).await.map(Entries::from);
    }
    let url = names::with_slash(&web.url_of(name)?);
    let page = match page(&url, web.site.query, &mut web.patience()).await {
        Err(RemoteError::NotFound) if name.is_root() => {
            let why = "the server answered 404 Not Found".into();
            return Err(RemoteError::Unlistable(why));
        }
        other => other?,
    };
    let Page {
        body,
        listing,
        held,
        mut growth,
    } = page;
    drop(body);
    let Some(listing) = listing else {
        let why = "the server's answer is not a directory listing".into();
        return Err(RemoteError::Unlistable(why));
    };
    log_unshowable(name, &listing);
    let entries = entries(web, listing);
    let entries = match web.site.style {
        Style::Exact => with_facts(web, name, entries).await?,
        Style::Names => entries,
    };
    Ok(Entries::new(entries, held, &mut growth))
}

/// The listing of a mount of one file.
async fn list_only(web: &Web, name: &ObjectName, only: &[u8]) -> Result<Vec<Entry>, RemoteError> {
    match name.as_bytes() {
        b"" => match facts::stat(web, &ObjectName::new(only)).await {
            Ok(facts) => Ok(vec![Entry {
                name: only.into(),
                listed: Listed::Facts(facts),
            }]),
            Err(RemoteError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        name if name == only => Err(RemoteError::WrongKind),
        _ => Err(RemoteError::NotFound),
    }
}

/// Asks for the page of the directory at `url`, which ends in a slash.
pub(super) async fn page(
    url: &Url,
    query: Option<&str>,
    patience: &mut Patience<'_>,
) -> Result<Page, RemoteError> {
    let mut asked = url.clone();
    asked.set_query(query);
    let mut headers = HeaderMap::new();
    // Caddy answers a client that names JSON with a listing of its own form; nginx and dufs do not look at this.
    let accept = HeaderValue::from_static("text/html, */*;q=0.8");
    headers.insert(ACCEPT, accept);
    let mut growth = Growth::new(patience.listings());
    let mut held = growth.nothing();
    loop {
        let question = Question::get(&asked, headers.clone());
        let response = match patience.ask(&question).await? {
            Reply::Answer(at, response) if at.path() == url.path() => *response,
            _ => {
                let why = "the server redirects to another path".into();
                return Err(RemoteError::Unlistable(why));
            }
        };
        // A listing is made for each request, and has no length before it ends.
        let status = response.status();
        if !status.is_success() {
            let judgement = answer::judge(Wanted::Whole, status, response.headers());
            drain(response).await;
            return Err(error_of(judgement));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_owned();
        let [json, page] = COSTS;
        let cost = if kind.contains("json") { json } else { page };
        match body(response, patience, (&mut growth, &mut held), cost).await? {
            Read::Whole(body) => {
                let listing = listing::parse(url, &kind, &body);
                return Ok(Page {
                    body,
                    listing,
                    held,
                    growth,
                });
            }
            Read::Broke(why) => patience.pause(why).await?,
        }
    }
}

/// The whole body, or why there is none. Each of its bytes takes `cost` bytes of room; the server waits while there is none.
async fn body(
    mut response: Response,
    patience: &mut Patience<'_>,
    (growth, held): (&mut Growth, &mut Held),
    cost: u64,
) -> Result<Read, RemoteError> {
    let mut body = Vec::new();
    loop {
        let bytes = match tokio::time::timeout(patience.limit(), response.chunk()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return Ok(Read::Whole(body)),
            Ok(Err(error)) => return Ok(Read::Broke(sentence(error))),
            Err(_) => return Ok(Read::Broke("the answer stalled".into())),
        };
        let room = ((body.len() + bytes.len()) as u64).next_multiple_of(STEP) * cost;
        let had_turn = growth.has_turn();
        growth.grow(held, room).await?;
        if growth.has_turn() && !had_turn {
            // The wait for the turn was not the server's.
            patience.progress();
        }
        body.extend_from_slice(&bytes);
        if body.len() > BODY_MAX {
            let why = format!("the listing is larger than {} MiB", BODY_MAX >> 20);
            return Err(RemoteError::Unlistable(why));
        }
    }
}

fn error_of(judgement: Judgement) -> RemoteError {
    match judgement {
        Judgement::Refused { .. } => {
            RemoteError::Unlistable("the server refuses a request without conditions".into())
        }
        judgement => facts::error_of(judgement),
    }
}

fn log_unshowable(name: &ObjectName, listing: &Listing) {
    let unshowable = &listing.unshowable;
    for shown in unshowable.iter().take(LOGGED) {
        let shown = shown_or_nameless(shown);
        tracing::warn!(
            "an entry of the remote's directory \"{name}\" cannot be shown, because its name is not a valid file name: {shown}"
        );
    }
    if unshowable.len() > LOGGED {
        let more = unshowable.len() - LOGGED;
        tracing::warn!("{more} more entries of \"{name}\" cannot be shown");
    }
}

fn shown_or_nameless(shown: &str) -> &str {
    match shown {
        "" => "(empty name)",
        shown => shown,
    }
}

fn entries(web: &Web, listing: Listing) -> Vec<Entry> {
    let style = listing.style;
    // Each name comes once: the parsers see to it.
    let items = listing.entries.into_iter();
    items
        .filter(|item| names::is_name(&item.name))
        .map(|item| Entry {
            listed: listed(web, style, &item),
            name: item.name,
        })
        .collect()
}

fn listed(web: &Web, style: Style, item: &Item) -> Listed {
    let time = |secs| Timestamp { secs, nanos: 0 };
    match (item.kind, style, item.size, item.mtime) {
        (FileKind::Dir, ..) => Listed::Facts(web.dir(item.mtime.map_or(Timestamp::UNKNOWN, time))),
        (FileKind::File, Style::Exact, Some(size), Some(secs)) => {
            Listed::Facts(web.listed_file(size, time(secs)))
        }
        (kind, ..) => Listed::Kind(kind),
    }
}

/// Asks for the facts of every entry that the listing tells the kind of alone, because the mount promised facts. Those
/// that are gone by now are left out.
async fn with_facts(
    web: &Arc<Web>,
    dir: &ObjectName,
    mut entries: Vec<Entry>,
) -> Result<Vec<Entry>, RemoteError> {
    let permits = Arc::new(Semaphore::new(HEADS_AT_ONCE));
    let mut questions = JoinSet::new();
    for (place, entry) in entries.iter().enumerate() {
        if entry.listed.facts().is_some() {
            continue;
        }
        let (web, permits) = (Arc::clone(web), Arc::clone(&permits));
        let name = dir.child(&entry.name);
        questions.spawn(async move {
            let _permit = permits.acquire().await;
            (place, facts::stat(&web, &name).await)
        });
    }
    let mut gone = HashSet::new();
    while let Some(answer) = questions.join_next().await {
        let (place, answer) = answer
            .map_err(|error| RemoteError::Unreachable(format!("a request was aborted: {error}")))?;
        match answer {
            Ok(facts) => entries[place].listed = Listed::Facts(facts),
            Err(RemoteError::NotFound) => {
                gone.insert(place);
            }
            Err(error) => return Err(error),
        }
    }
    let mut place = 0..;
    entries.retain(|_| place.next().is_none_or(|place| !gone.contains(&place)));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_name_is_called_so() {
        assert_eq!(shown_or_nameless(""), "(empty name)");
        assert_eq!(shown_or_nameless("../etc"), "../etc");
    }
}
