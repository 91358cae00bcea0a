//! What a starting daemon tells: on the terminal in the foreground, to its starter through a pipe in the background.
//!
//! The pipe is the daemon's standard output until the mount answers: one JSON object a line. A starter that is gone is a
//! reason to stop: no user would know that there is a mount.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::cli::error::{Exit, Failure};
use crate::cli::output::{Progress, line};

/// One message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Report {
    /// The index is being written: bytes done, bytes in all.
    Progress {
        /// Bytes written.
        done: u64,
        /// Bytes to be written.
        total: u64,
    },
    /// A line for the user.
    Note(String),
    /// The mount answers.
    Ready,
    /// It does not and will not.
    Failed {
        /// The exit code.
        code: u8,
        /// Why.
        sentence: String,
    },
}

impl Report {
    /// The report of a failure.
    pub(super) fn failure(failure: &Failure) -> Self {
        Self::Failed {
            code: failure.exit.code(),
            sentence: failure.sentence.clone(),
        }
    }
}

/// Where a daemon's reports go.
pub(super) enum Reporter {
    /// To the user.
    Terminal(Terminal),
    /// To the process that started this one.
    Starter,
}

impl Reporter {
    /// Delivers one report. Errors where no process is there to hear it.
    pub(super) fn tell(&mut self, report: Report) -> Result<(), Failure> {
        match self {
            Self::Terminal(terminal) => terminal.show(report),
            Self::Starter => {
                let text = serde_json::to_string(&report).map_err(io::Error::other)?;
                let mut out = io::stdout().lock();
                writeln!(out, "{text}")
                    .and_then(|()| out.flush())
                    .map_err(|e| {
                        Failure::failed(format_args!(
                            "the process that started the daemon is gone: {e}"
                        ))
                    })
            }
        }
    }
}

/// Shows reports to the user.
pub(super) struct Terminal(Progress);

impl Terminal {
    /// Nothing shown yet.
    pub(super) fn new() -> Self {
        Self(Progress::new("writing the index"))
    }

    /// Shows one report; a failure comes back as the error that it is.
    pub(super) fn show(&mut self, report: Report) -> Result<(), Failure> {
        if !matches!(report, Report::Progress { .. }) {
            self.0.finish();
        }
        match report {
            Report::Progress { done, total } => {
                self.0.update(done, total);
                Ok(())
            }
            Report::Note(text) => line(format_args!("{text}")),
            Report::Ready => Ok(()),
            Report::Failed { code, sentence } => Err(Failure::new(Exit::from_code(code), sentence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe() {
        let failure = Failure::new(Exit::InUse, "line one\nline two");
        for report in [
            Report::Progress { done: 1, total: 2 },
            Report::Note("cache: 10 GiB".into()),
            Report::Ready,
            Report::failure(&failure),
        ] {
            let text = serde_json::to_string(&report).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        }
        let back = Terminal::new().show(Report::failure(&failure)).unwrap_err();
        assert_eq!(back, failure);
    }
}
