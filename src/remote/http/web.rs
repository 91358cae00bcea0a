//! What all questions of one mount share: the connections, the place on the server, and what was learned of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reqwest::Url;

use super::client::Connections;
use super::clients::Resolver;
use super::listing::Style;
use super::names;
use super::pacer::Pacer;
use super::patience::Patience;
use super::settings::{HttpSettings, SettingsError};
use super::validator::Version;
use crate::remote::api::RemoteError;
use crate::remote::policy::Stamps;
use crate::units::{Facts, FileKind, ObjectName, Timestamp, Validator};

/// One mount's view of a server.
pub(super) struct Web {
    pub(super) site: Site,
    pub(super) shared: Arc<Shared>,
}

/// What a look at the server does not change.
pub(super) struct Shared {
    connections: Connections,
    pacer: Pacer,
    timeout: Duration,
    owner: (u32, u32),
    pub(super) stamps: Stamps,
    /// Set once the log was told that the server ignores ranges.
    pub(super) told_of_ranges: AtomicBool,
    /// Set once the log was told that the server names no versions.
    pub(super) told_of_versions: AtomicBool,
    /// A directory's URL without its slash was redirected to the one with it: an answer 404 is the whole answer.
    pub(super) redirects_to_slash: AtomicBool,
    /// Whether a user or a header was given: then 403 means them.
    pub(super) has_secrets: bool,
}

/// The place on the server that is mounted.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The URL of the root directory; its path ends in a slash.
    pub(super) base: Url,
    /// The one file that is mounted, by its name and its URL; otherwise the whole tree.
    pub(super) only: Option<(Box<[u8]>, Url)>,
    /// What a listing is asked for with.
    pub(super) query: Option<&'static str>,
    /// What the root's listing said.
    pub(super) style: Style,
    /// The server answers the URL of a directory without its slash with a page, as dufs does.
    pub(super) pages_without_slash: bool,
}

impl Web {
    pub(super) fn new(
        url: &Url,
        settings: &HttpSettings,
        resolver: Resolver,
    ) -> Result<Self, SettingsError> {
        let shared = Shared {
            connections: Connections::new(url, settings, resolver)?,
            pacer: Pacer::default(),
            timeout: settings.timeout,
            owner: (settings.uid, settings.gid),
            stamps: Stamps::default(),
            told_of_ranges: AtomicBool::new(false),
            told_of_versions: AtomicBool::new(false),
            redirects_to_slash: AtomicBool::new(false),
            has_secrets: settings.credentials.is_some() || !settings.headers.is_empty(),
        };
        Ok(Self {
            site: Site::tree(names::with_slash(url)),
            shared: Arc::new(shared),
        })
    }

    pub(super) fn patience(&self) -> Patience<'_> {
        self.patience_of(self.shared.timeout)
    }

    pub(super) fn patience_of(&self, most: Duration) -> Patience<'_> {
        let shared = &self.shared;
        let timeout = shared.timeout.min(most);
        Patience::new(&shared.connections, &shared.pacer, timeout)
    }

    /// The URL of an object.
    pub(super) fn url_of(&self, name: &ObjectName) -> Result<Url, RemoteError> {
        match &self.site.only {
            _ if name.is_root() => Ok(self.site.base.clone()),
            Some((only, url)) if **only == *name.as_bytes() => Ok(url.clone()),
            Some(_) => Err(RemoteError::NotFound),
            None => names::url_of(&self.site.base, name.as_bytes()).ok_or(RemoteError::NotFound),
        }
    }

    pub(super) fn dir(&self, mtime: Timestamp) -> Facts {
        self.facts(FileKind::Dir, 0, mtime, None)
    }

    pub(super) fn file(&self, size: u64, version: &Version) -> Facts {
        self.facts(
            FileKind::File,
            size,
            version.mtime,
            version.validator.clone(),
        )
    }

    /// What is known of an entry from a listing that tells its size and time.
    pub(super) fn listed_file(&self, size: u64, mtime: Timestamp) -> Facts {
        self.facts(FileKind::File, size, mtime, None)
    }

    fn facts(
        &self,
        kind: FileKind,
        size: u64,
        mtime: Timestamp,
        validator: Option<Validator>,
    ) -> Facts {
        let (uid, gid) = self.shared.owner;
        Facts {
            kind,
            size,
            mtime,
            ctime: mtime,
            perm: if kind == FileKind::Dir { 0o555 } else { 0o444 },
            uid,
            gid,
            rdev: 0,
            validator,
        }
    }

    /// The error that says that the object is another version now. One of which the server names no version gets a
    /// stamp, under which its next response can be fetched.
    pub(super) fn changed(&self, mut facts: Facts) -> RemoteError {
        if facts.validator.is_none() && facts.kind == FileKind::File {
            let stamp = self.shared.stamps.mint_for_next(facts.size);
            facts.validator = Some(Validator::Stamp(stamp));
        }
        RemoteError::Changed(Box::new(facts))
    }
}

impl Site {
    /// A directory and all beneath it.
    pub(super) fn tree(base: Url) -> Self {
        Self {
            base,
            only: None,
            query: None,
            style: Style::Names,
            pages_without_slash: false,
        }
    }
}
