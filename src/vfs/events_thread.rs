//! The thread that takes events to the inode table and to the kernel.
//!
//! The engine calls a blob's watcher wherever it happens to be; the watcher only posts. This thread takes the table's
//! lock, and calls the kernel with no lock held: to invalidate may wait for requests of that inode, which are ours to
//! answer.

use std::sync::{Arc, Weak};

use crossbeam_channel::Receiver;

use super::events::{Event, Which};
use super::guard::guarded;
use super::kernel_cache::KernelCache;
use super::shared::Shared;

/// Starts the thread; it ends with the file system.
pub(super) fn start(
    shared: &Arc<Shared>,
    kernel: &Arc<KernelCache>,
    inbox: Receiver<Event>,
) -> std::io::Result<()> {
    let parts: (Weak<Shared>, Weak<KernelCache>) = (Arc::downgrade(shared), Arc::downgrade(kernel));
    let run = move || {
        for event in inbox {
            let (Some(shared), Some(kernel)) = (parts.0.upgrade(), parts.1.upgrade()) else {
                return;
            };
            if matches!(event, Event::Stop) {
                return;
            }
            guarded("an event of a blob", || take(&shared, &kernel, event));
        }
    };
    let thread = std::thread::Builder::new().name("larder-events".into());
    thread.spawn(run).map(drop)
}

fn take(shared: &Shared, kernel: &KernelCache, event: Event) {
    match event {
        Event::Rebound(Which { ino, serial }, facts) => {
            let now = shared.now();
            let mut inodes = shared.inodes.lock();
            if inodes.is(ino, serial) {
                inodes.rebind(ino, &facts, now);
            }
        }
        Event::Superseded(which) => shared.carry_out_superseded(which),
        Event::DropNames(names, done) => {
            kernel.drop_names(&names);
            done(names.len());
        }
        Event::Stop => {}
    }
}
