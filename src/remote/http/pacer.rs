//! How fast the server is asked: each who was told to wait waits, and all others go on at a pace that it bears.
//!
//! The first 429 sets a pause between the beginnings of two requests, each further one doubles it, and each answer shortens
//! it by a quarter until it is gone. That is how rclone does it, and like it this never falls silent: a server that counts
//! requests by file says nothing of the others.
//!
//! Invariants: an object of which the server said when to ask again is not asked for before (a minute at most, see
//! [`retry`](super::retry)); a request does not wait for what cannot come before its deadline.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{StatusCode, Url};
use tokio::time::Instant;

use crate::remote::api::RemoteError;

/// The pause that the first 429 sets.
const FIRST_GAP: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// A shorter one is none.
const SHORTEST_GAP: Duration = Duration::from_millis(10);
/// So many objects are remembered at most of which the server said when to ask again.
const TOLD: usize = 4096;

/// The pause between the beginnings of two requests. Pure.
#[derive(Default, Debug)]
struct Pace {
    gap: Duration,
    /// When a request last began.
    last: Option<Instant>,
    /// When the pause last grew: what was asked before tells nothing of the pause since.
    grown: Option<Instant>,
}

impl Pace {
    /// When the next request may begin; `None` for at once.
    fn next(&self, now: Instant) -> Option<Instant> {
        let next = self.last? + self.gap;
        (!self.gap.is_zero() && next > now).then_some(next)
    }

    /// A request begins.
    fn begin(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// A request that began at `asked` was one too many. Of many that were under way together the first one counts.
    fn slow(&mut self, asked: Instant, now: Instant) {
        if self.tells(asked) {
            self.gap = (self.gap * 2).clamp(FIRST_GAP, LONGEST_GAP);
            self.grown = Some(now);
        }
    }

    /// A request that began at `asked` was answered.
    fn ease(&mut self, asked: Instant) {
        if self.tells(asked) {
            self.gap = self.gap / 4 * 3;
            if self.gap < SHORTEST_GAP {
                self.gap = Duration::ZERO;
            }
        }
    }

    fn tells(&self, asked: Instant) -> bool {
        self.grown.is_none_or(|grown| grown <= asked)
    }
}

/// Until when which objects are not asked for, and what the server answered.
type Told = HashMap<Url, (Instant, StatusCode)>;

/// The pace of all requests to one server.
#[derive(Default)]
pub(super) struct Pacer {
    pace: Mutex<Pace>,
    /// The request that holds it is next; the others wait in line.
    turn: tokio::sync::Mutex<()>,
    told: Mutex<Told>,
}

impl Pacer {
    /// Waits for the turn of a request for `url`. Returns when it began.
    pub(super) async fn turn(&self, url: &Url, deadline: Instant) -> Result<Instant, RemoteError> {
        while let Some((rest, status)) = self.rest(url, Instant::now()) {
            wait(rest, status, deadline).await?;
        }
        if self.pace.lock().gap.is_zero() {
            let now = Instant::now();
            self.pace.lock().begin(now);
            return Ok(now);
        }
        let late = || {
            let why = "the server answered 429 Too Many Requests, so larder slows down: this request did not start before its timeout";
            RemoteError::Unreachable(why.into())
        };
        let in_line = tokio::time::timeout_at(deadline, self.turn.lock()).await;
        let _first = in_line.map_err(|_| late())?;
        loop {
            let now = Instant::now();
            let next = {
                let mut pace = self.pace.lock();
                let next = pace.next(now);
                if next.is_none() {
                    pace.begin(now);
                }
                next
            };
            match next {
                None => return Ok(now),
                Some(next) if next >= deadline => return Err(late()),
                Some(next) => tokio::time::sleep_until(next).await,
            }
        }
    }

    /// The server answered a request that began at `asked`.
    pub(super) fn answered(&self, asked: Instant) {
        self.pace.lock().ease(asked);
    }

    /// It answered it with 429.
    pub(super) fn refused(&self, asked: Instant) {
        self.pace.lock().slow(asked, Instant::now());
    }

    /// It said when to ask for `url` again.
    pub(super) fn told(&self, url: &Url, lasts: Duration, status: StatusCode) {
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.len() >= TOLD {
            told.retain(|_, (until, _)| *until > now);
        }
        if told.len() < TOLD {
            told.insert(url.clone(), (now + lasts, status));
        }
    }

