//! Bytes: whole, in parts, past the end, mapped, direct, sparse.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use larder::remote::SlowSettings;

use super::mounted::{Stage, Wish, content};

#[test]
fn every_size_is_read_as_it_is_cold_warm_and_after_a_remount() {
    let stage = Stage::new();
    let sizes = [
        0usize, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_000_000, 5_000_001,
    ];
    for (seed, &size) in sizes.iter().enumerate() {
        let bytes = content(seed as u64, size);
        fs::write(stage.origin(size.to_string()), bytes).unwrap();
    }
    let check = |mounted: &super::mounted::Mounted| {
        for (seed, &size) in sizes.iter().enumerate() {
            let read = fs::read(mounted.path(size.to_string())).unwrap();
            assert!(read == content(seed as u64, size), "{size} bytes");
        }
    };
    let mounted = stage.mount(Wish::default());
    check(&mounted);
    let fetched = mounted.fetched();
    let total: usize = sizes.iter().sum();
    assert_eq!(fetched, total as u64, "every byte comes once");
    check(&mounted);
    assert_eq!(mounted.fetched(), fetched);
    drop(mounted);
    let mounted = stage.mount(Wish::default());
    check(&mounted);
    assert_eq!(mounted.fetched(), 0, "all of it is in the cache");
}

#[test]
fn one_byte_of_a_huge_sparse_file_costs_its_block_and_the_first() {
    let stage = Stage::new();
    let size = 100 << 30;
    let file = File::create(stage.origin("huge")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"x", size / 2).unwrap();
    drop(file);
    let mounted = stage.mount(Wish::default());
    let file = File::open(mounted.path("huge")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    let mut byte = [0];
    file.read_exact_at(&mut byte, size / 2).unwrap();
    assert_eq!(byte, *b"x");
    assert!(
        mounted.fetched() <= 2 * (64 << 10),
        "{} bytes for one",
        mounted.fetched()
    );
    // Offsets above 4 GiB, the last byte, and what lies behind it.
    file.read_exact_at(&mut byte, size - 1).unwrap();
    assert_eq!(byte, [0]);
    assert_eq!(file.read_at(&mut byte, size).unwrap(), 0);
}

#[test]
fn eight_readers_of_one_cold_file_fetch_it_once() {
    let stage = Stage::new();
    let bytes = content(1, 8 << 20);
    fs::write(stage.origin("f"), &bytes).unwrap();
    let mounted = stage.mount(Wish {
        slow: SlowSettings {
            round_trip: std::time::Duration::from_millis(5),
            bytes_per_second: Some(200 << 20),
        },
        ..Wish::default()
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(fs::read(mounted.path("f")).unwrap() == bytes));
        }
    });
    assert_eq!(mounted.fetched(), bytes.len() as u64);
}

#[test]
fn direct_reads_work() {
    let stage = Stage::new();
    let bytes = content(2, 3_000_000);
    fs::write(stage.origin("f"), &bytes).unwrap();
    let mounted = stage.mount(Wish::default());
    for _ in 0..2 {
        let mut read = Vec::new();
        File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(mounted.path("f"))
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == bytes);
    }
}

#[test]
#[expect(
    unsafe_code,
    reason = "a mapping is what is tested, and memmap2 offers none without"
)]
fn mappings_private_and_shared_show_the_bytes() {
    let stage = Stage::new();
    let bytes = content(3, 2_000_003);
    fs::write(stage.origin("f"), &bytes).unwrap();
    let mounted = stage.mount(Wish::default());
    let file = File::open(mounted.path("f")).unwrap();
    // SAFETY: the origin's file is not changed while it is mapped.
    let shared = unsafe { memmap2::Mmap::map(&file).unwrap() };
    // SAFETY: as above.
    let mut private = unsafe { memmap2::MmapOptions::new().map_copy(&file).unwrap() };
    drop(file);
    assert!(shared[..] == bytes[..]);
    private[1_000_000] ^= 0xff;
    assert_eq!(private[1_000_000], bytes[1_000_000] ^ 0xff);
    assert_eq!(shared[1_000_000], bytes[1_000_000]);
    assert!(private[1_000_001..] == bytes[1_000_001..]);
}

#[test]
fn a_file_is_all_data_with_one_hole_at_its_end() {
    let stage = Stage::new();
    let file = File::create(stage.origin("f")).unwrap();
    file.set_len(1 << 20).unwrap();
    drop(file);
    let mounted = stage.mount(Wish::default());
    let mut file = File::open(mounted.path("f")).unwrap();
    let seek = |from: rustix::fs::SeekFrom| rustix::fs::seek(&file, from);
    use rustix::fs::SeekFrom::{Data, Hole};
    assert_eq!(seek(Data(5)), Ok(5));
    assert_eq!(seek(Hole(5)), Ok(1 << 20));
    assert_eq!(seek(Data(1 << 20)), Err(rustix::io::Errno::NXIO));
    assert_eq!(seek(Hole(2 << 20)), Err(rustix::io::Errno::NXIO));
    assert_eq!(file.seek(SeekFrom::End(-1)).unwrap(), (1 << 20) - 1);
}

#[test]
fn a_file_that_makes_up_its_size_breaks_nothing() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("proc")).unwrap();
    let guard = Detach(stage.origin("proc"));
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("proc", stage.origin("proc"), "proc", flags, None).unwrap();
    let mounted = stage.mount(Wish::default());
    // It says that it has no bytes, and has some: none are shown, and nothing breaks.
    assert_eq!(fs::read(mounted.path("proc/version")).unwrap(), b"");
    drop(mounted);
    drop(guard);
}

struct Detach(std::path::PathBuf);

impl Drop for Detach {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
