//! The questions, one for each kind of damage.

use std::io;

use super::talk::{Failure, Talk};
use super::tell::size;
use crate::check::{Clause, Report, exit};

/// Asks for each kind of damage whether it shall be put right. Bytes of users are asked about only with `discard_dirty`.
pub(super) fn ask(
    report: &Report,
    discard_dirty: bool,
    talk: &mut Talk<'_>,
) -> Result<Vec<Clause>, Failure> {
    let mut wanted = Vec::new();
    for row in report.rows() {
        if row.clause == Clause::Dirty && !discard_dirty {
            continue;
        }
        let (id, what, count) = (row.clause.id(), row.clause.text(), row.found);
        let cost = match row.bytes {
            0 => String::new(),
            bytes => format!(", {}", size(bytes)),
        };
        let question =
            format!("{id}: {what} (found {count} times{cost}). Repair? [y]es [n]o [a]ll [q]uit: ");
        loop {
            match answer(&question, talk)?.as_str() {
                "y" | "yes" => wanted.push(row.clause),
                "n" | "no" => {}
                "a" | "all" => return Ok(Clause::ALL.to_vec()),
                _ => continue,
            }
            break;
        }
    }
    Ok(wanted)
}

/// Asks one question.
pub(super) fn yes(question: &str, talk: &mut Talk<'_>) -> Result<bool, Failure> {
    loop {
        match answer(&format!("{question} [y]es [n]o [q]uit: "), talk)?.as_str() {
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

/// One answer. Errors where the user has had enough, or has gone.
fn answer(question: &str, talk: &mut Talk<'_>) -> Result<String, Failure> {
    let lost = |error: io::Error| Failure(exit::OPERATIONAL, format!("cannot ask: {error}"));
    write!(talk.out, "{question}")
        .and_then(|()| talk.out.flush())
        .map_err(lost)?;
    let mut answer = String::new();
    let len = talk.input.read_line(&mut answer).map_err(lost)?;
    match answer.trim() {
        "q" | "quit" => Err(Failure(exit::CANCELLED, "nothing was changed".into())),
        _ if len == 0 => {
            let why = "no answer; nothing was changed";
            Err(Failure(exit::CANCELLED, why.into()))
        }
        answer => Ok(answer.to_owned()),
    }
}
