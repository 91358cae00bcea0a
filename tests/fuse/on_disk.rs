//! What of a file the index on the disk names as present: all that a kill leaves. Readers are answered before that, and
//! what the daemon says of itself is what it has in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder::format::{Geometry, SlotKind, SlotRecord, Superblock};
use larder::units::SlotId;

use super::cli::rig::wait_until;
use super::web::files::attribute;

/// Waits until these files of a mount are wholly on the disk of its cache. The documents say that it takes 200 ms, which
/// holds where the machine and its disk have nothing else to do.
pub(crate) fn wait_until_on_disk(cache: &Path, files: impl IntoIterator<Item = PathBuf>) {
    let wanted = files.into_iter().map(|path| {
        wait_until("it is cached", || {
            attribute(&path, "cached-bytes") == len(&path).to_string()
        });
        (attribute(&path, "tag"), len(&path))
    });
    let wanted: Vec<_> = wanted.filter(|(_, len)| *len > 0).collect();
    wait_until("it is on the disk", || {
        let held = held(cache);
        wanted.iter().all(|(tag, len)| held.get(tag) == Some(len))
    });
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// The bytes of each version that the index names as present.
fn held(cache: &Path) -> HashMap<String, u64> {
    let index = File::open(cache.join("index.larder")).unwrap();
    let sector = |offset| {
        let mut sector = [0; 512];
        index.read_exact_at(&mut sector, offset).unwrap();
        sector
    };
    let copies = [0, 1].map(|copy| sector(Geometry::superblock_offset(copy)));
    let superblock = Superblock::choose(&copies).unwrap();
    let geometry = superblock.geometry;
    let mut held = HashMap::new();
    for slot in (0..geometry.n_slots()).map(SlotId) {
        let offset = geometry.slot_offset(slot);
        // One that is being written is looked at another time.
        let Ok(record) = SlotRecord::decode(&sector(offset), superblock.uuid, offset) else {
            continue;
        };
        if record.kind != SlotKind::Free {
            let len = |block| record.chunk.block_len(record.valid_len.into(), block);
            let bytes: u64 = record.present.iter().map(len).sum();
            *held.entry(record.tag.to_string()).or_default() += bytes;
        }
    }
    held
}
