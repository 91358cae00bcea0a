//! Blob records against versions: the layout that a record gives, and the record that a layout asks for. Pure.

use std::time::Duration;

use crate::engine::placement::layout::Layout;
use crate::engine::version::revalidation::confirms;
use crate::format::{BlobKind, BlobRecord, decode_validator, encode_validator};
use crate::units::{BlobKey, Facts, FileKind, ObjectName, Stamp, Validator};

/// When the version of a record was taken on that the remote has refuted since.
pub(super) const REFUTED: Duration = Duration::ZERO;

/// The layout that the record `number` gives to the version which `facts` describe; `None` where it binds the key to
/// another version, or is believed no more at `now` (since 1970). `unvalidated_ttl` is how long a version is believed
/// that the remote cannot confirm.
pub(super) fn layout_of(
    number: u32,
    record: &BlobRecord,
    facts: &Facts,
    now: Duration,
    unvalidated_ttl: Duration,
) -> Option<Layout> {
    let validator = decode_validator(&record.validator)?;
    let since = Duration::from_secs(record.validated_at);
    let expires = expiry(&validator, since, unvalidated_ttl);
    let believed = since != REFUTED && expires.is_none_or(|end| now < end);
    let same = match &facts.validator {
        Some(listed) => *listed == validator,
        None => believed && confirms(&validator, record.mtime, facts.mtime),
    };
    let holds = same && record.size == facts.size && record.kind == BlobKind::File;
    holds.then_some(Layout {
        chunk: record.chunk,
        size: record.size,
        version: Some((validator, record.tag)),
        record: Some(number),
        replaces: None,
        expires,
    })
}

/// When a version that was taken on at `since` is believed no more: only those expire that the remote cannot confirm.
pub(super) fn expiry(
    validator: &Validator,
    since: Duration,
    unvalidated_ttl: Duration,
) -> Option<Duration> {
    let stamped = matches!(validator, Validator::Stamp(_));
    stamped.then(|| since.saturating_add(unvalidated_ttl))
}

/// The record that binds `key` to the version of `layout`, which is known; it was taken on at `now` (since 1970).
pub(super) fn record_of(
    key: BlobKey,
    name: &ObjectName,
    layout: &Layout,
    facts: &Facts,
    stamp: Stamp,
    now: Duration,
) -> BlobRecord {
    let (validator, tag) = layout
        .version
        .clone()
        .expect("a version is recorded once it is known");
    let ino = match &validator {
        Validator::Local { ino, .. } => *ino,
        _ => 0,
    };
    const S_IFREG: u32 = 0o100_000;
    debug_assert_eq!(
        facts.kind,
        FileKind::File,
        "only files have blob records yet"
    );
    BlobRecord {
        kind: BlobKind::File,
        chunk: layout.chunk,
        validator_class: validator.class() as u8,
        flags: 0,
        stamp,
        key,
        tag,
        size: layout.size,
        ino,
        mtime: facts.mtime,
        ctime: facts.ctime,
        mode: S_IFREG | u32::from(facts.perm),
        uid: facts.uid,
        gid: facts.gid,
        nlink: 1,
        rdev: u64::from(facts.rdev),
        validated_at: now.as_secs(),
        heap_head: None,
        pack: None,
        name: name.as_bytes().into(),
        validator: encode_validator(&validator).into(),
        link: Box::default(),
    }
}
