//! How much memory a mount may take: what the user says, or half of what the control group (or the machine) has.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::error::{Exit, Failure};
use crate::cli::quantity::show_size;
use crate::engine::Shares;

/// What larder may take, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Budget {
    /// The user said so.
    Given(u64),
    /// Half of this limit.
    Half { limit: u64, of: String },
}

impl Budget {
    /// What `given` says, or half of what there is.
    pub(super) fn new(given: Option<u64>) -> Self {
        if let Some(bytes) = given {
            return Self::Given(bytes);
        }
        let read = |path: &Path| fs::read_to_string(path).ok();
        let machine = rustix::system::sysinfo();
        let total = u64::from(machine.mem_unit).saturating_mul(machine.totalram);
        let (limit, of) = tightest(read).unwrap_or((u64::MAX, PathBuf::new()));
        match limit < total {
            true => Self::Half {
                limit,
                of: format!("the control group's limit ({})", of.display()),
            },
            false => Self::Half {
                limit: total,
                of: "the machine's memory".into(),
            },
        }
    }

    /// Shares it out for a cache of so many slots. Where nobody said how much, it is at least what is needed, as long as
    /// that exists.
    pub(super) fn share(&self, slots: u64) -> Result<Shares, Failure> {
        let (budget, most) = match self {
            Self::Given(bytes) => (*bytes, *bytes),
            Self::Half { limit, .. } => (limit / 2, *limit),
        };
        let shared = Shares::of(budget, slots);
        let little = match shared {
            Ok(shares) => return Ok(shares),
            Err(little) => little,
        };
        if let Some(shares) = Shares::of(little.least, slots)
            .ok()
            .filter(|_| little.least <= most)
        {
            return Ok(shares);
        }
        // Rounded up, so that what is named is enough.
        let least = little.least.div_ceil(1 << 20);
        let index = match little.tables {
            0 => String::new(),
            tables => format!(
                " ({} of it for an index of {slots} slots: `larder resize --slots` makes one of fewer)",
                show_size(tables)
            ),
        };
        Err(match self {
            Self::Given(bytes) => Failure::new(
                Exit::Usage,
                format_args!(
                    "--memory {} is too small: this mount needs at least {least}M{index}",
                    show_size(*bytes)
                ),
            ),
            Self::Half { limit, of } => Failure::failed(format_args!(
                "{of} is {}, but this mount needs at least {least}M of memory{index}",
                show_size(*limit)
            )),
        })
    }
}

/// The tightest limit of the control groups that this process is in, with the file that says so. `read` gives the text
/// of a file.
fn tightest(read: impl Fn(&Path) -> Option<String>) -> Option<(u64, PathBuf)> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for dir in dirs(&groups, &mounts) {
        for name in ["memory.max", "memory.high", "memory.limit_in_bytes"] {
            let file = dir.join(name);
            let limit = read(&file).and_then(|text| text.trim().parse().ok());
            found.extend(limit.map(|limit| (limit, file)));
        }
    }
    found.into_iter().min_by_key(|(limit, _)| *limit)
}

/// The directories of the control groups that may bound this process's memory, with all above them. `groups` is the text
/// of /proc/self/cgroup, `mounts` that of /proc/self/mountinfo.
fn dirs(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for group in groups.lines() {
        let mut parts = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let is_second = controllers.is_empty();
        if !is_second && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        for (root, at) in mounts.lines().filter_map(|line| mounted(line, is_second)) {
            // In a container the group's path may begin above what is mounted there.
            let path = Path::new(path);
            let within = path.strip_prefix(root).or_else(|_| path.strip_prefix("/"));
            let lowest = at.join(within.unwrap_or(Path::new("")));
            let above = lowest.ancestors().take_while(|dir| dir.starts_with(at));
            dirs.extend(above.map(Path::to_path_buf));
        }
    }
    dirs
}

/// The group that is the root of a mount of control groups, and where it is mounted, if this line of mountinfo is one of
/// the second version, or one of the first with the controller of memory.
fn mounted(line: &str, is_second: bool) -> Option<(&Path, &Path)> {
    let (front, back) = line.split_once(" - ")?;
    let mut back = back.split(' ');
    let (kind, options) = (back.next()?, back.nth(1)?);
    let fits = match is_second {
        true => kind == "cgroup2",
        false => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
    };
    let mut front = front.split(' ').skip(3);
    let (root, at) = (front.next()?, front.next()?);
    fits.then(|| (Path::new(root), Path::new(at)))
}

/// Has the allocator of the C library give memory back: by itself it keeps one heap for each of many threads, and in
/// those what large buffers took once.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is told so by a C function alone")]
pub(super) fn tune_allocator() {
    /// Buffers of this size and more are mapped, and unmapped when they are freed.
    const MAPPED: libc::c_int = 256 << 10;
    /// So many heaps at most.
    const HEAPS: libc::c_int = 4;
    // SAFETY: mallopt sets numbers of the allocator, under the allocator's own lock; a refusal is its answer 0.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * MAPPED);
    }
}

/// Other C libraries have no such numbers.
#[cfg(not(target_env = "gnu"))]
pub(super) fn tune_allocator() {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn found(files: &[(&str, &str)]) -> Option<(u64, String)> {
        let files: HashMap<PathBuf, String> = files
            .iter()
            .map(|(path, text)| (path.into(), (*text).to_owned()))
            .collect();
        let (limit, file) = tightest(|path| files.get(path).cloned())?;
        Some((limit, file.display().to_string()))
    }

    #[test]
    fn the_tightest_group_of_the_second_version_bounds() {
        let files = [
            ("/proc/self/cgroup", "0::/a/b\n"),
            (
                "/proc/self/mountinfo",
                "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n31 24 0:5 / /dev rw - devtmpfs dev rw\n",
            ),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "209715200\n"),
            ("/sys/fs/cgroup/a/memory.high", "max\n"),
        ];
        let (limit, file) = found(&files).unwrap();
        assert_eq!((limit, &*file), (200 * MIB, "/sys/fs/cgroup/a/memory.max"));
        assert_eq!(found(&files[..3]), None, "nothing bounds");
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_first_version_and_containers_are_known_too() {
        let files = [
            ("/proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/1\n0::/\n"),
            (
                "/proc/self/mountinfo",
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 33 31 0:30 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n"),
        ];
        let (limit, file) = found(&files).unwrap();
        assert_eq!(limit, 100 * MIB);
        assert_eq!(file, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
    }

    #[test]
    fn too_little_is_refused_with_the_least() {
        let refused = Budget::Given(MIB).share(0).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        let said = refused.sentence;
        assert!(
            said.contains("--memory 1.0 MiB") && said.contains("32M"),
            "{said}"
        );
        assert!(
            Budget::Given(32 * MIB).share(0).is_ok(),
            "what is named is enough"
        );
        let said = Budget::Given(32 * MIB).share(80_000).unwrap_err().sentence;
        assert!(
            said.contains("80000 slots") && said.contains("larder resize"),
            "{said}"
        );
        let half = |limit| Budget::Half {
            limit,
            of: "the limit".into(),
        };
        assert_eq!(half(200 * MIB).share(0).unwrap().budget, 100 * MIB);
        assert_eq!(half(40 * MIB).share(0).unwrap().budget, 32 * MIB);
        assert!(
            half(20 * MIB)
                .share(0)
                .unwrap_err()
                .sentence
                .contains("the limit is 20.0 MiB")
        );
    }
}
