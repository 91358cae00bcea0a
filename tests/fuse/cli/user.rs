//! Mounting as an ordinary user, through fusermount3.
//!
//! Where the tests run as root they become nobody for this, in a mount namespace of their own in which /dev/fuse may be
//! opened by all and /etc/fuse.conf says what the test needs. Where an ordinary user runs them, it is that user, on this
//! machine as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::rig::{run, stderr};

const NOBODY: u32 = 65534;

/// A directory of the user's own, with a remote in it and the program beside it.
struct Home {
    dir: TempDir,
    is_root: bool,
}

impl Home {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        // The build directory may lie where nobody may look.
        fs::copy(env!("CARGO_BIN_EXE_larder"), dir.path().join("larder")).unwrap();
        fs::create_dir(dir.path().join("not-mine")).unwrap();
        let home = dir.path().join("home");
        for name in ["", "mnt", "remote"] {
            fs::create_dir(home.join(name)).unwrap();
            if is_root {
                chown(home.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        fs::write(home.join("remote/hello"), "hello, larder\n").unwrap();
        Self { dir, is_root }
    }

    /// Runs a script as the user, with `$L` for the program, in the user's directory. Returns what it said; panics where it
    /// fails. `fuse_conf` is what /etc/fuse.conf says; an ordinary user cannot choose that.
    fn run(&self, fuse_conf: &str, script: &str) -> String {
        let mut command = self.command(fuse_conf, script);
        command
            .current_dir(self.dir.path().join("home"))
            .stdin(Stdio::null());
        command.env("L", self.dir.path().join("larder"));
        command.env("HOME", self.dir.path().join("home"));
        command
            .env_remove("XDG_CACHE_HOME")
            .env_remove("LARDER_LOG");
        let output = run(&mut command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(output.status.success(), "{said}");
        said
    }

    fn command(&self, fuse_conf: &str, script: &str) -> Command {
        if !self.is_root {
            let mut command = Command::new("sh");
            command.args(["-euc", script]);
            return command;
        }
        fs::write(self.dir.path().join("fuse.conf"), fuse_conf).unwrap();
        let stage = self.dir.path().join("stage");
        if !stage.exists() {
            fs::create_dir(&stage).unwrap();
        }
        let setup = "mount -t tmpfs -o mode=755,dev none \"$0/stage\"; mknod \"$0/stage/fuse\" c 10 229; \
            chmod 666 \"$0/stage/fuse\"; mount --bind \"$0/stage/fuse\" /dev/fuse; \
            test ! -e /etc/fuse.conf || mount --bind \"$0/fuse.conf\" /etc/fuse.conf; \
            exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -euc \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", setup]);
        command.arg(self.dir.path()).arg(script);
        command
    }
}

#[test]
fn an_ordinary_user_mounts_reads_asks_and_unmounts() {
    let home = Home::new();
    let said = home.run(
        "",
        "$L mount remote mnt --cache-size 16M
        trap 'fusermount3 -uzq mnt || :' EXIT
        findmnt -no FSTYPE,SOURCE mnt
        cat mnt/hello
        $L stats mnt
        $L info mnt/hello
        ! $L mount remote mnt
        $L umount mnt
        $L stats .cache/larder
        $L mount remote mnt -f > said & daemon=$!
        n=0; until test -e mnt/hello; do n=$((n+1)); test $n -lt 500; sleep 0.02; done
        kill -9 $daemon
        wait $daemon || :
        $L mount remote mnt
        cat mnt/hello
        $L umount mnt
        ! test -e mnt/hello",
    );
    for words in [
        "fuse.larder",
        "hello, larder\n",
        "remote_bytes",
        "validator",
        "mounted there already",
        "closed cleanly",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert_eq!(said.matches("hello, larder").count(), 2, "{said}");
}

#[test]
fn what_an_ordinary_user_may_not_do_is_said_before_anything_is_made() {
    let home = Home::new();
    let refused = |fuse_conf: &str, arguments: &str, words: &[&str]| {
        let script = format!(
            "code=0; {arguments} || code=$?; echo code $code; test ! -e .cache; test ! -e mnt/hello"
        );
        let said = home.run(fuse_conf, &script);
        for word in words.iter().chain(&["code 5"]) {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    };
    let no_helper = "PATH=/nowhere $L mount remote mnt";
    refused("", no_helper, &["fusermount3", "package fuse3"]);
    let says_allow = Path::new("/etc/fuse.conf").exists()
        && fs::read_to_string("/etc/fuse.conf")
            .unwrap()
            .lines()
            .any(|line| line == "user_allow_other");
    if home.is_root || !says_allow {
        let words = ["allow_other", "user_allow_other", "/etc/fuse.conf"];
        refused(
            "# user_allow_other\n",
            "$L mount remote mnt --allow-other",
            &words,
        );
        refused(
            "# user_allow_other\n",
            "$L mount remote mnt -o allow_other",
            &words,
        );
    }
    if home.is_root || says_allow {
        let said = home.run(
            "user_allow_other\n",
            "$L mount remote mnt --allow-other --cache-size 16M
            findmnt -no OPTIONS mnt
            $L umount mnt",
        );
        assert!(said.contains("allow_other"), "{said}");
    }
    let not_mine = home.run(
        "",
        "rm -rf .cache; code=0; $L mount remote ../not-mine --cache-size 16M || code=$?; echo code $code
        test $code = 0 || test ! -e .cache",
    );
    if home.is_root {
        assert!(
            not_mine.contains("code 5") && not_mine.contains("no write access"),
            "{not_mine}"
        );
    }
}

#[test]
fn another_user_is_told_whose_mount_it_is() {
    let home = Home::new();
    if !home.is_root {
        // There is no other user to become.
        let said = home.run("", "$L umount / || echo refused");
        assert!(
            said.contains("not a larder mount") && said.contains("refused"),
            "{said}"
        );
        return;
    }
    // Root mounts; what nobody says, asked in the same place.
    let root = super::rig::Rig::new();
    fs::set_permissions(root.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    root.mount();
    let mnt = root.mnt();
    let script = format!(
        "for c in umount evict flush info stats; do code=0; $L $c {} || code=$?; echo $c $code; done",
        mnt.display()
    );
    let said = home.run("", &script);
    for words in [
        "was mounted by user root: only user root and root may unmount it",
        "only user root and root may drop what is cached of it",
        "only user root and root may flush its cache",
        "umount 1",
        "evict 1",
        "flush 1",
        "info 1",
        "stats 1",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert!(root.is_mounted() && !said.contains("fusermount3"), "{said}");
    root.umount();
}
