//! Requests about names and facts: lookup, forget, getattr, readlink, statfs.

use std::sync::Arc;
use std::time::Duration;

use super::forget::last_of;
use super::table::{Found, Table, Verdict};
use super::{Answer, Attr, Cell, Errno, Owner, STALE_TTL, Vfs, carry_out, errno, guarded, listing};
use crate::remote::{Capacity, RemoteError};
use crate::units::{Facts, FileKind, ObjectName};

/// The answer to a lookup; both may be kept for the time given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked {
    /// The name is served by this inode, on which one lookup was counted.
    Inode(Attr, Duration),
    /// There is no such name.
    Absent(Duration),
}

/// What statfs(2) shows.
pub type Statfs = Capacity;

/// What is known of an inode that the kernel asks about.
enum Known {
    /// Its facts still count, for this long.
    Fresh(Attr, Duration),
    /// A newer version was seen, or its name is gone. The kernel goes on with its own facts while it is open.
    Old(Attr, bool),
    /// Only the remote can tell.
    Ask(ObjectName),
}

impl Vfs {
    /// Looks a name up in a directory.
    pub fn lookup(
        self: &Arc<Self>,
        parent: u64,
        last: &[u8],
        done: impl FnOnce(Answer<Looked>) + Send + 'static,
    ) {
        if last.len() > 255 {
            return done(Err(Errno::NAMETOOLONG));
        }
        if !listing::is_name(last) {
            return done(Err(Errno::INVAL));
        }
        let now = self.now();
        let mut table = self.table.lock();
        let name = match table.get(parent) {
            None => Err(Errno::STALE),
            Some(dir) if dir.facts.kind != FileKind::Dir => Err(Errno::NOTDIR),
            Some(dir) => Ok(dir.name.child(last)),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                drop(table);
                return done(Err(error));
            }
        };
        if let Some(found) = self.announced.take(&name, now) {
            let (ino, verdict) = table.admit(parent, &name, &found.facts, found.at);
            let answer = looked(&table, ino, now, self.owner);
            self.give_blob(&table, ino, &found);
            drop(table);
            carry_out(verdict);
            return done(answer);
        }
        let (answer, verdict) = match table.find(parent, &name, last, now) {
            Found::Inode(ino) => {
                table.count(ino);
                (looked(&table, ino, now, self.owner), Verdict::Current)
            }
            Found::Listed(facts, at) => {
                let (ino, verdict) = table.admit(parent, &name, &facts, at);
                (looked(&table, ino, now, self.owner), verdict)
            }
            Found::Absent(at) => {
                let verdict = table.vanish(&name, at);
                let ttl = table.remaining(at, now);
                (Ok(self.absent(parent, last, ttl)), verdict)
            }
            Found::Unknown => {
                let known = table.serving(&name).is_some();
                drop(table);
                let (vfs, asked) = (Arc::clone(self), name.clone());
                return self.ask_facts(name, known, move |answer, at| {
                    done(vfs.looked_up(parent, &asked, answer, at));
                });
            }
        };
        drop(table);
        carry_out(verdict);
        done(answer);
    }

    fn looked_up(
        &self,
        parent: u64,
        name: &ObjectName,
        answer: Result<Facts, RemoteError>,
        at: Duration,
    ) -> Answer<Looked> {
        let now = self.now();
        let mut table = self.table.lock();
        match answer {
            Ok(facts) => {
                let (ino, verdict) = table.admit(parent, name, &facts, at);
                let answer = looked(&table, ino, now, self.owner);
                drop(table);
                carry_out(verdict);
                answer
            }
            Err(RemoteError::NotFound) => {
                let verdict = table.vanish(name, at);
                let ttl = table.remaining(at, now);
                let answer = self.absent(parent, last_of(name), ttl);
                drop(table);
                carry_out(verdict);
                Ok(answer)
            }
            Err(error) => {
                let known = table.serving(name).filter(|_| errno::says_nothing(&error));
                let Some(ino) = known else {
                    return Err(errno::of_question(&error));
                };
                table.count(ino);
                let inode = table.get(ino).ok_or(Errno::STALE)?;
                Ok(Looked::Inode(
                    Attr::new(ino, &inode.facts, self.owner),
                    STALE_TTL,
                ))
            }
        }
    }

    /// Takes back lookups of the kernel's.
    pub fn forget(&self, ino: u64, count: u64) {
        let gone = self.table.lock().forget(ino, count);
        // The blob goes here, under no lock.
        drop(gone);
    }

    /// The attributes of an inode, and how long they may be kept.
    pub fn getattr(
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
            Ok(Known::Old(attr, open)) => done(old(attr, open, self.ttl)),
            Ok(Known::Ask(name)) => {
                let vfs = Arc::clone(self);
                self.ask_facts(name, true, move |answer, at| {
                    let gone = matches!(answer, Err(RemoteError::NotFound));
                    done(match vfs.learn(ino, answer, at) {
                        Ok(Known::Old(_, false)) if gone => Err(Errno::NOENT),
                        Ok(Known::Old(attr, open)) => old(attr, open, vfs.ttl),
                        Ok(Known::Fresh(attr, ttl)) => Ok((attr, ttl)),
                        Ok(Known::Ask(_)) => Err(Errno::IO),
                        Err(error) => Err(error),
                    });
                });
            }
        }
    }

    /// Makes sure that an inode serves the current version, as OPEN must.
    pub(super) fn check(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<()>) + Send + 'static,
    ) {
        match self.known(ino) {
            Err(error) => done(Err(error)),
            Ok(Known::Fresh(..)) => done(Ok(())),
            Ok(Known::Old(..)) => done(Err(Errno::STALE)),
            Ok(Known::Ask(name)) => {
                let vfs = Arc::clone(self);
                self.ask_facts(name, true, move |answer, at| {
                    let gone = matches!(answer, Err(RemoteError::NotFound));
                    done(match vfs.learn(ino, answer, at) {
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
        let now = self.now();
        let mut table = self.table.lock();
        let inode = table.get(ino).ok_or(Errno::STALE)?;
        if inode.superseded {
            return Ok(Known::Old(
                Attr::new(ino, &inode.facts, self.owner),
                inode.opens > 0,
            ));
        }
        let name = inode.name.clone();
        let verdict = match table.find_inode(ino, now).ok_or(Errno::STALE)? {
            Found::Inode(_) => Verdict::Current,
            Found::Listed(facts, at) => table.confirm(ino, &facts, at),
            Found::Absent(at) => table.vanish(&name, at),
            Found::Unknown => return Ok(Known::Ask(name)),
        };
        let known = fresh_or_old(&table, ino, now, self.owner);
        drop(table);
        carry_out(verdict);
        known
    }

    /// Holds the remote's answer against an inode. Where the remote could not be asked, what was known still counts.
    fn learn(&self, ino: u64, answer: Result<Facts, RemoteError>, at: Duration) -> Answer<Known> {
        let now = self.now();
        let mut table = self.table.lock();
        let verdict = match answer {
            Ok(facts) => table.confirm(ino, &facts, at),
            Err(RemoteError::NotFound) => table.supersede(ino, at),
            Err(error) if errno::says_nothing(&error) => {
                let inode = table.get(ino).ok_or(Errno::STALE)?;
                return Ok(Known::Fresh(
                    Attr::new(ino, &inode.facts, self.owner),
                    STALE_TTL,
                ));
            }
            Err(error) => return Err(errno::of_question(&error)),
        };
        let known = fresh_or_old(&table, ino, now, self.owner);
        drop(table);
        carry_out(verdict);
        known
    }

    /// The target of a symbolic link.
    pub fn readlink(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<Arc<[u8]>>) + Send + 'static,
    ) {
        let known = {
            let table = self.table.lock();
            match table.get(ino) {
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
        let (vfs, remote, at) = (Arc::clone(self), Arc::clone(&self.remote), self.now());
        self.network.ask(
            async move { remote.read_link(&name).await },
            move |answer| {
                guarded("an answer about a link", || {
                    done(vfs.link_read(ino, size, answer, at));
                });
            },
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
        let mut table = self.table.lock();
        let verdict = match &target {
            Ok(target) => {
                if let Some(inode) = table.get_mut(ino) {
                    inode.link = Some(Arc::clone(target));
                }
                Verdict::Current
            }
            Err(Errno::STALE | Errno::NOENT) => table.supersede(ino, at),
            Err(_) => Verdict::Current,
        };
        drop(table);
        carry_out(verdict);
        target
    }

    /// What the remote holds and could hold. Where it cannot say: as much as fits, so that df(1) shows the mount.
    pub fn statfs(self: &Arc<Self>, done: impl FnOnce(Statfs) + Send + 'static) {
        let remote = Arc::clone(&self.remote);
        self.network
            .ask(async move { remote.capacity().await }, move |answer| {
                let unknown = Capacity {
                    total_bytes: 1 << 50,
                    free_bytes: 0,
                    total_files: 0,
                    free_files: 0,
                };
                let answer = answer.ok().flatten().unwrap_or(unknown);
                guarded("an answer about space", || done(answer));
            });
    }
}

fn looked(table: &Table<Cell>, ino: u64, now: Duration, owner: Owner) -> Answer<Looked> {
    let inode = table.get(ino).ok_or(Errno::STALE)?;
    let ttl = table.remaining(inode.checked, now);
    Ok(Looked::Inode(Attr::new(ino, &inode.facts, owner), ttl))
}

fn fresh_or_old(table: &Table<Cell>, ino: u64, now: Duration, owner: Owner) -> Answer<Known> {
    let inode = table.get(ino).ok_or(Errno::STALE)?;
    let attr = Attr::new(ino, &inode.facts, owner);
    if inode.superseded {
        return Ok(Known::Old(attr, inode.opens > 0));
    }
    Ok(Known::Fresh(attr, table.remaining(inode.checked, now)))
}
