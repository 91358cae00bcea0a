//! Listings that come page by page: a reader gets the names that are there, and never takes some for all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use larder::remote::{BoxFuture, Entry, Page, Pages, Remote, RemoteError, Sink, list_whole};
use larder::units::{ByteRange, Facts, ObjectName, Validator};
use larder::vfs::MetadataTtl;
use rustix::fs::{Dir, Mode, OFlags};
use tokio::sync::Semaphore;

use super::cli::rig::{PATIENCE, wait_until};
use super::mounted::{Mounted, Stage, Wish};

/// What the remote does, and what it was asked.
struct Told {
    /// How many names a page has.
    page: usize,
    /// How many pages may come, besides the first of each listing.
    pages: Semaphore,
    /// Whether the next page breaks off instead.
    breaks: AtomicBool,
    listings: AtomicUsize,
    stats: AtomicUsize,
    /// Pages that have come, but for the first of each listing.
    came: AtomicUsize,
    /// Listings that may be asked for more pages.
    open: AtomicUsize,
}

/// A remote whose listings come in pages, when they are told to.
struct Paged {
    inner: Arc<dyn Remote>,
    told: Arc<Told>,
}

struct Rest {
    entries: Vec<Entry>,
    at: usize,
    told: Arc<Told>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.told.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pages for Rest {
    fn next(&mut self) -> BoxFuture<'_, Result<Page, RemoteError>> {
        Box::pin(async {
            if self.at > 0 {
                self.told.pages.acquire().await.unwrap().forget();
                self.told.came.fetch_add(1, Ordering::Relaxed);
                if self.told.breaks.swap(false, Ordering::Relaxed) {
                    return Err(RemoteError::Unreachable("a cable was pulled".into()));
                }
            }
            let end = self.entries.len().min(self.at + self.told.page);
            let entries = self.entries[self.at..end].to_vec();
            self.at = end;
            Ok(Page {
                entries: entries.into(),
                is_last: end == self.entries.len(),
            })
        })
    }
}

impl Remote for Paged {
    fn identity(&self) -> &str {
        self.inner.identity()
    }
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        self.told.stats.fetch_add(1, Ordering::Relaxed);
        self.inner.stat(name)
    }
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async move {
            self.told.listings.fetch_add(1, Ordering::Relaxed);
            let whole = list_whole(&*self.inner, name).await?;
            let mut entries = whole.to_vec();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            self.told.open.fetch_add(1, Ordering::Relaxed);
            let told = Arc::clone(&self.told);
            let rest = Rest {
                entries,
                at: 0,
                told,
            };
            Ok(Box::new(rest) as Box<dyn Pages>)
        })
    }
    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        self.inner.fetch(name, range, bound, sink)
    }
}

/// A mount of a directory `d` with so many names, and so many on a page.
fn paged(stage: &Stage, names: usize, page: usize) -> (Mounted, Arc<Told>) {
    fs::create_dir(stage.origin("d")).unwrap();
    for n in 0..names {
        fs::write(stage.origin(file(n)), b"").unwrap();
    }
    let told = Arc::new(Told {
        page,
        pages: Semaphore::new(0),
        breaks: AtomicBool::new(false),
        listings: AtomicUsize::new(0),
        stats: AtomicUsize::new(0),
        came: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
    });
    let shared = Arc::clone(&told);
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        timeout: PATIENCE,
        wrap: Box::new(move |inner| {
            Arc::new(Paged {
                inner,
                told: shared,
            })
        }),
        ..Wish::default()
    });
    (mounted, told)
}

fn file(n: usize) -> String {
    format!("d/a-name-{n:05}")
}

/// The names of `d` as a thread reads them, one after the other.
fn reader(mounted: &Mounted) -> mpsc::Receiver<io::Result<OsString>> {
    let (sender, names) = mpsc::channel();
    let dir = mounted.path("d");
    std::thread::spawn(move || {
        for entry in fs::read_dir(dir).unwrap() {
            let _ = sender.send(entry.map(|entry| entry.file_name()));
        }
    });
    names
}

/// The next `count` names, which must be these.
fn expect(names: &mpsc::Receiver<io::Result<OsString>>, which: std::ops::Range<usize>) {
    for n in which {
        let name = names.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(Path::new("d").join(name), Path::new(&file(n)));
    }
}

