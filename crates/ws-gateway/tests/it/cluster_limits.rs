//! What gateways know of each other, by their doors.

use std::time::Duration;

use futures_util::StreamExt;
use odin_devkit::NatsServer;
use ws_gateway::config::{Config, Secret};
use ws_gateway::provision::provision;

use crate::support::{Client, Gateway, Odin, Proxy, config, in_time, until};

const TOKEN: &str = "0123456789abcdef";

fn talkative(config: &mut Config) {
    config.admin.token = Some(Secret::new(TOKEN));
    config.cluster.interval = Duration::from_millis(100);
}

/// Waits until the gateway counts so many gateways, and so many connections of all of them.
async fn knows(gateway: &Gateway, gateways: usize, connections: u64) {
    until(&format!("{gateways} gateways with {connections} connections"), async || {
        let cluster = gateway.order("GET", "/v1/cluster", TOKEN, "").await.json();
        let found = (cluster["gateways"].as_array().map(Vec::len), cluster["connections"].as_u64());
        (found == (Some(gateways), Some(connections))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateways_know_how_many_clients_all_of_them_have() {
    let odin = Odin::start_with(talkative).await;
    let (second, mut third) = (odin.another_gateway().await, odin.another_gateway().await);
    let mut clients = vec![odin.client().await];
    for gateway in [&second, &second, &third, &third, &third] {
        clients.push(Client::connect(gateway).await);
    }
    for gateway in [&odin.gateway, &second, &third] {
        knows(gateway, 3, 6).await;
        gateway.metric_becomes("odin_gateway_cluster_peers", 2).await;
        gateway.metric_becomes("odin_gateway_cluster_connections", 6).await;
    }
    drop(clients.split_off(3));
    knows(&odin.gateway, 3, 3).await;
    // One that stops says goodbye.
    third.begin_stop();
    third.ended().await;
    knows(&odin.gateway, 2, 3).await;
    knows(&second, 2, 3).await;
}

/// Checklist 53: a gateway that is gone without a word is not counted, and counted again when it is back.
#[tokio::test]
async fn a_gateway_that_falls_silent_is_not_counted() {
    let nats = NatsServer::start().await.expect("a nats-server");
    let proxy = Proxy::start(nats.port()).await;
    let (mut direct, mut wired) = (config(&nats.url()), config(&proxy.url()));
    for config in [&mut direct, &mut wired] {
        talkative(config);
        config.cluster.peer_timeout = Duration::from_secs(1);
    }
    provision(&direct, false).await.expect("streams");
    let (direct, wired) = (Gateway::start(direct), Gateway::start(wired));
    let _clients = [Client::connect(&direct).await, Client::connect(&wired).await, Client::connect(&wired).await];
    knows(&direct, 2, 3).await;
    knows(&wired, 2, 3).await;
    proxy.cut();
    knows(&direct, 1, 1).await;
    knows(&wired, 1, 2).await;
    proxy.mend();
    knows(&direct, 2, 3).await;
    knows(&wired, 2, 3).await;
}

/// Attack: whoever may publish below `cluster.subject` makes up gateways, and garbage.
#[tokio::test]
async fn gossip_of_strangers_is_counted_or_forgotten() {
    let odin = Odin::start_with(|config| {
        talkative(config);
        config.cluster.peer_timeout = Duration::from_secs(1);
    })
    .await;
    let client = async_nats::connect(odin.nats.url()).await.expect("a connection");
    // Whoever speaks listens.
    let mut heard = client.subscribe("odingossip.presence").await.expect("subscribed");
    in_time("gossip", heard.next()).await.expect("a presence");
    heard.unsubscribe().await.expect("sent");
    for i in 0..1_000 {
        let words = format!(r#"{{"gateway":"x","boot":"{i:08x}","n":1,"connections":1,"users":{{}}}}"#);
        client.publish("odingossip.presence", words.into()).await.expect("sent");
    }
    for garbage in ["garbage", "{}", "[[[[", ""] {
        client.publish("odingossip.presence", garbage.into()).await.expect("sent");
    }
    client.flush().await.expect("flushed");
    odin.gateway.metric_becomes("odin_gateway_gossip_ignored_total", 4).await;
    // Those who say nothing any more are gone.
    knows(&odin.gateway, 1, 0).await;
    let _client = odin.client().await;
    knows(&odin.gateway, 1, 1).await;
}

#[tokio::test]
async fn connections_of_nobody_are_none() {
    let odin = Odin::start_with(talkative).await;
    let answer = odin.gateway.order("GET", "/v1/users/no%2Fbody/connections", TOKEN, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.json()["sub"], &answer.json()["connections"]), (&"no/body".into(), &serde_json::json!([])));
}
