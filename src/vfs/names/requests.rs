//! Requests about names and attributes: lookup, forget, getattr, readlink.

use std::sync::Arc;
use std::time::Duration;

use super::announced::NewVersion;
use super::inode::{Lookup, Outcome};
use super::inodes::Inodes;
use super::name::{is_name, last_of};
use crate::remote::RemoteError;
use crate::units::{Facts, FileKind, ObjectName};
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::attr::{Attr, Owner};
use crate::vfs::errno;
use crate::vfs::events::Which;
use crate::vfs::files::FileState;
use crate::vfs::metadata::STALE_TTL;
use crate::vfs::shared::{Shared, carry_out};

/// The answer to a lookup; both may be kept for the time given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked {
    /// The name is served by this inode, on which one lookup was counted.
    Inode(Attr, Duration),
    /// There is no such name.
    Absent(Duration),
}

/// What is known of an inode that the kernel asks about.
enum Known {
    /// Its facts still count, for this long.
    Fresh(Attr, Duration),
    /// A newer version was seen, or its name is gone. The kernel goes on with its own facts while it is open.
    Old(Attr, bool),
    /// Only the remote can tell.
    Ask(ObjectName),
}

/// The requests about names.
pub(in crate::vfs) struct Names {
    shared: Arc<Shared>,
}

