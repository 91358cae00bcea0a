//! A simulated world: an origin that changes, a disk that fails, a daemon that is killed, readers who are judged.
//!
//! The oracle: a reader gets the bytes of the one version that its blob serves, or an error that something in this world
//! explains. A failing cache explains no error at all. Everything follows from the seed.

mod daemon;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::{Origin, Stream};
use bytes::Bytes;
use larder::check::{self, CheckOptions, Disk, Mode};
use larder::engine::{Blob, Opening, ReadError, Reader, Stats};
use larder::format::Geometry;
use larder::testing::{CrashStore, Fate, Faults, Rng};
use larder::units::{ByteRange, Facts};
use parking_lot::Mutex;

pub(crate) use self::daemon::{Daemon, Setup};

/// Eight slots, so that reuse happens all the time.
pub(crate) fn tiny_geometry() -> Geometry {
    Geometry::new(8, 8, 8, 0).unwrap()
}

/// Room for about six full chunks of 64 KiB besides the index.
pub(crate) const TINY_CAPACITY: u64 = 81 * 1024 + 6 * 65536;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Checks and repairs the disk; a second look finds nothing.
pub(crate) fn check_twice(disk: &CrashStore, plan: CheckOptions) {
    let run = || {
        let go_on = &mut |_: check::Step| ControlFlow::Continue(());
        check::run(Disk::of(disk), Mode::Repair, plan, go_on).expect("any disk is checked")
    };
    let (first, second) = (run(), run());
    assert!(
        first.exit_code() <= 1,
        "the first check mends everything: {:?}",
        first.findings
    );
    assert_eq!(
        second.exit_code(),
        0,
        "the second check finds: {:?}",
        second.findings
    );
}

/// A position in an object as an index.
pub(crate) fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// A reader's open handle.
pub(crate) struct Handle {
    pub(crate) object: usize,
    pub(crate) blob: Arc<Blob>,
    pub(crate) reader: Reader,
    /// What the reader was shown.
    shown: Facts,
    /// What came of its open, which it may be quicker than.
    opening: Arc<Mutex<Option<Opening>>>,
    /// The version that its first byte was of.
    served: Option<usize>,
    /// Bytes of an object that was being written may be anything.
    noisy: bool,
}

/// How often places and files changed hands.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Turnover {
    pub(crate) culled: u64,
    pub(crate) buried: u64,
    pub(crate) reused: u64,
    pub(crate) cut: u64,
    pub(crate) unlinked: u64,
}

impl Turnover {
    pub(crate) fn add(&mut self, stats: &Stats) {
        self.culled += stats.slots_culled;
        self.buried += stats.slots_superseded;
        self.reused += stats.slots_reused;
        self.cut += stats.files_cut;
        self.unlinked += stats.files_unlinked;
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.culled += other.culled;
        self.buried += other.buried;
        self.reused += other.reused;
        self.cut += other.cut;
        self.unlinked += other.unlinked;
    }

    /// Whether in so many worlds all of it happened all the time.
    pub(crate) fn judge(&self, worlds: u64) {
        eprintln!("{worlds} worlds: {self:?}");
        assert!(self.culled.min(self.reused) > worlds, "{self:?}");
        let now_and_then = [self.unlinked, self.buried, self.cut];
        assert!(now_and_then.iter().all(|n| *n > worlds / 32), "{self:?}");
    }
}

type Outcome = Arc<Mutex<Option<Result<Bytes, ReadError>>>>;

/// A read that was not answered yet.
struct Pending {
    handle: usize,
    range: ByteRange,
    begun: Duration,
    outcome: Outcome,
}