fn is_there(mounted: &Mounted, path: &str) -> bool {
    match fs::symlink_metadata(mounted.path(path)) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_reader_sees_the_first_names_before_the_last_page_has_come() {
    let stage = Stage::new();
    let (mounted, told) = paged(&stage, 300, 100);
    let names = reader(&mounted);
    expect(&names, 0..100);
    // A name that has come needs no question, and one that has not is not taken to be absent.
    let asked = told.stats.load(Ordering::Relaxed);
    assert!(is_there(&mounted, &file(99)));
    assert_eq!(told.stats.load(Ordering::Relaxed), asked);
    assert!(is_there(&mounted, &file(299)));
    assert!(!is_there(&mounted, "d/absent"));
    assert!(told.stats.load(Ordering::Relaxed) > asked);
    told.pages.add_permits(1);
    expect(&names, 100..200);
    told.pages.add_permits(1);
    expect(&names, 200..300);
    assert!(names.recv_timeout(PATIENCE).is_err(), "that was all");
    // The listing is complete: it answers for every name, and whoever lists again.
    let asked = told.stats.load(Ordering::Relaxed);
    for n in 100..200 {
        assert!(is_there(&mounted, &file(n)));
        assert!(!is_there(&mounted, &format!("d/absent-{n}")));
    }
    expect(&reader(&mounted), 0..300);
    assert_eq!(told.stats.load(Ordering::Relaxed), asked);
    assert_eq!(told.listings.load(Ordering::Relaxed), 1);
}

#[test]
fn a_listing_that_breaks_off_is_an_error_and_never_the_end() {
    let stage = Stage::new();
    let (mounted, told) = paged(&stage, 300, 100);
    let names = reader(&mounted);
    expect(&names, 0..100);
    told.pages.add_permits(1);
    expect(&names, 100..200);
    told.breaks.store(true, Ordering::Relaxed);
    told.pages.add_permits(1);
    let error = names.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert!(
        is_there(&mounted, &file(250)),
        "what did not come may exist"
    );
    // It was not kept: the next reader has the directory listed again.
    told.pages.add_permits(2);
    expect(&reader(&mounted), 0..300);
    assert_eq!(told.listings.load(Ordering::Relaxed), 2);
}

#[test]
fn two_readers_share_one_listing_while_its_pages_come() {
    let stage = Stage::new();
    let (mounted, told) = paged(&stage, 300, 100);
    let first = reader(&mounted);
    expect(&first, 0..100);
    let second = reader(&mounted);
    expect(&second, 0..100);
    told.pages.add_permits(2);
    expect(&second, 100..300);
    expect(&first, 100..300);
    assert_eq!(told.listings.load(Ordering::Relaxed), 1);
}

#[test]
fn a_place_in_a_directory_stays_while_pages_come() {
    let stage = Stage::new();
    let (mounted, told) = paged(&stage, 300, 100);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = rustix::fs::open(mounted.path("d"), flags, Mode::empty()).unwrap();
    let mut dir = Dir::new(fd).unwrap();
    let read = |dir: &mut Dir, count: usize| -> Vec<(Vec<u8>, i64)> {
        let entries = dir.take(count).map(Result::unwrap);
        let entries = entries.map(|entry| (entry.file_name().to_bytes().to_vec(), entry.offset()));
        entries.collect()
    };
    // `.` and `..` come first.
    let mut all = read(&mut dir, 102);
    dir.seek(all[50].1).unwrap();
    assert_eq!(read(&mut dir, 51), all[51..]);
    told.pages.add_permits(2);
    all.extend(read(&mut dir, usize::MAX));
    assert_eq!(all.len(), 302);
    for n in [0, 1, 2, 60, 101, 102, 250] {
        dir.seek(all[n].1).unwrap();
        assert_eq!(read(&mut dir, usize::MAX), all[n + 1..], "from {n}");
    }
    dir.rewind();
    assert_eq!(read(&mut dir, usize::MAX), all);
}

#[test]
fn a_directory_that_is_closed_is_not_listed_to_its_end() {
    let stage = Stage::new();
    let (mounted, told) = paged(&stage, 3000, 2);
    let mut entries = fs::read_dir(mounted.path("d")).unwrap();
    assert!(entries.next().unwrap().is_ok());
    assert_eq!(told.open.load(Ordering::Relaxed), 1);
    drop(entries);
    // A question that is under way is answered; after it there is none.
    wait_until("the listing is given up", || {
        told.pages.add_permits(1);
        told.open.load(Ordering::Relaxed) == 0
    });
    assert!(told.came.load(Ordering::Relaxed) < 1000);
    told.pages.add_permits(3000);
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 3000);
}
