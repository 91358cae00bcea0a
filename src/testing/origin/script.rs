//! Which request meets which fault. Pure: the same seed and the same requests give the same faults.
//!
//! Chance is counted for each path by itself, so that requests for other objects that come between do not shift it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::request::Method;
use crate::testing::Rng;

/// What an origin does to one request. Fractions (`at`) are of 256 parts of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The connection ends in the middle of the body; without a body, before the head.
    Cut {
        /// How far the body comes.
        at: u16,
    },
    /// The connection is reset (RST) in the middle of the body; without a body, before the head.
    Reset {
        /// How far the body comes.
        at: u16,
    },
    /// The body stands still and nothing follows; without a body, as [`Fault::Silence`].
    Stall {
        /// How far the body comes.
        at: u16,
    },
    /// The request is taken and never answered.
    Silence,
    /// The body ends so many bytes before its Content-Length, and the connection with it.
    Truncate {
        /// Bytes that are missing.
        by: u64,
    },
    /// What Content-Length says is not what comes.
    Length(LengthLie),
    /// This status instead of the answer; with this Retry-After.
    Status(u16, Option<&'static str>),
    /// What Content-Range says is not what was asked for, or not so.
    Range(RangeLie),
    /// 200 and all of the object, whatever range was asked for.
    WholeForRange,
    /// The range as a part of a multipart/byteranges.
    Multipart,
    /// No ETag.
    NoEtag,
    /// The ETag, weak.
    WeakEtag,
    /// An ETag that no version has, another one each time.
    LyingEtag,
    /// The ETag of the version before, in answers to HEAD.
    HeadLies,
    /// Conditions are not looked at: the answer is of the version that is there, and says so.
    NoConditions,
    /// The object gets a new version just before the request is answered, truthfully.
    Replace {
        /// Whether it has as many bytes as the one before.
        same_size: bool,
    },
    /// The bytes come in pieces of so many, with so long between them.
    Drip {
        /// Bytes at a time.
        piece: usize,
        /// Between two pieces.
        pause: Duration,
    },
    /// A right answer that promises to keep the connection, which is then closed.
    EarlyClose,
    /// The body in gzip, which the client did not ask for.
    Gzip,
    /// A redirect to where the request came from, for ever.
    RedirectLoop,
    /// A redirect to another server (another port), which answers truthfully.
    RedirectElsewhere,
    /// A redirect to the other server, which redirects back; what comes back is answered truthfully.
    RedirectBack,
    /// A redirect to this URL.
    RedirectTo(&'static str),
    /// A listing whose sizes and times are not those of the objects.
    WrongListing,
    /// Chunked, with so many bytes fewer than the range has.
    ChunkedFewer(u64),
    /// Chunked, with so many bytes more than the range has.
    ChunkedMore(u64),
}

/// How a Content-Length lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthLie {
    /// So many bytes more than come.
    Larger(u64),
    /// So many bytes fewer than come.
    Smaller(u64),
    /// No number.
    Garbage,
    /// Two that disagree.
    Two,
}

/// How a Content-Range lies. The bytes are always those that it names, where it names any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeLie {
    /// Another place of the object.
    Start,
    /// Fewer bytes than asked for.
    EndBefore,
    /// More bytes than asked for, where there are more.
    EndAfter,
    /// The object is said to have more bytes than it has.
    TotalMore,
    /// The object is said to have fewer bytes than it has.
    TotalLess,
    /// `*` for the size of the object.
    TotalUnknown,
    /// Nothing that can be read.
    Garbage,
    /// Not there at all.
    Missing,
}

