//! A cache with the index of a terabyte: the first cached byte needs little of it, after a clean stop and after a kill.

use std::fs;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use rustix::process::{Signal, kill_process};

use super::cli::rig::{Rig, wait_until};

/// What the daemon may read before the first cached byte, of an index of 1.6 GiB.
const READ_MAX: u64 = 64 << 20;
const INDEX_MIN: u64 = 1 << 30;

/// Bytes that the daemon has read with system calls.
fn read_by_daemon(rig: &Rig) -> u64 {
    let pid = rig.daemon().as_raw_nonzero();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

fn mount(rig: &Rig) {
    rig.mount_other(&rig.remote(), "1T", &[]);
}

/// Mounts and reads what is cached; says how long that took and how much the daemon read.
fn first_byte(rig: &Rig, clock: &SystemClock) -> (Duration, u64) {
    let began = clock.monotonic();
    mount(rig);
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    let took = clock.monotonic() - began;
    let read = read_by_daemon(rig);
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    (took, read)
}

#[test]
fn a_terabytes_index_is_not_read_before_the_first_cached_byte() {
    let rig = Rig::settled();
    let clock = SystemClock::default();
    mount(&rig);
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    rig.umount();
    let index = fs::metadata(rig.cache().join("index.larder"))
        .unwrap()
        .len();
    assert!(
        index > INDEX_MIN,
        "{index} bytes is not the index of a terabyte"
    );

    let clean = first_byte(&rig, &clock);
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    wait_until("the mount is dead", || fs::read_dir(rig.mnt()).is_err());
    let killed = first_byte(&rig, &clock);
    rig.umount();
    eprintln!("first cached byte: {clean:?} after a clean stop, {killed:?} after a kill");
    for (how, (took, read)) in [("a clean stop", clean), ("a kill", killed)] {
        assert!(read < READ_MAX, "{read} bytes were read after {how}");
        assert!(took < Duration::from_secs(2), "{took:?} after {how}");
    }
}
