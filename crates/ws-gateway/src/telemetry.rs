//! Logs: one line for each event on standard error, as JSON or as text for a person. Nobody waits for it (`sink`).
//!
//! Redaction: a field whose name says that it holds a secret or a client's data ([`REDACTED_FIELDS`]) is written as
//! `***`, whoever logs it; long values are cut; control characters are escaped, so that a channel name or a user agent
//! cannot forge a line.

mod line;
mod sink;

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use sink::Sink;

/// Names of fields that are never written, whatever they hold. A name counts when it is one of these or ends in one of
/// them after `_` or `.`: `access_token` and `http.cookie` too.
pub const REDACTED_FIELDS: [&str; 11] = [
    "authorization",
    "cookie",
    "credentials",
    "data",
    "jwt",
    "password",
    "payload",
    "secret",
    "seed",
    "token",
    "query",
];

/// Values longer than this are cut, in bytes.
pub const MAX_VALUE_BYTES: usize = 1_024;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is neither a level nor a list of directives.
    #[error("invalid log level {level:?}")]
    Level {
        /// As configured.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The process logs already.
    #[error("logging was set up twice")]
    Twice(#[from] TryInitError),
    /// The system gives no thread to write lines.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// The way to standard error, once the process logs.
static SINK: OnceLock<Sink> = OnceLock::new();

/// What is logged, once the process logs. It can be changed.
static LEVEL: OnceLock<Level> = OnceLock::new();

/// Takes another filter.
type Level = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Sets up logging for the process, to standard error.
///
/// # Errors
/// When the level is invalid, logging was set up before, or there is no thread to be had.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let filter = parse(&log.level)?;
    let format = log.format;
    let sink = Sink::start(io::stderr(), move |lost| line::say_lost(format, lost)).map_err(TelemetryError::Thread)?;
    // Colour is for terminals only; standard error of a pod is none.
    let level = match format {
        LogFormat::Json => start(json(filter, sink.clone()))?,
        LogFormat::Text => start(text(filter, sink.clone()))?,
    };
    // Set once: a second time there is no way to here.
    let _ = SINK.set(sink);
    let _ = LEVEL.set(level);
    Ok(())
}

/// Logs from here on by another level, in the same words as `log.level`. Nothing happens where the process does not log.
///
/// # Errors
/// [`TelemetryError::Level`]: it is neither a level nor a list of directives, and the old one stays.
pub fn set_level(level: &str) -> Result<(), TelemetryError> {
    let filter = parse(level)?;
    if let Some(set) = LEVEL.get() {
        set(filter);
    }
    Ok(())
}

/// Waits until what was logged before has been written, for a second at most. To be called at the end of the process.
pub fn flush() {
    if let Some(sink) = SINK.get() {
        sink.flush();
    }
}

/// Lines that were dropped since the process began, because nobody took them.
pub fn lost_lines() -> u64 {
    SINK.get().map_or(0, Sink::all_lost)
}

fn parse(level: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(level).map_err(|source| TelemetryError::Level { level: level.to_owned(), source })
}

/// A subscriber, and what sets its level.
type Logging<S> = (S, Level);

fn start(logging: Logging<impl SubscriberInitExt>) -> Result<Level, TelemetryError> {
    let (subscriber, level) = logging;
    subscriber.try_init()?;
    Ok(level)
}

fn json<W>(filter: EnvFilter, writer: W) -> Logging<impl tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        // It would go where the lines cannot go either, and panic there.
        .log_internal_errors(false)
        .fmt_fields(line::JsonFields)
        .event_format(line::JsonLine)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    // It fails when the subscriber is gone, which the process's is not.
    (subscriber.finish(), Box::new(move |filter| handle.reload(filter).unwrap_or_default()))
}

fn text<W>(filter: EnvFilter, writer: W) -> Logging<impl tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        // It would go where the lines cannot go either, and panic there.
        .log_internal_errors(false)
        .fmt_fields(line::TextFields)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    // It fails when the subscriber is gone, which the process's is not.
    (subscriber.finish(), Box::new(move |filter| handle.reload(filter).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(format: LogFormat, level: &str, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let make = move || writer.clone();
        let filter = parse(level).expect("a level");
        match format {
            LogFormat::Json => tracing::subscriber::with_default(json(filter, make).0, events),
            LogFormat::Text => tracing::subscriber::with_default(text(filter, make).0, events),
        }
        let bytes = lines.0.lock().expect("no panic while writing").clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    fn secrets() {
        let span = tracing::info_span!("connection", conn_id = 7, token = "hunter2");
        let _entered = span.enter();
        tracing::info!(access_token = "hunter2", payload = ?"hunter2", tokens = 5, channel = "a\nb", "a line");
    }

    #[test]
    fn a_json_line_is_one_object_without_secrets() {
        let text = log(LogFormat::Json, "info", secrets);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "a line");
        assert_eq!(line["access_token"], "***");
        assert_eq!(line["payload"], "***");
        assert_eq!(line["tokens"], 5);
        assert_eq!(line["channel"], "a\nb");
        assert_eq!(line["spans"][0]["name"], "connection");
        assert_eq!(line["spans"][0]["conn_id"], 7);
        assert_eq!(line["spans"][0]["token"], "***");
        assert!(line["target"].as_str().is_some_and(|target| target.starts_with("ws_gateway")));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_text_line_cannot_be_forged_and_has_no_secrets() {
        let text = log(LogFormat::Text, "info", || {
            secrets();
            tracing::warn!(agent = %"x\n2026-01-01 ERROR forged\u{1b}[31m", "odd\nmessage");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("***") && !text.contains("hunter2") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("conn_id=7"), "{text}");
    }

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let text = log(LogFormat::Json, "info", || tracing::info!(agent = %long, "long"));
        let line: serde_json::Value = serde_json::from_str(&text).expect("json");
        let agent = line["agent"].as_str().expect("text");
        assert!(agent.len() <= MAX_VALUE_BYTES + "…".len() && agent.ends_with('…'));
    }

    #[test]
    fn the_level_may_differ_by_target() {
        let events = || {
            tracing::debug!(target: "loud", "seen");
            tracing::debug!(target: "quiet", "unseen");
        };
        let text = log(LogFormat::Text, "info,loud=debug", events);
        assert!(text.contains("seen") && !text.contains("unseen"), "{text}");
        assert!(parse("info,=,").is_err());
    }

    #[test]
    fn the_level_may_change_while_it_logs() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, level) = json(parse("info").expect("a level"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("unseen");
            level(parse("debug").expect("a level"));
            tracing::debug!("seen");
            level(parse("warn").expect("a level"));
            tracing::info!("unseen");
        });
        let text = String::from_utf8(lines.0.lock().expect("no panic while writing").clone()).expect("text");
        assert!(text.lines().count() == 1 && text.contains(r#""message":"seen""#), "{text}");
    }
}
