//! The questions, one for each kind of damage.

use std::io;

use super::tell::size;
use super::{Failure, Talk};
use crate::check::{Clause, Report, exit};

/// Asks for each kind of damage whether it shall be put right.
pub(super) fn ask(report: &Report, talk: &mut Talk<'_>) -> Result<Vec<Clause>, Failure> {
    let lost = |error: io::Error| Failure(exit::OPERATIONAL, format!("cannot ask: {error}"));
    let mut wanted = Vec::new();
    for row in report.rows() {
        loop {
            let (id, what, count) = (row.clause.id(), row.clause.text(), row.found);
            let cost = match row.bytes {
                0 => String::new(),
                bytes => format!(", {}", size(bytes)),
            };
            write!(
                talk.out,
                "{id}: {what} ({count} times{cost}). Put right? [y]es [n]o [a]ll [q]uit: "
            )
            .and_then(|()| talk.out.flush())
            .map_err(lost)?;
            let mut answer = String::new();
            let len = talk.input.read_line(&mut answer).map_err(lost)?;
            match answer.trim() {
                "y" | "yes" => wanted.push(row.clause),
                "n" | "no" => {}
                "a" | "all" => return Ok(Clause::ALL.to_vec()),
                "q" | "quit" => return Err(Failure(exit::CANCELLED, "nothing was changed".into())),
                _ if len == 0 => {
                    let why = "no answer; nothing was changed";
                    return Err(Failure(exit::CANCELLED, why.into()));
                }
                _ => continue,
            }
            break;
        }
    }
    Ok(wanted)
}
