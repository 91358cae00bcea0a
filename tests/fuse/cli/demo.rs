//! The demo: it is the first thing that anybody runs.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::rig::{larder, mount_type, run, snapshot, stderr, wait_until};

#[test]
fn the_demo_passes_and_leaves_nothing_behind() {
    for (remote, words) in [
        ("web", "The simulated slow web server"),
        ("dir", "a symbolic link"),
    ] {
        let dir = TempDir::new().unwrap();
        let output = run(larder()
            .args([
                "demo",
                "--remote",
                remote,
                "--size",
                "32M",
                "--round-trip",
                "1ms",
                "--dir",
            ])
            .arg(dir.path()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", stderr(&output));
        for words in [
            words,
            "cold read",
            "warm read",
            "100 GB",
            "kill -9",
            "content ok",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
        assert_eq!(snapshot(dir.path()), []);
    }
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let dir = TempDir::new().unwrap();
    let mut child = larder()
        .args([
            "demo",
            "--keep",
            "--size",
            "16M",
            "--round-trip",
            "1ms",
            "--dir",
        ])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stage = dir.path().join(format!("larder-demo-{}", child.id()));
    wait_until("the demo has mounted", || {
        mount_type(&stage.join("mnt")).is_some()
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap();
    assert_eq!(mount_type(&stage.join("mnt")), None);
    assert_eq!(snapshot(dir.path()), []);
}
