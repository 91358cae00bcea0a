//! The engine on the golden cache: what is present is served without the remote, and what must be refused is refused
//! with nothing touched.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::check::{CheckOptions, Disk, check};
use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Config, DiskPool, FetchJob, Fetcher, ReadError, Source,
    SystemClock,
};
use larder::format::{BlobKind, Features, SlotRecord, Superblock};
use larder::remote::RemoteError;
use larder::storage::{
    CacheDir, CacheDirError, CreateOptions, HostIdentity, Storage, open_or_create,
};
use larder::units::{ByteRange, ChunkSize, Facts, FileKind, SlotId, Timestamp};
use tempfile::TempDir;

use crate::golden_writer::{Blob, CAPACITY, INDEX, REMOTE, blobs, superblock, write};

/// A copy of the golden cache that belongs to whoever runs the test.
pub(crate) fn copy() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    for (path, data) in write() {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    change_superblocks(dir.path(), |_| {});
    dir
}

/// Rewrites both superblocks, with the test's user as the owner.
fn change_superblocks(dir: &Path, change: impl Fn(&mut Superblock)) {
    let index = fs::File::options()
        .write(true)
        .open(dir.join(INDEX))
        .unwrap();
    for sequence in [0, 1] {
        let mut changed = superblock(sequence);
        changed.owner_uid = rustix::process::geteuid().as_raw();
        change(&mut changed);
        index
            .write_all_at(&changed.encode(), changed.offset())
            .unwrap();
    }
}

/// A remote that cannot be reached, and remembers what was asked of it.
#[derive(Clone, Default)]
struct Unreachable(Arc<Mutex<Vec<(String, ByteRange)>>>);

impl Fetcher for Unreachable {
    fn start(&self, job: FetchJob) {
        self.0
            .lock()
            .unwrap()
            .push((job.name().to_string(), job.range()));
        job.finish(Err(RemoteError::Unreachable("it is not there".into())));
    }
}

struct Opened {
    cache: Arc<Cache>,
    pool: Arc<DiskPool>,
    remote: Unreachable,
}

impl Opened {
    fn new(dir: &Path) -> Self {
        Self::on(dir, CacheDir::host)
    }

    /// Opens the cache on a machine that says this of itself.
    fn on(dir: &Path, host: impl Fn(&CacheDir) -> HostIdentity) -> Self {
        let storage = CacheDir::open(dir).unwrap();
        let pool = Arc::new(DiskPool::new(2, 1, 16).unwrap());
        let deps = CacheDeps {
            host: host(&storage),
            storage: Arc::new(storage),
            executor: Arc::clone(&pool) as _,
            clock: Arc::new(SystemClock::default()),
        };
        let cache = Cache::open(deps, Config::default()).unwrap();
        Self {
            cache,
            pool,
            remote: Unreachable::default(),
        }
    }

    /// Reads one range of a blob in the version that the golden cache holds.
    fn read(&self, blob: &Blob, range: ByteRange) -> Result<Vec<u8>, ReadError> {
        // A chunk size of another choice than the record's: the record must outrank it.
        let chunks = ChunkPolicy::Fixed(ChunkSize::MAX);
        let source = Source::new(
            &self.cache,
            REMOTE,
            "",
            Arc::new(self.remote.clone()),
            chunks,
        );
        let (answer, answered) = channel();
        let reader = source.blob(&blob.object(), &facts(blob)).reader();
        reader.read(range, Box::new(move |result| answer.send(result).unwrap()));
        let result = answered.recv_timeout(Duration::from_secs(300)).unwrap();
        result.map(|bytes| bytes.to_vec())
    }

    fn close(self) {
        self.cache.close().unwrap();
        self.pool.shut_down();
    }
}

fn facts(blob: &Blob) -> Facts {
    Facts {
        kind: FileKind::File,
        size: blob.size,
        mtime: blob.mtime,
        ctime: Timestamp {
            secs: 1_700_000_001,
            nanos: 0,
        },
        perm: 0o644,
        uid: 1000,
        gid: 100,
        rdev: 0,
        validator: blob.validator.clone(),
    }
}

