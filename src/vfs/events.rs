//! What becomes of blobs behind the table's back, carried over by a thread of its own.
//!
//! The engine calls a blob's watcher wherever it happens to be; the watcher only posts. This thread takes the table's
//! lock, and calls the kernel with no lock held: to invalidate may wait for requests of that inode, which are ours to
//! answer.

use std::sync::Weak;

use crossbeam_channel::Receiver;

use super::forget::Name;
use super::{Vfs, carry_out, guarded};
use crate::engine::BlobEvent;
use crate::units::Facts;

/// Tells the kernel that what it knows is outdated. Whatever is open stays open.
pub trait Invalidator: Send + Sync {
    /// The attributes of an inode are to be asked for anew; its pages stay.
    fn forget_attributes(&self, ino: u64);

    /// A name in the directory `parent` is to be looked up anew, whether it led to an inode or not.
    fn forget_name(&self, parent: u64, name: &[u8], is_dir: bool);

    /// The pages of an inode are to be read anew, mapped ones too. Waits for the reads that are filling some of them.
    fn forget_pages(&self, ino: u64);
}

/// An inode as the table knows it: by the time that an event is taken its number may serve another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Which {
    pub(super) ino: u64,
    pub(super) serial: u64,
}

pub(super) enum Event {
    Rebound(Which, Box<Facts>),
    Superseded(Which),
    /// The kernel is to forget these names; then somebody is told how many they were.
    Forget(Vec<Name>, Box<dyn FnOnce(usize) + Send>),
    Stop,
}

impl Event {
    pub(super) fn new(which: Which, event: BlobEvent) -> Self {
        match event {
            BlobEvent::Rebound(facts) => Self::Rebound(which, facts),
            BlobEvent::Superseded => Self::Superseded(which),
        }
    }
}

/// Starts the thread; it ends with the file system.
pub(super) fn start(vfs: Weak<Vfs>, inbox: Receiver<Event>) -> std::io::Result<()> {
    let run = move || {
        for event in inbox {
            let (Some(vfs), false) = (vfs.upgrade(), matches!(event, Event::Stop)) else {
                return;
            };
            guarded("an event of a blob", || vfs.take(event));
        }
    };
    let thread = std::thread::Builder::new().name("larder-events".into());
    thread.spawn(run).map(drop)
}

impl Vfs {
    fn take(&self, event: Event) {
        let now = self.now();
        match event {
            Event::Rebound(Which { ino, serial }, facts) => {
                let mut table = self.table.lock();
                if table.is(ino, serial) {
                    table.rebind(ino, &facts, now);
                }
            }
            Event::Superseded(which) => self.carry_out_superseded(which),
            Event::Forget(names, done) => {
                self.forget_in_kernel(&names);
                done(names.len());
            }
            Event::Stop => {}
        }
    }

    /// An inode's version is no more: its name leads to another inode from now on. Not to be called from the engine.
    pub(super) fn carry_out_superseded(&self, Which { ino, serial }: Which) {
        let now = self.now();
        let mut table = self.table.lock();
        if !table.is(ino, serial) {
            return;
        }
        let verdict = table.supersede(ino, now);
        drop(table);
        carry_out(verdict);
    }
}
