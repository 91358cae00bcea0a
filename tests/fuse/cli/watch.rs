//! Watching and minding a mount by the program: stats, metrics, evict, flush, signals.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::rig::{Rig, larder, pattern, refused, run, stderr, wait_until};

fn said(command: &mut std::process::Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn cached(rig: &Rig, name: &str) -> String {
    let mut value = Vec::with_capacity(64);
    let path = rig.mnt().join(name);
    let space = rustix::buffer::spare_capacity(&mut value);
    rustix::fs::getxattr(path, "user.larder.cached-bytes", space).unwrap();
    String::from_utf8(value).unwrap()
}

fn read_and_keep(rig: &Rig, name: &str) {
    let bytes = fs::read(rig.mnt().join(name)).unwrap();
    wait_until("what was read is cached", || {
        cached(rig, name) == bytes.len().to_string()
    });
}

#[test]
fn evict_drops_files_and_directories_and_names_what_it_cannot() {
    let rig = Rig::new();
    fs::create_dir_all(rig.remote().join("d/sub")).unwrap();
    for name in ["d/a", "d/sub/b"] {
        fs::write(rig.remote().join(name), pattern(200_000)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(2200));
    rig.mount();
    for name in ["data", "d/a", "d/sub/b"] {
        read_and_keep(&rig, name);
    }
    let before = rig.stats(&rig.mnt());
    let told = said(larder().arg("evict").arg(rig.mnt().join("data")));
    assert!(told.contains("dropped 3.0 MiB in"), "{told}");
    assert_eq!(
        (cached(&rig, "data"), cached(&rig, "d/a")),
        ("0".into(), "200000".into())
    );
    let told = said(larder().args(["evict", "--json"]).arg(rig.mnt().join("d")));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["files"], &told["files_dropped"]),
        (&2.into(), &2.into())
    );
    assert!(told["bytes"].as_u64().unwrap() >= 400_000, "{told}");
    let after = rig.stats(&rig.mnt());
    assert_eq!(
        before["remote_bytes"], after["remote_bytes"],
        "evicting must fetch nothing"
    );
    // What was evicted comes from the remote again, the kernel's own pages notwithstanding.
    assert_eq!(fs::read(rig.mnt().join("data")).unwrap(), pattern(3 << 20));
    let again = rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap();
    assert!(again - after["remote_bytes"].as_u64().unwrap() >= 3 << 20);
    let nothing = said(larder().arg("evict").arg(rig.mnt().join("hello")));
    assert!(nothing.contains("nothing was cached"), "{nothing}");
    // Each failure is a sentence of its own, and the rest is done.
    read_and_keep(&rig, "data");
    let mut command = larder();
    command.arg("evict").arg(rig.remote());
    command
        .arg(rig.mnt().join("no such file"))
        .arg(rig.mnt().join("data"));
    refused(
        &mut command,
        1,
        &["does not lie on a larder mount", "no such file"],
    );
    assert_eq!(cached(&rig, "data"), "0");
    refused(larder().arg("evict"), 2, &["PATH"]);
    rig.umount();
}

#[test]
fn flush_drops_everything_and_the_cache_goes_on() {
    let rig = Rig::settled();
    rig.mount();
    read_and_keep(&rig, "data");
    read_and_keep(&rig, "hello");
    let told = said(larder().arg("flush").arg(rig.mnt()));
    assert!(told.contains("dropped 3.0 MiB in"), "{told}");
    assert_eq!(
        (cached(&rig, "data"), cached(&rig, "hello")),
        ("0".into(), "0".into())
    );
    assert_eq!(rig.stats(&rig.mnt())["slots_used"], 0);
    // The cache directory names the same daemon, and the root of the mount is all of it.
    assert!(said(larder().arg("flush").arg(rig.cache())).contains("dropped 0 B in 0 chunks"));
    assert!(said(larder().arg("evict").arg(rig.mnt())).contains("nothing was cached"));
    refused(
        larder().arg("flush").arg(rig.remote()),
        1,
        &["not a larder mount"],
    );
    rig.umount();
    refused(
        larder().arg("flush").arg(rig.cache()),
        1,
        &["not a larder mount"],
    );
}

