//! A mount that may take little: memory in a control group, and file descriptors.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rig::{Rig, larder, pattern, refused, run, stderr};
use crate::web::servers::{HTML, JSON, Server};

const MIB: u64 = 1 << 20;
/// What a daemon takes of memory beyond its budget at most: what the kernel counts of it in pages, per thread.
const SLACK: u64 = 8 * MIB;

/// A control group below the one of the test, with a limit of memory. Where this machine lets none be made, the daemon is
/// told the same budget, and what it takes is held against that alone.
struct Group(Option<PathBuf>);

impl Group {
    fn new(limit: u64) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "larder-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let of = |line: &str| -> Option<PathBuf> {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            let (mount, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return None,
            };
            let dir = Path::new(mount).join(path).join(&name);
            fs::create_dir(&dir).ok()?;
            match fs::write(dir.join(file), limit.to_string()) {
                Ok(()) => Some(dir),
                Err(_) => fs::remove_dir(&dir).ok().and(None),
            }
        };
        let made = groups.lines().find_map(of);
        if made.is_none() {
            eprintln!("no control group can be made here: the bound is measured alone");
        }
        Self(made)
    }

    /// A command that mounts within the group, `larder mount REMOTE DIR` with these options.
    fn mount(&self, rig: &Rig, remote: &str, limit: u64, more: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let larder = larder();
        let program = larder.get_program().to_owned();
        command.envs(larder.get_envs().filter_map(|(k, v)| Some((k, v?))));
        match &self.0 {
            Some(dir) => {
                let join = "echo $$ > \"$0/cgroup.procs\"; exec \"$@\"";
                command.args(["-c", join]).arg(dir);
            }
            None => {
                command.args(["-c", "exec \"$@\"", "sh"]);
                command.env("LARDER_MEMORY", (limit / 2).to_string());
            }
        }
        command.arg(program).args(["mount", remote]).arg(rig.mnt());
        command.arg("--cache-dir").arg(rig.cache()).args(more);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The daemon's process may take a moment to be gone.
        if let Some(dir) = &self.0 {
            super::rig::wait_until("the group is empty", || fs::remove_dir(dir).is_ok());
        }
    }
}

/// A number of kB of the daemon's /proc/PID/status, in bytes.
fn status(rig: &Rig, field: &str) -> u64 {
    let pid = rig.daemon().as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() << 10
}

fn compare(a: &Path, b: &Path) {
    let (mut a, mut b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let n = a.read(&mut here).unwrap();
        b.read_exact(&mut there[..n]).unwrap();
        assert!(here[..n] == there[..n], "other bytes within {n} from {at}");
        at += n;
        if n == 0 {
            assert_eq!(b.read(&mut there).unwrap(), 0);
            return;
        }
    }
}

/// Four files of 300 MB, each with bytes of its own.
fn four_files(dir: &Path) -> Vec<String> {
    let bytes = pattern(1 << 20);
    let names: Vec<String> = (0..4).map(|n| format!("large{n}")).collect();
    for name in &names {
        let mut file = File::create(dir.join(name)).unwrap();
        for piece in 0..286u32 {
            let mark = format!("{name} {piece} ");
            file.write_all(mark.as_bytes()).unwrap();
            file.write_all(&bytes[mark.len()..]).unwrap();
        }
    }
    names
}

/// Reads the four files at once through mounts in groups of 100, 200 and 300 MiB.
fn four_at_once(rig: &Rig, remote: &str, names: &[String]) {
    for limit in [100, 200, 300].map(|mib| mib * MIB) {
        let group = Group::new(limit);
        let output = run(&mut group.mount(rig, remote, limit, &["--cache-size", "2G"]));
        assert!(output.status.success(), "{}", stderr(&output));
        let pid = rig.daemon();
        let budget = rig.stats(&rig.mnt())["memory_budget_bytes"]
            .as_u64()
            .unwrap();
        assert_eq!(budget, limit / 2, "half of what the group has");
        std::thread::scope(|scope| {
            for name in names {
                let (there, here) = (rig.mnt().join(name), rig.remote().join(name));
                scope.spawn(move || compare(&there, &here));
            }
        });
        assert_eq!(rig.daemon(), pid, "it lives");
        let (peak, shared) = (status(rig, "VmHWM"), status(rig, "RssFile"));
        let anon = peak.saturating_sub(shared);
        eprintln!("limit {limit}: at most {anon} of {budget}");
        assert!(anon <= budget + SLACK, "{anon} of {budget}");
        rig.umount();
        fs::remove_dir_all(rig.cache()).unwrap();
    }
}

