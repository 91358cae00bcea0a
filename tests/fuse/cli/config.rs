//! Options from a file, from the environment and from the command line, and the completions of them.

use std::fs;
use std::process::Command;

use super::rig::{Rig, larder, refused, run, stderr};

const CONFIG: &str = "\
cache-dir = \"from-file\"
cache-size = \"16M\"
metadata-ttl = \"5s\"
options = \"noexec\"

[[chunk-size]]
match = \"da*\"
size = \"1M\"
";

/// A mount whose arguments are all relative, as a person would type them.
fn mount(rig: &Rig) -> Command {
    let mut command = larder();
    command.args(["mount", "remote", "mnt", "--config", "larder.toml"]);
    command.current_dir(rig.path(""));
    command
}

fn chunk_size(rig: &Rig, name: &str) -> String {
    fs::read(rig.mnt().join(name)).unwrap();
    let info = run(larder().arg("info").arg(rig.mnt().join(name)));
    let info = String::from_utf8(info.stdout).unwrap();
    let line = info
        .lines()
        .find(|line| line.contains("chunk-size"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let rig = Rig::settled();
    fs::write(rig.path("larder.toml"), CONFIG).unwrap();
    for (variable, flag, capacity) in [
        (None, None, 16 << 20),
        (Some("20M"), None, 20 << 20),
        (Some("20M"), Some("24M"), 24 << 20),
    ] {
        let mut command = mount(&rig);
        command.envs(variable.map(|size| ("LARDER_CACHE_SIZE", size)));
        command.args(flag.map(|size| format!("--cache-size={size}")));
        let output = run(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        let stats = rig.stats(&rig.mnt());
        assert_eq!(stats["cache_dir"], rig.path("from-file").to_str().unwrap());
        let at_rest = || rig.stats(&rig.path("from-file"))["capacity_bytes"].clone();
        assert_eq!(chunk_size(&rig, "data"), "1048576");
        assert_eq!(chunk_size(&rig, "hello"), "65536");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mine = table
            .lines()
            .find(|line| line.contains(rig.mnt().to_str().unwrap()));
        assert!(mine.unwrap().contains("noexec"), "{mine:?}");
        rig.umount();
        assert_eq!(at_rest(), capacity);
        fs::remove_dir_all(rig.path("from-file")).unwrap();
    }
}

#[test]
fn a_file_that_makes_no_sense_is_refused_with_key_file_and_way_out() {
    let rig = Rig::new();
    let file = rig.path("larder.toml");
    let shown = file.to_str().unwrap();
    for (text, words) in [
        ("cache-sise = \"1G\"", ["`cache-sise`", "`cache-size`"]),
        ("timeout = 30", ["`timeout`", "30s"]),
        ("allow-other = \"yes\"", ["`allow-other`", "true or false"]),
        ("x = ", ["not TOML", "line 1"]),
    ] {
        fs::write(&file, text).unwrap();
        refused(&mut mount(&rig), 2, &[shown, words[0], words[1]]);
    }
    fs::remove_file(&file).unwrap();
    refused(&mut mount(&rig), 2, &[shown, "configuration file"]);
    let by_variable = &mut larder();
    by_variable
        .args(["mount", "remote", "mnt"])
        .env("LARDER_CONFIG", &file);
    refused(by_variable, 2, &[shown]);
    let bad_variable = &mut larder();
    bad_variable
        .args(["mount", "remote", "mnt"])
        .env("LARDER_TIMEOUT", "soon");
    refused(bad_variable, 2, &["'soon'", "30s"]);
    assert!(!rig.path("from-file").exists());
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(larder().args(["completions", shell]));
        assert!(output.status.success(), "{}", stderr(&output));
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("cache-size") && script.contains("umount"),
            "{shell}: {script}"
        );
        assert!(
            !script.contains("--report"),
            "{shell} shows an internal flag"
        );
    }
    refused(
        larder().args(["completions", "sh"]),
        2,
        &["sh", "bash", "fish"],
    );
}
