//! Public keys that an issuer publishes at a URL (RFC 7517), kept fresh.
//!
//! One task reads them: at regular intervals, and early when a token names a key that is not known – at most once in a
//! cooldown, whatever tokens say, and everybody who needs it waits for the same reading. No token decides what is
//! read from where. When the endpoint is down, or says something useless, the last good set stays in use.

mod read;

use std::{
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{fault::Fault, keys::KeySet};
use crate::{
    clock::now_ms,
    config::Auth,
    metrics::{ControlMetrics, Outcome},
    seldom::Seldom,
};

pub(crate) use read::url_fault;
pub(super) use read::{ReadError, Reader, Trust};

/// After the first failure; twice as long after each further one, up to the cooldown.
const RETRY: Duration = Duration::from_secs(1);

/// The cache, and the task that fills it. Dropped, the task ends.
#[derive(Debug)]
pub(super) struct Jwks {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// How often is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Between two readings, 20 % more or less.
    pub(super) refresh: Duration,
    /// Between two readings because of an unknown key.
    pub(super) cooldown: Duration,
    /// How long a token waits for one.
    pub(super) patience: Duration,
}

#[derive(Debug)]
struct Shared {
    schedule: Schedule,
    metrics: Arc<ControlMetrics>,
    last: watch::Sender<Last>,
    turn: Mutex<Turn>,
    /// That somebody has taken the turn.
    wanted: Notify,
    failed: Seldom,
}

/// What the last reading brought.
#[derive(Debug, Clone, Default)]
struct Last {
    /// The last good set.
    keys: Option<Arc<KeySet>>,
    /// When it was read, if nothing has failed since.
    read: Option<Instant>,
}

/// Whose turn it is to read.
#[derive(Debug)]
struct Turn {
    /// A reading is under way, or about to begin.
    is_reading: bool,
    /// When one was last begun because of an unknown key.
    asked: Option<Instant>,
    /// Readings that failed since the last good one.
    failures: u32,
}

impl Jwks {
    /// Begins to read. With the keys of a predecessor for the same URL it goes on from there, and reads when that would
    /// have.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn start(auth: &Auth, reader: Reader, metrics: Arc<ControlMetrics>, old: Option<&Jwks>) -> Arc<Self> {
        let url = auth.jwks_url.clone().unwrap_or_default();
        let schedule =
            Schedule { refresh: auth.jwks_refresh, cooldown: auth.jwks_cooldown, patience: auth.jwks_timeout };
        let old = old.filter(|old| old.url == url);
        let last = old.map(|old| old.shared.last.borrow().clone()).unwrap_or_default();
        let is_due_in = last.read.map(|read| schedule.refresh.saturating_sub(read.elapsed()));
        let asked = old.and_then(|old| old.shared.turn().asked);
        let turn = Turn { is_reading: is_due_in.is_none(), asked, failures: 0 };
        let (last, _) = watch::channel(last);
        let shared = Arc::new(Shared {
            schedule,
            metrics,
            last,
            turn: Mutex::new(turn),
            wanted: Notify::new(),
            failed: Seldom::default(),
        });
        let task = tokio::spawn(keep(shared.clone(), reader, is_due_in));
        Arc::new(Jwks { url, shared, task })
    }

    /// The keys, with the one of this id among them, if the token names one.
    ///
    /// # Errors
    /// [`Fault::UnknownKey`] when the endpoint does not have it; [`Fault::NoKeys`] when that cannot be said, because it
    /// was never read or is down.
    ///
    /// # Cancel safety
    /// Cancel safe: the reading goes on by itself.
    pub(super) async fn for_token(&self, id: Option<&str>) -> Result<Arc<KeySet>, Fault> {
        let has_it = |keys: &KeySet| id.is_none_or(|id| keys.has(id));
        let mut last = self.shared.last.subscribe();
        if let Some(keys) = last.borrow_and_update().keys.as_ref().filter(|keys| has_it(keys)) {
            return Ok(keys.clone());
        }
        let is_answered = !self.shared.may_wait()
            || tokio::time::timeout(self.shared.schedule.patience, last.changed()).await.is_ok_and(|read| read.is_ok());
        let last = last.borrow();
        match &last.keys {
            Some(keys) if has_it(keys) => Ok(keys.clone()),
            Some(_) if is_answered && last.read.is_some() => Err(Fault::UnknownKey),
            _ => Err(Fault::NoKeys),
        }
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads, again and again; the first time at once, or when it is due.
async fn keep(shared: Arc<Shared>, reader: Reader, is_due_in: Option<Duration>) {
    if let Some(pause) = is_due_in {
        shared.rest(pause).await;
    }
    loop {
        let pause = shared.finish(reader.read().await);
        shared.rest(pause).await;
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        // Nothing in between is left half done.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a reading to wait for: one is under way, or the cooldown allows to begin one.
    fn may_wait(&self) -> bool {
        let mut turn = self.turn();
        if turn.is_reading {
            return true;
        }
        if turn.asked.is_some_and(|asked| asked.elapsed() < self.schedule.cooldown) {
            return false;
        }
        turn.asked = Some(Instant::now());
        turn.is_reading = true;
        self.wanted.notify_one();
        true
    }

    /// Waits for the next reading: about so long, or until somebody takes the turn.
    async fn rest(&self, pause: Duration) {
        let pause = tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                // It may be left over from a reading that the clock began at the same moment.
                () = self.wanted.notified() => if self.turn().is_reading { break },
            }
        }
        self.turn().is_reading = true;
    }

    /// Keeps what was read, wakes up those who wait, and says how long to rest.
    fn finish(&self, result: Result<KeySet, ReadError>) -> Duration {
        // Held until all is said: who comes in between must not wait for a reading that is over.
        let mut turn = self.turn();
        turn.is_reading = false;
        match result {
            Ok(keys) => {
                if turn.failures > 0 || self.last.borrow().keys.is_none() {
                    tracing::info!(keys = keys.len(), failures = turn.failures, "public keys were read");
                }
                self.last.send_replace(Last { keys: Some(Arc::new(keys)), read: Some(Instant::now()) });
                self.metrics.jwks_reads.of(Outcome::Ok).count();
                self.metrics.jwks_read_at_ms.set(u64::try_from(now_ms()).unwrap_or_default());
                turn.failures = 0;
                self.failed.reset();
                self.schedule.refresh
            }
            Err(error) => {
                self.last.send_modify(|last| last.read = None);
                self.metrics.jwks_reads.of(Outcome::Failed).count();
                let has_keys = self.last.borrow().keys.is_some();
                let cause = error.source().map(|cause| root(cause).to_string());
                self.failed.log(|others| {
                    tracing::warn!(%error, cause, has_keys, others, "public keys cannot be read");
                });
                let doubled = RETRY.saturating_mul(1 << turn.failures.min(16));
                turn.failures = turn.failures.saturating_add(1);
                doubled.min(self.schedule.cooldown).min(self.schedule.refresh)
            }
        }
    }
}

fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
