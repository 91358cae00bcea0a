//! One file in memory, with the page cache and the disk beneath it kept apart.
//!
//! What a program reads comes from a resident page, or from the disk's bytes, which thereby become resident. A written
//! page is resident and dirty; writing it back copies it to the disk, and when that fails the page is dropped, clean,
//! and the disk's old bytes are what the next reader sees: this is what Linux does after a failed writeback.

use super::rng::Rng;

/// The unit of the page cache.
pub(super) const PAGE: usize = 4096;

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct MemFile {
    /// What resident pages hold; its length is the file's length.
    live: Vec<u8>,
    /// What the disk holds; zeros behind its end.
    disk: Vec<u8>,
    pages: Vec<Page>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    resident: bool,
    dirty: bool,
    allocated: bool,
}

impl MemFile {
    /// A file of these bytes on disk, none of them in memory; pages of zeros alone are holes.
    pub(super) fn on_disk(disk: Vec<u8>) -> Self {
        let page = |bytes: &[u8]| Page {
            allocated: bytes.iter().any(|byte| *byte != 0),
            ..Page::default()
        };
        let pages = disk.chunks(PAGE).map(page).collect();
        Self {
            live: vec![0; disk.len()],
            disk,
            pages,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// What the disk holds, over the file's length.
    pub(super) fn disk_image(&self) -> Vec<u8> {
        let mut image = self.disk.clone();
        image.resize(self.live.len(), 0);
        image
    }

    /// The bytes that the file takes on disk.
    pub(super) fn allocated(&self) -> u64 {
        let pages = self.pages.iter().filter(|page| page.allocated).count();
        (pages * PAGE) as u64
    }

    /// How many of `len` bytes at `offset` can be written without new space.
    pub(super) fn allocated_prefix(&self, offset: usize, len: usize) -> usize {
        self.prefix(offset, len, |page| page.allocated)
    }

    /// Reads, loading what is not resident; `lie` has a page come wrong from the disk in so many of 256 cases.
    pub(super) fn read(&mut self, offset: usize, buf: &mut [u8], lie: u16, rng: &mut Rng) -> usize {
        let len = buf.len().min(self.live.len().saturating_sub(offset));
        for page in pages_of(offset, len) {
            self.load(page, lie, rng);
        }
        copy(buf, self.live.get(offset..offset + len).unwrap_or_default());
        len
    }

    /// Reads from the disk, which is brought up to date first unless that `fails`; nothing becomes resident.
    pub(super) fn read_cold(&mut self, offset: usize, buf: &mut [u8], fails: bool) -> usize {
        let len = buf.len().min(self.live.len().saturating_sub(offset));
        for page in pages_of(offset, len) {
            self.write_back(page, fails);
        }
        buf.iter_mut().take(len).for_each(|byte| *byte = 0);
        let end = self.disk.len().min(offset + len);
        copy(buf, self.disk.get(offset..end).unwrap_or_default());
        len
    }

    /// Reads what is resident from the first byte on; `None` where the first byte is not. In half of all cases the
    /// pages that are missing have been loaded by the time that the caller looks again.
    pub(super) fn read_now(
        &mut self,
        offset: usize,
        buf: &mut [u8],
        lie: u16,
        rng: &mut Rng,
    ) -> Option<usize> {
        let len = buf.len().min(self.live.len().saturating_sub(offset));
        let ready = self.prefix(offset, len, |page| page.resident);
        copy(
            buf,
            self.live.get(offset..offset + ready).unwrap_or_default(),
        );
        if ready < len && rng.chance(128) {
            for page in pages_of(offset, len) {
                self.load(page, lie, rng);
            }
        }
        (len == 0 || ready > 0).then_some(ready)
    }

    /// Loads some of the pages that are not resident; whether there were any.
    pub(super) fn read_around(&mut self, lie: u16, rng: &mut Rng) -> bool {
        let absent = |(_, page): &(usize, &Page)| !page.resident;
        let absent = self.pages.iter().enumerate().filter(absent);
        let chosen: Vec<usize> = absent
            .map(|(at, _)| at)
            .filter(|_| rng.chance(128))
            .collect();
        for page in &chosen {
            self.load(*page, lie, rng);
        }
        !chosen.is_empty()
    }

    /// Writes; a page that is written in part is loaded first.
    pub(super) fn write(&mut self, offset: usize, data: &[u8], lie: u16, rng: &mut Rng) {
        let (old_len, end) = (self.live.len(), offset + data.len());
        for page in pages_of(offset, data.len()) {
            let whole = offset <= page * PAGE && end >= ((page + 1) * PAGE).min(old_len);
            if !whole && page * PAGE < old_len {
                self.load(page, lie, rng);
            }
        }
        if end > old_len {
            self.live.resize(end, 0);
            self.pages.resize(end.div_ceil(PAGE), Page::default());
        }
        copy(self.live.get_mut(offset..).unwrap_or_default(), data);
        for page in pages_of(offset, data.len()) {
            if let Some(page) = self.pages.get_mut(page) {
                *page = Page {
                    resident: true,
                    dirty: true,
                    allocated: true,
                };
            }
        }
    }

    /// Cuts the file to `len` bytes; whether it was longer.
    pub(super) fn cut(&mut self, len: usize) -> bool {
        let longer = self.live.len() > len;
        self.live.truncate(len);
        self.disk.truncate(len);
        self.pages.truncate(len.div_ceil(PAGE));
        longer
    }

    /// Writes back and drops each resident page that `choose` picks; a page whose writeback `fails` is only dropped.
    pub(super) fn evict(&mut self, fails: bool, mut choose: impl FnMut() -> bool) {
        for at in 0..self.pages.len() {
            if self.pages.get(at).is_some_and(|page| page.resident) && choose() {
                self.write_back(at, fails);
                if let Some(page) = self.pages.get_mut(at) {
                    page.resident = false;
                }
            }
        }
    }

    /// Writes every dirty page back; where that `fails` the pages are dropped. Returns whether any page was lost.
    pub(super) fn flush(&mut self, fails: bool) -> bool {
        let mut lost = false;
        for at in 0..self.pages.len() {
            lost |= self.write_back(at, fails);
        }
        lost
    }

    fn write_back(&mut self, at: usize, fails: bool) -> bool {
        let Some(page) = self.pages.get_mut(at) else {
            return false;
        };
        if !std::mem::take(&mut page.dirty) {
            return false;
        }
        if fails {
            page.resident = false;
            return true;
        }
        let end = ((at + 1) * PAGE).min(self.live.len());
        if self.disk.len() < end {
            self.disk.resize(end, 0);
        }
        let from = self.live.get(at * PAGE..end).unwrap_or_default();
        copy(self.disk.get_mut(at * PAGE..).unwrap_or_default(), from);
        false
    }

    fn load(&mut self, at: usize, lie: u16, rng: &mut Rng) {
        let Some(page) = self.pages.get_mut(at) else {
            return;
        };
        if std::mem::replace(&mut page.resident, true) {
            return;
        }
        let end = ((at + 1) * PAGE).min(self.live.len());
        let Some(to) = self.live.get_mut(at * PAGE..end) else {
            return;
        };
        to.fill(0);
        copy(to, self.disk.get(at * PAGE..).unwrap_or_default());
        if rng.chance(lie) {
            let place = rng.index(to.len());
            let flip = 1 << rng.below(8);
            if let Some(byte) = to.get_mut(place) {
                *byte ^= flip;
            }
        }
    }

    /// How many of `len` bytes at `offset` lie in pages of this kind, from the first byte on.
    fn prefix(&self, offset: usize, len: usize, kind: impl Fn(&Page) -> bool) -> usize {
        let first = pages_of(offset, len).find(|page| !self.pages.get(*page).is_some_and(&kind));
        first.map_or(len, |page| (page * PAGE).saturating_sub(offset))
    }
}

/// The pages that `len` bytes at `offset` touch.
fn pages_of(offset: usize, len: usize) -> std::ops::Range<usize> {
    offset / PAGE..if len == 0 {
        offset / PAGE
    } else {
        (offset + len).div_ceil(PAGE)
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_writeback_brings_the_old_bytes_back() {
        let rng = &mut Rng::new(1);
        let mut file = MemFile::on_disk(vec![b'o'; PAGE * 2]);
        file.write(0, &[b'n'; PAGE], 0, rng);
        let mut buf = [0; PAGE];
        file.read(0, &mut buf, 0, rng);
        assert_eq!(buf, [b'n'; PAGE]);
        file.evict(true, || true);
        file.read(0, &mut buf, 0, rng);
        assert_eq!(buf, [b'o'; PAGE]);
        file.write(0, &[b'n'; PAGE], 0, rng);
        file.evict(false, || true);
        file.read(0, &mut buf, 0, rng);
        assert_eq!(buf, [b'n'; PAGE]);
    }

    #[test]
    fn a_read_that_may_not_wait_gives_what_is_resident() {
        let rng = &mut Rng::new(2);
        let mut file = MemFile::on_disk(vec![b'o'; PAGE * 3]);
        let mut buf = [0; PAGE * 3];
        let mut refused = 0;
        while file.read_now(10, &mut buf, 0, rng).is_none() {
            refused += 1;
        }
        assert!((1..20).contains(&refused));
        let mut file = MemFile::on_disk(vec![b'o'; PAGE * 3]);
        file.read(0, &mut buf[..1], 0, rng);
        assert_eq!(file.read_now(10, &mut buf, 0, rng), Some(PAGE - 10));
        assert_eq!(file.read_now(PAGE * 3, &mut buf, 0, rng), Some(0));
    }

    #[test]
    fn a_lying_disk_differs_from_itself() {
        let rng = &mut Rng::new(3);
        let mut file = MemFile::on_disk(vec![b'o'; PAGE]);
        let mut buf = [0; PAGE];
        file.read(0, &mut buf, 256, rng);
        assert_ne!(buf, [b'o'; PAGE]);
        file.evict(false, || true);
        file.read(0, &mut buf, 0, rng);
        assert_eq!(buf, [b'o'; PAGE]);
    }

    #[test]
    fn writes_in_part_keep_what_is_around_them() {
        let rng = &mut Rng::new(4);
        let mut file = MemFile::on_disk(vec![b'o'; 5000]);
        file.write(4990, &[b'n'; 20], 0, rng);
        let mut buf = vec![0; 6000];
        assert_eq!(file.read(0, &mut buf, 0, rng), 5010);
        assert!(
            buf[..4990].iter().all(|b| *b == b'o') && buf[4990..5010].iter().all(|b| *b == b'n')
        );
        assert_eq!(file.allocated(), 8192);
        file.write(3 * PAGE, b"x", 0, rng);
        assert_eq!(
            (file.allocated(), file.allocated_prefix(0, 4 * PAGE)),
            (12288, 2 * PAGE)
        );
        file.flush(false);
        assert_eq!(file.disk_image().len(), 3 * PAGE + 1);
    }
}
