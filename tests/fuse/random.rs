//! Seeded random reads of several processes against a reference copy.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounted::{Stage, Wish, content};

/// What a reading process is told: the mount, the reference copy, the seed and how many operations, with newlines
/// between.
const TASK: &str = "LARDER_TEST_RANDOM_READER";

const FILES: [(&str, usize); 5] = [
    ("tiny", 3),
    ("page", 4096),
    ("odd", 1_234_567),
    ("large", 9_000_001),
    ("larger", 70_000_000),
];

fn make(dir: &Path) {
    for (seed, (name, len)) in FILES.iter().enumerate() {
        fs::write(dir.join(name), content(seed as u64, *len)).unwrap();
    }
}

/// Reads at random places in several ways and compares; the number of differences is always zero or a panic.
#[expect(
    unsafe_code,
    reason = "mappings are among what is tested, and memmap2 offers none without"
)]
fn compare(mount: &Path, reference: &Path, seed: u64, operations: usize) {
    let mut random = Xorshift(seed | 1);
    for _ in 0..operations {
        let (name, len) = FILES[random.below(FILES.len())];
        let at = random.below(len + 10);
        let most = [16, 5000, 300_000][random.below(3)];
        let count = 1 + random.below(most);
        let mut expected = vec![0; count];
        let there = File::open(reference.join(name)).unwrap();
        let expected_len = read_fully(&there, &mut expected, at as u64);
        let mut got = vec![0; count];
        let mut file = File::open(mount.join(name)).unwrap();
        let got_len = match random.below(4) {
            0 => read_fully(&file, &mut got, at as u64),
            1 => {
                file.seek(SeekFrom::Start(at as u64)).unwrap();
                let mut taken = Vec::new();
                file.take(count as u64).read_to_end(&mut taken).unwrap();
                got[..taken.len()].copy_from_slice(&taken);
                taken.len()
            }
            2 => {
                let (front, back) = got.split_at_mut(count / 2);
                let mut parts = [IoSliceMut::new(front), IoSliceMut::new(back)];
                file.seek(SeekFrom::Start(at as u64)).unwrap();
                // What one call leaves is not asked for again: only its bytes are compared.
                file.read_vectored(&mut parts).unwrap().min(expected_len)
            }
            _ => {
                // SAFETY: nothing changes these files while they are mapped.
                let map = unsafe { memmap2::Mmap::map(&file).unwrap() };
                let start = at.min(map.len());
                let end = (start + count).min(map.len());
                got[..end - start].copy_from_slice(&map[start..end]);
                end - start
            }
        };
        assert!(
            got_len == expected_len || got_len > 0,
            "{name} at {at}: nothing"
        );
        assert!(
            got[..got_len] == expected[..got_len],
            "{name}: {count} bytes at {at} differ (seed {seed})"
        );
    }
}

fn read_fully(file: &File, buf: &mut [u8], at: u64) -> usize {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], at + done as u64).unwrap() {
            0 => break,
            count => done += count,
        }
    }
    done
}

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// Also what the other test runs as its reading processes; by itself it reads in one.
#[test]
fn one_process_reads_at_random() {
    if let Ok(task) = std::env::var(TASK) {
        let parts: Vec<&str> = task.split('\n').collect();
        let [mount, reference, seed, operations] = parts[..] else {
            panic!("a task of four lines, not {task:?}");
        };
        let number = |text: &str| text.parse::<u64>().unwrap();
        let (mount, reference) = (PathBuf::from(mount), PathBuf::from(reference));
        compare(
            &mount,
            &reference,
            number(seed),
            usize::try_from(number(operations)).unwrap(),
        );
        return;
    }
    let stage = Stage::new();
    make(&stage.origin(""));
    let mounted = stage.mount(Wish::default());
    compare(&mounted.path(""), &stage.origin(""), 42, 500);
}

#[test]
fn four_processes_read_at_random_and_see_no_difference() {
    let stage = Stage::new();
    make(&stage.origin(""));
    let mounted = stage.mount(Wish::default());
    let readers: Vec<_> = (0..4u64)
        .map(|seed| {
            let (mount, reference) = (mounted.path(""), stage.origin(""));
            let task = format!(
                "{}\n{}\n{}\n2500",
                mount.display(),
                reference.display(),
                seed * 7919 + 13
            );
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "random::one_process_reads_at_random"])
                .env(TASK, task)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
    let size: usize = FILES.iter().map(|(_, len)| len).sum();
    assert!(mounted.fetched() <= size as u64, "no byte comes twice");
}
