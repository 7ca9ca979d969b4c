//! The one table of metrics: name, kind, unit, label, meaning, and where the number comes from.

use std::fmt::Write;

use super::{
    BusMetrics, ControlMetrics, Hop, Label, Metrics, Reading, ShardMetrics, Value,
    process::{cpu_seconds, max_files, open_files, resident_bytes, threads},
};
use MetricKind::{Counter, Gauge, Histogram};
use Read::{Bus, Control, Process, Shard};

use crate::telemetry::lost_lines;

/// Which commit it was built from, where whoever built it said so.
const REVISION: &str = match option_env!("ODIN_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// What a metric is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations by how long they were; see [`BOUNDS_US`](super::BOUNDS_US).
    Histogram,
}

impl MetricKind {
    /// As the exposition says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
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
    Shard(fn(&ShardMetrics) -> Reading),
    Bus(fn(&BusMetrics) -> Reading),
    Control(fn(&ControlMetrics) -> Reading),
    Process(fn(&Metrics) -> Reading),
}

impl Metric {
    /// What it is now, for every combination of its labels.
    pub fn read(&self, metrics: &Metrics) -> Reading {
        match self.read {
            Shard(read) => sum(metrics, read),
            Bus(read) => read(&metrics.bus),
            Control(read) => read(&metrics.control),
            Process(read) => read(metrics),
        }
    }

    /// Names of its labels, each with all its values.
    pub fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
        for (labels, _) in self.read(&Metrics::new(1)).0 {
            for (name, value) in labels {
                match all.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) if values.contains(&value) => {}
                    Some((_, values)) => values.push(value),
                    None => all.push((name, vec![value])),
                }
            }
        }
        all
    }
}

fn sum(metrics: &Metrics, read: fn(&ShardMetrics) -> Reading) -> Reading {
    let mut readings = metrics.shards.iter().map(|shard| read(shard));
    let mut sum = readings.next().expect("there is a shard");
    readings.for_each(|more| sum.add(&more));
    sum
}

const fn metric(name: &'static str, kind: MetricKind, unit: &'static str, read: Read, help: &'static str) -> Metric {
    Metric { name, kind, unit, help, read }
}

