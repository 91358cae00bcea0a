//! Floor 3, beside the engine: the check of a cache's records, and their repair. It never imports the engine, so that a
//! mistake there is not repeated here.
//!
//! `scan` and `deep` gather facts, `rules` (pure) turns them into findings, `repair` carries out what a finding says,
//! `recheck` drops what was only in motion, `report` counts and prints it. Invariants:
//!
//! * A repair frees records and clears presence; it never invents any. All that it can lose is a clean copy of remote
//!   data.
//! * Without repair nothing is written, and a daemon may be at work meanwhile: a finding counts only if all that it is
//!   about was so at one moment.
//! * A second check after a repair finds nothing.
//!
//! The index is read through [`Storage`](crate::storage::Storage) in large pieces rather than through a mapping: it is
//! as fast, a disk error stays an error value, and the crash store of the tests can be checked by the same code.

mod clause;
mod deep;
mod disk;
mod error;
mod facts;
mod options;
mod progress;
mod recheck;
mod recreate;
mod repair;
mod report;
mod rules;
mod run;
mod salvage;
mod scan;

pub use clause::Clause;
pub use disk::Disk;
pub use error::CheckError;
pub use options::{CheckOptions, Mode};
pub use progress::{Observer, Phase, Step};
pub use recreate::{RecreateError, recreate};
pub use repair::{Means, repair};
pub use report::{Counts, Report, Row, exit};
pub use rules::{Finding, Repair};
pub use run::{check, run};
pub use salvage::{Salvage, salvage};
