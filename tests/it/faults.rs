//! The web as it is: the real engine and the real HTTP client over origins that break off, stand still and lie. Every
//! answer is judged: its bytes are of one version that the origin held, or it is an error within the deadline; and when
//! the origin is calm again, everything is readable again.
//!
//! `LARDER_FAULT_RUNS` changes the number of seeded mixtures, `LARDER_FAULT_SEED` runs one of them alone.

mod cases;
mod rig;
mod storm;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{Config, ReadError};
use larder::testing::Rng;
use larder::testing::origin::{Etag, Fault, Method, Object, Origin, Settings, When};
use larder::units::{ByteRange, Facts};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use rig::{Mount, Open, Rig, kind, runtime};

const SIZES: [u64; 5] = [0, 1, 4095, 100_000, (5 << 20) + 3];
const RUNS: usize = 500;
/// Worlds at a time: they mostly wait.
const AT_ONCE: usize = 48;

fn config() -> Config {
    Config {
        fetch_budget: 1 << 30,
        request_max: 1 << 20,
        ..Config::default()
    }
}

/// The kinds of objects that there are for a client: by what names their versions, and whether they come in parts.
fn object(number: usize, seed: u64, size: u64) -> Object {
    let object = Object::seeded(seed, size);
    match number % 7 {
        0 => object,
        1 => object.with_etag(Etag::Weak),
        2 => object.with_etag(Etag::Nginx),
        3 => object.with_etag(Etag::Absent),
        4 => object.without_ranges(),
        5 => object.with_etag(Etag::Absent).without_modified(),
        _ => object
            .with_etag(Etag::Weak)
            .without_modified()
            .without_ranges(),
    }
}

/// The number of the kind without any validator.
const UNVALIDATED: usize = 5;
/// With an ETag under which there is one size only: an answer with the same ETag and another size is a lie that shows.
const STRONG: [usize; 2] = [0, 4];

/// Which requests a fault meets when it is alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    /// Every GET; what HEAD says is true.
    Gets,
    /// Every request.
    All,
    /// The first GET of each object.
    FirstGet,
}

/// Whether a client that asks again at once has the right bytes in the end, where only the first answer was bad.
fn is_passing(fault: &Fault) -> bool {
    match fault {
        Fault::Cut { .. }
        | Fault::Reset { .. }
        | Fault::Truncate { .. }
        | Fault::EarlyClose
        | Fault::RedirectElsewhere
        | Fault::RedirectBack => true,
        Fault::Status(status, after) => *status >= 408 && after.is_none(),
        _ => false,
    }
}

/// Runs worlds, some at a time, and returns the sentences of those that went wrong.
fn run_all<T: Send + 'static>(
    handle: &Handle,
    worlds: impl Iterator<Item = impl Future<Output = Result<T, String>> + Send + 'static>,
) -> (Vec<T>, Vec<String>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut set = JoinSet::new();
    for world in worlds {
        let places = Arc::clone(&places);
        let run = async move {
            let _place = places.acquire().await;
            world.await
        };
        set.spawn_on(run, handle);
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    handle.block_on(async {
        while let Some(result) = set.join_next().await {
            match result.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(value) => done.push(value),
                Err(sentence) => failed.push(sentence),
            }
        }
    });
    (done, failed)
}

