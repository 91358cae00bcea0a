//! What a reader sees when the remote, the cache disk or the daemon fails.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use larder::remote::{BoxFuture, Entries, Remote, RemoteError, Sink};
use larder::units::{ByteRange, Facts, ObjectName, Validator};
use larder::vfs::MetadataTtl;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::super::cli::rig::{Rig, pattern, wait_until};
use super::super::mounted::{Mounted, Stage, Wish, content};
use super::pause;

const LEN: usize = 200_000;

/// How the remote behaves.
#[derive(Clone)]
enum Mood {
    Well,
    Refusing(RemoteError),
    Silent,
}

/// A remote with moods.
struct Moody {
    inner: Arc<dyn Remote>,
    mood: Arc<Mutex<Mood>>,
}

impl Moody {
    async fn mood(&self) -> Result<(), RemoteError> {
        let mood = self.mood.lock().clone();
        match mood {
            Mood::Well => Ok(()),
            Mood::Refusing(error) => Err(error),
            Mood::Silent => std::future::pending().await,
        }
    }
}

impl Remote for Moody {
    fn identity(&self) -> &str {
        self.inner.identity()
    }
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async move {
            self.mood().await?;
            self.inner.stat(name).await
        })
    }
    fn list<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Entries, RemoteError>> {
        Box::pin(async move {
            self.mood().await?;
            self.inner.list(name).await
        })
    }
    fn read_link<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        Box::pin(async move {
            self.mood().await?;
            self.inner.read_link(name).await
        })
    }
    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            self.mood().await?;
            self.inner.fetch(name, range, bound, sink).await
        })
    }
}

/// A mount of two files over a remote with moods; `cached` has been read. Names are believed for ever or not at all.
fn moody(stage: &Stage, ttl: MetadataTtl, timeout: Duration) -> (Mounted, Arc<Mutex<Mood>>) {
    for (seed, name) in [(1, "cached"), (2, "other")] {
        fs::write(stage.origin(name), content(seed, LEN)).unwrap();
    }
    let mood = Arc::new(Mutex::new(Mood::Well));
    let told = Arc::clone(&mood);
    let mounted = stage.mount(Wish {
        ttl,
        timeout,
        wrap: Box::new(move |inner| Arc::new(Moody { inner, mood: told })),
        ..Wish::default()
    });
    assert!(fs::read(mounted.path("cached")).unwrap() == content(1, LEN));
    assert_eq!(
        fs::metadata(mounted.path("other")).unwrap().len(),
        LEN as u64
    );
    (mounted, mood)
}

fn code(result: io::Result<Vec<u8>>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// F1. Unreachable does not mean deleted: while larder cannot reach the remote, what is cached stays readable, and
/// everything else fails with EIO.
#[test]
fn f1_unreachable_is_not_deleted() {
    let stage = Stage::new();
    let (mounted, mood) = moody(&stage, MetadataTtl::Minimal, Duration::from_secs(30));
    *mood.lock() = Mood::Refusing(RemoteError::Unreachable("the cable is out".into()));
    for _ in 0..2 {
        assert!(fs::read(mounted.path("cached")).unwrap() == content(1, LEN));
        assert_eq!(code(fs::read(mounted.path("other"))), Some(libc::EIO));
    }
    *mood.lock() = Mood::Well;
    assert!(fs::read(mounted.path("other")).unwrap() == content(2, LEN));
}

/// F2. Access to a file that was deleted at the remote fails with ENOENT, and access to a file that the remote forbids
/// fails with EACCES.
#[test]
fn f2_deleted_and_forbidden_are_told_apart() {
    let stage = Stage::new();
    let (mounted, mood) = moody(&stage, MetadataTtl::Minimal, Duration::from_secs(30));
    *mood.lock() = Mood::Refusing(RemoteError::Forbidden);
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::EACCES));
    *mood.lock() = Mood::Well;
    fs::remove_file(stage.origin("cached")).unwrap();
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::ENOENT));
}

/// F3. A read that the remote has not answered within `--timeout` (default: 30 seconds) fails with EIO.
#[test]
fn f3_nothing_hangs_for_ever() {
    let stage = Stage::new();
    let timeout = Duration::from_millis(700);
    let (mounted, mood) = moody(&stage, MetadataTtl::Indefinite, timeout);
    *mood.lock() = Mood::Silent;
    let clock = SystemClock::default();
    assert_eq!(code(fs::read(mounted.path("other"))), Some(libc::EIO));
    let took = clock.monotonic();
    // The kernel may ask for a piece again, alone, before it gives up.
    assert!(took >= timeout && took < 10 * timeout, "{took:?}");
    assert!(fs::read(mounted.path("cached")).unwrap() == content(1, LEN));
    *mood.lock() = Mood::Well;
    // A piece that the kernel asked for once more may still wait for the silent remote, and others with it.
    wait_until("the remote is heard again", || {
        fs::read(mounted.path("other")).is_ok()
    });
    assert!(fs::read(mounted.path("other")).unwrap() == content(2, LEN));
}

