//! A web server's answers to the questions that every remote is asked.

use std::sync::{Arc, OnceLock};

use reqwest::Url;

use super::clients::Resolver;
use super::listing::Style;
use super::settings::{HttpSettings, SettingsError};
use super::web::Web;
use super::{dirs, facts, fetch, look, names, secrets};
use crate::remote::api::{BoxFuture, Pages, Remote, RemoteError, Sink, whole};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// A web server, or one file on it.
pub struct HttpRemote {
    url: Url,
    principal: String,
    /// As it is without a look.
    unseen: Face,
    /// As it was when it was looked at.
    seen: OnceLock<Face>,
}

/// What of a web server is known, or taken for granted.
pub(super) struct Face {
    identity: String,
    pub(super) web: Arc<Web>,
}

impl Face {
    fn of(web: Web) -> Self {
        Self {
            identity: names::identity(&web.site.base),
            web: Arc::new(web),
        }
    }
}

impl HttpRemote {
    /// A remote at `url` (http or https; without user information, query and fragment). Nothing is asked yet.
    pub fn new(url: &Url, settings: HttpSettings) -> Result<Self, SettingsError> {
        Self::over(url, settings, Resolver::real())
    }

    pub(super) fn over(
        url: &Url,
        settings: HttpSettings,
        resolver: Resolver,
    ) -> Result<Self, SettingsError> {
        let fail = |why: &str| {
            let shown = names::shown(url);
            Err(SettingsError::Url(format!("cannot mount {shown}: {why}")))
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return fail("give a URL that begins with http:// or https:// and names a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fail("the URL must not contain a user or a password here");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return fail("give a URL without ? and #; a ? in a name is written %3F");
        }
        let web = Web::new(url, &settings, resolver)?;
        Ok(Self {
            url: url.clone(),
            principal: secrets::principal(&settings),
            unseen: Face::of(web),
            seen: OnceLock::new(),
        })
    }

    pub(super) fn face(&self) -> &Face {
        self.seen.get().unwrap_or(&self.unseen)
    }
}

impl Remote for HttpRemote {
    fn identity(&self) -> &str {
        &self.face().identity
    }

    /// Whether the URL is a directory or one file, and what its listings say.
    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        Box::pin(async {
            let web = &self.unseen.web;
            let (site, notes) = look::look(web, &self.url).await?;
            let shared = Arc::clone(&web.shared);
            // A second look changes nothing.
            let _ = self.seen.set(Face::of(Web { site, shared }));
            Ok(notes)
        })
    }

    fn principal(&self) -> String {
        self.principal.clone()
    }

    fn lists_facts(&self) -> bool {
        self.face().web.site.style == Style::Exact
    }

    fn lists_all(&self) -> bool {
        false
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(facts::stat(&self.face().web, name))
    }

    /// A web server's listing is known when its answer is there to the end: it is one page.
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async move { dirs::list(&self.face().web, name).await.map(whole) })
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(fetch::fetch(&self.face().web, name, range, bound, sink))
    }
}
