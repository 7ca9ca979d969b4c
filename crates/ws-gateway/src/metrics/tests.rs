use std::collections::BTreeSet;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/operations/metrics.md");

fn busy() -> Arc<Metrics> {
    let metrics = Metrics::new(2);
    for shard in &metrics.shards {
        shard.connections.set(3);
        shard.connections_closed.of(CloseReason::Drain).add(2);
        shard.deliveries.of(Format::MsgPack).add(7);
        shard.bytes_out.add(100);
    }
    metrics.bus.connected.set(1);
    Arc::new(metrics)
}

#[test]
fn sums_over_shards() {
    let metrics = busy();
    assert_eq!(metrics.connected_clients(), 6);
    let text = Exposition::new(metrics).render();
    for line in [
        "odin_gateway_connections 6",
        r#"odin_gateway_connections_closed_total{reason="drain"} 4"#,
        r#"odin_gateway_connections_closed_total{reason="normal"} 0"#,
        r#"odin_gateway_deliveries_total{format="msgpack"} 14"#,
        "odin_gateway_sent_bytes_total 200",
        "odin_gateway_nats_connected 1",
        "# TYPE odin_gateway_sent_bytes counter",
        "# UNIT odin_gateway_sent_bytes bytes",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_exposition_has_the_table_and_nothing_else() {
    let text = Exposition::new(busy()).render();
    let samples: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap_or_default())
        .collect();
    let table: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(samples, table);
    assert_eq!(table.len(), METRICS.len(), "a name is there twice");
}

#[test]
fn names_follow_the_rules() {
    for Metric { name, kind, unit, help, .. } in METRICS {
        assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
        assert!(name.trim_end_matches("_total").ends_with(unit), "{name}");
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
    }
}

fn raise_each<L: Label>(labelled: &Labelled<L>, next: &mut impl FnMut() -> u64) {
    L::ALL.iter().for_each(|label| labelled.of(*label).add(next()));
}

/// Gives every number another value. A new field does not compile until it is here.
fn raise_all(metrics: &Metrics) -> u64 {
    let mut last = 0;
    let mut next = || {
        last += 1;
        last
    };
    let ShardMetrics {
        connections,
        connections_opened,
        connections_closed,
        handshakes_ok,
        handshakes_refused,
        handshakes_pending,
        http_connections,
        questions,
        questions_waiting,
        subscriptions,
        feeds,
        messages_in,
        bytes_in,
        deliveries,
        bytes_out,
        writes,
        writes_blocked,
        merged,
        gaps_announced,
        behind,
        errors_sent,
        pings_out,
        pongs_in,
        turns,
        queue_bytes,
        queue_overruns,
        ring_bytes,
        resumes,
        page_bytes,
        users,
        auths,
        published,
        panics,
    } = &*metrics.shards[0];
    connections.set(next());
    connections_opened.add(next());
    raise_each(connections_closed, &mut next);
    handshakes_ok.add(next());
    raise_each(handshakes_refused, &mut next);
    handshakes_pending.set(next());
    http_connections.set(next());
    questions.add(next());
    questions_waiting.set(next());
    subscriptions.set(next());
    feeds.set(next());
    raise_each(messages_in, &mut next);
    bytes_in.add(next());
    raise_each(deliveries, &mut next);
    bytes_out.add(next());
    writes.add(next());
    writes_blocked.add(next());
    merged.add(next());
    gaps_announced.add(next());
    behind.set(next());
    raise_each(errors_sent, &mut next);
    pings_out.add(next());
    pongs_in.add(next());
    turns.add(next());
    queue_bytes.set(next());
    queue_overruns.add(next());
    ring_bytes.set(next());
    raise_each(resumes, &mut next);
    page_bytes.set(next());
    users.set(next());
    raise_each(auths, &mut next);
    published.add(next());
    panics.add(next());
    let ControlMetrics {
        jwks_reads,
        jwks_read_at_ms: _,
        callouts,
        reloads,
        peers,
        cluster_connections,
        revocations,
        orders,
        control_lost,
        control_ignored,
        gossip_ignored,
        slots,
        slot_errors,
        admin_refused,
    } = &*metrics.control;
    raise_each(jwks_reads, &mut next);
    raise_each(callouts, &mut next);
    raise_each(reloads, &mut next);
    peers.set(next());
    cluster_connections.set(next());
    revocations.set(next());
    orders.add(next());
    control_lost.set(next());
    control_ignored.add(next());
    gossip_ignored.add(next());
    slots.set(next());
    slot_errors.add(next());
    admin_refused.add(next());
    let BusMetrics {
        connected,
        reconnects,
        slow_consumer_events,
        feeds,
        wide_feeds,
        wide_restarts,
        live_received,
        live_bytes,
        delivered,
        duplicates_dropped,
        payload_invalid,
        payload_too_big,
        payload_ahead,
        clock_skews,
        stamped,
        store_ms,
        unmapped,
        markers,
        chain_gaps,
        fills,
        direct_gets,
        direct_get_errors,
        look_backs,
        audits,
        audit_failures,
        audit_repairs,
        route_changes,
        stale,
        barriers,
        barrier_errors,
        opens,
        open_retries,
        joins,
        shard_overruns,
        epoch_changes,
    } = &*metrics.bus;
    connected.set(next());
    reconnects.add(next());
    slow_consumer_events.add(next());
    feeds.set(next());
    wide_feeds.set(next());
    wide_restarts.add(next());
    live_received.add(next());
    live_bytes.add(next());
    delivered.add(next());
    duplicates_dropped.add(next());
    payload_invalid.add(next());
    payload_too_big.add(next());
    payload_ahead.add(next());
    clock_skews.add(next());
    stamped.add(next());
    store_ms.add(next());
    unmapped.add(next());
    markers.add(next());
    chain_gaps.add(next());
    fills.add(next());
    direct_gets.add(next());
    direct_get_errors.add(next());
    look_backs.add(next());
    audits.add(next());
    audit_failures.add(next());
    audit_repairs.add(next());
    route_changes.add(next());
    stale.set(next());
    barriers.add(next());
    barrier_errors.add(next());
    opens.add(next());
    open_retries.add(next());
    joins.add(next());
    shard_overruns.add(next());
    epoch_changes.add(next());
    last
}

#[test]
fn every_field_is_in_the_table_once() {
    let metrics = Metrics::new(1);
    let last = raise_all(&metrics);
    let of_process =
        ["odin_gateway_uptime_seconds", "odin_gateway_resident_memory_bytes", "odin_gateway_jwks_age_seconds"];
    let table = METRICS.iter().filter(|metric| !of_process.contains(&metric.name));
    let mut found: Vec<u64> = table.flat_map(|metric| metric.values(&metrics)).map(|(_, number)| number).collect();
    found.sort_unstable();
    assert_eq!(found, (1..=last).collect::<Vec<_>>());
}

#[test]
fn the_manual_has_the_table() {
    assert!(
        MANUAL.contains(&markdown_table()),
        "docs/operations/metrics.md must contain this table:\n\n{}",
        markdown_table()
    );
}

#[test]
fn labels_know_their_place() {
    fn check<L: Label + std::fmt::Debug>() {
        for (index, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), index, "{value:?}");
        }
    }
    check::<CloseReason>();
    check::<HandshakeRefusal>();
    check::<ResumeResult>();
    check::<Format>();
}

#[test]
fn a_gauge_stops_at_zero() {
    let gauge = Gauge::default();
    gauge.add(2);
    gauge.sub(5);
    assert_eq!(gauge.get(), 0);
}
