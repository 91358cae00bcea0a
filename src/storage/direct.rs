//! Reading past the page cache: what the disk itself has, without pushing out what readers use.
//!
//! Where the file system has no O_DIRECT, or refuses it for this file, the read goes through the page cache. A caller
//! must not care: some file systems take the flag and read through the page cache all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::below::open_below;
use super::layout::INDEX_NAME;
use super::{CacheDir, ChunkFile, Storage};

/// What O_DIRECT wants of offsets, lengths and memory on every disk that there is.
const ALIGN: usize = 4096;

impl CacheDir {
    /// Reads from a chunk file as [`Storage::read_chunk`] does, from the disk where that is possible.
    pub(super) fn read_direct(
        &self,
        file: ChunkFile,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        let path = self.place(file.slot);
        let open = match open_below(self.dir(), &path, OFlags::RDONLY | OFlags::DIRECT) {
            Ok(open) => open,
            Err(Errno::NOENT) => return Ok(0),
            Err(Errno::INVAL | Errno::MFILE | Errno::NFILE) => {
                return self.read_chunk(file, offset, buf);
            }
            Err(error) => return Err(error.into()),
        };
        match read_aligned(&open, offset, buf) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.read_chunk(file, offset, buf)
            }
            read => read,
        }
    }
}

impl CacheDir {
    /// Reads the head of the index from the disk where that is possible.
    pub(super) fn read_index_direct(&self) -> io::Result<()> {
        let mut head = [0; ALIGN];
        match open_below(self.dir(), INDEX_NAME, OFlags::RDONLY | OFlags::DIRECT) {
            Ok(open) => match read_aligned(&open, 0, &mut head) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.read_index(0, &mut head)
                }
                read => read.map(drop),
            },
            Err(Errno::INVAL | Errno::MFILE | Errno::NFILE) => self.read_index(0, &mut head),
            Err(error) => Err(error.into()),
        }
    }
}

/// Fills `buf` from a file that was opened with O_DIRECT; fewer bytes than asked only at its end.
fn read_aligned(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    if !offset.is_multiple_of(ALIGN as u64) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let len = buf.len().next_multiple_of(ALIGN);
    let mut memory = vec![0; len + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    let aligned = memory.get_mut(start..start + len).unwrap_or_default();
    let mut done = 0;
    while done < len {
        let rest = aligned.get_mut(done..).unwrap_or_default();
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // A read that ends within a sector ends at the end of the file.
        if !done.is_multiple_of(ALIGN) {
            break;
        }
    }
    let got = done.min(buf.len());
    let (front, _) = buf.split_at_mut(got);
    front.copy_from_slice(aligned.get(..got).unwrap_or_default());
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::CreateOptions;
    use crate::units::SlotId;

    #[test]
    fn the_disk_gives_what_was_written_and_stops_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = CacheDir::open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
        let file = ChunkFile {
            slot: SlotId(3),
            generation: 0,
        };
        let data: Vec<u8> = (0..20_001u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        cache.write_chunk(file, 0, &data).unwrap();
        for (offset, len) in [
            (0usize, 20_001usize),
            (0, 30_000),
            (4096, 4096),
            (16_384, 4096),
        ] {
            let mut buf = vec![0xEE; len];
            let got = cache
                .read_chunk_cold(file, offset as u64, &mut buf)
                .unwrap();
            let end = data.len().min(offset + len);
            assert_eq!(buf.get(..got).unwrap(), data.get(offset..end).unwrap());
        }
        let absent = ChunkFile {
            slot: SlotId(4),
            ..file
        };
        assert_eq!(cache.read_chunk_cold(absent, 0, &mut [0; 10]).unwrap(), 0);
    }
}
