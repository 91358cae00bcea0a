//! Exit codes and what is printed with them: the table of the README, line by line.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use larder::storage::CreateOptions;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::rig::{Cache, cachefsck, told};
use crate::cli::rig::{refused, run, stderr, wait_until};

#[test]
fn a_command_line_without_sense_is_16_and_nothing_is_touched() {
    let cache = Cache::damaged();
    let before = cache.index();
    let wrong = |args: &[&str], words: &[&str]| {
        refused(cachefsck().args(args).arg(cache.path()), 16, words);
    };
    wrong(&["--nonsense"], &["--nonsense", "Usage"]);
    wrong(&["-n", "-p"], &["-n", "-p"]);
    wrong(&["-py"], &["-p", "-y"]);
    wrong(&["-n", "-y"], &["-n", "-y"]);
    wrong(&["-j", "0"], &["0", "1..=256"]);
    wrong(&["-j", "many"], &["many"]);
    wrong(&["-n", "--salvage", "x"], &["-n", "--salvage"]);
    wrong(&["-n", "--discard-dirty"], &["-n", "--discard-dirty"]);
    wrong(&["--salvage", "x"], &["--salvage", "-p or -y"]);
    wrong(
        &["--json", "--discard-dirty"],
        &["--discard-dirty", "-p or -y"],
    );
    wrong(&["another-directory"], &["Usage"]);
    refused(&mut cachefsck(), 16, &["CACHEDIR", "Usage"]);
    assert!(cache.index() == before, "the cache was touched");
}

#[test]
fn help_has_the_table_of_codes() {
    let (code, text, _) = told(cachefsck().arg("--help"));
    assert_eq!(code, 0);
    let words = [
        "Exit codes",
        "16",
        "32",
        "--salvage",
        "--discard-dirty",
        "-j",
    ];
    for word in words {
        assert!(text.contains(word), "no {word} in {text}");
    }
    let (code, text, _) = told(cachefsck().arg("--version"));
    assert_eq!((code, text.contains(env!("CARGO_PKG_VERSION"))), (0, true));
}

#[test]
fn clean_is_0_left_is_4_corrected_is_1_and_then_0() {
    for mend in ["-p", "-y", "-fy"] {
        let cache = Cache::new();
        let (code, text, said) = cache.fsck(&["-n"]);
        assert_eq!(code, 0, "{text}{said}");
        assert!(text.contains("clean") && said.is_empty(), "{text}{said}");
        cache.damage();
        let before = cache.index();
        for look in [&["-n"][..], &[], &["-nf"], &["-nfv", "--deep", "-j2"]] {
            let (code, text, said) = cache.fsck(look);
            assert_eq!(code, 4, "{look:?}: {text}{said}");
            for word in [
                "F-SLOT-SECTOR",
                "F-BLOB-SECTOR",
                "2 not repaired",
                "cachefsck -p",
            ] {
                assert!(text.contains(word), "{look:?}: no {word} in {text}");
            }
        }
        assert!(cache.index() == before, "a look changed something");
        let (code, text, said) = cache.fsck(&[mend]);
        assert_eq!(code, 1, "{text}{said}");
        assert!(text.contains("2 repaired"), "{text}");
        for again in [mend, "-n"] {
            let (code, text, said) = cache.fsck(&[again, "--deep"]);
            assert_eq!(code, 0, "{text}{said}");
        }
    }
}

#[test]
fn details_and_phases_are_told_with_v() {
    let cache = Cache::damaged();
    let (code, text, said) = cache.fsck(&["-nv", "--deep"]);
    assert_eq!(code, 4);
    assert!(text.contains("F-BLOB-SECTOR blob record 3: "), "{text}");
    assert!(text.contains("F-SLOT-SECTOR slot 5: "), "{text}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("sectors: ")),
        "{said}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("blocks: ")),
        "{said}"
    );
    let (_, _, said) = cache.fsck(&["-n", "--deep"]);
    assert_eq!(said, "", "no bar and no line without a terminal");
}

#[test]
fn json_has_everything_and_errors_as_well() {
    let cache = Cache::damaged();
    let json = |args: &[&str]| -> (i32, Value) {
        let (code, text, _) = cache.fsck(args);
        (code, serde_json::from_str(&text).unwrap())
    };
    let (code, told) = json(&["-n", "--json", "--deep"]);
    assert_eq!(
        (code, &told["exit"], &told["mode"]),
        (4, &4.into(), &"look".into())
    );
    assert_eq!(told["deep"], true);
    let clauses = told["clauses"].as_array().unwrap();
    assert_eq!(clauses.len(), 2, "{told}");
    assert_eq!(
        (&clauses[0]["found"], &clauses[0]["fixed"]),
        (&1.into(), &0.into())
    );
    for number in ["bytes_dropped", "bytes_salvaged"] {
        assert!(told[number].is_u64(), "{number} in {told}");
    }
    assert!(told["findings"][0]["bytes"].is_u64(), "{told}");
    let phases = told["phases"].as_array().unwrap();
    assert!(
        phases.iter().any(|phase| phase["phase"] == "sectors"),
        "{told}"
    );
    assert!(
        phases.iter().all(|phase| phase["seconds"].is_f64()),
        "{told}"
    );
    let (code, told) = json(&["-p", "--json"]);
    assert_eq!((code, &told["findings"][1]["fixed"]), (1, &true.into()));
    fs::remove_file(cache.path().join("index.larder")).unwrap();
    let (code, told) = json(&["-n", "--json"]);
    assert_eq!((code, &told["exit"]), (8, &8.into()));
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("does not contain a cache"),
        "{told}"
    );
}

#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
    let cache = Cache::damaged();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(cachefsck()
        .args(["-nv"])
        .arg(cache.path())
        .stdout(Stdio::from(OwnedFd::from(writer))));
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("panicked").count(), 0);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = run(cachefsck().arg("-p").arg(cache.path()).stdout(full));
    assert_eq!(output.status.code(), Some(1 | 8), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write the result"));
    assert_eq!(cache.fsck(&["-n"]).0, 0, "it was repaired all the same");
}

#[test]
fn a_signal_is_32_and_nothing_has_changed() {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("cache");
        // Large enough that nobody is done with it in a moment; sparse, so that it costs nothing.
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: Some(4 << 20),
            files: Some(4 << 20),
        };
        let index = super::places::sparse_cache(&path, &options);
        let mut command = cachefsck();
        command
            .arg("-p")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let open = format!("/proc/{}/fd", pid.as_raw_nonzero());
        wait_until("the index is open", || {
            let entries = fs::read_dir(&open).into_iter().flatten().flatten();
            entries
                .into_iter()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == index))
        });
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(32), "{}", stderr(&output));
        assert!(stderr(&output).contains("cancelled"), "{}", stderr(&output));
    }
}
