//! The files of slots as they lie in a leaf of `chunks`, for counting them. What is no slot's in this geometry, and what is
//! no plain file, is passed over; no link is followed.

use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;

use super::open_at::open_at;
use super::paths::{LEAF_SLOTS, chunk_path, slot_at};
use crate::format::Geometry;
use crate::storage::api::ChunkStat;
use crate::units::SlotId;

/// The slots with a file in the leaf of slot `from`, and the first slot of the next leaf.
pub(super) fn list_leaf(
    dir: &File,
    geometry: &Geometry,
    from: SlotId,
) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
    let per_segment = geometry.slots_per_segment();
    let (segment, place) = (from.0 / per_segment, from.0 % per_segment);
    let end = (place / LEAF_SLOTS + 1).saturating_mul(LEAF_SLOTS);
    let behind = |place: u32| {
        let next = SlotId(segment * per_segment + place.min(per_segment));
        (next.0 < geometry.n_slots()).then_some(next)
    };
    let path = chunk_path(geometry, from);
    let (leaf, _) = path.rsplit_once('/').unwrap_or_default();
    let (above, _) = leaf.rsplit_once('/').unwrap_or_default();
    let mut slots = Vec::new();
    let open = |path| open_at(dir, path, OFlags::RDONLY | OFlags::DIRECTORY);
    let Some(open) = there(open(leaf))? else {
        // A segment without a directory has no leaf at all.
        let is_used = there(open(above))?.is_some();
        return Ok((slots, behind(if is_used { end } else { per_segment })));
    };
    for entry in Dir::new(open)? {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        slots.extend(name.and_then(|name| slot_at(geometry, &format!("{leaf}/{name}"))));
    }
    Ok((slots, behind(end)))
}

/// What the file of a slot takes; `None` where there is no plain file in its place.
pub(super) fn stat_chunk(
    dir: &File,
    geometry: &Geometry,
    slot: SlotId,
) -> io::Result<Option<ChunkStat>> {
    let path = chunk_path(geometry, slot);
    let (leaf, name) = path.rsplit_once('/').unwrap_or_default();
    let open = open_at(dir, leaf, OFlags::RDONLY | OFlags::DIRECTORY);
    let Some(open) = there(open)? else {
        return Ok(None);
    };
    let found = rustix::fs::statat(open, name, AtFlags::SYMLINK_NOFOLLOW);
    let file = there(found)?.filter(|found| {
        let kind = FileType::from_raw_mode(found.st_mode);
        kind == FileType::RegularFile
    });
    Ok(file.map(|found| ChunkStat {
        len: u64::try_from(found.st_size).unwrap_or_default(),
        bytes: u64::try_from(found.st_blocks).unwrap_or_default() * 512,
    }))
}

/// `None` where nothing of larder's can lie: nothing is there, or something of the user's in its place.
fn there<T>(found: Result<T, Errno>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
