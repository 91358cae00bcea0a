//! Reads that must not wait for the disk (`preadv2` with `RWF_NOWAIT`).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, ReadWriteFlags};

use super::page_cache::is_in_memory;
use super::thread_io::blocks_read;
use crate::storage::api::NowRead;

/// What is known of the file system's reads without waiting.
#[derive(Debug, Default)]
pub(super) struct NoWait {
    /// Set once the file system said that it cannot read without waiting, so that it is not tried again and again.
    always_waits: AtomicBool,
}

impl NoWait {
    /// Whether the file system said that it cannot read without waiting.
    pub(super) fn is_unsupported(&self) -> bool {
        self.always_waits.load(Ordering::Relaxed)
    }

    /// Reads from `file` at `offset` what is in memory.
    pub(super) fn read(&self, file: &File, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        if self.is_unsupported() {
            return Ok(NowRead::Unsupported);
        }
        // The read itself would begin to bring in what is missing, and wait for that where the disk hangs.
        if is_in_memory(file, offset, buf.len()) == Some(false) {
            return Ok(NowRead::Refused);
        }
        loop {
            let flags = ReadWriteFlags::NOWAIT;
            let before = blocks_read();
            match rustix::io::preadv2(file, &mut [IoSliceMut::new(buf)], offset, flags) {
                // It found nothing in memory, but the disk was quick: these bytes were not there before.
                Ok(_) if blocks_read() != before => return Ok(NowRead::Refused),
                Ok(len) => return Ok(NowRead::Bytes(len)),
                Err(Errno::AGAIN) => return Ok(NowRead::Refused),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.always_waits.store(true, Ordering::Relaxed);
                    return Ok(NowRead::Unsupported);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
