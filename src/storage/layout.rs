//! Where each file of a cache directory lies.
//!
//! `chunks/<segment>/<place in the segment / 1024>/<slot>`, in hexadecimal: at most 1024 files in a leaf, so that no
//! file system's directories grow slow.

use crate::format::Geometry;
use crate::units::SlotId;

/// The index file.
pub(super) const INDEX_NAME: &str = "index.larder";
/// The index while it is being written.
pub(super) const INDEX_NEW_NAME: &str = "index.larder.new";
/// The directory of the chunk files.
pub(super) const CHUNKS_NAME: &str = "chunks";
/// Where cachefsck puts files that belong to no slot.
pub(super) const QUARANTINE_NAME: &str = "quarantine";

/// The path of a slot's file below the cache directory.
pub(super) fn chunk_path(geometry: &Geometry, slot: SlotId) -> String {
    let per_segment = geometry.slots_per_segment();
    let (segment, place) = (slot.0 / per_segment, slot.0 % per_segment);
    format!(
        "{CHUNKS_NAME}/{segment:02x}/{:04x}/{:08x}",
        place >> 10,
        slot.0
    )
}

/// The slot whose file lies at exactly this path, if any.
pub(super) fn slot_at(geometry: &Geometry, path: &str) -> Option<SlotId> {
    let (_, name) = path.rsplit_once('/')?;
    let slot = SlotId(u32::from_str_radix(name, 16).ok()?);
    (slot.0 < geometry.n_slots() && chunk_path(geometry, slot) == path).then_some(slot)
}

/// The directories above a path, topmost first.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
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
    }
}
