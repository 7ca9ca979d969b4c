//! Clients behind proxies that speak HTTP.

use super::{connect_from, refuses, shake_on};
use crate::support::Gateway;

/// The address that these tests trust, and one that they do not.
const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 2];

fn behind_a_proxy(change: impl FnOnce(&mut ws_gateway::config::Config)) -> Gateway {
    Gateway::without_nats(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        change(config);
    })
}

/// Checklist 11: `X-Forwarded-For` from whoever likes to be somebody else.
#[tokio::test]
async fn believes_a_trusted_proxy_and_nobody_else_about_addresses() {
    let gateway = behind_a_proxy(|config| config.limits.connections_per_ip = Some(1));
    let mut open = Vec::new();
    let mut status = async |from, forwarded: &str| {
        let stream = connect_from(from, &gateway).await;
        let (answer, stream) = shake_on(stream, "/ws", &format!("X-Forwarded-For: {forwarded}\r\n")).await;
        open.push(stream);
        answer.status
    };
    assert_eq!(status(PROXY, "203.0.113.7").await, 101);
    assert_eq!(status(PROXY, "203.0.113.7").await, 429, "one for each client");
    assert_eq!(status(PROXY, "203.0.113.8, 203.0.113.7").await, 429, "what it heard from there is not its word");
    assert_eq!(status(PROXY, "203.0.113.8").await, 101);
    assert_eq!(status(STRANGER, "203.0.113.9").await, 101);
    assert_eq!(status(STRANGER, "203.0.113.10").await, 429, "the same stranger");
    assert_eq!(status(PROXY, "203.0.113.9").await, 101, "who was not there yet");
    assert_eq!(status(PROXY, "").await, 101);
    assert_eq!(status(PROXY, "").await, 101, "proxies have no limit of their own");
    assert_eq!(status(PROXY, "somebody").await, 400);
    refuses(&gateway, "address", 3).await;
    refuses(&gateway, "bad_request", 1).await;
    drop(open);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    let (answer, _) = shake_on(connect_from(PROXY, &gateway).await, "/ws", "X-Forwarded-For: 203.0.113.7\r\n").await;
    assert_eq!(answer.status, 101, "places come back");
}

/// Checklist 11: `X-Forwarded-Proto` from a client without TLS.
#[tokio::test]
async fn refuses_clients_without_tls_where_it_is_required() {
    let gateway = behind_a_proxy(|config| config.http.require_tls = true);
    for (from, headers, status) in [
        (PROXY, "X-Forwarded-Proto: https\r\n", 101),
        (PROXY, "X-Forwarded-Proto: http\r\n", 403),
        (PROXY, "", 403),
        (STRANGER, "X-Forwarded-Proto: https\r\n", 403),
        (STRANGER, "", 403),
    ] {
        let (answer, _) = shake_on(connect_from(from, &gateway).await, "/ws", headers).await;
        assert_eq!(answer.status, status, "{from:?} {headers}");
        if status == 403 {
            assert_eq!(answer.json()["error"]["code"], "insecure_transport");
        }
    }
    refuses(&gateway, "insecure", 4).await;
}
