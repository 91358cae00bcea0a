//! What larder says while it works: plain sentences for the user at the terminal, lines with a time stamp for the log file.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::writer::EitherWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::error::{Exit, Failure};

/// Standard error is the log file of a daemon.
static INTO_FILE: AtomicBool = AtomicBool::new(false);

/// From now on standard error is a log file.
pub(super) fn goes_into_a_file() {
    INTO_FILE.store(true, Ordering::Relaxed);
}

/// Sends what is logged to standard error, filtered by `LARDER_LOG`. A daemon's standard error is a file in the cache
/// directory, on a disk that may hang: a thread of its own waits for it, and what finds no room is dropped. What is said
/// before that is written at once: the terminal is to have it before standard error becomes the file.
pub(super) fn start() -> Result<WorkerGuard, Failure> {
    let filter = match std::env::var("LARDER_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Failure::new(
                Exit::Usage,
                format_args!(
                    "LARDER_LOG={text} is not a log filter ({e}): say info, debug or trace"
                ),
            )
        })?,
        _ => EnvFilter::new("info"),
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .finish(std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || {
            if INTO_FILE.load(Ordering::Relaxed) {
                EitherWriter::A(writer.clone())
            } else {
                EitherWriter::B(std::io::stderr())
            }
        })
        .with_ansi(false)
        .event_format(Lines(Format::default().with_target(false)))
        .try_init();
    Ok(guard)
}

/// How a line looks; within, as it does in the log file.
struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if INTO_FILE.load(Ordering::Relaxed) {
            return self.0.format_event(context, writer, event);
        }
        let kind = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        write!(writer, "larder: {kind}")?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
