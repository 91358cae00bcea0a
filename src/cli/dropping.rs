//! Having a daemon drop what it has cached, in pieces, and what is said of that: for `larder evict` and `larder flush`.

use std::path::Path;
use std::time::Duration;

use super::control::ask;
use super::error::{Exit, Failure};
use crate::engine::Evicted;
use crate::units::shown;

/// How often, and how soon, the daemon is asked again where something was in use.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Drops everything that the cache of a mount holds; `what` is what the user calls that.
pub(super) fn everything(mount: &Path, what: &str) -> Result<Evicted, Failure> {
    in_pieces("flush", |request| ask(mount, request, what))
}

/// Asks until all is done, and once more for what was in use. Each answer says where the next one goes on.
pub(super) fn in_pieces(
    request: &str,
    mut ask: impl FnMut(&str) -> Result<Evicted, Failure>,
) -> Result<Evicted, Failure> {
    let mut all = Evicted::default();
    for round in 1.. {
        let mut told = ask(request)?;
        while let Some(next) = told.next {
            told.add(&ask(&format!("{request}.{next}"))?);
        }
        // What was in use, or kept, in an earlier round was met again in this one.
        (all.busy, all.kept, all.failed) = (0, 0, 0);
        all.add(&told);
        if all.busy == 0 || round == TRIES {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(all)
}

/// The failure where the disk did not let everything be dropped.
pub(super) fn disk_failed(path: &Path, told: &Evicted) -> Option<Failure> {
    (told.failed > 0).then(|| {
        Failure::new(
            Exit::Cache,
            format_args!(
                "the cache disk failed {} times: some of what is cached of {} is still there",
                told.failed,
                shown(path)
            ),
        )
    })
}

/// What is to be said of what stayed.
pub(super) fn aside(told: &Evicted) -> String {
    let mut aside = String::new();
    for (count, what) in [
        (told.busy, "chunks are in use and stay"),
        (
            told.kept,
            "chunks are pinned, or an open file needs them, and stay",
        ),
    ] {
        if count > 0 {
            aside.push_str(&format!("; {count} {what}"));
        }
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_asked_for_until_the_last_and_what_was_in_use_once_more() {
        let mut asked = Vec::new();
        let mut answers = vec![
            (2, 1, Some(7)),
            (3, 0, None),
            // The second round meets what was in use.
            (1, 0, None),
        ]
        .into_iter();
        let all = in_pieces("flush", |request| {
            asked.push(request.to_owned());
            let (chunks, busy, next) = answers.next().unwrap();
            Ok(Evicted {
                chunks,
                busy,
                next,
                bytes: chunks * 4096,
                ..Evicted::default()
            })
        })
        .unwrap();
        assert_eq!(asked, ["flush", "flush.7", "flush"]);
        assert_eq!((all.chunks, all.busy, all.bytes), (6, 0, 6 * 4096));
    }

    #[test]
    fn what_stayed_is_said() {
        assert_eq!(aside(&Evicted::default()), "");
        let told = Evicted {
            busy: 2,
            kept: 1,
            ..Evicted::default()
        };
        assert!(aside(&told).starts_with("; 2 chunks are in use"));
        assert!(aside(&told).contains("; 1 chunks are pinned"));
    }
}
