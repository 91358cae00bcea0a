//! What the daemon does on a signal: SIGINT and SIGTERM unmount, SIGHUP has metadata asked for anew, SIGUSR1 puts the
//! counters into the log. A SIGHUP of a terminal that was closed is an unmount.

use std::fs::File;
use std::sync::Arc;
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use crate::cli::stats::summary;
use crate::vfs::Vfs;

/// Signals, held until somebody listens.
pub(super) struct Held {
    signals: Signals,
    /// There is a terminal, whose end would be that of a mount in the foreground.
    on_terminal: bool,
}

impl Held {
    /// From here on a signal is no end of the process.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?,
            on_terminal: has_terminal(),
        })
    }

    /// Acts on signals from now on. What comes out is told when one asks for the end; the handle ends the listening.
    pub(super) fn listen(
        self,
        vfs: Arc<Vfs>,
        stats: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> std::io::Result<(Receiver<()>, Handle)> {
        let Self {
            mut signals,
            on_terminal,
        } = self;
        let handle = signals.handle();
        let (asked, ask) = bounded::<()>(1);
        let run = move || {
            for signal in &mut signals {
                match signal {
                    SIGUSR1 => tell(&stats()),
                    SIGHUP if !on_terminal || has_terminal() => forget(&vfs),
                    _ => {
                        tracing::info!("signal {signal}: unmounting");
                        let _ = asked.try_send(());
                    }
                }
            }
        };
        Builder::new().name("larder-signals".into()).spawn(run)?;
        Ok((ask, handle))
    }
}

/// Whether this process has a terminal that can still be reached.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

fn forget(vfs: &Vfs) {
    tracing::info!("SIGHUP: names, attributes and listings are asked for anew");
    vfs.forget_metadata(|names| {
        tracing::info!("the kernel has forgotten {names} names");
    });
}

fn tell(stats: &str) {
    match serde_json::from_str(stats) {
        Ok(stats) => tracing::info!("SIGUSR1: the counters\n{}", summary(&stats)),
        Err(error) => tracing::error!("the counters cannot be read: {error}"),
    }
}
