//! Telling the kernel that what it knows is outdated.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{INodeNo, Notifier, Session};
use rustix::io::Errno;

use super::glue::Glue;
use crate::vfs::Invalidator;

/// The notification FUSE_NOTIFY_INVAL_ENTRY of the kernel's interface.
const INVAL_ENTRY: u32 = 3;
/// Its flag FUSE_EXPIRE_ONLY: the entry is to be looked up again, and is not taken away. Fuser knows no such flag.
const EXPIRE_ONLY: u32 = 1;

/// The kernel's side of one mount.
pub(super) struct Kernel {
    notifier: Notifier,
    device: OwnedFd,
    can_expire: Arc<AtomicBool>,
}

impl Kernel {
    /// `can_expire`: whether the kernel knows how to forget an entry without taking it away.
    pub(super) fn new(
        session: &Session<Glue>,
        can_expire: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            notifier: session.notifier(),
            device: session.as_fd().try_clone_to_owned()?,
            can_expire,
        })
    }
}

impl Invalidator for Kernel {
    fn invalidate_attributes(&self, ino: u64) {
        // An offset below zero spares the pages: only the attributes are asked for again.
        if let Err(error) = self.notifier.inval_inode(INodeNo(ino), -1, 0) {
            tracing::debug!("the kernel cannot forget the attributes of inode {ino}: {error}");
        }
    }

    fn invalidate_pages(&self, ino: u64) {
        // From the first byte; a length of zero is all there is.
        match self.notifier.inval_inode(INodeNo(ino), 0, 0) {
            Ok(()) => {}
            // The kernel has forgotten the inode by itself.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("the kernel keeps the pages of inode {ino}: {error}"),
        }
    }

    fn invalidate_name(&self, parent: u64, name: &[u8], is_dir: bool) {
        // A kernel before 6.2 would take the entry away, and with a directory whatever is mounted in it. Without its entry
        // being forgotten, a directory is still listed again.
        if is_dir && !self.can_expire.load(Ordering::Relaxed) {
            return;
        }
        match rustix::io::write(&self.device, &message(parent, name)) {
            // It has forgotten the name by itself.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => tracing::debug!("the kernel cannot forget a name: {error}"),
        }
    }
}

/// The bytes of the notification: the head that all have, then fuse_notify_inval_entry_out and the name with its end.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel's interface has the byte order of the machine"
)]
fn message(parent: u64, name: &[u8]) -> Vec<u8> {
    let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(33 + name.len());
    message.extend_from_slice(&short(33 + name.len()).to_ne_bytes());
    message.extend_from_slice(&INVAL_ENTRY.to_ne_bytes());
    message.extend_from_slice(&0u64.to_ne_bytes());
    message.extend_from_slice(&parent.to_ne_bytes());
    message.extend_from_slice(&short(name.len()).to_ne_bytes());
    message.extend_from_slice(&EXPIRE_ONLY.to_ne_bytes());
    message.extend_from_slice(name);
    message.push(0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_the_kernel_wants_it() {
        let message = message(0x42, b"abc");
        assert_eq!(message.len(), 36);
        #[cfg(target_endian = "little")]
        assert_eq!(
            message,
            [
                0x24, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 3, 0,
                0, 0, 1, 0, 0, 0, b'a', b'b', b'c', 0
            ]
        );
    }
}
