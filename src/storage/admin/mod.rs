//! What is done to a whole cache: creating it, resizing it, making it again where it was lost, taking it back.

mod create;
mod recreate;
mod relocate;
mod resize;
mod rollback;

pub use create::{CreateOptions, Progress, open_or_create};
pub use recreate::{Recreated, recreate};
pub use resize::{ResizeOptions, Resized, resize};
pub use rollback::Rollback;
