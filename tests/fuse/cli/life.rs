//! The way of a mount from the command line and back, with and without accidents.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::super::on_disk::wait_until_on_disk;
use super::rig::{Rig, larder, mount_type, pattern, refused, run, stderr, wait_until};

#[test]
fn mount_stats_info_umount_and_mount_again() {
    let rig = Rig::settled();
    let said = rig.mount();
    let cache = rig.cache();
    assert!(said.contains("cache: 64.0 MiB at ") && said.contains(cache.to_str().unwrap()));
    assert!(said.contains(", new"), "{said}");
    assert_eq!(mount_type(&rig.mnt()).as_deref(), Some("fuse.larder"));
    let data = fs::read(rig.mnt().join("data")).unwrap();
    assert!(data == pattern(3 << 20), "wrong content");

    let stats = rig.stats(&rig.mnt());
    assert!(
        stats["remote_bytes"].as_u64().unwrap() >= 3 << 20,
        "{stats}"
    );
    assert_eq!(rig.stats(&cache)["pid"], stats["pid"]);
    let shown = run(larder().arg("stats").arg(rig.mnt()));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.lines().any(|line| line.starts_with("remote_bytes ")),
        "{shown}"
    );

    let info = run(larder().arg("info").arg(rig.mnt().join("data")));
    let info = String::from_utf8(info.stdout).unwrap();
    for name in ["size", "tag", "chunk-size", "validator"] {
        assert!(
            info.lines().any(|line| line.trim().starts_with(name)),
            "no {name} in {info}"
        );
    }

    rig.umount();
    assert!(!rig.is_mounted());
    assert_eq!(rig.stats(&cache)["state"], "closed cleanly");
    // At once: the daemon has let go of the cache.
    let said = rig.mount();
    assert!(said.contains(", kept"), "{said}");
    let data = fs::read(rig.mnt().join("data")).unwrap();
    assert!(data == pattern(3 << 20), "wrong content");
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    rig.umount();
}

#[test]
fn a_second_mount_on_a_cache_names_the_holder() {
    let rig = Rig::new();
    rig.mount();
    let other = rig.path("other");
    fs::create_dir(&other).unwrap();
    let pid = rig.daemon().as_raw_nonzero().to_string();
    let mnt = rig.mnt();
    let mut second = larder();
    second.arg("mount").arg(rig.remote()).arg(&other);
    second.arg("--cache-dir").arg(rig.cache());
    refused(
        &mut second,
        4,
        &[&pid, mnt.to_str().unwrap(), "--cache-dir"],
    );
    assert_eq!(mount_type(&other), None);

    // The same mount point is refused as well, before the cache is looked at.
    refused(
        &mut rig.mount_command(),
        5,
        &["mounted there already", "umount"],
    );
    rig.umount();
}

#[test]
fn a_killed_daemon_is_replaced_by_the_next_mount_and_nothing_is_fetched_again() {
    let rig = Rig::settled();
    rig.mount();
    let data = fs::read(rig.mnt().join("data")).unwrap();
    assert!(data == pattern(3 << 20), "wrong content");
    wait_until_on_disk(&rig.cache(), [rig.mnt().join("data")]);
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    let dead = || fs::read_dir(rig.mnt()).is_err_and(|e| e.raw_os_error() == Some(107));
    wait_until("the mount is dead", dead);
    refused(
        larder().arg("stats").arg(rig.mnt()),
        1,
        &["is dead", "larder umount"],
    );
    let at_rest = rig.stats(&rig.cache());
    assert!(
        at_rest["state"].as_str().unwrap().contains("died"),
        "{at_rest}"
    );

    rig.mount();
    let data = fs::read(rig.mnt().join("data")).unwrap();
    assert!(data == pattern(3 << 20), "wrong content");
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    rig.umount();
    assert!(!rig.is_mounted(), "the dead mount lay beneath the new one");
}

#[test]
fn umount_clears_a_dead_mount_point_and_nothing_else() {
    let rig = Rig::new();
    refused(
        larder().arg("umount").arg(rig.mnt()),
        1,
        &["not a larder mount", "findmnt"],
    );
    refused(
        larder().arg("umount").arg(rig.path("absent")),
        1,
        &["absent"],
    );
    rig.mount();
    let pid = rig.daemon();
    kill_process(pid, Signal::KILL).unwrap();
    wait_until("the mount is dead", || fs::read_dir(rig.mnt()).is_err());
    rig.umount();
    assert!(!rig.is_mounted());
    fs::read_dir(rig.mnt()).unwrap();
}

