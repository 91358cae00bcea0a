//! What a reader sees when the remote, the cache disk or the daemon fails.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use larder::remote::{BoxFuture, Pages, Remote, RemoteError, Sink};
use larder::units::{ByteRange, Facts, ObjectName, Validator};
use larder::vfs::MetadataTtl;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::super::cli::rig::{PATIENCE, Rig, pattern, wait_until};
use super::super::mounted::{Mounted, Stage, Wish, content};
use super::super::on_disk::wait_until_on_disk;

const LEN: usize = 200_000;

/// How the remote behaves.
#[derive(Clone)]
enum Mood {
    Well,
    Refusing(RemoteError),
    Silent,
}

/// What the remote is told to be, and what it heard.
struct Told {
    now: Mood,
    /// The files whose bytes were asked for in silence.
    unanswered: Vec<ObjectName>,
}

/// A remote with moods.
struct Moody {
    inner: Arc<dyn Remote>,
    mood: Arc<Mutex<Told>>,
}

impl Moody {
    async fn mood(&self) -> Result<(), RemoteError> {
        let mood = self.mood.lock().now.clone();
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
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
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
        let told = &mut *self.mood.lock();
        if matches!(told.now, Mood::Silent) {
            told.unanswered.push(name.clone());
        }
        Box::pin(async move {
            self.mood().await?;
            self.inner.fetch(name, range, bound, sink).await
        })
    }
}

/// A mount of two files over a remote with moods; `cached` has been read. Names are believed for ever or not at all.
fn moody(stage: &Stage, ttl: MetadataTtl, timeout: Duration) -> (Mounted, Arc<Mutex<Told>>) {
    for (seed, name) in [(1, "cached"), (2, "other")] {
        fs::write(stage.origin(name), content(seed, LEN)).unwrap();
    }
    let mood = Arc::new(Mutex::new(Told {
        now: Mood::Well,
        unanswered: Vec::new(),
    }));
    let told = Arc::clone(&mood);
    let mounted = stage.mount(Wish {
        ttl,
        timeout,
        wrap: Box::new(move |inner| Arc::new(Moody { inner, mood: told })),
        ..Wish::default()
    });
    // On a busy machine the remote may take longer than a short timeout: then it is asked again.
    wait_until("what is to be cached is read", || {
        fs::read(mounted.path("cached")).is_ok_and(|bytes| bytes == content(1, LEN))
    });
    wait_until("the other file is known", || {
        fs::metadata(mounted.path("other")).is_ok_and(|meta| meta.len() == LEN as u64)
    });
    (mounted, mood)
}

fn code(result: io::Result<Vec<u8>>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// F1. Unreachable does not mean deleted. While larder cannot reach the remote, cached data stays readable, and
/// everything else fails with EIO.
#[test]
fn f1_unreachable_is_not_deleted() {
    let stage = Stage::new();
    let (mounted, mood) = moody(&stage, MetadataTtl::Minimal, Duration::from_secs(30));
    mood.lock().now = Mood::Refusing(RemoteError::Unreachable("the cable is out".into()));
    for _ in 0..2 {
        assert!(fs::read(mounted.path("cached")).unwrap() == content(1, LEN));
        assert_eq!(code(fs::read(mounted.path("other"))), Some(libc::EIO));
    }
    mood.lock().now = Mood::Well;
    assert!(fs::read(mounted.path("other")).unwrap() == content(2, LEN));
}

/// F2. Access to a file that was deleted at the remote fails with ENOENT. Access to a file that the remote forbids
/// fails with EACCES.
#[test]
fn f2_deleted_and_forbidden_are_told_apart() {
    let stage = Stage::new();
    let (mounted, mood) = moody(&stage, MetadataTtl::Minimal, Duration::from_secs(30));
    mood.lock().now = Mood::Refusing(RemoteError::Forbidden);
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::EACCES));
    mood.lock().now = Mood::Well;
    fs::remove_file(stage.origin("cached")).unwrap();
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::ENOENT));
}

/// F3. If the remote has not answered a read within `--timeout` (default: 30 seconds), the read fails with EIO.
#[test]
fn f3_nothing_hangs_for_ever() {
    let stage = Stage::new();
    let timeout = Duration::from_millis(700);
    let (mounted, mood) = moody(&stage, MetadataTtl::Indefinite, timeout);
    mood.lock().now = Mood::Silent;
    let clock = SystemClock::default();
    assert_eq!(code(fs::read(mounted.path("other"))), Some(libc::EIO));
    let took = clock.monotonic();
    assert!(took >= timeout, "{took:?}");
    let reads =
        |name, seed| fs::read(mounted.path(name)).is_ok_and(|bytes| bytes == content(seed, LEN));
    // The disk may be slower than this timeout.
    wait_until("what is cached is read", || reads("cached", 1));
    mood.lock().now = Mood::Well;
    // A piece that the kernel asked for once more may still wait for the silent remote, and others with it.
    wait_until("the remote is heard again", || reads("other", 2));
}

