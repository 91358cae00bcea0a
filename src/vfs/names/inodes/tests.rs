//! The inode inodes by itself.

use std::sync::OnceLock;

use super::*;
use crate::remote::{Entry, Listed};
use crate::units::{Timestamp, Validator};
use crate::vfs::names::listing::tests::page;

const TTL: Duration = Duration::from_secs(60);

/// A file of `size` bytes that was changed `secs` seconds after 1970.
pub(in crate::vfs) fn file(size: u64, secs: i64) -> Facts {
    let time = Timestamp { secs, nanos: 0 };
    Facts {
        kind: FileKind::File,
        size,
        mtime: time,
        ctime: time,
        perm: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        validator: Some(Validator::Local {
            ino: 7,
            size,
            mtime: time,
            ctime: time,
        }),
    }
}

fn dir(secs: i64) -> Facts {
    Facts {
        kind: FileKind::Dir,
        validator: None,
        ..file(4096, secs)
    }
}

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn name(path: &str) -> ObjectName {
    ObjectName::new(path.as_bytes())
}

impl Served for () {
    fn new(_: &Facts) -> Self {}
    fn size(&self) -> u64 {
        0
    }
    fn validator(&self) -> Option<Validator> {
        None
    }
}

impl Served for OnceLock<Validator> {
    fn new(_: &Facts) -> Self {
        Self::new()
    }
    fn size(&self) -> u64 {
        0
    }
    fn validator(&self) -> Option<Validator> {
        self.get().cloned()
    }
}

fn inodes() -> Inodes<()> {
    Inodes::new(dir(1), (at(0), TTL), true, 1 << 20)
}

fn listing(entries: &[(&str, Facts)], when: Duration) -> Arc<Listing> {
    let entry = |(name, facts): &(&str, Facts)| Entry {
        name: name.as_bytes().into(),
        listed: Listed::Facts(facts.clone()),
    };
    let listing = Listing::new(when);
    let page = page(entries.iter().map(entry).collect(), true);
    listing.put(page).wake();
    Arc::new(listing)
}

#[test]
fn a_version_keeps_its_inode_and_a_new_one_gets_another() {
    let mut inodes = inodes();
    let (first, _) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(0));
    let (again, outcome) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(1));
    assert!(first == again && matches!(outcome, Outcome::Current));
    let (second, outcome) = inodes.admit(ROOT, &name("f"), &file(2, 2), at(2));
    assert!(second != first && matches!(outcome, Outcome::Superseded(_)));
    assert_eq!(inodes.serving(&name("f")), Some(second));
    // The old one keeps its own facts, whatever is asked about it.
    let old = inodes.get(first).unwrap();
    assert!(old.superseded && old.facts == file(1, 1));
    assert!(matches!(
        inodes.confirm(first, &file(1, 1), at(3)),
        Outcome::Old
    ));
}

#[test]
fn the_same_size_and_time_is_told_by_the_validator() {
    let mut inodes = inodes();
    let (first, _) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(0));
    let mut changed = file(1, 1);
    changed.validator = Some(Validator::Strong(b"other".as_slice().into()));
    // A validator of another class contradicts nothing, and does not displace the one that is known.
    assert_eq!(inodes.admit(ROOT, &name("f"), &changed, at(1)).0, first);
    assert_eq!(
        inodes.get(first).unwrap().facts.validator,
        file(1, 1).validator
    );
    if let Some(Validator::Local { ino, .. }) = &mut changed.validator {
        *ino += 1;
    }
    let mut chmod = file(1, 1);
    if let Some(Validator::Local { ctime, .. }) = &mut chmod.validator {
        ctime.secs += 1;
    }
    let (second, _) = inodes.admit(ROOT, &name("f"), &chmod, at(2));
    // The hash is the same, so the second number of it is taken.
    assert_eq!(first, number(&name("f"), &file(1, 1), 0));
    assert_eq!(second, number(&name("f"), &file(1, 1), 1));
    // Once the kernel has forgotten the first, its number is free again.
    let serial = inodes.get(first).unwrap().serial;
    assert!(inodes.is(first, serial));
    inodes.forget(first, 2).unwrap();
    assert!(inodes.get(first).is_none());
    assert_eq!(inodes.serving(&name("f")), Some(second));
    inodes.forget(second, 1).unwrap();
    assert_eq!(inodes.admit(ROOT, &name("f"), &chmod, at(3)).0, first);
    assert!(
        !inodes.is(first, serial),
        "the number is back, the inode is another"
    );
}

