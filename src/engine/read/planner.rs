//! The plan of a read: each of its blocks is joined, checked or fetched.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::error::ReadError;
use crate::engine::flight::blocks::{Flight, JobId, block_span};
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::engine::index::slot::Slot;
use crate::engine::placement::layout::Layout;
use crate::engine::read::check::Check;
use crate::engine::read::look_up::Knowledge;
use crate::engine::read::reads::Reads;
use crate::engine::transfer::fetch::FetchJob;
use crate::engine::version::object::{Dispatch, Object};
use crate::runtime::executor::{Job, Lane};
use crate::units::{BlockMask, ByteRange};

/// What is decided with the flight locked and done when it no longer is.
#[derive(Default)]
struct Work {
    answers: Answers,
    checks: Vec<(Arc<Slot>, BlockMask, JobId)>,
    fetches: Vec<FetchJob>,
    /// Bytes to be read ahead whose segments of the index must be loaded first.
    load: Option<(Arc<Layout>, ByteRange)>,
}

/// An object with its flight locked, and how its version lies in the cache.
struct Planned<'a> {
    object: &'a Arc<Object>,
    flight: &'a mut Flight,
    layout: &'a Arc<Layout>,
}

impl Reads {
    /// Gets the blocks of a read, and those of `ahead` that are missing: joins what is on its way, checks what is
    /// present, fetches the rest.
    pub(super) fn get(
        self: &Arc<Self>,
        object: &Arc<Object>,
        op: Option<Arc<ReadOp>>,
        ahead: Option<ByteRange>,
        knowledge: Knowledge,
    ) {
        let mut work = Work::default();
        // A disk that does not answer is not asked what of the index is not in memory.
        let knowledge = if object.disk_answers() {
            knowledge
        } else {
            Knowledge::Final
        };
        // Asked before the flight is locked: the budget locks flights while it looks for those that still wait.
        let ahead = ahead.filter(|ahead| self.may_read_ahead(object, *ahead));
        {
            let flight = &mut *object.flight.lock();
            match (object.layout(), op) {
                (Some(layout), Some(op)) => {
                    let planned = Planned {
                        object,
                        flight,
                        layout: &layout,
                    };
                    self.get_for(planned, op, knowledge, &mut work);
                }
                (None, Some(op)) => self.wait_for_index(object, flight, op, &mut work.answers),
                (_, None) => {}
            }
            if let (Some(layout), Some(ahead)) = (object.layout(), ahead)
                && !object.is_superseded()
            {
                let (blocks, unloaded) = self.missing_ahead(flight, &layout, ahead);
                let mut planned = Planned {
                    object,
                    flight,
                    layout: &layout,
                };
                self.depart(&mut planned, &blocks, None, &mut work);
                work.load = unloaded.then_some((layout, ahead));
            }
        }
        self.carry_out(object, work);
    }

    fn get_for(
        self: &Arc<Self>,
        mut planned: Planned<'_>,
        op: Arc<ReadOp>,
        knowledge: Knowledge,
        work: &mut Work,
    ) {
        let Planned {
            object,
            flight,
            layout,
        } = &mut planned;
        let range = op.expect(layout.size, layout.chunk);
        let blocks = layout.chunk.blocks_of(range);
        if range.is_empty() {
            // The version that the object was bound to at last ends before the read begins.
            return op.answer(Ok(Bytes::new()), &mut work.answers);
        }
        let Some(found) = self.look_up(object, flight, layout, blocks.clone(), knowledge) else {
            return self.wait_for_index(object, flight, op, &mut work.answers);
        };
        if !found.missing.is_empty() && object.is_superseded() {
            self.release(&found.present);
            return op.answer(Err(ReadError::Stale), &mut work.answers);
        }
        // A block that is not on its way has nothing to be joined, and departs below.
        for block in blocks {
            let span = block_span(layout.chunk, layout.size, block);
            flight.join(block, span, &op, &mut work.answers);
        }
        for (slot, mask) in found.present {
            let job = flight.new_job();
            let base = slot.chunk_no * layout.chunk.blocks_per_chunk();
            mask.iter()
                .for_each(|n| flight.depart_from_disk(base + u64::from(n), job, &op));
            op.waits_for_disk();
            work.checks.push((slot, mask, job));
        }
        self.depart(&mut planned, &found.missing, Some(&op), work);
    }

    /// Whether bytes that no read waits for yet are worth a fetch: there is room for them in flight, and they would be
    /// kept in the cache. Bytes that are not kept would be fetched a second time when they are asked for.
    fn may_read_ahead(&self, object: &Object, ahead: ByteRange) -> bool {
        object.is_settled() && self.link.fills.are_kept() && self.link.budget.has_room(ahead.len())
    }

