//! A disk in memory that loses what was not synced, mounted through FUSE.
//!
//! The kernel hands every write over at once (no writeback cache), so that what is dirty is known here and a cut can
//! be drawn from a seed. The fault model:
//!
//! * **Power cut** ([`LossyDisk::cut`]): of each file's unsynced pages any subset is kept, in any of the versions that a
//!   page had since the last sync, or torn at 512 bytes between them; sizes persist by themselves; names as `names.rs`
//!   says. The disk that is cut goes on unharmed, so that one run can be cut often, and so that whatever runs on it can
//!   be ended afterwards without leaving a trace.
//! * **Synced** is what fsync(2) of a file covers (its pages, its size, its own name and those above it), fsync(2) of a
//!   directory (the changes of its names), and nothing else: the kernel does not forward syncfs(2) to a FUSE file
//!   system that is not a block device's, so that syncfs lies here. This disk is harder than a real one.
//! * **Trouble** ([`LossyDisk::trouble`]): reads or writes err, or hang until that is taken back.
//!
//! A disk is mounted anew after each cut, which gives the mount a new number: by that a daemon knows that its disk was away.

mod fs;
mod names;
mod pages;
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{BackgroundSession, Config, MountOption};
use larder::testing::Rng;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use self::fs::LossyFs;
use self::names::{Names, ROOT};
use self::pages::{LossyFile, Mood};
use super::mounts::unmount;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct LossyDisk {
    state: Arc<Mutex<State>>,
    trouble: Arc<(Mutex<Trouble>, Condvar)>,
}

/// What goes wrong while the disk is in use.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Trouble {
    pub(crate) reads: Answer,
    pub(crate) writes: Answer,
}

/// How a request is answered.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) enum Answer {
    /// As it should be.
    #[default]
    Well,
    /// With this error: EIO, ENOSPC.
    Error(Errno),
    /// Not at all until the trouble ends.
    Hang,
}

/// What is on the disk.
struct State {
    nodes: BTreeMap<u64, Node>,
    names: Names,
    next: u64,
}

#[derive(Clone)]
struct Node {
    /// `None` for a directory.
    file: Option<LossyFile>,
    mode: u16,
    mtime: SystemTime,
}

impl Default for State {
    fn default() -> Self {
        let root = Node {
            file: None,
            mode: 0o755,
            mtime: fs::now(),
        };
        Self {
            nodes: [(ROOT, root)].into(),
            names: Names::default(),
            next: ROOT + 1,
        }
    }
}

impl State {
    fn after_cut(&self, rng: &mut Rng) -> Self {
        let mood = Mood::draw(rng);
        let names = self.names.after_cut(mood.keep, rng);
        let named = names.named();
        let nodes = self
            .nodes
            .iter()
            .filter(|(n, _)| **n == ROOT || named.contains(n));
        let nodes = nodes.map(|(n, node)| {
            let file = node.file.as_ref().map(|file| file.after_cut(mood, rng));
            (*n, Node { file, ..*node })
        });
        Self {
            nodes: nodes.collect(),
            names,
            next: self.next,
        }
    }
}

impl LossyDisk {
    /// The disk as a power cut at this moment leaves it; everything follows from the seed.
    pub(crate) fn cut(&self, seed: u64) -> Self {
        let after = self.state.lock().after_cut(&mut Rng::new(seed));
        Self {
            state: Arc::new(Mutex::new(after)),
            trouble: Arc::default(),
        }
    }

    /// How many pages and names are not durable.
    pub(crate) fn pending(&self) -> usize {
        let state = self.state.lock();
        let files = state.nodes.values().filter_map(|node| node.file.as_ref());
        state.names.pending() + files.map(LossyFile::dirty).sum::<usize>()
    }

    /// Makes everything durable.
    pub(crate) fn sync(&self) {
        let state = &mut *self.state.lock();
        state.names.sync_all();
        let files = state
            .nodes
            .values_mut()
            .filter_map(|node| node.file.as_mut());
        files.for_each(LossyFile::sync);
    }

    /// Changes what goes wrong from now on; what hung is answered anew.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        *self.trouble.0.lock() = trouble;
        self.trouble.1.notify_all();
    }

    /// Waits while such requests hang, and gives the error that they are answered with.
    fn answer(&self, of: fn(&Trouble) -> Answer) -> Option<Errno> {
        let mut trouble = self.trouble.0.lock();
        loop {
            match of(&trouble) {
                Answer::Well => return None,
                Answer::Error(error) => return Some(error),
                Answer::Hang => self.trouble.1.wait(&mut trouble),
            }
        }
    }

    /// Mounts the disk at this directory, until the mount is dropped.
    pub(crate) fn mount(&self, place: &Path) -> LossyMount {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lossy".into())];
        config.n_threads = Some(2);
        config.clone_fd = true;
        let fs = LossyFs::new(self.clone());
        let session = fuser::spawn_mount(fs, place, &config)
            .unwrap_or_else(|e| panic!("cannot mount the lossy disk at {}: {e}", place.display()));
        LossyMount {
            disk: self.clone(),
            place: place.to_owned(),
            _session: session,
        }
    }
}

/// A mounted disk.
pub(crate) struct LossyMount {
    disk: LossyDisk,
    place: PathBuf,
    _session: BackgroundSession,
}

impl Drop for LossyMount {
    fn drop(&mut self) {
        // What hangs would hold up the unmount.
        self.disk.trouble(Trouble::default());
        unmount(&self.place);
    }
}
