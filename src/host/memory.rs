//! How much memory a cache with its mounts may take: what the user says, or half of what the control group (or the
//! machine) has.

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::{Shares, TooLittle};

/// What larder may take, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Budget {
    /// The user said so.
    Given(u64),
    /// Half of a limit.
    Half {
        /// The limit, in bytes.
        limit: u64,
        /// What has the limit.
        of: String,
    },
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

    /// Shares it out for a cache of so many slots. Where the user named no size, it is at least what is needed, as long as
    /// that exists.
    pub(super) fn share(&self, slots: u64) -> Result<Shares, MemoryError> {
        let (budget, most) = match self {
            Self::Given(bytes) => (*bytes, *bytes),
            Self::Half { limit, .. } => (limit / 2, *limit),
        };
        let little = match Shares::of(budget, slots) {
            Ok(shares) => return Ok(shares),
            Err(little) => little,
        };
        let least = Shares::of(little.least, slots).ok();
        least
            .filter(|_| little.least <= most)
            .ok_or_else(|| MemoryError {
                budget: self.clone(),
                little,
                slots,
            })
    }
}

/// Too little memory for a cache.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the cache needs at least {} bytes of memory, and may not take them", .little.least)]
pub struct MemoryError {
    /// What it may take, and why.
    pub budget: Budget,
    /// What it needs.
    pub little: TooLittle,
    /// How many slots its index has.
    pub slots: u64,
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
    let fits = if is_second {
        kind == "cgroup2"
    } else {
        kind == "cgroup" && options.split(',').any(|option| option == "memory")
    };
    let mut front = front.split(' ').skip(3);
    let (root, at) = (front.next()?, front.next()?);
    fits.then(|| (Path::new(root), Path::new(at)))
}

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
        assert_eq!(refused.little.least, 32 * MIB);
        assert!(
            Budget::Given(32 * MIB).share(0).is_ok(),
            "what is named is enough"
        );
        let refused = Budget::Given(32 * MIB).share(80_000).unwrap_err();
        assert!(refused.slots == 80_000 && refused.little.tables > 0);
        let half = |limit| Budget::Half {
            limit,
            of: "the limit".into(),
        };
        assert_eq!(half(200 * MIB).share(0).unwrap().budget, 100 * MIB);
        assert_eq!(half(40 * MIB).share(0).unwrap().budget, 32 * MIB);
        assert_eq!(half(20 * MIB).share(0).unwrap_err().budget, half(20 * MIB));
    }
}
