//! When the next message is due, and of which kind: an even tick at the whole rate, shared out smoothly among the kinds.

use std::time::Duration;

use super::Kind;

/// Ticks and shares.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Messages per 1,000 s.
    rate_milli: u128,
    tick: u64,
    delay: Duration,
    shares: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    kind: Kind,
    share: f64,
    credit: f64,
}

/// The part of a kind when all are chosen, and the messages per second it never passes while a kind without such a limit is
/// there to take the rest.
fn weight(kind: Kind) -> (f64, Option<f64>) {
    match kind {
        Kind::Price => (0.78, None),
        Kind::Volume => (0.08, None),
        Kind::Quote => (0.05, None),
        Kind::Users => (0.03, None),
        Kind::Signals => (0.02, Some(200.0)),
        Kind::Batch => (0.02, Some(4.0)),
        Kind::Market => (0.01, Some(5.0)),
        Kind::Health => (0.01, Some(1.0)),
    }
}

/// The rate at which each of so many tokens has a price every `interval` on average, all chosen kinds together, in messages
/// per second. Where prices are not chosen, the rate of one message per token and interval.
pub fn rate_for_interval(tokens: usize, interval: Duration, kinds: &[Kind]) -> f64 {
    let prices = tokens as f64 / interval.as_secs_f64().max(1e-9);
    if !kinds.contains(&Kind::Price) {
        return prices;
    }
    let whole = prices / weight(Kind::Price).0;
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
        .into_iter()
        .map(|kind| {
            let (weight, limit) = weight(kind);
            (weight * whole).min(limit.unwrap_or(f64::INFINITY))
        })
        .sum()
}

impl Schedule {
    pub(crate) fn new(rate: f64, kinds: &[Kind]) -> Schedule {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let total: f64 = kinds.iter().map(|&kind| weight(kind).0).sum();
        let mut shares: Vec<Share> =
            kinds.iter().map(|&kind| Share { kind, share: weight(kind).0 / total, credit: 0.0 }).collect();
        let unlimited: f64 =
            shares.iter().filter(|share| weight(share.kind).1.is_none()).map(|share| share.share).sum();
        if unlimited > 0.0 {
            let mut freed = 0.0;
            for share in &mut shares {
                if let Some(limit) = weight(share.kind).1 {
                    let allowed = share.share.min(limit / rate);
                    freed += share.share - allowed;
                    share.share = allowed;
                }
            }
            for share in &mut shares {
                if weight(share.kind).1.is_none() {
                    share.share += freed * share.share / unlimited;
                }
            }
        }
        Schedule { rate_milli: ((rate * 1_000.0).round() as u128).max(1), tick: 0, delay: Duration::ZERO, shares }
    }

    /// When the next message is due, since the start.
    pub(crate) fn next_due(&self) -> Duration {
        let nanos = u128::from(self.tick) * 1_000_000_000_000 / self.rate_milli;
        self.delay + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(crate) fn delay(&mut self, by: Duration) {
        self.delay += by;
    }

    /// The kind of the next message; the tick moves on.
    pub(crate) fn next(&mut self) -> Kind {
        self.tick += 1;
        let mut best = 0;
        for at in 0..self.shares.len() {
            self.shares[at].credit += self.shares[at].share;
            if self.shares[at].credit > self.shares[best].credit {
                best = at;
            }
        }
        self.shares[best].credit -= 1.0;
        self.shares[best].kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn count(rate: f64, kinds: &[Kind], ticks: usize) -> BTreeMap<Kind, usize> {
        let mut schedule = Schedule::new(rate, kinds);
        let mut counts = BTreeMap::new();
        for _ in 0..ticks {
            *counts.entry(schedule.next()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn ticks_evenly_at_the_whole_rate() {
        let mut schedule = Schedule::new(250.0, &Kind::ALL);
        for _ in 0..1_000 {
            schedule.next();
        }
        assert_eq!(schedule.next_due(), Duration::from_secs(4));
        schedule.delay(Duration::from_secs(1));
        assert_eq!(schedule.next_due(), Duration::from_secs(5));
    }

    #[test]
    fn shares_out_smoothly() {
        let counts = count(100.0, &Kind::ALL, 1_000);
        assert_eq!(counts[&Kind::Price], 780);
        assert_eq!(counts[&Kind::Health], 10);
        assert_eq!(counts.values().sum::<usize>(), 1_000);
    }

    #[test]
    fn an_interval_per_token_is_kept_beside_other_kinds() {
        for kinds in [&Kind::ALL[..], &[Kind::Price], &[Kind::Price, Kind::Price, Kind::Batch]] {
            for (tokens, interval) in [(10, 5), (10_000, 5)] {
                let rate = rate_for_interval(tokens, Duration::from_secs(interval), kinds);
                let seconds = 200;
                let prices = count(rate, kinds, (rate * f64::from(seconds)) as usize)[&Kind::Price] as f64;
                let wanted = tokens as f64 / interval as f64 * f64::from(seconds);
                assert!((prices / wanted - 1.0).abs() < 0.02, "{kinds:?} {tokens}: {prices}, not {wanted}");
            }
        }
    }

    #[test]
    fn overviews_do_not_grow_with_the_rate() {
        let counts = count(10_000.0, &Kind::ALL, 100_000);
        assert!((9..=11).contains(&counts[&Kind::Health]), "{counts:?} in 10 s");
        assert!((39..=41).contains(&counts[&Kind::Batch]), "{counts:?} in 10 s");
        assert!(counts[&Kind::Price] > 78_000);
    }

    #[test]
    fn a_kind_alone_gets_everything() {
        assert_eq!(count(1_000.0, &[Kind::Health, Kind::Health], 50), BTreeMap::from([(Kind::Health, 50)]));
    }
}
