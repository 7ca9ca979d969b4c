//! The one table of metrics: name, kind, unit, label, meaning, and where the number comes from.

use std::fmt::Write;

use odin_protocol::error::ErrorCode;

use super::{
    AuthResult, BusMetrics, CloseReason, ControlMetrics, HandshakeRefusal, Label, Metrics, Outcome, ResumeResult,
    ShardMetrics,
};
use MetricKind::{Counter, Gauge};

use crate::{format::Format, memory::resident_bytes};

/// Whether a number only grows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl MetricKind {
    /// As the exposition says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Metric {
    /// Name as Prometheus shows it.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// `bytes`, `seconds`, or empty for a number of things.
    pub unit: &'static str,
    /// What it tells.
    pub help: &'static str,
    read: Read,
}

/// Where the number comes from. Numbers of shards are summed.
#[derive(Debug)]
enum Read {
    Shard(fn(&ShardMetrics) -> u64),
    ShardBy { label: &'static str, values: fn() -> Vec<&'static str>, read: fn(&ShardMetrics, usize) -> u64 },
    Bus(fn(&BusMetrics) -> u64),
    Control(fn(&ControlMetrics) -> u64),
    ControlBy { label: &'static str, values: fn() -> Vec<&'static str>, read: fn(&ControlMetrics, usize) -> u64 },
    Process(fn(&Metrics) -> u64),
}

impl Metric {
    /// The name of its label, if it has one.
    pub fn label(&self) -> Option<&'static str> {
        match self.read {
            Read::ShardBy { label, .. } | Read::ControlBy { label, .. } => Some(label),
            _ => None,
        }
    }

    /// The values of its label.
    pub fn label_values(&self) -> Vec<&'static str> {
        match self.read {
            Read::ShardBy { values, .. } | Read::ControlBy { values, .. } => values(),
            _ => Vec::new(),
        }
    }

    /// The numbers: one, or one for each value of the label.
    pub fn values(&self, metrics: &Metrics) -> Vec<(Option<&'static str>, u64)> {
        match self.read {
            Read::Shard(read) => vec![(None, metrics.sum(read))],
            Read::ShardBy { values, read, .. } => values()
                .into_iter()
                .enumerate()
                .map(|(index, value)| (Some(value), metrics.sum(|shard| read(shard, index))))
                .collect(),
            Read::Bus(read) => vec![(None, read(&metrics.bus))],
            Read::Control(read) => vec![(None, read(&metrics.control))],
            Read::ControlBy { values, read, .. } => {
                let values = values().into_iter().enumerate();
                values.map(|(index, value)| (Some(value), read(&metrics.control, index))).collect()
            }
            Read::Process(read) => vec![(None, read(metrics))],
        }
    }
}

const fn metric(name: &'static str, kind: MetricKind, unit: &'static str, read: Read, help: &'static str) -> Metric {
    Metric { name, kind, unit, help, read }
}

const fn by<L: Label>(read: fn(&ShardMetrics, usize) -> u64) -> Read {
    Read::ShardBy { label: L::NAME, values: || L::ALL.iter().map(|value| value.as_str()).collect(), read }
}

const fn control_by<L: Label>(read: fn(&ControlMetrics, usize) -> u64) -> Read {
    Read::ControlBy { label: L::NAME, values: || L::ALL.iter().map(|value| value.as_str()).collect(), read }
}