impl Names {
    pub(in crate::vfs) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// Looks a name up in a directory.
    pub(in crate::vfs) fn lookup(
        self: &Arc<Self>,
        parent: u64,
        last: &[u8],
        done: impl FnOnce(Answer<Looked>) + Send + 'static,
    ) {
        if last.len() > 255 {
            return done(Err(Errno::NAMETOOLONG));
        }
        if !is_name(last) {
            return done(Err(Errno::INVAL));
        }
        let now = self.shared.now();
        let mut inodes = self.shared.inodes.lock();
        let name = match inodes.get(parent) {
            None => Err(Errno::STALE),
            Some(dir) if dir.facts.kind != FileKind::Dir => Err(Errno::NOTDIR),
            Some(dir) => Ok(dir.name.child(last)),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                drop(inodes);
                return done(Err(error));
            }
        };
        if let Some(found) = self.shared.announced.take(&name, now) {
            let (ino, outcome) = inodes.admit(parent, &name, &found.facts, found.at);
            let answer = looked(&inodes, ino, now, self.shared.owner);
            self.give_blob(&inodes, ino, &found);
            drop(inodes);
            carry_out(outcome);
            return done(answer);
        }
        let (answer, outcome) = match inodes.find(parent, &name, last, now) {
            Lookup::Inode(ino) => {
                inodes.count(ino);
                (
                    looked(&inodes, ino, now, self.shared.owner),
                    Outcome::Current,
                )
            }
            Lookup::Listed(facts, at) => {
                let (ino, outcome) = inodes.admit(parent, &name, &facts, at);
                (looked(&inodes, ino, now, self.shared.owner), outcome)
            }
            Lookup::Absent(at) => {
                let outcome = inodes.vanish(&name, at);
                let ttl = inodes.remaining(at, now);
                (Ok(self.absent(parent, last, ttl)), outcome)
            }
            Lookup::Unknown => {
                let known = inodes.serving(&name).is_some();
                drop(inodes);
                let (names, asked) = (Arc::clone(self), name.clone());
                return self
                    .shared
                    .questions
                    .ask_facts(name, known, move |answer, at| {
                        done(names.looked_up(parent, &asked, answer, at));
                    });
            }
        };
        drop(inodes);
        carry_out(outcome);
        done(answer);
    }

    fn looked_up(
        &self,
        parent: u64,
        name: &ObjectName,
        answer: Result<Facts, RemoteError>,
        at: Duration,
    ) -> Answer<Looked> {
        let now = self.shared.now();
        let mut inodes = self.shared.inodes.lock();
        match answer {
            Ok(facts) => {
                let (ino, outcome) = inodes.admit(parent, name, &facts, at);
                let answer = looked(&inodes, ino, now, self.shared.owner);
                drop(inodes);
                carry_out(outcome);
                answer
            }
            Err(RemoteError::NotFound) => {
                let outcome = inodes.vanish(name, at);
                let ttl = inodes.remaining(at, now);
                let answer = self.absent(parent, last_of(name), ttl);
                drop(inodes);
                carry_out(outcome);
                Ok(answer)
            }
            Err(error) => {
                let known = inodes.serving(name).filter(|_| errno::says_nothing(&error));
                let Some(ino) = known else {
                    return Err(errno::of_question(&error));
                };
                inodes.count(ino);
                let inode = inodes.get(ino).ok_or(Errno::STALE)?;
                Ok(Looked::Inode(inode.attr(ino, self.shared.owner), STALE_TTL))
            }
        }
    }

    /// The answer that a name does not exist. To be called with the inode table locked, so that the name is either noted
    /// when metadata is expired, or found out afterwards.
    fn absent(&self, parent: u64, last: &[u8], ttl: Duration) -> Looked {
        let now = self.shared.now();
        Looked::Absent(self.shared.absent.note(parent, last, ttl, now))
    }

    /// Gives an inode that was just looked up the blob that an open has found for it, if it is of this version and has none.
    fn give_blob(&self, inodes: &Inodes<FileState>, ino: u64, found: &NewVersion) {
        let Some(inode) = inodes.get(ino) else { return };
        let serial = inode.serial;
        if !inode.facts.contradicted_by(&found.facts) {
            let which = Which { ino, serial };
            let watched = || self.shared.watched(Arc::clone(&found.blob), which);
            inode.state.blob_or(watched);
        }
    }

    /// Takes back lookups of the kernel's.
    pub(in crate::vfs) fn forget(&self, ino: u64, count: u64) {
        let gone = self.shared.inodes.lock().forget(ino, count);
        // What it served goes here, under no lock.
        drop(gone);
    }

    /// The attributes of an inode, and how long they may be kept.
    pub(in crate::vfs) fn getattr(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<(Attr, Duration)>) + Send + 'static,
    ) {
        let old = |attr, open, ttl| {
            if open {
                Ok((attr, ttl))
            } else {
                Err(Errno::STALE)
            }
        };
        match self.known(ino) {
            Err(error) => done(Err(error)),
            Ok(Known::Fresh(attr, ttl)) => done(Ok((attr, ttl))),
            Ok(Known::Old(attr, open)) => done(old(attr, open, self.shared.ttl)),
            Ok(Known::Ask(name)) => {
                let names = Arc::clone(self);
                self.shared
                    .questions
                    .ask_facts(name, true, move |answer, at| {
                        let gone = matches!(answer, Err(RemoteError::NotFound));
                        done(match names.learn(ino, answer, at) {
                            Ok(Known::Old(_, false)) if gone => Err(Errno::NOENT),
                            Ok(Known::Old(attr, open)) => old(attr, open, names.shared.ttl),
                            Ok(Known::Fresh(attr, ttl)) => Ok((attr, ttl)),
                            Ok(Known::Ask(_)) => Err(Errno::IO),
                            Err(error) => Err(error),
                        });
                    });
            }
        }
    }

    /// Makes sure that an inode serves the current version, as OPEN must.
    pub(in crate::vfs) fn check(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<()>) + Send + 'static,
    ) {
        match self.known(ino) {
            Err(error) => done(Err(error)),
            Ok(Known::Fresh(..)) => done(Ok(())),
            Ok(Known::Old(..)) => done(Err(Errno::STALE)),
            Ok(Known::Ask(name)) => {
                let names = Arc::clone(self);
                self.shared
                    .questions
                    .ask_facts(name, true, move |answer, at| {
                        let gone = matches!(answer, Err(RemoteError::NotFound));
                        done(match names.learn(ino, answer, at) {
                            Ok(Known::Fresh(..)) => Ok(()),
                            Ok(Known::Old(..)) if gone => Err(Errno::NOENT),
                            Ok(Known::Old(..) | Known::Ask(_)) => Err(Errno::STALE),
                            Err(error) => Err(error),
                        });
                    });
            }
        }
    }

    fn known(&self, ino: u64) -> Answer<Known> {
        let now = self.shared.now();
        let mut inodes = self.shared.inodes.lock();
        let inode = inodes.get(ino).ok_or(Errno::STALE)?;
        if inode.superseded {
            return Ok(Known::Old(
                inode.attr(ino, self.shared.owner),
                inode.opens > 0,
            ));
        }
        let name = inode.name.clone();
        let outcome = match inodes.find_inode(ino, now).ok_or(Errno::STALE)? {
            Lookup::Inode(_) => Outcome::Current,
            Lookup::Listed(facts, at) => inodes.confirm(ino, &facts, at),
            Lookup::Absent(at) => inodes.vanish(&name, at),
            Lookup::Unknown => return Ok(Known::Ask(name)),
        };
        let known = fresh_or_old(&inodes, ino, now, self.shared.owner);
        drop(inodes);
        carry_out(outcome);
        known
    }

    /// Holds the remote's answer against an inode. Where the remote could not be asked, what was known still counts.
    fn learn(&self, ino: u64, answer: Result<Facts, RemoteError>, at: Duration) -> Answer<Known> {
        let now = self.shared.now();
        let mut inodes = self.shared.inodes.lock();
        let outcome = match answer {
            Ok(facts) => inodes.confirm(ino, &facts, at),
            Err(RemoteError::NotFound) => inodes.supersede(ino, at),
            Err(error) if errno::says_nothing(&error) => {
                let inode = inodes.get(ino).ok_or(Errno::STALE)?;
                return Ok(Known::Fresh(inode.attr(ino, self.shared.owner), STALE_TTL));
            }
            Err(error) => return Err(errno::of_question(&error)),
        };
        let known = fresh_or_old(&inodes, ino, now, self.shared.owner);
        drop(inodes);
        carry_out(outcome);
        known
    }

    /// The target of a symbolic link.
    pub(in crate::vfs) fn readlink(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<Arc<[u8]>>) + Send + 'static,
    ) {
        let known = {
            let inodes = self.shared.inodes.lock();
            match inodes.get(ino) {
                None => Err(Errno::STALE),
                Some(inode) if inode.facts.kind != FileKind::Symlink => Err(Errno::INVAL),
                Some(inode) => Ok((inode.link.clone(), inode.name.clone(), inode.facts.size)),
            }
        };
        let (name, size) = match known {
            Err(error) => return done(Err(error)),
            Ok((Some(target), ..)) => return done(Ok(target)),
            Ok((None, name, size)) => (name, size),
        };
        let (names, at) = (Arc::clone(self), self.shared.now());
        self.shared.questions.ask_quietly(
            |remote| async move { remote.read_link(&name).await },
            move |answer| done(names.link_read(ino, size, answer, at)),
        );
    }

    fn link_read(
        &self,
        ino: u64,
        size: u64,
        answer: Result<Vec<u8>, RemoteError>,
        at: Duration,
    ) -> Answer<Arc<[u8]>> {
        let target = match answer {
            // Another length is another link (some file systems say 0 for all).
            Ok(target) if size == 0 || target.len() as u64 == size => Ok(Arc::from(target)),
            Ok(_) => Err(Errno::STALE),
            Err(error) => Err(errno::of_question(&error)),
        };
        let mut inodes = self.shared.inodes.lock();
        let outcome = match &target {
            Ok(target) => {
                if let Some(inode) = inodes.get_mut(ino) {
                    inode.link = Some(Arc::clone(target));
                }
                Outcome::Current
            }
            Err(Errno::STALE | Errno::NOENT) => inodes.supersede(ino, at),
            Err(_) => Outcome::Current,
        };
        drop(inodes);
        carry_out(outcome);
        target
    }
}

fn looked(inodes: &Inodes<FileState>, ino: u64, now: Duration, owner: Owner) -> Answer<Looked> {
    let inode = inodes.get(ino).ok_or(Errno::STALE)?;
    let ttl = inodes.remaining(inode.checked, now);
    Ok(Looked::Inode(inode.attr(ino, owner), ttl))
}

fn fresh_or_old(
    inodes: &Inodes<FileState>,
    ino: u64,
    now: Duration,
    owner: Owner,
) -> Answer<Known> {
    let inode = inodes.get(ino).ok_or(Errno::STALE)?;
    let attr = inode.attr(ino, owner);
    if inode.superseded {
        return Ok(Known::Old(attr, inode.opens > 0));
    }
    Ok(Known::Fresh(attr, inodes.remaining(inode.checked, now)))
}
