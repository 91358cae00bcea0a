//! What becomes of unsynced changes when the power goes.

use std::collections::BTreeMap;

use crate::units::SlotId;

const SECTOR: usize = 512;
/// The number that stands for the index among the files.
pub(super) const INDEX: u64 = 0;

/// What becomes of one unsynced change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It reached the disk.
    Keep,
    /// It did not.
    Drop,
    /// Of a write, only those 512-byte sectors whose bit is set reached the disk: bit n stands for the n-th sector that
    /// the write touches, modulo 64. Any other change is kept if bit 0 is set.
    Tear(u64),
}

impl Fate {
    fn keeps(self, sector: usize) -> bool {
        match self {
            Self::Keep => true,
            Self::Drop => false,
            Self::Tear(mask) => mask >> (sector % 64) & 1 == 1,
        }
    }
}

/// One change that is not yet durable. Files are numbered as inodes are: a slot's next file is another one.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        file: u64,
        offset: usize,
        data: Vec<u8>,
    },
    Grow {
        file: u64,
        len: usize,
    },
    Cut {
        file: u64,
        len: usize,
    },
    Create {
        slot: SlotId,
        file: u64,
    },
    Unlink {
        slot: SlotId,
        file: u64,
    },
}

impl Change {
    /// Whether it is a write to a chunk file.
    pub(super) fn is_data(&self) -> bool {
        matches!(self, Self::Write { file, .. } if *file != INDEX)
    }

    pub(super) fn is_index(&self) -> bool {
        matches!(self, Self::Write { file: INDEX, .. })
    }
}

/// What is durable: the names and the bytes, the index among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    pub(super) names: BTreeMap<SlotId, u64>,
    pub(super) files: BTreeMap<u64, Vec<u8>>,
}

impl Durable {
    /// The disk after a cut: the changes of `log` applied in the order of `order` (places in `log`), each as `fate` says
    /// of its place.
    pub(super) fn after(
        &self,
        log: &[Change],
        order: impl IntoIterator<Item = usize>,
        mut fate: impl FnMut(usize) -> Fate,
    ) -> Self {
        let mut names = self.names.clone();
        let mut files = self.files.clone();
        let mut lens: BTreeMap<u64, usize> = files.iter().map(|(n, f)| (*n, f.len())).collect();
        for at in order {
            let Some(change) = log.get(at) else { continue };
            let fate = fate(at);
            match change {
                Change::Write { file, offset, data } => {
                    write_sectors(files.entry(*file).or_default(), *offset, data, fate);
                }
                _ if !fate.keeps(0) => {}
                Change::Grow { file, len } => {
                    let known = lens.entry(*file).or_default();
                    *known = (*known).max(*len);
                }
                Change::Cut { file, len } => {
                    let known = lens.entry(*file).or_default();
                    *known = (*known).min(*len);
                    files.entry(*file).or_default().truncate(*len);
                }
                Change::Create { slot, file } => drop(names.insert(*slot, *file)),
                Change::Unlink { slot, file } => {
                    if names.get(slot) == Some(file) {
                        names.remove(slot);
                    }
                }
            }
        }
        let reached = |file: u64| file == INDEX || names.values().any(|named| *named == file);
        files.retain(|file, _| reached(*file));
        for file in names.values() {
            files.entry(*file).or_default();
        }
        for (file, bytes) in &mut files {
            bytes.resize(lens.get(file).copied().unwrap_or_default(), 0);
        }
        Self { names, files }
    }
}

fn write_sectors(to: &mut Vec<u8>, offset: usize, data: &[u8], fate: Fate) {
    let end = offset + data.len();
    if fate != Fate::Drop && to.len() < end {
        to.resize(end, 0);
    }
    let (mut at, first) = (offset, offset / SECTOR);
    while at < end {
        let stop = ((at / SECTOR + 1) * SECTOR).min(end);
        if fate.keeps(at / SECTOR - first)
            && let (Some(to), Some(from)) =
                (to.get_mut(at..stop), data.get(at - offset..stop - offset))
        {
            to.copy_from_slice(from);
        }
        at = stop;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId(3);

    fn log() -> Vec<Change> {
        vec![
            Change::Unlink {
                slot: SLOT,
                file: 1,
            },
            Change::Create {
                slot: SLOT,
                file: 2,
            },
            Change::Grow { file: 2, len: 1024 },
            Change::Write {
                file: 2,
                offset: 0,
                data: vec![7; 1024],
            },
        ]
    }

    #[test]
    fn what_was_cut_off_comes_back_as_zeros_or_not_at_all() {
        let cut = Change::Cut { file: 1, len: 4 };
        let grown = Change::Grow { file: 1, len: 6 };
        let log = [cut, grown];
        for (fates, left) in [
            ([Fate::Keep, Fate::Keep], vec![1, 1, 1, 1, 0, 0]),
            ([Fate::Keep, Fate::Drop], vec![1; 4]),
            ([Fate::Drop, Fate::Keep], vec![1; 10]),
        ] {
            let after = before().after(&log, 0..2, |at| fates[at]);
            assert_eq!(after.files[&1], left, "{fates:?}");
        }
    }

    fn before() -> Durable {
        Durable {
            names: [(SLOT, 1)].into(),
            files: [(INDEX, vec![0; 512]), (1, vec![1; 10])].into(),
        }
    }

    fn content(fates: [Fate; 4]) -> Option<Vec<u8>> {
        let after = before().after(&log(), 0..4, |at| fates[at]);
        assert_eq!(after.files.get(&INDEX), Some(&vec![0; 512]));
        after.names.get(&SLOT).map(|file| after.files[file].clone())
    }

    #[test]
    fn every_part_of_a_change_persists_by_itself() {
        use Fate::{Drop, Keep, Tear};
        assert_eq!(
            content([Drop; 4]),
            Some(vec![1; 10]),
            "the unlink was lost: the old file is back"
        );
        assert_eq!(
            content([Keep, Drop, Keep, Keep]),
            None,
            "the create was lost"
        );
        assert_eq!(
            content([Keep, Keep, Keep, Drop]),
            Some(vec![0; 1024]),
            "a size without data"
        );
        assert_eq!(
            content([Keep, Keep, Drop, Keep]),
            Some(vec![]),
            "data without a size"
        );
        assert_eq!(content([Keep; 4]), Some(vec![7; 1024]));
        let torn = content([Keep, Keep, Keep, Tear(2)]).unwrap();
        assert_eq!((&torn[..512], &torn[512..]), (&[0; 512][..], &[7; 512][..]));
    }

    #[test]
    fn overlapping_writes_land_in_the_given_order() {
        let write = |byte| Change::Write {
            file: INDEX,
            offset: 100,
            data: vec![byte; 50],
        };
        let log = [write(1), write(2)];
        for (order, last) in [([0, 1], 2), ([1, 0], 1)] {
            let after = before().after(&log, order, |_| Fate::Keep);
            assert_eq!(after.files[&INDEX][100..150], [last; 50]);
            assert_eq!(after.files[&INDEX].len(), 512);
        }
    }
}
