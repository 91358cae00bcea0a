//! A web server from the command line: who asks, what is kept from whom, and what is said.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use larder::testing::origin::{Content, Etag, Object, Origin, Settings};
use rustix::process::Pid;

use super::rig::{Rig, larder, refused, run, stderr, wait_until};

const PASSWORD: &str = "geheim-4711";
/// `alice:geheim-4711`, as basic authentication sends it.
const BASIC: &str = "YWxpY2U6Z2VoZWltLTQ3MTE=";
const TOKEN: &str = "token-0815";

fn origin(required: Option<(&str, &str)>) -> Origin {
    let origin = Origin::start(1).unwrap();
    let text = |text: &'static [u8]| Object::new(Content::Given(text.into()));
    origin.put("hello", text(b"hello, larder\n"));
    origin.put("sub/weak", text(b"weak").with_etag(Etag::Weak));
    origin.set(Settings {
        required: required.map(|(name, value)| (name.into(), value.into())),
        ..Settings::default()
    });
    origin
}

fn with_user(origin: &Origin, user: &str) -> String {
    origin.url().replace("http://", &format!("http://{user}@"))
}

fn mount(rig: &Rig, url: &str) -> Command {
    let mut command = larder();
    command.arg("mount").arg(url).arg(rig.mnt());
    command.arg("--cache-dir").arg(rig.cache());
    command.args(["--cache-size", "16M"]);
    command
}

fn mounted(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output)
}

fn hides(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in [PASSWORD, BASIC, TOKEN] {
        assert!(!text.contains(secret), "{what} shows a secret: {text}");
    }
}

/// Looks for the secrets wherever others, or backups, could see them.
fn nothing_is_seen(rig: &Rig, pid: Pid) {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(Path::new(&process).join(file)).unwrap();
        hides(file, &bytes);
    }
    // The tests beside this one have programs of their own, which have just been started.
    let all = run(Command::new("ps").args(["axww", "-o", "args"])).stdout;
    let ours = rig.mnt().to_string_lossy().into_owned();
    let lines = String::from_utf8_lossy(&all);
    let lines: Vec<&str> = lines.lines().filter(|line| line.contains(&ours)).collect();
    assert!(!lines.is_empty(), "ps does not show the daemon");
    hides("ps", lines.join("\n").as_bytes());
    hides(
        "the mount table",
        &fs::read("/proc/self/mountinfo").unwrap(),
    );
    hides("stats", rig.stats(&rig.mnt()).to_string().as_bytes());
    nothing_is_kept(&rig.cache());
}

fn nothing_is_kept(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => nothing_is_kept(&path),
            false => hides(&path.display().to_string(), &fs::read(&path).unwrap()),
        }
    }
}

#[test]
fn a_web_server_is_mounted_and_nobody_sees_the_password() {
    let origin = origin(Some(("authorization", &format!("Basic {BASIC}"))));
    let rig = Rig::new();
    let url = with_user(&origin, &format!("alice:{PASSWORD}"));
    let header = format!("X-Token: {TOKEN}");
    let command = || {
        let mut command = mount(&rig, &url);
        command.args(["--header", &header, "--uid", "12345", "--gid", "54321"]);
        // What is logged in great detail is logged without secrets as well.
        command.env("LARDER_LOG", "trace");
        command
    };
    let said = mounted(&mut command());
    hides("the starter", said.as_bytes());
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    assert_eq!(rig.stats(&rig.mnt())["remote"], origin.url());
    let source = format!(" {} ", origin.url());
    assert!(
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(&source)
    );
    let meta = fs::metadata(rig.mnt().join("sub/weak")).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&meta);
    assert_eq!(
        (owner, std::os::unix::fs::MetadataExt::gid(&meta)),
        (12345, 54321)
    );
    let daemon = rig.daemon();
    nothing_is_seen(&rig, daemon);
    let shown = fs::read(format!("/proc/{}/cmdline", daemon.as_raw_nonzero())).unwrap();
    let shown = String::from_utf8_lossy(&shown).replace('\0', " ");
    let seen = format!("http://***@{}", origin.url().trim_start_matches("http://"));
    assert!(
        shown.contains(&seen) && shown.contains("--header X-Token: ***"),
        "{shown}"
    );
    rig.umount();

    let mut child = command()
        .arg("-f")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the mount answers", || rig.mnt().join("hello").exists());
    assert_eq!(rig.daemon(), Pid::from_child(&child));
    nothing_is_seen(&rig, Pid::from_child(&child));
    rig.umount();
    assert!(child.wait().unwrap().success());
    let mut said = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut said).unwrap();
    hides("the terminal", &said);
    assert!(origin.log().iter().all(|request| request.authorized));
}

