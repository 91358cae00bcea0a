//! A check from its first read to its report.

use super::disk::Disk;
use super::error::CheckError;
use super::options::{CheckOptions, Mode};
use super::progress::Observer;
use super::repair::{Means, repair};
use super::report::Report;
use super::{deep, recheck, rules, scan};

/// Looks for whatever is wrong with a cache. Nothing is written.
pub fn check(
    disk: Disk<'_>,
    options: CheckOptions,
    observe: Observer<'_>,
) -> Result<Report, CheckError> {
    let mut facts = scan::scan(disk, observe)?;
    if options.deep {
        deep::blocks(disk, options.jobs, &mut facts, observe)?;
    }
    let findings = rules::findings(&facts, disk.host);
    let findings = recheck::recheck(disk, findings)?;
    Ok(Report::new(options.deep, &facts, findings))
}

/// [`check()`], and [`repair()`] of everything that was found if `mode` says so, apart from bytes of users.
pub fn run(
    disk: Disk<'_>,
    mode: Mode,
    options: CheckOptions,
    observe: Observer<'_>,
) -> Result<Report, CheckError> {
    let mut report = check(disk, options, observe)?;
    if mode == Mode::Repair {
        repair(disk, &mut report, Means::default(), |_| true)?;
    }
    Ok(report)
}
