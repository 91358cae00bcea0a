//! One question to the server: connections, redirects, and who may see the secrets.
//!
//! Invariants:
//!
//! * What was given for the server (headers, credentials) goes to its origin (scheme, host, port) and nowhere else; a
//!   question that a redirect led to another one goes on without it, wherever further redirects lead: another server must
//!   not choose what is asked in the user's name.
//! * A redirect from https to http is not followed, nor one to what is too near ([`super::reach`]), nor more than [`HOPS`].
//! * No sentence made here has a URL in it: a redirect's may be a secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::tls::Certificate;
use reqwest::{Method, Response, StatusCode, Url};

use super::clients::{Clients, Resolver};
use super::names;
use super::reach::Reach;
use super::settings::{HttpSettings, SettingsError};
use super::trouble::{self, Trouble, sentence};
use crate::remote::api::{RemoteError, Room};

/// How many redirects in a row are followed.
const HOPS: usize = 10;
/// A body that is of no use is read to its end up to this many bytes, so that its connection can be used again.
const DRAINED: u64 = 16 << 10;

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
}

impl<'a> Question<'a> {
    pub(super) fn get(url: &'a Url, headers: HeaderMap) -> Self {
        Self {
            method: Method::GET,
            url,
            headers,
        }
    }

    pub(super) fn head(url: &'a Url) -> Self {
        Self {
            method: Method::HEAD,
            url,
            headers: HeaderMap::new(),
        }
    }
}

/// What comes back.
pub(super) enum Reply {
    /// The answer, and the URL that gave it.
    Answer(Url, Box<Response>),
    /// A redirect that only adds a slash: the URL is a directory's.
    Slash,
}

/// Why nothing came back.
pub(super) enum Failure {
    /// The same question may fare better later; the sentence says what happened.
    Passing(String),
    /// It will not.
    Lasting(RemoteError),
}

/// Where a question has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It is at the server that is mounted, and was nowhere else.
    Home,
    /// A redirect led it to another one, or back from there; the last came from so near.
    Away(Reach),
}

impl Way {
    /// After a redirect to the server that is mounted (`is_own`), or to another; from so near.
    fn then(self, is_own: bool, from: Reach) -> Self {
        match self {
            Self::Home if is_own => Self::Home,
            _ => Self::Away(from),
        }
    }
}

/// Connections to the server.
pub(super) struct Connections {
    clients: Clients,
    base: Url,
    own: HeaderMap,
    listings: Arc<Room>,
    /// The mounted server has answered: whatever it says later, it is a web server.
    has_answered: AtomicBool,
}

