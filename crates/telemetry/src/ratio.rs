//! Which traces are taken: a share of them.

use opentelemetry::trace::TraceId;

/// A share between nothing and everything. The same trace is taken by everybody with the same ratio, and by whoever has
/// a larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// Of 2^63.
    bound: u64,
}

impl Ratio {
    /// Nothing.
    pub const NONE: Ratio = Ratio { bound: 0 };
    /// Everything.
    pub const ALL: Ratio = Ratio { bound: 1 << 63 };

    /// From 0 to 1. None for what is outside, or no number.
    pub fn new(ratio: f64) -> Option<Ratio> {
        // The cast rounds down what lies between two of them; 2^63 is exact.
        (0.0..=1.0).contains(&ratio).then_some(Ratio { bound: (ratio * (1u64 << 63) as f64) as u64 })
    }

    /// Whether nothing is taken.
    pub const fn is_none(self) -> bool {
        self.bound == 0
    }

    /// Whether a trace that begins here is taken: a throw of dice, which costs nothing when nothing is.
    pub fn draw(self) -> bool {
        self.bound != 0 && rand::random::<u64>() >> 1 < self.bound
    }

    /// Whether a trace that began elsewhere is taken, by its id: those who made the id drew its low bits by chance.
    pub fn takes(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_nothing_and_all_is_all() {
        assert_eq!(Ratio::new(0.0), Some(Ratio::NONE));
        assert_eq!(Ratio::new(1.0), Some(Ratio::ALL));
        for wrong in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::new(wrong), None, "{wrong}");
        }
        assert!((0..10_000).all(|_| !Ratio::NONE.draw() && Ratio::ALL.draw()));
        assert!(Ratio::ALL.takes(TraceId::from(u128::MAX)));
        assert!(!Ratio::NONE.takes(TraceId::from(1 << 64)));
    }

    #[test]
    fn a_larger_share_has_all_of_a_smaller_one() {
        let (small, large) = (Ratio::new(0.2).unwrap(), Ratio::new(0.3).unwrap());
        let ids = (0..10_000u128).map(|n| TraceId::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let taken: Vec<_> = ids.filter(|id| small.takes(*id)).collect();
        assert!((1_800..2_200).contains(&taken.len()), "{}", taken.len());
        assert!(taken.into_iter().all(|id| large.takes(id)));
    }
}