#[test]
fn four_large_files_at_once_from_a_directory_fit_into_a_small_group() {
    let rig = Rig::new();
    let names = four_files(&rig.remote());
    std::thread::sleep(std::time::Duration::from_millis(2200));
    four_at_once(&rig, rig.remote().to_str().unwrap(), &names);
}

#[test]
fn four_large_files_at_once_from_nginx_fit_into_a_small_group() {
    let rig = Rig::new();
    let names = four_files(&rig.remote());
    let server = Server::nginx(&rig.remote(), JSON);
    four_at_once(&rig, &server.url(), &names);
}

/// Eight listings at once share the room; one that alone is too large is refused, and its sentence is in the log.
#[test]
fn eight_large_listings_at_once_share_what_there_is() {
    let rig = Rig::new();
    let dirs: Vec<PathBuf> = (0..8).map(|n| rig.remote().join(format!("d{n}"))).collect();
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
        (0..8000).for_each(|n| drop(File::create(dir.join(format!("a-name-{n}"))).unwrap()));
    }
    let huge = rig.remote().join("huge");
    fs::create_dir(&huge).unwrap();
    (0..40_000).for_each(|n| drop(File::create(huge.join(format!("a-name-{n}"))).unwrap()));
    for directives in [JSON, HTML] {
        let server = Server::nginx(&rig.remote(), directives);
        rig.mount_other(Path::new(&server.url()), "64M", &["--memory", "96M"]);
        let mnt = rig.mnt();
        let budget = 96 * MIB;
        std::thread::scope(|scope| {
            for n in 0..8 {
                let dir = mnt.join(format!("d{n}"));
                scope.spawn(move || assert_eq!(fs::read_dir(dir).unwrap().count(), 8000));
            }
        });
        let error = fs::read_dir(mnt.join("huge"))
            .map(Iterator::count)
            .unwrap_err();
        let enomem = rustix::io::Errno::NOMEM.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(enomem));
        // A thread of its own writes the log.
        super::rig::wait_until("the log names the option", || {
            let log = fs::read_to_string(rig.cache().join("larder.log")).unwrap();
            log.contains("--memory") && log.contains("MiB")
        });
        let anon = status(&rig, "VmHWM").saturating_sub(status(&rig, "RssFile"));
        assert!(anon <= budget + SLACK, "{anon} of {budget}");
        rig.umount();
        fs::remove_dir_all(rig.cache()).unwrap();
    }
}

#[test]
fn too_little_memory_is_refused_before_a_cache_is_made() {
    let rig = Rig::new();
    refused(
        rig.mount_command().args(["--memory", "1M"]),
        2,
        &["--memory 1.0 MiB", "at least 32M"],
    );
    assert!(!rig.cache().exists());
    let output = run(rig.mount_command().env("LARDER_MEMORY", "80M"));
    assert!(output.status.success(), "{}", stderr(&output));
    let stats = rig.stats(&rig.mnt());
    assert_eq!(stats["memory_budget_bytes"].as_u64(), Some(80 * MIB));
    rig.umount();
}

/// 32 readers and 64 descriptors, as a hard limit: nobody gets an error.
#[test]
fn whoever_finds_no_descriptor_waits() {
    let rig = Rig::new();
    // Sparse, and large enough that all readers have a fetch under way at once.
    for n in 0..32 * 12 {
        let name = format!("f{n}");
        let file = File::create(rig.remote().join(&name)).unwrap();
        (&file).write_all(name.as_bytes()).unwrap();
        file.set_len(4 * MIB).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(2200));
    let server = Server::nginx(&rig.remote(), JSON);
    for remote in [rig.remote().to_str().unwrap(), &server.url()] {
        let mut command = Command::new("sh");
        let larder = larder();
        command.envs(larder.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.args(["-c", "ulimit -Sn 64; ulimit -Hn 64; exec \"$@\"", "sh"]);
        command.arg(larder.get_program()).args(["mount", remote]);
        command.arg(rig.mnt()).arg("--cache-dir").arg(rig.cache());
        let output = run(command.args(["--cache-size", "256M"]));
        assert!(output.status.success(), "{}", stderr(&output));
        let mnt = &rig.mnt();
        std::thread::scope(|scope| {
            for reader in 0..32 {
                scope.spawn(move || {
                    for n in reader * 12..(reader + 1) * 12 {
                        let name = format!("f{n}");
                        let read = fs::read(mnt.join(&name));
                        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
                        assert_eq!(read.len() as u64, 4 * MIB, "{name}");
                        let (mark, rest) = read.split_at(name.len());
                        let is_right = mark == name.as_bytes() && rest.iter().all(|b| *b == 0);
                        assert!(is_right, "{name}");
                    }
                });
            }
        });
        rig.umount();
        fs::remove_dir_all(rig.cache()).unwrap();
    }
}
