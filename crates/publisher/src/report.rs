//! Says how publishing goes: a live line or bar on a terminal, log lines elsewhere, and a report at the end.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use odin_publisher::{Publisher, Stats};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::{ReportArgs, ReportFormat};

/// How often the live line changes.
const LIVE_EVERY: Duration = Duration::from_millis(250);

/// The live line, so that log lines can step aside.
static LIVE: OnceLock<ProgressBar> = OnceLock::new();

/// Why publishing ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// As many messages as wanted.
    Count,
    /// As long as wanted.
    Duration,
    /// The input ended.
    Input,
    Signal,
    NoStream,
    BadLine,
}

/// Progress through the input and the figures beside it.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    done: CancellationToken,
}

impl Progress {
    /// Begins to show figures; `total_bytes` of the input if they are known.
    pub(crate) fn start(publisher: &Publisher, args: &ReportArgs, total_bytes: Option<u64>) -> Progress {
        let bar = if std::io::stderr().is_terminal() { live_bar(total_bytes) } else { ProgressBar::hidden() };
        let done = CancellationToken::new();
        let every = if bar.is_hidden() { args.report_every } else { LIVE_EVERY };
        if !every.is_zero() {
            if !bar.is_hidden() {
                // a second start in one process keeps the first line: only cosmetic
                let _ = LIVE.set(bar.clone());
            }
            tokio::spawn(show(publisher.clone(), bar.clone(), every, done.clone()));
        }
        Progress { bar, done }
    }

    /// So many bytes of the input have been published.
    pub(crate) fn reached(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    pub(crate) fn finish(&self) {
        self.done.cancel();
        self.bar.finish_and_clear();
    }
}

/// The figures of a whole run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) command: &'static str,
    pub(crate) ended: End,
    pub(crate) published: u64,
    pub(crate) acked: u64,
    pub(crate) duplicates: u64,
    pub(crate) retried: u64,
    pub(crate) refused: u64,
    pub(crate) refused_by_cause: std::collections::BTreeMap<&'static str, u64>,
    pub(crate) unknown: u64,
    pub(crate) bad_lines: u64,
    pub(crate) elapsed_ms: u64,
    /// Acknowledged messages per second.
    pub(crate) rate_per_second: f64,
    pub(crate) ack_latency_ms: Latency,
}

#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Report {
    pub(crate) fn new(command: &'static str, ended: End, bad_lines: u64, elapsed: Duration, stats: &Stats) -> Report {
        Report {
            command,
            ended,
            published: stats.published,
            acked: stats.acked,
            duplicates: stats.duplicates,
            retried: stats.retried,
            refused: stats.refused.total(),
            refused_by_cause: stats.refused.entries().into_iter().filter(|&(_, count)| count > 0).collect(),
            unknown: stats.unknown,
            bad_lines,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            rate_per_second: rounded(stats.acked as f64 / elapsed.as_secs_f64().max(1e-9)),
            ack_latency_ms: Latency {
                p50: millis(stats.ack_p50),
                p99: millis(stats.ack_p99),
                max: millis(stats.ack_max),
            },
        }
    }

    /// Whether everything was understood as asked for and stored.
    pub(crate) fn is_clean(&self) -> bool {
        self.refused == 0 && self.unknown == 0 && !matches!(self.ended, End::NoStream | End::BadLine)
    }

    /// Text goes to standard error, JSON to standard output.
    pub(crate) fn print(&self, format: ReportFormat) {
        match format {
            ReportFormat::Json => {
                let line = serde_json::to_string(self).expect("plain structures of text and finite numbers");
                println!("{line}");
            }
            ReportFormat::Text => eprintln!("{}", self.text()),
        }
    }

    fn text(&self) -> String {
        let Latency { p50, p99, max } = self.ack_latency_ms;
        let mut text = format!(
            "{} published, {} acked ({} duplicates), {} retried, {} refused, {} unknown in {:.1} s: {:.1} msg/s\n\
             ack latency p50 {p50} ms, p99 {p99} ms, max {max} ms",
            self.published,
            self.acked,
            self.duplicates,
            self.retried,
            self.refused,
            self.unknown,
            self.elapsed_ms as f64 / 1_000.0,
            self.rate_per_second,
        );
        for (cause, count) in &self.refused_by_cause {
            text.push_str(&format!("\nrefused {cause}: {count}"));
        }
        if self.bad_lines > 0 {
            text.push_str(&format!("\n{} lines not understood", self.bad_lines));
        }
        text
    }
}

async fn show(publisher: Publisher, bar: ProgressBar, every: Duration, done: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    let (mut before, mut at) = (publisher.stats().acked, Instant::now());
    while done.run_until_cancelled(ticks.tick()).await.is_some() {
        let stats = publisher.stats();
        let rate = rounded((stats.acked - before) as f64 / at.elapsed().as_secs_f64().max(1e-9));
        (before, at) = (stats.acked, Instant::now());
        let (p50, p99, max) = (millis(stats.ack_p50), millis(stats.ack_p99), millis(stats.ack_max));
        let refused = stats.refused.total();
        if bar.is_hidden() {
            tracing::info!(
                published = stats.published,
                acked = stats.acked,
                retried = stats.retried,
                refused,
                unknown = stats.unknown,
                in_flight = stats.in_flight,
                rate_per_second = rate,
                ack_p50_ms = p50,
                ack_p99_ms = p99,
                ack_max_ms = max,
                "publishing"
            );
        } else {
            // the most wanted first: a narrow terminal cuts the end
            bar.set_message(format!(
                "{rate:.0}/s, {} acked of {}, ack p50 {p50} p99 {p99} max {max} ms, {} in flight, {} retried, \
                 {refused} refused, {} unknown",
                stats.acked, stats.published, stats.in_flight, stats.retried, stats.unknown,
            ));
        }
    }
}

fn live_bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (ProgressBar::new(total), "{bar:24} {bytes}/{total_bytes} eta {eta}  {wide_msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {elapsed}  {wide_msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are constants and valid"))
}

/// Standard error for log lines: they are written above the live line.
#[derive(Debug)]
pub(crate) struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let write = || std::io::stderr().write(text);
        match LIVE.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use odin_publisher::Refusals;

    fn stats() -> Stats {
        Stats { published: 10, acked: 8, ack_p50: Duration::from_micros(1_234), ..Stats::default() }
    }

    #[test]
    fn the_json_report_has_stable_names() {
        let report = Report::new("pipe", End::Input, 2, Duration::from_secs(2), &stats());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ended"], "input");
        assert_eq!(json["badLines"], 2);
        assert_eq!(json["ratePerSecond"], 4.0);
        assert_eq!(json["ackLatencyMs"]["p50"], 1.234);
        assert!(report.is_clean());
    }

    #[test]
    fn what_was_refused_or_is_unknown_is_not_clean() {
        let refused = Stats { refused: Refusals { too_large: 1, ..Refusals::default() }, ..stats() };
        let unknown = Stats { unknown: 1, ..stats() };
        for stats in [refused, unknown] {
            assert!(!Report::new("pipe", End::Input, 0, Duration::from_secs(1), &stats).is_clean());
        }
        assert!(!Report::new("pipe", End::BadLine, 1, Duration::from_secs(1), &stats()).is_clean());
    }
}
