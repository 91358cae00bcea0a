//! Floor 0: the words that every floor shares, as types that cannot be mixed up. No I/O, no clock.

mod blocks;
mod chunk;
mod identity;
pub mod path_as_bytes;
mod range;
mod shown;
mod version;

pub use blocks::BlockMask;
pub use chunk::{BLOCKS_PER_CHUNK, BadChunkSize, ChunkSize};
pub use identity::{BlobKey, FileKind, ObjectName, SlotId, Stamp, Tag, Uuid};
pub use range::{ByteRange, offset_in};
pub use shown::{Shown, shown, shown_bytes};
pub use version::{Facts, Timestamp, Validator, ValidatorClass};
