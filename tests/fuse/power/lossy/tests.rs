//! The lossy disk itself: it keeps what was synced, loses and tears the rest, and answers as it is told.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::{Answer, LossyDisk, Trouble};

/// What a disk shows when it is mounted for a moment.
fn look<T>(disk: &LossyDisk, place: &Path, look: impl FnOnce(&Path) -> T) -> T {
    let _mount = disk.mount(place);
    look(place)
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_was_synced_survives_every_cut_and_the_rest_meets_every_fate() {
    let place = tempfile::tempdir().unwrap();
    let disk = LossyDisk::default();
    let old = [1; 8192];
    let new = [2; 8192];
    look(&disk, place.path(), |root| {
        let mut file = File::create(root.join("synced")).unwrap();
        file.write_all(&old).unwrap();
        file.sync_all().unwrap();
        fs::write(root.join("gone"), "gone").unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        File::open(root).unwrap().sync_all().unwrap();
        File::open(root.join("gone")).unwrap().sync_all().unwrap();
        file.write_all_at(&new, 0).unwrap();
        fs::write(root.join("dir/created"), "created").unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        assert!(disk.pending() >= 4);
    });
    let [mut kept, mut lost, mut torn, mut size_alone] = [0; 4];
    let mut trees = BTreeSet::new();
    for seed in 0..60 {
        look(&disk.cut(seed), place.path(), |root| {
            let synced = fs::read(root.join("synced")).unwrap();
            assert_eq!(synced.len(), 8192);
            for sector in synced.chunks(512) {
                assert!(sector == &old[..512] || sector == &new[..512]);
            }
            match synced {
                all if all == old => lost += 1,
                all if all == new => kept += 1,
                _ => torn += 1,
            }
            let gone = fs::read(root.join("gone"));
            assert!(gone.is_err() || gone.unwrap() == b"gone");
            if let Ok(bytes) = fs::read(root.join("dir/created")) {
                size_alone += usize::from(bytes == [0; 7]);
                assert!(bytes.is_empty() || bytes == [0; 7] || bytes == b"created");
            }
            trees.insert((names(root), names(&root.join("dir"))));
        });
    }
    assert!(kept > 3 && lost > 3 && torn > 3, "{kept} {lost} {torn}");
    assert!(size_alone > 0, "a size without its bytes");
    assert_eq!(
        trees.len(),
        4,
        "create and unlink persist by themselves: {trees:?}"
    );
    look(&disk, place.path(), |root| {
        assert_eq!(
            fs::read(root.join("synced")).unwrap(),
            new,
            "the disk itself goes on"
        );
    });
}

#[test]
fn a_seed_replays() {
    let place = tempfile::tempdir().unwrap();
    let disk = LossyDisk::default();
    look(&disk, place.path(), |root| {
        (0..20).for_each(|n| fs::write(root.join(n.to_string()), vec![n; 5000]).unwrap());
    });
    let state = |seed| {
        look(&disk.cut(seed), place.path(), |root| {
            let names = names(root);
            names
                .into_iter()
                .map(|n| (fs::read(root.join(&n)).unwrap(), n))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(state(7), state(7));
    assert_ne!(state(7), state(8));
    disk.sync();
    assert_eq!(disk.pending(), 0);
    assert_eq!(state(7), state(8), "nothing is left to lose");
}

#[test]
fn a_shared_mapping_works_and_syncfs_lies() {
    let place = tempfile::tempdir().unwrap();
    let disk = LossyDisk::default();
    look(&disk, place.path(), |root| {
        let path = root.join("mapped");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.set_len(8192).unwrap();
        #[expect(unsafe_code, reason = "a mapping is what is tested")]
        // SAFETY: nobody else changes the file while it is mapped.
        let mut mapped = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
        mapped[5000] = 7;
        mapped.flush().unwrap();
        drop(mapped);
        let mut byte = [0];
        File::open(&path)
            .unwrap()
            .read_exact_at(&mut byte, 5000)
            .unwrap();
        assert_eq!(byte, [7]);
        fs::write(root.join("unsynced"), "x").unwrap();
        rustix::fs::syncfs(File::open(root).unwrap()).unwrap();
        assert!(
            disk.pending() > 0,
            "the kernel forwards syncfs by now: let it count"
        );
    });
}

#[test]
fn it_errs_and_hangs_as_it_is_told() {
    let place = tempfile::tempdir().unwrap();
    let disk = LossyDisk::default();
    look(&disk, place.path(), |root| {
        let path = root.join("file");
        let mut file = File::create(&path).unwrap();
        let mut write = || file.write_all(b"x").map_err(|e| e.raw_os_error().unwrap());
        let writes = |answer| {
            disk.trouble(Trouble {
                writes: answer,
                ..Trouble::default()
            })
        };
        for error in [Errno::IO, Errno::NOSPC] {
            writes(Answer::Error(error));
            assert_eq!(write(), Err(error.raw_os_error()));
        }
        writes(Answer::Hang);
        std::thread::scope(|scope| {
            let hung = scope.spawn(write);
            std::thread::sleep(Duration::from_millis(100));
            assert!(!hung.is_finished());
            disk.trouble(Trouble::default());
            assert_eq!(hung.join().unwrap(), Ok(()));
        });
        disk.trouble(Trouble {
            reads: Answer::Error(Errno::IO),
            ..Trouble::default()
        });
        let mut bytes = Vec::new();
        let read = OpenOptions::new()
            .read(true)
            .open(&path)
            .unwrap()
            .read_to_end(&mut bytes);
        let pages_are_warm = read.is_ok();
        assert!(
            pages_are_warm || read.unwrap_err().raw_os_error() == Some(Errno::IO.raw_os_error())
        );
    });
    let reads = Trouble {
        reads: Answer::Error(Errno::IO),
        ..Trouble::default()
    };
    look(&disk, place.path(), |root| {
        disk.trouble(reads);
        assert_eq!(
            fs::read(root.join("file")).unwrap_err().raw_os_error(),
            Some(Errno::IO.raw_os_error())
        );
        disk.trouble(Trouble::default());
        assert_eq!(fs::read(root.join("file")).unwrap(), b"x");
    });
}