/// Every metric, in the order of the exposition: shards, bus, control, process.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("odin_gateway_connections", Gauge, "", Shard(|m| m.connections.read()), "Open connections"),
    metric("odin_gateway_connections_opened_total", Counter, "", Shard(|m| m.connections_opened.read()), "Connections that were opened"),
    metric("odin_gateway_connections_closed_total", Counter, "", Shard(|m| m.connections_closed.read()), "Connections that ended"),
    metric("odin_gateway_handshakes_ok_total", Counter, "", Shard(|m| m.handshakes_ok.read()), "Handshakes that became a connection"),
    metric("odin_gateway_handshakes_refused_total", Counter, "", Shard(|m| m.handshakes_refused.read()), "Handshakes that did not become a connection"),
    metric("odin_gateway_handshakes_pending", Gauge, "", Shard(|m| m.handshakes_pending.read()), "Handshakes in progress"),
    metric("odin_gateway_handshake_duration_seconds", Histogram, "seconds", Shard(|m| m.handshake_duration.read()), "How long the handshakes of WebSockets took, from the accept on"),
    metric("odin_gateway_http_connections", Gauge, "", Shard(|m| m.http_connections.read()), "TCP connections of clients that send HTTP requests"),
    metric("odin_gateway_http_questions_total", Counter, "", Shard(|m| m.questions.read()), "Polls, last values, histories and publications by HTTP"),
    metric("odin_gateway_http_questions_waiting", Gauge, "", Shard(|m| m.questions_waiting.read()), "Those of them that are not answered yet"),
    metric("odin_gateway_subscriptions", Gauge, "", Shard(|m| m.subscriptions.read()), "Subscriptions of all connections"),
    metric("odin_gateway_shard_feeds", Gauge, "", Shard(|m| m.feeds.read()), "Feeds with at least one subscriber, counted on each shard"),
    metric("odin_gateway_messages_received_total", Counter, "", Shard(|m| m.messages_in.read()), "Messages from clients"),
    metric("odin_gateway_received_bytes_total", Counter, "bytes", Shard(|m| m.bytes_in.read()), "Bytes from clients, frames included"),
    metric("odin_gateway_deliveries_total", Counter, "", Shard(|m| m.deliveries.read()), "Updates written to clients"),
    metric("odin_gateway_sent_bytes_total", Counter, "bytes", Shard(|m| m.bytes_out.read()), "Bytes written to clients, frames included"),
    metric("odin_gateway_owed_total", Counter, "", Shard(|m| m.owed.read()), "Publications that subscriptions were owed: each for every subscriber its feed had when it came"),
    metric("odin_gateway_settled_total", Counter, "", Shard(|m| m.settled.read()), "What became of those"),
    metric("odin_gateway_owed_pending", Gauge, "", Process(pending), "Owed and not settled: slow readers have some, nobody else"),
    metric("odin_gateway_latency_seconds", Histogram, "seconds", Process(latency), "How long publications took for each stretch of their way; between machines by the clocks of both"),
    metric("odin_gateway_writes_total", Counter, "", Shard(|m| m.writes.read()), "Calls of write and its kin on client sockets"),
    metric("odin_gateway_writes_blocked_total", Counter, "", Shard(|m| m.writes_blocked.read()), "The same that took less than was offered: the client is slower than its data"),
    metric("odin_gateway_merged_total", Counter, "", Shard(|m| m.merged.read()), "Latest values that a slow reader skipped"),
    metric("odin_gateway_gaps_announced_total", Counter, "", Shard(|m| m.gaps_announced.read()), "Gap messages sent: publications a client was told it will not get"),
    metric("odin_gateway_connections_behind", Gauge, "", Shard(|m| m.behind.read()), "Connections that do not stand at the head of all their feeds"),
    metric("odin_gateway_errors_sent_total", Counter, "", Shard(|m| m.errors_sent.read()), "Error messages sent to clients"),
    metric("odin_gateway_pings_sent_total", Counter, "", Shard(|m| m.pings_out.read()), "WebSocket pings sent"),
    metric("odin_gateway_pongs_received_total", Counter, "", Shard(|m| m.pongs_in.read()), "WebSocket pongs received"),
    metric("odin_gateway_shard_turn_seconds", Histogram, "seconds", Shard(|m| m.turn.read()), "How long the turns of the shards' loops took: so long everything else on the shard waited"),
    metric("odin_gateway_shard_queue_bytes", Gauge, "bytes", Shard(|m| m.queue_bytes.read()), "Bytes waiting in the queues from the bus to the shards"),
    metric("odin_gateway_shard_queue_overruns_total", Counter, "", Shard(|m| m.queue_overruns.read()), "Times a shard found that its queue had been full"),
    metric("odin_gateway_ring_bytes", Gauge, "bytes", Shard(|m| m.ring_bytes.read()), "Bytes of recent publications held in rings"),
    metric("odin_gateway_resumes_total", Counter, "", Shard(|m| m.resumes.read()), "Subscriptions that gave a cursor"),
    metric("odin_gateway_catch_up_bytes", Gauge, "bytes", Shard(|m| m.page_bytes.read()), "Bytes read from the stream for readers that catch up and not taken yet"),
    metric("odin_gateway_user_connections", Gauge, "", Shard(|m| m.users.read()), "Open connections of signed-in users"),
    metric("odin_gateway_auths_total", Counter, "", Shard(|m| m.auths.read()), "Attempts to sign in"),
    metric("odin_gateway_client_publications_total", Counter, "", Shard(|m| m.published.read()), "Publications of clients that the stream has stored"),
    metric("odin_gateway_panics_total", Counter, "", Shard(|m| m.panics.read()), "Panics while one connection was served; only that one was closed"),
    metric("odin_gateway_nats_connected", Gauge, "", Bus(|m| m.connected.read()), "1 while the connection to NATS stands"),
    metric("odin_gateway_nats_reconnects_total", Counter, "", Bus(|m| m.reconnects.read()), "Connections to NATS after the first"),
    metric("odin_gateway_nats_slow_consumer_events_total", Counter, "", Bus(|m| m.slow_consumer_events.read()), "Times the NATS client dropped messages; they are repaired from the stream"),
    metric("odin_gateway_feeds", Gauge, "", Bus(|m| m.feeds.read()), "Open feeds, lingering ones included"),
    metric("odin_gateway_wide_feeds", Gauge, "", Bus(|m| m.wide_feeds.read()), "The same of patterns over so many subjects that a consumer carries them"),
    metric("odin_gateway_wide_restarts_total", Counter, "", Bus(|m| m.wide_restarts.read()), "Consumers of such patterns that were given up, and others tried"),
    metric("odin_gateway_live_messages_total", Counter, "", Bus(|m| m.live_received.read()), "Live messages received from NATS"),
    metric("odin_gateway_live_bytes_total", Counter, "bytes", Bus(|m| m.live_bytes.read()), "Payload bytes of live messages"),
    metric("odin_gateway_publications_received_total", Counter, "", Bus(|m| m.received.read()), "Messages of the stream that came for a feed, live or read to fill a hole"),
    metric("odin_gateway_publications_sorted_total", Counter, "", Bus(|m| m.sorted.read()), "What became of those on the way to the shards"),
    metric("odin_gateway_publications_delivered_total", Counter, "", Bus(|m| m.delivered.read()), "Publications handed to shards"),
    metric("odin_gateway_duplicates_dropped_total", Counter, "", Bus(|m| m.duplicates_dropped.read()), "Messages that had been delivered before"),
    metric("odin_gateway_payload_invalid_total", Counter, "", Bus(|m| m.payload_invalid.read()), "Publications dropped: not one JSON value"),
    metric("odin_gateway_payload_too_big_total", Counter, "", Bus(|m| m.payload_too_big.read()), "Publications dropped: too big"),
    metric("odin_gateway_payload_ahead_total", Counter, "", Bus(|m| m.payload_ahead.read()), "Publications dropped: their timestamp is too far in the future"),
    metric("odin_gateway_clock_skews_total", Counter, "", Bus(|m| m.clock_skews.read()), "Live messages whose publisher's clock cannot be right; not in the latency"),
    metric("odin_gateway_unmapped_total", Counter, "", Bus(|m| m.unmapped.read()), "Publications dropped: no channel belongs to their subject"),
    metric("odin_gateway_delete_markers_total", Counter, "", Bus(|m| m.markers.read()), "Delete markers of the stream"),
    metric("odin_gateway_chain_gaps_total", Counter, "", Bus(|m| m.chain_gaps.read()), "Breaks found in the chain of a subject"),
    metric("odin_gateway_filled_messages_total", Counter, "", Bus(|m| m.fills.read()), "Messages read from the stream to fill such a break"),
    metric("odin_gateway_direct_gets_total", Counter, "", Bus(|m| m.direct_gets.read()), "Direct Get requests"),
    metric("odin_gateway_direct_get_errors_total", Counter, "", Bus(|m| m.direct_get_errors.read()), "Direct Get requests that failed"),
    metric("odin_gateway_look_backs_total", Counter, "", Bus(|m| m.look_backs.read()), "Cursors checked and pages read for readers that catch up or resume"),
    metric("odin_gateway_audits_total", Counter, "", Bus(|m| m.audits.read()), "Questions to the stream whether feeds have everything"),
    metric("odin_gateway_audit_failures_total", Counter, "", Bus(|m| m.audit_failures.read()), "The same that failed and were repeated"),
    metric("odin_gateway_audit_repairs_total", Counter, "", Bus(|m| m.audit_repairs.read()), "Subjects of which an audit found something missing; it was read from the stream"),
    metric("odin_gateway_route_changes_total", Counter, "", Bus(|m| m.route_changes.read()), "Times another NATS server was tried because the route was silent"),
    metric("odin_gateway_stale", Gauge, "", Bus(|m| m.stale.read()), "1 while clients have been told that what they get may be old"),
    metric("odin_gateway_barriers_total", Counter, "", Bus(|m| m.barriers.read()), "Leader barriers"),
    metric("odin_gateway_barrier_errors_total", Counter, "", Bus(|m| m.barrier_errors.read()), "Leader barriers that failed"),
    metric("odin_gateway_feed_opens_total", Counter, "", Bus(|m| m.opens.read()), "Feeds opened"),
    metric("odin_gateway_feed_open_retries_total", Counter, "", Bus(|m| m.open_retries.read()), "Attempts to open a feed that had to be repeated"),
    metric("odin_gateway_feed_joins_total", Counter, "", Bus(|m| m.joins.read()), "Subscriptions that joined a feed"),
    metric("odin_gateway_shard_overruns_total", Counter, "", Bus(|m| m.shard_overruns.read()), "Times the bus found a shard's queue full"),
    metric("odin_gateway_epoch_changes_total", Counter, "", Bus(|m| m.epoch_changes.read()), "Times the stream turned out to be another one"),
    metric("odin_gateway_jwks_reads_total", Counter, "", Control(|m| m.jwks_reads.read()), "Readings of the public keys"),
    metric("odin_gateway_jwks_age_seconds", Gauge, "seconds", Control(jwks_age_seconds), "Time since the public keys were last read; 0 where there are none to read"),
    metric("odin_gateway_callouts_total", Counter, "", Control(|m| m.callouts.read()), "Questions to the session service"),
    metric("odin_gateway_config_reloads_total", Counter, "", Control(|m| m.reloads.read()), "Reloads of the configuration"),
    metric("odin_gateway_cluster_peers", Gauge, "", Control(|m| m.peers.read()), "Other gateways that were heard of lately"),
    metric("odin_gateway_cluster_connections", Gauge, "", Control(|m| m.cluster_connections.read()), "Connections of all gateways, this one included"),
    metric("odin_gateway_revocations", Gauge, "", Control(|m| m.revocations.read()), "Revocations in force"),
    metric("odin_gateway_orders_total", Counter, "", Control(|m| m.orders.read()), "Orders of operators that were carried out"),
    metric("odin_gateway_ready", Gauge, "", Control(|m| m.ready.read()), "1 while the gateway wants new connections, as /readyz says"),
    metric("odin_gateway_draining", Gauge, "", Control(|m| m.draining.read()), "1 from the beginning of the drain on"),
    metric("odin_gateway_limits_connections", Gauge, "", Control(|m| m.connection_limit.read()), "Connections that the process takes"),
    metric("odin_gateway_control_lost", Gauge, "", Control(|m| m.control_lost.read()), "1 while revocations and orders cannot be read"),
    metric("odin_gateway_control_ignored_total", Counter, "", Control(|m| m.control_ignored.read()), "Messages of the control stream that were no orders"),
    metric("odin_gateway_gossip_ignored_total", Counter, "", Control(|m| m.gossip_ignored.read()), "Messages between gateways that made no sense, or came from too many of them"),
    metric("odin_gateway_user_slots", Gauge, "", Control(|m| m.slots.read()), "Slots of strict limits that connections hold"),
    metric("odin_gateway_user_slot_errors_total", Counter, "", Control(|m| m.slot_errors.read()), "Slots that could not be asked for, refreshed or kept"),
    metric("odin_gateway_admin_refused_total", Counter, "", Control(|m| m.admin_refused.read()), "Requests to the admin listener without its token"),
    metric("odin_gateway_uptime_seconds", Gauge, "seconds", Process(uptime_seconds), "Time since the process began"),
    metric("odin_gateway_build_info", Gauge, "", Process(|_| build()), "1, with what is running"),
    metric("odin_gateway_resident_memory_bytes", Gauge, "bytes", Process(|_| resident_bytes().into()), "Memory of the process that is in RAM"),
    metric("odin_gateway_process_cpu_seconds_total", Counter, "seconds", Process(|_| Value::Real(cpu_seconds()).into()), "Processor time used, by the process and by the kernel for it"),
    metric("odin_gateway_threads", Gauge, "", Process(|_| threads().into()), "Threads of the process"),
    metric("odin_gateway_open_file_descriptors", Gauge, "", Process(|_| open_files().into()), "File descriptors in use"),
    metric("odin_gateway_max_file_descriptors", Gauge, "", Process(|_| max_files().into()), "File descriptors there may be"),
    metric("odin_gateway_log_lines_lost_total", Counter, "", Process(|_| lost_lines().into()), "Lines of the log that were dropped because nobody took them"),
];

