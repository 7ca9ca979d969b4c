//! Keeps a trouble that goes on from flooding the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Once a minute is enough to see it, and that it goes on.
const INTERVAL: Duration = Duration::from_secs(60);

/// Says when it is time for another line.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is; then not again for a minute.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    /// The trouble is over: the next one is news.
    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