impl Fault {
    /// Each fault at least once.
    pub fn catalogue() -> Vec<Self> {
        let drip = |piece, millis| Self::Drip {
            piece,
            pause: Duration::from_millis(millis),
        };
        let mut all: Vec<_> = [0, 100, 255]
            .into_iter()
            .flat_map(|at| [Self::Cut { at }, Self::Reset { at }, Self::Stall { at }])
            .collect();
        all.extend([
            Self::Silence,
            Self::Truncate { by: 1 },
            Self::Truncate { by: 5000 },
        ]);
        all.extend(
            [
                LengthLie::Larger(1),
                LengthLie::Larger(1 << 40),
                LengthLie::Smaller(1),
                LengthLie::Smaller(3000),
                LengthLie::Garbage,
                LengthLie::Two,
            ]
            .map(Self::Length),
        );
        all.extend([403, 404, 408, 429, 500, 502, 503, 504].map(|code| Self::Status(code, None)));
        all.extend(
            ["0", "1", "-5", "86400", "99999999999999999999", "soon"]
                .map(|after| Self::Status(429, Some(after))),
        );
        all.push(Self::Status(503, Some("1")));
        all.extend(
            [
                RangeLie::Start,
                RangeLie::EndBefore,
                RangeLie::EndAfter,
                RangeLie::TotalMore,
                RangeLie::TotalLess,
                RangeLie::TotalUnknown,
                RangeLie::Garbage,
                RangeLie::Missing,
            ]
            .map(Self::Range),
        );
        all.extend([
            Self::WholeForRange,
            Self::Multipart,
            Self::NoEtag,
            Self::WeakEtag,
            Self::LyingEtag,
            Self::HeadLies,
            Self::NoConditions,
            Self::Replace { same_size: true },
            Self::Replace { same_size: false },
            drip(1, 100),
            drip(3000, 5),
            Self::EarlyClose,
            Self::Gzip,
            Self::RedirectLoop,
            Self::RedirectElsewhere,
            Self::RedirectBack,
            Self::RedirectTo("http://169.254.169.254/latest/meta-data/"),
            Self::WrongListing,
            Self::ChunkedFewer(1),
            Self::ChunkedFewer(5000),
            Self::ChunkedMore(1),
            Self::ChunkedMore(5000),
        ]);
        all
    }

    /// Whether the fault tells another version, size or presence of an object than it has, or changes it: a blob that
    /// believed it may be lost for good, and the name has to be asked for again.
    pub fn is_about_versions(&self) -> bool {
        matches!(
            self,
            Self::NoEtag
                | Self::WeakEtag
                | Self::LyingEtag
                | Self::HeadLies
                | Self::NoConditions
                | Self::Replace { .. }
                | Self::Length(_)
                | Self::Range(RangeLie::TotalMore | RangeLie::TotalLess)
                | Self::WrongListing
                | Self::Status(404, _)
        )
    }
}

/// Which requests a fault meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct When {
    method: Option<Method>,
    path: Option<String>,
    pick: Pick,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pick {
    Always,
    Nth(u64),
    First(u64),
    Every(u64),
    Chance(u16),
}

impl When {
    fn picked(pick: Pick) -> Self {
        Self {
            method: None,
            path: None,
            pick,
        }
    }

    /// Every request.
    pub fn always() -> Self {
        Self::picked(Pick::Always)
    }

    /// The `n`th request only, from 1.
    pub fn nth(n: u64) -> Self {
        Self::picked(Pick::Nth(n))
    }

    /// The first `n` requests.
    pub fn first(n: u64) -> Self {
        Self::picked(Pick::First(n))
    }

    /// Every `n`th request.
    pub fn every(n: u64) -> Self {
        Self::picked(Pick::Every(n.max(1)))
    }

    /// So many of 256 requests, as the seed will have it.
    pub fn chance(of_256: u16) -> Self {
        Self::picked(Pick::Chance(of_256))
    }

    /// Of those with this method only.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self {
            method: Some(method),
            ..self
        }
    }

    /// Of those for this name only (no slash before it; a directory's ends in one).
    #[must_use]
    pub fn path(self, name: &str) -> Self {
        Self {
            path: Some(name.to_owned()),
            ..self
        }
    }
}

