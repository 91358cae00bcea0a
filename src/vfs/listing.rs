//! What a directory held at one moment.

use std::time::Duration;

use crate::remote::{Entries, Entry, Held, Listed};

/// A listing, in the remote's order, with a way to find a name in it.
#[derive(Debug)]
pub(super) struct Listing {
    /// When it was asked for (the monotonic clock).
    pub(super) at: Duration,
    entries: Vec<Entry>,
    /// Indices into `entries`, by name.
    by_name: Vec<u32>,
    /// The room that they take.
    _held: Option<Held>,
}

impl Listing {
    /// The listing that was asked for at `at`. Names that cannot be names are left out, and so is all but the first of
    /// two equal ones: a remote may be wrong, the kernel must not be.
    pub(super) fn new(entries: impl Into<Entries>, at: Duration) -> Self {
        let (mut entries, held) = entries.into().into_parts();
        entries.retain(|entry| is_name(&entry.name));
        entries.truncate(u32::MAX as usize);
        let sorted = |entries: &[Entry]| {
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let mut order: Vec<u32> = (0..count).collect();
            order.sort_by(|&a, &b| {
                let name = |index: u32| &entries[index as usize].name;
                name(a).cmp(name(b)).then(a.cmp(&b))
            });
            order
        };
        let mut by_name = sorted(&entries);
        let double =
            |pair: &[u32]| entries[pair[0] as usize].name == entries[pair[1] as usize].name;
        let mut doubles: Vec<u32> = by_name
            .windows(2)
            .filter(|pair| double(pair))
            .map(|pair| pair[1])
            .collect();
        if !doubles.is_empty() {
            doubles.sort_unstable();
            let mut index = 0;
            entries.retain(|_| {
                index += 1;
                doubles.binary_search(&(index - 1)).is_err()
            });
            by_name = sorted(&entries);
        }
        Self {
            at,
            entries,
            by_name,
            _held: held,
        }
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry at a place in the remote's order.
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// What the listing says of a name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Listed> {
        let at = self
            .by_name
            .binary_search_by(|&index| (*self.entries[index as usize].name).cmp(name));
        at.ok()
            .map(|at| &self.entries[self.by_name[at] as usize].listed)
    }
}

/// Whether these bytes can be the name of an entry.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= 255
        && !name.contains(&b'/')
        && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::table::tests::file;

    #[test]
    fn names_are_found_and_order_is_kept() {
        let entry = |name: &[u8], size| Entry {
            name: name.into(),
            listed: Listed::Facts(file(size, 1)),
        };
        let long = [b'x'; 256];
        let names: [&[u8]; 9] = [b"b", b"a", b"", b"..", b"x/y", b"a", b"\xff\n", &long, b"c"];
        let entries = names.iter().zip(0..).map(|(name, size)| entry(name, size));
        let listing = Listing::new(entries.collect::<Vec<_>>(), Duration::ZERO);
        let order: Vec<&[u8]> = (0..listing.len())
            .map(|i| &*listing.get(i).unwrap().name)
            .collect();
        assert_eq!(order, [&b"b"[..], b"a", b"\xff\n", b"c"]);
        assert_eq!(listing.find(b"a").unwrap().facts().unwrap().size, 1);
        assert_eq!(listing.find(b"c").unwrap().facts().unwrap().size, 8);
        assert!(listing.find(b"d").is_none());
        assert!(listing.find(b"").is_none());
    }
}
