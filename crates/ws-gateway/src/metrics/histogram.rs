//! Durations by how long they were: an array of counters with fixed bounds, so that noting one costs a search in sixteen
//! numbers and no allocation.

use std::time::Duration;

use super::{Counter, Reading, Value};

/// Upper bounds of all histograms in microseconds, inclusive: from a fast turn of a shard to what nobody waits for.
pub const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How many durations there were up to each bound. Written by one thread, like [`Counter`].
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what is longer.
    counts: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

/// What a histogram had at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// One for each bound, and one for what is longer. Not cumulative.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All durations together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Notes one. Only the owner may call this.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        self.observe_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Notes one of so many microseconds. Only the owner may call this.
    #[inline]
    pub fn observe_us(&self, us: u64) {
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
        self.sum_us.add(us);
    }

    /// What there is now. Not of one instant: a duration may be counted and not be in the sum yet.
    pub fn tally(&self) -> Tally {
        Tally { counts: self.counts.each_ref().map(Counter::get), sum_us: self.sum_us.get() }
    }

    /// The same for the table.
    pub fn read(&self) -> Reading {
        Value::Histogram(self.tally()).into()
    }
}

impl Tally {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds those of another thread.
    pub fn add(&mut self, other: &Tally) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let mut tally = histogram.tally();
        assert_eq!((tally.counts[0], tally.counts[1], tally.counts[15], tally.counts[16]), (2, 1, 1, 1));
        assert_eq!((tally.count(), tally.sum_us), (5, 20_000_202));
        tally.add(&histogram.tally());
        assert_eq!((tally.count(), tally.sum_us), (10, 40_000_404));
    }
}
