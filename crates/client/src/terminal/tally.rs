//! The figures `tail --stats` prints at the end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use odin_client::{Stats, protocol::Update};

use super::quote::Latency;

/// Most channels told apart.
const MAX_CHANNELS: usize = 100_000;
/// Longest latency told apart, in milliseconds: an hour.
const MAX_MILLIS: u64 = 3_600_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    channels: HashSet<String>,
    printed: u64,
    latency: Histogram<u64>,
    skewed: u64,
}

impl Tally {
    pub(crate) fn new(start: Instant) -> Self {
        let latency = Histogram::new_with_bounds(1, MAX_MILLIS, 3).expect("the bounds are constants that fit");
        Tally { start, channels: HashSet::new(), printed: 0, latency, skewed: 0 }
    }

    pub(crate) fn printed(&self) -> u64 {
        self.printed
    }

    pub(crate) fn count(&mut self, update: &Update, latency: Latency) {
        self.printed += 1;
        if self.channels.len() < MAX_CHANNELS && !self.channels.contains(&update.channel) {
            self.channels.insert(update.channel.clone());
        }
        match latency {
            Latency::Millis(millis) => self.latency.saturating_record(millis),
            Latency::Skewed => self.skewed += 1,
            Latency::Unknown => {}
        }
    }

    /// Several lines without a newline at the end.
    pub(crate) fn summary(&self, now: Instant, stats: &Stats) -> String {
        let seconds = now.saturating_duration_since(self.start).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.printed as f64 / seconds.max(0.001);
        let latency = if self.latency.is_empty() {
            "unknown".to_owned()
        } else {
            let at = |percent| self.latency.value_at_percentile(percent);
            format!("p50 {} ms, p99 {} ms, max {} ms", at(50.0), at(99.0), self.latency.max())
        };
        let skewed = match self.skewed {
            0 => String::new(),
            skewed => format!(" ({skewed} without: clock skew)"),
        };
        let round_trip = stats.round_trip.map_or_else(|| "unknown".to_owned(), millis);
        format!(
            "updates     {} in {seconds:.1} s ({rate:.1}/s), {} snapshots, {} channels\n\
             latency     {latency}{skewed}, round trip {round_trip}\n\
             gaps        {} announced, {} not announced\n\
             dropped     {} in overlaps, {} repeated without reason, {} strays; {} merged\n\
             violations  {}\n\
             connection  {} made, {} parted, {} subscriptions recovered, {} not\n\
             received    {} messages, {} bytes, {} errors",
            self.printed,
            stats.snapshots,
            self.channels.len(),
            stats.gaps,
            stats.violations - stats.repeats,
            stats.duplicates,
            stats.repeats,
            stats.strays,
            stats.merged,
            stats.violations,
            stats.connections,
            stats.partings,
            stats.recovered,
            stats.not_recovered,
            stats.messages,
            stats.bytes,
            stats.errors,
        )
    }
}

/// `1.2 ms`.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
