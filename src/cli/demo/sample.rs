//! The sample tree: what is in it, and its bytes.
//!
//! The bytes of a file follow from its seed and the offset alone, so that writing is fast and any piece can be checked.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// The bytes that are generated and compared at a time.
pub(super) const PIECE: usize = 1 << 20;
/// The length of the sparse file: 100 GB.
pub(super) const SPARSE_LEN: u64 = 100_000_000_000;
/// Where the sparse file has its only data: in the middle.
pub(super) const SPARSE_DATA_AT: u64 = SPARSE_LEN / 2;
/// How many small files there are.
const SMALL_FILES: u64 = 1000;

/// One file of the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    /// Its name within the tree.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// What its bytes follow from.
    pub seed: u64,
}

/// The names that the steps of the demo ask for.
pub(super) const BIG: &str = "film.bin";
pub(super) const SPARSE: &str = "disk-image.raw";
pub(super) const SMALL_DIR: &str = "notes";
pub(super) const LINK: &str = "latest";

/// The files of the tree, but for the sparse one and the link: from 0 bytes to `big` bytes.
pub(super) fn plan(big: u64) -> Vec<Sample> {
    let file = |name: String, len: u64| (name, len);
    let mut files = vec![
        file("empty".into(), 0),
        file("one-byte".into(), 1),
        file("photos.tar".into(), 64 << 20),
    ];
    let small = |n: u64| match n {
        // One name that has to be written with care wherever names are escaped.
        0 => format!("{SMALL_DIR}/note 0 (100% sure?) #1 + \"\u{fc}\" & more.txt"),
        _ => format!("{SMALL_DIR}/note-{n:04}.txt"),
    };
    files.extend((0..SMALL_FILES).map(|n| file(small(n), 1 + n * 7919 % 32768)));
    files.extend((0..8).map(|n| file(format!("photos/photo-{n}.jpg"), 4 << 20)));
    files.push(file(BIG.into(), big));
    (1u64..)
        .zip(files)
        .map(|(seed, (name, len))| Sample { name, len, seed })
        .collect()
}

/// The word of `seed` with this number (splitmix64).
fn word(seed: u64, number: u64) -> u64 {
    let mut z = (seed << 40 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Fills `buf` with the bytes of `seed` from `offset`, which is a multiple of 8.
pub(super) fn fill(seed: u64, offset: u64, buf: &mut [u8]) {
    for (n, eight) in (offset / 8..).zip(buf.chunks_mut(8)) {
        let bytes = word(seed, n).to_le_bytes();
        for (to, from) in eight.iter_mut().zip(bytes) {
            *to = from;
        }
    }
}

/// Writes one file and calls `wrote` with the bytes of each piece. Returns the checksums of its pieces.
pub(super) fn write(
    root: &Path,
    sample: &Sample,
    mut wrote: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<Vec<u32>> {
    let path = root.join(&sample.name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = File::create(path)?;
    let (mut buf, mut sums) = (vec![0u8; PIECE], Vec::new());
    for (offset, len) in pieces(sample.len) {
        let piece = buf.get_mut(..len).unwrap_or_default();
        fill(sample.seed, offset, piece);
        sums.push(crc32fast::hash(piece));
        file.write_all(piece)?;
        wrote(len as u64)?;
    }
    Ok(sums)
}

/// Writes the sparse file, with one megabyte of data in its middle, and, if wanted, the symbolic link to the big file.
pub(super) fn write_oddities(root: &Path, link: bool) -> io::Result<()> {
    let file = File::create(root.join(SPARSE))?;
    file.set_len(SPARSE_LEN)?;
    let mut data = vec![0u8; PIECE];
    fill(0, 0, &mut data);
    file.write_all_at(&data, SPARSE_DATA_AT)?;
    if link {
        symlink(BIG, root.join(LINK))?;
    }
    Ok(())
}

/// The byte of the sparse file that the demo asks for: in the middle of its data.
pub(super) fn sparse_byte() -> (u64, u8) {
    let mut data = vec![0u8; PIECE];
    fill(0, 0, &mut data);
    let at = PIECE / 2;
    (
        SPARSE_DATA_AT + at as u64,
        data.get(at).copied().unwrap_or_default(),
    )
}

/// The pieces of a file of `len` bytes: offset and length.
pub(super) fn pieces(len: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..len).step_by(PIECE).map(move |offset| {
        let rest = usize::try_from(len - offset).unwrap_or(PIECE);
        (offset, rest.min(PIECE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_seed_and_offset_alone() {
        let mut whole = vec![0u8; 4096];
        fill(7, 0, &mut whole);
        let mut part = vec![0u8; 100];
        fill(7, 1000, &mut part);
        assert_eq!(part, whole[1000..1100]);
        let mut other = vec![0u8; 4096];
        fill(8, 0, &mut other);
        assert_ne!(whole, other);
    }

    #[test]
    fn pieces_cover_a_file_once() {
        for len in [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20] {
            let mut next = 0;
            for (offset, piece) in pieces(len) {
                assert!(offset == next && piece > 0 && piece <= PIECE);
                next += piece as u64;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn the_tree_is_written_as_planned() {
        let dir = tempfile::tempdir().unwrap();
        let mut total = 0;
        for sample in plan(3 << 20).iter().take(3) {
            write(dir.path(), sample, |n| {
                total += n;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(total, (64 << 20) + 1);
        write_oddities(dir.path(), true).unwrap();
        let (at, byte) = sparse_byte();
        let mut found = [0u8];
        let sparse = File::open(dir.path().join(SPARSE)).unwrap();
        sparse.read_exact_at(&mut found, at).unwrap();
        assert_eq!(found, [byte]);
        assert_eq!(sparse.metadata().unwrap().len(), SPARSE_LEN);
    }
}
