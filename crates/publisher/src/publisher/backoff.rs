//! Pauses before trying again: doubling up to a longest one, half of each drawn anew, so that many messages or publishers do
//! not come back together.

use std::time::Duration;

use rand::RngExt;

/// First and longest pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The pause after so many failures, from 1: between half and the whole of `first` doubled for every further one.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
        for (failures, whole_ms) in [(0, 50), (1, 50), (2, 100), (3, 200), (6, 1_000), (u32::MAX, 1_000)] {
            let whole = Duration::from_millis(whole_ms);
            for _ in 0..100 {
                let pause = backoff.pause(failures);
                assert!(pause >= whole / 2 && pause <= whole, "{failures}: {pause:?}");
            }
        }
    }
}
