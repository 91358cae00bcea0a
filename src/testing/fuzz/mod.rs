//! What the fuzz targets run, so that an ordinary test can replay their inputs.

mod check;
mod decode;
mod listing;

pub use check::check;
pub use decode::decode;
pub use listing::listing;
