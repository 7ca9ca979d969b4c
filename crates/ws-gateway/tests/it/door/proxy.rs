//! Clients behind proxies that do not speak HTTP but say whom they speak for.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use ws_gateway::config::Config;

use super::{connect_from, refuses, shake_on};
use crate::support::{Answer, Gateway, in_time};

/// The address that these tests trust, and one that they do not.
const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 2];

fn behind_a_proxy(change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::without_nats(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        config.http.proxy_protocol = true;
        change(config);
    })
}

/// The answer to a handshake behind this header.
async fn shake(gateway: &Gateway, from: [u8; 4], header: &[u8], headers: &str) -> (Answer, TcpStream) {
    let mut stream = connect_from(from, gateway).await;
    stream.write_all(header).await.expect("sent");
    shake_on(stream, "/ws", headers).await
}

/// Reads to the end; what came must be nothing.
async fn is_closed(mut stream: TcpStream) {
    let mut answer = Vec::new();
    // A reset is an end.
    let _ = in_time("the end of the connection", stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));
}

fn line(ip: &str) -> Vec<u8> {
    format!("PROXY TCP4 {ip} 10.0.0.1 4711 443\r\n").into_bytes()
}

/// Version 2, for an address of IPv4, with elements behind it.
fn binary(ip: [u8; 4], elements: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend((12 + elements.len() as u16).to_be_bytes());
    bytes.extend(ip);
    bytes.extend([10, 0, 0, 1, 0x12, 0x67, 0x01, 0xBB]);
    bytes.extend(elements);
    bytes
}

#[tokio::test]
async fn knows_clients_by_the_header_of_either_version() {
    let gateway = behind_a_proxy(|config| config.limits.connections_per_ip = Some(1));
    let mut open = Vec::new();
    let mut status = async |from, header: &[u8], headers: &str| {
        let (answer, stream) = shake(&gateway, from, header, headers).await;
        open.push(stream);
        answer.status
    };
    assert_eq!(status(PROXY, &line("203.0.113.7"), "").await, 101);
    assert_eq!(status(PROXY, &binary([203, 0, 113, 7], &[]), "").await, 429, "the same client");
    assert_eq!(status(PROXY, &binary([203, 0, 113, 8], &[]), "").await, 101);
    assert_eq!(status(PROXY, &line("203.0.113.8"), "").await, 429, "the same client");
    // It does not speak HTTP, so what HTTP says of addresses is the client's own word.
    let forged = "X-Forwarded-For: 203.0.113.9\r\n";
    assert_eq!(status(PROXY, &line("203.0.113.8"), forged).await, 429);
    // Another proxy behind it, which does.
    assert_eq!(status(PROXY, &line("127.0.0.1"), forged).await, 101);
    assert_eq!(status(PROXY, &line("127.0.0.1"), forged).await, 429);
    // For itself it has no limit.
    assert_eq!(status(PROXY, b"PROXY UNKNOWN\r\n", "").await, 101);
    assert_eq!(status(PROXY, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "").await, 101);
    refuses(&gateway, "address", 4).await;
    drop(open);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    assert_eq!(shake(&gateway, PROXY, &line("203.0.113.7"), "").await.0.status, 101, "places come back");
}

/// Checklist 11: a PROXY header from whoever likes to be somebody else.
#[tokio::test]
async fn takes_headers_of_trusted_peers_and_of_nobody_else() {
    let gateway = behind_a_proxy(|_| {});
    assert_eq!(shake(&gateway, STRANGER, b"", "").await.0.status, 101, "who came without a proxy has no header");
    for header in [line("203.0.113.7"), binary([203, 0, 113, 7], &[])] {
        let (answer, _) = shake(&gateway, STRANGER, &header, "").await;
        assert_eq!(answer.status, 400, "no HTTP");
    }
    refuses(&gateway, "bad_request", 2).await;
    // Where no header is asked for, it is no HTTP either.
    let gateway = behind_a_proxy(|config| config.http.proxy_protocol = false);
    assert_eq!(shake(&gateway, PROXY, &line("203.0.113.7"), "").await.0.status, 400);
}

/// Checklist 11: a PROXY header that is missing, wrong, too long, or never ends.
#[tokio::test]
async fn closes_connections_of_proxies_without_a_good_header() {
    let gateway = behind_a_proxy(|config| config.limits.handshake_timeout = Duration::from_secs(1));
    let long = binary([203, 0, 113, 7], &[0; 600]);
    let headers: [&[u8]; 5] = [
        b"GET /ws HTTP/1.1\r\nHost: odin\r\n\r\n",
        b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 443\r\n",
        &[b'P'; 300],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\x00\x00\x00",
        &long,
    ];
    for header in headers {
        let mut stream = connect_from(PROXY, &gateway).await;
        stream.write_all(header).await.expect("sent");
        is_closed(stream).await;
    }
    refuses(&gateway, "proxy", headers.len() as u64).await;
    for half in [&b"PROXY TCP4 203.0.113.7"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C\x01"] {
        let mut stream = connect_from(PROXY, &gateway).await;
        stream.write_all(half).await.expect("sent");
        is_closed(stream).await;
    }
    refuses(&gateway, "timeout", 2).await;
    gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
}

#[tokio::test]
async fn knows_by_the_header_that_a_client_came_by_tls() {
    let gateway = behind_a_proxy(|config| config.http.require_tls = true);
    let ssl = |flags| binary([203, 0, 113, 7], &[0x20, 0, 5, flags, 0, 0, 0, 0]);
    assert_eq!(shake(&gateway, PROXY, &ssl(1), "").await.0.status, 101);
    for (from, header) in [(PROXY, ssl(0)), (PROXY, line("203.0.113.7")), (STRANGER, Vec::new())] {
        let (answer, _) = shake(&gateway, from, &header, "X-Forwarded-Proto: https\r\n").await;
        assert_eq!(answer.status, 403, "{header:?}");
    }
    refuses(&gateway, "insecure", 3).await;
}
