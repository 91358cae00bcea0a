//! The result, as a table or as JSON, and the sentences for what could not be done.

use std::io::{self, BufWriter, Write};

use super::options::{Mode, Options};
use super::progress;
use super::talk::Failure;
use crate::check::{CheckError, Clause, Report, Row, exit};
use crate::cli::quantity::show_size;

/// What is told.
pub(super) struct Outcome {
    pub(super) mode: Mode,
    /// The exit code.
    pub(super) code: u8,
    pub(super) report: Report,
    pub(super) phases: Vec<progress::Told>,
    /// What was copied away first, if anything was.
    pub(super) salvaged: Option<Salvaged>,
    /// How many bytes the cache may take, where it began anew.
    pub(super) anew: Option<u64>,
    /// Why nothing can be written, where that is so.
    pub(super) frozen: Option<String>,
}

/// What a salvage copied.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub(super) struct Salvaged {
    /// The numbered directory.
    pub(super) into: String,
    /// Sectors and files.
    pub(super) pieces: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// The result as JSON: the report's fields, and what led to it.
#[derive(serde::Serialize)]
struct Told<'a> {
    cache: &'a str,
    mode: Mode,
    exit: u8,
    #[serde(flatten)]
    report: &'a Report,
    clauses: Vec<Row>,
    bytes_dropped: u64,
    bytes_salvaged: u64,
    salvaged: &'a Option<Salvaged>,
    phases: &'a [progress::Told],
}

/// Prints the result. A reader that has gone is no failure.
pub(super) fn tell(
    options: &Options,
    outcome: &Outcome,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(out);
    let told = if options.json {
        json(options, outcome, &mut out)
    } else {
        text(options, outcome, &mut out)
    };
    match told.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(
            exit::OPERATIONAL,
            format!("cannot write the result: {error}"),
        )),
        _ => {
            // What a broken pipe left in the buffer must not be tried again when it is dropped.
            let _ = out.into_parts();
            Ok(())
        }
    }
}

fn json(options: &Options, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let report = &outcome.report;
    let told = Told {
        cache: &options.cache.to_string_lossy(),
        mode: outcome.mode,
        exit: outcome.code,
        report,
        clauses: report.rows().collect(),
        bytes_dropped: report.bytes_dropped(),
        bytes_salvaged: outcome.salvaged.as_ref().map_or(0, |s| s.bytes),
        salvaged: &outcome.salvaged,
        phases: &outcome.phases,
    };
    serde_json::to_writer(&mut *out, &told)?;
    writeln!(out)
}

fn text(options: &Options, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let (report, cache) = (&outcome.report, options.cache.display());
    if options.verbose {
        for finding in &report.findings {
            let state = if finding.fixed {
                "repaired"
            } else {
                "not repaired"
            };
            let (id, place, detail) = (finding.clause.id(), &finding.place, &finding.detail);
            let bytes = match finding.bytes {
                0 => String::new(),
                bytes => format!(" ({})", size(bytes)),
            };
            writeln!(out, "{id} {place}: {detail}{bytes} [{state}]")?;
        }
    }
    write!(out, "{cache}: {report}")?;
    if let Some(salvaged) = &outcome.salvaged {
        let (pieces, bytes) = (salvaged.pieces, size(salvaged.bytes));
        writeln!(
            out,
            "{pieces} sectors and files ({bytes}) were copied to {} before the repair",
            salvaged.into
        )?;
    }
    if let Some(capacity) = outcome.anew {
        let capacity = size(capacity);
        writeln!(
            out,
            "the cache is now empty and has a size limit of {capacity}: for another size, remove {cache} and mount with --cache-size"
        )?;
    }
    let open = report.findings.iter().filter(|finding| !finding.fixed);
    let (dirty, others): (Vec<_>, Vec<_>) =
        open.partition(|finding| finding.clause == Clause::Dirty);
    if !dirty.is_empty() && !options.discard_dirty {
        writeln!(
            out,
            "user data that was never uploaded was kept: only --discard-dirty drops it"
        )?;
    }
    match &outcome.frozen {
        _ if report.open() == 0 => Ok(()),
        Some(why) => writeln!(out, "nothing was changed: {why}"),
        None if outcome.mode == Mode::Look && others.is_empty() => {
            writeln!(
                out,
                "nothing was changed, and cachefsck -p would change nothing"
            )
        }
        None if outcome.mode == Mode::Look => {
            let what = if dirty.is_empty() { "it" } else { "the rest" };
            let deep = if report.deep { " --deep" } else { "" };
            writeln!(
                out,
                "nothing was changed: cachefsck -p{deep} {cache} repairs {what}"
            )
        }
        None if !options.verbose => writeln!(out, "-v shows the reason for each"),
        None => Ok(()),
    }
}

/// Says on standard error why there is no result, and in JSON where that was asked for.
pub(super) fn complain(json: Option<&Options>, Failure(code, why): &Failure, out: &mut dyn Write) {
    #[derive(serde::Serialize)]
    struct Failed<'a> {
        cache: &'a str,
        exit: u8,
        error: &'a str,
    }
    // There is no way to tell where this fails.
    let _ = writeln!(io::stderr(), "cachefsck: {why}");
    if let Some(options) = json {
        let failed = Failed {
            cache: &options.cache.to_string_lossy(),
            exit: *code,
            error: why,
        };
        let told = serde_json::to_string(&failed).unwrap_or_default();
        let _ = writeln!(out, "{told}").and_then(|()| out.flush());
    }
}

/// The exit code of a check that did not come to its end, and its sentence.
pub(super) fn failure(error: CheckError) -> Failure {
    let code = match error {
        CheckError::Io(_) => exit::OPERATIONAL,
        CheckError::Superblock(_) => exit::UNCORRECTED,
        CheckError::Cancelled => exit::CANCELLED,
    };
    Failure(code, error.to_string())
}

/// A size in powers of 1024.
pub(super) fn size(bytes: u64) -> String {
    show_size(bytes)
}