/// One fault, alone: reads while it is on, and after it.
async fn alone(mount: Arc<Mount>, fault: Fault, extent: Extent) -> Result<usize, String> {
    let mut objects = Vec::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        objects.push((format!("size-{number}"), 0, size));
    }
    objects.extend((1..7).map(|number| (format!("kind-{number}"), number, 100_000)));
    for (seed, (name, number, size)) in objects.iter().enumerate() {
        mount.origin.put(name, object(*number, seed as u64, *size));
    }
    let mut facts = HashMap::new();
    if extent != Extent::All {
        for (name, ..) in &objects {
            let mut found = mount.facts(name).await;
            // On a machine with much else to do even an honest origin may be late.
            for _ in 0..20 {
                if found.is_ok() {
                    break;
                }
                found = mount.facts(name).await;
            }
            let found = found.map_err(|error| format!("{name} before the fault: {error}"))?;
            facts.insert(name.clone(), found);
        }
    }
    match extent {
        Extent::All => mount.origin.fault(fault.clone(), When::always()),
        Extent::Gets => mount
            .origin
            .fault(fault.clone(), When::always().method(Method::Get)),
        Extent::FirstGet => objects.iter().for_each(|(name, ..)| {
            let first = When::first(1).method(Method::Get).path(name);
            mount.origin.fault(fault.clone(), first);
        }),
    }
    let mut readers = JoinSet::new();
    for (name, number, size) in objects {
        let (mount, fault) = (Arc::clone(&mount), fault.clone());
        let facts = facts.remove(&name);
        readers.spawn(async move {
            let read = read_alone(&mount, &fault, extent, (&name, number, size), facts).await;
            read.map_err(|why| {
                format!("{fault:?}, {extent:?}: {why}{}", mount.last_requests(&name))
            })
        });
    }
    let mut brought = 0;
    for result in readers.join_all().await {
        brought += result?;
    }
    if asks_for_long_peace(&fault) {
        let before = mount.origin.log().len();
        let refused = mount.facts("size-1").await.is_err();
        let asked = mount.origin.log().len() - before;
        if !refused || asked > 0 {
            return Err(format!(
                "{fault:?}: {asked} more requests to a server that asked for peace"
            ));
        }
    }
    Ok(brought)
}

/// Whether the server asks to be left in peace for longer than a test can wait.
fn asks_for_long_peace(fault: &Fault) -> bool {
    matches!(fault, Fault::Status(_, Some("86400")))
}

/// The reads of one object under one fault. Returns how many brought bytes while it was on.
async fn read_alone(
    mount: &Arc<Mount>,
    fault: &Fault,
    extent: Extent,
    (name, number, size): (&str, usize, u64),
    known: Option<Facts>,
) -> Result<usize, String> {
    let facts = match known {
        Some(facts) => Ok(facts),
        None => mount.facts(name).await,
    };
    let strict = extent == Extent::Gets && STRONG.contains(&number);
    let open = facts
        .ok()
        .and_then(|facts| mount.open(name, &facts, strict));
    let mut brought = 0;
    if let Some(open) = &open {
        let middle = ByteRange::new(size / 3, size / 3 * 2 + 1);
        let beginning = ByteRange::new(0, size.min(70_000) + 1);
        let (first, second) = tokio::join!(open.read(beginning), open.read(middle));
        for result in [first?, second?] {
            brought += usize::from(result.is_ok());
            let must = extent == Extent::FirstGet && is_passing(fault) && number != UNVALIDATED;
            if let (true, Err(error)) = (must, result) {
                return Err(format!(
                    "{name}: asked again it would have had the bytes: {error}"
                ));
            }
        }
    }
    if asks_for_long_peace(fault) {
        return Ok(brought);
    }
    // The other objects' readers may still be at it; faults of this one end here.
    mount.origin.calm_for(name);
    let may_reopen = fault.is_about_versions() || number == UNVALIDATED;
    mount.recovers(open, name, may_reopen).await?;
    Ok(brought)
}

#[test]
fn each_fault_alone_brings_the_right_bytes_or_an_error_and_passes() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), Duration::from_secs(2)));
    // Where asking again must help, nobody has to wait for a deadline, and a slow machine must not meet it. A long peace
    // is as long as twice the deadline.
    let patient = Arc::new(Rig::new(config(), Duration::from_secs(30)));
    let mut worlds = Vec::new();
    for (number, fault) in Fault::catalogue().into_iter().enumerate() {
        for extent in [Extent::Gets, Extent::All, Extent::FirstGet] {
            let origin = Origin::start_on(runtime.handle(), number as u64).unwrap();
            let must_help = extent == Extent::FirstGet && is_passing(&fault);
            let waits = must_help || asks_for_long_peace(&fault);
            let rig = if waits { &patient } else { &rig };
            let mount = rig.mount(origin, |remote| remote);
            worlds.push(alone(mount, fault.clone(), extent));
        }
    }
    let all = worlds.len();
    let (done, failed) = run_all(runtime.handle(), worlds.into_iter());
    assert!(
        failed.is_empty(),
        "{} of {all} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    let brought: usize = done.iter().sum();
    assert!(
        brought > all * 5,
        "only {brought} reads brought bytes in {all} worlds"
    );
}

