//! Reading bytes of one version from a file.
//!
//! Invariants: only regular files are opened; every piece is delivered only after a stat(2) that equals the one taken
//! before the first byte; whether the version is settled is asked before the first read.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::beneath;
use super::blocking::blocking;
use super::lease::lease;
use super::tree::{Tree, remote_error};
use crate::remote::api::{RemoteError, Sink};
use crate::remote::policy::is_settled;
use crate::units::{ByteRange, Facts, FileKind, ObjectName, Validator};

/// The bytes of one piece: large enough that a thread's wake-up costs little, small enough that readers need not wait
/// for the whole range.
const PIECE: u64 = 1 << 20;

/// How often a file is opened again that changes while its first piece is read: where any version is welcome.
const TRIES: u32 = 8;

/// Delivers `range` to `sink`.
pub(super) async fn fetch(
    tree: &Arc<Tree>,
    name: &ObjectName,
    range: ByteRange,
    bound: Option<&Validator>,
    sink: &mut dyn Sink,
) -> Result<(), RemoteError> {
    let first = ByteRange::at(range.start, PIECE).clip(range);
    let (ground, name, bound) = (Arc::clone(tree), name.clone(), bound.cloned());
    let opened = blocking(move || {
        let mut tries = 0;
        loop {
            match open(&ground, &name, first, bound.as_ref()) {
                Err(RemoteError::Changed(_)) if bound.is_none() && tries < TRIES => tries += 1,
                opened => return opened,
            }
        }
    });
    let (file, settled, bytes) = opened.await?;
    let facts = Arc::new(file.facts.clone());
    sink.version(&facts, settled)?;
    let range = range.clip(ByteRange::new(0, facts.size));
    let mut at = range.start + bytes.len() as u64;
    sink.data(bytes);
    let file = Arc::new(file);
    while at < range.end {
        let piece = ByteRange::at(at, PIECE).clip(range);
        let file = Arc::clone(&file);
        let bytes = blocking(move || file.read(piece)).await?;
        sink.data(bytes);
        at = piece.end;
    }
    Ok(())
}

/// A regular file, open for reading, and its facts at that moment.
struct OpenFile {
    tree: Arc<Tree>,
    fd: OwnedFd,
    facts: Facts,
}

fn open(
    tree: &Arc<Tree>,
    name: &ObjectName,
    first: ByteRange,
    bound: Option<&Validator>,
) -> Result<(OpenFile, bool, Bytes), RemoteError> {
    // To open a fifo or a device for reading would do something to it, so its kind is looked at through O_PATH first.
    if tree.stat(name)?.kind != FileKind::File {
        return Err(RemoteError::WrongKind);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let fd = beneath::open(tree.root.as_fd(), name.as_bytes(), flags).map_err(remote_error)?;
    let (facts, traits) = tree.facts_of(&fd)?;
    if facts.kind != FileKind::File {
        return Err(RemoteError::WrongKind);
    }
    if bound.is_some() && facts.validator.as_ref() != bound {
        return Err(RemoteError::Changed(Box::new(facts)));
    }
    let first = match bound {
        Some(_) => first,
        None => first.clip(ByteRange::new(0, facts.size)),
    };
    let now = (tree.clock)();
    let settled = is_settled(&facts, || lease(fd.as_fd(), traits), now, tree.settle);
    let file = OpenFile {
        tree: Arc::clone(tree),
        fd,
        facts,
    };
    let bytes = file.read(first)?;
    Ok((file, settled, bytes))
}

impl OpenFile {
    /// The bytes of `piece`, if the file is still what it was when it was opened.
    fn read(&self, piece: ByteRange) -> Result<Bytes, RemoteError> {
        let wanted = usize::try_from(piece.len()).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(wanted);
        let read = loop {
            if bytes.len() >= wanted {
                break Ok(());
            }
            let offset = piece.start + bytes.len() as u64;
            match rustix::io::pread(&self.fd, spare_capacity(&mut bytes), offset) {
                Err(Errno::INTR) => {}
                Err(error) => break Err(error),
                Ok(0) => break Ok(()),
                Ok(_) => {}
            }
        };
        let (now, _) = self.tree.facts_of(&self.fd)?;
        if now != self.facts {
            return Err(RemoteError::Changed(Box::new(now)));
        }
        read.map_err(remote_error)?;
        // The buffer may be a little larger than was asked for.
        bytes.truncate(wanted);
        if bytes.len() < wanted {
            return Err(self.ends_early(piece));
        }
        Ok(bytes.into())
    }

    /// A file that delivers fewer bytes than its size says, and is unchanged, is one of those that make up their size
    /// (as in /proc); a range beyond the size is of an older version, which the caller knows.
    fn ends_early(&self, piece: ByteRange) -> RemoteError {
        if piece.end > self.facts.size {
            return RemoteError::Changed(Box::new(self.facts.clone()));
        }
        RemoteError::Untrusted(format!(
            "a file of {} bytes returned no data for {piece}",
            self.facts.size
        ))
    }
}
