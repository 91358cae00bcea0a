//! The target `directory`: a real cache directory of which the input damages bytes, lengths, names and kinds of files,
//! checked and put right.
//!
//! Held here: no damage makes opening or checking panic; what is opened for repair is whole afterwards, so that a second
//! check finds nothing and the cache opens; and no file that is not the cache's is ever lost, wherever it is moved.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::check::slot_record;
use crate::check::{CheckOptions, Disk, Means, Mode, Report, recreate, run};
use crate::format::{Geometry, Session, SessionState, block_crc};
use crate::storage::{CacheDir, CacheDirError, ChunkFile, CreateOptions, Storage, open_or_create};
use crate::units::{SlotId, Tag};

/// The bytes of one patch: what to do, three of where, a value, another.
const PATCH_LEN: usize = 6;
/// An input of more patches than this only takes longer.
const PATCHES_MAX: usize = 24;
const INDEX: &str = "index.larder";
const BLOCK: &[u8] = &[0x5a; 4096];
const SLOTS: u32 = 6;
/// What a user put into the directory by mistake.
const FOREIGN: &[u8] = b"the only copy of a thesis";
/// Where: beside the index, among the chunk files, in the place of a directory of theirs, with names of all kinds.
const FOREIGN_PLACES: [&[u8]; 8] = [
    b"thesis.tex",
    b"chunks/thesis.tex",
    b"chunks/00/0000/00000000.old",
    b"chunks/00/0000/ffffffff",
    b"chunks/zz/0000/00000001",
    b"chunks/00/not utf-8 \xff\xfe",
    b"quarantine/thesis.tex",
    b"papers/a\nb/thesis.tex",
];

/// The target. Each six bytes are a patch.
pub fn directory(data: &[u8]) {
    let dir = Scratch::new().expect("the directory for temporary files takes a few");
    let mut foreign = 0;
    for patch in data.as_chunks::<PATCH_LEN>().0.iter().take(PATCHES_MAX) {
        // A patch of a file that an earlier one removed does nothing.
        if let Ok(true) = apply(&dir.0, patch) {
            foreign += 1;
        }
    }
    mend(&dir.0);
    assert!(
        count_foreign(&dir.0) >= foreign,
        "a file of the user's is lost"
    );
}

/// Checks and repairs the directory; a second check finds nothing.
fn mend(dir: &Path) {
    let observe = &mut |_| ControlFlow::Continue(());
    match CacheDir::open_for_repair(dir) {
        Ok(cache) => {
            let disk = Disk::of(&cache).on(cache.host());
            let first = run(disk, Mode::Repair, CheckOptions::DEEP, observe)
                .expect("the disk has no faults");
            if cache.read_only() {
                return;
            }
            assert_eq!(first.open(), 0, "not everything was put right: {first}");
        }
        Err(CacheDirError::Superblock { .. }) => {
            let recreated = recreate(dir, Means::default(), observe);
            recreated.expect("a cache without a superblock is made again");
        }
        // It is refused with a sentence, and nothing was touched.
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    }
    let second = second_look(dir);
    assert!(second.is_clean(), "a second check finds: {second}");
    CacheDir::open(dir).expect("a cache that was put right opens");
}

fn second_look(dir: &Path) -> Report {
    let cache =
        CacheDir::open_for_repair(dir).expect("a cache that was put right opens for repair");
    let disk = Disk::of(&cache).on(cache.host());
    let observe = &mut |_| ControlFlow::Continue(());
    run(disk, Mode::Check, CheckOptions::DEEP, observe).expect("the disk has no faults")
}

/// A cache directory with a few chunks, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-fuzz-{}-{number}", std::process::id());
        let this = Self(std::env::temp_dir().join(name));
        let options = CreateOptions {
            capacity: Geometry::CAPACITY_MIN,
            slots: Some(8),
            files: Some(8),
        };
        let cache = open_or_create(&this.0, &options, &mut |_| {}).map_err(io::Error::other)?;
        fill(&cache)?;
        Ok(this)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fill(cache: &CacheDir) -> io::Result<()> {
    let (uuid, geometry) = (cache.superblock().uuid, cache.superblock().geometry);
    for sequence in [1, 2] {
        let session = Session {
            state: SessionState::Open,
            sequence,
            epoch: 2,
            trusted_epoch: 2,
            boot_id: cache.host().boot_id,
            host_id: cache.host().host_id,
            disk_mount_id: cache.host().disk_mount_id,
            started_at: 0,
            pid: 1,
        };
        cache.write_index(session.offset(), &session.encode(uuid))?;
    }
    for n in 0..SLOTS {
        let slot = SlotId(n);
        let tag = Tag([7; 16]);
        let mut record = slot_record(tag, u64::from(n), u64::from(n), 0);
        record.blob_hint = None;
        if let Some(first) = record.crcs.first_mut() {
            *first = block_crc(tag, u64::from(n), 0, BLOCK);
        }
        let file = ChunkFile {
            slot,
            generation: record.generation,
        };
        cache.write_chunk(file, 0, BLOCK)?;
        let offset = geometry.slot_offset(slot);
        cache.write_index(offset, &record.encode(uuid, offset))?;
    }
    Ok(())
}

/// Does what one patch says; whether that put a file of the user's into the directory.
fn apply(dir: &Path, patch: &[u8; PATCH_LEN]) -> io::Result<bool> {
    let [verb, low, middle, high, value, more] = *patch;
    let at = u64::from(u32::from_le_bytes([low, middle, high, 0]));
    let index = || {
        fs::File::options()
            .read(true)
            .write(true)
            .open(dir.join(INDEX))
    };
    let chunk = |n: u8| dir.join(format!("chunks/00/0000/{:08x}", u32::from(n) % SLOTS));
    match verb % 10 {
        0 => index()?.write_all_at(&[value], at % index()?.metadata()?.len().max(1))?,
        1 => index()?.write_all_at(&[value; 512], sector(at))?,
        2 => {
            let mut bytes = [0; 512];
            index()?.read_exact_at(&mut bytes, sector(at))?;
            index()?.write_all_at(&bytes, sector(u64::from(value) << 9))?;
        }
        3 => index()?.set_len(at % (1 << 20))?,
        4 => fs::remove_file(chunk(value))?,
        5 => fs::File::options()
            .write(true)
            .open(chunk(value))?
            .set_len(at % 200_000)?,
        6 => fs::File::options()
            .write(true)
            .open(chunk(value))?
            .write_all_at(&[more], at % 5000)?,
        7 => fs::rename(chunk(value), chunk(more))?,
        8 => {
            fs::remove_file(chunk(value))?;
            match more % 3 {
                0 => fs::create_dir(chunk(value))?,
                1 => std::os::unix::fs::symlink("../../../LOCK", chunk(value))?,
                _ => {}
            }
        }
        _ => {
            let place = FOREIGN_PLACES[usize::from(value) % FOREIGN_PLACES.len()];
            let path = dir.join(Path::new(std::ffi::OsStr::from_bytes(place)));
            if path.exists() {
                return Ok(false);
            }
            if let Some(above) = path.parent() {
                fs::create_dir_all(above)?;
            }
            fs::write(path, FOREIGN)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn sector(at: u64) -> u64 {
    at % 300 * 512
}

/// How many files anywhere in the directory are the user's.
fn count_foreign(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_foreign(&entry.path()),
        Ok(kind) if kind.is_file() => {
            usize::from(fs::read(entry.path()).is_ok_and(|b| b == FOREIGN))
        }
        _ => 0,
    };
    entries.flatten().map(count).sum()
}
