//! How often something happens, smoothed over a few seconds.

use std::time::{Duration, Instant};

/// What happened so long ago counts for 1/e.
const MEMORY: Duration = Duration::from_secs(5);

/// Events per second, fading exponentially.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    start: Instant,
    last: Instant,
    /// Fading sum of events.
    weight: f64,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Meter { start: now, last: now, weight: 0.0 }
    }

    pub(crate) fn count(&mut self, now: Instant) {
        self.weight = self.faded(now) + 1.0;
        self.last = self.last.max(now);
    }

    /// Per second. While young it divides by what it has seen, and not by its whole memory.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        let memory = MEMORY.as_secs_f64();
        let age = now.saturating_duration_since(self.start).as_secs_f64().max(1.0);
        let seen = memory * (1.0 - (-age / memory).exp());
        self.faded(now) / seen
    }

    fn faded(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.weight * (-passed / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rate: f64, seconds: f64) -> f64 {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut at = 0.0;
        while at < seconds {
            meter.count(start + Duration::from_secs_f64(at));
            at += 1.0 / rate;
        }
        meter.rate(start + Duration::from_secs_f64(seconds))
    }

    #[test]
    fn finds_the_rate_of_a_steady_stream_early_and_late() {
        for (rate, seconds) in [(100.0, 2.0), (100.0, 60.0), (2.0, 60.0), (5_000.0, 10.0)] {
            let found = after(rate, seconds);
            assert!((found / rate - 1.0).abs() < 0.1, "{rate}/s after {seconds} s: {found}");
        }
    }

    #[test]
    fn fades_when_nothing_comes() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for _ in 0..100 {
            meter.count(start);
        }
        assert!(meter.rate(start + Duration::from_secs(60)) < 0.01);
    }
}