/// Every metric, in the order of the exposition: shards, bus, control, process.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("odin_gateway_connections", Gauge, "", Read::Shard(|m| m.connections.get()), "Open connections"),
    metric("odin_gateway_connections_opened_total", Counter, "", Read::Shard(|m| m.connections_opened.get()), "Connections that were opened"),
    metric("odin_gateway_connections_closed_total", Counter, "", by::<CloseReason>(|m, i| m.connections_closed.of(CloseReason::ALL[i]).get()), "Connections that ended"),
    metric("odin_gateway_handshakes_ok_total", Counter, "", Read::Shard(|m| m.handshakes_ok.get()), "Handshakes that became a connection"),
    metric("odin_gateway_handshakes_refused_total", Counter, "", by::<HandshakeRefusal>(|m, i| m.handshakes_refused.of(HandshakeRefusal::ALL[i]).get()), "Handshakes that did not become a connection"),
    metric("odin_gateway_handshakes_pending", Gauge, "", Read::Shard(|m| m.handshakes_pending.get()), "Handshakes in progress"),
    metric("odin_gateway_http_connections", Gauge, "", Read::Shard(|m| m.http_connections.get()), "TCP connections of clients that send HTTP requests"),
    metric("odin_gateway_http_questions_total", Counter, "", Read::Shard(|m| m.questions.get()), "Polls, last values, histories and publications by HTTP"),
    metric("odin_gateway_http_questions_waiting", Gauge, "", Read::Shard(|m| m.questions_waiting.get()), "Those of them that are not answered yet"),
    metric("odin_gateway_subscriptions", Gauge, "", Read::Shard(|m| m.subscriptions.get()), "Subscriptions of all connections"),
    metric("odin_gateway_shard_feeds", Gauge, "", Read::Shard(|m| m.feeds.get()), "Feeds with at least one subscriber, counted on each shard"),
    metric("odin_gateway_messages_received_total", Counter, "", by::<Format>(|m, i| m.messages_in.of(Format::ALL[i]).get()), "Messages from clients"),
    metric("odin_gateway_received_bytes_total", Counter, "bytes", Read::Shard(|m| m.bytes_in.get()), "Bytes from clients, frames included"),
    metric("odin_gateway_deliveries_total", Counter, "", by::<Format>(|m, i| m.deliveries.of(Format::ALL[i]).get()), "Updates written to clients"),
    metric("odin_gateway_sent_bytes_total", Counter, "bytes", Read::Shard(|m| m.bytes_out.get()), "Bytes written to clients, frames included"),
    metric("odin_gateway_writes_total", Counter, "", Read::Shard(|m| m.writes.get()), "Calls of write and its kin on client sockets"),
    metric("odin_gateway_writes_blocked_total", Counter, "", Read::Shard(|m| m.writes_blocked.get()), "The same that took less than was offered: the client is slower than its data"),
    metric("odin_gateway_merged_total", Counter, "", Read::Shard(|m| m.merged.get()), "Latest values that a slow reader skipped"),
    metric("odin_gateway_gaps_announced_total", Counter, "", Read::Shard(|m| m.gaps_announced.get()), "Gap messages sent: publications a client was told it will not get"),
    metric("odin_gateway_connections_behind", Gauge, "", Read::Shard(|m| m.behind.get()), "Connections that do not stand at the head of all their feeds"),
    metric("odin_gateway_errors_sent_total", Counter, "", by::<ErrorCode>(|m, i| m.errors_sent.of(ErrorCode::ALL[i]).get()), "Error messages sent to clients"),
    metric("odin_gateway_pings_sent_total", Counter, "", Read::Shard(|m| m.pings_out.get()), "WebSocket pings sent"),
    metric("odin_gateway_pongs_received_total", Counter, "", Read::Shard(|m| m.pongs_in.get()), "WebSocket pongs received"),
    metric("odin_gateway_shard_turns_total", Counter, "", Read::Shard(|m| m.turns.get()), "Turns of the shards' loops"),
    metric("odin_gateway_shard_queue_bytes", Gauge, "bytes", Read::Shard(|m| m.queue_bytes.get()), "Bytes waiting in the queues from the bus to the shards"),
    metric("odin_gateway_shard_queue_overruns_total", Counter, "", Read::Shard(|m| m.queue_overruns.get()), "Times a shard found that its queue had been full"),
    metric("odin_gateway_ring_bytes", Gauge, "bytes", Read::Shard(|m| m.ring_bytes.get()), "Bytes of recent publications held in rings"),
    metric("odin_gateway_resumes_total", Counter, "", by::<ResumeResult>(|m, i| m.resumes.of(ResumeResult::ALL[i]).get()), "Subscriptions that gave a cursor"),
    metric("odin_gateway_catch_up_bytes", Gauge, "bytes", Read::Shard(|m| m.page_bytes.get()), "Bytes read from the stream for readers that catch up and not taken yet"),
    metric("odin_gateway_user_connections", Gauge, "", Read::Shard(|m| m.users.get()), "Open connections of signed-in users"),
    metric("odin_gateway_auths_total", Counter, "", by::<AuthResult>(|m, i| m.auths.of(AuthResult::ALL[i]).get()), "Attempts to sign in"),
    metric("odin_gateway_client_publications_total", Counter, "", Read::Shard(|m| m.published.get()), "Publications of clients that the stream has stored"),
    metric("odin_gateway_panics_total", Counter, "", Read::Shard(|m| m.panics.get()), "Panics while one connection was served; only that one was closed"),
    metric("odin_gateway_nats_connected", Gauge, "", Read::Bus(|m| m.connected.get()), "1 while the connection to NATS stands"),
    metric("odin_gateway_nats_reconnects_total", Counter, "", Read::Bus(|m| m.reconnects.get()), "Connections to NATS after the first"),
    metric("odin_gateway_nats_slow_consumer_events_total", Counter, "", Read::Bus(|m| m.slow_consumer_events.get()), "Times the NATS client dropped messages; they are repaired from the stream"),
    metric("odin_gateway_feeds", Gauge, "", Read::Bus(|m| m.feeds.get()), "Open feeds, lingering ones included"),
    metric("odin_gateway_wide_feeds", Gauge, "", Read::Bus(|m| m.wide_feeds.get()), "The same of patterns over so many subjects that a consumer carries them"),
    metric("odin_gateway_wide_restarts_total", Counter, "", Read::Bus(|m| m.wide_restarts.get()), "Consumers of such patterns that were given up, and others tried"),
    metric("odin_gateway_live_messages_total", Counter, "", Read::Bus(|m| m.live_received.get()), "Live messages received from NATS"),
    metric("odin_gateway_live_bytes_total", Counter, "bytes", Read::Bus(|m| m.live_bytes.get()), "Payload bytes of live messages"),
    metric("odin_gateway_publications_delivered_total", Counter, "", Read::Bus(|m| m.delivered.get()), "Publications handed to shards, once for every shard"),
    metric("odin_gateway_duplicates_dropped_total", Counter, "", Read::Bus(|m| m.duplicates_dropped.get()), "Messages that had been delivered before"),
    metric("odin_gateway_payload_invalid_total", Counter, "", Read::Bus(|m| m.payload_invalid.get()), "Publications dropped: not one JSON value"),
    metric("odin_gateway_payload_too_big_total", Counter, "", Read::Bus(|m| m.payload_too_big.get()), "Publications dropped: too big"),
    metric("odin_gateway_payload_ahead_total", Counter, "", Read::Bus(|m| m.payload_ahead.get()), "Publications dropped: their timestamp is too far in the future"),
    metric("odin_gateway_clock_skews_total", Counter, "", Read::Bus(|m| m.clock_skews.get()), "Live messages whose publisher's clock cannot be right; not in the two below"),
    metric("odin_gateway_stamped_messages_total", Counter, "", Read::Bus(|m| m.stamped.get()), "Live messages that say when they were made"),
    metric("odin_gateway_store_milliseconds_total", Counter, "", Read::Bus(|m| m.store_ms.get()), "Time that those took from their publisher into the stream"),
    metric("odin_gateway_unmapped_total", Counter, "", Read::Bus(|m| m.unmapped.get()), "Publications dropped: no channel belongs to their subject"),
    metric("odin_gateway_delete_markers_total", Counter, "", Read::Bus(|m| m.markers.get()), "Delete markers of the stream"),
    metric("odin_gateway_chain_gaps_total", Counter, "", Read::Bus(|m| m.chain_gaps.get()), "Breaks found in the chain of a subject"),
    metric("odin_gateway_filled_messages_total", Counter, "", Read::Bus(|m| m.fills.get()), "Messages read from the stream to fill such a break"),
    metric("odin_gateway_direct_gets_total", Counter, "", Read::Bus(|m| m.direct_gets.get()), "Direct Get requests"),
    metric("odin_gateway_direct_get_errors_total", Counter, "", Read::Bus(|m| m.direct_get_errors.get()), "Direct Get requests that failed"),
    metric("odin_gateway_look_backs_total", Counter, "", Read::Bus(|m| m.look_backs.get()), "Cursors checked and pages read for readers that catch up or resume"),
    metric("odin_gateway_audits_total", Counter, "", Read::Bus(|m| m.audits.get()), "Questions to the stream whether feeds have everything"),
    metric("odin_gateway_audit_failures_total", Counter, "", Read::Bus(|m| m.audit_failures.get()), "The same that failed and were repeated"),
    metric("odin_gateway_audit_repairs_total", Counter, "", Read::Bus(|m| m.audit_repairs.get()), "Subjects of which an audit found something missing; it was read from the stream"),
    metric("odin_gateway_route_changes_total", Counter, "", Read::Bus(|m| m.route_changes.get()), "Times another NATS server was tried because the route was silent"),
    metric("odin_gateway_stale", Gauge, "", Read::Bus(|m| m.stale.get()), "1 while clients have been told that what they get may be old"),
    metric("odin_gateway_barriers_total", Counter, "", Read::Bus(|m| m.barriers.get()), "Leader barriers"),
    metric("odin_gateway_barrier_errors_total", Counter, "", Read::Bus(|m| m.barrier_errors.get()), "Leader barriers that failed"),
    metric("odin_gateway_feed_opens_total", Counter, "", Read::Bus(|m| m.opens.get()), "Feeds opened"),
    metric("odin_gateway_feed_open_retries_total", Counter, "", Read::Bus(|m| m.open_retries.get()), "Attempts to open a feed that had to be repeated"),
    metric("odin_gateway_feed_joins_total", Counter, "", Read::Bus(|m| m.joins.get()), "Subscriptions that joined a feed"),
    metric("odin_gateway_shard_overruns_total", Counter, "", Read::Bus(|m| m.shard_overruns.get()), "Times the bus found a shard's queue full"),
    metric("odin_gateway_epoch_changes_total", Counter, "", Read::Bus(|m| m.epoch_changes.get()), "Times the stream turned out to be another one"),
    metric("odin_gateway_jwks_reads_total", Counter, "", control_by::<Outcome>(|m, i| m.jwks_reads.of(Outcome::ALL[i]).get()), "Readings of the public keys"),
    metric("odin_gateway_jwks_age_seconds", Gauge, "seconds", Read::Control(jwks_age_seconds), "Time since the public keys were last read; 0 where there are none to read"),
    metric("odin_gateway_callouts_total", Counter, "", control_by::<Outcome>(|m, i| m.callouts.of(Outcome::ALL[i]).get()), "Questions to the session service"),
    metric("odin_gateway_config_reloads_total", Counter, "", control_by::<Outcome>(|m, i| m.reloads.of(Outcome::ALL[i]).get()), "Reloads of the configuration"),
    metric("odin_gateway_cluster_peers", Gauge, "", Read::Control(|m| m.peers.get()), "Other gateways that were heard of lately"),
    metric("odin_gateway_cluster_connections", Gauge, "", Read::Control(|m| m.cluster_connections.get()), "Connections of all gateways, this one included"),
    metric("odin_gateway_revocations", Gauge, "", Read::Control(|m| m.revocations.get()), "Revocations in force"),
    metric("odin_gateway_orders_total", Counter, "", Read::Control(|m| m.orders.get()), "Orders of operators that were carried out"),
    metric("odin_gateway_control_lost", Gauge, "", Read::Control(|m| m.control_lost.get()), "1 while revocations and orders cannot be read"),
    metric("odin_gateway_control_ignored_total", Counter, "", Read::Control(|m| m.control_ignored.get()), "Messages of the control stream that were no orders"),
    metric("odin_gateway_gossip_ignored_total", Counter, "", Read::Control(|m| m.gossip_ignored.get()), "Messages between gateways that made no sense, or came from too many of them"),
    metric("odin_gateway_user_slots", Gauge, "", Read::Control(|m| m.slots.get()), "Slots of strict limits that connections hold"),
    metric("odin_gateway_user_slot_errors_total", Counter, "", Read::Control(|m| m.slot_errors.get()), "Slots that could not be asked for, refreshed or kept"),
    metric("odin_gateway_admin_refused_total", Counter, "", Read::Control(|m| m.admin_refused.get()), "Requests to the admin listener without its token"),
    metric("odin_gateway_uptime_seconds", Gauge, "seconds", Read::Process(uptime_seconds), "Time since the process began"),
    metric("odin_gateway_resident_memory_bytes", Gauge, "bytes", Read::Process(|_| resident_bytes()), "Memory of the process that is in RAM"),
];

/// Whole seconds since the public keys were read.
fn jwks_age_seconds(control: &ControlMetrics) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    match control.jwks_read_at_ms.get() {
        0 => 0,
        at_ms => now.as_secs().saturating_sub(at_ms / 1000),
    }
}

/// Whole seconds since the process began.
fn uptime_seconds(metrics: &Metrics) -> u64 {
    metrics.started.elapsed().as_secs()
}

/// The table for the manual, in Markdown.
pub fn markdown_table() -> String {
    let mut text = String::from("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let labels = match metric.label() {
            Some(label) => format!("`{label}`: {}", metric.label_values().join(", ")),
            None => String::new(),
        };
        let Metric { name, kind, unit, help, .. } = metric;
        let _ = writeln!(text, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.as_str());
    }
    text
}