/// Reads all of an open file.
fn all_of(file: &fs::File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).unwrap();
    bytes
}

#[test]
fn flush_and_evict_take_the_pages_of_the_kernel_too() {
    for command in ["flush", "evict"] {
        let rig = Rig::settled();
        rig.mount();
        read_and_keep(&rig, "data");
        let open = fs::File::open(rig.mnt().join("data")).unwrap();
        assert!(all_of(&open) == pattern(3 << 20));
        let fetched = |rig: &Rig| rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap();
        let before = fetched(&rig);
        // What is read again comes from the kernel.
        assert!(all_of(&open) == pattern(3 << 20));
        assert_eq!(fetched(&rig), before);
        let of = if command == "flush" {
            rig.mnt()
        } else {
            rig.mnt().join("data")
        };
        said(larder().arg(command).arg(of));
        assert!(all_of(&open) == pattern(3 << 20));
        assert!(
            fetched(&rig) - before >= 3 << 20,
            "{command}: all of it was asked for anew"
        );
        drop(open);
        rig.umount();
    }
}

#[test]
fn names_are_shown_so_that_a_terminal_is_not_told_what_to_do() {
    let rig = Rig::new();
    let dir = rig.remote().join("bad\u{1b}[31m\u{7}\nname ü");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("f"), "x").unwrap();
    rig.mount();
    let shown = "bad\\u{1b}[31m\\u{7}\\nname ü";
    let on_mount = rig.mnt().join(dir.file_name().unwrap());
    for command in ["evict", "info"] {
        let told = said(larder().arg(command).arg(&on_mount));
        assert!(told.contains(shown) && !told.contains('\u{1b}'), "{told:?}");
    }
    let gone = refused(
        larder().arg("evict").arg(on_mount.join("gone")),
        1,
        &[shown],
    );
    assert!(
        !gone.contains('\u{1b}') && gone.lines().count() == 1,
        "{gone:?}"
    );
    rig.umount();
}

#[test]
fn a_directory_is_described_as_far_as_it_is_known() {
    let rig = Rig::new();
    fs::create_dir(rig.remote().join("d")).unwrap();
    fs::write(rig.remote().join("d/f"), "x").unwrap();
    rig.mount();
    let info = || said(larder().arg("info").arg(rig.mnt().join("d")));
    let has = |told: &str, words: &[&str]| {
        let fields: Vec<Vec<&str>> = told
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert!(
            fields.iter().any(|line| line.starts_with(words)),
            "{words:?} in {told}"
        );
    };
    has(&info(), &["entries", "unknown:"]);
    fs::read_dir(rig.mnt().join("d")).unwrap().count();
    let told = info();
    has(&told, &["kind", "directory"]);
    has(&told, &["entries", "1"]);
    has(&told, &["listing-age"]);
    has(&told, &["listing-ttl"]);
    rig.umount();
}

#[test]
fn set_size_holds_at_once_and_after_the_next_mount() {
    const MIB: u64 = 1 << 20;
    let rig = Rig::new();
    fs::write(rig.remote().join("data"), pattern(24 << 20)).unwrap();
    std::thread::sleep(Duration::from_millis(2200));
    rig.mount();
    read_and_keep(&rig, "data");
    let mut command = larder();
    command.arg("set-size").arg(rig.mnt());
    let told = said(command.args(["16M", "--free-space-ratio", "0"]));
    assert!(told.contains("takes 16.0 MiB at most"), "{told}");
    // Where the machine has much else to do, it may have given back before it tells.
    let small_enough = || rig.stats(&rig.mnt())["used_bytes"].as_u64().unwrap() <= 16 * MIB;
    assert!(
        told.contains("in the background") || small_enough(),
        "{told}"
    );
    wait_until("the cache has given back", small_enough);
    assert_eq!(rig.stats(&rig.mnt())["capacity_bytes"], 16 * MIB);
    assert!(fs::read(rig.mnt().join("data")).unwrap() == pattern(24 << 20));
    let mut command = larder();
    command.arg("set-size").arg(rig.mnt()).arg("1K");
    refused(&mut command, 1, &["1024", "too small"]);
    let mut command = larder();
    refused(
        command.arg("set-size").arg(rig.mnt()),
        2,
        &["--free-space-ratio"],
    );
    rig.umount();
    let mut command = larder();
    command.arg("set-size").arg(rig.cache()).arg("2M");
    refused(&mut command, 1, &["not a larder mount"]);
    assert_eq!(rig.stats(&rig.cache())["capacity_bytes"], 16 * MIB);
}

