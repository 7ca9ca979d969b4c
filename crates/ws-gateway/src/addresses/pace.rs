//! How fast something may happen: as often at once as in a second, then evenly (GCRA). A limit that changes takes
//! effect with the next question, and begins afresh.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};

use super::Network;

/// Questions about single addresses after which those that were quiet since are forgotten. A sweep looks at every
/// address, so it must not come with each question; what is kept in vain is at most so many entries of 40 bytes.
const SWEEP_EVERY: u32 = 4096;

/// A limiter, and the limit that it was made for.
#[derive(Debug)]
struct Made<L>(RwLock<Option<(u32, Arc<L>)>>);

impl<L> Default for Made<L> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<L> Made<L> {
    fn get(&self, limit: u32, make: impl Fn(Quota) -> L) -> Arc<L> {
        if let Some((made_for, limiter)) = &*self.0.read().unwrap_or_else(PoisonError::into_inner)
            && *made_for == limit
        {
            return limiter.clone();
        }
        let quota = Quota::per_second(NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        let limiter = Arc::new(make(quota));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((limit, limiter.clone()));
        limiter
    }
}

/// The pace of the whole process.
#[derive(Debug, Default)]
pub(super) struct Pace(Made<DefaultDirectRateLimiter>);

impl Pace {
    /// Whether it may happen now; `limit` in a second.
    pub(super) fn allows(&self, limit: Option<u32>) -> bool {
        limit.is_none_or(|limit| self.0.get(limit, DefaultDirectRateLimiter::direct).check().is_ok())
    }
}

/// The pace of each address.
#[derive(Debug, Default)]
pub(super) struct PaceOfEach {
    made: Made<DefaultKeyedRateLimiter<Network>>,
    asked: AtomicU32,
}

impl PaceOfEach {
    /// Whether it may happen now for this address; `limit` in a second.
    pub(super) fn allows(&self, limit: u32, network: Network) -> bool {
        let limiter = self.made.get(limit, DefaultKeyedRateLimiter::keyed);
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(&network).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_paced_until_its_limit_goes() {
        let pace = Pace::default();
        assert!((0..1000).any(|_| !pace.allows(Some(1))));
        assert!((0..1000).all(|_| pace.allows(None)));
        assert!(pace.allows(Some(2)), "a new limit begins afresh");
    }

    #[test]
    fn addresses_that_were_quiet_are_forgotten() {
        let pace = PaceOfEach::default();
        // Each is as good as new a thousandth of a second later.
        let limit = 1000;
        for n in 0..10 * SWEEP_EVERY {
            assert!(pace.allows(limit, Network::V4(n)));
        }
        // The clock runs on: sooner or later a sweep finds nearly all of them quiet.
        let kept = || pace.made.get(limit, DefaultKeyedRateLimiter::keyed).len();
        let mut n = 10 * SWEEP_EVERY;
        while kept() > 2 * SWEEP_EVERY as usize {
            assert!(pace.allows(limit, Network::V4(n)));
            n += 1;
        }
    }
}
