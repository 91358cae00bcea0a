//! What the fuzz targets run, so that an ordinary test can replay their inputs.

mod check;
mod decode;

pub use check::check;
pub use decode::decode;