#[test]
fn a_hangup_and_flush_metadata_have_the_remote_asked() {
    let rig = Rig::new();
    let output = run(rig.mount_command().args(["--metadata-ttl", "indefinite"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let names = || {
        let entries = fs::read_dir(rig.mnt()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["data", "hello"]);
    assert!(!rig.mnt().join("new").exists());
    fs::write(rig.remote().join("new"), "new").unwrap();
    fs::write(rig.remote().join("hello"), "changed").unwrap();
    assert_eq!(names(), ["data", "hello"]);
    assert!(!rig.mnt().join("new").exists());
    kill_process(rig.daemon(), Signal::HUP).unwrap();
    wait_until("the new file is seen", || rig.mnt().join("new").exists());
    assert_eq!(names(), ["data", "hello", "new"]);
    assert_eq!(fs::read(rig.mnt().join("hello")).unwrap(), b"changed");
    assert!(rig.is_mounted());
    fs::write(rig.remote().join("newer"), "x").unwrap();
    assert!(!rig.mnt().join("newer").exists());
    let told = said(larder().args(["flush", "--metadata"]).arg(rig.mnt()));
    assert!(
        told.contains("larder will ask the remote again for"),
        "{told}"
    );
    assert!(rig.mnt().join("newer").exists());
    rig.umount();
}

#[test]
fn sigusr1_puts_the_counters_into_the_log() {
    let rig = Rig::settled();
    rig.mount();
    read_and_keep(&rig, "data");
    kill_process(rig.daemon(), Signal::USR1).unwrap();
    let log = rig.cache().join("larder.log");
    wait_until("the log has the counters", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("SIGUSR1")
            && text.contains("that programs read came from the cache")
            && text.contains("last stop")
    });
    assert!(rig.is_mounted());
    rig.umount();
}

#[test]
fn stats_are_a_block_then_every_counter_or_a_line_each_time() {
    let rig = Rig::settled();
    rig.mount();
    read_and_keep(&rig, "data");
    let told = said(larder().arg("stats").arg(rig.mnt()));
    for words in [
        "of 64.0 MiB",
        "there is room for",
        "files",
        "remote_bytes",
        "slots_evicted",
    ] {
        assert!(told.contains(words), "no {words:?} in:\n{told}");
    }
    let mut command = larder();
    command
        .args(["stats", "--interval", "100ms", "--count", "2"])
        .arg(rig.mnt());
    let lines = said(&mut command);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.lines().next().unwrap().contains("hit %"), "{lines}");
    let lines = said(command.arg("--json"));
    let values: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.len(), 2);
    assert_eq!(values[0]["per_second"]["remote_bytes"], 0.0);
    assert!(values[0]["stats"]["remote_bytes"].as_u64().unwrap() >= 3 << 20);
    rig.umount();
    refused(
        larder().args(["stats", "-i", "1s"]).arg(rig.cache()),
        2,
        &["--interval"],
    );
}

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The metric of a line of the exposition that holds a number; panics where the line is none of the format's.
fn sample(line: &str) -> Option<(String, f64)> {
    if let Some(comment) = line.strip_prefix("# ") {
        let (kind, rest) = comment.split_once(' ').unwrap();
        let (name, what) = rest.split_once(' ').unwrap();
        assert!(name.starts_with("larder_"), "{line}");
        match kind {
            "TYPE" => assert!(["counter", "gauge"].contains(&what), "{line}"),
            "HELP" => assert!(what.ends_with('.'), "{line}"),
            _ => panic!("{line}"),
        }
        return None;
    }
    let (name, value) = line.rsplit_once(' ').unwrap();
    let bare = name.split('{').next().unwrap();
    assert!(
        bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
        "{line}"
    );
    assert_eq!(name.contains('{'), name.ends_with("\"}"), "{line}");
    Some((bare.to_owned(), value.parse().unwrap()))
}

/// The names of all values in a JSON object, those of its parts joined. What there is none of has no metric.
fn leaves(name: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                leaves(&format!("{name}_{part}"), value, all);
            }
        }
        Value::Null => {}
        _ => drop(all.insert(name.to_owned())),
    }
}