#[test]
fn an_open_file_holds_off_umount_but_not_a_lazy_one() {
    let rig = Rig::new();
    rig.mount();
    let open = fs::File::open(rig.mnt().join("data")).unwrap();
    refused(
        larder().arg("umount").arg(rig.mnt()),
        1,
        &["is in use", "umount -l"],
    );
    assert!(rig.is_mounted());
    let pid = rig.daemon();
    let lazy = run(larder().args(["umount", "-l"]).arg(rig.mnt()));
    assert!(lazy.status.success(), "{}", stderr(&lazy));
    assert!(!rig.is_mounted());
    let mut tail = [0u8; 4096];
    open.read_exact_at(&mut tail, (3 << 20) - 4096).unwrap();
    assert!(
        tail[..] == pattern(3 << 20)[(3 << 20) - 4096..],
        "wrong content"
    );
    drop(open);
    let gone = || rustix::process::test_kill_process(pid).is_err();
    wait_until("the daemon ends with its last open file", gone);
    assert_eq!(rig.stats(&rig.cache())["state"], "closed cleanly");
}

#[test]
fn the_foreground_ends_cleanly_on_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let rig = Rig::new();
        let mut child = Foreground::start(&rig);
        wait_until("the mount answers", || rig.mnt().join("hello").exists());
        let pid = Pid::from_child(&child.0);
        assert_eq!(rig.daemon(), pid);
        kill_process(pid, signal).unwrap();
        let status = child.0.wait().unwrap();
        assert!(status.success(), "{signal:?}: {status}");
        assert!(!rig.is_mounted());
        assert_eq!(rig.stats(&rig.cache())["state"], "closed cleanly");
    }
}

#[test]
fn the_foreground_ends_with_the_mount() {
    let rig = Rig::new();
    let mut child = Foreground::start(&rig);
    wait_until("the mount answers", || rig.mnt().join("hello").exists());
    rig.umount();
    assert!(child.0.wait().unwrap().success());
}

/// `larder mount -f`, killed at the end whatever happens.
struct Foreground(Child);

impl Foreground {
    fn start(rig: &Rig) -> Self {
        let mut command = rig.mount_command();
        command.arg("-f").stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_in_the_background_holds_no_terminal_and_logs_to_the_cache() {
    let rig = Rig::new();
    // Were the daemon to keep standard error open, reading it to its end would wait for the unmount.
    let mut child = rig
        .mount_command()
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(rig.is_mounted());
    let log = rig.cache().join("larder.log");
    assert_eq!(fs::metadata(log).unwrap().mode() & 0o777, 0o600);
    let mode = fs::metadata(rig.cache()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
    rig.umount();
}

#[test]
fn a_signal_does_not_end_a_mount_that_is_starting() {
    for signal in [Signal::HUP, Signal::USR1].into_iter().cycle().take(10) {
        let rig = Rig::new();
        let mut command = rig.mount_command();
        let starter = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut starter = starter.spawn().unwrap();
        // From the first moment at which there is a daemon.
        let daemon = loop {
            if let Some(child) = child_of(starter.id()) {
                break child;
            }
            assert!(starter.try_wait().unwrap().is_none(), "no daemon was seen");
        };
        kill_process(daemon, signal).unwrap();
        let output = starter.wait_with_output().unwrap();
        assert!(output.status.success(), "{signal:?}: {}", stderr(&output));
        assert_eq!(rig.daemon(), daemon);
        rig.umount();
    }
}

fn child_of(pid: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

#[test]
fn the_terminal_hears_plain_sentences_and_the_log_has_times() {
    let rig = Rig::new();
    rig.mount();
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    wait_until("the mount is dead", || fs::read_dir(rig.mnt()).is_err());
    let again = run(&mut rig.mount_command());
    let said = stderr(&again) + &String::from_utf8_lossy(&again.stdout);
    assert!(
        said.contains("cleared the dead mount point") && !said.contains("INFO"),
        "{said}"
    );
    assert!(said.contains("MiB") && !said.contains(" MB"), "{said}");
    rig.umount();
    let log = fs::read_to_string(rig.cache().join("larder.log")).unwrap();
    let stamped = |line: &&str| line.starts_with("20") && line.contains(" INFO ");
    assert!(log.lines().filter(stamped).count() >= 2, "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn bash_completes_mount_points_and_cachefsck() {
    let rig = Rig::new();
    rig.mount();
    let script = |program: &str| {
        let output = run(larder().args(["completions", "bash", program]));
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let complete = |program: &str, words: &str| {
        let ask = format!(
            "{}\nCOMP_WORDS=({program} {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             f=$(complete -p {program}); f=${{f##*-F }}; f=${{f%% *}}\n\
             $f {program} \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script(program)
        );
        let output = run(std::process::Command::new("bash").args(["--norc", "-c", &ask]));
        String::from_utf8(output.stdout).unwrap()
    };
    let mnt = rig.mnt();
    let mnt = mnt.to_str().unwrap();
    let front = &mnt[..mnt.len() - 1];
    let all = complete("larder", &format!("umount {front}"));
    assert_eq!(all.lines().collect::<Vec<_>>(), [mnt]);
    assert!(
        complete("larder", "umount ''")
            .lines()
            .any(|line| line == mnt)
    );
    assert!(
        complete("larder", &format!("stats {front}"))
            .lines()
            .any(|line| line == mnt)
    );
    assert!(complete("larder", "umo").contains("umount"));
    assert!(complete("larder", "umount --la").contains("--lazy"));
    assert!(complete("cachefsck", "--sal").contains("--salvage"));
    rig.umount();
}
