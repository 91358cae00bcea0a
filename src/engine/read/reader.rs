//! One open handle on an object: its reads, and its readahead.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::flight::read_op::{ReadDone, ReadOp};
use crate::engine::read::first::First;
use crate::engine::read::look_up::Knowledge;
use crate::engine::read::readahead::Readahead;
use crate::engine::read::reads::Reads;
use crate::engine::version::object::Object;
use crate::runtime::locks::Mutex;
use crate::units::ByteRange;
use crate::units::offset_in;

/// One open handle on an object.
pub(crate) struct ObjectReader {
    reads: Arc<Reads>,
    object: Arc<Object>,
    ahead: Mutex<Readahead>,
    /// The first bytes, as the open has fetched them.
    first: First,
}

impl ObjectReader {
    pub(crate) fn new(reads: Arc<Reads>, object: Arc<Object>) -> Self {
        Self {
            reads,
            object,
            ahead: Mutex::default(),
            first: First::default(),
        }
    }

    /// A reader whose open fetched `first`.
    pub(crate) fn opened(reads: Arc<Reads>, object: Arc<Object>, first: Bytes) -> Self {
        let mut reader = Self::new(reads, object);
        let fetched = ByteRange::at(0, first.len() as u64);
        if !fetched.is_empty() {
            // A program that reads on from there is a sequential reader.
            reader.note(fetched, reader.object.facts().size);
            reader.first = First::hold(&reader.object, &reader.reads.link.budget, first);
        }
        reader
    }

    /// Fills the front of `buf` with the bytes from `offset` if that can be done without waiting: they are cached and
    /// in memory, and their checksums hold. Returns how many (fewer than `buf` holds only at the object's end), or
    /// `None`: then call [`ObjectReader::read`].
    pub(crate) fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        // An object that served nothing yet is bound with its flight locked, which is not for the fast way.
        if !self.object.is_bound() {
            return None;
        }
        let layout = self.object.layout()?;
        let range = ByteRange::at(offset, buf.len() as u64).clip(ByteRange::new(0, layout.size));
        let buf = buf.get_mut(..offset_in(range, range.end))?;
        let counters = &self.reads.services.counters;
        match self.first.take(range, &self.object) {
            Some(first) => {
                buf.copy_from_slice(&first);
                counters.miss_bytes.add(range.len());
            }
            None => {
                self.reads.copy_now(&layout, range, buf)?;
                counters.hit_bytes.add(range.len());
            }
        }
        counters.reads_inline.add(1);
        if let Some(ahead) = self.note(range, layout.size) {
            let reads = &self.reads;
            reads.get(&self.object, None, Some(ahead), Knowledge::Partial);
        }
        Some(buf.len())
    }

    /// Reads `range` and calls `done`, at once or later, on any thread, within the deadline.
    pub(crate) fn read(&self, range: ByteRange, done: ReadDone) {
        let (reads, services) = (&self.reads, &self.reads.services);
        let size = self.object.facts().size;
        let inside = range.clip(ByteRange::new(0, size));
        if inside.is_empty() {
            return done(Ok(Bytes::new()));
        }
        if let Some(first) = self.first.take(inside, &self.object) {
            services.counters.miss_bytes.add(inside.len());
            return done(Ok(first));
        }
        services.counters.reads_waited.add(1);
        let op = Arc::new(ReadOp::new(range, size, services.now(), done));
        let timeout = self.object.deps.settings.timeout;
        reads.deadlines.watch(&self.object, &op, timeout);
        let ahead = self.note(inside, size);
        reads.begin_read(&self.object, op, ahead);
    }

    fn note(&self, range: ByteRange, size: u64) -> Option<ByteRange> {
        let most = self.reads.reach();
        self.ahead.lock().note(range, size, most)
    }
}
