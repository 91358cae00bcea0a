//! A cache with the index of a terabyte: the first cached byte needs little of it, after a clean stop and after a kill.

use std::fs;

use rustix::process::{Signal, kill_process};

use super::cli::rig::{Rig, wait_until};

/// What the daemon may read before the first cached byte, of an index of 1.6 GiB.
const READ_MAX: u64 = 64 << 20;
/// And what it may have in memory: the program itself is some 30 MiB of that.
const MEMORY_MAX: u64 = 256 << 20;
const INDEX_MIN: u64 = 1 << 30;

/// Bytes that the daemon has read and written with system calls, and the most that it had in memory: what it must not do
/// with all of an index. How long that takes is the machine's affair.
fn done_by_daemon(rig: &Rig) -> [u64; 3] {
    let pid = rig.daemon().as_raw_nonzero();
    let number = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.unwrap().trim().trim_end_matches(" kB").parse::<u64>();
        number.unwrap()
    };
    [
        number("io", "rchar:"),
        number("io", "wchar:"),
        number("status", "VmHWM:") << 10,
    ]
}

fn mount(rig: &Rig) {
    rig.mount_other(&rig.remote(), "1T", &[]);
}

/// Mounts and reads what is cached; says what that took the daemon.
fn first_byte(rig: &Rig) -> [u64; 3] {
    mount(rig);
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    let done = done_by_daemon(rig);
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    done
}

#[test]
fn a_terabytes_index_is_not_read_before_the_first_cached_byte() {
    let rig = Rig::settled();
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

    let clean = first_byte(&rig);
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    wait_until("the mount is dead", || fs::read_dir(rig.mnt()).is_err());
    let killed = first_byte(&rig);
    rig.umount();
    eprintln!("first cached byte: {clean:?} after a clean stop, {killed:?} after a kill");
    for (how, done) in [("a clean stop", clean), ("a kill", killed)] {
        let [read, written, memory] = done;
        assert!(read < READ_MAX, "{read} bytes were read after {how}");
        assert!(written < READ_MAX, "{written} were written after {how}");
        assert!(memory < MEMORY_MAX, "{memory} were in memory after {how}");
    }
}
