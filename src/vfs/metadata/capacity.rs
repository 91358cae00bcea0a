//! The request about space: statfs.

use super::Questions;
use crate::remote::Capacity;

/// What statfs(2) shows.
pub type Statfs = Capacity;

/// What the remote holds and could hold. Where it cannot say: as much as fits, so that df(1) shows the mount.
pub(in crate::vfs) fn statfs(questions: &Questions, done: impl FnOnce(Statfs) + Send + 'static) {
    questions.ask_quietly(
        |remote| async move { remote.capacity().await },
        move |answer| {
            let unknown = Capacity {
                total_bytes: 1 << 50,
                free_bytes: 0,
                total_files: 0,
                free_files: 0,
            };
            done(answer.ok().flatten().unwrap_or(unknown));
        },
    );
}