/// What came of a world.
#[derive(Default)]
struct Outcome {
    answers: BTreeMap<&'static str, u64>,
    met: Vec<String>,
}

fn name_of(result: &Result<Bytes, ReadError>) -> &'static str {
    match result {
        Ok(_) => "bytes",
        Err(ReadError::Stale) => "stale",
        Err(ReadError::NotFound) => "not found",
        Err(ReadError::Forbidden) => "forbidden",
        Err(ReadError::TimedOut) => "timed out",
        Err(ReadError::Remote(_)) => "remote",
        Err(ReadError::Closed) => "closed",
    }
}

/// An object of a mixture, and the blob that its readers share.
struct Place {
    name: String,
    now: Mutex<Option<Open>>,
}

impl Place {
    /// The shared blob, or a fresh one where there is none, it is of no more use, or somebody looks anew.
    async fn open(&self, mount: &Mount, rng: &mut Rng) -> Option<Open> {
        let known = self.now.lock().clone();
        if let Some(open) = &known
            && !open.blob.is_superseded()
            && rng.chance(190)
        {
            return known;
        }
        let facts = match rng.chance(60) {
            true => mount.listed(&self.name).await,
            false => mount.facts(&self.name).await,
        };
        let facts = facts.ok()?;
        let mut now = self.now.lock();
        if let Some(open) = &*now {
            let served = open.blob.facts();
            let contradicted = facts.size != served.size
                || facts.validator.is_some() && facts.validator != served.validator
                || facts.mtime != served.mtime;
            if !contradicted && !open.blob.is_superseded() {
                return Some(open.clone());
            }
            open.blob.supersede();
        }
        *now = mount.open(&self.name, &facts, false);
        now.clone()
    }
}

/// A world of several objects, faults at random rates, replaced objects and several readers.
async fn mixture(mount: Arc<Mount>, seed: u64) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed);
    mount.origin.set(Settings {
        round_trip: Duration::from_millis(rng.below(6)),
        ..Settings::default()
    });
    let mut places = Vec::new();
    for number in 0..2 + rng.index(3) {
        let name = format!("object-{number}");
        let size = match rng.below(8) {
            0 => SIZES[4],
            _ => SIZES[rng.index(4)].max(rng.below(2) * rng.below(300_000)),
        };
        mount
            .origin
            .put(&name, object(rng.index(7), rng.next_u64(), size));
        places.push(Place {
            name,
            now: Mutex::new(None),
        });
    }
    let mut catalogue = Fault::catalogue();
    catalogue.retain(|fault| !asks_for_long_peace(fault));
    for _ in 0..1 + rng.index(5) {
        let mut when = When::chance(u16::try_from(8 + rng.below(90)).unwrap());
        if rng.chance(80) {
            when = When::every(2 + rng.below(6));
        }
        if rng.chance(100) {
            when = when.method(Method::Get);
        }
        if rng.chance(60) {
            when = when.path(&places[rng.index(places.len())].name);
        }
        mount
            .origin
            .fault(catalogue[rng.index(catalogue.len())].clone(), when);
    }
    let places = Arc::new(places);
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (mount, places, rng) = (Arc::clone(&mount), Arc::clone(&places), rng.fork());
        tasks.spawn(read_some(mount, places, rng));
    }
    let (changed, changes) = (Arc::clone(&mount), (Arc::clone(&places), rng.fork()));
    tasks.spawn(change_some(changed, changes));
    let mut outcome = Outcome::default();
    for result in tasks.join_all().await {
        for (answer, count) in result? {
            *outcome.answers.entry(answer).or_default() += count;
        }
    }
    mount.origin.calm();
    for place in &*places {
        let open = place.now.lock().clone();
        let recovered = mount.recovers(open, &place.name, true).await;
        recovered.map_err(|why| format!("{why}{}", mount.last_requests(&place.name)))?;
    }
    outcome.met = mount.met();
    Ok(outcome)
}

type Counts = BTreeMap<&'static str, u64>;

