//! What the fuzz targets run, so that an ordinary test can replay their inputs.

#[cfg(feature = "http")]
mod answer;
mod check;
mod damage;
mod decode;
mod directory;
#[cfg(feature = "http")]
mod listing;
mod open;

#[cfg(feature = "http")]
pub use answer::answer;
pub use check::check;
pub use decode::decode;
pub use directory::directory;
#[cfg(feature = "http")]
pub use listing::listing;
pub use open::open;
