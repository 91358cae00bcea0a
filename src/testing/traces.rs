//! Traces for trials of policies: made ones, and the recorded ones of `benches/evict/traces`.

use crate::engine::ChunkPolicy;
use crate::engine::trial::Request;
use crate::units::{BlockMask, ByteRange, ObjectName};

use super::Rng;

/// Requests, and the cache that they are for.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it is like.
    pub name: String,
    /// The requests, in their order.
    pub requests: Vec<Request>,
    /// The size of the cache, in pages of 4 KiB.
    pub capacity: u64,
    /// Chunks below this number are the hot set, where there is one.
    pub hot: u32,
}

impl Trace {
    fn new(name: &str, capacity: u64) -> Self {
        Self {
            name: name.into(),
            requests: Vec::new(),
            capacity,
            hot: 0,
        }
    }

    /// As many places as there are chunks: what is scarce is room.
    pub fn places(&self) -> u32 {
        let most = self.requests.iter().map(|request| request.chunk).max();
        most.map_or(1, |most| most + 1)
    }

    /// For each request when its chunk is wanted next: the ranks of an oracle that sees the future.
    pub fn next_uses(&self) -> Vec<u64> {
        let mut next = vec![u64::MAX; self.places() as usize];
        let mut ranks = vec![u64::MAX; self.requests.len()];
        for (n, request) in self.requests.iter().enumerate().rev() {
            if let (Some(rank), Some(seen)) =
                (ranks.get_mut(n), next.get_mut(request.chunk as usize))
            {
                *rank = std::mem::replace(seen, n as u64);
            }
        }
        ranks
    }

    /// The ranks of an oracle that knows the hot set.
    pub fn hot_first(&self) -> Vec<u64> {
        let rank = |request: &Request| u64::from(request.chunk >= self.hot);
        self.requests.iter().map(rank).collect()
    }

    /// The pages of all chunks together, as far as they are wanted at all.
    pub fn footprint(&self) -> u64 {
        let mut seen = vec![BlockMask::NONE; self.places() as usize];
        let mut pages = 0;
        for request in &self.requests {
            if let Some(seen) = seen.get_mut(request.chunk as usize) {
                let new = request.blocks.without(*seen);
                pages += u64::from((new.count() * request.block_pages).min(request.chunk_pages));
                *seen = seen.with(new);
            }
        }
        pages
    }
}

/// How large the chunks of a made trace are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// 256 KiB each.
    Equal,
    /// 64 KiB to 4 MiB, each power of two as often.
    Mixed,
}

/// A whole chunk.
fn whole(chunk: u32, sizes: Sizes) -> Request {
    let block_pages = match sizes {
        Sizes::Equal => 1,
        // The number is spread, so that rank and size have nothing to do with each other.
        Sizes::Mixed => match Rng::new(u64::from(chunk)).below(7) {
            0 => 0,
            n => 1 << (n - 1),
        },
    };
    // The smallest has 16 blocks of a page.
    match block_pages {
        0 => Request {
            chunk,
            blocks: BlockMask::span(0..16),
            block_pages: 1,
            chunk_pages: 16,
        },
        _ => Request {
            chunk,
            blocks: BlockMask::ALL,
            block_pages,
            chunk_pages: 64 * block_pages,
        },
    }
}

/// Chunks of which the one of rank n is wanted with a frequency of n to the power of `-skew`, through a cache of a tenth
/// of them.
pub fn zipf(skew: f64, sizes: Sizes) -> Trace {
    const CHUNKS: u32 = 20_000;
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=CHUNKS {
        sum += f64::from(rank).powf(-skew);
        sums.push(sum);
    }
    let mut trace = Trace::new(&format!("Zipf {skew}{}", told(sizes)), 0);
    let mut rng = Rng::new(1);
    for _ in 0..400_000 {
        let at = fraction(&mut rng) * sum;
        let rank = sums.partition_point(|sum| *sum < at);
        let chunk = u32::try_from(rank).unwrap_or_default().min(CHUNKS - 1);
        trace.requests.push(whole(chunk, sizes));
    }
    trace.capacity = trace.footprint() / 10;
    trace
}

fn fraction(rng: &mut Rng) -> f64 {
    f64::from(u32::try_from(rng.below(1 << 31)).unwrap_or_default()) / f64::from(1u32 << 31)
}

fn told(sizes: Sizes) -> &'static str {
    match sizes {
        Sizes::Equal => "",
        Sizes::Mixed => ", mixed sizes",
    }
}

/// Every chunk once.
pub fn scan() -> Trace {
    let mut trace = Trace::new("scan", 2000 * 64);
    trace.requests = (0..100_000).map(|n| whole(n, Sizes::Equal)).collect();
    trace
}

