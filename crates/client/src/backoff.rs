//! How long to wait before the next try: full jitter, so that a fleet of clients never returns in step.
//!
//! The wait is drawn anew each time from [0, min(cap, base · 2^n)], n being the number of tries since the
//! connection was last stable. It knows no clock.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Longest first wait.
pub const DEFAULT_BASE: Duration = Duration::from_millis(500);
/// Longest wait of all.
pub const DEFAULT_CAP: Duration = Duration::from_secs(30);
/// The step a "come back later" starts at: waits of up to 16 × base, by default 8 s.
const LATER_STEP: u32 = 4;

/// The waits between tries to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    step: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new(DEFAULT_BASE, DEFAULT_CAP)
    }
}

impl Backoff {
    /// Waits of at most `base` at first, at most `cap` in the end.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Backoff { base, cap, step: 0 }
    }

    /// The longest the next wait can be.
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.step).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Draws the next wait and goes one step on.
    pub fn draw(&mut self, random: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling();
        self.step = self.step.saturating_add(1);
        uniform(random, ceiling)
    }

    /// The other side asked for patience: the next wait is at least of the fifth step.
    pub fn be_patient(&mut self) {
        self.step = self.step.max(LATER_STEP);
    }

    /// The connection has been stable: the next wait is short again.
    pub fn reset(&mut self) {
        self.step = 0;
    }
}

/// A duration between zero and `ceiling`, both included, to the microsecond.
pub(crate) fn uniform(random: &mut impl Rng, ceiling: Duration) -> Duration {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.random_range(0..=micros))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn doubles_its_ceiling_up_to_the_cap() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let ceilings: Vec<u128> = (0..9)
            .map(|_| {
                let ceiling = backoff.ceiling();
                backoff.draw(&mut random);
                ceiling.as_millis()
            })
            .collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn draws_from_the_whole_range_between_zero_and_the_ceiling() {
        let mut random = StdRng::seed_from_u64(2);
        let draws: Vec<Duration> = (0..1_000).map(|_| Backoff::default().draw(&mut random)).collect();
        assert!(draws.iter().all(|wait| *wait <= DEFAULT_BASE));
        assert!(draws.iter().any(|wait| *wait < DEFAULT_BASE / 10));
        assert!(draws.iter().any(|wait| *wait > DEFAULT_BASE * 9 / 10));
    }

    #[test]
    fn starts_short_again_after_a_stable_connection() {
        let mut random = StdRng::seed_from_u64(3);
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.draw(&mut random);
        }
        backoff.reset();
        assert_eq!(backoff.ceiling(), DEFAULT_BASE);
    }

    #[test]
    fn is_patient_when_told_to_come_back_later() {
        let mut backoff = Backoff::default();
        backoff.be_patient();
        assert_eq!(backoff.ceiling(), DEFAULT_BASE * 16);
    }

    #[test]
    fn survives_more_steps_than_a_number_has_bits() {
        let mut random = StdRng::seed_from_u64(4);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.draw(&mut random) <= DEFAULT_CAP);
        }
        assert_eq!(backoff.ceiling(), DEFAULT_CAP);
    }
}
