//! Documents: what a program puts into the cache itself, and gets back while it is there.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{Config, DocumentKind, Documents};
use larder::host::OpenedCache;
use larder::units::ObjectName;

fn open(dir: &std::path::Path) -> OpenedCache {
    OpenedCache::open(dir, 64 << 20, Config::default()).expect("a cache")
}

fn get(documents: &Documents, name: &str, version: &[u8]) -> Option<Bytes> {
    let (answer, answered) = mpsc::channel();
    let name = ObjectName::new(name.as_bytes());
    documents.get(&name, version, move |found| {
        answer.send(found).expect("the test waits");
    });
    answered.recv().expect("an answer")
}

/// Asks until the document is there: a put is on its way to the disk when it returns.
fn wait_for(documents: &Documents, name: &str, version: &[u8]) -> Bytes {
    loop {
        match get(documents, name, version) {
            Some(found) => return found,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn a_document_comes_back_in_its_version_alone_over_a_restart_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = Bytes::from_static(b"a listing");
    let large: Bytes = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    {
        let opened = open(dir.path());
        let documents = Documents::new(opened.cache(), "id", "", DocumentKind::Listing);
        assert_eq!(get(&documents, "a", b"1"), None);
        documents.put(&ObjectName::new(*b"a"), b"1", small.clone());
        documents.put(&ObjectName::new(*b"b"), b"7", large.clone());
        assert_eq!(wait_for(&documents, "a", b"1"), small);
        assert_eq!(wait_for(&documents, "b", b"7"), large);
        assert_eq!(get(&documents, "a", b"2"), None, "another version");
        let others = Documents::new(opened.cache(), "id", "", DocumentKind::Attributes);
        assert_eq!(get(&others, "a", b"1"), None, "another kind");
        let salted = Documents::new(opened.cache(), "id", "other", DocumentKind::Listing);
        assert_eq!(get(&salted, "a", b"1"), None, "another credential");
    }
    let opened = open(dir.path());
    let documents = Documents::new(opened.cache(), "id", "", DocumentKind::Listing);
    assert_eq!(get(&documents, "b", b"7"), Some(large));
    let newer = Bytes::from_static(b"a newer listing");
    documents.put(&ObjectName::new(*b"a"), b"2", newer.clone());
    assert_eq!(wait_for(&documents, "a", b"2"), newer);
    assert_eq!(get(&documents, "a", b"1"), None, "it was replaced");
}