/// The faults that are on, in the order in which they were put; a request meets the first that wants it.
#[derive(Debug)]
pub(super) struct Script {
    seed: u64,
    rules: Vec<Rule>,
    /// Names that meet no fault any more.
    spared: HashSet<String>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    when: When,
    seen: u64,
    seen_by_path: HashMap<String, u64>,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: Vec::new(),
            spared: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, fault: Fault, when: When) {
        self.rules.push(Rule {
            fault,
            when,
            seen: 0,
            seen_by_path: HashMap::new(),
        });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.spared.clear();
    }

    pub(super) fn spare(&mut self, name: &str) {
        self.spared.insert(name.to_owned());
    }

    /// The fault that the next request meets. Every rule counts the requests that it could have met.
    pub(super) fn next(&mut self, method: Method, name: &str) -> Option<Fault> {
        if self.spared.contains(name) {
            return None;
        }
        let mut met = None;
        for (number, rule) in self.rules.iter_mut().enumerate() {
            let other = |wanted: &Option<String>| wanted.as_ref().is_some_and(|w| w != name);
            if rule.when.method.is_some_and(|m| m != method) || other(&rule.when.path) {
                continue;
            }
            rule.seen += 1;
            let here = rule.seen_by_path.entry(name.to_owned()).or_default();
            *here += 1;
            let hit = match rule.when.pick {
                Pick::Always => true,
                Pick::Nth(n) => rule.seen == n,
                Pick::First(n) => rule.seen <= n,
                Pick::Every(n) => rule.seen.is_multiple_of(n),
                Pick::Chance(of_256) => {
                    let place = name
                        .bytes()
                        .fold(number as u64, |n, b| n.wrapping_mul(257) + u64::from(b));
                    let seed = self.seed ^ place.rotate_left(32) ^ *here;
                    Rng::new(seed).fork().chance(of_256)
                }
            };
            if hit && met.is_none() {
                met = Some(rule.fault.clone());
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(when: When, requests: &[(Method, &str)]) -> Vec<bool> {
        let mut script = Script::new(7);
        script.add(Fault::Silence, when);
        let mut hit = |r: &(Method, &str)| script.next(r.0, r.1).is_some();
        requests.iter().map(&mut hit).collect()
    }

    #[test]
    fn rules_pick_what_they_say() {
        let gets = [(Method::Get, "a"); 6];
        let f = false;
        assert_eq!(hits(When::nth(2), &gets), [f, true, f, f, f, f]);
        assert_eq!(hits(When::first(2), &gets), [true, true, f, f, f, f]);
        assert_eq!(hits(When::every(3), &gets), [f, f, true, f, f, true]);
        assert_eq!(hits(When::always(), &gets), [true; 6]);
        assert_eq!(hits(When::always().path("b"), &gets), [f; 6]);
        assert_eq!(hits(When::always().method(Method::Head), &gets), [f; 6]);
        let mixed = [
            (Method::Head, "a"),
            (Method::Get, "a"),
            (Method::Get, "b"),
            (Method::Get, "a"),
        ];
        let when = When::nth(2).method(Method::Get).path("a");
        assert_eq!(hits(when, &mixed), [f, f, f, true]);
    }

    #[test]
    fn chance_comes_from_the_seed_and_is_counted_by_path() {
        let alone = hits(When::chance(100), &[(Method::Get, "a"); 400]);
        let count = alone.iter().filter(|hit| **hit).count();
        assert!((100..210).contains(&count), "{count} of 400");
        let twice: Vec<_> = (0..800).map(|n| (Method::Get, ["a", "b"][n % 2])).collect();
        let among: Vec<bool> = hits(When::chance(100), &twice)
            .into_iter()
            .step_by(2)
            .collect();
        assert_eq!(among, alone, "another path between shifts nothing");
    }

    #[test]
    fn the_first_rule_that_wants_a_request_gets_it_and_all_count() {
        let mut script = Script::new(1);
        script.add(Fault::Gzip, When::nth(1));
        script.add(Fault::Multipart, When::first(2));
        let next = |script: &mut Script| script.next(Method::Get, "a");
        assert_eq!(next(&mut script), Some(Fault::Gzip));
        assert_eq!(next(&mut script), Some(Fault::Multipart));
        assert_eq!(next(&mut script), None);
        script.add(Fault::Silence, When::always());
        script.spare("a");
        assert_eq!(next(&mut script), None);
        assert_eq!(script.next(Method::Get, "b"), Some(Fault::Silence));
        script.clear();
        assert_eq!(next(&mut script), None);
    }
}
