//! What a directory held at one moment, as far as its pages have come.
//!
//! A listing grows at its end only, so a place in it stays: telldir(3) and seekdir(3) stand on that. It is *complete* when
//! its last page has come, and only then is a name that it lacks "not there". One that broke off is never complete; what
//! came of it stays.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::name::is_name;
use crate::remote::{Entries, Entry, Held, Listed, Page};
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::guard::guarded;

/// A listing; its pages are put in by one owner, one after the other.
pub(in crate::vfs) struct Listing {
    /// When it was asked for (the monotonic clock).
    pub(in crate::vfs) at: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    contents: Arc<Contents>,
    /// Why it broke off, if it did.
    broken: Option<Errno>,
    waiters: Vec<Waiter>,
}

/// A request that waits for the entry at an index, or for the end.
struct Waiter {
    index: usize,
    done: Box<dyn FnOnce(Answer<Arc<Contents>>) + Send>,
}

/// Requests whose waiting is over; to be woken under no lock.
#[must_use]
pub(in crate::vfs) struct Woken {
    waiters: Vec<Waiter>,
    answer: Answer<Arc<Contents>>,
}

impl Woken {
    pub(in crate::vfs) fn wake(self) {
        for waiter in self.waiters {
            let answer = self.answer.clone();
            guarded("an answer to a readdir", || (waiter.done)(answer));
        }
    }
}

impl Listing {
    /// A listing that was asked for at `at`, without its pages.
    pub(in crate::vfs) fn new(at: Duration) -> Self {
        Self {
            at,
            state: Mutex::default(),
        }
    }

    /// What has come so far.
    pub(in crate::vfs) fn contents(&self) -> Arc<Contents> {
        Arc::clone(&self.state.lock().contents)
    }

    /// Puts the next page in.
    pub(in crate::vfs) fn put(&self, page: Page) -> Woken {
        let contents = Arc::new(self.contents().with(page));
        let mut state = self.state.lock();
        state.contents = Arc::clone(&contents);
        let waits = |waiter: &Waiter| waiter.index >= contents.len && !contents.is_complete;
        let (waiting, woken) = std::mem::take(&mut state.waiters)
            .into_iter()
            .partition(waits);
        state.waiters = waiting;
        Woken {
            waiters: woken,
            answer: Ok(contents),
        }
    }

    /// No more pages come, because of `error`.
    pub(in crate::vfs) fn break_off(&self, error: Errno) -> Woken {
        let mut state = self.state.lock();
        state.broken = Some(error);
        Woken {
            waiters: std::mem::take(&mut state.waiters),
            answer: Err(error),
        }
    }

    /// Whether its last page has come, or never will.
    pub(in crate::vfs) fn has_ended(&self) -> bool {
        let state = self.state.lock();
        state.contents.is_complete || state.broken.is_some()
    }

    /// Calls `done` with what has come, as soon as the entry at `index` is there or the listing is complete. Errors where it
    /// broke off before.
    pub(in crate::vfs) fn when_there(
        &self,
        index: usize,
        done: impl FnOnce(Answer<Arc<Contents>>) + Send + 'static,
    ) {
        let mut state = self.state.lock();
        let contents = &state.contents;
        let answer = match state.broken {
            _ if contents.len > index || contents.is_complete => Ok(Arc::clone(contents)),
            Some(error) => Err(error),
            None => {
                let done = Box::new(done);
                state.waiters.push(Waiter { index, done });
                return;
            }
        };
        drop(state);
        done(answer);
    }
}

/// The entries of a listing that have come, in the remote's order, with a way to find a name among them. Names that cannot
/// be names are left out, and so is all but the first of two equal ones: a remote may be wrong, the kernel must not be.
#[derive(Debug, Default)]
pub(in crate::vfs) struct Contents {
    /// Whether these are all.
    pub(in crate::vfs) is_complete: bool,
    pages: Vec<Arc<Kept>>,
    len: usize,
    /// Indices of entries, by name, in sorted runs: each more than twice as long as the next, and one of a listing that is
    /// complete.
    by_name: Vec<Arc<[u32]>>,
}

/// One page.
#[derive(Debug)]
struct Kept {
    /// The index of its first entry.
    first: usize,
    entries: Vec<Entry>,
    /// The room that they take.
    _held: Vec<Held>,
}

impl Contents {
    /// How many entries.
    pub(in crate::vfs) fn len(&self) -> usize {
        self.len
    }

