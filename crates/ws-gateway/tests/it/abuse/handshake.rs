//! Hostile handshakes.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::Scene;
use crate::support::{Client, exchange, exchange_bytes, in_time, request};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Attack: connect and say nothing.
#[tokio::test]
async fn closes_a_silent_connection_when_its_handshake_takes_too_long() {
    let scene = Scene::with(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    assert_eq!(exchange_bytes(scene.gateway.address, b"").await, b"");
    scene.refuses("timeout", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: slowloris, a header byte now and then, so that no single read takes long.
#[tokio::test]
async fn closes_a_trickled_handshake_at_its_total_deadline() {
    let scene = Scene::with(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let mut stream = TcpStream::connect(scene.gateway.address).await.expect("a connection");
    let endless = format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(10_000));
    in_time("the gateway to lose patience", async {
        // Until the gateway resets it.
        for byte in endless.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("all of it was taken");
    })
    .await;
    scene.refuses("timeout", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: many silent and trickling connections at once, to keep good clients out.
#[tokio::test]
async fn serves_good_clients_beside_hundreds_of_silent_ones() {
    let scene = Scene::with(|config| {
        config.limits.handshake_timeout = Duration::from_secs(3600);
        config.limits.handshakes = 400;
    })
    .await;
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(scene.gateway.address).await.expect("a connection");
        if n % 2 == 0 {
            stream.write_all(b"GET /ws HTTP/1.1\r\nHost: od").await.expect("sent");
        }
        silent.push(stream);
    }
    scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 300).await;
    let mut good = Client::connect(&scene.gateway).await;
    assert!(good.sync(1).await.is_empty());
    drop((silent, good));
    scene.leaves_all_unharmed().await;
}

/// Attack: more handshakes at once than the gateway has room for.
#[tokio::test]
async fn turns_handshakes_beyond_the_cap_away_and_recovers() {
    let scene = Scene::with(|config| {
        config.limits.handshake_timeout = Duration::from_secs(3600);
        config.limits.handshakes = 4;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(scene.gateway.address).await.expect("a connection"));
    }
    scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 4).await;
    for _ in 0..3 {
        // Closed unread.
        assert_eq!(exchange_bytes(scene.gateway.address, request("GET /ws HTTP/1.1", "").as_bytes()).await, b"");
    }
    scene.refuses("capacity", 3).await;
    drop(silent);
    scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
    drop(Client::connect(&scene.gateway).await);
    scene.leaves_all_unharmed().await;
}

/// Attack: more connections than the gateway may hold.
#[tokio::test]
async fn sends_connections_beyond_the_cap_away_until_there_is_room() {
    let scene = Scene::with(|config| config.limits.connections = 3).await;
    let mut clients = vec![Client::connect(&scene.gateway).await, Client::connect(&scene.gateway).await];
    let good = format!("{UPGRADE}{VERSION}{KEY}");
    for _ in 0..3 {
        let answer = scene.is_refused(503, "GET /ws HTTP/1.1", &good).await;
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    }
    scene.refuses("capacity", 3).await;
    clients.pop();
    scene.gateway.metric_becomes("odin_gateway_connections", 2).await;
    clients.push(Client::connect(&scene.gateway).await);
    drop(clients);
    scene.leaves_all_unharmed().await;
}

/// Attack: a header of 20 KiB, 200 headers, an address of 64 KiB.
#[tokio::test]
async fn refuses_heads_that_are_too_large() {
    let scene = Scene::new().await;
    let big = format!("X: {}\r\n", "x".repeat(20 * 1024));
    let many = "X: x\r\n".repeat(200);
    for headers in [big, many] {
        scene.is_refused(431, "GET /ws HTTP/1.1", &headers).await;
    }
    let long = format!("GET /ws?{} HTTP/1.1", "x".repeat(64 * 1024));
    let answer = exchange(scene.gateway.address, &request(&long, "")).await;
    assert!([414, 431].contains(&answer.status), "{}", answer.status);
    scene.refuses("header_too_large", 3).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: handshakes with something missing, repeated or wrong.
#[tokio::test]
async fn refuses_handshakes_that_are_none() {
    let scene = Scene::new().await;
    let get = "GET /ws HTTP/1.1";
    let cases = [
        (400, get, format!("{UPGRADE}{VERSION}")),
        (400, get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: \r\n")),
        (400, get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: c2hvcnQ=\r\n")),
        (400, get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n")),
        (400, get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: dGhlIHNhbXBs!SBub25jZQ==\r\n")),
        (400, get, format!("{UPGRADE}{VERSION}{KEY}{KEY}")),
        (426, get, format!("{UPGRADE}{KEY}")),
        (426, get, format!("{UPGRADE}{KEY}Sec-WebSocket-Version: 12\r\n")),
        (426, get, format!("{UPGRADE}{KEY}Sec-WebSocket-Version: 013\r\n")),
        (426, get, format!("{UPGRADE}{KEY}{VERSION}{VERSION}")),
        (426, get, format!("Connection: Upgrade\r\n{VERSION}{KEY}")),
        (426, get, format!("Upgrade: websocket\r\n{VERSION}{KEY}")),
        (426, get, format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{VERSION}{KEY}")),
        (426, get, String::new()),
        (405, "POST /ws HTTP/1.1", format!("{UPGRADE}{VERSION}{KEY}")),
        (405, "OPTIONS /ws HTTP/1.1", String::new()),
        (400, "GET /ws HTTP/1.0", format!("{UPGRADE}{VERSION}{KEY}")),
        (404, "GET /other HTTP/1.1", format!("{UPGRADE}{VERSION}{KEY}")),
    ];
    for (status, line, headers) in &cases {
        let answer = scene.is_refused(*status, line, headers).await;
        match status {
            405 => assert_eq!(answer.header("allow"), Some("get"), "RFC 9110 §15.5.6"),
            426 => {
                assert_eq!(answer.header("sec-websocket-version"), Some("13"), "RFC 6455 §4.4");
                assert_eq!(answer.header("upgrade"), Some("websocket"), "RFC 9110 §15.5.22");
            }
            _ => {}
        }
    }
    scene.refuses("bad_request", cases.len() as u64 - 1).await;
    scene.refuses("not_found", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: smuggle a second request past a proxy in the handshake's body.
#[tokio::test]
async fn refuses_handshakes_with_a_body() {
    let scene = Scene::new().await;
    let good = format!("{UPGRADE}{VERSION}{KEY}");
    let cases = [
        format!("{good}Content-Length: 5\r\n\r\nhello"),
        format!("{good}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{good}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("{good}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        format!("{good}Content-Length: 0\r\nTransfer-Encoding: identity\r\n"),
    ];
    for headers in cases {
        let smuggled = format!("{headers}{}", request("GET /ws HTTP/1.1", &good));
        let text = format!("GET /ws HTTP/1.1\r\nHost: odin\r\n{smuggled}");
        let answer = exchange_bytes(scene.gateway.address, text.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "one answer, not two: {answer}");
    }
    assert_eq!(scene.gateway.metric("odin_gateway_handshakes_ok_total").await, 1);
    scene.leaves_all_unharmed().await;
}

/// Attack: what is no HTTP at all, such as TLS on the plain port.
#[tokio::test]
async fn refuses_what_is_not_http() {
    let scene = Scene::new().await;
    let mut client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec();
    client_hello.resize(517, 0xAA);
    let garbage: [&[u8]; 4] =
        [&client_hello, b"\0\0\0\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\nhello\r\n\r\n"];
    for bytes in garbage {
        let answer = exchange_bytes(scene.gateway.address, bytes).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    }
    scene.refuses("bad_request", 4).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: leave in the middle of the handshake.
#[tokio::test]
async fn forgets_whoever_leaves_before_the_handshake_is_done() {
    let scene = Scene::new().await;
    for bytes in [&b""[..], b"GET /ws", b"GET /ws HTTP/1.1\r\nHost: odin\r\n"] {
        let mut stream = TcpStream::connect(scene.gateway.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        drop(stream);
    }
    scene.leaves_all_unharmed().await;
}
