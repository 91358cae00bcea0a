//! The extended attributes `user.larder.*`: what the cache knows of a file or a directory, as text.

use std::sync::Arc;

use super::parts::Control;
use crate::engine::BlobInfo;
use crate::units::{FileKind, Timestamp, Validator};
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::guard::guarded;
use crate::vfs::names::ROOT;

const OF_FILES: [&str; 6] = [
    "user.larder.tag",
    "user.larder.chunk-size",
    "user.larder.cached-bytes",
    "user.larder.validator",
    "user.larder.validator-class",
    "user.larder.settled",
];
/// There where a listing is known: how many entries it has, how many seconds ago it was asked for, and how many more it is
/// believed without asking again.
const OF_LISTINGS: [&str; 3] = [
    "user.larder.entries",
    "user.larder.listing-age",
    "user.larder.listing-ttl",
];
const OF_THE_ROOT: [&str; 2] = [STATS, CACHE_DIR];
const STATS: &str = "user.larder.stats";
const CACHE_DIR: &str = "user.larder.cache-dir";

impl Control {
    /// The names of an inode's extended attributes, each ended by a zero byte.
    pub(in crate::vfs) fn attribute_names(&self, ino: u64) -> Answer<Vec<u8>> {
        let kind = self.kind(ino)?;
        let of_listing = self.of_listing(ino).map(|_| OF_LISTINGS);
        let names: &[&str] = match kind {
            FileKind::File => &OF_FILES,
            FileKind::Dir if ino == ROOT => &OF_THE_ROOT,
            _ => &[],
        };
        Ok(names
            .iter()
            .chain(of_listing.iter().flatten())
            .flat_map(|name| name.bytes().chain([0]))
            .collect())
    }

    /// The value of an extended attribute.
    pub(super) fn attribute(
        self: &Arc<Self>,
        ino: u64,
        name: &[u8],
        done: impl FnOnce(Answer<Vec<u8>>) + Send + 'static,
    ) {
        let kind = match self.kind(ino) {
            Ok(kind) => kind,
            Err(error) => return done(Err(error)),
        };
        let Ok(name) = std::str::from_utf8(name) else {
            return done(Err(Errno::NODATA));
        };
        if ino == ROOT && name == STATS {
            return done(Ok((self.stats)().into_bytes()));
        }
        if ino == ROOT && name == CACHE_DIR {
            return done(Ok(self.cache_dir.clone()));
        }
        if let Some(at) = OF_LISTINGS.iter().position(|known| *known == name) {
            let value = self
                .of_listing(ino)
                .and_then(|values| values.get(at).copied());
            let text = value.map(|value| value.to_string().into_bytes());
            return done(text.ok_or(Errno::NODATA));
        }
        let known = OF_FILES.iter().find(|known| **known == name);
        let (FileKind::File, Some(&name)) = (kind, known) else {
            return done(Err(Errno::NODATA));
        };
        let blob = match self.files.blob(ino) {
            Ok(blob) => blob,
            Err(error) => return done(Err(error)),
        };
        blob.describe(Box::new(move |info| {
            guarded("an answer about a blob", || {
                done(
                    value(name, &info)
                        .map(String::into_bytes)
                        .ok_or(Errno::NODATA),
                );
            });
        }));
    }

    /// The values of [`OF_LISTINGS`], in its order.
    fn of_listing(&self, ino: u64) -> Option<[u64; 3]> {
        let (now, inodes) = (self.shared.now(), self.shared.inodes.lock());
        let listing = inodes.get(ino)?.listing.as_ref()?;
        let age = now.saturating_sub(listing.at).as_secs();
        let remaining = inodes.remaining(listing.at, now).as_secs();
        Some([listing.contents().len() as u64, age, remaining])
    }

    fn kind(&self, ino: u64) -> Answer<FileKind> {
        let inodes = self.shared.inodes.lock();
        Ok(inodes.get(ino).ok_or(Errno::STALE)?.facts.kind)
    }
}

fn value(name: &str, info: &BlobInfo) -> Option<String> {
    match name {
        "user.larder.tag" => info.tag.map(|tag| tag.to_string()),
        "user.larder.chunk-size" => info.chunk_size.map(|size| size.bytes().to_string()),
        "user.larder.cached-bytes" => Some(info.cached_bytes.to_string()),
        "user.larder.validator" => info.validator.as_ref().map(validator_text),
        "user.larder.validator-class" => {
            let class = info.validator.as_ref()?.class();
            Some(class.name().to_owned())
        }
        "user.larder.settled" => Some(if info.settled { "yes" } else { "no" }.to_owned()),
        _ => None,
    }
}

/// A validator as a person reads it.
fn validator_text(validator: &Validator) -> String {
    let time = |t: &Timestamp| format!("{}.{:09}", t.secs, t.nanos);
    match validator {
        Validator::Stamp(stamp) => format!("stamp {stamp:#x}"),
        Validator::Local {
            ino,
            size,
            mtime,
            ctime,
        } => format!(
            "inode {ino} size {size} mtime {} ctime {}",
            time(mtime),
            time(ctime)
        ),
        Validator::Modified { mtime, size } => format!("size {size} modified {}", time(mtime)),
        Validator::WeakEtag { etag, size } => {
            format!("size {size} weak etag {}", etag.escape_ascii())
        }
        Validator::TimeEtag(etag) | Validator::Strong(etag) => {
            format!("etag {}", etag.escape_ascii())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{BlobKey, ChunkSize, Tag};

    #[test]
    fn values_are_text_and_missing_ones_are_missing() {
        let mut info = BlobInfo {
            key: BlobKey::default(),
            tag: None,
            chunk_size: None,
            cached_bytes: 0,
            validator: None,
            settled: false,
        };
        let all = |info: &BlobInfo| OF_FILES.map(|name| value(name, info));
        let shown = |text: &str| Some(text.to_owned());
        assert_eq!(
            all(&info),
            [None, None, shown("0"), None, None, shown("no")]
        );
        info.tag = Some(Tag([0xab; 16]));
        info.chunk_size = Some(ChunkSize::DEFAULT);
        info.cached_bytes = 42;
        info.settled = true;
        info.validator = Some(Validator::WeakEtag {
            etag: b"\"x\n".as_slice().into(),
            size: 9,
        });
        assert_eq!(
            all(&info),
            [
                shown(&"ab".repeat(16)),
                shown("4194304"),
                shown("42"),
                shown("size 9 weak etag \\\"x\\n"),
                shown("weak-etag"),
                shown("yes"),
            ]
        );
    }
}
