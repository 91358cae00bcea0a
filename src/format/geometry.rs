//! Where everything lies in the index file, as arithmetic on three counts.

use crate::units::{SlotId, Uuid};

use super::wire::{SECTOR_LEN, SectorSeed};

const SECTOR: u64 = SECTOR_LEN as u64;
/// The records of a segment come in multiples of this, so that each table starts on a 4 KiB boundary.
const RECORD_STEP: u64 = 8;
/// A cache has at most this many segments: they are its lock, load and cull units.
const MAX_SEGMENTS: u64 = 64;
/// Below this many slots a segment would be too small to be worth its lock.
const SLOTS_PER_SEGMENT_MIN: u64 = 1024;
/// The two copies of the superblock, and of the session, lie this far apart.
const COPY_STEP: u64 = 4096;
const SESSION_OFFSET: u64 = 2 * COPY_STEP;
const SEGMENT_HEADER_OFFSET: u64 = 4 * COPY_STEP;
const SEGMENTS_OFFSET: u64 = 65536;
/// The last page of the index: its first sector is the backup of the superblock, the rest is zeros.
const BACKUP_LEN: u64 = 4096;

/// A geometry that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Too few of something.
    #[error("{what} {count} is too small: a cache needs at least {least}")]
    TooSmall {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// How much there must be.
        least: u64,
    },
    /// Too many of something.
    #[error("{what} {count} is too large: the format allows at most {most}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// How much there may be.
        most: u64,
    },
    /// Counts that this layout cannot have.
    #[error("{what} {count} cannot be divided into {segments} segments of whole 4 KiB pages")]
    Uneven {
        /// What does not divide.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// The number of segments.
        segments: u64,
    },
}

/// The counts of a cache and the places that follow from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    n_slots: u32,
    n_blobs: u32,
    n_heap: u32,
    segments_log2: u8,
}

impl Geometry {
    /// The least capacity of a cache in bytes.
    pub const CAPACITY_MIN: u64 = 16 << 20;
    /// The most slots, blobs or heap cells that the format counts.
    pub const COUNT_MAX: u64 = 1 << 30;

    /// The geometry for `capacity` bytes: a slot and a blob record for each 128 KiB up to 64 GiB, then no more until a
    /// slot stands for 512 KiB and a blob record for 1 MiB; a heap cell for every eight slots. `slots` and `blobs`
    /// override. Counts are rounded up to whole pages of every segment.
    pub fn for_capacity(
        capacity: u64,
        slots: Option<u64>,
        blobs: Option<u64>,
    ) -> Result<Self, GeometryError> {
        if capacity < Self::CAPACITY_MIN {
            let least = Self::CAPACITY_MIN;
            return Err(GeometryError::TooSmall {
                what: "cache size in bytes",
                count: capacity,
                least,
            });
        }
        const KNEE: u64 = (64 << 30) / (128 << 10);
        let slots = slots.unwrap_or_else(|| (capacity >> 17).min(KNEE).max(capacity >> 19));
        let blobs = blobs.unwrap_or_else(|| (capacity >> 17).min(KNEE).max(capacity >> 20));
        bounded("the number of slots", slots)?;
        bounded("the number of files", blobs)?;
        let segments_log2 = (slots / SLOTS_PER_SEGMENT_MIN)
            .clamp(1, MAX_SEGMENTS)
            .ilog2();
        let step = RECORD_STEP << segments_log2;
        let whole = |count: u64| count.next_multiple_of(step);
        Self::new(
            whole(slots),
            whole(blobs),
            whole(slots.div_ceil(8)),
            segments_log2,
        )
    }