#[test]
fn a_password_comes_from_netrc_and_one_that_others_can_read_is_told_of() {
    let origin = origin(Some(("authorization", &format!("Basic {BASIC}"))));
    let rig = Rig::new();
    let netrc = rig.path("netrc");
    fs::write(
        &netrc,
        format!("machine 127.0.0.1\nlogin alice password {PASSWORD}\n"),
    )
    .unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&netrc, fs::Permissions::from_mode(mode)).unwrap();
        let said = mounted(mount(&rig, &origin.url()).env("NETRC", &netrc));
        assert_eq!(said.contains("chmod 600"), warned, "{said}");
        hides("the starter", said.as_bytes());
        assert_eq!(
            fs::read(rig.mnt().join("hello")).unwrap(),
            b"hello, larder\n"
        );
        nothing_is_seen(&rig, rig.daemon());
        rig.umount();
    }
    // The name is in the URL, the password in the file.
    mounted(mount(&rig, &with_user(&origin, "alice")).env("NETRC", &netrc));
    rig.umount();
}

#[test]
fn a_password_of_any_bytes_behind_a_byte_order_mark_opens_the_server() {
    // "alice:" and one byte, é in Latin-1, in Base64.
    let origin = origin(Some(("authorization", "Basic YWxpY2U66Q==")));
    let rig = Rig::new();
    let netrc = rig.path("netrc");
    let entry = b"\xef\xbb\xbfmachine 127.0.0.1\r\nlogin alice\r\npassword \xe9\r\n";
    fs::write(&netrc, entry).unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    mounted(mount(&rig, &origin.url()).env("NETRC", &netrc));
    rig.umount();
    let in_url = with_user(&origin, "alice:%e9");
    mounted(mount(&rig, &in_url).env("NETRC", rig.path("none")));
    rig.umount();
    // Quotes that do not close are told of, and nothing is taken from there.
    fs::write(&netrc, "machine 127.0.0.1\nlogin alice password \"x\n").unwrap();
    let said = refused(
        mount(&rig, &origin.url()).env("NETRC", &netrc),
        6,
        &["line 2", "not closed"],
    );
    assert!(said.contains("netrc"), "{said}");
}

#[test]
fn a_server_that_refuses_or_is_not_there_leaves_no_cache_behind() {
    let origin = origin(Some(("x-token", TOKEN)));
    let rig = Rig::new();
    let wrong = with_user(&origin, &format!("alice:{PASSWORD}"));
    let said = refused(
        &mut mount(&rig, &wrong),
        6,
        &["user name and password", &origin.url()],
    );
    hides("the refusal", said.as_bytes());
    refused(
        &mut mount(&rig, &origin.url()),
        6,
        &["wants a password", "netrc"],
    );
    let gone = ["http://127.0.0.1:1/", "cannot be reached"];
    refused(mount(&rig, gone[0]).args(["--timeout", "1s"]), 6, &gone);
    refused(
        &mut mount(&rig, &format!("{}?x={TOKEN}", origin.url())),
        6,
        &["%3F"],
    );
    for (header, word) in [
        ("no colon", "no colon"),
        ("Range: x", "range"),
        ("a b: x", "'a b'"),
    ] {
        refused(
            mount(&rig, &origin.url()).args(["--header", header]),
            2,
            &["--header", word],
        );
    }
    let https = origin.url().replace("http:", "https:");
    let certificates = ["--ca-file", "/no/such/ca.pem"];
    refused(
        mount(&rig, &https).args(certificates),
        2,
        &["/no/such/ca.pem"],
    );
    let quoted = &mut mount(&rig, &wrong);
    let said = refused(quoted.args(["more", "--header", TOKEN]), 2, &["more"]);
    hides("clap's words", said.as_bytes());
    assert!(!rig.cache().exists(), "a refused mount made a cache");
    mounted(mount(&rig, &origin.url()).env("LARDER_HEADER", format!("X-Token: {TOKEN}")));
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    rig.umount();
}

#[test]
fn weak_validators_are_flagged_and_one_file_is_a_mount_of_its_own() {
    let origin = origin(None);
    let rig = Rig::new();
    mounted(&mut mount(&rig, &format!("{}sub/weak", origin.url())));
    let names: Vec<_> = fs::read_dir(rig.mnt())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["weak"]);
    let weak = rig.mnt().join("weak");
    assert_eq!(fs::read(&weak).unwrap(), b"weak");
    let info = run(larder().arg("info").arg(&weak));
    let info = String::from_utf8(info.stdout).unwrap();
    let class = info
        .lines()
        .find(|line| line.contains("validator-class"))
        .unwrap();
    assert!(class.contains("weak"), "{info}");
    rig.umount();
}
