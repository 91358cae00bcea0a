//! What a user can ask of the daemon through its mount. The mount is read-only, so the kernel passes no setxattr(2) on:
//! asking for the value of an attribute with one of these names is the request, and its answer, a JSON object, what came
//! of it. Only root and the daemon's own user may.
//!
//! On the root:
//!
//! * `user.larder.scrub.start.RATE` begins a scrub of everything at RATE bytes a second (0: no limit),
//!   `user.larder.scrub.stop` ends the one that is under way;
//! * `user.larder.flush` drops everything that is cached, and at the end the kernel's pages of every file; the answer
//!   says where to go on, if it was not all (`user.larder.flush.NEXT`);
//! * `user.larder.flush.metadata` expires names, attributes and listings;
//! * `user.larder.set-size.BYTES` and `user.larder.set-free-space.RUN/CULL/STOP` (in parts per thousand) change the limits.
//!
//! On a file: `user.larder.evict`, and `user.larder.evict.NEXT`, drops what is cached of it, and at the end the kernel's
//! pages of it.
//!
//! What waits for the disk runs in the disk pool and is answered when it is done, or after a while with ETIMEDOUT.

use std::sync::Arc;

use serde_json::{Value, json};

use super::parts::Control;
use crate::engine::{Cache, Evicted, FreeSpace, LimitsError, LimitsView};
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::guard::guarded;
use crate::vfs::names::ROOT;

/// What a user wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Scrub(u64),
    StopScrub,
    /// Of a file, from this chunk on.
    Evict(u64),
    /// From this slot on.
    Flush(u64),
    FlushMetadata,
    SetSize(u64),
    SetFree(FreeSpace),
}

impl Command {
    /// The command that an attribute's name is, if it is one.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let name = name.strip_prefix("user.larder.")?;
        let number = |prefix: &str| name.strip_prefix(prefix)?.parse::<u64>().ok();
        match name {
            "scrub.stop" => return Some(Self::StopScrub),
            "evict" => return Some(Self::Evict(0)),
            "flush" => return Some(Self::Flush(0)),
            "flush.metadata" => return Some(Self::FlushMetadata),
            _ => {}
        }
        number("scrub.start.")
            .map(Self::Scrub)
            .or_else(|| number("evict.").map(Self::Evict))
            .or_else(|| number("flush.").map(Self::Flush))
            .or_else(|| number("set-size.").map(Self::SetSize))
            .or_else(|| marks(name.strip_prefix("set-free-space.")?).map(Self::SetFree))
    }

    fn is_of_a_file(self) -> bool {
        matches!(self, Self::Evict(_))
    }
}

/// The marks `RUN/CULL/STOP`.
fn marks(text: &str) -> Option<FreeSpace> {
    let mut marks = text.split('/').map(|mark| mark.parse::<u16>());
    let mut next = || marks.next()?.ok();
    let free = FreeSpace::new(next()?, next()?, next()?).ok()?;
    marks.next().is_none().then_some(free)
}

impl Control {
    /// Does what the user `uid` commands of the inode `ino`.
    pub(super) fn carry_out(
        self: &Arc<Self>,
        command: Command,
        ino: u64,
        uid: u32,
        done: impl FnOnce(Answer<Vec<u8>>) + Send + 'static,
    ) {
        if !command.is_of_a_file() && ino != ROOT {
            return done(Err(Errno::NODATA));
        }
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return done(Err(Errno::PERM));
        }
        let cache = Arc::clone(&self.cache);
        let tell = move |told: Option<Value>| {
            guarded("an answer to a command", || {
                let told = told.map(|told| told.to_string().into_bytes());
                done(told.ok_or(Errno::TIMEDOUT));
            });
        };
        match command {
            Command::Scrub(rate) => cache.scrub(rate),
            Command::StopScrub => cache.stop_scrub(),
            Command::Evict(_) | Command::Flush(_) if cache.is_read_only() => {
                return tell(Some(failed(
                    &"the cache was created by a newer version of larder, so it can only be read",
                )));
            }
            Command::Evict(from) => {
                // A directory, a link: there is nothing of it.
                let Ok(blob) = self.files.blob(ino) else {
                    return tell(Some(json!({})));
                };
                return self.drop_data(Some(ino), move |_| blob.evict(from), tell);
            }
            Command::Flush(from) => {
                return self.drop_data(None, move |cache| cache.evict_all(from), tell);
            }
            Command::FlushMetadata => {
                let tell = cache.in_time(tell);
                return self
                    .kernel
                    .expire_metadata(|names| tell(json!({ "names": names })));
            }
            Command::SetSize(bytes) => {
                let set = move |cache: &Arc<Cache>| cache.set_limits(Some(bytes), None);
                return cache.run_admin_task(move |cache| limits_shown(set(cache)), tell);
            }
            Command::SetFree(free) => {
                let set = move |cache: &Arc<Cache>| cache.set_limits(None, Some(free));
                return cache.run_admin_task(move |cache| limits_shown(set(cache)), tell);
            }
        }
        tell(Some(shown(&cache.stats().scrub)));
    }

    /// Drops what is cached of the inode `of`, or of everything, and after the last piece the kernel's pages too: in that
    /// order, so that no page is filled again from what is about to go.
    fn drop_data(
        self: &Arc<Self>,
        of: Option<u64>,
        drop_piece: impl FnOnce(&Arc<Cache>) -> Evicted + Send + 'static,
        tell: impl FnOnce(Option<Value>) + Send + 'static,
    ) {
        let (kernel, cache) = (Arc::clone(&self.kernel), &self.cache);
        let tell = cache.in_time(tell);
        let work = move |cache: &Arc<Cache>| {
            let told = drop_piece(cache);
            let answer = shown(&told);
            match told.next {
                Some(_) => tell(answer),
                None => kernel.drop_pages(of, move || tell(answer)),
            }
        };
        // The user is answered by the work itself, or when time is up.
        cache.run_admin_task(work, drop);
    }
}

fn shown(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| failed(&error))
}

fn failed(why: &dyn std::fmt::Display) -> Value {
    json!({ "error": why.to_string() })
}

fn limits_shown(limits: Result<LimitsView, LimitsError>) -> Value {
    match limits {
        Ok(limits) => json!({
            "capacity_bytes": limits.capacity,
            "free_space": limits.free.to_string(),
            "used_bytes": limits.used_bytes,
            "pressure": limits.pressure,
            "note": limits.note,
        }),
        Err(error) => failed(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_command_or_it_is_not() {
        let parse = |name: &str| Command::parse(format!("user.larder.{name}").as_bytes());
        let free = FreeSpace::new(100, 70, 30).unwrap();
        for (name, command) in [
            ("scrub.stop", Command::StopScrub),
            ("scrub.start.0", Command::Scrub(0)),
            ("scrub.start.33554432", Command::Scrub(32 << 20)),
            ("evict", Command::Evict(0)),
            ("evict.7", Command::Evict(7)),
            ("flush", Command::Flush(0)),
            ("flush.4096", Command::Flush(4096)),
            ("flush.metadata", Command::FlushMetadata),
            ("set-size.1073741824", Command::SetSize(1 << 30)),
            ("set-free-space.100/70/30", Command::SetFree(free)),
        ] {
            assert_eq!(parse(name), Some(command), "{name}");
        }
        for name in [
            "scrub",
            "scrub.start",
            "scrub.start.-1",
            "stats",
            "evict.",
            "evict.all",
            "flush.meta",
            "set-size.",
            "set-free-space.100/70",
            "set-free-space.30/70/100",
            "set-free-space.100/70/30/0",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