    /// Loads what of the index `ahead` needs, in the disk pool, and then reads it ahead. Nothing of that happens where
    /// the pool is busy or the disk does not answer.
    fn load_ahead(self: &Arc<Self>, object: &Arc<Object>, layout: Arc<Layout>, ahead: ByteRange) {
        let (reads, object) = (Arc::clone(self), Arc::clone(object));
        let load: Job = Box::new(move || {
            if reads.load_slots(&layout, ahead) == Knowledge::Partial {
                reads.get(&object, None, Some(ahead), Knowledge::Partial);
            }
        });
        drop(self.services.submit(Lane::Read, load));
    }

    /// Puts missing blocks on their way: with the object's stream where they are ahead of it, otherwise adjacent ones
    /// in one request, up to the largest that is allowed.
    fn depart(
        &self,
        planned: &mut Planned<'_>,
        blocks: &[u64],
        op: Option<&Arc<ReadOp>>,
        work: &mut Work,
    ) {
        let Planned {
            object,
            flight,
            layout,
        } = planned;
        let streamed = |block: &&u64| flight.stream_to(**block).is_some();
        let (coming, asked): (Vec<u64>, Vec<u64>) = blocks.iter().partition(streamed);
        for block in coming {
            if let Some(stream) = flight.stream_to(block) {
                flight.depart(block, stream, op);
            }
        }
        for run in runs(&asked, self.request_blocks(layout)) {
            let job = flight.new_job();
            run.clone().for_each(|block| flight.depart(block, job, op));
            let fetch = self.fetch(object, layout, job, run);
            work.fetches.push(match op {
                Some(op) if op.opens_within.is_some() => fetch.opening(),
                _ => fetch,
            });
        }
    }

    /// How many blocks one request asks for at most.
    fn request_blocks(&self, layout: &Layout) -> u64 {
        (self.services.config.request_max / layout.chunk.block_size()).max(1)
    }

    /// A fetch of blocks that are on their way under the number `job`.
    pub(super) fn fetch(
        &self,
        object: &Arc<Object>,
        layout: &Arc<Layout>,
        job: JobId,
        blocks: Range<u64>,
    ) -> FetchJob {
        let (object, layout) = (Arc::clone(object), Arc::clone(layout));
        FetchJob::new(object, layout, (&self.link, &self.fetcher), job, blocks)
    }

    /// A fetch of everything that the cache lacks of an object whose bytes come from elsewhere; `None` where it lacks
    /// nothing. Waits for the disk.
    pub(crate) fn fetch_all(&self, object: &Arc<Object>) -> Option<FetchJob> {
        let layout = object.layout()?;
        let all = ByteRange::new(0, layout.size);
        self.load_slots(&layout, all);
        let mut flight = object.flight.lock();
        let (missing, _) = self.missing_ahead(&flight, &layout, all);
        let job = flight.new_job();
        missing
            .iter()
            .for_each(|block| flight.depart(*block, job, None));
        drop(flight);
        let blocks = layout.chunk.blocks_of(all);
        (!missing.is_empty()).then(|| self.fetch(object, &layout, job, blocks))
    }

    fn carry_out(self: &Arc<Self>, object: &Arc<Object>, work: Work) {
        work.answers.give();
        for (slot, mask, job) in work.checks {
            Check::submit(self, object, slot, mask, job);
        }
        for job in work.fetches {
            self.link.budget.admit(Box::new(job));
        }
        if let Some((layout, ahead)) = work.load {
            self.load_ahead(object, layout, ahead);
        }
    }
}

impl Dispatch for Arc<Reads> {
    fn begin(&self, object: &Arc<Object>, op: Arc<ReadOp>) {
        self.begin_read(object, op, None);
    }

    fn fetch_instead(
        &self,
        object: &Arc<Object>,
        layout: &Arc<Layout>,
        blocks: &[u64],
        from: JobId,
    ) {
        let mut work = Work::default();
        {
            let mut flight = object.flight.lock();
            for run in runs(blocks, self.request_blocks(layout)) {
                if object.is_superseded() {
                    flight.leave(run, from, &ReadError::Stale, &mut work.answers);
                    continue;
                }
                let job = flight.new_job();
                let ours = run
                    .clone()
                    .filter(|block| flight.hand_over(*block, from, job));
                if ours.count() > 0 {
                    work.fetches.push(self.fetch(object, layout, job, run));
                }
            }
        }
        self.carry_out(object, work);
    }

    fn hedge(&self, object: Arc<Object>, op: Arc<ReadOp>) {
        let job = FetchJob::hedge(object, (&self.link, &self.fetcher), op);
        self.link.budget.admit(Box::new(job));
    }
}

/// The runs of adjacent numbers in a rising list, none longer than `most`.
fn runs(blocks: &[u64], most: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == *block && run.end - run.start < most => run.end += 1,
            _ => runs.push(*block..*block + 1),
        }
    }
    runs
}
