//! What the gateway keeps for its clients, on the bus and in memory, and that it lets go of it.

use std::time::Duration;

use crate::support::{Odin, exchange, frame, until};

/// Checklist 39: NATS sees one interest of a gateway, however many subscribe, and a while longer.
#[tokio::test]
async fn keeps_one_interest_for_everybody_and_drops_it_after_the_linger() {
    let odin = Odin::start_with(|config| config.feeds.linger = Duration::from_millis(300)).await;
    let interests = async || {
        let connections = odin_get(&odin, "/connz?subs=1").await;
        let all = connections["connections"].as_array().expect("a list").clone();
        let subjects = all.iter().filter_map(|connection| connection["subscriptions_list"].as_array()).flatten();
        subjects
            .filter(|subject| subject.as_str().is_some_and(|subject| subject.starts_with("live.odin.tokens.")))
            .count()
    };
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = odin.client().await;
        client.subscribe(&["price:BTC"]).await;
        clients.push(client);
    }
    assert_eq!(interests().await, 1);
    for client in &mut clients {
        for round in 0..5 {
            client.unsubscribe(round, &["price:BTC"]).await;
            client.sync(round).await;
            client.subscribe(&["price:BTC"]).await;
        }
    }
    assert_eq!(interests().await, 1, "churn of clients is not churn on the bus");
    odin.gateway.metric_becomes("odin_gateway_feed_opens_total", 1).await;
    drop(clients);
    until("no interest left", async || (interests().await == 0).then_some(())).await;
    until("no feed left", async || (odin.gateway.stats().await["bus"]["feeds"] == 0).then_some(())).await;
    odin.gateway.metric_becomes("odin_gateway_shard_feeds", 0).await;
    // And it opens again.
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
}

/// What the nats-server's monitoring says.
async fn odin_get(odin: &Odin, path: &str) -> serde_json::Value {
    let address = odin.nats.monitor_url();
    let address = address.strip_prefix("http://").expect("a url").parse().expect("an address");
    // HTTP/1.0: the answer is not in chunks.
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    exchange(address, &request).await.json()
}

#[tokio::test]
async fn forgets_everything_of_those_who_left() {
    let odin = Odin::start_with(|config| config.feeds.linger = Duration::ZERO).await;
    let mut clients = Vec::new();
    for n in 0..50 {
        let mut client = odin.client().await;
        let own = format!("price:T{n}");
        client.subscribe(&["price:BTC", &own]).await;
        clients.push(client);
    }
    assert_eq!(odin.gateway.stats().await["subscriptions"], 100);
    odin.gateway.metric_becomes("odin_gateway_feeds", 51).await;
    // Some with a close frame, some without.
    for (n, mut client) in clients.into_iter().enumerate() {
        if n % 2 == 0 {
            client.send_raw(&frame(0x88, &[0x03, 0xE8])).await;
        }
    }
    for gauge in [
        "odin_gateway_connections",
        "odin_gateway_subscriptions",
        "odin_gateway_shard_feeds",
        "odin_gateway_feeds",
        "odin_gateway_connections_behind",
        "odin_gateway_ring_bytes",
        "odin_gateway_handshakes_pending",
    ] {
        odin.gateway.metric_becomes(gauge, 0).await;
    }
}
