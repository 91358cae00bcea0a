//! The first look at a server, before it is mounted: directory or file, and what its listings say.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::Url;

use super::client::{Question, Reply};
use super::listing::{self, Style};
use super::patience::Patience;
use super::web::{Site, Web};
use super::{dirs, facts, names};
use crate::remote::api::RemoteError;
use crate::units::FileKind;

/// A user who mounts waits at most this long for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is at `url`, and sentences for the user who mounts it.
pub(super) async fn look(web: &Web, url: &Url) -> Result<(Site, Vec<String>), RemoteError> {
    let mut patience = web.patience_of(PATIENCE);
    if !url.path().ends_with('/') {
        let (parent, name) = names::split(url).ok_or_else(|| {
            let shown = names::shown(url);
            RemoteError::Untrusted(format!("the last part of {shown} is not a valid file name"))
        })?;
        match facts::of_url(web, url, &mut patience).await {
            Ok(facts) if facts.kind == FileKind::File => {
                // A page without a version may be a directory's, as dufs serves it.
                let url_of_dir = names::with_slash(url);
                let is_dir =
                    facts.validator.is_none() && is_directory(&url_of_dir, &mut patience).await;
                if !is_dir {
                    let site = Site {
                        only: Some((name, url.clone())),
                        style: Style::Exact,
                        ..Site::tree(parent)
                    };
                    return Ok((site, Vec::new()));
                }
            }
            Ok(_) | Err(RemoteError::NotFound | RemoteError::Forbidden) => {}
            Err(error) => return Err(error),
        }
    }
    directory(web, names::with_slash(url), &mut patience).await
}

/// Whether the page at `url` is a listing, or one of a server that has listings on other terms.
async fn is_directory(url: &Url, patience: &mut Patience<'_>) -> bool {
    match dirs::page(url, None, patience).await {
        Ok(page) => page.listing.is_some() || listing::json_query(&page.body).is_some(),
        Err(_) => false,
    }
}

/// A look at the listing of a directory.
async fn directory(
    web: &Web,
    base: Url,
    patience: &mut Patience<'_>,
) -> Result<(Site, Vec<String>), RemoteError> {
    let mut site = Site::tree(base.clone());
    let shown = names::shown(&base);
    let unlisted = |what: &str| {
        vec![format!(
            "{shown} has no directory listing ({what}): 'ls' shows nothing there, but files can be opened by name"
        )]
    };
    let page = match dirs::page(&base, None, patience).await {
        Ok(page) => page,
        Err(RemoteError::NotFound) => return Ok((site, unlisted("404"))),
        // A page that is no listing is one thing; an answer that cannot be (a circle of redirects) is an error below.
        Err(RemoteError::Unlistable(why)) => return Ok((site, unlisted(&why))),
        Err(RemoteError::Forbidden) if is_plain_403(web, &base, patience).await? => {
            return Ok((site, unlisted("403")));
        }
        Err(error) => return Err(error),
    };
    let mut found = page.listing;
    let is_exact = found
        .as_ref()
        .is_some_and(|found| found.style == Style::Exact);
    if !is_exact && let Some(query) = listing::json_query(&page.body) {
        // Such a server sends a page for a directory without its slash, too.
        site.pages_without_slash = true;
        if let Ok(page) = dirs::page(&base, Some(query), patience).await
            && page.listing.is_some()
        {
            site.query = Some(query);
            found = page.listing;
        }
    }
    let Some(found) = found else {
        return Ok((site, unlisted("its page is not a listing")));
    };
    site.style = found.style;
    // One directory without its slash tells whether this server redirects, so that a 404 is not asked twice later.
    let first_dir = found.entries.iter().find(|item| item.kind == FileKind::Dir);
    let first_dir = first_dir.and_then(|item| names::url_of(&base, &item.name));
    if let (Some(url), false) = (first_dir, site.pages_without_slash) {
        let redirects = matches!(patience.ask(&Question::head(&url)).await, Ok(Reply::Slash));
        let learned = &web.shared.redirects_to_slash;
        learned.fetch_or(redirects, Ordering::Relaxed);
    }
    Ok((site, Vec::new()))
}

/// Whether a refused listing is no matter of credentials: 403, and none were given.
async fn is_plain_403(
    web: &Web,
    base: &Url,
    patience: &mut Patience<'_>,
) -> Result<bool, RemoteError> {
    if web.shared.has_secrets {
        return Ok(false);
    }
    match patience.ask(&Question::head(base)).await? {
        Reply::Answer(_, response) => Ok(response.status() == StatusCode::FORBIDDEN),
        Reply::Slash => Ok(false),
    }
}
