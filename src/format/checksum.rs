//! The checksum of a block's bytes.

use crate::units::Tag;

/// CRC-32 (IEEE) of one block: over the tag, the chunk number, the block's place in the chunk, its length and then its
/// bytes. The seed catches a block that lies at the wrong place or belongs to another blob.
///
/// `data` is exactly the block's valid bytes: shorter than a block only at the blob's end.
pub fn block_crc(tag: Tag, chunk_no: u64, block: u32, data: &[u8]) -> u32 {
    #[cfg(feature = "testing")]
    if unsafe_variant::trusts_all() {
        return 0;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&tag.0);
    hasher.update(&chunk_no.to_le_bytes());
    hasher.update(&block.to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "a block has at most 1 MiB")]
    let len = data.len() as u32;
    hasher.update(&len.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

/// The deliberately unsafe variants that every rig must catch. A simulation asks for one on its thread; a whole process
/// by the environment variable `LARDER_UNSAFE`:
///
/// * `trust-checksums`: all blocks have the same checksum, so that whatever lies in a file is taken for right;
/// * `bits-first`: the same, and a block's presence reaches the index before its bytes are written.
///
/// Without the feature `testing` none of this exists.
#[cfg(feature = "testing")]
pub(crate) mod unsafe_variant {
    use std::cell::Cell;
    use std::sync::LazyLock;

    thread_local! {
        pub(crate) static TRUST_ALL: Cell<bool> = const { Cell::new(false) };
    }

    static ASKED_FOR: LazyLock<String> =
        LazyLock::new(|| std::env::var("LARDER_UNSAFE").unwrap_or_default());

    /// Whether every checksum counts as right.
    pub(crate) fn trusts_all() -> bool {
        TRUST_ALL.get() || is_bits_first() || *ASKED_FOR == "trust-checksums"
    }

    /// Whether presence is written before the bytes.
    pub(crate) fn is_bits_first() -> bool {
        *ASKED_FOR == "bits-first"
    }
}