    /// The geometry of these counts, as a superblock gives them. Errors where they cannot be.
    pub fn new(
        n_slots: u64,
        n_blobs: u64,
        n_heap: u64,
        segments_log2: u32,
    ) -> Result<Self, GeometryError> {
        let most = u64::from(MAX_SEGMENTS.ilog2());
        if u64::from(segments_log2) > most {
            let count = u64::from(segments_log2);
            return Err(GeometryError::TooLarge {
                what: "log2 of segments",
                count,
                most,
            });
        }
        let segments = 1u64 << segments_log2;
        let count = |what, count: u64| {
            bounded(what, count)?;
            if !count.is_multiple_of(segments * RECORD_STEP) {
                return Err(GeometryError::Uneven {
                    what,
                    count,
                    segments,
                });
            }
            u32::try_from(count).map_err(|_| GeometryError::TooLarge {
                what,
                count,
                most: Self::COUNT_MAX,
            })
        };
        Ok(Self {
            n_slots: count("the number of slots", n_slots)?,
            n_blobs: count("the number of files", n_blobs)?,
            n_heap: count("the number of heap cells", n_heap)?,
            segments_log2: u8::try_from(segments_log2).unwrap_or_default(),
        })
    }

    /// How many chunk slots.
    pub fn n_slots(&self) -> u32 {
        self.n_slots
    }

    /// How many blob records.
    pub fn n_blobs(&self) -> u32 {
        self.n_blobs
    }

    /// How many heap cells.
    pub fn n_heap(&self) -> u32 {
        self.n_heap
    }

    /// The base-2 logarithm of the number of segments: 0 to 6.
    pub fn segments_log2(&self) -> u8 {
        self.segments_log2
    }

    /// How many segments: a power of two up to 64.
    pub fn segments(&self) -> u32 {
        1 << self.segments_log2
    }

    /// How many slots each segment has.
    pub fn slots_per_segment(&self) -> u32 {
        self.n_slots >> self.segments_log2
    }

    /// How many blob records each segment has.
    pub fn blobs_per_segment(&self) -> u32 {
        self.n_blobs >> self.segments_log2
    }

    /// How many heap cells each segment has.
    pub fn heap_per_segment(&self) -> u32 {
        self.n_heap >> self.segments_log2
    }

    /// The segment of a 64-bit hash: its top bits.
    pub fn segment_of(&self, hash: u64) -> u32 {
        match self.segments_log2 {
            0 => 0,
            #[expect(clippy::cast_possible_truncation, reason = "at most six bits are left")]
            bits => (hash >> (64 - u32::from(bits))) as u32,
        }
    }

    /// The length of the index file in bytes.
    pub fn index_len(&self) -> u64 {
        self.backup_offset() + BACKUP_LEN
    }

    /// The offset of the superblock's backup: behind all segments.
    pub fn backup_offset(&self) -> u64 {
        SEGMENTS_OFFSET + u64::from(self.segments()) * self.segment_len()
    }

    /// Where the backup of the superblock must lie in an index of this length, if it lies in one at all.
    pub fn backup_offset_in(index_len: u64) -> Option<u64> {
        let offset = index_len.checked_sub(BACKUP_LEN)?;
        (offset >= SEGMENTS_OFFSET && offset.is_multiple_of(BACKUP_LEN)).then_some(offset)
    }

