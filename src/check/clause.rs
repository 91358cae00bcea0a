//! What can be wrong with a cache, each by the clause of `format-spec.md` that it breaks.

use serde::{Serialize, Serializer};

macro_rules! clauses {
    ($($name:ident, $id:literal, $text:literal;)*) => {
        /// A clause of `format-spec.md` that a finding breaks.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Clause {
            $(#[doc = $text] $name,)*
        }

        impl Clause {
            /// Every clause, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name of the clause in the specification.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What is wrong, in a few words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

clauses! {
    IndexLength, "F-INDEX-LENGTH", "the index is not as long as its superblock says";
    Super, "F-SUPER", "a copy of the superblock is damaged";
    Session, "F-SESSION", "a copy of the session is damaged or missing, or its epoch is too low";
    Segment, "F-SEGMENT", "a segment header is damaged or missing";
    SlotSector, "F-SLOT-SECTOR", "a slot record is damaged";
    SlotTwin, "F-SLOT-TWIN", "two slots claim the same chunk";
    SlotPlace, "F-SLOT-PLACE", "a slot lies in the wrong segment";
    SlotExtent, "F-SLOT-EXTENT", "a slot contradicts the size or chunk size of its blob";
    BlobSector, "F-BLOB-SECTOR", "a blob record is damaged";
    BlobTwin, "F-BLOB-TWIN", "two blob records have the same key";
    BlobPlace, "F-BLOB-PLACE", "a blob record lies in the wrong segment";
    BlobLost, "F-BLOB-LOST", "a blob record that slots refer to is missing";
    HeapSector, "F-HEAP-SECTOR", "a heap cell is damaged";
    FileShort, "F-FILE-SHORT", "a chunk file is shorter than its slot record says";
    FileOrphan, "F-FILE-ORPHAN", "a chunk file belongs to a slot that was never used";
    FileStray, "F-FILE-STRAY", "a file in the directory does not belong to the cache";
    Dirty, "F-DIRTY", "user data was never uploaded, and this version cannot check it";
    BlockCrc, "F-BLOCK-CRC", "a block has a checksum mismatch or cannot be read";
}

impl Serialize for Clause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
