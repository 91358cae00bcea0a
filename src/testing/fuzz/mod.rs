//! What the fuzz targets run, so that an ordinary test can replay their inputs.

mod answer;
mod check;
mod damage;
mod decode;
mod directory;
mod listing;
mod open;

pub use answer::answer;
pub use check::check;
pub use decode::decode;
pub use directory::directory;
pub use listing::listing;
pub use open::open;
