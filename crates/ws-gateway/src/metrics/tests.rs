use std::collections::BTreeSet;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/operations/metrics.md");

fn busy() -> Arc<Metrics> {
    let metrics = Metrics::new(2);
    for shard in &metrics.shards {
        shard.connections.set(3);
        shard.connections_closed.of(CloseReason::Drain).add(2);
        shard.deliveries.of(Format::MsgPack).add(7);
        shard.bytes_out.of(Format::Json).add(100);
        shard.to_socket.observe_us(700);
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
        r#"odin_gateway_sent_bytes_total{format="json"} 200"#,
        r#"odin_gateway_latency_seconds_bucket{le="0.0005",hop="gateway_to_socket"} 0"#,
        r#"odin_gateway_latency_seconds_bucket{le="0.001",hop="gateway_to_socket"} 2"#,
        r#"odin_gateway_latency_seconds_bucket{le="+Inf",hop="gateway_to_socket"} 2"#,
        r#"odin_gateway_latency_seconds_sum{hop="gateway_to_socket"} 0.0014"#,
        "# TYPE odin_gateway_latency_seconds histogram",
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
    let table: BTreeSet<String> = METRICS
        .iter()
        .flat_map(|metric| match metric.kind {
            MetricKind::Histogram => ["_bucket", "_count", "_sum"].map(|end| format!("{}{end}", metric.name)).to_vec(),
            _ => vec![metric.name.to_owned()],
        })
        .collect();
    assert_eq!(samples, table.iter().map(String::as_str).collect());
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "a name is there twice");
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
    L::all().into_iter().for_each(|label| labelled.of(label).add(next()));
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
        handshake_duration,
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
        owed,
        settled,
        to_socket,
        writes,
        writes_blocked,
        merged,
        gaps_announced,
        behind,
        errors_sent,
        pings_out,
        pongs_in,
        turn,
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
    handshake_duration.observe_us(next());
    handshakes_pending.set(next());
    http_connections.set(next());
    questions.add(next());
    questions_waiting.set(next());
    subscriptions.set(next());
    feeds.set(next());
    raise_each(messages_in, &mut next);
    raise_each(bytes_in, &mut next);
    raise_each(deliveries, &mut next);
    raise_each(bytes_out, &mut next);
    raise_each(owed, &mut next);
    raise_each(settled, &mut next);
    to_socket.observe_us(next());
    writes.add(next());
    writes_blocked.add(next());
    merged.add(next());
    gaps_announced.add(next());
    behind.set(next());
    raise_each(errors_sent, &mut next);
    pings_out.add(next());
    pongs_in.add(next());
    turn.observe_us(next());
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
        ready,
        draining,
        connection_limit,
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
    ready.set(next());
    draining.set(next());
    connection_limit.set(next());
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
        received,
        sorted,
        delivered,
        duplicates_dropped,
        payload_invalid,
        payload_too_big,
        payload_ahead,
        clock_skews,
        to_stream,
        to_gateway,
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
    raise_each(received, &mut next);
    raise_each(sorted, &mut next);
    delivered.add(next());
    duplicates_dropped.add(next());
    payload_invalid.add(next());
    payload_too_big.add(next());
    payload_ahead.add(next());
    clock_skews.add(next());
    to_stream.observe_us(next());
    to_gateway.observe_us(next());
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
    // Of the process, of the clock, or worked out from others.
    let others = ["odin_gateway_jwks_age_seconds", "odin_gateway_owed_pending"];
    let of_process = METRICS.iter().position(|metric| metric.name == "odin_gateway_uptime_seconds").expect("there");
    let table = METRICS[..of_process].iter().filter(|metric| !others.contains(&metric.name));
    let number = |(_, value)| match value {
        Value::Number(number) => number,
        Value::Histogram(tally) => tally.sum_us,
        Value::Real(_) => panic!("only of the process"),
    };
    let mut found: Vec<u64> = table.flat_map(|metric| metric.read(&metrics).0).map(number).collect();
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
        assert_eq!(L::all().len(), L::COUNT);
        for (index, value) in L::all().into_iter().enumerate() {
            assert_eq!(value.index(), index, "{value:?}");
        }
    }
    check::<CloseReason>();
    check::<HandshakeRefusal>();
    check::<ResumeResult>();
    check::<Format>();
    check::<odin_protocol::error::ErrorCode>();
    check::<(Class, Settlement)>();
}

#[test]
fn a_gauge_stops_at_zero() {
    let gauge = Gauge::default();
    gauge.add(2);
    gauge.sub(5);
    assert_eq!(gauge.get(), 0);
}

#[test]
fn pending_is_what_was_owed_and_not_settled() {
    let metrics = Metrics::new(2);
    for shard in &metrics.shards {
        shard.owed.of(Class::All).add(10);
        shard.owed.of(Class::Latest).add(5);
        shard.settled.of((Class::All, Settlement::Delivered)).add(6);
        shard.settled.of((Class::All, Settlement::Left)).add(1);
        shard.settled.of((Class::Latest, Settlement::Merged)).add(5);
    }
    let text = Exposition::new(Arc::new(metrics)).render();
    for line in [r#"odin_gateway_owed_pending{class="all"} 6"#, r#"odin_gateway_owed_pending{class="latest"} 0"#] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
