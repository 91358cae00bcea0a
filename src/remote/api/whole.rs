//! Listings whole: for a remote that has no less, and for a caller that wants no less.

use super::{BoxFuture, Entries, Page, Pages, Remote, RemoteError};
use crate::units::ObjectName;

/// The pages of a remote that has the listing whole: one.
pub(in crate::remote) fn whole(entries: Entries) -> Box<dyn Pages> {
    Box::new(Whole(entries))
}

struct Whole(Entries);

impl Pages for Whole {
    fn next(&mut self) -> BoxFuture<'_, Result<Page, RemoteError>> {
        let entries = std::mem::take(&mut self.0);
        let page = Page {
            entries,
            is_last: true,
        };
        Box::pin(std::future::ready(Ok(page)))
    }
}

/// All pages of a directory, in the remote's order. Errors where one of them does.
pub async fn list_whole(remote: &dyn Remote, name: &ObjectName) -> Result<Entries, RemoteError> {
    let mut pages = remote.list(name).await?;
    let mut all = Entries::default();
    loop {
        let page = pages.next().await?;
        all.extend(page.entries);
        if page.is_last {
            return Ok(all);
        }
    }
}