    /// The entry at a place in the remote's order.
    pub(in crate::vfs) fn get(&self, index: usize) -> Option<&Entry> {
        let after = self.pages.partition_point(|page| page.first <= index);
        let page = self.pages.get(after.checked_sub(1)?)?;
        page.entries.get(index - page.first)
    }

    /// What the listing says of a name.
    pub(in crate::vfs) fn find(&self, name: &[u8]) -> Option<&Listed> {
        self.by_name.iter().find_map(|run| {
            let at = run.binary_search_by(|&index| self.name(index).cmp(name));
            let entry = self.get(run[at.ok()?] as usize)?;
            Some(&entry.listed)
        })
    }

    fn name(&self, index: u32) -> &[u8] {
        self.get(index as usize)
            .map_or(b"", |entry| entry.name.as_ref())
    }

    /// These and another page's.
    fn with(&self, page: Page) -> Self {
        let entries = self.new_ones(page.entries);
        let mut grown = Self {
            is_complete: page.is_last,
            pages: self.pages.clone(),
            len: self.len + entries.entries.len(),
            by_name: self.by_name.clone(),
        };
        let indices = self.len..grown.len;
        if !indices.is_empty() {
            grown.pages.push(Arc::new(entries));
        }
        let mut run: Vec<u32> = indices.filter_map(|index| index.try_into().ok()).collect();
        while let Some(before) = grown.by_name.last()
            && (before.len() <= 2 * run.len() || grown.is_complete)
        {
            run.extend_from_slice(before);
            grown.by_name.pop();
        }
        // The parts that are sorted already are found by the sort, and merged.
        run.sort_by(|&a, &b| grown.name(a).cmp(grown.name(b)));
        if !run.is_empty() {
            grown.by_name.push(run.into());
        }
        grown
    }

    /// The entries of a page that can be shown, each name once in the whole listing.
    fn new_ones(&self, entries: Entries) -> Kept {
        let (mut entries, held) = entries.into_parts();
        entries.retain(|entry| is_name(&entry.name) && self.find(&entry.name).is_none());
        entries.truncate((u32::MAX as usize).saturating_sub(self.len));
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|&a, &b| entries[a].name.cmp(&entries[b].name).then(a.cmp(&b)));
        let doubles = order
            .windows(2)
            .filter(|pair| entries[pair[0]].name == entries[pair[1]].name);
        let mut doubles: Vec<usize> = doubles.map(|pair| pair[1]).collect();
        if !doubles.is_empty() {
            doubles.sort_unstable();
            let mut index = 0..;
            entries.retain(|_| {
                index
                    .next()
                    .is_some_and(|i| doubles.binary_search(&i).is_err())
            });
        }
        Kept {
            first: self.len,
            entries,
            _held: held,
        }
    }
}

