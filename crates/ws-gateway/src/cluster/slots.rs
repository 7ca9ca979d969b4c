//! A limit that holds to the letter: each connection of a user takes one of so many slots in the control stream.
//!
//! A slot is a subject. Whoever stores the first message there has it, because the leader lets nobody else; the message
//! expires after [`LIFE`] unless it is stored again. A slot that is given back gets a message that says so and expires
//! within a second or two; until then it can be taken in its place. What was measured on nats-server 2.15, with one
//! server and with three: of 50 at once exactly as many get a slot as there are; in a cluster some of the others are told
//! 10164 instead of 10071, because a message to the subject is on its way; a slot that expired can be taken within a
//! tenth of a second; what stands in the place of an expired message is 0, and never the expired one's sequence.
//!
//! Where the leader cannot be asked, nobody new comes in. Those who are here stay: after [`LIFE`] their slots may be
//! taken elsewhere, and when the leader is back those whose slot is gone are closed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream::LastRawMessageErrorKind};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use super::{Boot, Key, Name};
use crate::{
    bus::{ReadError, direct_get},
    config::Config,
    control::{Letter, Link, Order, StoreError, Subjects},
    metrics::ControlMetrics,
    queue,
};

/// What a gateway that was killed leaves taken.
const LIFE: Duration = Duration::from_secs(30);

/// A slot is stored again so often, a fifth more or less: two may get lost.
const REFRESH: Duration = Duration::from_secs(10);

/// After a refresh that was not answered.
const RETRY: Duration = Duration::from_secs(1);

/// A slot that was given back says so for so long; the shortest that the server knows.
const FREE_LIFE: Duration = Duration::from_secs(1);

/// Slots of one user. All of them are read with one Direct Get, which gives 1,024 at most.
const MAX_SLOTS: u32 = 1_000;

/// Messages under way.
const IN_FLIGHT: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Slots {
    link: Link,
    subjects: Subjects,
    stream: String,
    timeout: Duration,
    gateway: Name,
    boot: Boot,
    shards: Vec<queue::Sender>,
    metrics: Arc<ControlMetrics>,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By the number of the seat that has it.
    held: HashMap<u64, Lease>,
    /// Given back, and not told yet.
    freed: Vec<(Slot, Instant)>,
}

/// A slot that is ours.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    subject: String,
    /// Where our message stands.
    seq: u64,
    /// Told apart from another's by what the message says.
    mark: u64,
}

/// For how long.
#[derive(Debug)]
struct Lease {
    slot: Slot,
    sub: Arc<str>,
    due_at: Instant,
    is_being_refreshed: bool,
    /// Nobody needs it any more; whoever refreshes it gives it back.
    is_given_back: bool,
}

/// What stands in a slot.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    /// None: it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    gateway: Name,
    boot: Boot,
    mark: u64,
}

/// What became of a refresh.
enum Refreshed {
    /// It is ours, and our message stands there.
    Kept(u64),
    /// Somebody else has it.
    Lost,
    /// Nobody answered.
    Unknown,
}

