//! A policy on trial: requests go through a cache that has nothing but the policy, and what came of it is counted.
//!
//! The cache is larder's in what matters to a policy: chunks are filled block by block and weigh what is filled, a
//! chunk is in use once a block of it is read again, and a chunk that needs room takes victims until it fits.

use std::collections::{BTreeSet, HashMap};

use super::api::Policy;
use super::chosen;
use super::rivals::{OneQueue, Sieve};
use super::s3fifo::S3Fifo;
use crate::units::BlockMask;

/// Who chooses the victims.
#[derive(Clone, Copy, Debug)]
pub enum Chooser<'a> {
    /// The policy that the engine uses.
    Chosen,
    /// S3-FIFO.
    S3Fifo,
    /// SIEVE.
    Sieve,
    /// Least recently used.
    Lru,
    /// First in, first out.
    Fifo,
    /// An oracle that knows the future: the chunk whose last request has the highest rank of these (one for each
    /// request) goes. Where that is the new one, it is not kept.
    Ranked(&'a [u64]),
}

/// Blocks of one chunk that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which chunk.
    pub chunk: u32,
    /// Which blocks of it.
    pub blocks: BlockMask,
    /// What a block takes, in pages of 4 KiB.
    pub block_pages: u32,
    /// What the whole chunk takes.
    pub chunk_pages: u32,
}

impl Request {
    /// What `blocks` of its chunk take, in pages.
    fn pages_of(&self, blocks: BlockMask) -> u32 {
        (blocks.count() * self.block_pages).min(self.chunk_pages)
    }
}

/// What came of a trial.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    /// Requests in all.
    pub requests: u64,
    /// Those that had all of their blocks.
    pub hits: u64,
    /// Pages of 4 KiB that were wanted.
    pub pages: u64,
    /// Pages that were there.
    pub hit_pages: u64,
    /// Chunks that were evicted.
    pub evictions: u64,
    /// Places that were looked at for that.
    pub probes: u64,
    /// The most that were looked at for one victim.
    pub probes_most: u32,
}

/// The name of the policy that the engine uses.
pub fn chosen_name() -> &'static str {
    chosen(1).name()
}

/// Lets requests go through a cache of `capacity` pages and `places` places.
pub fn run(chooser: Chooser<'_>, capacity: u64, places: u32, requests: &[Request]) -> Outcome {
    let judge = match chooser {
        Chooser::Chosen => Judge::Policy(chosen(places)),
        Chooser::S3Fifo => Judge::Policy(Box::new(S3Fifo::new(places))),
        Chooser::Sieve => Judge::Policy(Box::new(Sieve::new(places))),
        Chooser::Lru => Judge::Policy(Box::new(OneQueue::lru(places))),
        Chooser::Fifo => Judge::Policy(Box::new(OneQueue::fifo(places))),
        Chooser::Ranked(_) => Judge::Ranked(BTreeSet::new()),
    };
    let mut trial = Trial {
        judge,
        capacity,
        held: 0,
        at: HashMap::new(),
        tenants: vec![Tenant::default(); places as usize],
        free: (0..places).rev().collect(),
        outcome: Outcome::default(),
    };
    for (n, request) in requests.iter().enumerate() {
        let rank = match chooser {
            Chooser::Ranked(ranks) => ranks.get(n).copied().unwrap_or_default(),
            _ => 0,
        };
        trial.request(request, rank);
    }
    trial.outcome
}

enum Judge {
    Policy(Box<dyn Policy>),
    /// The places by rank.
    Ranked(BTreeSet<(u64, u32)>),
}

/// What is at a place.
#[derive(Clone, Copy, Default)]
struct Tenant {
    chunk: u32,
    present: BlockMask,
    read: BlockMask,
    used: bool,
    pages: u32,
    rank: u64,
}

struct Trial {
    judge: Judge,
    capacity: u64,
    held: u64,
    at: HashMap<u32, u32>,
    tenants: Vec<Tenant>,
    free: Vec<u32>,
    outcome: Outcome,
}

