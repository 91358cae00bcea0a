//! What may surprise: consequences of one version per inode, seen from programs that expect a local disk.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use rustix::fs::inotify;
use rustix::fs::{FlockOperation, flock};

use super::super::mounted::{Stage, content};
use super::{asking, pause, replace};

/// U1. larder detects a change of a file even if its size stays the same and its modification time is set back, because
/// the ctime changes.
#[test]
fn u1_a_preserved_time_hides_nothing() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = asking(&stage);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one");
    let time = fs::metadata(stage.origin("f")).unwrap().modified().unwrap();
    pause(20);
    let file = File::options().write(true).open(stage.origin("f")).unwrap();
    file.write_all_at(b"two", 0).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    drop(file);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"two");
}

/// U2. `chmod`, `chown`, `ln` and `cp -al` at the remote change a file's ctime, and so make a new version: larder
/// fetches its bytes again.
#[test]
fn u2_a_chmod_is_a_new_version() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), content(1, 100_000)).unwrap();
    let mounted = asking(&stage);
    let changes: [&dyn Fn(); 3] = [
        &|| {},
        &|| fs::set_permissions(stage.origin("f"), Permissions::from_mode(0o640)).unwrap(),
        &|| fs::hard_link(stage.origin("f"), stage.origin("g")).unwrap(),
    ];
    for (n, change) in (1..).zip(changes) {
        pause(20);
        change();
        for _ in 0..2 {
            assert!(fs::read(mounted.path("f")).unwrap() == content(1, 100_000));
        }
        assert_eq!(mounted.fetched(), n * 100_000);
    }
}

/// U3. inotify on the mount does not report changes at the remote.
#[test]
fn u3_inotify_is_silent() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = asking(&stage);
    let watching = |path: std::path::PathBuf| {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&fd, path, changes).unwrap();
        fd
    };
    let (mount, origin) = (watching(mounted.path("")), watching(stage.origin("")));
    fs::write(stage.origin("f"), "two").unwrap();
    fs::write(stage.origin("g"), "new").unwrap();
    pause(200);
    let mut buf = [0; 4096];
    assert!(rustix::io::read(&origin, &mut buf).unwrap() > 0);
    let silent = rustix::io::read(&mount, &mut buf);
    assert_eq!(silent, Err(rustix::io::Errno::AGAIN));
}

/// U4. `tail -f` follows the version that it opened, so it does not see a file grow. `tail -F` opens the name again, so
/// it does.
#[test]
fn u4_an_open_file_does_not_grow() {
    let stage = Stage::new();
    fs::write(stage.origin("log"), "one\n").unwrap();
    let mounted = asking(&stage);
    let follow = |how: &str| {
        let mut tail = Command::new("tail");
        tail.args([how, "-s", "0.1", "-n", "+1"]);
        tail.arg(mounted.path("log"));
        tail.stdout(Stdio::piped()).stderr(Stdio::null());
        tail.spawn().unwrap()
    };
    let (mut by_file, mut by_name) = (follow("-f"), follow("-F"));
    let mut file_lines = BufReader::new(by_file.stdout.take().unwrap());
    let mut lines = BufReader::new(by_name.stdout.take().unwrap()).lines();
    // Both have opened the file as it is.
    let mut seen = String::new();
    file_lines.read_line(&mut seen).unwrap();
    assert_eq!((&*seen, &*lines.next().unwrap().unwrap()), ("one\n", "one"));
    let log = File::options().append(true).open(stage.origin("log"));
    log.unwrap().write_all(b"two\n").unwrap();
    // Were the second line not to come, this would end with the test's own patience.
    while lines.next().unwrap().unwrap() != "two" {}
    by_name.kill().unwrap();
    by_name.wait().unwrap();
    by_file.kill().unwrap();
    by_file.wait().unwrap();
    file_lines.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "one\n");
}

/// U5. If a file is replaced at the remote while a program has it open, `/proc` marks the path of the old version
/// "(deleted)" for this program. If the program opens its `/proc/self/fd/N` again, that fails with ESTALE.
#[test]
fn u5_a_replaced_file_is_deleted() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = asking(&stage);
    let file = File::open(mounted.path("f")).unwrap();
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert_eq!(fs::read_link(&link).unwrap(), mounted.path("f"));
    assert_eq!(fs::read(&link).unwrap(), b"one");
    replace(&stage.origin("f"), b"two");
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"two");
    let shown = fs::read_link(&link).unwrap();
    assert!(
        shown.to_str().unwrap().ends_with("f (deleted)"),
        "{shown:?}"
    );
    let error = File::open(&link).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
}

const MAPPED: &str = "LARDER_TEST_MAPPED_FILE";

/// U6. A program that has mapped an old version of a file gets SIGBUS when it touches a page that is neither in memory
/// nor cached, if the remote can no longer deliver that page.
#[test]
#[expect(
    unsafe_code,
    reason = "a mapping is what is tested, and memmap2 offers none without"
)]
fn u6_a_mapping_of_what_is_gone_is_sigbus() {
    const LEN: usize = 80 << 20;
    if let Some(path) = std::env::var_os(MAPPED) {
        let file = File::open(path).unwrap();
        // SAFETY: the bytes of a version never change; that a page may be missing is what is tested.
        let mapping = unsafe { memmap2::Mmap::map(&file).unwrap() };
        eprintln!("first byte {}", mapping[0]);
        std::io::stdin().read_line(&mut String::new()).unwrap();
        eprintln!("last byte {}", mapping[LEN - 1]);
        return;
    }
    let stage = Stage::new();
    fs::write(stage.origin("f"), content(1, LEN)).unwrap();
    let mounted = asking(&stage);
    let mut reader = Command::new(std::env::current_exe().unwrap());
    reader.args(["--exact", "--nocapture"]);
    reader.arg("semantics::surprises::u6_a_mapping_of_what_is_gone_is_sigbus");
    reader.env(MAPPED, mounted.path("f")).stdout(Stdio::null());
    reader.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    let mut said = BufReader::new(reader.stderr.take().unwrap()).lines();
    let first = format!("first byte {}", content(1, 1)[0]);
    while said.next().unwrap().unwrap() != first {}
    replace(&stage.origin("f"), &content(2, LEN));
    reader.stdin.take().unwrap().write_all(b"\n").unwrap();
    let status = reader.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

/// U7. Locks (flock, fcntl) on the mount are local to this machine: the remote does not see them.
#[test]
fn u7_locks_stay_local() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "x").unwrap();
    let mounted = asking(&stage);
    let open = |path| File::open(path).unwrap();
    let (one, two) = (open(mounted.path("f")), open(mounted.path("f")));
    flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
    flock(&two, FlockOperation::NonBlockingLockExclusive).unwrap_err();
    flock(
        open(stage.origin("f")),
        FlockOperation::NonBlockingLockExclusive,
    )
    .unwrap();
}
