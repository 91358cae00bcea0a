//! The cache over a remote of one's own: `cargo run --example embed`. The remote here makes its bytes up; a real one asks
//! a server. Run it twice, and the second run asks the remote for nothing.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use larder::engine::{ChunkPolicy, Config};
use larder::host::OpenedCache;
use larder::remote::{BoxFuture, Remote, RemoteError, Sink};
use larder::units::{ByteRange, Facts, ObjectName, Validator};

/// A remote that has one endless supply of blobs: each a gigabyte of the letters of the alphabet.
pub(crate) struct Alphabet;

impl Remote for Alphabet {
    fn identity(&self) -> &str {
        "alphabet:"
    }

    fn stat<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async { Ok(facts()) })
    }

    fn fetch<'a>(
        &'a self,
        _name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            let facts = facts();
            if bound.is_some_and(|bound| Some(bound) != facts.validator.as_ref()) {
                return Err(RemoteError::Changed(Box::new(facts)));
            }
            sink.version(&facts, true)?;
            let letters =
                (range.start..range.end).map(|at| b'a' + u8::try_from(at % 26).unwrap_or(0));
            sink.data(letters.collect());
            Ok(())
        })
    }
}

/// What the remote says of each of its blobs. A strong validator promises: as long as it is the same, so are the bytes.
fn facts() -> Facts {
    Facts::file(1 << 30, Validator::Strong(b"etag-1".as_slice().into()))
}

/// Reads some ranges of a blob through the cache in `dir`; returns what came from the remote for that.
pub(crate) fn read_some(dir: &Path) -> Result<u64, Box<dyn Error>> {
    let opened = OpenedCache::open(dir, 64 << 20, Config::default())?;
    let remote: Arc<dyn Remote> = Arc::new(Alphabet);
    let source = opened.attach(Arc::clone(&remote), "", ChunkPolicy::Auto);
    let name = ObjectName::new(*b"some/blob");
    let reader = source.blob(&name, &opened.stat(&remote, &name)?).reader();
    for start in [0, 26_000_000, 500_000_001] {
        let bytes = reader.read_blocking(ByteRange::at(start, 10))?;
        println!("from {start}: {}", String::from_utf8_lossy(&bytes));
    }
    Ok(opened.cache().stats().remote_bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join("larder-example");
    let fetched = read_some(&dir)?;
    println!(
        "{fetched} bytes came from the remote; the cache is in {}",
        dir.display()
    );
    Ok(())
}
