//! How a command fails: a sentence for the user and an exit code for the script.

use std::fmt::Display;

/// The exit codes of `larder`, as the README lists them. Usage errors are clap's and have code 2 as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// The operation failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The cache directory cannot be used: not a cache, another format or user, a network file system, a disk error.
    Cache = 3,
    /// Another daemon has the cache.
    InUse = 4,
    /// The directory cannot be mounted on, or the machine cannot mount.
    Mount = 5,
    /// The remote cannot be used.
    Remote = 6,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit code of this number; anything unknown is [`Exit::Failed`].
    pub fn from_code(code: u8) -> Self {
        [
            Self::Usage,
            Self::Cache,
            Self::InUse,
            Self::Mount,
            Self::Remote,
        ]
        .into_iter()
        .find(|exit| exit.code() == code)
        .unwrap_or(Self::Failed)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    /// The kind, which is the exit code.
    pub exit: Exit,
    /// What failed, on which value, and what to do.
    pub sentence: String,
}

impl Failure {
    /// A failure of this kind with this sentence.
    pub fn new(exit: Exit, sentence: impl Display) -> Self {
        Self {
            exit,
            sentence: sentence.to_string(),
        }
    }

    /// An operation that failed.
    pub fn failed(sentence: impl Display) -> Self {
        Self::new(Exit::Failed, sentence)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_from_the_daemon_to_its_starter() {
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::Cache,
            Exit::InUse,
            Exit::Mount,
            Exit::Remote,
        ] {
            assert_eq!(Exit::from_code(exit.code()), exit);
        }
        assert_eq!(Exit::from_code(139), Exit::Failed);
    }
}
