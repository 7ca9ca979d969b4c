//! What a client has counted since its start.

use std::time::Duration;

/// Figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections made: the gateway said hello.
    pub connections: u64,
    /// Connections lost or refused.
    pub partings: u64,
    /// Messages received, of any kind.
    pub messages: u64,
    /// Their bytes, without frame headers.
    pub bytes: u64,
    /// Updates delivered, snapshots included.
    pub updates: u64,
    /// Of them, snapshots.
    pub snapshots: u64,
    /// Of them, those that have publications merged into them, as mode `latest` allows.
    pub merged: u64,
    /// Updates dropped because they came before, as they may where a subscription begins or is resumed.
    pub duplicates: u64,
    /// Updates dropped because nothing covers their channel, as may happen after `unsubscribe`.
    pub strays: u64,
    /// Gaps the gateway announced.
    pub gaps: u64,
    /// Promises the gateway broke: gaps it did not announce, and updates it repeated.
    pub violations: u64,
    /// Of them, updates dropped because they came before, and not within an overlap.
    pub repeats: u64,
    /// Subscriptions that went on without a loss after a reconnect.
    pub recovered: u64,
    /// Subscriptions that did not: they began anew, whoever asked for that.
    pub not_recovered: u64,
    /// Positions the gateway has named.
    pub checkpoints: u64,
    /// Publications stored.
    pub published: u64,
    /// Requests refused.
    pub errors: u64,
    /// Messages of a type this client does not know.
    pub unknown: u64,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
}
