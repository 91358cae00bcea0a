//! Real web servers, mounted: nginx, dufs, `python3 -m http.server`, each started by its test.

pub(crate) mod files;
mod listings;
pub(crate) mod servers;
mod tls;
mod tree;
mod validators;
mod versions;
