//! Names as the kernel knows them: the last component, and the directory that it is in.

use crate::units::{FileKind, ObjectName};

/// A name in the kernel's memory.
pub(in crate::vfs) struct KernelName {
    /// The inode of its directory.
    pub(in crate::vfs) parent: u64,
    /// The name in it.
    pub(in crate::vfs) last: Box<[u8]>,
    /// The inode that it leads to, and what that is; `None` where it is none.
    pub(in crate::vfs) inode: Option<(u64, FileKind)>,
}

/// The last component of a name.
pub(in crate::vfs) fn last_of(name: &ObjectName) -> &[u8] {
    let name = name.as_bytes();
    let start = name.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    name.get(start..).unwrap_or_default()
}

/// Whether these bytes can be the name of an entry.
pub(in crate::vfs) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= 255
        && !name.contains(&b'/')
        && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_component_is_what_follows_the_last_slash() {
        for (name, last) in [("a/b/c", "c"), ("a", "a"), ("", "")] {
            assert_eq!(last_of(&ObjectName::new(name.as_bytes())), last.as_bytes());
        }
    }
}