    /// The least capacity in bytes whose geometry has an index of at least `index_len` bytes; the greatest that there is
    /// where none has.
    pub fn capacity_for_index(index_len: u64) -> u64 {
        // Half a MiB stands for a slot, of which there are at most so many.
        let (mut low, mut high) = (Self::CAPACITY_MIN, Self::COUNT_MAX << 19);
        let long_enough = |capacity| {
            Self::for_capacity(capacity, None, None)
                .is_ok_and(|geometry| geometry.index_len() >= index_len)
        };
        // The length never falls as the capacity rises.
        while low < high {
            let middle = low + (high - low) / 2;
            if long_enough(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// The offset of copy 0 or 1 of the superblock.
    pub fn superblock_offset(copy: u32) -> u64 {
        u64::from(copy & 1) * COPY_STEP
    }

    /// The offset of copy 0 or 1 of the session.
    pub fn session_offset(copy: u32) -> u64 {
        SESSION_OFFSET + u64::from(copy & 1) * COPY_STEP
    }

    /// The offset of the header of segment `segment`.
    pub fn segment_header_offset(segment: u32) -> u64 {
        SEGMENT_HEADER_OFFSET + u64::from(segment) * SECTOR
    }

    /// The bytes that one segment's three tables take.
    pub fn segment_len(&self) -> u64 {
        let records = u64::from(self.slots_per_segment())
            + u64::from(self.blobs_per_segment())
            + u64::from(self.heap_per_segment());
        records * SECTOR
    }

    /// The offset of the slot table of segment `segment`.
    pub fn slot_table_offset(&self, segment: u32) -> u64 {
        SEGMENTS_OFFSET + u64::from(segment) * self.segment_len()
    }

    /// The offset of the blob table of segment `segment`.
    pub fn blob_table_offset(&self, segment: u32) -> u64 {
        self.slot_table_offset(segment) + u64::from(self.slots_per_segment()) * SECTOR
    }

    /// The offset of the heap of segment `segment`.
    pub fn heap_offset(&self, segment: u32) -> u64 {
        self.blob_table_offset(segment) + u64::from(self.blobs_per_segment()) * SECTOR
    }

    /// The offset of a slot's record.
    pub fn slot_offset(&self, slot: SlotId) -> u64 {
        let per_segment = self.slots_per_segment();
        self.slot_table_offset(slot.0 / per_segment) + u64::from(slot.0 % per_segment) * SECTOR
    }

    /// The offset of the blob record of this number, counted over the whole cache as slots are.
    pub fn blob_offset(&self, blob: u32) -> u64 {
        let per_segment = self.blobs_per_segment();
        self.blob_table_offset(blob / per_segment) + u64::from(blob % per_segment) * SECTOR
    }

    /// How many slots, blob records and heap cells begin before the end of an index of `index_len` bytes: the rest of
    /// what a superblock counts cannot be there. The slots that are come before those that are not, and so on.
    pub fn within(&self, index_len: u64) -> [u32; 3] {
        let tables: [(u64, u32); 3] = [
            (self.slot_table_offset(0), self.slots_per_segment()),
            (self.blob_table_offset(0), self.blobs_per_segment()),
            (self.heap_offset(0), self.heap_per_segment()),
        ];
        tables.map(|(first, count)| {
            let in_segment = |segment: u32| {
                let start = first + u64::from(segment) * self.segment_len();
                let sectors = index_len.saturating_sub(start).div_ceil(SECTOR);
                u32::try_from(sectors).map_or(count, |sectors| sectors.min(count))
            };
            (0..self.segments()).map(in_segment).sum()
        })
    }

    /// The seed of the sector at `offset` of the index of cache `uuid`.
    pub fn seed(uuid: Uuid, offset: u64) -> SectorSeed {
        SectorSeed {
            uuid,
            number: offset / SECTOR,
        }
    }
}

fn bounded(what: &'static str, count: u64) -> Result<(), GeometryError> {
    if count < RECORD_STEP {
        return Err(GeometryError::TooSmall {
            what,
            count,
            least: RECORD_STEP,
        });
    }
    if count > Geometry::COUNT_MAX {
        return Err(GeometryError::TooLarge {
            what,
            count,
            most: Geometry::COUNT_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_index_is_small() {
        for (capacity, share_max, slots_min) in [
            (10u64 << 30, 0.011, 80_000),
            (1 << 40, 0.002, 2 << 20),
            (16 << 20, 0.02, 128),
        ] {
            let geometry = Geometry::for_capacity(capacity, None, None).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
            let share = geometry.index_len() as f64 / capacity as f64;
            assert!(share <= share_max, "{capacity}: {share}");
            assert!(u64::from(geometry.n_slots()) >= slots_min, "{capacity}");
        }
        let ten = Geometry::for_capacity(10 << 30, None, None).unwrap();
        assert!(ten.n_blobs() >= 80_000);
        assert_eq!(ten.segments(), 64);
        assert_eq!(
            Geometry::for_capacity(16 << 20, None, None)
                .unwrap()
                .segments(),
            1
        );
    }

    #[test]
    fn tables_lie_behind_one_another_on_whole_pages() {
        let geometry = Geometry::for_capacity(1 << 30, None, None).unwrap();
        for segment in 0..geometry.segments() {
            let places = [
                geometry.slot_table_offset(segment),
                geometry.blob_table_offset(segment),
                geometry.heap_offset(segment),
                geometry.slot_table_offset(segment + 1),
            ];
            assert!(places.iter().all(|p| p % 4096 == 0) && places.is_sorted());
        }
        let last = SlotId(geometry.n_slots() - 1);
        assert!(geometry.slot_offset(last) < geometry.index_len());
        assert!(Geometry::segment_header_offset(64) <= SEGMENTS_OFFSET);
    }

    #[test]
    fn the_capacity_of_an_index_is_the_least_that_has_it() {
        let len = |capacity| {
            Geometry::for_capacity(capacity, None, None)
                .unwrap()
                .index_len()
        };
        for capacity in [16u64 << 20, 100 << 20, 1 << 30, 10 << 30, 1 << 40, 1 << 49] {
            let found = Geometry::capacity_for_index(len(capacity));
            assert!(
                found <= capacity && len(found) == len(capacity),
                "{capacity}"
            );
            assert!(
                found == 16 << 20 || len(found - 1) < len(capacity),
                "{capacity}"
            );
        }
        assert_eq!(Geometry::capacity_for_index(0), 16 << 20);
        assert_eq!(Geometry::capacity_for_index(u64::MAX), 1 << 49);
        let lens = (0..4000).map(|n| len((16 << 20) + n * 40_961));
        assert!(lens.is_sorted(), "the search needs lengths that never fall");
    }

    #[test]
    fn the_backup_is_found_by_the_length_alone() {
        let geometry = Geometry::for_capacity(1 << 30, None, None).unwrap();
        let found = Geometry::backup_offset_in(geometry.index_len());
        assert_eq!(found, Some(geometry.backup_offset()));
        assert_eq!(
            geometry.backup_offset(),
            geometry.slot_table_offset(geometry.segments())
        );
        for len in [0, 4096, 65536, 65536 + 4097] {
            assert_eq!(Geometry::backup_offset_in(len), None, "{len}");
        }
    }

    #[test]
    fn what_an_index_of_some_length_holds_is_counted() {
        let geometry = Geometry::new(32, 16, 16, 1).unwrap();
        assert_eq!(geometry.within(geometry.index_len()), [32, 16, 16]);
        for len in (0..geometry.index_len() + 8192).step_by(100) {
            let before = |offset: u64| u32::from(offset < len);
            let cell = |n: u32| geometry.heap_offset(n / 8) + u64::from(n % 8) * SECTOR;
            let counted = [
                (0..32)
                    .map(|n| before(geometry.slot_offset(SlotId(n))))
                    .sum::<u32>(),
                (0..16).map(|n| before(geometry.blob_offset(n))).sum(),
                (0..16).map(|n| before(cell(n))).sum(),
            ];
            assert_eq!(geometry.within(len), counted, "{len}");
        }
        let huge = Geometry::new(1 << 30, 1 << 30, 1 << 30, 0).unwrap();
        assert_eq!(huge.within(151_552), [168, 0, 0]);
    }

    #[test]
    fn impossible_counts_are_refused() {
        assert!(Geometry::for_capacity(1 << 20, None, None).is_err());
        assert!(Geometry::for_capacity(1 << 30, Some(1 << 40), None).is_err());
        assert!(Geometry::new(8, 8, 8, 7).is_err());
        assert!(Geometry::new(8, 8, 8, 1).is_err());
        assert!(Geometry::new(0, 8, 8, 0).is_err());
    }
}
