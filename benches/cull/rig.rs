//! What both benches read: many small blobs of one version each, by names that are numbers.

use bytes::Bytes;
use larder::engine::FetchJob;
use larder::remote::Sink;
use larder::units::{Facts, ObjectName, Validator};

pub(crate) fn name(number: u64) -> ObjectName {
    ObjectName::new(format!("{number:x}").into_bytes())
}

pub(crate) fn facts(size: u64) -> Facts {
    Facts::file(size, Validator::Strong(b"\"1\"".as_slice().into()))
}

/// Answers a fetch with the same bytes over and over.
pub(crate) fn answer(mut job: FetchJob, size: u64, content: &Bytes) {
    let mut left = usize::try_from(job.range().len()).expect("a range in memory");
    let delivered = job.version(&facts(size), true).map(|()| {
        while left > 0 {
            let len = left.min(content.len());
            job.data(content.slice(..len));
            left -= len;
        }
    });
    job.finish(delivered);
}
