//! Hostile handshakes.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::Scene;
use crate::door::{connect_from, shake_on};
use crate::support::{Answer, Client, exchange, exchange_bytes, in_time, request, until};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Expects an answer that says why, for programs and for people.
fn says(answer: &Answer, code: &str) {
    let error = &answer.json()["error"];
    assert_eq!(error["code"], code, "{}", answer.body);
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let retry_after = answer.header("retry-after").map(|seconds| seconds.parse::<u64>().expect("seconds") * 1000);
    assert_eq!(error["retryAfterMs"].as_u64(), retry_after, "{}", answer.body);
    assert_eq!(retry_after.is_some(), [429, 503].contains(&answer.status), "{}", answer.head);
}

/// The answer to a good handshake on this connection.
async fn ask(stream: TcpStream) -> Answer {
    shake_on(stream, "/ws", "").await.0
}

/// Checklist 1: connect and say nothing.
#[tokio::test]
async fn closes_a_silent_connection_when_its_handshake_takes_too_long() {
    let scene = Scene::with(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    assert_eq!(exchange_bytes(scene.gateway.address, b"").await, b"");
    scene.refuses("timeout", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Checklist 2: slowloris, a header byte now and then, so that no single read takes long.
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

/// Checklist 2: many silent and trickling connections at once, to keep good clients out.
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

/// Checklist 12: more handshakes at once than the gateway has room for, none of which asks for anything.
#[tokio::test]
async fn lets_the_oldest_silent_handshake_make_room_for_the_next() {
    let scene = Scene::with(|config| {
        config.limits.handshake_timeout = Duration::from_secs(3600);
        config.limits.handshakes = 4;
    })
    .await;
    let mut silent = Vec::new();
    for n in 1..=4 {
        silent.push(TcpStream::connect(scene.gateway.address).await.expect("a connection"));
        scene.gateway.metric_becomes("odin_gateway_handshakes_pending", n).await;
    }
    for n in 1..=3 {
        drop(Client::connect(&scene.gateway).await);
        let ended = in_time("the end of the oldest", silent[n - 1].read(&mut [0; 1])).await;
        assert!(matches!(ended, Ok(0) | Err(_)));
        scene.refuses("capacity", n as u64).await;
        // Its place is taken again.
        silent.push(TcpStream::connect(scene.gateway.address).await.expect("a connection"));
        scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 4).await;
    }
    silent.drain(..3);
    for stream in &mut silent {
        stream.write_all(b"G").await.expect("still there");
    }
    drop(silent);
    scene.leaves_all_unharmed().await;
}

/// Checklist 2: a crowd of slow handshakes, many times as large as the gateway has room for.
#[tokio::test]
async fn serves_good_clients_while_a_crowd_fills_the_line() {
    let scene = Scene::with(|config| {
        config.limits.handshake_timeout = Duration::from_secs(3600);
        config.limits.handshakes = 50;
    })
    .await;
    let mut crowd = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(scene.gateway.address).await.expect("a connection");
        if n % 2 == 0 {
            // It may be gone already.
            let _ = stream.write_all(b"GET /ws HTTP/1.1\r\nHost: od").await;
        }
        crowd.push(stream);
        if n % 100 == 99 {
            assert!(Client::connect(&scene.gateway).await.sync(1).await.is_empty());
        }
    }
    scene.gateway.metric_reaches("odin_gateway_handshakes_refused_total{reason=\"capacity\"}", 900).await;
    assert!(scene.gateway.metric("odin_gateway_handshakes_pending").await <= 50);
    drop(crowd);
    scene.leaves_all_unharmed().await;
}

/// Checklist 12: more connections than the gateway may hold.
#[tokio::test]
async fn sends_connections_beyond_the_cap_away_until_there_is_room() {
    let scene = Scene::with(|config| config.limits.connections = 3).await;
    let mut clients = vec![Client::connect(&scene.gateway).await, Client::connect(&scene.gateway).await];
    let good = format!("{UPGRADE}{VERSION}{KEY}");
    for _ in 0..3 {
        says(&scene.is_refused(503, "GET /ws HTTP/1.1", &good).await, "try_again_later");
    }
    scene.refuses("capacity", 3).await;
    clients.pop();
    scene.gateway.metric_becomes("odin_gateway_connections", 2).await;
    clients.push(Client::connect(&scene.gateway).await);
    drop(clients);
    scene.leaves_all_unharmed().await;
}

/// Checklist 12: connections that come faster than the gateway lets them in.
#[tokio::test]
async fn sends_connections_beyond_the_rate_away_until_it_is_calm() {
    let scene = Scene::with(|config| config.limits.connects_per_second = Some(2)).await;
    let good = request("GET /ws HTTP/1.1", &format!("{UPGRADE}{VERSION}{KEY}"));
    let refused = until("a refusal", async || {
        let bytes = exchange_bytes(scene.gateway.address, request("GET /other HTTP/1.1", "").as_bytes()).await;
        Some(Answer::parse(&bytes)).filter(|answer| answer.status == 503)
    });
    says(&refused.await, "try_again_later");
    assert!(scene.gateway.metric("odin_gateway_handshakes_refused_total{reason=\"rate\"}").await > 0);
    let connected = until("calm", async || {
        let mut stream = TcpStream::connect(scene.gateway.address).await.expect("a connection");
        stream.write_all(good.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        (status == *b"HTTP/1.1 101").then_some(stream)
    });
    drop(connected.await);
    scene.leaves_all_unharmed().await;
}

/// Checklist 12: all connections of the gateway from one address.
#[tokio::test]
async fn gives_one_address_no_more_connections_than_its_own() {
    let scene = Scene::with(|config| config.limits.connections_per_ip = Some(2)).await;
    let second = connect_from([127, 0, 0, 1], &scene.gateway).await;
    scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 1).await;
    // Silent ones count: they are what a slow attack is made of.
    let answer = ask(connect_from([127, 0, 0, 1], &scene.gateway).await).await;
    assert_eq!((answer.status, &answer.json()["error"]["limit"]), (429, &2.into()));
    says(&answer, "too_many_connections");
    assert_eq!(ask(connect_from([127, 0, 0, 2], &scene.gateway).await).await.status, 101);
    scene.refuses("address", 1).await;
    drop(second);
    scene.gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
    scene.gateway.metric_becomes("odin_gateway_connections", 1).await;
    assert_eq!(ask(connect_from([127, 0, 0, 1], &scene.gateway).await).await.status, 101);
    scene.leaves_all_unharmed().await;
}

/// Checklist 12: one address that connects again and again.
#[tokio::test]
async fn slows_an_address_down_that_connects_too_often() {
    let scene = Scene::with(|config| config.limits.connects_per_ip_per_second = Some(1)).await;
    let refused = until("a refusal", async || {
        let answer = ask(connect_from([127, 0, 0, 1], &scene.gateway).await).await;
        Some(answer).filter(|answer| answer.status == 429)
    });
    says(&refused.await, "rate_limited");
    assert_eq!(ask(connect_from([127, 0, 0, 9], &scene.gateway).await).await.status, 101);
    scene.gateway.metric_reaches("odin_gateway_handshakes_refused_total{reason=\"address\"}", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Checklist 12: be sent away, and stay on the line, in a crowd. The first of them may be silent for as long as a handshake
/// may; beyond a bound they are reset, and whoever may come in never waits for any of them.
#[tokio::test]
async fn keeps_no_crowd_of_those_who_were_sent_away() {
    let scene = Scene::with(|config| {
        config.limits.connections_per_ip = Some(1);
        config.limits.handshakes = 2;
        config.limits.handshake_timeout = Duration::from_secs(3600);
    })
    .await;
    let mut silent = Vec::new();
    let reset = until("a reset", async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        let Ok(stream) = socket.connect(scene.gateway.address).await else {
            return Some(());
        };
        silent.push(stream);
        // The one that is reset is the last that came.
        let last = silent.last_mut()?;
        tokio::time::timeout(Duration::from_millis(5), last.read(&mut [0; 1])).await.ok()?.err().map(|_| ())
    });
    reset.await;
    assert!((200..2000).contains(&silent.len()), "{}", silent.len());
    assert_eq!(ask(connect_from([127, 0, 0, 2], &scene.gateway).await).await.status, 101);
    // They get their answer when they ask for it.
    says(&ask(silent.swap_remove(0)).await, "too_many_connections");
    drop(silent);
    scene.leaves_all_unharmed().await;
}

/// Checklist 4: a header of 20 KiB, 200 headers, an address of 64 KiB.
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

/// Checklist 5: handshakes with something missing, repeated or wrong.
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
        let code = match status {
            400 => "bad_request",
            404 => "not_found",
            405 => "method_not_allowed",
            _ => "upgrade_required",
        };
        says(&answer, code);
    }
    scene.refuses("bad_request", cases.len() as u64 - 1).await;
    scene.refuses("not_found", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Checklist 9: smuggle a second request past a proxy in the handshake's body.
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
    scene.gateway.metric_becomes("odin_gateway_handshakes_ok_total", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Checklist 3: what is no HTTP at all, such as TLS on the plain port.
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

/// Checklist 1: leave in the middle of the handshake.
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
