//! One file of the lossy disk: what programs see of it, what is durable, and every version of each page in between.
//!
//! Pages are written back in any order and at any time, so after a cut a page holds any version that it ever had since
//! the last sync, the durable one included, or, where it is torn, a mixture of them by sectors of 512 bytes. The size
//! persists by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder::testing::Rng;

/// The unit of the page cache.
pub(super) const PAGE: usize = 4096;
pub(super) const PAGE_U32: u32 = 4096;
const SECTOR: usize = 512;
/// As many versions of one page are remembered; of more, some in the middle are forgotten.
const VERSIONS_MAX: usize = 8;

/// One page; `None` is a hole.
type Page = Option<Arc<[u8; PAGE]>>;

const ZEROS: [u8; PAGE] = [0; PAGE];

/// One file.
#[derive(Clone, Default)]
pub(super) struct LossyFile {
    live: BTreeMap<u64, Arc<[u8; PAGE]>>,
    len: u64,
    durable: BTreeMap<u64, Arc<[u8; PAGE]>>,
    durable_len: u64,
    /// What each dirty page was since the last sync, the newest last.
    versions: BTreeMap<u64, Vec<Page>>,
    /// What the size was since the last sync, the newest last.
    lens: Vec<u64>,
}

/// How a cut treats unsynced changes: chances in 256.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    pub(super) keep: u16,
    pub(super) tear: u16,
}

impl Mood {
    /// Some cuts lose nearly all, some nearly nothing; random subsets in between find what either extreme hides.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let [keep, tear] = [(); 2].map(|()| u16::try_from(rng.below(257)).unwrap());
        Self {
            keep,
            tear: tear / 2,
        }
    }

    /// The mood of one file: writeback goes file by file, so one may be all there and another not at all.
    fn of_file(self, rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self { keep: 256, tear: 0 },
            1 => Self { keep: 0, tear: 0 },
            _ => self,
        }
    }
}

impl LossyFile {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes that it takes on disk.
    pub(super) fn allocated(&self) -> u64 {
        self.live.len() as u64 * PAGE as u64
    }

    /// How many pages are not durable.
    pub(super) fn dirty(&self) -> usize {
        self.versions.len()
    }

    /// Reads what there is of `len` bytes.
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(offset + len as u64);
        let mut bytes = Vec::with_capacity(len);
        let mut at = offset;
        while at < end {
            let (page, from) = place(at);
            let upto = PAGE.min(from + usize::try_from(end - at).unwrap());
            let source = self.live.get(&page).map_or(&ZEROS, |page| page);
            bytes.extend_from_slice(&source[from..upto]);
            at += (upto - from) as u64;
        }
        bytes
    }

    /// Writes; the size grows where it must.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (page, from) = place(at);
            let len = rest.len().min(PAGE - from);
            self.change(page, |bytes| {
                bytes[from..from + len].copy_from_slice(&rest[..len]);
            });
            rest = &rest[len..];
            at += len as u64;
        }
        if at > self.len {
            self.note_len(at);
        }
    }

    /// Changes the size. What is cut off reads as zeros when the file grows again.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, from) = place(len);
            if from > 0 && self.live.contains_key(&page) {
                self.change(page, |bytes| bytes[from..].fill(0));
            }
            let first = len.div_ceil(PAGE as u64);
            for page in self.live.split_off(&first).into_keys() {
                self.note(page, None);
            }
        }
        if len != self.len {
            self.note_len(len);
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        for page in std::mem::take(&mut self.versions).into_keys() {
            match self.live.get(&page) {
                Some(bytes) => drop(self.durable.insert(page, Arc::clone(bytes))),
                None => drop(self.durable.remove(&page)),
            }
        }
        self.lens.clear();
        self.durable_len = self.len;
    }

    /// The file as a power cut leaves it.
    pub(super) fn after_cut(&self, mood: Mood, rng: &mut Rng) -> Self {
        let mood = mood.of_file(rng);
        let mut pages = self.durable.clone();
        for (page, versions) in &self.versions {
            let before = self.durable.get(page).cloned();
            match fate(before, versions, mood, rng) {
                Some(bytes) => drop(pages.insert(*page, bytes)),
                None => drop(pages.remove(page)),
            }
        }
        let mut len = self.durable_len;
        if let Some(newest) = self.lens.last()
            && rng.chance(mood.keep)
        {
            len = match rng.chance(128) {
                true => *newest,
                false => self.lens[rng.index(self.lens.len())],
            };
        }
        let mut after = Self {
            live: pages.clone(),
            len: u64::MAX,
            durable: pages,
            durable_len: len,
            ..Self::default()
        };
        // What lies behind the end is not the file's.
        after.set_len(len);
        after.sync();
        after
    }

    fn change(&mut self, page: u64, change: impl FnOnce(&mut [u8; PAGE])) {
        let mut bytes = self.live.get(&page).map_or(ZEROS, |bytes| **bytes);
        change(&mut bytes);
        let bytes = Arc::new(bytes);
        self.live.insert(page, Arc::clone(&bytes));
        self.note(page, Some(bytes));
    }

    fn note(&mut self, page: u64, version: Page) {
        let versions = self.versions.entry(page).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(VERSIONS_MAX / 2);
        }
        versions.push(version);
    }

    fn note_len(&mut self, len: u64) {
        self.len = len;
        if self.lens.len() == VERSIONS_MAX {
            self.lens.remove(VERSIONS_MAX / 2);
        }
        self.lens.push(len);
    }
}

/// What the disk holds of a page of these unsynced versions.
fn fate(before: Page, versions: &[Page], mood: Mood, rng: &mut Rng) -> Page {
    let newest = versions.last().cloned().flatten();
    let any = |rng: &mut Rng| match rng.index(versions.len() + 1) {
        0 => before.clone(),
        n => versions[n - 1].clone(),
    };
    if rng.chance(mood.tear) {
        let mut torn = ZEROS;
        for sector in torn.chunks_mut(SECTOR).enumerate() {
            let (n, bytes) = sector;
            if let Some(from) = any(rng) {
                bytes.copy_from_slice(&from[n * SECTOR..][..SECTOR]);
            }
        }
        return Some(Arc::new(torn));
    }
    match (rng.chance(mood.keep), rng.chance(192)) {
        (true, true) => newest,
        (true, false) => any(rng),
        (false, _) => before,
    }
}

fn place(offset: u64) -> (u64, usize) {
    let page = offset / PAGE as u64;
    (page, usize::try_from(offset % PAGE as u64).unwrap())
}