    /// How long `url` is not asked for yet.
    fn rest(&self, url: &Url, now: Instant) -> Option<(Duration, StatusCode)> {
        let mut told = self.told.lock();
        let (until, status) = *told.get(url)?;
        if until <= now {
            told.remove(url);
            return None;
        }
        Some((until - now, status))
    }
}

/// Waits as long as it was asked to, or says at once that the deadline comes first.
pub(super) async fn wait(
    rest: Duration,
    status: StatusCode,
    deadline: Instant,
) -> Result<(), RemoteError> {
    if Instant::now() + rest >= deadline {
        let seconds = rest.as_secs_f64().ceil();
        return Err(RemoteError::Unreachable(format!(
            "the server answered {status} and asks for no request within {seconds} s"
        )));
    }
    tokio::time::sleep(rest).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_pace_slows_with_refusals_and_recovers_with_answers() {
        let began = Instant::now();
        let at = |millis| began + ms(millis);
        let mut pace = Pace::default();
        pace.begin(at(0));
        assert_eq!(pace.next(at(0)), None, "nothing is paced without a reason");
        // Three that were under way together are one refusal, and what was asked before it tells nothing.
        for asked in [0, 1, 2] {
            pace.slow(at(asked), at(10));
        }
        pace.ease(at(3));
        assert_eq!((pace.gap, pace.next(at(10))), (ms(100), Some(at(100))));
        assert_eq!(pace.next(at(100)), None);
        pace.begin(at(100));
        assert_eq!(pace.next(at(100)), Some(at(200)));
        let mut gaps = Vec::new();
        for n in 0..6 {
            pace.slow(at(100 + n), at(100 + n));
            gaps.push(pace.gap);
        }
        assert_eq!(gaps, [200, 400, 800, 1600, 2000, 2000].map(ms));
        let mut answers = 0;
        while !pace.gap.is_zero() {
            pace.ease(at(1000));
            answers += 1;
        }
        assert_eq!(answers, 19);
        assert_eq!(pace.next(at(100)), None);
        pace.slow(at(2000), at(2000));
        assert_eq!(pace.gap, ms(100), "and begins again");
    }

    #[test]
    fn what_was_told_holds_for_the_object_and_its_time_and_is_bounded() {
        let pacer = Pacer::default();
        let url = |n: usize| Url::parse(&format!("http://h/{n}")).unwrap();
        let status = StatusCode::TOO_MANY_REQUESTS;
        pacer.told(&url(0), ms(60_000), status);
        let now = Instant::now();
        assert!(
            pacer
                .rest(&url(0), now)
                .is_some_and(|(rest, _)| rest <= ms(60_000))
        );
        assert_eq!(pacer.rest(&url(1), now), None);
        assert_eq!(pacer.rest(&url(0), now + ms(60_001)), None);
        for n in 0..=TOLD {
            pacer.told(&url(n), ms(60_000), status);
        }
        assert_eq!(pacer.told.lock().len(), TOLD);
        for (until, _) in pacer.told.lock().values_mut() {
            *until = now;
        }
        pacer.told(&url(TOLD), ms(60_000), status);
        assert_eq!(pacer.told.lock().len(), 1);
    }

    #[tokio::test]
    async fn whose_turn_comes_after_his_deadline_hears_so_at_once() {
        let hour = ms(3_600_000);
        let (pacer, url) = (Pacer::default(), Url::parse("http://h/").unwrap());
        let asked = pacer.turn(&url, Instant::now()).await.unwrap();
        pacer.refused(asked);
        pacer.pace.lock().begin(Instant::now() + hour);
        let error = pacer.turn(&url, Instant::now() + hour).await.unwrap_err();
        assert!(error.to_string().contains("429"), "{error}");
        // Answers bring the pace back, and then no request waits.
        for _ in 0..9 {
            pacer.answered(Instant::now());
        }
        assert!(pacer.turn(&url, Instant::now()).await.is_ok());
        // Who was told waits, whatever the pace.
        pacer.told(&url, hour, StatusCode::TOO_MANY_REQUESTS);
        let error = pacer
            .turn(&url, Instant::now() + ms(60_000))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("within 3600 s"), "{error}");
    }
}
