//! Open files, and what their inodes serve.

mod requests;
mod state;

pub(super) use requests::Files;
pub use requests::{OpenFile, Opened};
pub(super) use state::FileState;