// Of two mounts of silent remotes, the one with a long timeout still waits when the other one has answered.
#[test]
fn f3_the_timeout_is_what_ends_a_read() {
    let (short, long) = (Stage::new(), Stage::new());
    let (quick, quick_mood) = moody(&short, MetadataTtl::Indefinite, Duration::from_millis(300));
    let (patient, patient_mood) = moody(&long, MetadataTtl::Indefinite, PATIENCE);
    patient_mood.lock().now = Mood::Silent;
    quick_mood.lock().now = Mood::Silent;
    let mut waiting = reader(&patient, "cat", &[], "other");
    wait_until("the reader waits", || asked_for(&patient_mood, "other"));
    assert_eq!(code(fs::read(quick.path("other"))), Some(libc::EIO));
    assert_eq!(waiting.try_wait().unwrap(), None, "it was not its timeout");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
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

/// F4. A failing cache disk never causes a read error. If the disk loses data or returns it damaged, larder reads this
/// data from the remote.
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

/// F5. After `kill -9` of the daemon and a new mount, every byte is right. Data that was read at least 200 ms before
/// the kill is not fetched again.
#[test]
fn f5_a_killed_daemon_loses_nothing() {
    let rig = Rig::settled();
    rig.mount();
    assert!(fs::read(rig.mnt().join("data")).unwrap() == pattern(3 << 20));
    wait_until_on_disk(&rig.cache(), [rig.mnt().join("data")]);
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    rig.mount();
    assert!(fs::read(rig.mnt().join("data")).unwrap() == pattern(3 << 20));
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    rig.umount();
}

/// F6. If a daemon dies, its mount point answers ENOTCONN or ECONNABORTED until a `larder mount` or `larder umount`
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

/// F7. A program whose read waits for the remote can be killed, with Ctrl-C too. A program that catches the signal
/// receives it only when the wait is over. The timeout ends the wait in any case.
#[test]
fn f7_a_waiting_reader_can_be_killed() {
    // A shell that reads the file itself, with a handler for Ctrl-C.
    let trap = ["-c", "trap : INT; read -r line < \"$0\""];
    let interrupt = |reader: &Child| kill_process(Pid::from_child(reader), Signal::INT).unwrap();
    // Nobody's timeout ends the wait of these.
    let stage = Stage::new();
    for name in ["more", "most"] {
        fs::write(stage.origin(name), content(3, LEN)).unwrap();
    }
    let (mounted, mood) = moody(&stage, MetadataTtl::Indefinite, PATIENCE);
    // A file of its own for each: an open beside a read of the same file waits for that.
    for name in ["other", "more", "most"] {
        fs::metadata(mounted.path(name)).unwrap();
    }
    mood.lock().now = Mood::Silent;
    let mut plain = reader(&mounted, "cat", &[], "other");
    let mut catching = reader(&mounted, "sh", &trap, "more");
    let mut killed = reader(&mounted, "sh", &trap, "most");
    for name in ["other", "more", "most"] {
        wait_until("the readers wait", || asked_for(&mood, name));
    }
    // The opens, which ask first, are over.
    let waits = || mounted.cache.stats().reads_waited;
    wait_until("they wait in their reads", || waits() >= 3);
    [&plain, &catching, &killed].into_iter().for_each(interrupt);
    let status = plain.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
    wait_until("the signal waits with the reader", || is_pending(&catching));
    killed.kill().unwrap();
    let status = killed.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    assert_eq!(mounted.cache.stats().reads_timed_out, 0, "it waited");
    assert_eq!(catching.try_wait().unwrap(), None, "the wait was cut short");
    catching.kill().unwrap();
    catching.wait().unwrap();
    drop(mounted);

    let stage = Stage::new();
    let (mounted, mood) = moody(&stage, MetadataTtl::Indefinite, Duration::from_secs(1));
    mood.lock().now = Mood::Silent;
    let mut catching = reader(&mounted, "sh", &trap, "other");
    wait_until("the reader waits", || asked_for(&mood, "other"));
    interrupt(&catching);
    assert!(!catching.wait().unwrap().success());
}

/// Starts a program that reads a file of the mount.
fn reader(mounted: &Mounted, program: &str, args: &[&str], name: &str) -> Child {
    let mut command = Command::new(program);
    command.args(args).arg(mounted.path(name));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Whether bytes of this file were asked for while the remote was silent.
fn asked_for(mood: &Mutex<Told>, name: &str) -> bool {
    mood.lock()
        .unanswered
        .contains(&ObjectName::new(name.as_bytes()))
}

/// Whether the process has been sent a Ctrl-C that it has not taken yet.
fn is_pending(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let pending = status.lines().filter_map(|line| {
        line.strip_prefix("ShdPnd:")
            .or_else(|| line.strip_prefix("SigPnd:"))
    });
    pending.fold(0, |all, bits| {
        all | u64::from_str_radix(bits.trim(), 16).unwrap()
    }) & (1 << (libc::SIGINT - 1))
        != 0
}
