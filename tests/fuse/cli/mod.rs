//! The program itself: its sentences, its exit codes, and the way of a mount from the command line and back.

mod config;
mod demo;
mod fsck;
mod life;
mod memory;
mod refuse;
pub(crate) mod rig;
mod scrub;
mod user;
mod watch;
mod web;
