//! The larder mounts of this machine, as the kernel lists them, and the daemons behind them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::fuse::is_daemon_gone;
use crate::units::shown;

use super::error::{Exit, Failure};

/// The type that the kernel shows for a larder mount.
pub(super) const MOUNT_TYPE: &str = "fuse.larder";

/// One mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mounted {
    /// Where it is mounted.
    pub dir: PathBuf,
    /// Its type, with the subtype: `fuse.larder`.
    pub kind: OsString,
    /// What is mounted: the remote.
    pub source: OsString,
    /// The user who mounted it, where that is told.
    pub user: Option<u32>,
}

/// Undoes the escapes of mountinfo: a backslash and three octal digits stand for one byte.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |d: &u8| (b'0'..=b'7').contains(d);
        match tail {
            [a, b, c, after @ ..] if *first == b'\\' && [a, b, c].into_iter().all(octal) => {
                let digit = |d: &u8| d & 7;
                out.push(digit(a) << 6 | digit(b) << 3 | digit(c));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// Reads the lines of a mountinfo file; a line that makes no sense is left out.
fn parse_mountinfo(text: &[u8]) -> Vec<Mounted> {
    let parse = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let dash = fields.iter().position(|f| *f == b"-")?;
        Some(Mounted {
            dir: unescape(fields.get(4)?).into(),
            kind: unescape(fields.get(dash + 1)?),
            source: unescape(fields.get(dash + 2)?),
            user: fields.get(dash + 3).and_then(|options| user_of(options)),
        })
    };
    text.split(|b| *b == b'\n').filter_map(parse).collect()
}

/// The option `user_id` of a FUSE mount.
fn user_of(options: &[u8]) -> Option<u32> {
    let mut each = std::str::from_utf8(options).ok()?.split(',');
    each.find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
}

/// Every mount that this process sees, oldest first.
pub(super) fn all() -> io::Result<Vec<Mounted>> {
    Ok(parse_mountinfo(&std::fs::read("/proc/self/mountinfo")?))
}

/// The full path of `dir`. Works for a dead mount point too, which cannot be entered.
pub(super) fn full_path(dir: &Path) -> io::Result<PathBuf> {
    let whole = dir.canonicalize();
    match (&whole, dir.file_name()) {
        (Err(_), Some(name)) => {
            let parent = match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            parent
                .canonicalize()
                .map(|parent| parent.join(name))
                .or(whole)
        }
        _ => whole,
    }
}

/// The newest mount at exactly this full path, if it is one of larder's.
pub(super) fn larder_at(dir: &Path) -> io::Result<Option<Mounted>> {
    let top = all()?.into_iter().rfind(|m| m.dir == dir);
    Ok(top.filter(|m| m.kind == MOUNT_TYPE))
}

/// The mount that a full path lies on, if it is one of larder's.
fn larder_above(full: &Path) -> io::Result<Option<Mounted>> {
    let above = |mount: &Mounted| full.starts_with(&mount.dir);
    let nearest = all()?
        .into_iter()
        .filter(above)
        .max_by_key(|mount| mount.dir.as_os_str().as_bytes().len());
    Ok(nearest.filter(|mount| mount.kind == MOUNT_TYPE))
}

/// Whether the nearest mount above `path` is one of larder's.
pub(super) fn is_on_one(path: &Path) -> io::Result<bool> {
    Ok(larder_above(&full_path(path)?)?.is_some())
}

/// The failure of one who is neither root nor the user who mounted what `path` lies on, and wants to `what`; `None` for
/// those two. The path itself need not be reachable.
pub(super) fn not_the_owner(path: &Path, what: &str) -> Option<Failure> {
    let me = rustix::process::geteuid();
    let full = full_path(path)
        .or_else(|_| std::path::absolute(path))
        .ok()?;
    let mount = larder_above(&full).ok()??;
    let user = mount
        .user
        .filter(|user| !me.is_root() && *user != me.as_raw())?;
    let who = user_name(user);
    Some(Failure::failed(format_args!(
        "{} was mounted by {who}: only {who} and root may {what}",
        shown(&mount.dir)
    )))
}

/// A user as people know them: the name in /etc/passwd, or the number.
fn user_name(user: u32) -> String {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| format!("user {}", shown(name)))
    };
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = table.lines().find_map(named);
    name.unwrap_or_else(|| format!("user {user}"))
}

