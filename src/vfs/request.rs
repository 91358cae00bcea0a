//! What a user can ask of the daemon through its mount. The mount is read-only, so the kernel passes no setxattr(2) on:
//! asking for the value of an attribute of the root with one of these names is the request, and its answer the state that
//! it led to.
//!
//! `user.larder.scrub.start.RATE` begins a scrub of everything at RATE bytes a second (0: no limit);
//! `user.larder.scrub.stop` ends the one that is under way. Only root and the daemon's own user may.

use super::number::ROOT;
use super::{Answer, Errno, Vfs};

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Start(u64),
    Stop,
}

impl Asked {
    /// The request that an attribute's name is, if it is one.
    fn parse(name: &[u8]) -> Option<Self> {
        let name = name.strip_prefix(b"user.larder.scrub.")?;
        match name {
            b"stop" => Some(Self::Stop),
            _ => {
                let rate = name.strip_prefix(b"start.")?;
                std::str::from_utf8(rate)
                    .ok()?
                    .parse()
                    .ok()
                    .map(Self::Start)
            }
        }
    }
}

impl Vfs {
    /// Does what the user `uid` asks by this attribute's name; `None` where the name is no request.
    pub fn request(&self, ino: u64, name: &[u8], uid: u32) -> Option<Answer<Vec<u8>>> {
        let asked = Asked::parse(name).filter(|_| ino == ROOT)?;
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Some(Err(Errno::PERM));
        }
        let cache = self.source.cache();
        match asked {
            Asked::Start(rate) => cache.scrub(rate),
            Asked::Stop => cache.stop_scrub(),
        }
        Some(serde_json::to_vec(&cache.stats().scrub).map_err(|_| Errno::IO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_request_or_it_is_not() {
        let parse = |name: &str| Asked::parse(name.as_bytes());
        assert_eq!(parse("user.larder.scrub.stop"), Some(Asked::Stop));
        assert_eq!(parse("user.larder.scrub.start.0"), Some(Asked::Start(0)));
        assert_eq!(
            parse("user.larder.scrub.start.33554432"),
            Some(Asked::Start(32 << 20))
        );
        for name in [
            "user.larder.scrub",
            "user.larder.scrub.start",
            "user.larder.scrub.start.-1",
            "user.larder.stats",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
