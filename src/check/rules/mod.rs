//! What is wrong with the facts, and what would put it right. Pure.
//!
//! `heads` judges what there is once, `records` the slots and blob records, `files` what lies beside the index. A record
//! gets at most one finding that frees it: what is freed breaks no further rule.

mod files;
mod finding;
mod heads;
mod records;

use hashbrown::HashSet;

pub use finding::{Finding, Repair};

use super::facts::CacheFacts;
use crate::storage::HostIdentity;

/// Everything that is wrong.
pub(super) fn findings(facts: &CacheFacts, host: Option<HostIdentity>) -> Vec<Finding> {
    let mut found = Vec::new();
    // The length comes first: what lies behind the end is written by what follows.
    heads::length(facts, &mut found);
    heads::superblocks(facts, &mut found);
    heads::sessions(facts, &mut found);
    heads::segments(facts, &mut found);
    records::bad(facts, &mut found);
    let kept = records::blobs(facts, &mut found);
    let freed = records::slots(facts, &kept, &mut found);
    records::lost_blobs(facts, &freed, &mut found);
    files::slot_bytes(facts, heads::trusted_epoch(facts, host), &freed, &mut found);
    files::orphans(facts, &mut found);
    files::strays(facts, &mut found);
    files::dirty(facts, &mut found);
    found
}

/// Slots that no blob record names: they are found again if the same version of the same object is asked for.
pub(super) fn orphans(facts: &CacheFacts) -> u64 {
    let named: HashSet<_> = facts.blobs.iter().map(|blob| blob.tag).collect();
    facts
        .slots
        .iter()
        .filter(|slot| !named.contains(&slot.tag))
        .count() as u64
}
