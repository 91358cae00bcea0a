//! Having the pages of a listing fetched.

use std::sync::{Arc, Weak};

use crate::remote::{Entry, Page, Pages, RemoteError};
use crate::units::ObjectName;
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::errno;
use crate::vfs::names::Listing;
use crate::vfs::shared::Shared;

/// A page, and what the next one is asked of.
pub(super) type Part = (Page, Box<dyn Pages>);

/// Whether a page says what the remote promised that listings say.
pub(super) fn check_page(page: &Page, lists_facts: bool) -> Answer<()> {
    let vague = |entry: &Entry| entry.listed.facts().is_none();
    if lists_facts && page.entries.iter().any(vague) {
        tracing::error!("a listing lacks sizes and times although this remote promised them");
        return Err(Errno::IO);
    }
    Ok(())
}

/// What has the later pages of a listing fetched. It holds the listing weakly: when the last handle on it is closed, no
/// further page is asked for. However it ends, the listing ends with it, so that no reader waits for ever.
pub(super) struct Pull {
    shared: Arc<Shared>,
    lists_facts: bool,
    ino: u64,
    name: ObjectName,
    listing: Weak<Listing>,
}

impl Pull {
    pub(super) fn new(
        shared: &Arc<Shared>,
        lists_facts: bool,
        ino: u64,
        listing: &Arc<Listing>,
    ) -> Self {
        let inodes = shared.inodes.lock();
        let name = inodes.get(ino).map(|inode| inode.name.clone());
        drop(inodes);
        Self {
            shared: Arc::clone(shared),
            lists_facts,
            ino,
            name: name.unwrap_or_default(),
            listing: Arc::downgrade(listing),
        }
    }

    /// Asks for the next page, if a handle is still on the listing.
    pub(super) fn ask(self, mut pages: Box<dyn Pages>) {
        if self.listing.strong_count() == 0 {
            return;
        }
        let (questions, about) = (Arc::clone(&self.shared.questions), self.name.clone());
        let question = |_| async move { Ok((pages.next().await?, pages)) };
        questions.ask(about, false, question, move |answer, _| self.take(answer));
    }

    fn take(self, answer: Result<Part, RemoteError>) {
        let Some(listing) = self.listing.upgrade() else {
            return;
        };
        let answer = answer.map_err(|error| errno::of_later_page(&error));
        match answer.and_then(|part| check_page(&part.0, self.lists_facts).map(|()| part)) {
            Err(error) => self.break_off(&listing, error),
            Ok((page, pages)) => {
                let woken = listing.put(page);
                if !listing.has_ended() {
                    woken.wake();
                    drop(listing);
                    return self.ask(pages);
                }
                // Kept before a reader sees the end: what it asks for next is to be found.
                let now = self.shared.now();
                self.shared
                    .inodes
                    .lock()
                    .keep_expected(self.ino, &listing, now);
                woken.wake();
            }
        }
    }

    fn break_off(&self, listing: &Arc<Listing>, error: Errno) {
        self.shared.inodes.lock().give_up_listing(self.ino, listing);
        listing.break_off(error).wake();
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        if let Some(listing) = self.listing.upgrade()
            && !listing.has_ended()
        {
            self.break_off(&listing, Errno::IO);
        }
    }
}
