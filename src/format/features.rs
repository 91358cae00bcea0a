//! The three feature words: what a reader that does not know a bit must do.

/// The feature words of a superblock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Features {
    /// Unknown bits here are ignored.
    pub compat: u64,
    /// Unknown bits here allow reading, not writing.
    pub ro_compat: u64,
    /// Unknown bits here forbid opening at all.
    pub incompat: u64,
}

/// What this version of larder may do with a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeatureVerdict {
    /// Read and write.
    Full,
    /// Read only: these bits of the read-only-compatible word are unknown.
    ReadOnly(u64),
    /// Do not open: these bits of the incompatible word are unknown.
    Refused(u64),
}

impl Features {
    /// Bits of `ro_compat` that this version knows: none yet.
    pub const KNOWN_RO_COMPAT: u64 = 0;
    /// Bits of `incompat` that this version knows. Reserved for later, and refused today: bit 0 encryption at rest,
    /// bit 1 several cache disks, bit 2 packed blobs, bit 3 sealed blobs, bit 4 more than 64 blocks a chunk.
    pub const KNOWN_INCOMPAT: u64 = 0;

    /// What this version may do.
    pub fn verdict(self) -> FeatureVerdict {
        let (fatal, frozen) = (
            self.incompat & !Self::KNOWN_INCOMPAT,
            self.ro_compat & !Self::KNOWN_RO_COMPAT,
        );
        match (fatal, frozen) {
            (0, 0) => FeatureVerdict::Full,
            (0, bits) => FeatureVerdict::ReadOnly(bits),
            (bits, _) => FeatureVerdict::Refused(bits),
        }
    }
}
