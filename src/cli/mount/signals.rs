//! What the daemon does on a signal: SIGINT and SIGTERM unmount, SIGHUP has metadata asked for anew, SIGUSR1 puts the
//! counters into the log. A SIGHUP of a terminal that was closed is an unmount.
//!
//! They are held from the start (see `mask`). SIGINT and SIGTERM end a daemon at once as long as it has mounted nothing;
//! from then on every signal waits until larder acts on it.

use std::fs::File;
use std::sync::Arc;
use std::thread::Builder;

use crossbeam_channel::{Receiver, unbounded};
use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::cli::error::Exit;
use crate::cli::mask;
use crate::cli::stats::summary;
use crate::host::Mount;
use crate::vfs::Vfs;

/// Signals, held until larder acts on them.
pub(super) struct Held {
    /// Those that came.
    pub(super) came: Receiver<i32>,
    /// Nothing is mounted yet.
    starting: Arc<Mutex<bool>>,
    /// There is a terminal, whose end would be that of a mount in the foreground.
    on_terminal: bool,
}

impl Held {
    /// From here on a signal is no end of the process, but for those that mean it, and one thread alone takes them. To be
    /// called before other threads are started.
    pub(super) fn new() -> std::io::Result<Self> {
        mask::block(&mask::ACTED_ON);
        let mut signals = Signals::new(mask::ACTED_ON)?;
        let starting = Arc::new(Mutex::new(true));
        let (tell, came) = unbounded();
        let is_starting = Arc::clone(&starting);
        let run = move || {
            mask::unblock(&mask::ACTED_ON);
            for signal in &mut signals {
                // Held over the exit: either nothing is mounted then, or the mounting process hears of it.
                let starting = is_starting.lock();
                if *starting && mask::ENDS.contains(&signal) {
                    eprintln!("larder: stopped before anything was mounted");
                    std::process::exit(Exit::Failed.code().into());
                }
                let _ = tell.send(signal);
            }
        };
        Builder::new().name("larder-signals".into()).spawn(run)?;
        Ok(Self {
            came,
            starting,
            on_terminal: has_terminal(),
        })
    }

    /// Something is about to be mounted: from now on every signal waits.
    pub(super) fn hold_all(&self) {
        *self.starting.lock() = false;
    }

    /// Acts on a signal; whether it asks for the end.
    pub(super) fn is_end(&self, signal: i32, mount: &Mount) -> bool {
        match signal {
            SIGUSR1 => tracing::info!(
                "SIGUSR1: the counters\n{}",
                summary(&mount.stats().values())
            ),
            SIGHUP if !self.on_terminal || has_terminal() => forget(mount.vfs()),
            _ => {
                tracing::info!("signal {signal}: unmounting");
                return true;
            }
        }
        false
    }
}

/// Whether this process has a terminal that can still be reached.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

fn forget(vfs: &Vfs) {
    tracing::info!("SIGHUP: larder will ask the remote again for names, attributes and listings");
    vfs.expire_metadata(|names| {
        tracing::info!("the kernel has forgotten {names} names");
    });
}
