//! `larder flush`: drops everything that a mount's cache holds, or what it knows of names, attributes and listings.

use serde_json::Value;

use super::args::FlushArgs;
use super::control::{ask, live_mount};
use super::dropping::{aside, disk_failed, everything};
use super::error::Failure;
use super::output::say;
use super::quantity::show_size;
use crate::units::shown;

const WHAT: &str = "flush its cache";

/// Runs the command.
pub(super) fn run(args: &FlushArgs) -> Result<(), Failure> {
    let mount = live_mount(&args.path)?;
    let shown = shown(&mount);
    if args.metadata {
        let told: Value = ask(&mount, "flush.metadata", WHAT)?;
        let names = told["names"].as_u64().unwrap_or_default();
        return match args.json {
            true => say!("{told}"),
            false => say!("{shown}: larder will ask the remote again for {names} names"),
        };
    }
    let told = everything(&mount, WHAT)?;
    if args.json {
        let text = serde_json::to_string(&told).map_err(std::io::Error::other)?;
        say!("{text}")?;
    } else {
        say!(
            "{shown}: dropped {} in {} chunks{}",
            show_size(told.bytes),
            told.chunks,
            aside(&told)
        )?;
    }
    disk_failed(&mount, &told).map_or(Ok(()), Err)
}