#[test]
fn prometheus_is_given_what_the_counters_say() {
    let rig = Rig::settled();
    let mut mount = rig.mount_command();
    // Nothing is asked anew between two looks at the counters.
    mount.args(["--metadata-ttl", "indefinite"]);
    let output = run(mount.args(["--metrics", "127.0.0.1:0"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    let address = told.split_once("metrics: http://").unwrap().1;
    let address = address.split_once('/').unwrap().0;
    read_and_keep(&rig, "data");
    let (head, body) = get(address, "/metrics");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("version=0.0.4"),
        "{head}"
    );
    let samples: Vec<(String, f64)> = body.lines().filter_map(sample).collect();
    let of = |name: &str| samples.iter().find(|(n, _)| n == name).unwrap().1;
    let stats = rig.stats(&rig.mnt());
    for (metric, field) in [
        ("larder_remote_bytes_total", "remote_bytes"),
        ("larder_blocks_filled_total", "blocks_filled"),
        ("larder_used_bytes", "used_bytes"),
        ("larder_capacity_bytes", "capacity_bytes"),
        ("larder_remote_questions_total", "remote_questions"),
    ] {
        assert_eq!(of(metric), stats[field].as_f64().unwrap(), "{metric}");
    }
    let labels = ["remote", "mount_point", "cache_dir", "version", "pid"];
    let mut wanted: BTreeSet<String> = ["larder_mount_info".to_owned()].into();
    for (field, value) in stats.as_object().unwrap() {
        if !labels.contains(&field.as_str()) {
            leaves(&format!("larder_{field}"), value, &mut wanted);
        }
    }
    let ends = ["_total", "_info"];
    let found = samples.iter().map(|(name, _)| {
        let bare = ends.iter().find_map(|end| name.strip_suffix(end));
        let is_mount = name == "larder_mount_info";
        bare.filter(|_| !is_mount).unwrap_or(name).to_owned()
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), wanted);
    let heads = body.lines().filter(|l| l.starts_with("# TYPE")).count();
    assert_eq!(heads, samples.len(), "one metric, one type");
    let mount = format!("mount_point=\"{}\"", rig.mnt().display());
    assert!(body.contains(&mount), "{body}");
    assert!(get(address, "/").0.starts_with("HTTP/1.1 404"));
    // Connections that are held open stop neither the mount nor the unmount.
    let held: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert!(get(address, "/metrics").0.starts_with("HTTP/1.1 200"));
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    rig.umount();
    drop(held);
    assert!(TcpStream::connect(address).is_err(), "the server has ended");
}

#[test]
fn metrics_that_cannot_be_given_are_refused_before_anything_is_made() {
    let rig = Rig::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(
        rig.mount_command().args(["--metrics", &address]),
        1,
        &[&address, "in use", "--metrics"],
    );
    assert!(!rig.is_mounted() && !rig.cache().exists());
    refused(
        rig.mount_command().args(["--metrics", "nine"]),
        2,
        &["'nine'", ":9567"],
    );
}
