//! The example of the library, run: what the documents point at works. A binary of its own, because it is built without
//! any feature as well.

use std::sync::Arc;

use larder::engine::{ChunkPolicy, Config};
use larder::host::OpenedCache;
use larder::remote::Remote;
use larder::units::{ByteRange, ObjectName};

#[expect(dead_code, reason = "its `main` is for the command line")]
#[path = "../examples/embed.rs"]
mod example;

#[test]
fn the_example_reads_through_a_cache_that_it_leaves_clean() {
    let dir = tempfile::tempdir().unwrap();
    let remote: Arc<dyn Remote> = Arc::new(example::Alphabet);
    let name = ObjectName::new(*b"some/blob");
    let mut fetched = Vec::new();
    for _ in 0..2 {
        let opened = OpenedCache::open(dir.path(), 64 << 20, Config::default()).unwrap();
        let source = opened.attach(Arc::clone(&remote), "", ChunkPolicy::Auto);
        let facts = opened.stat(&remote, &name).unwrap();
        let reader = source.blob(&name, &facts).reader();
        for (start, letters) in [(26_000_000, "abcdefghij"), (500_000_001, "hijklmnopq")] {
            let bytes = reader.read_blocking(ByteRange::at(start, 10)).unwrap();
            assert_eq!(bytes, letters.as_bytes(), "from {start}");
        }
        let end = reader.read_blocking(ByteRange::at((1 << 30) - 3, 10));
        assert_eq!(end.unwrap().len(), 3);
        fetched.push(opened.cache().stats().remote_bytes);
    }
    assert!(fetched[0] > 0, "{fetched:?}");
    assert_eq!(fetched[1], 0, "the second opening finds everything cached");
    // The letters themselves it prints; what it fetched shows that it went through the cache.
    assert!(example::read_some(dir.path()).unwrap() > 0);
    assert_eq!(example::read_some(dir.path()).unwrap(), 0);
}
