//! Inode numbers: the same version of the same name gets the same number in every mount.

use crate::units::{Facts, FileKind, ObjectName};

/// The number of the mount's root, which the kernel knows.
pub(in crate::vfs) const ROOT: u64 = 1;

/// The `n`-th number of a version. A file's number comes from its name, kind, size and mtime; a directory's, which has
/// no version, from its name and kind. `n` is above 0 only where a lower one serves another version in this mount.
/// Never 0 (no inode) and never [`ROOT`].
pub(in crate::vfs) fn number(name: &ObjectName, facts: &Facts, n: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind_number(facts.kind)]);
    hasher.update(&n.to_le_bytes());
    if facts.kind != FileKind::Dir {
        hasher.update(&facts.size.to_le_bytes());
        hasher.update(&facts.mtime.secs.to_le_bytes());
        hasher.update(&facts.mtime.nanos.to_le_bytes());
    }
    hasher.update(name.as_bytes());
    let mut eight = [0; 8];
    hasher.finalize_xof().fill(&mut eight);
    match u64::from_le_bytes(eight) {
        0 | ROOT => u64::MAX,
        number => number,
    }
}

/// Part of what is hashed: numbers, once given, stay.
fn kind_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::File => 1,
        FileKind::Dir => 2,
        FileKind::Symlink => 3,
        FileKind::Fifo => 4,
        FileKind::Socket => 5,
        FileKind::CharDevice => 6,
        FileKind::BlockDevice => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use crate::vfs::names::inodes::tests::file;

    #[test]
    fn a_number_tells_versions_apart() {
        let name = ObjectName::new(&b"a/b"[..]);
        let base = file(10, 5);
        let of = |facts: &Facts, n| number(&name, facts, n);
        assert_eq!(of(&base, 0), of(&base.clone(), 0));
        let mut others = vec![of(&base, 1), number(&ObjectName::root(), &base, 0)];
        others.push(of(&file(11, 5), 0));
        others.push(of(&file(10, 6), 0));
        let nanos = Timestamp { secs: 5, nanos: 1 };
        others.push(of(
            &Facts {
                mtime: nanos,
                ..file(10, 5)
            },
            0,
        ));
        let link = Facts {
            kind: FileKind::Symlink,
            ..file(10, 5)
        };
        others.push(of(&link, 0));
        assert!(others.iter().all(|&other| other != of(&base, 0)));
    }

    #[test]
    fn a_directory_keeps_its_number() {
        let name = ObjectName::new(&b"d"[..]);
        let dir = |size, secs| Facts {
            kind: FileKind::Dir,
            ..file(size, secs)
        };
        assert_eq!(
            number(&name, &dir(1, 1), 0),
            number(&name, &dir(4096, 99), 0)
        );
    }
}
