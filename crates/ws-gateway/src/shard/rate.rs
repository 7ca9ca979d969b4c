//! How much of something a connection may do, by the generic cell rate algorithm (ITU-T I.371, annex A): one number
//! for each kind, no timer, and no edge between two windows where twice as much gets through.

use std::time::Duration;

/// A rate that one client has to keep. What was not used of a period may be used at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    /// More than 0.
    pub(super) most: u32,
    pub(super) period: Duration,
}

/// How much was used: the time, in microseconds since the shard began, at which nothing would be left of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used(u64);

impl Used {
    /// Uses `cost`, or says in how many milliseconds that much is free again. Nothing is used then.
    pub(super) fn take(&mut self, cost: usize, quota: Quota, now_us: u64) -> Result<(), u64> {
        let period_us = quota.period.as_micros() as u64;
        let cost_us = (cost as u64).saturating_mul(period_us) / u64::from(quota.most.max(1));
        let until = self.0.max(now_us).saturating_add(cost_us);
        let over_us = until.saturating_sub(now_us.saturating_add(period_us));
        if over_us > 0 {
            return Err(over_us.div_ceil(1000));
        }
        self.0 = until;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Quota = Quota { most: 10, period: Duration::from_secs(1) };

    #[test]
    fn lets_a_period_through_at_once_and_then_one_by_one() {
        let mut used = Used::default();
        for _ in 0..10 {
            assert_eq!(used.take(1, TEN, 5), Ok(()));
        }
        assert_eq!(used.take(1, TEN, 5), Err(100));
        assert_eq!(used.take(1, TEN, 100_005), Ok(()));
        assert!(used.take(1, TEN, 100_005).is_err());
    }

    #[test]
    fn never_lets_more_than_two_periods_through_within_one() {
        let mut used = Used::default();
        let passed = (0..1_000_000).step_by(100).filter(|now| used.take(1, TEN, *now).is_ok()).count();
        assert!((19..=20).contains(&passed), "{passed}");
    }

    #[test]
    fn what_costs_more_waits_longer_and_a_refusal_costs_nothing() {
        let mut used = Used::default();
        assert_eq!(used.take(10, TEN, 0), Ok(()));
        assert_eq!(used.take(5, TEN, 0), Err(500));
        assert_eq!(used.take(5, TEN, 500_000), Ok(()));
        assert_eq!(used.take(11, TEN, 10_000_000), Err(100), "more than there ever is");
    }
}
