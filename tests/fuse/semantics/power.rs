//! What a reader sees after the power went, and of the checks that there are for that.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder::engine::{LastShutdown, ScrubEnd, ScrubKind, Verify};

use super::super::cli::rig::wait_until;
use super::super::mounted::{Mounted, Stage, Wish, content, open_cache};
use super::super::on_disk::wait_until_on_disk;
use super::super::web::files::attribute;

const LEN: usize = 3 << 20;

/// A mount in the boot of this number.
fn mount(stage: &Stage, boot: u8, verify: Verify) -> Mounted {
    stage.mount(Wish {
        boot: Some(boot),
        verify,
        ..Wish::default()
    })
}

/// A stage whose file `f` is wholly cached, and on disk; the machine goes down without a word.
fn cut_after_reading(stage: &Stage) -> Vec<u8> {
    let right = content(1, LEN);
    fs::write(stage.origin("f"), &right).unwrap();
    let mounted = mount(stage, 1, Verify::First);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), right);
    wait_until_on_disk(&stage.path("cache"), [mounted.path("f")]);
    assert_eq!(chunk_files(&stage.path("cache")).len(), 1);
    mounted.cut();
    right
}

fn chunk_files(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![cache.join("chunks")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

/// What a cut does: some pages of the file never reached the disk.
fn damage(stage: &Stage) {
    for path in chunk_files(&stage.path("cache")) {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0; 8192], 1 << 20).unwrap();
    }
}

/// C1. After a power cut a mount answers at once, however large the cache is: larder does not scan the cache first.
#[test]
fn a_mount_after_a_cut_goes_through_nothing() {
    let stage = Stage::new();
    cut_after_reading(&stage);
    let options = larder::storage::CreateOptions {
        capacity: 256 << 20,
        slots: None,
        files: None,
    };
    let path = stage.path("cache");
    let disk = open_cache(&path, &options);
    let deps = larder::engine::CacheDeps {
        host: larder::storage::HostIdentity {
            boot_id: [2; 16],
            ..disk.host()
        },
        storage: std::sync::Arc::new(disk),
        executor: std::sync::Arc::new(larder::engine::DiskPool::for_one_disk().unwrap()),
        clock: std::sync::Arc::new(larder::engine::SystemClock::default()),
    };
    let cache = larder::engine::Cache::open(deps, larder::engine::Config::default()).unwrap();
    let stats = cache.stats();
    assert_eq!(stats.last_stop, LastShutdown::PowerCut);
    assert_eq!((stats.segments_loaded, stats.blocks_checked), (0, 0));
}

/// C2. After a power cut every byte that a program reads is right. larder checks a cached block before its first use,
/// and fetches the block again if the power cut damaged it.
#[test]
fn what_a_cut_damaged_is_fetched_again() {
    let stage = Stage::new();
    let right = cut_after_reading(&stage);
    damage(&stage);
    let mounted = mount(&stage, 2, Verify::First);
    assert_eq!(mounted.cache.last_stop(), LastShutdown::PowerCut);
    assert!(fs::read(mounted.path("f")).unwrap() == right, "wrong bytes");
    assert!(mounted.cache.stats().blocks_bad > 0, "nothing was damaged");
    assert!(mounted.fetched() > 0);
}

/// C3. A power cut loses only the cached data that had not reached the disk, and the chunks (pieces of cached files)
/// that are damaged because of that.
#[test]
fn what_reached_the_disk_is_still_cached() {
    let stage = Stage::new();
    let right = cut_after_reading(&stage);
    let mounted = mount(&stage, 2, Verify::First);
    assert!(fs::read(mounted.path("f")).unwrap() == right, "wrong bytes");
    assert_eq!(mounted.fetched(), 0);
}

/// C4. After a power cut larder checks the cache in the background, at `--scrub-rate`, and removes damaged blocks
/// before a program reads them.
#[test]
fn a_cut_is_followed_by_a_scrub() {
    let stage = Stage::new();
    let right = cut_after_reading(&stage);
    damage(&stage);
    let mounted = mount(&stage, 2, Verify::First);
    let scrub = || mounted.cache.stats().scrub;
    wait_until("the scrub is over", || scrub().ended.is_some());
    let done = scrub();
    assert_eq!(
        (done.kind, done.ended),
        (Some(ScrubKind::Suspect), Some(ScrubEnd::Finished))
    );
    assert_eq!((done.dropped_slots, mounted.fetched()), (1, 0));
    assert!(fs::read(mounted.path("f")).unwrap() == right, "wrong bytes");
}

/// C5. With `--verify=always`, larder verifies the checksums of all bytes in every read that reaches it. Reads that the
/// kernel answers from its own page cache do not reach larder.
#[test]
fn always_is_every_read_that_reaches_larder() {
    let stage = Stage::new();
    let right = content(2, 65_536);
    fs::write(stage.origin("f"), &right).unwrap();
    let checked_by_a_read = |mounted: &Mounted, forget: bool| {
        let file = fs::File::open(mounted.path("f")).unwrap();
        if forget {
            rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
        let before = mounted.cache.stats().blocks_checked;
        let mut bytes = vec![0; right.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, right);
        mounted.cache.stats().blocks_checked - before
    };
    for (verify, always) in [(Verify::First, false), (Verify::Always, true)] {
        let mounted = mount(&stage, 1, verify);
        fs::read(mounted.path("f")).unwrap();
        wait_until("it is cached", || {
            attribute(&mounted.path("f"), "cached-bytes") == right.len().to_string()
        });
        checked_by_a_read(&mounted, true);
        assert_eq!(checked_by_a_read(&mounted, true) > 0, always);
        assert_eq!(checked_by_a_read(&mounted, false), 0);
    }
}

/// C6. `larder scrub` compares all cached data with its checksums, on the disk itself. Reads of programs go first.
/// Damaged blocks are removed and never cause a read error.
#[test]
fn a_scrub_finds_what_is_wrong_on_the_disk() {
    let stage = Stage::new();
    let right = cut_after_reading(&stage);
    let mounted = mount(&stage, 1, Verify::First);
    damage(&stage);
    mounted.cache.scrub(0);
    wait_until("the scrub is over", || {
        mounted.cache.stats().scrub.ended.is_some()
    });
    let done = mounted.cache.stats().scrub;
    assert_eq!(done.ended, Some(ScrubEnd::Finished));
    assert_eq!((done.bad_blocks, done.dropped_slots), (1, 0), "{done:?}");
    assert!(done.checked_blocks > 40, "{done:?}");
    assert!(fs::read(mounted.path("f")).unwrap() == right, "wrong bytes");
}

/// C7. With `--verify=always`, larder notices even what another program writes into the cache's files while they are in
/// use, and fetches that data again.
#[test]
fn always_does_not_even_believe_the_files() {
    let stage = Stage::new();
    let right = content(3, LEN);
    fs::write(stage.origin("f"), &right).unwrap();
    let mounted = mount(&stage, 1, Verify::Always);
    let read = || {
        let file = fs::File::open(mounted.path("f")).unwrap();
        rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let mut bytes = vec![0; right.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    assert_eq!(read(), right);
    wait_until("it is cached", || mounted.cache.stats().blocks_filled >= 48);
    let fetched = mounted.fetched();
    assert_eq!(read(), right);
    assert_eq!(mounted.fetched(), fetched, "it is read from the cache");
    damage(&stage);
    assert!(read() == right, "wrong bytes");
    assert!(mounted.cache.stats().blocks_bad > 0, "nobody noticed");
}
