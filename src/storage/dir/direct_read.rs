//! Reading past the page cache: what the disk itself has, without pushing out what readers use.
//!
//! Where the file system has no O_DIRECT, or refuses it for this file, the caller reads through the page cache. What it
//! reads must be right either way: some file systems take the flag and read through the page cache all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::open_at::open_at;

/// What O_DIRECT wants of offsets, lengths and memory on every disk that there is.
pub(super) const ALIGN: usize = 4096;

/// Fills `buf` from the file at `path` below `dir`, from the disk itself; fewer bytes than `buf` holds only at its end.
/// `None` where the file system cannot do that for this file or this read, or no descriptor is left. Errors with
/// `NotFound` where there is no such file.
pub(super) fn read_direct(
    dir: &File,
    path: &str,
    offset: u64,
    buf: &mut [u8],
) -> io::Result<Option<usize>> {
    let open = match open_at(dir, path, OFlags::RDONLY | OFlags::DIRECT) {
        Ok(open) => open,
        Err(Errno::INVAL | Errno::MFILE | Errno::NFILE) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match read_aligned(&open, offset, buf) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        read => read.map(Some),
    }
}

/// Fills `buf` from a file that was opened with O_DIRECT; fewer bytes than `buf` holds only at its end.
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
    use crate::storage::{ChunkFile, CreateOptions, Storage, open_or_create};
    use crate::units::SlotId;

    #[test]
    fn the_disk_gives_what_was_written_and_stops_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
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