#[cfg(test)]
pub(in crate::vfs) mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::units::FileKind;
    use crate::vfs::names::inodes::tests::file;

    fn entry(name: &[u8], size: u64) -> Entry {
        Entry {
            name: name.into(),
            listed: Listed::Facts(file(size, 1)),
        }
    }

    /// A page of these entries.
    pub(in crate::vfs) fn page(entries: Vec<Entry>, is_last: bool) -> Page {
        Page {
            entries: entries.into(),
            is_last,
        }
    }

    fn order(contents: &Contents) -> Vec<&[u8]> {
        (0..contents.len())
            .map(|index| &*contents.get(index).unwrap().name)
            .collect()
    }

    #[test]
    fn names_are_found_and_order_is_kept() {
        let long = [b'x'; 256];
        let names: [&[u8]; 9] = [b"b", b"a", b"", b"..", b"x/y", b"a", b"\xff\n", &long, b"c"];
        let entries = names.iter().zip(0..).map(|(name, size)| entry(name, size));
        let listing = Listing::new(Duration::ZERO);
        listing.put(page(entries.collect(), true)).wake();
        let contents = listing.contents();
        assert_eq!(order(&contents), [&b"b"[..], b"a", b"\xff\n", b"c"]);
        assert_eq!(contents.find(b"a").unwrap().facts().unwrap().size, 1);
        assert_eq!(contents.find(b"c").unwrap().facts().unwrap().size, 8);
        assert!(contents.find(b"d").is_none());
        assert!(contents.find(b"").is_none());
    }

    #[test]
    fn a_name_keeps_its_place_while_pages_come_and_none_comes_twice() {
        let listing = Listing::new(Duration::ZERO);
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for n in 0..40_u32 {
            // Each page repeats names of the one before, and one of its own.
            let of = |i: u32| format!("{:x}", i.wrapping_mul(0x9E37_79B9)).into_bytes();
            let names = (n * 10..n * 10 + 25).map(of);
            let mut entries: Vec<Entry> = names.map(|name| entry(&name, u64::from(n))).collect();
            entries.push(entries[20].clone());
            for entry in &entries {
                if !expected.iter().any(|name| **name == *entry.name) {
                    expected.push(entry.name.to_vec());
                }
            }
            listing.put(page(entries, n == 39)).wake();
            let contents = listing.contents();
            assert_eq!(order(&contents), expected, "after page {n}");
            assert!(expected.iter().all(|name| contents.find(name).is_some()));
            assert!(contents.find(b"no such name").is_none());
            assert_eq!(contents.is_complete, n == 39);
        }
        assert_eq!(listing.contents().by_name.len(), 1);
        let first = listing.contents();
        let first = first.find(&expected[24]).unwrap().facts().unwrap().size;
        assert_eq!(first, 0, "of two entries with one name the first counts");
    }

    #[test]
    fn a_reader_waits_for_his_place_or_the_end() {
        let listing = Listing::new(Duration::ZERO);
        let (sender, answers) = mpsc::channel();
        let wait = |index: usize| {
            let sender = sender.clone();
            listing.when_there(index, move |answer| {
                let _ = sender.send((index, answer.map(|contents| contents.len())));
            });
        };
        let heard = || {
            let mut heard: Vec<_> = answers.try_iter().collect();
            heard.sort_by_key(|(index, _)| *index);
            heard
        };
        for index in [0, 1, 2, 7] {
            wait(index);
        }
        assert_eq!(heard(), []);
        listing.put(page(Vec::new(), false)).wake();
        assert_eq!(heard(), [], "an empty page is not the end");
        listing
            .put(page(vec![entry(b"a", 1), entry(b"b", 2)], false))
            .wake();
        assert_eq!(heard(), [(0, Ok(2)), (1, Ok(2))]);
        wait(1);
        assert_eq!(heard(), [(1, Ok(2))], "at once");
        listing.put(page(vec![entry(b"c", 3)], true)).wake();
        assert_eq!(heard(), [(2, Ok(3)), (7, Ok(3))]);
        assert!(listing.has_ended());
    }

    #[test]
    fn what_broke_off_is_not_complete_and_keeps_what_came() {
        let listing = Listing::new(Duration::ZERO);
        listing.put(page(vec![entry(b"a", 1)], false)).wake();
        let (sender, answers) = mpsc::channel();
        let wait = |index: usize| {
            let sender = sender.clone();
            listing.when_there(index, move |answer| {
                let _ = sender.send(answer.map(|contents| contents.len()));
            });
        };
        wait(1);
        listing.break_off(Errno::IO).wake();
        assert_eq!(answers.try_recv(), Ok(Err(Errno::IO)));
        wait(0);
        assert_eq!(answers.try_recv(), Ok(Ok(1)));
        wait(1);
        assert_eq!(answers.try_recv(), Ok(Err(Errno::IO)));
        assert!(!listing.contents().is_complete && listing.has_ended());
    }

    #[test]
    fn a_million_names_are_found_and_none_is_lost() {
        const NAMES: u32 = 1_000_000;
        const PAGE: u32 = 20_000;
        let listing = Listing::new(Duration::ZERO);
        let of = |n: u32| n.wrapping_mul(0x9E37_79B9).to_string();
        for first in (0..NAMES).step_by(PAGE as usize) {
            let entries = (first..first + PAGE).map(|n| Entry {
                name: of(n).into_bytes().into(),
                listed: Listed::Kind(FileKind::File),
            });
            let is_last = first + PAGE == NAMES;
            listing.put(page(entries.collect(), is_last)).wake();
        }
        let contents = listing.contents();
        assert_eq!(contents.len(), NAMES as usize);
        for n in (0..NAMES).step_by(997) {
            assert!(contents.find(of(n).as_bytes()).is_some());
            assert_eq!(*contents.get(n as usize).unwrap().name, *of(n).as_bytes());
            let absent = format!("-{n}");
            assert!(contents.find(absent.as_bytes()).is_none());
        }
    }
}
