//! NATS with three nodes, the stream with three replicas, and one of them killed.

use std::collections::HashMap;

use odin_devkit::NatsCluster;
use tokio::sync::watch;
use ws_gateway::provision::provision;

use crate::support::{Chains, Client, Feeder, Gateway, config};

const TOKENS: [&str; 5] = ["A", "B", "C", "D", "E"];

/// A price of every token, stored; what was stored is added to `stored`.
async fn round(publisher: &Feeder, n: u64, stored: &mut HashMap<String, Vec<u64>>) {
    let messages = TOKENS.map(|token| (format!("odin.tokens.{token}.price"), format!(r#"{{"price":{n}}}"#)));
    let sequences = publisher.publish_all(messages.into()).await;
    for (token, seq) in TOKENS.iter().zip(sequences) {
        stored.entry(format!("price:{token}")).or_default().push(seq);
    }
}

/// Reads, each update the next link of its chain, until there are as many as were stored.
async fn read(mut client: Client, mut enough: watch::Receiver<usize>) -> HashMap<String, Vec<u64>> {
    let mut chains = Chains::default();
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    let mut count = 0;
    while count < *enough.borrow_and_update() {
        let update = tokio::select! {
            // Cancel safe: what was read of a message stays in the client.
            update = client.update() => update,
            _ = enough.changed() => continue,
        };
        chains.take(&update);
        seen.entry(update.channel).or_default().push(update.seq);
        count += 1;
    }
    seen
}

#[tokio::test]
async fn loses_repeats_and_reorders_nothing_when_the_leader_is_killed() {
    let mut cluster = NatsCluster::start(3).await.expect("a cluster");
    let mut config = config(&cluster.urls()[0]);
    config.stream.replicas = 3;
    provision(&config, false).await.expect("streams");
    let leader = cluster.stream_leader(&config.stream.name).await.expect("a leader");
    // One gateway on the node that will die, one on another.
    let mut gateways = Vec::new();
    for node in [leader, (leader + 1) % 3] {
        config.nats.urls = vec![cluster.urls()[node].clone()];
        let gateway = Gateway::start(config.clone());
        gateway.ready().await;
        gateways.push(gateway);
    }
    let mut readers = Vec::new();
    let (enough, is_enough) = watch::channel(usize::MAX);
    for gateway in &gateways {
        let mut exact = Client::connect(gateway).await;
        exact.subscribe_all(&TOKENS.map(|token| format!("price:{token}")).each_ref().map(String::as_str)).await;
        let mut pattern = Client::connect(gateway).await;
        pattern.subscribe_all(&["price:*"]).await;
        for client in [exact, pattern] {
            readers.push(tokio::spawn(read(client, is_enough.clone())));
        }
    }
    let publisher = Feeder::connect(cluster.urls()).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let rain = tokio::spawn(async move {
        let mut stored = HashMap::new();
        let mut n = 0;
        while stopped.try_recv().is_err() {
            round(&publisher, n, &mut stored).await;
            n += 1;
        }
        (publisher, stored)
    });
    gateways[1].metric_reaches("odin_gateway_publications_delivered_total", 500).await;
    cluster.node_mut(leader).kill().await;
    cluster.stream_leader(&config.stream.name).await.expect("another leader");
    let delivered = gateways[1].metric("odin_gateway_publications_delivered_total").await;
    gateways[1].metric_reaches("odin_gateway_publications_delivered_total", delivered + 500).await;
    cluster.node_mut(leader).restart().await.expect("restarted");
    cluster.wait_ready().await.expect("caught up");
    for gateway in &gateways {
        gateway.ready().await;
    }
    stop.send(()).expect("raining");
    let (publisher, mut stored) = rain.await.expect("no panic");
    // A last one of each, so that the chains show holes at their ends too.
    round(&publisher, u64::MAX, &mut stored).await;
    let total: usize = stored.values().map(Vec::len).sum();
    enough.send_replace(total);
    for reader in readers {
        let seen = reader.await.expect("no panic");
        assert!(seen == stored, "what was stored is what was seen");
    }
    assert!(gateways[0].metric("odin_gateway_nats_reconnects_total").await >= 1);
}
