//! The daemon: one remote mounted through one cache, from the first question to the clean mark.
//!
//! The order is the point. The remote is connected to before a cache is made for it, and before the mount, so that a
//! directory's root is what lies beneath; and at the end the mount goes first and the lock of the cache last, so that a
//! cache that is found unlocked is closed.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::command::MountCommand;
use super::exposition::exposition;
use super::failure::{connect_failure, host_failure, mount_failure, remote_failure};
use super::report::{Report, Reporter};
use super::signals::Held;
use super::{allocator, background, cache, log_file, metrics};
use crate::cli::error::Failure;
use crate::fuse::{FuseMount, Unmounter};
use crate::host::{CacheBuilder, Mount, OpenedCache};
use crate::remote::connect::Connected;
use crate::units::shown;

/// How long open files may hold up a daemon that was told to end.
const LINGER: Duration = Duration::from_secs(5);

/// Mounts, tells the reporter, and serves until the mount ends. A failure after the mount has answered is logged: by then
/// the process that started the daemon has ended.
pub(super) fn run(
    command: &MountCommand,
    signals: &Held,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let metrics = command
        .metrics
        .as_deref()
        .map(metrics::Bound::take)
        .transpose()?;
    allocator::tune();
    let MountCommand { request, cache, .. } = command;
    let builder = CacheBuilder::new(cache).map_err(|e| host_failure(&cache.dir, &e))?;
    let connected = builder
        .connect(request)
        .map_err(|e| connect_failure(&request.remote, &e))?;
    let notes = [&*command.notes, &connected.notes].concat();
    cache::with_one(cache, reporter, |dir, reporter| {
        for note in &notes {
            reporter.tell(Report::Note(note.clone()))?;
        }
        let opened = builder
            .open(dir)
            .map_err(|e| host_failure(&cache.dir, &e))?;
        if let Some(sentence) = opened.cache().last_stop().sentence() {
            reporter.tell(Report::Note(format!("cache: {sentence}")))?;
        }
        if let Some(bound) = &metrics {
            let address = bound.address()?;
            reporter.tell(Report::Note(format!("metrics: http://{address}/metrics")))?;
        }
        let told = (&*notes, metrics);
        let served = mount_and_serve(&opened, connected, command, (signals, reporter), told);
        // The cache is closed here, also where the mount has failed.
        drop(opened);
        if served.is_ok() {
            tracing::info!("unmounted {}", shown(&request.mount_point));
        }
        served
    })
}

fn mount_and_serve(
    opened: &OpenedCache,
    connected: Connected,
    command: &MountCommand,
    (signals, reporter): (&Held, &mut Reporter),
    (notes, metrics): (&[String], Option<metrics::Bound>),
) -> Result<(), Failure> {
    let request = &command.request;
    if let Some(sentence) = cache::apply_size(&command.cache, opened.cache())? {
        reporter.tell(Report::Note(sentence))?;
    }
    let mount =
        Mount::new(opened, request, connected).map_err(|e| remote_failure(&request.remote, &e))?;
    let log = match reporter {
        Reporter::Starter => Some(log_file::open_log(&command.cache.dir)?),
        Reporter::Terminal(_) => None,
    };
    signals.hold_all();
    let kernel = mount
        .start(opened, request)
        .map_err(|e| mount_failure(&e))?;
    announce(command, log.as_ref(), reporter)?;
    if log.is_some() {
        // The terminal has shown all that.
        let at = shown(&request.mount_point);
        tracing::info!("mounted {} at {at}", request.remote);
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        let stop = opened.cache().last_stop().sentence();
        stop.iter()
            .for_each(|sentence| tracing::info!("cache: {sentence}"));
    }
    let stats = Arc::clone(mount.stats());
    let text: metrics::Text = Arc::new(move || exposition(&stats.values()));
    let _metrics = metrics.map(|bound| bound.serve(text)).transpose()?;
    serve(kernel, signals, &mount)
}

/// Tells that the mount answers; in the background, where there is a log, lets go of terminal and starter.
fn announce(
    command: &MountCommand,
    log: Option<&File>,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    match log {
        Some(log) => background::let_go(log)?,
        None => reporter.tell(Report::Note(format!(
            "mounted {} at {}: Ctrl-C unmounts",
            command.request.remote,
            shown(&command.request.mount_point)
        )))?,
    }
    reporter.tell(Report::Ready)?;
    if log.is_some() {
        background::close_pipes()?;
    }
    Ok(())
}

/// Serves until the mount is unmounted, or a signal asks for the end.
fn serve(kernel: FuseMount, signals: &Held, mount: &Mount) -> Result<(), Failure> {
    let unmounter = kernel.unmounter();
    let (ended, end) = bounded(1);
    Builder::new()
        .name("larder-session".into())
        .spawn(move || drop(ended.send(kernel.join())))?;
    let result = loop {
        crossbeam_channel::select! {
            recv(end) -> result => break result.unwrap_or(Ok(())),
            recv(signals.came) -> signal => match signal {
                Ok(signal) if !signals.is_end(signal, mount) => {}
                _ => break end_mount(&unmounter, &end),
            },
        }
    };
    if let Err(error) = result {
        tracing::warn!("the session with the kernel ended with an error: {error}");
    }
    Ok(())
}

/// Unmounts, and waits for the session to end; files that stay open hold it up for a moment only.
fn end_mount(unmounter: &Unmounter, end: &Receiver<io::Result<()>>) -> io::Result<()> {
    if unmounter.unmount(false).is_err() {
        unmounter.unmount(true)?;
        tracing::info!("files are still open: they have {LINGER:?} to be closed");
    }
    end.recv_timeout(LINGER).unwrap_or_else(|_| {
        tracing::warn!("files are still open: their readers get ENOTCONN");
        Ok(())
    })
}
