//! What an origin's objects are made of: bytes that cost nothing until they are sent, in versions that never share any.
//!
//! Pure. Two versions differ in nearly every byte, so that a mixture of them shows in whatever is read.

use bytes::Bytes;

use crate::testing::Rng;
use crate::units::ByteRange;

/// The time that an origin believes it is, in seconds since 1970: fixed, so that a run replays.
pub const NOW: u64 = 1_750_000_000;
/// How old the first version of an object is, in seconds, and how much younger each further one is.
const FIRST_AGE: u64 = 1_000_000;
const VERSION_STEP: u64 = 10;

/// The bytes of one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// `len` bytes that follow from `seed`.
    Seeded {
        /// Other seeds, other bytes.
        seed: u64,
        /// How many.
        len: u64,
    },
    /// These.
    Given(Bytes),
}

impl Content {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        match self {
            Self::Seeded { len, .. } => *len,
            Self::Given(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of `range`, cut at the end.
    pub fn bytes(&self, range: ByteRange) -> Bytes {
        let range = range.clip(ByteRange::new(0, self.size()));
        match self {
            Self::Given(bytes) => bytes.slice(index(range.start)..index(range.end)),
            Self::Seeded { seed, .. } => {
                let mut out = Vec::with_capacity(index(range.len()) + 16);
                let mut word = range.start / 8;
                while word * 8 < range.end {
                    let bytes = Rng::new(seed.wrapping_add(word)).next_u64().to_le_bytes();
                    let from = index(range.start.saturating_sub(word * 8));
                    out.extend_from_slice(&bytes[from..]);
                    word += 1;
                }
                out.truncate(index(range.len()));
                out.into()
            }
        }
    }
}

/// What fits into memory has an index; what does not is cut.
fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// What kind of ETag an object has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Etag {
    /// A strong one of no special form.
    Strong,
    /// A weak one.
    Weak,
    /// One made from time and size, as nginx makes them.
    Nginx,
    /// None.
    Absent,
}

/// One version of an object, as it is put to the origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its bytes.
    pub content: Content,
    /// Last-Modified, in seconds since 1970; where `None`, the origin chooses one that no other version of the object has.
    pub modified: Option<u64>,
    /// Whether answers say Last-Modified.
    pub tells_modified: bool,
    /// Its ETag.
    pub etag: Etag,
    /// Whether the server knows ranges of it.
    pub ranges: bool,
}

impl Object {
    /// An object of these bytes, with a strong ETag, Last-Modified and ranges.
    pub fn new(content: Content) -> Self {
        Self {
            content,
            modified: None,
            tells_modified: true,
            etag: Etag::Strong,
            ranges: true,
        }
    }

    /// An object of `len` bytes that follow from `seed`.
    pub fn seeded(seed: u64, len: u64) -> Self {
        Self::new(Content::Seeded {
            seed: Rng::new(seed).next_u64(),
            len,
        })
    }

    /// The same with another kind of ETag.
    #[must_use]
    pub fn with_etag(self, etag: Etag) -> Self {
        Self { etag, ..self }
    }

    /// The same with this Last-Modified.
    #[must_use]
    pub fn modified_at(self, secs: u64) -> Self {
        Self {
            modified: Some(secs),
            ..self
        }
    }

    /// The same without Last-Modified.
    #[must_use]
    pub fn without_modified(self) -> Self {
        Self {
            tells_modified: false,
            ..self
        }
    }

    /// The same from a server that ignores ranges.
    #[must_use]
    pub fn without_ranges(self) -> Self {
        Self {
            ranges: false,
            ..self
        }
    }
}

/// A version that the origin holds or once held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its number among the versions of its object, from 0.
    pub number: usize,
    /// What it is.
    pub object: Object,
}

impl Version {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.object.content.size()
    }

    /// Its time, whether or not answers tell it.
    pub fn modified(&self) -> u64 {
        let step = VERSION_STEP * self.number as u64;
        self.object.modified.unwrap_or(NOW - FIRST_AGE + step)
    }

    /// Its ETag, as the header has it.
    pub fn etag(&self) -> Option<String> {
        let opaque = match &self.object.content {
            Content::Seeded { seed, .. } => *seed,
            Content::Given(bytes) => u64::from(crc32fast::hash(bytes)),
        };
        let strong = format!("\"{opaque:016x}.{}\"", self.number);
        match self.object.etag {
            Etag::Strong => Some(strong),
            Etag::Weak => Some(format!("W/{strong}")),
            Etag::Nginx => Some(format!("\"{:x}-{:x}\"", self.modified(), self.size())),
            Etag::Absent => None,
        }
    }
}

/// A gzip stream of these bytes, stored rather than compressed: what a server sends that compresses unasked.
pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    const BLOCK: usize = 60_000;
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = bytes.len().div_ceil(BLOCK).max(1);
    for block in 0..blocks {
        let part = &bytes[block * BLOCK..bytes.len().min((block + 1) * BLOCK)];
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.push(u8::from(block + 1 == blocks));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    let size = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(0);
    out.extend_from_slice(&size.to_le_bytes());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_same_bytes_however_it_is_asked_for() {
        let content = Object::seeded(3, 1000).content;
        let whole = content.bytes(ByteRange::new(0, 1000));
        assert_eq!(whole.len(), 1000);
        for (start, end) in [(0, 1), (7, 9), (8, 16), (13, 990), (999, 1000), (5, 5)] {
            let part = content.bytes(ByteRange::new(start, end));
            assert_eq!(part, whole[index(start)..index(end)], "{start}-{end}");
        }
        assert_eq!(content.bytes(ByteRange::new(998, 2000)).len(), 2);
        assert_eq!(content.bytes(ByteRange::new(1000, 2000)).len(), 0);
        let other = Object::seeded(4, 1000)
            .content
            .bytes(ByteRange::new(0, 1000));
        let equal = whole.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(equal < 30, "{equal} equal bytes in 1000 are no accident");
    }

    #[test]
    fn gzip_is_what_gzip_takes() {
        use std::io::Write as _;
        let bytes = Object::seeded(1, 100_000)
            .content
            .bytes(ByteRange::new(0, 100_000));
        let mut child = std::process::Command::new("gzip")
            .args(["-d", "-c"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let packed = gzip(&bytes);
        let writer = std::thread::spawn(move || input.write_all(&packed));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == bytes);
    }
}
