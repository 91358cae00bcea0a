//! A cache whose daemon was killed is a healthy one.

use std::fs;

use rustix::process::{Signal, kill_process, test_kill_process};

use super::rig::{cachefsck, told};
use crate::cli::rig::{Rig, larder, pattern, run, wait_until};

/// The slots of what was read last are written, the records and headers that follow them are not, and nobody writes them
/// after the kill. The next mount ends well, and never looks at those files.
#[test]
fn a_cache_is_healthy_after_a_kill_and_another_mount() {
    const FILES: u32 = 200;
    let rig = Rig::new();
    for n in 0..FILES {
        fs::write(rig.remote().join(format!("file-{n}")), pattern(4096)).unwrap();
    }
    // Old enough to be kept.
    std::thread::sleep(std::time::Duration::from_millis(2200));
    for round in 0..3 {
        rig.mount();
        let daemon = rig.daemon();
        for n in (0..FILES).filter(|n| n % 3 == round) {
            fs::read(rig.mnt().join(format!("file-{n}"))).unwrap();
        }
        kill_process(daemon, Signal::KILL).unwrap();
        wait_until("the daemon is gone", || test_kill_process(daemon).is_err());
        run(larder().args(["umount", "--lazy"]).arg(rig.mnt()));
        sound(&rig, "killed");
        rig.mount();
        rig.umount();
        sound(&rig, "killed, mounted and unmounted");
    }
}

fn sound(rig: &Rig, what: &str) {
    let (code, text, said) = told(cachefsck().args(["-nv", "--deep"]).arg(rig.cache()));
    assert_eq!(code, 0, "{what}: {text}{said}");
    assert!(!text.contains(": 0 of"), "nothing was kept: {text}");
}