/// Every block that the golden cache has, as the blob and the range.
fn present(blobs: &[Blob]) -> Vec<(&Blob, ByteRange)> {
    let mut found = Vec::new();
    for blob in blobs.iter().filter(|blob| blob.kind == BlobKind::File) {
        for chunk in &blob.chunks {
            for n in chunk.present.iter() {
                let len = blob.block(chunk.number, n).len() as u64;
                let start =
                    chunk.number * blob.chunk.bytes() + u64::from(n) * blob.chunk.block_size();
                found.push((blob, ByteRange::at(start, len)));
            }
        }
    }
    found
}

#[test]
fn every_block_is_served_without_the_remote() {
    let dir = copy();
    let blobs = blobs();
    // The second opening finds what the first one proved and wrote again.
    for _ in 0..2 {
        let opened = Opened::new(dir.path());
        let blocks = present(&blobs);
        assert_eq!(blocks.len(), 9);
        for (blob, range) in &blocks {
            let bytes = opened.read(blob, *range).unwrap();
            let expected: Vec<u8> = (range.start..range.end).map(|at| blob.byte(at)).collect();
            assert!(bytes == expected, "{} {range}", blob.object());
        }
        let asked = opened.remote.0.lock().unwrap().clone();
        assert!(asked.is_empty(), "the remote was asked for {asked:?}");
        opened.close();
    }
}

#[test]
fn what_is_absent_is_asked_of_the_remote() {
    let dir = copy();
    let opened = Opened::new(dir.path());
    let blob = &blobs()[1];
    let error = opened.read(blob, ByteRange::at(8192, 10)).unwrap_err();
    assert!(matches!(error, ReadError::Remote(_)), "{error}");
    let asked = opened.remote.0.lock().unwrap().clone();
    assert_eq!(
        asked,
        [("data/two-chunks".to_owned(), ByteRange::at(8192, 4096))]
    );
    opened.close();
}

#[test]
fn nothing_present_is_not_taken_from_the_file() {
    let dir = copy();
    let opened = Opened::new(dir.path());
    let blob = &blobs()[4];
    assert!(opened.read(blob, ByteRange::at(0, 100)).is_err());
    opened.close();
}

#[test]
fn a_damaged_block_is_a_miss_and_takes_its_suspect_slot_along() {
    let dir = copy();
    let blob = &blobs()[0];
    damage(dir.path());
    let opened = Opened::new(dir.path());
    // The cache was written in another boot: one bad block drops the slot whole, the good block with it.
    for start in [0, 4096] {
        let error = opened.read(blob, ByteRange::at(start, 10)).unwrap_err();
        assert!(matches!(error, ReadError::Remote(_)), "{start}: {error}");
    }
    opened.close();
}

#[test]
fn a_slot_is_trusted_block_by_block_only_in_a_boot_that_is_known_to_be_the_same() {
    for (boot_id, good_block_is_kept) in [([3; 16], true), ([0; 16], false)] {
        let dir = copy();
        let machine = |storage: &CacheDir| HostIdentity {
            boot_id,
            ..storage.host()
        };
        let (blob, good, bad) = (&blobs()[0], ByteRange::at(0, 10), ByteRange::at(4096, 10));
        let opened = Opened::on(dir.path(), machine);
        opened.read(blob, good).unwrap();
        opened.close();
        damage(dir.path());
        let opened = Opened::on(dir.path(), machine);
        assert!(opened.read(blob, bad).is_err());
        assert_eq!(
            opened.read(blob, good).is_ok(),
            good_block_is_kept,
            "{boot_id:?}"
        );
        opened.close();
    }
}

/// Changes one byte of block 1 of `docs/a.txt`.
fn damage(dir: &Path) {
    let path = dir.join("chunks/01/0000/00000010");
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0x55], 4096).unwrap();
}

/// The files of a directory and their bytes.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.display().to_string(), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Opens the directory in both ways, each of which must refuse it and touch nothing.
fn refused(dir: &Path) -> CacheDirError {
    let before = contents(dir);
    let options = CreateOptions {
        capacity: CAPACITY,
        slots: None,
        files: None,
    };
    let made = open_or_create(dir, &options, &mut |_| {}).map(|_| ());
    assert!(made.is_err(), "it must not be made anew either");
    let error = CacheDir::open(dir).map(|_| ()).unwrap_err();
    assert!(contents(dir) == before, "something was touched");
    error
}

