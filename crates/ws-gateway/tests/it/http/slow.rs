//! Readers of event streams that take less than there is, nothing at all, or say what nobody asked them.

use std::time::Duration;

use odin_protocol::{Mode, close::CloseCode};
use tokio::io::AsyncWriteExt;

use super::support::{Events, cursor_of};
use crate::{
    slow_reader::{MANY, PADDING, publish_past_the_sleeper, small_buffers},
    support::{Chains, Client, Gateway, Odin},
};

/// A reader whose own buffer is small too.
async fn sleeper(odin: &Odin, asks: &str) -> Events {
    Events::dial(odin.gateway.address, &Events::request(asks, ""), Some(4096)).await
}

/// Somebody on a WebSocket who reads, and is not disturbed by a stream that is not read.
async fn awake(odin: &Odin) -> Client {
    let mut awake = odin.client().await;
    awake.subscribe_all(&["price:BTC"]).await;
    awake
}

/// Checklist 32: a stream that is not read; the newest value is all that it is owed.
#[tokio::test]
async fn a_slow_reader_of_latest_gets_the_newest_value_and_the_rest_is_merged() {
    let odin = Odin::start_with(small_buffers).await;
    let mut slow = sleeper(&odin, "price:BTC").await;
    slow.begun(1, Mode::Latest).await;
    let mut awake = awake(&odin).await;
    let sequences = publish_past_the_sleeper(&odin, &mut awake).await;
    let newest = *sequences.last().expect("many");
    let mut seen = Vec::new();
    while seen.last() != Some(&newest) {
        let update = slow.update().await;
        assert!(seen.last().is_none_or(|last| update.seq > *last), "forwards only");
        seen.push(update.seq);
    }
    assert!(seen.len() < MANY as usize / 2, "{} of {MANY} came: they were queued, not merged", seen.len());
    odin.gateway.metric_becomes("odin_gateway_merged_total", MANY - seen.len() as u64).await;
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    let seq = odin.publisher.price("BTC", 0).await;
    let update = slow.update().await;
    assert_eq!((update.seq, update.prev), (seq, Some(newest)), "at head again");
    assert_eq!(slow.last_id, cursor_of(&update));
}

/// Checklist 33: a stream that is read late, out of what the ring holds and out of what only the stream does.
#[tokio::test]
async fn a_slow_reader_of_all_gets_everything_and_nothing_waits_for_it_in_memory() {
    for ring_bytes in [64 << 20, 64 << 10] {
        let odin = Odin::start_with(|config| {
            small_buffers(config);
            config.feeds.ring_bytes = ring_bytes;
        })
        .await;
        let mut slow = sleeper(&odin, "price:BTC&mode=all").await;
        slow.begun(1, Mode::All).await;
        let mut awake = awake(&odin).await;
        let sequences = publish_past_the_sleeper(&odin, &mut awake).await;
        assert!(odin.gateway.metric("odin_gateway_ring_bytes").await <= ring_bytes as u64);
        assert!(odin.gateway.metric("odin_gateway_catch_up_bytes").await <= 128 << 10);
        let mut chains = Chains::default();
        for seq in &sequences {
            let update = slow.update().await;
            assert_eq!(update.seq, *seq);
            chains.take(&update);
            assert_eq!(slow.last_id, cursor_of(&update), "whole, whatever the socket took of it");
        }
        assert_eq!(odin.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
        odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
        odin.publisher.price("BTC", 0).await;
        chains.take(&slow.update().await);
    }
}

/// Checklist 32: a stream that is opened and never read.
#[tokio::test]
async fn closes_a_reader_that_takes_nothing() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.heartbeat.not_reading_timeout = Duration::from_secs(1);
    })
    .await;
    let mut slow = sleeper(&odin, "price:BTC").await;
    slow.begun(1, Mode::Latest).await;
    let mut awake = awake(&odin).await;
    let publishing = odin.publisher.prices("BTC", 1, MANY, PADDING);
    let (_, ()) = tokio::join!(publishing, async {
        for _ in 0..MANY {
            awake.update().await;
        }
    });
    odin.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"not_reading\"}", 1).await;
    odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(awake.update().await.seq, seq, "nobody else is disturbed");
}

/// A stream is read and nothing else: neither a second request in the same packet nor anything later is looked at.
#[tokio::test]
async fn closes_whoever_sends_something_after_the_request() {
    let gateway = Gateway::without_nats(|_| {});
    let request = Events::request("price:BTC", "");
    let mut early = Events::dial(gateway.address, &format!("{request}{request}"), None).await;
    early.closed_with(CloseCode::PolicyViolation).await;
    let mut later = Events::dial(gateway.address, &request, None).await;
    later.message().await;
    later.stream.write_all(b"x").await.expect("sent");
    later.closed_with(CloseCode::PolicyViolation).await;
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"policy\"}", 2).await;
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    gateway.metric_becomes("odin_gateway_connections_opened_total", 2).await;
}

#[tokio::test]
async fn forgets_whoever_leaves() {
    let odin = Odin::start().await;
    for n in 1..=3 {
        let mut events = Events::open(&odin.gateway, "price:BTC,price:*").await;
        events.begun(2, Mode::Latest).await;
        odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
        drop(events);
        odin.gateway.metric_becomes("odin_gateway_connections", 0).await;
        odin.gateway.metric_becomes("odin_gateway_subscriptions", 0).await;
        odin.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"peer_gone\"}", n).await;
    }
}