impl Trial {
    fn request(&mut self, request: &Request, rank: u64) {
        let wanted = request.pages_of(request.blocks);
        self.outcome.requests += 1;
        self.outcome.pages += u64::from(wanted);
        let place = match self.at.get(&request.chunk).copied() {
            Some(place) => {
                self.rank(place, rank);
                place
            }
            None => match self.found(request, rank) {
                Some(place) => place,
                None => return,
            },
        };
        let tenant = &mut self.tenants[place as usize];
        let missing = request.blocks.without(tenant.present);
        let again = request.blocks.last().is_some_and(|n| tenant.read.has(n));
        tenant.read = tenant.read.with(request.blocks);
        tenant.used |= again;
        if again && let Judge::Policy(policy) = &mut self.judge {
            policy.hit(place);
        }
        let grows = request.pages_of(missing);
        self.outcome.hits += u64::from(missing.is_empty());
        self.outcome.hit_pages += u64::from(wanted.saturating_sub(grows));
        while self.held + u64::from(grows) > self.capacity {
            if self.evict(Some(place)).is_none() {
                return;
            }
        }
        self.held += u64::from(grows);
        let tenant = &mut self.tenants[place as usize];
        tenant.present = tenant.present.with(missing);
        tenant.pages += grows;
        let pages = tenant.pages;
        if grows > 0
            && let Judge::Policy(policy) = &mut self.judge
        {
            policy.resize(place, pages);
        }
    }

    /// A place for a chunk that has none.
    fn found(&mut self, request: &Request, rank: u64) -> Option<u32> {
        if self.free.is_empty() {
            self.evict(None)?;
        }
        let place = self.free.pop()?;
        self.at.insert(request.chunk, place);
        self.tenants[place as usize] = Tenant {
            chunk: request.chunk,
            rank,
            ..Tenant::default()
        };
        match &mut self.judge {
            Judge::Policy(policy) => policy.insert(place, 0, fingerprint(request.chunk)),
            Judge::Ranked(order) => drop(order.insert((rank, place))),
        }
        Some(place)
    }

    fn rank(&mut self, place: u32, rank: u64) {
        if let Judge::Ranked(order) = &mut self.judge {
            let tenant = &mut self.tenants[place as usize];
            order.remove(&(tenant.rank, place));
            tenant.rank = rank;
            order.insert((rank, place));
        }
    }

    /// Evicts one chunk; `None` where that is the one at the place `but`, or there is no other.
    fn evict(&mut self, but: Option<u32>) -> Option<()> {
        let mut probes = 0;
        let place = match &mut self.judge {
            Judge::Policy(policy) => {
                let tenants = &mut self.tenants;
                let mut used = |place: u32| std::mem::take(&mut tenants[place as usize].used);
                let mut propose = || policy.victim(&mut used, &mut probes);
                // Only one place is spared: the second proposal is another one, if there is one.
                propose()
                    .filter(|place| Some(*place) != but)
                    .or_else(&mut propose)
            }
            Judge::Ranked(order) => order.last().map(|(_, place)| *place),
        };
        let place = place.filter(|place| Some(*place) != but)?;
        let tenant = self.tenants[place as usize];
        match &mut self.judge {
            Judge::Policy(policy) => policy.evicted(place, fingerprint(tenant.chunk)),
            Judge::Ranked(order) => drop(order.remove(&(tenant.rank, place))),
        }
        self.at.remove(&tenant.chunk);
        self.free.push(place);
        self.held -= u64::from(tenant.pages);
        self.outcome.evictions += 1;
        self.outcome.probes += u64::from(probes);
        self.outcome.probes_most = self.outcome.probes_most.max(probes);
        Some(())
    }
}

/// A fingerprint as evenly spread as those of the engine.
fn fingerprint(chunk: u32) -> u32 {
    let mixed = (u64::from(chunk) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u32::try_from(mixed >> 32).unwrap_or_default()
}
