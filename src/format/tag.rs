//! Keys, tags and the hashes that place them.
//!
//! Object names are chosen by strangers, so every hash that places or identifies is keyed with the cache's uuid
//! (BLAKE3 in keyed mode; its paper, O'Connor et al., 2020).

use crate::units::{
    BlobKey, ChunkSize, ObjectName, Tag, Timestamp, Uuid, Validator, ValidatorClass,
};

const KEY_CONTEXT: &str = "larder 1 blob key";
const TAG_CONTEXT: &str = "larder 1 version tag";

/// The key of an object: 128 bits of keyed BLAKE3 over the remote's canonical identity, the namespace's salt and the
/// object's name, each preceded by its length as a u64.
pub fn blob_key(uuid: Uuid, remote: &str, salt: &str, name: &ObjectName) -> BlobKey {
    BlobKey(hash128(
        KEY_CONTEXT,
        uuid,
        &[remote.as_bytes(), salt.as_bytes(), name.as_bytes()],
    ))
}

/// The tag of a version: 128 bits of keyed BLAKE3 over the key, the encoded validator, the size and the log2 of the chunk
/// size, each preceded by its length as a u64. The size is in it because a validator that does not hold it (a strong ETag)
/// may come with two from an origin that lies: blocks that were cut for one must not be found under the other.
pub fn version_tag(
    uuid: Uuid,
    key: BlobKey,
    validator: &Validator,
    size: u64,
    chunk: ChunkSize,
) -> Tag {
    let validator = encode_validator(validator);
    Tag(hash128(
        TAG_CONTEXT,
        uuid,
        &[&key.0, &validator, &size.to_le_bytes(), &[chunk.log2()]],
    ))
}

fn hash128(context: &str, uuid: Uuid, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(context, &uuid.0));
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// The 64-bit hash that places a slot: its top bits choose the segment. The tag is uniform already; the chunk number is
/// mixed in with the finaliser of MurmurHash3 (Appleby), so that a blob's chunks spread over the segments.
pub fn slot_hash(tag: Tag, chunk_no: u64) -> u64 {
    let mut h = low_half(tag.0) ^ chunk_no.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    h = (h ^ h >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ h >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ h >> 33
}

/// The 64-bit hash that places a blob record: the first eight bytes of its key.
pub fn blob_segment_hash(key: BlobKey) -> u64 {
    low_half(key.0)
}

fn low_half(bytes: [u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The bytes of a validator: its class, then its fields in order; times are 8 bytes of seconds and 4 of nanoseconds,
/// numbers 8 bytes, an ETag the rest.
pub fn encode_validator(validator: &Validator) -> Vec<u8> {
    let mut out = vec![validator.class() as u8];
    let time = |t: &Timestamp, out: &mut Vec<u8>| {
        out.extend(t.secs.to_le_bytes());
        out.extend(t.nanos.to_le_bytes());
    };
    match validator {
        Validator::Stamp(stamp) => out.extend(stamp.to_le_bytes()),
        Validator::Local {
            ino,
            size,
            mtime,
            ctime,
        } => {
            out.extend(ino.to_le_bytes());
            out.extend(size.to_le_bytes());
            time(mtime, &mut out);
            time(ctime, &mut out);
        }
        Validator::Modified { mtime, size } => {
            time(mtime, &mut out);
            out.extend(size.to_le_bytes());
        }
        Validator::WeakEtag { etag, size } => {
            out.extend(size.to_le_bytes());
            out.extend(etag.iter());
        }
        Validator::TimeEtag(etag) | Validator::Strong(etag) => out.extend(etag.iter()),
    }
    out
}

/// Reads what [`encode_validator`] wrote; `None` where the bytes are nothing that it writes.
pub fn decode_validator(bytes: &[u8]) -> Option<Validator> {
    let (class, mut rest) = bytes.split_first()?;
    fn number(rest: &mut &[u8]) -> Option<u64> {
        let (head, tail) = rest.split_first_chunk::<8>()?;
        *rest = tail;
        Some(u64::from_le_bytes(*head))
    }
    fn time(rest: &mut &[u8]) -> Option<Timestamp> {
        let secs = i64::from_le_bytes(number(rest)?.to_le_bytes());
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(Timestamp {
            secs,
            nanos: u32::from_le_bytes(*head),
        })
    }
    let rest = &mut rest;
    let validator = match *class {
        c if c == ValidatorClass::Stamp as u8 => Validator::Stamp(number(rest)?),
        c if c == ValidatorClass::Local as u8 => Validator::Local {
            ino: number(rest)?,
            size: number(rest)?,
            mtime: time(rest)?,
            ctime: time(rest)?,
        },
        c if c == ValidatorClass::Modified as u8 => Validator::Modified {
            mtime: time(rest)?,
            size: number(rest)?,
        },
        c if c == ValidatorClass::WeakEtag as u8 => {
            let size = number(rest)?;
            Validator::WeakEtag {
                size,
                etag: std::mem::take(rest).into(),
            }
        }
        c if c == ValidatorClass::TimeEtag as u8 => {
            Validator::TimeEtag(std::mem::take(rest).into())
        }
        c if c == ValidatorClass::Strong as u8 => Validator::Strong(std::mem::take(rest).into()),
        _ => return None,
    };
    rest.is_empty().then_some(validator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_round_trip() {
        let time = Timestamp { secs: -1, nanos: 7 };
        for validator in [
            Validator::Stamp(5),
            Validator::Local {
                ino: 1,
                size: 2,
                mtime: time,
                ctime: time,
            },
            Validator::Modified {
                mtime: time,
                size: 9,
            },
            Validator::WeakEtag {
                etag: b"abc".as_slice().into(),
                size: 3,
            },
            Validator::TimeEtag(b"5f-1".as_slice().into()),
            Validator::Strong(b"".as_slice().into()),
        ] {
            let bytes = encode_validator(&validator);
            assert_eq!(decode_validator(&bytes), Some(validator));
        }
        assert_eq!(decode_validator(&[]), None);
        assert_eq!(decode_validator(&[1, 2]), None);
        assert_eq!(decode_validator(&[9]), None);
    }

    #[test]
    fn every_part_of_an_identity_counts() {
        let (uuid, name) = (Uuid([1; 16]), ObjectName::new(*b"a/b"));
        let key = blob_key(uuid, "dir:/x", "", &name);
        assert_ne!(key, blob_key(Uuid([2; 16]), "dir:/x", "", &name));
        assert_ne!(key, blob_key(uuid, "dir:/xa", "", &ObjectName::new(*b"/b")));
        assert_ne!(key, blob_key(uuid, "dir:/x", "s", &name));
        let tag = version_tag(uuid, key, &Validator::Stamp(1), 7, ChunkSize::MIN);
        assert_ne!(
            tag,
            version_tag(uuid, key, &Validator::Stamp(2), 7, ChunkSize::MIN)
        );
        assert_ne!(
            tag,
            version_tag(uuid, key, &Validator::Stamp(1), 8, ChunkSize::MIN)
        );
        assert_ne!(
            tag,
            version_tag(uuid, key, &Validator::Stamp(1), 7, ChunkSize::MAX)
        );
    }
}
