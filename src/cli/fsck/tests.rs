//! The program over a damaged cache, with a user who is a string.

use super::*;
use crate::format::Geometry;
use crate::storage::{CacheDir, CreateOptions, Storage, open_or_create};

struct Rig(tempfile::TempDir);

impl Rig {
    /// A cache directory with two damaged records of different kinds.
    fn damaged() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig = Self(dir);
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = open_or_create(rig.0.path(), &options, &mut |_| {}).unwrap();
        let geometry: Geometry = cache.superblock().geometry;
        cache
            .write_index(geometry.blob_offset(3), &[7; 512])
            .unwrap();
        cache
            .write_index(Geometry::session_offset(1), &[7; 512])
            .unwrap();
        rig
    }

    fn run(&self, flags: &[&str]) -> (u8, String) {
        self.talk(flags, "", false)
    }

    fn talk(&self, flags: &[&str], answers: &str, terminal: bool) -> (u8, String) {
        let mut args: Vec<OsString> = vec!["cachefsck".into()];
        args.extend(flags.iter().map(OsString::from));
        args.push(self.0.path().into());
        let (mut out, cancelled) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        let talk = Talk {
            out: &mut out,
            input: &mut answers.as_bytes(),
            terminal,
            cancelled,
            asking: Arc::default(),
        };
        let code = run(args, talk);
        (code, String::from_utf8(out).unwrap())
    }
}

#[test]
fn a_repair_exits_1_and_then_0() {
    for flag in ["-p", "-y"] {
        let rig = Rig::damaged();
        for looking in [&["-n"][..], &[], &["-n", "-f", "-v", "--deep"]] {
            let (code, text) = rig.run(looking);
            assert_eq!(code, exit::UNCORRECTED, "{text}");
            assert!(
                text.contains("F-BLOB-SECTOR") && text.contains("F-SESSION"),
                "{text}"
            );
        }
        let (code, text) = rig.run(&[flag, "-v"]);
        assert_eq!(code, exit::CORRECTED, "{text}");
        assert!(
            text.contains("F-BLOB-SECTOR blob record 3: ") && text.contains("[repaired]"),
            "{text}"
        );
        let (code, text) = rig.run(&[flag, "--deep"]);
        assert_eq!(code, exit::CLEAN, "{text}");
    }
}

#[test]
fn answers_are_heeded() {
    let rig = Rig::damaged();
    assert_eq!(rig.talk(&[], "q\n", true).0, exit::CANCELLED);
    assert_eq!(rig.talk(&[], "", true).0, exit::CANCELLED);
    let (code, text) = rig.talk(&[], "what?\nn\ny\n", true);
    assert_eq!(code, exit::CORRECTED | exit::UNCORRECTED, "{text}");
    let (code, text) = rig.run(&["-n"]);
    assert!(
        code == exit::UNCORRECTED && text.contains("F-SESSION"),
        "{text}"
    );
    assert!(!text.contains("F-BLOB-SECTOR"), "{text}");
    assert_eq!(rig.talk(&[], "a\n", true).0, exit::CORRECTED);
    assert_eq!(
        rig.talk(&[], "", true).0,
        exit::CLEAN,
        "nothing is asked of a clean cache"
    );
}

#[test]
fn json_carries_findings_and_exit_code() {
    let rig = Rig::damaged();
    let (code, text) = rig.talk(&["--json"], "", true);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["exit"]), (4, &4.into()));
    assert_eq!(
        (&told["mode"], &told["deep"]),
        (&"look".into(), &false.into())
    );
    let clauses: Vec<_> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["clause"])
        .collect();
    assert_eq!(clauses, ["F-SESSION", "F-BLOB-SECTOR"]);
    assert_eq!(told["findings"][1]["place"], "blob record 3");
}

#[test]
fn what_cannot_be_checked_has_its_code() {
    let rig = Rig::damaged();
    assert_eq!(rig.run(&["-n", "-p"]).0, exit::USAGE);
    assert_eq!(rig.run(&["--nonsense"]).0, exit::USAGE);
    let cache = CacheDir::open(rig.0.path()).unwrap();
    assert_eq!(rig.run(&["-p"]).0, exit::OPERATIONAL, "it is in use");
    assert_eq!(
        rig.run(&["-n"]).0,
        exit::UNCORRECTED,
        "looking works beside a daemon"
    );
    let geometry = cache.superblock().geometry;
    let copies = [0, 1].map(Geometry::superblock_offset);
    for offset in copies.into_iter().chain([geometry.backup_offset()]) {
        cache.write_index(offset, &[0; 512]).unwrap();
    }
    drop(cache);
    assert_eq!(rig.run(&["-n"]).0, exit::UNCORRECTED);
    assert_eq!(rig.talk(&[], "n\n", true).0, exit::UNCORRECTED);
    assert_eq!(rig.talk(&[], "q\n", true).0, exit::CANCELLED);
    let (code, text) = rig.talk(&[], "y\n", true);
    assert_eq!(code, exit::CORRECTED, "an empty cache was begun: {text}");
    assert_eq!(rig.run(&["-n"]).0, exit::CLEAN);
    std::fs::remove_file(rig.0.path().join("index.larder")).unwrap();
    for flag in ["-n", "-p"] {
        assert_eq!(rig.run(&[flag]).0, exit::OPERATIONAL, "no cache");
    }
    let rig = Rig::damaged();
    let (mut out, cancelled) = (Vec::new(), Arc::new(AtomicBool::new(true)));
    let talk = Talk {
        out: &mut out,
        input: &mut io::empty(),
        terminal: false,
        cancelled,
        asking: Arc::default(),
    };
    let args = vec!["cachefsck".into(), "-p".into(), rig.0.path().into()];
    assert_eq!(run(args, talk), exit::CANCELLED);
}
