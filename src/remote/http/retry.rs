//! What is worth asking again, and when.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;

/// The longest first pause; it doubles with every failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause that no server has asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause, whatever a server asks for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether the same request may fare better later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The pause after this many failures in a row (1 is the first), for a `chance` from 0 up to 1: full jitter, so that
/// many who failed together do not come back together.
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(chance.clamp(0.0, 1.0))
}

/// The pause that a Retry-After asks for: seconds, or a date, which is compared with the server's own Date.
pub(super) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let wait = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let time =
                |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text.trim()).ok() };
            let until = time(value)?;
            until.duration_since(time(date?)?).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_fare_better_is_asked_again() {
        let worth: Vec<u16> = (100..600)
            .filter(|code| is_transient(StatusCode::from_u16(*code).unwrap()))
            .collect();
        assert_eq!(worth, [408, 425, 429, 500, 502, 503, 504]);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let longest: Vec<u128> = [1, 2, 3, 6, 7, 8, 4_000_000_000]
            .map(|failures| pause(failures, 1.0).as_millis())
            .into();
        assert_eq!(longest, [100, 200, 400, 3200, 5000, 5000, 5000]);
        assert_eq!(pause(3, 0.0), Duration::ZERO);
        assert_eq!(pause(3, 0.5), Duration::from_millis(200));
    }

    #[test]
    fn a_server_may_ask_for_a_pause() {
        let now = Some("Wed, 01 Jan 2020 00:00:00 GMT");
        let cases = [
            ("3", now, Some(3)),
            (" 0 ", None, Some(0)),
            ("86400", None, Some(60)),
            ("Wed, 01 Jan 2020 00:00:07 GMT", now, Some(7)),
            ("Wed, 01 Jan 2020 01:00:00 GMT", now, Some(60)),
            ("Tue, 31 Dec 2019 00:00:00 GMT", now, Some(0)),
            ("Wed, 01 Jan 2020 00:00:07 GMT", None, None),
            ("soon", now, None),
            ("-1", now, None),
        ];
        for (value, date, seconds) in cases {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, date), expected, "{value}");
        }
    }
}
