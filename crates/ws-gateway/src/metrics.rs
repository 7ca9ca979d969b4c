//! Every number the gateway tells about itself: plain counters where the work is done, one table that names them, and
//! the sums.
//!
//! Each shard owns a [`ShardMetrics`] and the bus owns the [`BusMetrics`]; only their owner writes, everybody may read.
//! So a counter is an atomic that is *loaded and stored*, never added to: see [`Counter`]. What Prometheus sees is
//! computed when it asks, from the table [`METRICS`], which is also what `docs/operations/metrics.md` is tested against.

mod exposition;
mod histogram;
mod label;
pub(crate) mod otlp;
mod process;
mod reading;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use odin_protocol::error::ErrorCode;

use crate::format::Format;

pub use exposition::{CONTENT_TYPE, Exposition};
pub use histogram::{BOUNDS_US, Histogram, Tally};
pub use label::{
    AuthResult, Class, CloseReason, Fate, HandshakeRefusal, Hop, Label, Labelled, Outcome, ResumeResult, Settlement,
};
pub(crate) use process::{max_files, resident_bytes};
pub use reading::{Labels, Reading, Value};
pub use table::{METRICS, Metric, MetricKind, markdown_table};

/// A number that only grows, written by one thread and read by any.
///
/// `add` loads and stores instead of using `fetch_add`: with a single writer nothing can come between the two, and on
/// every current processor a plain load and store cost nothing beside a locked read-modify-write. With two writers
/// counts would be lost, hence the rule: one owner for each struct of counters. `Relaxed` is enough, because nothing is
/// published through a counter; a reader may see a value that is a moment old.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owner may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one, whoever calls. A locked instruction: for what is rare. Never beside [`add`](Self::add).
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds one. Only the owner may call this.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// The value, or a slightly older one.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down but never below zero, written by one thread and read by any; see [`Counter`].
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value. Only the owner may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`. Only the owner may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get().saturating_add(n));
    }

    /// Subtracts `n`, down to zero at most. Only the owner may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.set(self.get().saturating_sub(n));
    }

    /// The value, or a slightly older one.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one shard counts. Written by its thread only. Aligned so that two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Open connections, after the handshake.
    pub connections: Gauge,
    /// Connections that were opened.
    pub connections_opened: Counter,
    /// Connections that ended.
    pub connections_closed: Labelled<CloseReason>,
    /// Handshakes that became a connection.
    pub handshakes_ok: Counter,
    /// Handshakes that did not.
    pub handshakes_refused: Labelled<HandshakeRefusal>,
    /// How long those of WebSockets took, from the accept on. What came by another request before has no beginning.
    pub handshake_duration: Histogram,
    /// Handshakes in progress.
    pub handshakes_pending: Gauge,
    /// TCP connections of clients that ask for answers, not for a connection of the protocol.
    pub http_connections: Gauge,
    /// Requests that a shard was asked: polls, last values, histories, publications.
    pub questions: Counter,
    /// Those that are not answered yet.
    pub questions_waiting: Gauge,
    /// Subscriptions of all connections.
    pub subscriptions: Gauge,
    /// Feeds with at least one subscriber on this shard.
    pub feeds: Gauge,
    /// Messages from clients.
    pub messages_in: Labelled<Format>,
    /// Bytes from clients, frames included.
    pub bytes_in: Labelled<Format>,
    /// Updates written to clients.
    pub deliveries: Labelled<Format>,
    /// Bytes written to clients, frames included.
    pub bytes_out: Labelled<Format>,
    /// Publications that subscriptions were owed: each for every subscriber that its feed had when it came.
    pub owed: Labelled<Class>,
    /// What became of those.
    pub settled: Labelled<(Class, Settlement)>,
    /// From the bus into the sockets of those at head, for each publication.
    pub to_socket: Histogram,
    /// Calls of `write` and its kin on client sockets.
    pub writes: Counter,
    /// The same that took less than was offered.
    pub writes_blocked: Counter,
    /// Latest values that a slow reader skipped.
    pub merged: Counter,
    /// `gap` messages sent.
    pub gaps_announced: Counter,
    /// Connections that do not stand at the head of all their feeds.
    pub behind: Gauge,
    /// `error` messages sent.
    pub errors_sent: Labelled<ErrorCode>,
    /// WebSocket pings sent.
    pub pings_out: Counter,
    /// WebSocket pongs received.
    pub pongs_in: Counter,
    /// Turns of the shard's loop, and how long each was at work.
    pub turn: Histogram,
    /// Bytes waiting in the queue from the bus.
    pub queue_bytes: Gauge,
    /// Times the queue was full.
    pub queue_overruns: Counter,
    /// Bytes held in rings.
    pub ring_bytes: Gauge,
    /// Subscriptions with a `since`.
    pub resumes: Labelled<ResumeResult>,
    /// Bytes read from the stream for those who catch up.
    pub page_bytes: Gauge,
    /// Connections of signed-in users.
    pub users: Gauge,
    /// Attempts to sign in, with the handshake or by message.
    pub auths: Labelled<AuthResult>,
    /// Publications of clients that the stream has stored.
    pub published: Counter,
    /// Panics while one connection was served; only that one was closed.
    pub panics: Counter,
}

/// What is counted for the whole process, at a low rate and by any thread: see [`Counter::count`].
#[derive(Debug, Default)]
pub struct ControlMetrics {
    /// Readings of the public keys.
    pub jwks_reads: Labelled<Outcome>,
    /// When they were last read, in milliseconds since 1970; 0: never.
    pub jwks_read_at_ms: Gauge,
    /// Questions to the session service.
    pub callouts: Labelled<Outcome>,
    /// Reloads of the configuration.
    pub reloads: Labelled<Outcome>,
    /// Other gateways that were heard of lately.
    pub peers: Gauge,
    /// Connections of all gateways, this one included.
    pub cluster_connections: Gauge,
    /// Revocations in force.
    pub revocations: Gauge,
    /// Orders of operators that were carried out.
    pub orders: Counter,
    /// 1 while the gateway wants new connections.
    pub ready: Gauge,
    /// 1 from the beginning of the drain on.
    pub draining: Gauge,
    /// Connections that the process takes.
    pub connection_limit: Gauge,
    /// 1 while the control stream cannot be read.
    pub control_lost: Gauge,
    /// Messages of the control stream that were no orders.
    pub control_ignored: Counter,
    /// Messages between gateways that made no sense, or came from too many of them.
    pub gossip_ignored: Counter,
    /// Slots of strict limits that connections of this gateway hold.
    pub slots: Gauge,
    /// Slots that could not be asked for, refreshed or kept.
    pub slot_errors: Counter,
    /// Requests to the admin listener without its token.
    pub admin_refused: Counter,
}

/// What the bus counts. Written by the sequencer only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BusMetrics {
    /// 1 while the connection to NATS stands.
    pub connected: Gauge,
    /// Connections to NATS after the first.
    pub reconnects: Counter,
    /// Times the NATS client said that it dropped messages.
    pub slow_consumer_events: Counter,
    /// Open feeds, lingering ones included.
    pub feeds: Gauge,
    /// The same of patterns that a consumer carries.
    pub wide_feeds: Gauge,
    /// Consumers that were given up, and others made.
    pub wide_restarts: Counter,
    /// Live messages received.
    pub live_received: Counter,
    /// Payload bytes of those.
    pub live_bytes: Counter,
    /// Messages of the stream that came for a feed, live or read to fill a hole.
    pub received: Labelled<Class>,
    /// What became of those.
    pub sorted: Labelled<(Class, Fate)>,
    /// Publications handed to shards.
    pub delivered: Counter,
    /// Messages that had been delivered before.
    pub duplicates_dropped: Counter,
    /// Publications dropped because they are not one JSON value.
    pub payload_invalid: Counter,
    /// Publications dropped because they are too big.
    pub payload_too_big: Counter,
    /// Publications dropped because their own time is too far in the future.
    pub payload_ahead: Counter,
    /// Live messages whose publisher's clock cannot be right.
    pub clock_skews: Counter,
    /// From the publisher into the stream, where the message says when it was made by a clock that can be right.
    pub to_stream: Histogram,
    /// From the stream to the sequencer, by the clocks of both.
    pub to_gateway: Histogram,
    /// Publications dropped because no channel belongs to their subject.
    pub unmapped: Counter,
    /// Delete markers of the stream.
    pub markers: Counter,
    /// Breaks found in the chain of a subject.
    pub chain_gaps: Counter,
    /// Messages read from the stream to fill such a break.
    pub fills: Counter,
    /// Direct Get requests.
    pub direct_gets: Counter,
    /// Direct Get requests that failed.
    pub direct_get_errors: Counter,
    /// Questions about the past: cursors to check and pages to read.
    pub look_backs: Counter,
    /// Audits: questions to the stream whether feeds have everything.
    pub audits: Counter,
    /// Audits that failed and were repeated.
    pub audit_failures: Counter,
    /// Subjects of which an audit found something missing.
    pub audit_repairs: Counter,
    /// Times another NATS server was tried because the route was silent.
    pub route_changes: Counter,
    /// 1 while clients have been told that what they get may be old.
    pub stale: Gauge,
    /// Leader barriers.
    pub barriers: Counter,
    /// Leader barriers that failed.
    pub barrier_errors: Counter,
    /// Feeds opened.
    pub opens: Counter,
    /// Attempts to open a feed that had to be repeated.
    pub open_retries: Counter,
    /// Subscriptions that joined a feed.
    pub joins: Counter,
    /// Times a shard's queue was full.
    pub shard_overruns: Counter,
    /// Times the stream turned out to be another one.
    pub epoch_changes: Counter,
}

/// All numbers of the process.
#[derive(Debug)]
pub struct Metrics {
    /// One for each shard, in their order.
    pub shards: Vec<Arc<ShardMetrics>>,
    /// The bus's.
    pub bus: Arc<BusMetrics>,
    /// The process's.
    pub control: Arc<ControlMetrics>,
    /// When the process began.
    pub started: Instant,
}

impl Metrics {
    /// All zero, for so many shards.
    pub fn new(shards: usize) -> Metrics {
        Metrics {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            bus: Arc::default(),
            control: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Open connections of all shards: the `connectedClients` of `connection:status`.
    pub fn connected_clients(&self) -> u64 {
        self.sum(|shard| shard.connections.get())
    }

    /// The sum over all shards.
    pub fn sum(&self, read: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.shards.iter().map(|shard| read(shard)).sum()
    }
}

#[cfg(test)]
mod tests;
