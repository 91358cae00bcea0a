//! How the chunk size of a blob's new version is chosen. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::units::{ChunkSize, ObjectName};

/// How the chunk size of a blob's new version is chosen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ChunkPolicy {
    /// One chunk for a blob of up to 64 MiB (the next power of two, at least 64 KiB), 4 MiB for larger ones.
    Auto,
    /// This size for every blob.
    Fixed(ChunkSize),
    /// By the blob's name.
    Rules {
        /// The first whose pattern matches decides.
        rules: Arc<[ChunkRule]>,
        /// What decides where none does.
        otherwise: Box<ChunkPolicy>,
    },
}

impl ChunkPolicy {
    /// The chunk size for a blob of this name and of `size` bytes.
    pub fn choose(&self, name: &ObjectName, size: u64) -> ChunkSize {
        match self {
            Self::Fixed(chunk) => *chunk,
            Self::Auto if size <= ChunkSize::MAX.bytes() => ChunkSize::covering(size),
            Self::Auto => ChunkSize::DEFAULT,
            Self::Rules { rules, otherwise } => rules
                .iter()
                .find(|rule| rule.matches(name))
                .map_or(otherwise.as_ref(), |rule| &rule.policy)
                .choose(name, size),
        }
    }
}

/// A chunk size for the blobs whose names match a pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "RuleText", try_from = "RuleText")]
pub struct ChunkRule {
    pattern: GlobMatcher,
    /// Whether the pattern is held against the whole name, and not against its last component alone.
    whole: bool,
    policy: ChunkPolicy,
}

impl ChunkRule {
    /// A rule for what `pattern` matches: a pattern without `/` is held against the last component of a name, one with
    /// `/` against the whole name, from the root of the remote. `*` and `?` match no `/`; `**` does. Errors with a
    /// sentence where the pattern is none.
    pub fn new(pattern: &str, policy: ChunkPolicy) -> Result<Self, String> {
        let whole = pattern.contains('/');
        let glob = GlobBuilder::new(pattern.strip_prefix('/').unwrap_or(pattern))
            .literal_separator(true)
            .build()
            .map_err(|error| {
                format!(
                    "'{pattern}' is not a valid pattern for file names: {}",
                    error.kind()
                )
            })?;
        Ok(Self {
            pattern: glob.compile_matcher(),
            whole,
            policy,
        })
    }

    fn matches(&self, name: &ObjectName) -> bool {
        let bytes = name.as_bytes();
        let last = || bytes.rsplit(|byte| *byte == b'/').next();
        let held = if self.whole { Some(bytes) } else { last() };
        held.is_some_and(|held| self.pattern.is_match(OsStr::from_bytes(held)))
    }
}

/// A rule as it is written.
#[derive(Serialize, Deserialize)]
struct RuleText {
    pattern: String,
    policy: ChunkPolicy,
}

impl From<ChunkRule> for RuleText {
    fn from(rule: ChunkRule) -> Self {
        let root = if rule.whole { "/" } else { "" };
        Self {
            pattern: format!("{root}{}", rule.pattern.glob()),
            policy: rule.policy,
        }
    }
}

impl TryFrom<RuleText> for ChunkRule {
    type Error = String;

    fn try_from(text: RuleText) -> Result<Self, String> {
        Self::new(&text.pattern, text.policy)
    }
}

impl PartialEq for ChunkRule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.glob() == other.pattern.glob()
            && self.whole == other.whole
            && self.policy == other.policy
    }
}

impl Eq for ChunkRule {}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(log2: u32) -> ChunkPolicy {
        ChunkPolicy::Fixed(ChunkSize::from_bytes(1 << log2).unwrap())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = [
            ("*.parquet", size(20)),
            ("/index/**", size(16)),
            ("a/*/z", size(17)),
            ("big?", ChunkPolicy::Auto),
            ("*", size(18)),
        ];
        let rules = rules.map(|(pattern, policy)| ChunkRule::new(pattern, policy).unwrap());
        let policy = ChunkPolicy::Rules {
            rules: rules.to_vec().into(),
            otherwise: Box::new(size(26)),
        };
        let chosen = |name: &[u8]| {
            let name = ObjectName::new(name);
            policy.choose(&name, 1 << 40).bytes().ilog2()
        };
        assert_eq!(chosen(b"deep/down/x.parquet"), 20);
        assert_eq!(chosen(b"index/x.parquet"), 20, "the first rule goes first");
        assert_eq!(chosen(b"index/deep/down"), 16);
        assert_eq!(chosen(b"other/index/down"), 18);
        assert_eq!(chosen(b"a/b/z"), 17);
        assert_eq!(chosen(b"a/b/c/z"), 18);
        assert_eq!(chosen(b"x/big1"), 22);
        assert_eq!(chosen(b"not utf-8 \xff.parquet"), 20);
        let none = ChunkPolicy::Rules {
            rules: [].into(),
            otherwise: Box::new(size(26)),
        };
        assert_eq!(none.choose(&ObjectName::new(*b"x"), 1), ChunkSize::MAX);
        assert!(
            ChunkRule::new("[a", ChunkPolicy::Auto)
                .unwrap_err()
                .contains("'[a'")
        );
    }
}