/// Nobody could say whether there is a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Slots {
    pub(super) fn new(
        config: &Config,
        (gateway, boot): (Name, Boot),
        link: Link,
        shards: Vec<queue::Sender>,
        metrics: Arc<ControlMetrics>,
    ) -> Self {
        Self {
            link,
            subjects: Subjects::of(config),
            stream: config.control_stream.name.clone(),
            timeout: config.nats.request_timeout,
            gateway,
            boot,
            shards,
            metrics,
            state: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in there can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the user's first `limit` slots; nothing when all are taken, or when nobody can say within the time
    /// for a request.
    ///
    /// # Cancel safety
    /// Cancel safe: the claim goes on, and what it brings is given back.
    pub(super) async fn claim(self: &Arc<Self>, key: Key, limit: u32) -> Option<Slot> {
        let slots = self.clone();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let claim = tokio::time::timeout(slots.timeout, slots.find(key, limit)).await;
            let found = match claim.unwrap_or(Err(ClaimError::Store(StoreError::NoAnswer))) {
                Ok(found) => found,
                Err(error) => {
                    slots.metrics.slot_errors.count();
                    tracing::debug!(%error, "a slot cannot be taken");
                    None
                }
            };
            if let Err(Some(slot)) = tell.send(found) {
                slots.give_back(slot);
            }
        });
        told.await.ok().flatten()
    }

    async fn find(&self, key: Key, limit: u32) -> Result<Option<Slot>, ClaimError> {
        let limit = limit.min(MAX_SLOTS);
        if limit == 0 {
            return Ok(None);
        }
        // Mostly the user has few connections, and the first try hits. It costs one write.
        let first = rand::random_range(0..limit);
        if let Some(slot) = self.take(key, first, 0).await? {
            return Ok(Some(slot));
        }
        let taken = self.taken(key).await?;
        for number in (1..=limit).map(|step| (first + step) % limit) {
            let expected = match taken.get(&number) {
                None => 0,
                // What was read may be old, but then the leader says so.
                Some(&(seq, is_free)) if is_free => seq,
                Some(_) => continue,
            };
            if let Some(slot) = self.take(key, number, expected).await? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Takes this slot if what stands there is `expected`.
    async fn take(&self, key: Key, number: u32, expected: u64) -> Result<Option<Slot>, ClaimError> {
        let subject = format!("{}{number}", self.subjects.slots(key));
        let mut slot = Slot { subject, seq: expected, mark: rand::random() };
        match self.store(&slot, true).await {
            Ok(seq) => {
                slot.seq = seq;
                Ok(Some(slot))
            }
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The user's slots in which something stands: where, and whether it says that they are free.
    async fn taken(&self, key: Key) -> Result<HashMap<u32, (u64, bool)>, ReadError> {
        const WHAT: &str = "slots";
        let client = self.link.connected().ok_or(ReadError::NoAnswer(WHAT))?;
        let prefix = self.subjects.slots(key);
        let request = serde_json::json!({ "multi_last": [format!("{prefix}*")], "batch": MAX_SLOTS + 24 }).to_string();
        let answer = match direct_get(client, &self.stream, WHAT, &request).await {
            Err(ReadError::NotFound(_)) => return Ok(HashMap::new()),
            answer => answer?,
        };
        let taken = answer.messages.iter().filter_map(|message| {
            let number = message.subject.strip_prefix(&prefix)?.parse().ok()?;
            let body: Option<Body> = message.payload.as_ref().and_then(|body| serde_json::from_slice(body).ok());
            Some((number, (message.seq, body.is_none_or(|body| body.holder.is_none()))))
        });
        Ok(taken.collect())
    }

    /// Stores what stands in a slot of ours, where its sequence says.
    async fn store(&self, slot: &Slot, is_taken: bool) -> Result<u64, StoreError> {
        let holder = is_taken.then(|| self.holder(slot));
        let letter = Letter {
            subject: slot.subject.clone(),
            payload: serde_json::to_vec(&Body { holder }).expect("strings and numbers only"),
            life: Some(if is_taken { LIFE } else { FREE_LIFE }),
            expected: Some(slot.seq),
        };
        self.link.store(letter, self.timeout).await
    }

    fn holder(&self, slot: &Slot) -> Holder {
        Holder { gateway: self.gateway.clone(), boot: self.boot, mark: slot.mark }
    }

    /// Keeps a slot for a seat of the user.
    pub(super) fn hold(&self, seat: u64, slot: Slot, sub: Arc<str>) {
        let (is_being_refreshed, is_given_back) = (false, false);
        let lease = Lease { slot, sub, due_at: next_refresh(), is_being_refreshed, is_given_back };
        self.lock().held.insert(seat, lease);
    }

    /// Gives back the slot of a seat.
    pub(super) fn release(&self, seat: u64) {
        let state = &mut *self.lock();
        match state.held.get_mut(&seat) {
            // Where it stands is not known before the refresh is back.
            Some(lease) if lease.is_being_refreshed => lease.is_given_back = true,
            Some(_) => {
                let lease = state.held.remove(&seat).expect("found just now");
                state.freed.push((lease.slot, Instant::now()));
                self.freed.notify_one();
            }
            None => {}
        }
    }

    fn give_back(&self, slot: Slot) {
        self.lock().freed.push((slot, Instant::now()));
        self.freed.notify_one();
    }

    /// Refreshes what is held and tells what was given back, for ever.
    ///
    /// # Cancel safety
    /// Cancel safe: what is not refreshed expires.
    pub(super) async fn run(&self) {
        loop {
            tokio::select! {
                () = self.freed.notified() => {}
                () = tokio::time::sleep(RETRY.mul_f64(rand::random_range(0.8..1.2))) => {}
            }
            self.tell_freed().await;
            self.refresh_due().await;
            self.metrics.slots.set(self.lock().held.len() as u64);
        }
    }

    async fn tell_freed(&self) {
        let freed = std::mem::take(&mut self.lock().freed);
        // Later they are free by themselves. That they are is all that counts, so nobody looks at the answer.
        let fresh = freed.into_iter().filter(|(_, at)| at.elapsed() < LIFE);
        stream::iter(fresh)
            .for_each_concurrent(IN_FLIGHT, async |(slot, at)| {
                if self.store(&slot, false).await == Err(StoreError::Disconnected) {
                    self.lock().freed.push((slot, at));
                }
            })
            .await;
    }

    async fn refresh_due(&self) {
        let now = Instant::now();
        let due: Vec<(u64, Slot)> = {
            let state = &mut *self.lock();
            let due = state.held.iter_mut().filter(|(_, lease)| lease.due_at <= now);
            due.map(|(seat, lease)| {
                lease.is_being_refreshed = true;
                (*seat, lease.slot.clone())
            })
            .collect()
        };
        stream::iter(due)
            .for_each_concurrent(IN_FLIGHT, async |(seat, slot)| {
                let refreshed = self.refresh(slot).await;
                self.on_refreshed(seat, refreshed);
            })
            .await;
    }

    async fn refresh(&self, mut slot: Slot) -> Refreshed {
        // A second time if somebody came between, or an earlier refresh was stored and its answer lost.
        for _ in 0..2 {
            match self.store(&slot, true).await {
                Ok(seq) => return Refreshed::Kept(seq),
                Err(StoreError::Conflict) => {}
                Err(_) => return Refreshed::Unknown,
            }
            slot.seq = match self.look(&slot).await {
                Some(Ok(seq)) => seq,
                Some(Err(())) => return Refreshed::Lost,
                None => return Refreshed::Unknown,
            };
        }
        Refreshed::Unknown
    }

    /// What the leader has in a slot: where our own message stands, or 0 for none; an error for another's.
    async fn look(&self, slot: &Slot) -> Option<Result<u64, ()>> {
        let context = jetstream::new(self.link.connected()?.clone());
        let stream = context.get_stream_no_info(&self.stream).await.ok()?;
        let last = tokio::time::timeout(self.timeout, stream.get_last_raw_message_by_subject(&slot.subject)).await;
        match last.ok()? {
            Ok(message) => {
                let body: Body = serde_json::from_slice(&message.payload).unwrap_or_default();
                Some(if body.holder == Some(self.holder(slot)) { Ok(message.sequence) } else { Err(()) })
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Some(Ok(0)),
            Err(_) => None,
        }
    }

    fn on_refreshed(&self, seat: u64, refreshed: Refreshed) {
        let state = &mut *self.lock();
        let Some(lease) = state.held.get_mut(&seat) else {
            return;
        };
        lease.is_being_refreshed = false;
        match refreshed {
            Refreshed::Kept(seq) => (lease.slot.seq, lease.due_at) = (seq, next_refresh()),
            Refreshed::Unknown => {
                self.metrics.slot_errors.count();
                lease.due_at = Instant::now() + RETRY.mul_f64(rand::random_range(0.5..1.5));
            }
            Refreshed::Lost => {
                self.metrics.slot_errors.count();
                tracing::info!("a slot was taken by another gateway while the leader could not be asked");
                let lease = state.held.remove(&seat).expect("found just now");
                if !lease.is_given_back {
                    Order::Replace { sub: lease.sub, seats: [seat].into() }.give(&self.shards);
                }
                return;
            }
        }
        if lease.is_given_back {
            let lease = state.held.remove(&seat).expect("found just now");
            state.freed.push((lease.slot, Instant::now()));
            self.freed.notify_one();
        }
    }
}

fn next_refresh() -> Instant {
    Instant::now() + REFRESH.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests;
