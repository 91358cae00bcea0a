//! `cachefsck` itself: its sentences, its exit codes, what it mends and what it leaves alone.

mod codes;
mod kill;
mod live;
mod places;
mod rig;
mod salvage;
