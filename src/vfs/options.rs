//! What a mounted file system can be told.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::Owner;
use crate::engine::Clock;

/// For how long names, attributes and listings are believed without asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataTtl {
    /// Not at all: every open and every stat asks the remote.
    Minimal,
    /// For ever: the remote never changes.
    Indefinite,
    /// This many seconds.
    Seconds(u64),
}

/// A time-to-live that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the metadata TTL {0:?} is not valid: give seconds (60s), minutes (5m), hours (2h), \"minimal\" or \"indefinite\""
)]
pub struct BadTtl(String);

impl MetadataTtl {
    /// As a duration; "indefinite" is ten years.
    pub fn duration(self) -> Duration {
        match self {
            Self::Minimal => Duration::ZERO,
            Self::Indefinite => Duration::from_secs(10 * 365 * 24 * 3600),
            Self::Seconds(seconds) => Duration::from_secs(seconds).min(Self::Indefinite.duration()),
        }
    }
}

impl Default for MetadataTtl {
    fn default() -> Self {
        Self::Seconds(60)
    }
}

impl FromStr for MetadataTtl {
    type Err = BadTtl;

    fn from_str(text: &str) -> Result<Self, BadTtl> {
        let bad = || BadTtl(text.to_owned());
        match text {
            "minimal" => return Ok(Self::Minimal),
            "indefinite" => return Ok(Self::Indefinite),
            _ => {}
        }
        let (digits, scale) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], 60),
            Some((at, 'h')) => (&text[..at], 3600),
            _ => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(Self::Seconds).ok_or_else(bad)
    }
}

/// How a file system is served.
pub struct VfsOptions {
    /// For how long metadata is believed.
    pub metadata_ttl: MetadataTtl,
    /// The clock that measures it.
    pub clock: Arc<dyn Clock>,
    /// What `user.larder.stats` on the root shows: JSON.
    pub stats: Arc<dyn Fn() -> String + Send + Sync>,
    /// What `user.larder.cache-dir` on the root shows: the cache directory's path.
    pub cache_dir: Vec<u8>,
    /// Who owns what is shown.
    pub owner: Owner,
    /// How many entries of listings are kept at most.
    pub listed_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_read_or_refused_with_a_sentence() {
        let read = |text: &str| text.parse::<MetadataTtl>();
        assert_eq!(read("60s"), Ok(MetadataTtl::Seconds(60)));
        assert_eq!(read("7"), Ok(MetadataTtl::Seconds(7)));
        assert_eq!(read("2h"), Ok(MetadataTtl::Seconds(7200)));
        assert_eq!(read("minimal"), Ok(MetadataTtl::Minimal));
        assert_eq!(read("indefinite"), Ok(MetadataTtl::Indefinite));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999h", "ü"] {
            assert!(
                read(bad).unwrap_err().to_string().contains("give seconds"),
                "{bad}"
            );
        }
        assert_eq!(
            MetadataTtl::Seconds(u64::MAX).duration(),
            MetadataTtl::Indefinite.duration()
        );
    }
}
