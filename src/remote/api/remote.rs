//! The seam: what every remote can be asked, and how it delivers.

use std::path::PathBuf;

use bytes::Bytes;

use super::{BoxFuture, Pages, RemoteError};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// How much a remote holds and could hold; what df(1) shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes not in use.
    pub free_bytes: u64,
    /// Objects that there can be; 0 where the remote does not count them.
    pub total_files: u64,
    /// Objects that there could be more.
    pub free_files: u64,
}

/// The receiver of a fetch's bytes, in order.
pub trait Sink: Send {
    /// Called once, before the first bytes: the version that they belong to (`facts.validator` is set), and whether it
    /// is settled. The bytes of a version that is not settled are provisional: they answer waiting readers and are never
    /// recorded. Errors with [`RemoteError::Changed`] where the receiver is bound to another version.
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError>;

    /// The next bytes of the range. They are of the version announced, checked as well as the remote can check.
    fn data(&mut self, bytes: Bytes);

    /// Called after [`Sink::version`] and before any bytes where the remote delivers the whole object or nothing. `true`:
    /// the bytes that follow are the whole object's, from its first. `false`: another fetch delivers it already; the
    /// remote ends this one, without an error.
    fn whole(&mut self) -> bool;

    /// Whether more bytes are welcome now. A remote that delivers the whole object asks before each piece and waits a
    /// moment where they are not: a whole object may be larger than the memory that was set apart for the fetch.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether no reader wants the rest of a whole object: the remote then ends without an error.
    fn is_enough(&self) -> bool {
        false
    }
}

/// Where files come from: a directory, a web server.
pub trait Remote: Send + Sync + 'static {
    /// The canonical identity (scheme, endpoint, bucket or file-system id, prefix): equal for two mounts exactly where
    /// equal names mean equal objects.
    fn identity(&self) -> &str;

    /// The first look at the remote, before it is mounted: learns what the other methods build on, [`Remote::identity`]
    /// among them, and returns sentences that the user who mounts should read. Called once, before anything else. Errors
    /// with [`RemoteError::Forbidden`] where the credentials are refused.
    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// As whom the remote is asked: part of what names are hashed with, so that two users who may not read the same share
    /// no cached bytes. Contains no secret. Empty where every user sees the same.
    fn principal(&self) -> String {
        String::new()
    }

    /// Directories of this machine that the remote shows empty and never looks into: the mount point and the cache
    /// directory of its own mount. Absolute, or relative to the working directory; those that it does not hold are ignored.
    /// Called once, before anything is mounted.
    fn hide(&self, _dirs: &[PathBuf]) {}

    /// Whether listings say all that stat(2) shows of every entry ([`super::Listed::Facts`]). Asked once, when the remote is
    /// mounted.
    fn lists_facts(&self) -> bool {
        true
    }

    /// Whether a name that a directory's listing lacks does not exist. Where it may exist all the same (a web server that
    /// hides what begins with a dot), larder asks the remote when a program wants the name.
    fn lists_all(&self) -> bool {
        true
    }

    /// The facts of one object; symbolic links are not followed.
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>>;

    /// Opens a directory for listing; what is in it comes in pages, in the remote's order (see [`Pages`]). Whether the
    /// first page is asked for here or by the first [`Pages::next`] is for the remote to choose: a caller that does not
    /// want it drops what it gets. A remote without directories leaves this out.
    fn list<'a>(
        &'a self,
        _name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async { Err(RemoteError::WrongKind) })
    }

    /// The target of a symbolic link. A remote without links leaves this out.
    fn read_link<'a>(
        &'a self,
        _name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        Box::pin(async { Err(RemoteError::WrongKind) })
    }

    /// Delivers `range` of one version of the object to `sink`: of the version `bound` if given (anything else is
    /// [`RemoteError::Changed`]), otherwise of the version that is found. A range of the version `bound` lies within it; of
    /// one that is found, what the object has of the range is delivered, and the sink decides whether that is welcome.
    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>>;

    /// How much the remote holds and could hold, where it can say.
    fn capacity(&self) -> BoxFuture<'_, Result<Option<Capacity>, RemoteError>> {
        Box::pin(async { Ok(None) })
    }
}