/// Chunks that fill a little more than the cache, round and round.
pub fn round_and_round() -> Trace {
    let mut trace = Trace::new("loop of 1.1 caches", 2000 * 64);
    let rounds = (0..100).flat_map(|_| 0..2200);
    trace.requests = rounds.map(|n| whole(n, Sizes::Equal)).collect();
    trace
}

/// A hot set that takes half of the cache, and a scan of fifty caches through it: of two requests one is the scan's.
pub fn hot_set_and_scan(sizes: Sizes) -> Trace {
    const HOT: u32 = 1000;
    let mut trace = Trace::new(&format!("hot set and scan{}", told(sizes)), 0);
    let mut rng = Rng::new(2);
    for n in 0..100_000 {
        let hot = u32::try_from(rng.below(u64::from(HOT))).unwrap_or_default();
        trace.requests.push(whole(hot, sizes));
        trace.requests.push(whole(HOT + n, sizes));
    }
    let pages = |chunk| u64::from(whole(chunk, sizes).chunk_pages);
    trace.capacity = 2 * (0..HOT).map(pages).sum::<u64>();
    trace.hot = HOT;
    trace
}

/// A hot set that takes half of the cache and is another one after each 20,000 requests, one in four of which is a scan's.
pub fn moving_hot_set() -> Trace {
    let mut trace = Trace::new("moving hot set", 2000 * 64);
    let mut rng = Rng::new(3);
    for n in 0..200_000u32 {
        let base = n / 20_000 * 1000;
        let chunk = match rng.below(4) {
            0 => 100_000 + n,
            _ => base + u32::try_from(rng.below(1000)).unwrap_or_default(),
        };
        trace.requests.push(whole(chunk, Sizes::Equal));
    }
    trace
}

/// All made traces.
pub fn made() -> Vec<Trace> {
    vec![
        zipf(0.6, Sizes::Equal),
        zipf(0.8, Sizes::Equal),
        zipf(1.0, Sizes::Equal),
        zipf(1.2, Sizes::Equal),
        zipf(0.9, Sizes::Mixed),
        scan(),
        round_and_round(),
        hot_set_and_scan(Sizes::Equal),
        hot_set_and_scan(Sizes::Mixed),
        moving_hot_set(),
    ]
}

/// A recorded trace (its format: `benches/evict/traces/README.md`) as requests for chunks, which are as large as the engine
/// makes them by default, through a cache of `percent` of all that is read. `None` where it is none.
pub fn recorded(name: &str, bytes: &[u8], percent: u64) -> Option<Trace> {
    let mut rest = bytes.strip_prefix(b"LdTrace1")?;
    let (files, reads) = (varint(&mut rest)?, varint(&mut rest)?);
    let files = usize::try_from(files).ok().filter(|n| *n <= rest.len())?;
    let sizes: Vec<u64> = (0..files)
        .map(|_| varint(&mut rest))
        .collect::<Option<_>>()?;
    // Each file's chunks have numbers of their own.
    let any = ObjectName::new(*b"any");
    let chunk_of = |size: u64| ChunkPolicy::Auto.choose(&any, size);
    let mut first_chunks = Vec::new();
    let mut chunks = 0;
    for size in &sizes {
        first_chunks.push(chunks);
        chunks += u32::try_from(size.div_ceil(chunk_of(*size).bytes())).ok()?;
    }
    let mut trace = Trace::new(&format!("{name}, {percent} %"), 0);
    let mut file = 0i64;
    for _ in 0..reads {
        file += signed(varint(&mut rest)?);
        let (first, more) = (varint(&mut rest)?, varint(&mut rest)?);
        let at = usize::try_from(file).ok()?;
        let (size, base) = (*sizes.get(at)?, *first_chunks.get(at)?);
        let read = ByteRange::at(first.checked_mul(4096)?, more.checked_add(1)? * 4096);
        let (chunk, read) = (chunk_of(size), read.clip(ByteRange::new(0, size)));
        let mut at = read.start;
        while at < read.end {
            let number = at / chunk.bytes();
            let end = read.end.min((number + 1) * chunk.bytes());
            let within = ByteRange::at(at - number * chunk.bytes(), end - at);
            let blocks = chunk.blocks_of(within);
            let bound = |n: u64| u32::try_from(n).unwrap_or(64).min(64);
            let pages = |bytes: u64| u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX);
            trace.requests.push(Request {
                chunk: base + u32::try_from(number).ok()?,
                blocks: BlockMask::span(bound(blocks.start)..bound(blocks.end)),
                block_pages: pages(chunk.block_size()),
                chunk_pages: pages(chunk.valid_len(size, number)),
            });
            at = end;
        }
    }
    trace.capacity = trace.footprint() * percent / 100;
    rest.is_empty().then_some(trace)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn signed(zigzag: u64) -> i64 {
    let half = i64::try_from(zigzag >> 1).unwrap_or(i64::MAX);
    match zigzag & 1 {
        0 => half,
        _ => -half - 1,
    }
}