/// Whole seconds since the public keys were read.
fn jwks_age_seconds(control: &ControlMetrics) -> Reading {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    match control.jwks_read_at_ms.get() {
        0 => 0.into(),
        at_ms => now.as_secs().saturating_sub(at_ms / 1000).into(),
    }
}

/// Whole seconds since the process began.
fn uptime_seconds(metrics: &Metrics) -> Reading {
    metrics.started.elapsed().as_secs().into()
}

fn build() -> Reading {
    Reading::from(1).with("version", env!("CARGO_PKG_VERSION")).with("revision", REVISION)
}

/// Owed less settled, by class. Shards count on while they are read: what was settled is read first, so that nothing is
/// settled that was never owed.
fn pending(metrics: &Metrics) -> Reading {
    let settled = sum(metrics, |shard| shard.settled.read());
    let mut owed = sum(metrics, |shard| shard.owed.read());
    for (labels, value) in &mut owed.0 {
        let of_class = settled.0.iter().filter(|(others, _)| others.starts_with(labels));
        let settled = of_class.map(|(_, value)| if let Value::Number(number) = value { *number } else { 0 }).sum();
        if let Value::Number(number) = value {
            *number = number.saturating_sub(settled);
        }
    }
    owed
}

fn latency(metrics: &Metrics) -> Reading {
    let of =
        |reading: Reading, hop: Hop| hop.labels().into_iter().fold(reading, |all, (name, value)| all.with(name, value));
    of(metrics.bus.to_stream.read(), Hop::PublisherToStream)
        .and(of(metrics.bus.to_gateway.read(), Hop::StreamToGateway))
        .and(of(sum(metrics, |shard| shard.to_socket.read()), Hop::GatewayToSocket))
}

/// The table for the manual, in Markdown.
pub fn markdown_table() -> String {
    let mut text = String::from("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let labels = metric.labels().into_iter().map(|(name, values)| match name {
            "version" | "revision" => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.join(", ")),
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        let Metric { name, kind, unit, help, .. } = metric;
        let _ = writeln!(text, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.as_str());
    }
    text
}
