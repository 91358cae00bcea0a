//! What the parts of the program share: the user that it talks to, and how it fails.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The user, as far as the program talks to one.
pub(super) struct Talk<'a> {
    pub out: &'a mut dyn Write,
    pub input: &'a mut dyn BufRead,
    pub terminal: bool,
    /// Set by a signal: the check ends at its next step, a repair after the finding that it is at.
    pub cancelled: Arc<AtomicBool>,
    /// While this is set a signal ends the program at once, since nothing has been changed yet.
    pub asking: Arc<AtomicBool>,
}

/// Why there is no result: the exit code, and a sentence.
#[derive(Debug)]
pub(super) struct Failure(pub u8, pub String);