fn chunk_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.join("chunks")]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files
}

/// F4. A failing cache disk never causes a read error: whatever the disk loses or returns damaged, larder reads from
/// the remote.
#[test]
fn f4_a_bad_cache_is_a_slow_one() {
    let damage: [fn(&Path); 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, vec![0x55; LEN]).unwrap(),
        |file| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(77)
                .unwrap()
        },
    ];
    for (n, damage) in damage.into_iter().enumerate() {
        let stage = Stage::new();
        fs::write(stage.origin("f"), content(1, LEN)).unwrap();
        let mounted = stage.mount(Wish::default());
        assert!(fs::read(mounted.path("f")).unwrap() == content(1, LEN));
        drop(mounted);
        let files = chunk_files(&stage.path("cache"));
        assert!(!files.is_empty(), "nothing was cached");
        files.iter().for_each(|file| damage(file));
        let mounted = stage.mount(Wish::default());
        assert!(
            fs::read(mounted.path("f")).unwrap() == content(1, LEN),
            "{n}"
        );
        assert!(mounted.fetched() > 0, "damage {n} was not seen");
        drop(mounted);
        let mounted = stage.mount(Wish::default());
        assert!(
            fs::read(mounted.path("f")).unwrap() == content(1, LEN),
            "{n}"
        );
        assert_eq!(mounted.fetched(), 0, "damage {n} was not mended");
    }
}

/// F5. After `kill -9` of the daemon and a new mount, every byte is right, and data that was read at least 200 ms
/// before the kill is not fetched again.
#[test]
fn f5_a_killed_daemon_loses_nothing() {
    let rig = Rig::settled();
    rig.mount();
    assert!(fs::read(rig.mnt().join("data")).unwrap() == pattern(3 << 20));
    pause(200);
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    rig.mount();
    assert!(fs::read(rig.mnt().join("data")).unwrap() == pattern(3 << 20));
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    rig.umount();
}

/// F6. A mount point whose daemon died answers ENOTCONN or ECONNABORTED until a `larder mount` or `larder umount`
/// clears it.
#[test]
fn f6_a_dead_mount_point_is_cleared() {
    let rig = Rig::new();
    let die = || {
        rig.mount();
        kill_process(rig.daemon(), Signal::KILL).unwrap();
        let answer = || fs::read_dir(rig.mnt()).err().and_then(|e| e.raw_os_error());
        wait_until("the daemon is dead", || answer() == Some(libc::ENOTCONN));
    };
    die();
    rig.umount();
    assert_eq!(fs::read_dir(rig.mnt()).unwrap().count(), 0);
    die();
    rig.mount();
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    rig.umount();
}

/// F7. A program whose read waits for the remote can be killed, with Ctrl-C too; a program that catches the signal gets
/// it only when the wait is over, and the timeout ends the wait in any case.
#[test]
fn f7_a_waiting_reader_can_be_killed() {
    let stage = Stage::new();
    let timeout = Duration::from_secs(20);
    for name in ["more", "most"] {
        fs::write(stage.origin(name), content(3, LEN)).unwrap();
    }
    let (mounted, mood) = moody(&stage, MetadataTtl::Indefinite, timeout);
    for name in ["other", "more", "most"] {
        fs::metadata(mounted.path(name)).unwrap();
    }
    *mood.lock() = Mood::Silent;
    let start = |program: &str, args: &[&str], name: &str| {
        let mut command = Command::new(program);
        command.args(args).arg(mounted.path(name));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // A shell that reads the file itself, with a handler for Ctrl-C.
    let trap = ["-c", "trap : INT; read -r line < \"$0\""];
    // A file of its own for each: an open beside a read of the same file waits for that.
    let mut plain = start("cat", &[], "other");
    let mut catching = start("sh", &trap, "more");
    let mut killed = start("sh", &trap, "most");
    // The opens are over: all three wait for their reads.
    wait_until("all of them read", || {
        mounted.cache.stats().reads_waited >= 3
    });
    for reader in [&plain, &catching, &killed] {
        kill_process(Pid::from_child(reader), Signal::INT).unwrap();
    }
    let status = plain.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(catching.try_wait().unwrap(), None, "the wait was cut short");
    // The timeout ends it: nothing else does.
    assert!(!catching.wait().unwrap().success());
}
