//! What an origin holds and what was asked of it. No input, no output: `serve` does those.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{BACK, Circumstances, Target, respond, unauthorized};
use super::content::{Content, NOW, Object, Version};
use super::listing::{Listing, Row, encoded, write};
use super::request::{Method, Request};
use super::response::Response;
use super::script::{Fault, Script};
use crate::testing::Rng;

/// How an origin serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What every answer waits before it begins.
    pub round_trip: Duration,
    /// What directories are answered with.
    pub listing: Listing,
    /// A header that every request must have, by its name in small letters, with its value; without it, 401. The other
    /// server does not ask for it.
    pub required: Option<(String, String)>,
    /// The time that answers tell, in seconds since 1970.
    pub now: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            round_trip: Duration::ZERO,
            listing: Listing::NginxJson,
            required: None,
            now: NOW,
        }
    }
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The method.
    pub method: Method,
    /// The name, decoded, without the slash before it.
    pub name: String,
    /// The Range header, as it was sent.
    pub range: Option<String>,
    /// Whether the required header was sent.
    pub authorized: bool,
    /// Whether the other server was asked.
    pub elsewhere: bool,
    /// The fault that it met.
    pub fault: Option<Fault>,
    /// The status that it was answered with; 0 where no head was sent.
    pub status: u16,
    /// The bytes of the body that were sent so far.
    pub body_bytes: u64,
}

/// One object in time.
#[derive(Default)]
struct Held {
    versions: Vec<Arc<Version>>,
    present: bool,
    /// Sizes that answers claimed and that it did not have.
    claimed: BTreeSet<u64>,
}

/// All that an origin knows.
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) script: Script,
    pub(super) log: Vec<Logged>,
    pub(super) open: usize,
    pub(super) most_open: usize,
    seed: u64,
    objects: BTreeMap<String, Held>,
    address: SocketAddr,
    elsewhere: SocketAddr,
}

impl World {
    pub(super) fn new(seed: u64, address: SocketAddr, elsewhere: SocketAddr) -> Self {
        Self {
            settings: Settings::default(),
            script: Script::new(seed),
            log: Vec::new(),
            open: 0,
            most_open: 0,
            seed,
            objects: BTreeMap::new(),
            address,
            elsewhere,
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn put(&mut self, name: &str, object: Object) {
        let held = self.objects.entry(name.to_owned()).or_default();
        let number = held.versions.len();
        held.versions.push(Arc::new(Version { number, object }));
        held.present = true;
    }

    pub(super) fn replace(&mut self, name: &str, size: Option<u64>) {
        let Some(last) = self.objects.get(name).and_then(|held| held.versions.last()) else {
            return;
        };
        let number = last.number as u64 + 1;
        let place = name
            .bytes()
            .fold(self.seed, |n, b| n.wrapping_mul(257) + u64::from(b));
        let mut rng = Rng::new(place ^ number.rotate_left(48));
        let size = size.unwrap_or_else(|| match last.size() {
            size if rng.chance(128) => rng.below(size + 1),
            size => size + 1 + rng.below(20_000),
        });
        let object = Object {
            content: Content::Seeded {
                seed: rng.next_u64(),
                len: size,
            },
            modified: last.object.modified.map(|secs| secs + 10),
            ..last.object.clone()
        };
        self.put(name, object);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(held) = self.objects.get_mut(name) {
            held.present = false;
        }
    }

    pub(super) fn versions(&self, name: &str) -> Vec<Arc<Version>> {
        let held = self.objects.get(name);
        held.map(|held| held.versions.clone()).unwrap_or_default()
    }

    pub(super) fn claimed(&self, name: &str) -> Vec<u64> {
        let held = self.objects.get(name);
        held.map(|held| held.claimed.iter().copied().collect())
            .unwrap_or_default()
    }

    /// What a request is answered with, and its place in the log.
    pub(super) fn answer(&mut self, request: &Request, elsewhere: bool) -> (Response, usize) {
        let required = self.settings.required.as_ref();
        let authorized =
            required.is_some_and(|(name, value)| request.header(name) == Some(value.as_str()));
        let refused = required.is_some() && !authorized && !elsewhere;
        let is_back = request.target.split('?').nth(1) == Some(BACK);
        let fault = match (elsewhere, is_back) {
            (true, true) => Some(Fault::RedirectBack),
            (true, false) | (false, true) => None,
            (false, false) => self.script.next(request.method, &request.name),
        };
        if let Some(Fault::Replace { same_size }) = fault {
            let last = self.versions(&request.name).last().cloned();
            self.replace(&request.name, last.filter(|_| same_size).map(|v| v.size()));
        }
        let at = Circumstances {
            now: self.settings.now,
            number: self.log.len() as u64,
            elsewhere: format!(
                "http://{}",
                if elsewhere {
                    self.address
                } else {
                    self.elsewhere
                }
            ),
        };
        let response = if refused {
            unauthorized(request, at.now)
        } else {
            let target = self.target(&request.name, elsewhere, fault.as_ref());
            respond(request, &target, fault.as_ref(), &at)
        };
        if let (Some(size), Some(held)) = (response.claimed, self.objects.get_mut(&request.name)) {
            held.claimed.insert(size);
        }
        self.log.push(Logged {
            method: request.method,
            name: request.name.clone(),
            range: request.header("range").map(str::to_owned),
            authorized,
            elsewhere,
            fault,
            status: response.status,
            body_bytes: 0,
        });
        (response, self.log.len() - 1)
    }

    fn target(&self, name: &str, elsewhere: bool, fault: Option<&Fault>) -> Target {
        if let Some(held) = self.objects.get(name).filter(|held| held.present) {
            let mut latest = held.versions.iter().rev().cloned();
            if let Some(version) = latest.next() {
                return Target::File(version, latest.next());
            }
        }
        if name.is_empty() || name.ends_with('/') {
            let rows = self.rows(name, fault == Some(&Fault::WrongListing));
            let exists = name.is_empty() || !rows.is_empty();
            return match write(self.settings.listing, name, &rows).filter(|_| exists) {
                Some((bytes, media)) => Target::Listing(bytes, media),
                None => Target::Missing,
            };
        }
        let inside = format!("{name}/");
        if self.is_there(&inside) {
            let address = if elsewhere {
                self.elsewhere
            } else {
                self.address
            };
            Target::Moved(format!("http://{address}/{}", encoded(&inside)))
        } else {
            Target::Missing
        }
    }

    /// Whether any object lies in a directory, which is named with its slash.
    fn is_there(&self, directory: &str) -> bool {
        let within = |(name, held): (&String, &Held)| held.present && name.starts_with(directory);
        self.objects.iter().any(within)
    }

    /// What lies in a directory, in order, each name once; `wrong` where the sizes and times are to be those of others.
    fn rows(&self, directory: &str, wrong: bool) -> Vec<Row> {
        let mut rows: BTreeMap<String, Option<(u64, u64)>> = BTreeMap::new();
        for (name, held) in &self.objects {
            let Some(rest) = name.strip_prefix(directory).filter(|_| held.present) else {
                continue;
            };
            match (rest.split_once('/'), held.versions.last()) {
                (Some((child, _)), _) => drop(rows.insert(child.to_owned(), None)),
                (None, Some(version)) => {
                    let lie = if wrong { 5 } else { 0 };
                    let facts = (version.size() + lie, version.modified() + lie);
                    rows.insert(rest.to_owned(), Some(facts));
                }
                (None, None) => {}
            }
        }
        let row = |(name, file)| Row { name, file };
        rows.into_iter().map(row).collect()
    }
}
