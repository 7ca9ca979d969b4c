//! What a publisher counts: messages by outcome, what is in flight, and how long acknowledgements take.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::publisher::PublishError;

/// Longest latency the histogram tells apart: two minutes, more than the longest retry window.
const MAX_LATENCY_US: u64 = 120_000_000;

/// The figures of a publisher at one moment. Counters only grow.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Messages accepted from callers.
    pub published: u64,
    /// Messages the stream has acknowledged, duplicates included.
    pub acked: u64,
    /// Of these, acknowledged as already stored under the same id.
    pub duplicates: u64,
    /// Attempts beyond the first.
    pub retried: u64,
    /// Messages refused, by cause; those refused before they were accepted are not in `published`.
    pub refused: Refusals,
    /// Messages that may or may not be stored.
    pub unknown: u64,
    /// Messages accepted and not yet answered.
    pub in_flight: u64,
    /// Their bytes: payload, subject and id.
    pub in_flight_bytes: u64,
    /// Median time from the first attempt to the acknowledgement, retries included; zero before the first.
    pub ack_p50: Duration,
    /// 99th percentile of the same.
    pub ack_p99: Duration,
    /// The longest.
    pub ack_max: Duration,
}

/// Refused messages by cause: none of them is stored.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Refusals {
    /// Not a subject, not an id or not a time to live.
    pub invalid: u64,
    /// Larger than the limit, the server or the stream allows.
    pub too_large: u64,
    /// No stream takes the subject.
    pub no_stream: u64,
    /// The user may not publish on the subject.
    pub forbidden: u64,
    /// Something else was published on the subject meanwhile.
    pub wrong_last_sequence: u64,
    /// Refused by the stream for another reason.
    pub rejected: u64,
    /// Nobody could be asked for the whole retry window, or the publisher was closed before the first attempt.
    pub unavailable: u64,
}

impl Refusals {
    /// All causes together.
    pub fn total(&self) -> u64 {
        self.entries().iter().map(|(_, count)| count).sum()
    }

    /// The causes by name, in a fixed order.
    pub fn entries(&self) -> [(&'static str, u64); 7] {
        [
            ("invalid", self.invalid),
            ("too_large", self.too_large),
            ("no_stream", self.no_stream),
            ("forbidden", self.forbidden),
            ("wrong_last_sequence", self.wrong_last_sequence),
            ("rejected", self.rejected),
            ("unavailable", self.unavailable),
        ]
    }
}

impl Stats {
    /// Whether nothing was refused and nothing is unknown.
    pub fn is_clean(&self) -> bool {
        self.unknown == 0 && self.refused.total() == 0
    }
}

/// The living counters behind [`Stats`]; shared by the callers and the driver.
pub(crate) struct Counters {
    published: AtomicU64,
    acked: AtomicU64,
    duplicates: AtomicU64,
    retried: AtomicU64,
    unknown: AtomicU64,
    in_flight: AtomicU64,
    in_flight_bytes: AtomicU64,
    refused: Mutex<Refusals>,
    latency_us: Mutex<Histogram<u64>>,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).expect("the bounds are constants and valid");
        Counters {
            published: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_bytes: AtomicU64::new(0),
            refused: Mutex::new(Refusals::default()),
            latency_us: Mutex::new(latency),
        }
    }

    pub(crate) fn accepted(&self, bytes: usize) {
        self.published.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        self.in_flight_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// An accepted message was answered.
    pub(crate) fn settled(&self, bytes: usize) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.in_flight_bytes.fetch_sub(bytes as u64, Relaxed);
    }

    pub(crate) fn acked(&self, duplicate: bool, latency: Duration) {
        self.acked.fetch_add(1, Relaxed);
        if duplicate {
            self.duplicates.fetch_add(1, Relaxed);
        }
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency().saturating_record(latency_us.clamp(1, MAX_LATENCY_US));
    }

    pub(crate) fn failed(&self, error: &PublishError) {
        let mut refused = self.refused();
        match error {
            PublishError::Subject(_) | PublishError::MessageId { .. } | PublishError::TimeToLive { .. } => {
                refused.invalid += 1;
            }
            PublishError::TooLarge { .. } => refused.too_large += 1,
            PublishError::NoStream { .. } => refused.no_stream += 1,
            PublishError::Forbidden { .. } => refused.forbidden += 1,
            PublishError::WrongLastSequence { .. } => refused.wrong_last_sequence += 1,
            PublishError::Rejected { .. } => refused.rejected += 1,
            PublishError::Unavailable { .. } | PublishError::Closed => refused.unavailable += 1,
            PublishError::Unknown { .. } => {
                self.unknown.fetch_add(1, Relaxed);
            }
            // nothing was accepted and the caller may come again: neither refused nor published
            PublishError::Full { .. } => {}
        }
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let latency = self.latency();
        let quantile =
            |q: f64| Duration::from_micros(if latency.is_empty() { 0 } else { latency.value_at_quantile(q) });
        Stats {
            published: self.published.load(Relaxed),
            acked: self.acked.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            retried: self.retried.load(Relaxed),
            refused: *self.refused(),
            unknown: self.unknown.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Relaxed),
            ack_p50: quantile(0.5),
            ack_p99: quantile(0.99),
            ack_max: quantile(1.0),
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn latency(&self) -> std::sync::MutexGuard<'_, Histogram<u64>> {
        self.latency_us.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_in_flight_up_and_down() {
        let counters = Counters::new();
        counters.accepted(100);
        counters.accepted(50);
        counters.settled(100);
        counters.acked(true, Duration::from_millis(3));
        let stats = counters.snapshot();
        assert_eq!((stats.published, stats.in_flight, stats.in_flight_bytes), (2, 1, 50));
        assert_eq!((stats.acked, stats.duplicates), (1, 1));
        assert!(stats.is_clean());
        assert!((2_990..=3_010).contains(&stats.ack_max.as_micros()), "{:?}", stats.ack_max);
    }

    #[test]
    fn a_full_publisher_has_refused_nothing() {
        let counters = Counters::new();
        counters.failed(&PublishError::Full { max_messages: 1, max_bytes: 1 });
        assert!(counters.snapshot().is_clean());
        counters.failed(&PublishError::Closed);
        assert_eq!(counters.snapshot().refused.total(), 1);
    }
}
