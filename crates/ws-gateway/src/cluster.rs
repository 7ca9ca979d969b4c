//! The other gateways: how many connections they have, and of whom. Heard by gossip, so it is true a second later.
//!
//! A user's connections are limited by what gossip says, which may be overshot by what happens within an interval, or to
//! the letter by slots in the control stream (`cluster/slots`). Without NATS a gateway is alone: it counts its own, and
//! where the limit is strict it lets nobody new in.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use std::time::Instant;

use tokio::sync::watch;

mod ask;
mod gossip;
mod key;
mod peers;
mod slots;
#[cfg(test)]
mod tests;
mod users;
mod words;

pub(crate) use key::Key;
pub(crate) use peers::Overview;
pub(crate) use words::{Boot, MAX_SUB_BYTES, Name, Seen};

use crate::clock::now_ms;
use crate::config::Overflow;
use crate::control::{Link, Order};
use crate::current::Current;
use crate::identity::User;
use crate::metrics::Metrics;
use crate::queue;
use ask::Questions;
use peers::Peers;
use slots::Slots;
use users::Users;

/// What is known of all gateways, for every thread.
#[derive(Debug)]
pub(crate) struct Cluster {
    me: (Name, Boot),
    current: watch::Receiver<Arc<Current>>,
    /// Where gateways talk; the configuration they started with.
    subject: String,
    metrics: Arc<Metrics>,
    shards: Vec<queue::Sender>,
    link: Link,
    users: Users,
    peers: Mutex<Peers>,
    /// Connections of all peers.
    elsewhere: AtomicU64,
    slots: Arc<Slots>,
    questions: Questions,
}

/// A place that a user's connection takes. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct UserSeat {
    cluster: Arc<Cluster>,
    key: Key,
    number: u64,
    has_slot: bool,
}

/// The user has as many connections as allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user has {limit} connections")]
pub(crate) struct UserLimitReached {
    /// As many.
    pub(crate) limit: u32,
}

impl Cluster {
    /// A cluster of which nothing is known yet, not even its NATS.
    pub(crate) fn new(
        me: (Name, Boot),
        current: watch::Receiver<Arc<Current>>,
        metrics: Arc<Metrics>,
        shards: Vec<queue::Sender>,
        link: Link,
    ) -> Self {
        let config = current.borrow().config.clone();
        let slots = Slots::new(&config, me.clone(), link.clone(), shards.clone(), metrics.control.clone());
        Self {
            me,
            subject: config.cluster.subject.clone(),
            peers: Mutex::new(Peers::new(config.cluster.interval, config.cluster.peer_timeout)),
            current,
            metrics,
            shards,
            link,
            users: Users::default(),
            elsewhere: AtomicU64::new(0),
            slots: Arc::new(slots),
            questions: Questions::default(),
        }
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        // Half a change of what was heard is repaired by what is heard next.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections of all gateways, this one included.
    pub(crate) fn connections(&self) -> u64 {
        self.metrics.connected_clients() + self.elsewhere.load(Ordering::Relaxed)
    }

    /// This gateway first, and the others by name.
    pub(crate) fn overview(&self) -> Vec<Overview> {
        let own = Overview {
            gateway: self.me.0.clone(),
            boot: self.me.1,
            connections: self.metrics.connected_clients(),
            users: self.users.total().users,
            age: std::time::Duration::ZERO,
        };
        let mut all = vec![own];
        all.extend(self.peers().overview(Instant::now()));
        all
    }

    /// Takes a place for one more connection of the user. At the limit it is refused, or the user's oldest
    /// connection is told to leave, as configured. A strict limit also refuses where nobody can say within
    /// `nats.request_timeout` whether there is a place.
    ///
    /// # Errors
    /// [`UserLimitReached`].
    ///
    /// # Cancel safety
    /// Cancel safe: no place is kept.
    pub(crate) async fn enter(self: &Arc<Self>, user: &Arc<User>) -> Result<UserSeat, UserLimitReached> {
        let (limit, overflow, is_strict) = {
            let current = self.current.borrow();
            let limits = &current.config.limits;
            (limits.connections_per_user, limits.user_overflow, limits.strict_user_limit)
        };
        let key = Key::of(&user.sub);
        let Some(limit) = user.limits.connections.or(limit) else {
            return self.sit(key, None, 0).map(|(seat, _)| seat).ok_or(UserLimitReached { limit: u32::MAX });
        };
        let refused = UserLimitReached { limit };
        if is_strict {
            let slot = self.slots.claim(key, limit).await.ok_or(refused)?;
            let (mut seat, _) = self.sit(key, None, 0).ok_or(refused)?;
            seat.has_slot = true;
            self.slots.hold(seat.number, slot, user.sub.as_str().into());
            return Ok(seat);
        }
        let others = self.peers().count(key);
        if overflow == Overflow::Refuse || limit == 0 {
            return self.sit(key, Some(limit), others).map(|(seat, _)| seat).ok_or(refused);
        }
        let (seat, here) = self.sit(key, None, 0).ok_or(refused)?;
        for _ in limit..here.saturating_add(others) {
            if !self.replace_oldest(key, &user.sub, seat.number).await {
                break;
            }
        }
        Ok(seat)
    }

    /// The seat, and how many the user now has here.
    fn sit(self: &Arc<Self>, key: Key, limit: Option<u32>, others: u32) -> Option<(UserSeat, u32)> {
        let (number, here) = self.users.enter(key, now_ms(), others, limit)?;
        Some((UserSeat { cluster: self.clone(), key, number, has_slot: false }, here))
    }

    /// Has the user's oldest connection closed, wherever it is, but never the one of seat `spared`. Says whether there
    /// was one.
    async fn replace_oldest(&self, key: Key, sub: &str, spared: u64) -> bool {
        let here = self.users.oldest_but(key, spared);
        let there = self.peers().oldest(key);
        match (here, there) {
            (here, Some((boot, oldest_ms))) if here.is_none_or(|here| oldest_ms < here) => {
                self.peers().replaced(boot, key, Instant::now());
                self.tell_replace(boot, sub).await;
                true
            }
            (Some(_), _) => self.replace_here(key, sub, 1, Some(spared)),
            (None, _) => false,
        }
    }

    /// Has the user's oldest connections on this gateway closed. Says whether there were any.
    fn replace_here(&self, key: Key, sub: &str, count: u32, spared: Option<u64>) -> bool {
        let seats = self.users.dismiss(key, count, spared);
        if seats.is_empty() {
            return false;
        }
        Order::Replace { sub: sub.into(), seats: seats.into() }.give(&self.shards);
        true
    }

    /// Holds on to the slots of strict limits, for ever.
    pub(crate) async fn hold_slots(&self) {
        self.slots.run().await;
    }
}

impl UserSeat {
    /// Its number on this gateway; [`Order::Replace`] names seats by it.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        self.cluster.users.leave(self.key, self.number);
        if self.has_slot {
            self.cluster.slots.release(self.number);
        }
    }
}

#[cfg(test)]
impl Default for Cluster {
    /// A gateway without NATS and with no limits.
    fn default() -> Self {
        let current = watch::channel(Arc::new(Current::of(crate::config::Config::default()))).1;
        let metrics = Arc::new(Metrics::new(1));
        Self::new((Name::of("alone", 0), Boot(0)), current, metrics, Vec::new(), Link::default())
    }
}