#[test]
fn a_newer_major_version_is_refused() {
    let dir = copy();
    let index = fs::File::options()
        .write(true)
        .open(dir.path().join(INDEX))
        .unwrap();
    for copy in [0, 1] {
        let mut bytes = superblock(copy).encode();
        bytes[16] = 2;
        let offset = superblock(copy).offset();
        let seed = larder::format::Geometry::seed(larder::units::Uuid::default(), offset);
        larder::format::reseal(&mut bytes, seed);
        index.write_all_at(&bytes, offset).unwrap();
    }
    let error = refused(dir.path());
    assert!(
        matches!(error, CacheDirError::Version { major: 2, .. }),
        "{error}"
    );
}

#[test]
fn an_unknown_incompatible_feature_is_refused() {
    let dir = copy();
    let incompat = Features {
        incompat: 1 << 2,
        ..Features::default()
    };
    change_superblocks(dir.path(), |superblock| superblock.features = incompat);
    let error = refused(dir.path());
    assert!(
        matches!(error, CacheDirError::Features { bits: 4, .. }),
        "{error}"
    );
}

#[test]
fn an_unknown_read_only_feature_is_served_and_nothing_is_written() {
    let dir = copy();
    let ro_compat = Features {
        ro_compat: 1 << 9,
        compat: 7,
        ..Features::default()
    };
    change_superblocks(dir.path(), |superblock| superblock.features = ro_compat);
    let before = contents(dir.path());
    let opened = Opened::new(dir.path());
    assert!(opened.cache.is_read_only());
    let blobs = blobs();
    for (blob, range) in present(&blobs) {
        assert_eq!(opened.read(blob, range).unwrap().len() as u64, range.len());
    }
    opened.cache.tick();
    opened.close();
    let mut after = contents(dir.path());
    after.retain(|path, _| !path.ends_with("/LOCK"));
    assert!(after == before, "only the lock file may differ");
}

#[test]
fn an_unknown_ignorable_feature_is_ignored() {
    let dir = copy();
    let compat = Features {
        compat: u64::MAX,
        ..Features::default()
    };
    change_superblocks(dir.path(), |superblock| superblock.features = compat);
    let opened = Opened::new(dir.path());
    assert!(!opened.cache.is_read_only());
    opened.close();
}

#[test]
fn a_foreign_file_in_the_place_of_the_index_is_left_alone() {
    let dir = copy();
    fs::write(dir.path().join(INDEX), b"%PDF-1.7 and so on").unwrap();
    // Beside chunk files it may as well be a damaged index; alone it is somebody else's.
    let error = refused(dir.path());
    assert!(error.is_damage(), "{error}");
    fs::remove_dir_all(dir.path().join("chunks")).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, CacheDirError::ForeignIndex(_)), "{error}");
}

#[test]
fn an_index_that_was_cut_is_refused() {
    let dir = copy();
    let index = fs::File::options()
        .write(true)
        .open(dir.path().join(INDEX))
        .unwrap();
    index.set_len(100_000).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            CacheDirError::Length {
                actual: 100_000,
                ..
            }
        ),
        "{error}"
    );
}

/// The record that the slot names was lost with the boot that wrote it. The slot is proven in this one and gets a stamp of
/// its session, whose clean close says nothing of that record.
#[test]
fn a_slot_that_is_proven_in_another_boot_vouches_for_no_record_of_the_one_before() {
    let dir = copy();
    let slot = SlotId(16);
    let record = |cache: &CacheDir| {
        let (uuid, geometry) = (cache.superblock().uuid, cache.superblock().geometry);
        let offset = geometry.slot_offset(slot);
        let mut sector = [0; 512];
        cache.read_index(offset, &mut sector).unwrap();
        (offset, SlotRecord::decode(&sector, uuid, offset).unwrap())
    };
    let cache = CacheDir::open(dir.path()).unwrap();
    let (offset, mut named) = record(&cache);
    named.blob_hint = Some(30);
    let sector = named.encode(cache.superblock().uuid, offset);
    cache.write_index(offset, &sector).unwrap();
    drop(cache);
    let opened = Opened::new(dir.path());
    let blob = &blobs()[0];
    assert!(opened.read(blob, ByteRange::at(0, blob.size)).is_ok());
    opened.close();
    let cache = CacheDir::open_for_check(dir.path()).unwrap();
    let proven = record(&cache).1.stamp.epoch();
    assert_eq!((named.stamp.epoch(), proven), (3, 4));
    let go_on = &mut |_| ControlFlow::Continue(());
    let report = check(Disk::of(&cache), CheckOptions::DEEP, go_on).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}