impl Connections {
    pub(super) fn new(
        base: &Url,
        settings: &HttpSettings,
        resolver: Resolver,
    ) -> Result<Self, SettingsError> {
        let more = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => {
                let fail = |why: String| SettingsError::CaFile {
                    path: path.clone(),
                    why,
                };
                let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
                let found =
                    Certificate::from_pem_bundle(&pem).map_err(|error| fail(sentence(error)))?;
                if found.is_empty() {
                    return Err(fail(
                        "the file contains no certificate in PEM format".into(),
                    ));
                }
                found
            }
        };
        // Fails where a provider is installed already, and then that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            clients: Clients::new(base, more, settings, resolver)?,
            base: base.clone(),
            own: super::secrets::headers(settings)?,
            listings: Arc::clone(&settings.memory.listings),
            has_answered: AtomicBool::new(false),
        })
    }

    /// The room that listings share.
    pub(super) fn listings(&self) -> &Arc<Room> {
        &self.listings
    }

    /// Whether an answer from `url` is one of the server that is mounted, and not of one that it redirects to.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends the question and follows redirects. `limit` bounds the wait for each head.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        limit: Duration,
    ) -> Result<Reply, Failure> {
        let mut url = question.url.clone();
        let mut way = Way::Home;
        for _ in 0..=HOPS {
            let response = self.send(question, &url, way, limit).await?;
            let Some(target) = target(&url, &response).map_err(untrusted)? else {
                return Ok(Reply::Answer(url, Box::new(response)));
            };
            let from = self.clients.reach_of(&url, &response);
            drain(response).await;
            if names::adds_slash(&url, &target) {
                return Ok(Reply::Slash);
            }
            if url.scheme() == "https" && target.scheme() != "https" {
                let why = "the server redirects from https to an unencrypted URL";
                return Err(untrusted(why.into()));
            }
            way = way.then(self.is_own(&target), from);
            if let Way::Away(from) = way
                && let Some(too_near) = self.clients.too_near(from, &target)
            {
                return Err(untrusted(too_near.to_string()));
            }
            url = target;
        }
        Err(untrusted(format!(
            "the server redirects more than {HOPS} times"
        )))
    }

    async fn send(
        &self,
        question: &Question<'_>,
        url: &Url,
        way: Way,
        limit: Duration,
    ) -> Result<Response, Failure> {
        let mut headers = question.headers.clone();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if way == Way::Home && self.is_own(url) {
            for name in self.own.keys() {
                headers.remove(name);
                for value in self.own.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        let client = match way {
            Way::Home => Ok(self.clients.home()),
            Way::Away(from) => self.clients.away(url, from),
        };
        let client = client.map_err(|error| {
            let why = sentence(error);
            Failure::Lasting(RemoteError::Unreachable(format!(
                "cannot set up TLS: {why}"
            )))
        })?;
        let request = client.request(question.method.clone(), url.clone());
        match tokio::time::timeout(limit, request.headers(headers).send()).await {
            Ok(Ok(response)) => {
                if self.is_own(url) {
                    self.has_answered.store(true, Ordering::Relaxed);
                }
                Ok(response)
            }
            Ok(Err(error)) => Err(self.failure(url, error)),
            Err(_) => Err(Failure::Passing(format!("no answer within {limit:?}"))),
        }
    }

    /// What a request that got no answer means.
    fn failure(&self, url: &Url, error: reqwest::Error) -> Failure {
        let lasting = |why| Failure::Lasting(RemoteError::Unreachable(why));
        match trouble::of(&error) {
            Some(Trouble::Distrust(why)) => lasting(why),
            Some(Trouble::TooNear(too_near)) => untrusted(too_near.to_string()),
            // One that has answered before is the right one, and only stumbles.
            Some(Trouble::WrongProtocol(_))
                if self.is_own(url) && self.has_answered.load(Ordering::Relaxed) =>
            {
                Failure::Passing(sentence(error))
            }
            Some(Trouble::WrongProtocol(why)) => lasting(why.into()),
            Some(Trouble::Refused) => {
                let said = sentence(error);
                let hint = trouble::proxy_hint(url.scheme(), |name| std::env::var(name).ok());
                Failure::Passing(hint.map_or(said.clone(), |hint| format!("{said}; {hint}")))
            }
            None => Failure::Passing(sentence(error)),
        }
    }
}

/// Where a redirect leads; `None` where the answer is none.
fn target(from: &Url, response: &Response) -> Result<Option<Url>, String> {
    use StatusCode as S;
    let status = response.status();
    let redirects = [
        S::MOVED_PERMANENTLY,
        S::FOUND,
        S::SEE_OTHER,
        S::TEMPORARY_REDIRECT,
        S::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&status) {
        return Ok(None);
    }
    let lost = || format!("the server answered {status} without a valid Location");
    let location = response.headers().get(LOCATION).ok_or_else(lost)?;
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| lost())?;
    let mut target = from.join(location).map_err(|_| lost())?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err("the server redirects to a URL that is neither http nor https".into());
    }
    target.set_fragment(None);
    // A user in a Location would be sent as credentials that the user of larder never gave.
    let _ = target
        .set_username("")
        .and_then(|()| target.set_password(None));
    Ok(Some(target))
}

fn untrusted(why: String) -> Failure {
    Failure::Lasting(RemoteError::Untrusted(why))
}

/// Reads a short body to its end, so that its connection can be used again.
pub(super) async fn drain(mut response: Response) {
    if response
        .content_length()
        .is_some_and(|length| length > DRAINED)
    {
        return;
    }
    let rest = async {
        let mut read = 0;
        while let Ok(Some(bytes)) = response.chunk().await {
            read += bytes.len() as u64;
            if read > DRAINED {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(200), rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_home_stays_away() {
        use Reach::{Machine, World};
        for (way, is_own, from, expected) in [
            (Way::Home, true, World, Way::Home),
            (Way::Home, false, World, Way::Away(World)),
            (Way::Away(Machine), false, World, Way::Away(World)),
            (Way::Away(World), true, World, Way::Away(World)),
            (Way::Away(Machine), true, Machine, Way::Away(Machine)),
        ] {
            assert_eq!(
                way.then(is_own, from),
                expected,
                "{way:?} {is_own} {from:?}"
            );
        }
    }
}