#[test]
fn an_inode_lives_as_long_as_the_kernel_counts() {
    let mut inodes = inodes();
    let (ino, _) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(0));
    inodes.count(ino);
    assert!(inodes.forget(ino, 1).is_none());
    assert!(inodes.forget(ino, 1).is_some());
    assert_eq!(inodes.serving(&name("f")), None);
    assert!(inodes.forget(ino, 1).is_none());
    assert!(inodes.forget(ROOT, u64::MAX).is_none());
    assert_eq!(inodes.len(), 1);
}

#[test]
fn evidence_counts_while_it_is_fresh() {
    let mut inodes = inodes();
    let find = |inodes: &Inodes<()>, secs| inodes.find(ROOT, &name("f"), b"f", at(secs));
    assert_eq!(find(&inodes, 0), Lookup::Unknown);
    let (ino, _) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(10));
    assert_eq!(find(&inodes, 69), Lookup::Inode(ino));
    assert_eq!(find(&inodes, 70), Lookup::Unknown);
    assert_eq!(inodes.remaining(at(10), at(40)), at(30));
    assert!(matches!(
        inodes.confirm(ino, &file(1, 1), at(70)),
        Outcome::Current
    ));
    assert_eq!(find(&inodes, 129), Lookup::Inode(ino));
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing() {
    let mut inodes = inodes();
    let (ino, _) = inodes.admit(ROOT, &name("f"), &file(2, 2), at(10));
    let (same, outcome) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(9));
    assert!(same == ino && matches!(outcome, Outcome::Current));
    assert_eq!(inodes.get(ino).unwrap().facts, file(2, 2));
    assert!(matches!(inodes.vanish(&name("f"), at(9)), Outcome::Old));
    assert!(matches!(
        inodes.vanish(&name("f"), at(10)),
        Outcome::Superseded(_)
    ));
    assert_eq!(inodes.serving(&name("f")), None);
}

#[test]
fn a_listing_answers_for_every_name() {
    let mut inodes = inodes();
    let (ino, _) = inodes.admit(ROOT, &name("f"), &file(1, 1), at(0));
    let seen = listing(&[("f", file(2, 2)), ("g", file(3, 3))], at(10));
    inodes.keep_listing(ROOT, Arc::clone(&seen), at(10));
    let find = |inodes: &Inodes<()>, path: &str, secs| {
        inodes.find(ROOT, &name(path), path.as_bytes(), at(secs))
    };
    assert_eq!(find(&inodes, "h", 20), Lookup::Absent(at(10)));
    assert_eq!(find(&inodes, "g", 20), Lookup::Listed(file(3, 3), at(10)));
    // The listing is younger than what was known of the inode.
    assert_eq!(find(&inodes, "f", 20), Lookup::Listed(file(2, 2), at(10)));
    let (new, outcome) = inodes.admit(ROOT, &name("f"), &file(2, 2), at(10));
    assert!(new != ino && matches!(outcome, Outcome::Superseded(_)));
    assert_eq!(find(&inodes, "f", 20), Lookup::Inode(new));
    assert!(
        inodes.fresh_listing(ROOT, at(20)).is_some(),
        "a listing is not refuted by itself"
    );
    // Younger evidence than the listing refutes it.
    assert!(matches!(
        inodes.confirm(new, &file(9, 9), at(30)),
        Outcome::Superseded(_)
    ));
    assert_eq!(find(&inodes, "f", 31), Lookup::Unknown);
    assert_eq!(find(&inodes, "h", 31), Lookup::Unknown);
}

#[test]
fn listings_expire_and_make_room() {
    let mut inodes = inodes();
    let (a, _) = inodes.admit(ROOT, &name("a"), &dir(1), at(0));
    let (b, _) = inodes.admit(ROOT, &name("b"), &dir(1), at(0));
    inodes.keep_listing(a, listing(&[("x", file(1, 1))], at(0)), at(0));
    assert!(inodes.fresh_listing(a, at(59)).is_some());
    assert!(inodes.fresh_listing(a, at(60)).is_none());
    inodes.keep_listing(b, listing(&[], at(61)), at(61));
    assert!(inodes.get(a).unwrap().listing.is_none());
    assert_eq!((inodes.listed.len(), inodes.listed_entries), (1, 0));
    // A directory whose times moved has another listing.
    inodes.keep_listing(a, listing(&[("x", file(1, 1))], at(62)), at(62));
    assert!(matches!(
        inodes.confirm(a, &dir(1), at(63)),
        Outcome::Current
    ));
    assert!(inodes.fresh_listing(a, at(64)).is_some());
    assert!(matches!(
        inodes.confirm(a, &dir(2), at(63)),
        Outcome::Current
    ));
    assert!(inodes.fresh_listing(a, at(64)).is_none());
    inodes.forget(b, 1).unwrap();
    assert_eq!((inodes.listed.len(), inodes.listed_entries), (0, 0));
}

