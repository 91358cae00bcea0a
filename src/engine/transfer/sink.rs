//! The bytes of a fetch as the remote delivers them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::engine::fill::fill_job::{self, Landed};
use crate::engine::flight::blocks::{Landing, block_span};
use crate::engine::flight::fetch_budget::Charge;
use crate::engine::flight::read_op::Answers;
use crate::engine::transfer::fetch::{Announced, FetchJob, Target, Whole};
use crate::engine::version::head::Receiving;
use crate::remote::{RemoteError, Sink};
use crate::units::offset_in;
use crate::units::{ByteRange, Facts};

impl FetchJob {
    /// Accepts the version that is announced for blocks, or receives another one's head. Whether the bytes may be
    /// recorded.
    fn accept(&mut self, facts: &Facts, settled: bool) -> Result<bool, RemoteError> {
        let error = match self.object.accept(&self.layout, facts, settled) {
            Ok(layout) => {
                self.layout = layout;
                return Ok(settled && self.layout.record.is_some());
            }
            Err(error) => error,
        };
        let asked = self.range();
        let shown = self.object.facts().shows_the_same_as(facts);
        let welcome = self.opens && (self.object.is_bound() || !shown);
        let head = welcome.then(|| Receiving::new(facts, settled, asked.end));
        self.receiving = Some(head.flatten().ok_or(error)?);
        self.assembler
            .want(asked.clip(ByteRange::new(0, facts.size)));
        Ok(false)
    }

    /// Hands on whole blocks, which start at `start` in the object.
    fn land(&self, start: u64, bytes: &Bytes) {
        let (Target::Blocks(job, _), Some(version)) = (&self.target, self.announced) else {
            return;
        };
        let (mut answers, layout) = (Answers::default(), &self.layout);
        let range = ByteRange::at(start, bytes.len() as u64);
        let (mut landed, mut asked, mut missed) = (false, Vec::new(), 0);
        {
            let mut flight = self.object.flight.lock();
            for block in layout.chunk.blocks_of(range) {
                let span = block_span(layout.chunk, layout.size, block);
                let part = bytes.slice(offset_in(range, span.start)..offset_in(range, span.end));
                if self.whole == Some(Whole::Stream) {
                    flight.take_over(block, *job);
                }
                let landing = flight.land((block, span), *job, &part, version.keep, &mut answers);
                landed |= landing != Landing::Unwanted;
                match landing {
                    Landing::Asked => {
                        asked.push(block);
                        missed += span.len();
                    }
                    // Its reader counts it.
                    Landing::Opened => asked.push(block),
                    Landing::Ahead | Landing::Unwanted => {}
                }
            }
            if landed {
                self.object.bind(&mut flight);
                if !version.settled {
                    self.object.note_provisional();
                }
            }
        }
        self.link.services.counters.miss_bytes.add(missed);
        // A reader that has its answer may close the cache: the fill is on its way before.
        if version.keep && landed {
            let charge = match self.whole {
                None => Arc::clone(&self.charge),
                Some(_) => Arc::new(Charge::of_stream(&self.link.budget, range.len())),
            };
            let landed = Landed {
                object: &self.object,
                layout,
                job: *job,
                range,
                bytes,
                asked: &asked,
            };
            fill_job::submit(&self.link.fills, &landed, &charge);
        }
        answers.give();
    }

    /// Keeps bytes for the one read that they are for, and answers it when they are complete.
    fn land_hedge(&mut self, bytes: &Bytes) {
        let (complete, bound) = (self.assembler.is_complete(), self.bound());
        let settled = self.announced.is_some_and(|version| version.settled);
        let Target::Hedge(op, partial) = &mut self.target else {
            return;
        };
        partial.extend_from_slice(bytes);
        if complete {
            let mut answers = Answers::default();
            if !settled {
                self.object.note_provisional();
            }
            if self.object.bind_to(bound.as_ref()) {
                op.answer(Ok(partial.split().freeze()), &mut answers);
            }
            answers.give();
        }
    }
}

impl Sink for FetchJob {
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
        let keep = match &self.target {
            Target::Hedge(..) => {
                if self.bound() != facts.validator || facts.size != self.layout.size {
                    return Err(RemoteError::Changed(Box::new(facts.clone())));
                }
                false
            }
            Target::Blocks(..) => self.accept(facts, settled)?,
        };
        if self.announced.is_none() {
            let now = self.link.services.now();
            self.link.note_latency(now.saturating_sub(self.asked));
        }
        self.announced = Some(Announced { settled, keep });
        Ok(())
    }

    fn whole(&mut self) -> bool {
        let whole = match &self.target {
            // What lies outside of the range goes by; see `data`.
            Target::Hedge(..) => Whole::Alone,
            Target::Blocks(..) if self.receiving.is_some() => Whole::Alone,
            Target::Blocks(job, blocks) => {
                let mut flight = self.object.flight.lock();
                // An object that has gone over to another version since this one was accepted wants nothing of it: its
                // new readers would take the stream for theirs.
                let current = self.object.layout().and_then(|layout| layout.tag());
                let outdated = current != self.layout.tag();
                if outdated || flight.join_stream(blocks.clone(), *job) {
                    drop(flight);
                    self.assembler.want_nothing();
                    return false;
                }
                // Bytes that are not kept are of use to this fetch's own readers only.
                let keep = self.announced.is_some_and(|version| version.keep);
                if keep && flight.begin_stream(*job) {
                    Whole::Stream
                } else {
                    Whole::Alone
                }
            }
        };
        self.whole = Some(whole);
        self.assembler.begin_whole(whole == Whole::Stream);
        true
    }

    fn has_room(&self) -> bool {
        let piece = self.layout.chunk.block_size();
        self.link.budget.has_room_for_stream(piece)
    }

    fn is_enough(&self) -> bool {
        let enough = match (&self.target, self.whole) {
            (_, None) => false,
            (_, Some(Whole::Alone)) => self.assembler.is_complete(),
            (Target::Hedge(..), _) => false,
            (Target::Blocks(job, _), Some(Whole::Stream)) => {
                let flight = self.object.flight.lock();
                let unkept = !self.link.fills.are_kept();
                !flight.is_stream(*job) || unkept && !flight.has_waiting(*job)
            }
        };
        if enough {
            self.told_enough.store(true, Ordering::Relaxed);
        }
        enough
    }

    fn data(&mut self, bytes: Bytes) {
        debug_assert!(
            self.announced.is_some(),
            "the version is announced before the first bytes"
        );
        let arrived = bytes.len() as u64;
        self.delivered.fetch_add(arrived, Ordering::Relaxed);
        self.link.services.counters.remote_bytes.add(arrived);
        if self.announced.is_none() {
            return;
        }
        let (start, wanted) = self.assembler.wanted(bytes);
        if wanted.is_empty() {
            return;
        }
        if let Some(receiving) = &mut self.receiving {
            return receiving.take(&wanted);
        }
        if matches!(self.target, Target::Hedge(..)) {
            return self.land_hedge(&wanted);
        }
        for (start, blocks) in self.assembler.blocks((start, wanted)).into_iter().flatten() {
            self.land(start, &blocks);
        }
    }
}