/// The world.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) origin: Origin,
    pub(crate) store: Arc<CrashStore>,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) handles: Vec<Option<Handle>>,
    pending: Vec<Pending>,
    streams: Vec<Stream>,
    /// Half of the readers open what they read, and read on while the open is under way.
    opens: bool,
    boot: u8,
    setup: Setup,
    /// Errors of the origin were injected since the last quiet moment.
    origin_failed: bool,
    /// What every file takes is known: nothing was lost that would have been recorded within 200 ms.
    accounted: bool,
    /// What changed hands under the daemons that have ended.
    pub(crate) turnover: Turnover,
    pub(crate) reads_judged: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        Self::with(rng, setup)
    }

    /// A world of this kind.
    pub(crate) fn with(mut rng: Rng, setup: Setup) -> Self {
        let store = CrashStore::format(tiny_geometry(), setup.capacity(), rng.next_u64());
        let mut origin = Origin::new(&mut rng, 5);
        // Most worlds have more to read than the cache has room for.
        for object in 0..5 {
            if rng.chance(160) {
                let len = 10_000 + rng.index(150_000);
                origin.replace_with_len(object, len, &mut rng);
            }
        }
        Self {
            opens: true,
            ..Self::over(Arc::new(store), origin, rng, setup, 1)
        }
    }

    /// A world that goes on from this disk, in the boot of this number.
    pub(crate) fn over(
        store: Arc<CrashStore>,
        origin: Origin,
        rng: Rng,
        setup: Setup,
        boot: u8,
    ) -> Self {
        let daemon = Some(Daemon::start(&store, boot, setup));
        Self {
            rng,
            origin,
            store,
            daemon,
            handles: Vec::new(),
            pending: Vec::new(),
            streams: Vec::new(),
            opens: false,
            boot,
            setup,
            origin_failed: false,
            accounted: boot == 1,
            turnover: Turnover::default(),
            reads_judged: 0,
        }
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn setup(&self) -> Setup {
        self.setup
    }

    /// Opens an object in its present version.
    pub(crate) fn open(&mut self, object: usize) -> usize {
        let place = &self.origin.objects[object];
        let shown = place.now().facts.clone();
        let blob = self.daemon().source.blob(&place.name, &shown);
        self.hold(object, blob, shown)
    }

    /// A handle on the blob of an object that a reader was shown like this. Half of the readers check it first, as the file
    /// system does.
    fn hold(&mut self, object: usize, blob: Arc<Blob>, shown: Facts) -> usize {
        let opening = Arc::<Mutex<_>>::default();
        if self.opens && self.rng.chance(128) {
            let place = Arc::clone(&opening);
            blob.open(move |came| *place.lock() = Some(came));
        }
        let (reader, noisy) = (blob.reader(), self.origin.objects[object].being_written);
        self.handles.push(Some(Handle {
            object,
            blob,
            reader,
            shown,
            opening,
            served: None,
            noisy,
        }));
        self.handles.len() - 1
    }

    /// Goes on with what came of the open of a handle: the first bytes, or another version.
    fn go_on_from_open(&mut self, handle: usize) {
        let Some(Some(open)) = self.handles.get_mut(handle) else {
            return;
        };
        let came = open.opening.lock().take();
        match came {
            Some(Opening::Fetched(first)) => open.reader = open.blob.reader_from(first),
            Some(Opening::Changed(Some(head))) => {
                let (object, shown) = (open.object, head.facts.clone());
                let name = self.origin.objects[object].name.clone();
                let blob = self.daemon().source.blob_from(&name, head);
                self.hold(object, blob, shown);
            }
            _ => {}
        }
    }

    /// Somebody begins to write to an object at the origin, or ends.
    pub(crate) fn toggle_writer(&mut self, object: usize) {
        self.origin.objects[object].being_written ^= true;
        for handle in self.handles.iter_mut().flatten() {
            handle.noisy |= handle.object == object;
        }
    }

    /// Begins a read, inline if that is possible.
    pub(crate) fn read(&mut self, handle: usize, range: ByteRange) {
        self.go_on_from_open(handle);
        let Some(open) = &self.handles[handle] else {
            return;
        };
        let mut buf = vec![0xEE; place(range.len())];
        if let Some(got) = open.reader.read_now(range.start, &mut buf) {
            buf.truncate(got);
            return self.judge(handle, range, Ok(buf.into()), false);
        }
        let outcome = Outcome::default();
        let place = Arc::clone(&outcome);
        let begun = larder::engine::Clock::monotonic(&self.daemon().clock);
        open.reader
            .read(range, Box::new(move |result| *place.lock() = Some(result)));
        self.pending.push(Pending {
            handle,
            range,
            begun,
            outcome,
        });
        self.collect();
    }

    /// Judges what was answered.
    pub(crate) fn collect(&mut self) {
        let mut answered = Vec::new();
        self.pending
            .retain(|pending| match pending.outcome.lock().take() {
                Some(result) => {
                    answered.push((pending.handle, pending.range, pending.begun, result));
                    false
                }
                None => true,
            });
        let now = self
            .daemon
            .as_ref()
            .map(|d| larder::engine::Clock::monotonic(&d.clock));
        for (handle, range, begun, result) in answered {
            let late = now.is_none_or(|now| now - begun >= TIMEOUT);
            self.judge(handle, range, result, late);
        }
    }

    fn judge(&mut self, at: usize, range: ByteRange, result: Result<Bytes, ReadError>, late: bool) {
        self.reads_judged += 1;
        let origin_failed = self.origin_failed;
        let Some(handle) = &mut self.handles[at] else {
            return;
        };
        let object = &self.origin.objects[handle.object];
        match result {
            Ok(bytes) => {
                let facts = handle.blob.facts();
                assert!(
                    facts.shows_the_same_as(&handle.shown),
                    "{} was shown as {:?} and is read as {facts:?}",
                    object.name,
                    handle.shown
                );
                let version = object
                    .version_of(&facts)
                    .expect("a blob serves a version that was");
                // An answer beyond the end serves nothing, and binds nobody.
                let served = match bytes.is_empty() {
                    true => handle.served.unwrap_or(version),
                    false => *handle.served.get_or_insert(version),
                };
                assert_eq!(
                    served, version,
                    "{} went from one version to another",
                    object.name
                );
                let data = &object.versions[version].data;
                let range = range.clip(ByteRange::new(0, data.len() as u64));
                let (start, end) = (place(range.start), place(range.end));
                let right = if start < end {
                    data.slice(start..end)
                } else {
                    Bytes::new()
                };
                assert!(
                    bytes == right || (handle.noisy && bytes.len() == right.len()),
                    "wrong bytes of {} version {version}, {range}",
                    object.name
                );
            }
            Err(ReadError::Stale) => {
                let facts = handle.blob.facts();
                assert!(
                    object.version_of(&facts) != Some(object.versions.len() - 1),
                    "{} is called stale in its present version",
                    object.name
                );
            }
            Err(ReadError::TimedOut) => assert!(late, "a read timed out early"),
            Err(ReadError::Remote(why)) => assert!(origin_failed, "the origin is blamed: {why}"),
            Err(other) => panic!("nothing in this world explains: {other}"),
        }
    }

    /// Runs one thing that waits; false where nothing does.
    pub(crate) fn step(&mut self, origin_faults: bool) -> bool {
        let Some(daemon) = &self.daemon else {
            return false;
        };
        let fetch_first = self.rng.chance(100);
        if !self.streams.is_empty() && self.rng.chance(100) {
            self.step_stream(origin_faults);
            return true;
        }
        let (executor, fetcher) = (Arc::clone(&daemon.executor), Arc::clone(&daemon.fetcher));
        let mut fetched = fetch_first
            .then(|| daemon.fetcher.take(&mut self.rng))
            .flatten();
        let mut ran = false;
        if fetched.is_none() {
            ran = executor.step(&mut self.rng);
            if !ran {
                fetched = fetcher.take(&mut self.rng);
            }
        }
        if let Some(job) = fetched {
            let (failed, stream) = self.origin.serve(job, &mut self.rng, origin_faults);
            self.origin_failed |= failed;
            self.streams.extend(stream);
            ran = true;
        }
        if !ran && !self.streams.is_empty() {
            self.step_stream(origin_faults);
            return true;
        }
        self.collect();
        self.limit_holds();
        ran
    }

    /// The limit holds at every moment, on the disk itself.
    fn limit_holds(&mut self) {
        let stats = self.daemon().cache.stats();
        let used = stats.index_bytes + self.store.allocated();
        let holds = !self.accounted || used <= stats.capacity_bytes;
        assert!(holds, "{used} bytes are on disk: {stats:?}");
    }

    /// Lets one of the streams go on.
    fn step_stream(&mut self, origin_faults: bool) {
        let at = self.rng.index(self.streams.len());
        let stream = self.streams.swap_remove(at);
        let (failed, rest) = stream.step(&mut self.rng, origin_faults);
        self.origin_failed |= failed;
        self.streams.extend(rest);
        self.collect();
    }

    /// Lets everything that waits come to its end, without further faults of the origin.
    pub(crate) fn drain(&mut self) {
        let mut steps = 0;
        while self.step(false) {
            steps += 1;
            assert!(steps < 100_000, "the engine goes round in circles");
        }
        assert!(self.pending.is_empty(), "a read was left without an answer");
    }

    /// A quiet moment: nothing waits, and the origin has failed nobody.
    pub(crate) fn calm(&mut self) {
        self.drain();
        self.origin_failed = false;
    }

    /// Ends the daemon, at once.
    fn end_daemon(&mut self) {
        let daemon = self.daemon.take().expect("there is one at all times");
        self.turnover.add(&daemon.cache.stats());
        daemon.kill();
    }

    /// Something happens after which the sizes of some files may not be known.
    pub(crate) fn lose_account(&mut self) {
        self.accounted = false;
    }

    fn forget_readers(&mut self) {
        self.handles.clear();
        self.pending.clear();
        self.streams.clear();
    }

    /// kill -9 and a new daemon: the page cache stays.
    pub(crate) fn kill(&mut self) {
        self.forget_readers();
        self.lose_account();
        self.end_daemon();
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.setup));
    }

    /// A clean stop and a new daemon.
    pub(crate) fn restart(&mut self) {
        self.calm();
        self.forget_readers();
        // With a failing disk the stop is not clean, and that is all.
        let _ = self.daemon().cache.close();
        self.end_daemon();
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.setup));
    }

    /// A clean stop, an orderly reboot and a new daemon: nothing that was written is lost.
    pub(crate) fn reboot(&mut self) {
        self.calm();
        let _ = self.daemon().cache.close();
        let disk = self.store.crash_with(|_| Fate::Keep);
        self.boot_from(disk);
    }

    /// The daemon is stopped, cleanly or not, and cachefsck goes over the disk before the next one.
    pub(crate) fn check(&mut self, plan: CheckOptions) {
        match self.rng.chance(128) {
            true => {
                self.calm();
                let _ = self.daemon().cache.close();
            }
            false => self.lose_account(),
        }
        self.forget_readers();
        self.end_daemon();
        self.store.faults(|faults| *faults = Faults::default());
        check_twice(&self.store, plan);
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.setup));
    }

    /// A power cut, and a boot.
    pub(crate) fn power_cut(&mut self) {
        self.lose_account();
        let cut = self.store.crash(self.rng.next_u64());
        self.boot_from(cut);
    }

    /// Another boot, on what a cut left of the disk.
    pub(crate) fn boot_from(&mut self, disk: CrashStore) {
        self.forget_readers();
        self.end_daemon();
        self.store = Arc::new(disk);
        self.boot = self.boot.wrapping_add(1);
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.setup));
    }

    /// Reads every object from end to end in pieces of random size, and judges all of it.
    pub(crate) fn read_all(&mut self) {
        for object in 0..self.origin.objects.len() {
            let handle = self.open(object);
            let size = self.origin.objects[object].now().facts.size;
            let mut at = 0;
            while at < size {
                let len = 1 + self.rng.below(70_000);
                self.read(handle, ByteRange::at(at, len));
                if self.rng.chance(180) {
                    self.drain();
                }
                at += len;
            }
            self.drain();
            self.handles[handle] = None;
        }
    }
}