#[test]
fn a_directory_is_the_same_whatever_its_times() {
    let mut inodes = inodes();
    let (first, _) = inodes.admit(ROOT, &name("d"), &dir(1), at(0));
    let (same, _) = inodes.admit(ROOT, &name("d"), &dir(2), at(1));
    assert_eq!(first, same);
    assert_eq!(inodes.get(first).unwrap().facts, dir(2));
    // Gone and back while the kernel holds it: the same directory.
    inodes.vanish(&name("d"), at(2));
    let (back, _) = inodes.admit(ROOT, &name("d"), &dir(3), at(3));
    assert_eq!(first, back);
    assert!(!inodes.get(first).unwrap().superseded);
    // A file in its place is not.
    let (file_ino, outcome) = inodes.admit(ROOT, &name("d"), &file(1, 1), at(4));
    assert!(file_ino != first && matches!(outcome, Outcome::Superseded(_)));
    assert_eq!(
        inodes.shown_number(&name("d"), &Listed::Facts(file(1, 1))),
        file_ino
    );
    assert_eq!(
        inodes.shown_number(&name("e"), &Listed::Facts(file(1, 1))),
        number(&name("e"), &file(1, 1), 0)
    );
}

#[test]
fn a_known_inode_is_found_through_its_parent() {
    let mut inodes = inodes();
    let (d, _) = inodes.admit(ROOT, &name("d"), &dir(1), at(0));
    let (f, _) = inodes.admit(d, &name("d/f"), &file(1, 1), at(0));
    assert_eq!(inodes.find_inode(f, at(1)), Some(Lookup::Inode(f)));
    assert_eq!(inodes.find_inode(f, at(60)), Some(Lookup::Unknown));
    inodes.keep_listing(d, listing(&[("f", file(1, 1))], at(59)), at(59));
    assert_eq!(
        inodes.find_inode(f, at(60)),
        Some(Lookup::Listed(file(1, 1), at(59)))
    );
    assert_eq!(inodes.find_inode(ROOT, at(1)), Some(Lookup::Inode(ROOT)));
    assert_eq!(inodes.find_inode(ROOT, at(61)), Some(Lookup::Unknown));
    assert_eq!(inodes.find_inode(12345, at(1)), None);
}

#[test]
fn what_was_served_refutes_what_a_listing_cannot_tell() {
    let etag = |text: &str| Validator::Strong(text.as_bytes().into());
    let facts = |validator| Facts {
        validator,
        ..file(10, 5)
    };
    let mut inodes: Inodes<OnceLock<Validator>> = Inodes::new(dir(1), (at(0), TTL), true, 1 << 20);
    let (ino, _) = inodes.admit(ROOT, &name("f"), &facts(None), at(1));
    inodes.get(ino).unwrap().state.set(etag("a")).unwrap();
    for (told, when) in [(None, 2), (Some(etag("a")), 3), (None, 4)] {
        let outcome = inodes.confirm(ino, &facts(told), at(when));
        assert!(matches!(outcome, Outcome::Current));
    }
    let outcome = inodes.confirm(ino, &facts(Some(etag("b"))), at(5));
    assert!(matches!(outcome, Outcome::Superseded(_)));
}

#[test]
fn memory_bounds_the_listings_that_are_kept() {
    let mut inodes: Inodes<()> = Inodes::new(dir(1), (at(0), TTL), true, 2);
    let names = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|name| (*name, file(1, 1))).collect();
        listing(&files, at(0))
    };
    inodes.keep_listing(ROOT, names(&["a", "b", "c"]), at(0));
    assert!(
        inodes.fresh_listing(ROOT, at(0)).is_none(),
        "it alone is too much"
    );
    inodes.keep_listing(ROOT, names(&["a", "b"]), at(0));
    assert!(inodes.fresh_listing(ROOT, at(0)).is_some());
    let (sub, _) = inodes.admit(ROOT, &name("sub"), &dir(2), at(0));
    inodes.keep_listing(sub, names(&["x"]), at(0));
    assert!(inodes.fresh_listing(sub, at(0)).is_some());
    assert!(
        inodes.fresh_listing(ROOT, at(0)).is_none(),
        "the older one makes room"
    );
}
