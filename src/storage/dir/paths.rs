//! Where each file of a cache directory lies.
//!
//! `chunks/<segment>/<place in the segment / 1024>/<slot>`, in hexadecimal: at most 1024 files in a leaf, so that no
//! file system's directories grow slow.

use crate::format::Geometry;
use crate::units::SlotId;

/// The index file.
pub(in crate::storage) const INDEX_NAME: &str = "index.larder";
/// The index while it is being written.
pub(in crate::storage) const INDEX_NEW_NAME: &str = "index.larder.new";
/// The directory of the chunk files.
pub(in crate::storage) const CHUNKS_NAME: &str = "chunks";
/// The chunk files under their names in an index that is being written (`admin/resize.rs`).
pub(in crate::storage) const CHUNKS_NEW_NAME: &str = "chunks.new";
/// The chunk files under their names in the index before it, while they are removed.
pub(in crate::storage) const CHUNKS_OLD_NAME: &str = "chunks.old";
/// Where cachefsck puts files that belong to no slot.
pub(in crate::storage) const QUARANTINE_NAME: &str = "quarantine";
/// Where bytes of users will lie that were not uploaded yet: this version makes none, and touches none.
pub(in crate::storage) const DIRTY_NAME: &str = "dirty";

/// How many slots have their file in one leaf, at most.
pub(in crate::storage) const LEAF_SLOTS: u32 = 1 << 10;

/// The path of a slot's file below the cache directory.
pub(in crate::storage) fn chunk_path(geometry: &Geometry, slot: SlotId) -> String {
    let per_segment = geometry.slots_per_segment();
    let (segment, place) = (slot.0 / per_segment, slot.0 % per_segment);
    format!(
        "{CHUNKS_NAME}/{segment:02x}/{:04x}/{:08x}",
        place / LEAF_SLOTS,
        slot.0
    )
}

/// The slot whose file lies at exactly this path, if any.
pub(in crate::storage) fn slot_at(geometry: &Geometry, path: &str) -> Option<SlotId> {
    let (_, name) = path.rsplit_once('/')?;
    let slot = SlotId(u32::from_str_radix(name, 16).ok()?);
    (slot.0 < geometry.n_slots() && chunk_path(geometry, slot) == path).then_some(slot)
}

/// Whether this is a directory that some slot's file lies in.
pub(in crate::storage) fn is_slot_dir(geometry: &Geometry, path: &str) -> bool {
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let mut parts = path.split('/');
    let (top, segment, leaf) = (parts.next(), parts.next(), parts.next());
    let Some(segment) = segment
        .and_then(number)
        .filter(|n| *n < geometry.segments())
    else {
        return path == CHUNKS_NAME;
    };
    let first = segment * geometry.slots_per_segment();
    let place = leaf.and_then(number).unwrap_or(0).checked_mul(1 << 10);
    let inside = place.filter(|place| *place < geometry.slots_per_segment());
    let slot = inside.map(|place| chunk_path(geometry, SlotId(first + place)));
    top.is_some() && slot.is_some_and(|slot| parents(&slot).any(|parent| parent == path))
}

/// Whether a path has the form of a slot's file in a cache of whatever geometry.
pub(in crate::storage) fn could_be_slot(path: &str) -> bool {
    let hex = |text: &str, len: usize| {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = text.len() == len && text.bytes().all(digits);
        fits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let Some((CHUNKS_NAME, rest)) = path.split_once('/') else {
        return false;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let [segment, leaf, slot] = *parts else {
        return false;
    };
    let (segment, leaf, slot) = (hex(segment, 2), hex(leaf, 4), hex(slot, 8));
    match (segment, leaf, slot) {
        (Some(segment), Some(leaf), Some(slot)) => some_geometry_has(segment, leaf, slot),
        _ => false,
    }
}

/// Whether there is a number of slots in a segment with which this slot lies in this leaf of this segment.
fn some_geometry_has(segment: u32, leaf: u32, slot: u32) -> bool {
    if segment == 0 {
        return slot >> 10 == leaf;
    }
    let first = leaf << 10;
    let Some(beyond) = slot.checked_sub(first) else {
        return false;
    };
    // The least place in the leaf that leaves whole segments before it; the greater ones only make segments shorter.
    let place = first + beyond % segment;
    segment < 64 && (slot - place) / segment > place
}

/// The directories above a path, topmost first.
pub(in crate::storage) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_place_and_no_leaf_is_large() {
        let geometry = Geometry::new(8 << 10, 64, 64, 1).unwrap();
        let mut leaves = std::collections::HashMap::new();
        for slot in (0..geometry.n_slots()).map(SlotId) {
            let path = chunk_path(&geometry, slot);
            assert_eq!(slot_at(&geometry, &path), Some(slot));
            *leaves
                .entry(path.rsplit_once('/').unwrap().0.to_owned())
                .or_insert(0) += 1;
        }
        assert!(leaves.values().all(|n| *n <= 1024));
        assert_eq!(
            chunk_path(&geometry, SlotId(5121)),
            "chunks/01/0001/00001401"
        );
        for stray in [
            "chunks/00/0001/00001401",
            "chunks/01/0001/1401",
            "chunks/01/0001/x",
            "00001401",
            "chunks/01/0001/00009999",
        ] {
            assert_eq!(slot_at(&geometry, stray), None, "{stray}");
        }
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        for own in ["chunks", "chunks/00", "chunks/01", "chunks/01/0003"] {
            assert!(is_slot_dir(&geometry, own), "{own}");
        }
        for stray in [
            "chunks/02",
            "chunks/1",
            "chunks/01/0004",
            "chunks/01/ffffffff",
            "chunks/01/0003/00001401",
            "chunk",
            "quarantine/01",
        ] {
            assert!(!is_slot_dir(&geometry, stray), "{stray}");
        }
    }

    #[test]
    fn the_form_of_a_slots_path_is_known_without_a_geometry() {
        for slot in [0, 1024, 5121, 8191] {
            for log2 in [0, 1, 3] {
                let geometry = Geometry::new(8 << 10, 64, 64, log2).unwrap();
                assert!(could_be_slot(&chunk_path(&geometry, SlotId(slot))));
            }
        }
        for stray in [
            "chunks/00/0000",
            "chunks/00/0000/0000000G",
            "chunks/00/0000/0000000A",
            "chunks/00/0001/00000001",
            "chunks/00/0000/ffffffff",
            "chunks/02/0004/00002bff",
            "chunks/40/0000/00000001",
            "chunks/00/0000/00000001/x",
            "chunk/00/0000/00000001",
        ] {
            assert!(!could_be_slot(stray), "{stray}");
        }
    }
}
