//! Looking at a cache while its daemon is at work.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::rig::{cachefsck, told};
use crate::cli::rig::{Rig, SetAtEnd, pattern};

/// Small files are read for the first time, then superseded and read again, so that slots and records are written all the
/// while, new ones and old ones in place.
#[test]
fn a_look_beside_a_busy_mount_finds_nothing() {
    const FILES: u32 = 2000;
    let rig = Rig::new();
    let make = |round: u32| {
        for n in 0..FILES {
            let len = 4096 + (n * 7919 + round * 104_729) % 60_000;
            fs::write(rig.remote().join(format!("file-{n}")), pattern(len)).unwrap();
        }
        // Old enough to be kept.
        std::thread::sleep(Duration::from_millis(2200));
    };
    make(0);
    let mut mount = rig.mount_command();
    mount.args(["--metadata-ttl", "minimal"]);
    assert!(mount.status().unwrap().success());
    let (over, checks) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Two rounds, and more of them where the checks are slower.
            for round in 1.. {
                for n in 0..FILES {
                    fs::read(rig.mnt().join(format!("file-{n}"))).unwrap();
                }
                let enough = round > 1 && checks.load(Ordering::Relaxed) > 3;
                if enough || over.load(Ordering::Relaxed) {
                    break;
                }
                make(round);
            }
        });
        // A check that finds something ends the reader as well.
        let _over = SetAtEnd(&over);
        while !reader.is_finished() {
            let (code, text, said) = told(cachefsck().args(["-nv", "--deep"]).arg(rig.cache()));
            assert_eq!(code, 0, "{text}{said}");
            checks.fetch_add(1, Ordering::Relaxed);
        }
    });
    rig.umount();
    let (code, text, said) = told(cachefsck().args(["-p", "--deep"]).arg(rig.cache()));
    assert_eq!(code, 0, "{text}{said}");
    assert!(!text.contains(": 0 of"), "nothing was kept: {text}");
}
