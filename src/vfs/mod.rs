//! Floor 4: a file system over the cache, without a kernel.
//!
//! [`Vfs`] takes the requests of one mount, and hands each to the room that it belongs to: `names` (which inode serves which
//! name, and its attributes), `files` (what an inode serves, and who has it open), `dirs` (listings), `control` (what a user
//! sees of the cache, and commands), `metadata` (how the remote is asked).
//!
//! A request never waits: what is known is answered on the caller's thread, everything else is asked of the remote or the
//! engine, and the answer comes through a callback. Only the making of a [`Vfs`] waits, for the facts of the root.
//! Invariants:
//!
//! * One inode serves one version for its whole life; the rules are in `names/inodes`, which is pure.
//! * OPEN is the check: within the time-to-live it costs nothing, beyond it one question. A superseded inode answers
//!   ESTALE at open, and the kernel looks the name up again.
//! * The first open of an inode waits for the head of its first fetch (`files`), so that a version of another size or time
//!   than was shown is found before the kernel reads a page of it.
//! * A remote that cannot be asked changes nothing: what was known of a name goes on being served.

mod answer;
mod attr;
mod control;
mod dirs;
mod errno;
mod events;
mod events_thread;
mod file_system;
mod files;
mod guard;
mod kernel_cache;
mod metadata;
mod names;
mod options;
mod shared;

pub use answer::{Answer, Errno};
pub use attr::{Attr, Owner};
pub use control::Xattr;
pub use dirs::{DirEntries, DirEntry, OpenedDir};
pub use file_system::Vfs;
pub use files::{OpenFile, Opened};
pub use guard::guarded;
pub use kernel_cache::Invalidator;
pub use metadata::Statfs;
pub use names::Looked;
pub use options::{MetadataTtl, VfsOptions};