async fn read_some(
    mount: Arc<Mount>,
    places: Arc<Vec<Place>>,
    mut rng: Rng,
) -> Result<Counts, String> {
    let mut counts = Counts::new();
    let mut held: Vec<Open> = Vec::new();
    for _ in 0..4 + rng.index(6) {
        let place = &places[rng.index(places.len())];
        // Now and then somebody reads on through a handle that he has had for long.
        let old = (!held.is_empty() && rng.chance(70)).then(|| held[rng.index(held.len())].clone());
        let open = match old {
            Some(open) => open,
            None => match place.open(&mount, &mut rng).await {
                Some(open) => open,
                None => {
                    *counts.entry("no facts").or_default() += 1;
                    continue;
                }
            },
        };
        let size = open.blob.facts().size;
        let start = rng.below(size + size / 16 + 1);
        let range = match rng.below(4) {
            0 => ByteRange::new(0, size.min(600_000) + 1),
            1 => ByteRange::at(start, 1 + rng.below(200)),
            _ => ByteRange::at(start, 1 + rng.below(130_000)),
        };
        let result = open.read(range).await;
        let result = result.map_err(|why| format!("{why}{}", mount.last_requests(&open.name)))?;
        *counts.entry(name_of(&result)).or_default() += 1;
        held.push(open);
    }
    Ok(counts)
}

async fn change_some(
    mount: Arc<Mount>,
    (places, mut rng): (Arc<Vec<Place>>, Rng),
) -> Result<Counts, String> {
    for _ in 0..rng.index(4) {
        tokio::time::sleep(Duration::from_millis(rng.below(600))).await;
        let name = &places[rng.index(places.len())].name;
        let versions = mount.origin.versions(name);
        let size = versions[versions.len() - 1].size();
        match rng.below(6) {
            0..3 => mount.origin.replace(name, size),
            3 => mount.origin.replace(name, rng.below(size + 1)),
            4 => mount.origin.replace(name, size + rng.below(100_000)),
            _ => {
                mount.origin.remove(name);
                tokio::time::sleep(Duration::from_millis(rng.below(100))).await;
                mount.origin.replace(name, size);
            }
        }
    }
    Ok(Counts::new())
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
fn mixtures_of_faults_bring_the_right_bytes_or_honest_errors() {
    let runtime = runtime();
    let only = number_from_env("LARDER_FAULT_SEED");
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_env("LARDER_FAULT_RUNS").unwrap_or(RUNS as u64),
    };
    let handle = runtime.handle();
    let count = seeds.end - seeds.start;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    // A cache that is full would record nothing more: every so many runs have new ones.
    for first in seeds.clone().step_by(RUNS) {
        let rig = |_| Arc::new(Rig::new(config(), Duration::from_secs(1)));
        let rigs: Vec<_> = (0..4).map(rig).collect();
        let worlds = (first..seeds.end.min(first + RUNS as u64)).map(|seed| {
            let (rig, handle) = (Arc::clone(&rigs[(seed % 4) as usize]), handle.clone());
            async move {
                let origin = Origin::start_on(&handle, seed).map_err(|e| e.to_string())?;
                let outcome = mixture(rig.mount(origin, |remote| remote), seed).await;
                outcome.map_err(|why| format!("LARDER_FAULT_SEED={seed}: {why}"))
            }
        });
        let (some_done, some_failed) = run_all(handle, worlds);
        done.extend(some_done);
        failed.extend(some_failed);
    }
    assert!(
        failed.is_empty(),
        "{} of {count} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    let mut answers = Counts::new();
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in done {
        outcome
            .answers
            .into_iter()
            .for_each(|(name, n)| *answers.entry(name).or_default() += n);
        outcome
            .met
            .into_iter()
            .for_each(|name| *met.entry(name).or_default() += 1);
    }
    if std::env::var_os("LARDER_FAULT_VERBOSE").is_some() {
        eprintln!("{answers:?}\n{met:?}");
    }
    if count >= RUNS as u64 {
        // A mixture in which nothing was read, or a fault never met, would have shown nothing.
        assert!(answers["bytes"] > count * 6, "{answers:?}");
        let unmet: Vec<_> = Fault::catalogue()
            .iter()
            .map(kind)
            .filter(|k| !met.contains_key(k))
            .collect();
        assert!(unmet.is_empty(), "{unmet:?} was never met: {met:?}");
    }
}