/// The value of an extended attribute, `None` where there is no such attribute.
pub(super) fn attribute(path: &Path, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let name = name.as_ref().as_bytes();
    let mut buf = vec![0u8; 4096];
    loop {
        match rustix::fs::lgetxattr(path, name, buf.as_mut_slice()) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(Some(buf));
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(Errno::RANGE) if buf.len() < 1 << 20 => buf.resize(buf.len() * 4, 0),
            Err(e) => return Err(e.into()),
        }
    }
}

/// The counters of the mount at `dir`, as the daemon gives them: one JSON object.
pub(super) fn stats_of(dir: &Path) -> Result<serde_json::Value, Failure> {
    let shown = shown(dir);
    let bytes = match attribute(dir, STATS_ATTRIBUTE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return Err(Failure::failed(format_args!(
                "{shown} answers no larder counters"
            )));
        }
        Err(e) if is_daemon_gone(&e) => {
            return Err(Failure::failed(format_args!(
                "the daemon of {shown} is dead: `larder umount {shown}` clears the mount point, \
                 `larder mount` there brings it back"
            )));
        }
        Err(e) => {
            let other = not_the_owner(dir, "look at its counters");
            return Err(other.unwrap_or_else(|| {
                Failure::failed(format_args!("cannot ask the mount at {shown}: {e}"))
            }));
        }
    };
    serde_json::from_slice(&bytes).map_err(|e| {
        Failure::failed(format_args!(
            "the mount at {shown} answers counters that cannot be read: {e}"
        ))
    })
}

/// The attribute of a mount's root that holds its counters.
pub(super) const STATS_ATTRIBUTE: &str = "user.larder.stats";

/// The process that serves the mount at `dir`, if it says so.
pub(super) fn daemon_of(stats: &serde_json::Value) -> Option<u32> {
    u32::try_from(stats.get("pid")?.as_u64()?).ok()
}

/// The failure for a directory that is no larder mount.
pub(super) fn not_a_mount(dir: &Path) -> Failure {
    Failure::new(
        Exit::Failed,
        format_args!(
            "{} is not a larder mount: `findmnt -t {MOUNT_TYPE}` lists them",
            shown(dir)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_read_with_their_escapes() {
        let text = b"36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/root rw\n\
            37 35 0:50 / /mnt/x\\134y ro shared:7 - fuse.larder /usr ro,user_id=0\n\
            nonsense\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].dir, Path::new("/mnt/a b"));
        assert_eq!(mounts[1].dir, Path::new("/mnt/x\\y"));
        assert_eq!(mounts[1].kind, MOUNT_TYPE);
        assert_eq!(mounts[1].source, "/usr");
        assert_eq!((mounts[0].user, mounts[1].user), (None, Some(0)));
        assert_eq!(user_name(0), "user root");
        assert_eq!(user_name(u32::MAX - 7), "user 4294967288");
    }

    #[test]
    fn a_path_that_cannot_be_entered_still_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(
            full_path(&dir.path().join("missing")).unwrap(),
            real.join("missing")
        );
        assert_eq!(full_path(dir.path()).unwrap(), real);
        assert!(full_path(Path::new("/no/such/parent")).is_err());
    }

    #[test]
    fn an_ordinary_directory_is_no_mount() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(larder_at(dir.path()).unwrap(), None);
        let sentence = not_a_mount(dir.path()).sentence;
        assert!(sentence.contains(&dir.path().display().to_string()));
    }
}
