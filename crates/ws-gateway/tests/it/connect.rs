//! The handshake as good clients know it, the first message, heartbeat and idleness.

use std::{collections::HashSet, time::Duration};

use odin_protocol::{Codec, ServerMessage, close::CloseCode, message::RequestId};
use tokio::net::TcpStream;

use crate::support::{Client, Dial, Gateway, Odin, Received, exchange, frame, in_time, request};

/// The headers of a good handshake.
const GOOD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn says_first_who_it_is_and_what_holds() {
    let gateway = Gateway::without_nats(|config| {
        config.heartbeat.interval = Duration::from_secs(25);
        config.heartbeat.idle_timeout = Duration::from_secs(300);
        config.limits.message_bytes = 4096;
    });
    let first = Client::connect(&gateway).await;
    assert_eq!(first.status.status, "connected");
    assert_eq!(first.status.heartbeat_ms, 25_000);
    assert_eq!(first.status.idle_timeout_ms, Some(300_000));
    assert_eq!(first.status.max_message_bytes, 4096);
    assert_eq!(first.status.connected_clients, 1);
    assert!(first.status.server.as_deref().is_some_and(|server| server.starts_with("odin/")));
    assert!((1..=64).contains(&first.status.connection_id.len()));
    let second = Client::connect(&gateway).await;
    assert_eq!(second.status.connected_clients, 2);
    assert_ne!(second.status.connection_id, first.status.connection_id);
    drop(first);
    gateway.metric_becomes("odin_gateway_connections", 1).await;
    assert_eq!(Client::connect(&gateway).await.status.connected_clients, 2, "those who left do not count");
}

#[tokio::test]
async fn names_connections_differently_on_every_gateway() {
    let gateways = [Gateway::without_nats(|_| {}), Gateway::without_nats(|_| {})];
    let mut names = HashSet::new();
    for gateway in &gateways {
        for _ in 0..5 {
            names.insert(Client::connect(gateway).await.status.connection_id);
        }
    }
    assert_eq!(names.len(), 10);
}

/// Connects with these sub-protocol headers and gives the answer's head.
async fn negotiate(gateway: &Gateway, protocols: &str) -> (u16, Option<String>) {
    let answer = in_time("the answer's head", async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
        let text = request("GET /ws HTTP/1.1", &format!("{GOOD}{protocols}"));
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("readable"), 0);
        }
        crate::support::Answer::parse(&answer)
    })
    .await;
    (answer.status, answer.header("sec-websocket-protocol").map(str::to_owned))
}

#[tokio::test]
async fn takes_the_first_sub_protocol_that_it_knows() {
    let gateway = Gateway::without_nats(|_| {});
    let chosen = |name: &str| (101, Some(name.to_owned()));
    let cases = [
        ("Sec-WebSocket-Protocol: odin.v1.json\r\n", chosen("odin.v1.json")),
        ("Sec-WebSocket-Protocol: odin.v1.msgpack\r\n", chosen("odin.v1.msgpack")),
        ("Sec-WebSocket-Protocol: odin.v1.msgpack, odin.v1.json\r\n", chosen("odin.v1.msgpack")),
        ("Sec-WebSocket-Protocol: odin.v9.json,odin.v1.json\r\n", chosen("odin.v1.json")),
        ("Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: odin.v1.msgpack\r\n", chosen("odin.v1.msgpack")),
        ("", (101, None)),
    ];
    for (offered, expected) in cases {
        assert_eq!(negotiate(&gateway, offered).await, expected, "{offered}");
    }
}

#[tokio::test]
async fn speaks_json_with_whoever_names_no_sub_protocol() {
    let gateway = Gateway::without_nats(|_| {});
    let stream = TcpStream::connect(gateway.address).await.expect("a connection");
    let text = request("GET /ws HTTP/1.1", GOOD);
    let mut client = Client::shake_hands(stream, text.as_bytes(), Codec::Json).await;
    client.send_text(r#"{"type":"ping"}"#).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { id: None, .. }));
}

/// Checklist 6: sub-protocols that nobody knows, or none in a list.
#[tokio::test]
async fn refuses_sub_protocols_that_it_does_not_know_and_echoes_none() {
    let gateway = Gateway::without_nats(|_| {});
    for offered in ["odin.v2.json", "ODIN.V1.JSON", "graphql-ws, chat", "", ","] {
        let headers = format!("{GOOD}Sec-WebSocket-Protocol: {offered}\r\n");
        let answer = exchange(gateway.address, &request("GET /ws HTTP/1.1", &headers)).await;
        assert_eq!(answer.status, 400, "{offered:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), None);
    }
    let reason = "odin_gateway_handshakes_refused_total{reason=\"bad_request\"}";
    gateway.metric_becomes(reason, 5).await;
}

/// Checklist 8: extensions with bad parameters, or a hundred of them.
#[tokio::test]
async fn declines_extensions_and_connects_without() {
    let gateway = Gateway::without_nats(|_| {});
    let offers = [
        "permessage-deflate".to_owned(),
        "permessage-deflate; client_max_window_bits=99; server_max_window_bits=banana".to_owned(),
        vec!["permessage-deflate; client_max_window_bits=10"; 100].join(", "),
    ];
    for offer in offers {
        let stream = TcpStream::connect(gateway.address).await.expect("a connection");
        let text = request("GET /ws HTTP/1.1", &format!("{GOOD}Sec-WebSocket-Extensions: {offer}\r\n"));
        // The client's frame reader fails on reserved bits.
        let mut client = Client::shake_hands(stream, text.as_bytes(), Codec::Json).await;
        assert!(client.sync(1).await.is_empty());
    }
}

#[tokio::test]
async fn takes_header_names_and_values_in_any_case_and_lists() {
    let gateway = Gateway::without_nats(|_| {});
    let stream = TcpStream::connect(gateway.address).await.expect("a connection");
    let text = request(
        "GET /ws HTTP/1.1",
        "UPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-version: 13\r\n\
         SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    Client::shake_hands(stream, text.as_bytes(), Codec::Json).await;
}

/// Checklist 10: frames in the same packet as the handshake.
#[tokio::test]
async fn loses_no_frame_that_comes_in_the_same_packet_as_the_handshake() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut early = frame(0x81, br#"{"type":"subscribe","id":1,"channels":["price:BTC"]}"#);
    early.extend(frame(0x81, br#"{"type":"ping","id":2}"#));
    let dial = Dial { early, ..Dial::default() };
    let mut client = Client::dial(odin.gateway.address, dial).await;
    let (mut snapshot, mut pong) = (None, false);
    while snapshot.is_none() || !pong {
        match client.message().await {
            ServerMessage::Update(update) => snapshot = Some(update.seq),
            ServerMessage::Pong { id, .. } => pong = id == Some(RequestId::Number(2)),
            ServerMessage::Subscribed { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(snapshot, Some(seq));
}

#[tokio::test]
async fn takes_up_a_frame_that_was_cut_by_the_end_of_the_handshake_packet() {
    let gateway = Gateway::without_nats(|_| {});
    let ping = frame(0x81, br#"{"type":"ping","id":7}"#);
    let (early, late) = ping.split_at(9);
    let dial = Dial { early: early.to_vec(), ..Dial::default() };
    let mut client = Client::dial(gateway.address, dial).await;
    client.send_raw(late).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { id: Some(RequestId::Number(7)), .. }));
}

/// Checklist 59: look for metrics and probes where clients connect.
#[tokio::test]
async fn serves_on_the_configured_path_only() {
    let gateway = Gateway::without_nats(|config| config.path = "/live".to_owned());
    let good = request("GET /live HTTP/1.1", GOOD);
    let stream = TcpStream::connect(gateway.address).await.expect("a connection");
    Client::shake_hands(stream, good.as_bytes(), Codec::Json).await;
    for path in ["/ws", "/", "/live/", "/live/x", "/metrics", "/readyz", "/livez", "/v1/stats"] {
        let answer = exchange(gateway.address, &request(&format!("GET {path} HTTP/1.1"), GOOD)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn spreads_connections_over_its_shards_and_serves_them_alike() {
    let odin = Odin::start_with(|config| config.shards = 2.try_into().expect("not zero")).await;
    let mut clients = Vec::new();
    let both = |stats: &serde_json::Value| {
        let shards = stats["shards"].as_array().expect("a list");
        shards.len() == 2 && shards.iter().all(|shard| shard["subscriptions"].as_u64() > Some(0))
    };
    // The kernel chooses by a hash of the addresses: some forty tries are enough for ever.
    while !both(&odin.gateway.stats().await) {
        assert!(clients.len() < 100, "one shard gets nobody: {}", odin.gateway.stats().await);
        let mut client = odin.client().await;
        client.subscribe(&["price:BTC"]).await;
        clients.push(client);
    }
    let sequences = odin.publisher.prices("BTC", 1, 20, 0).await;
    for client in &mut clients {
        for seq in &sequences {
            assert_eq!(client.update().await.seq, *seq);
        }
    }
    assert_eq!(odin.gateway.stats().await["bus"]["feeds"], 1, "one feed for both shards");
    let status = odin.client().await.status;
    assert_eq!(status.connected_clients, clients.len() as u64 + 1, "connections of all shards count");
}

#[tokio::test]
async fn pings_every_interval_and_keeps_those_who_answer() {
    let gateway = Gateway::without_nats(|config| {
        config.heartbeat.interval = Duration::from_secs(1);
        config.heartbeat.timeout = Duration::from_secs(2);
    });
    let mut client = Client::connect(&gateway).await;
    let mut pings = 0;
    // Five intervals are more than two timeouts: only the answers keep it.
    while pings < 5 {
        match client.next().await {
            Received::Ping(payload) => {
                pings += 1;
                client.send_raw(&frame(0x8A, &payload)).await;
            }
            other => panic!("expected a ping, not {other:?}"),
        }
    }
    gateway.metric_reaches("odin_gateway_pongs_received_total", 5).await;
    assert!(client.sync(1).await.is_empty());
}

#[tokio::test]
async fn closes_a_peer_that_never_answers() {
    let gateway = Gateway::without_nats(|config| {
        config.heartbeat.interval = Duration::from_secs(1);
        config.heartbeat.timeout = Duration::from_secs(2);
    });
    let mut client = Client::connect(&gateway).await;
    client.answers_pings = false;
    client.closed_with(CloseCode::HeartbeatTimeout).await;
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"heartbeat_timeout\"}", 1).await;
}

#[tokio::test]
async fn takes_any_message_as_a_sign_of_life() {
    let gateway = Gateway::without_nats(|config| {
        config.heartbeat.interval = Duration::from_secs(1);
        config.heartbeat.timeout = Duration::from_secs(3);
    });
    let mut client = Client::connect(&gateway).await;
    client.answers_pings = false;
    let mut pings = 0;
    while pings < 5 {
        match client.next().await {
            Received::Ping(_) => {
                pings += 1;
                // As a browser's script does, which sees no WebSocket pings.
                client.send_text(r#"{"type":"ping"}"#).await;
            }
            Received::Message(ServerMessage::Pong { .. }) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn closes_whoever_has_no_subscription_for_the_idle_limit_and_nobody_else() {
    let odin = Odin::start_with(|config| {
        config.heartbeat.interval = Duration::from_secs(1);
        config.heartbeat.idle_timeout = Duration::from_secs(2);
    })
    .await;
    let mut subscribed = odin.client().await;
    subscribed.subscribe(&["price:BTC"]).await;
    let mut idle = odin.client().await;
    let closed = tokio::spawn(async move {
        loop {
            match idle.next().await {
                // Awake, but without a subscription.
                Received::Ping(payload) => idle.send_raw(&frame(0x8A, &payload)).await,
                Received::Close(code, _) => return code,
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    // Served for longer than the idle connection lives.
    let mut id = 0;
    while !closed.is_finished() {
        id += 1;
        subscribed.sync(id).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closed.await.expect("no panic"), Some(CloseCode::Idle.code()));
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(subscribed.update().await.seq, seq);
    // From its last subscription on, it is idle too.
    subscribed.unsubscribe(1, &["price:BTC"]).await;
    subscribed.closed_with(CloseCode::Idle).await;
    odin.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"idle\"}", 2).await;
}

#[tokio::test]
async fn echoes_a_close_and_ends_the_connection_itself() {
    let gateway = Gateway::without_nats(|_| {});
    let cases: [(&[u8], Option<u16>); 4] =
        [(&[], None), (&[0x03, 0xE8], Some(1000)), (b"\x03\xE9going", Some(1001)), (b"\x0F\xA0mine", Some(4000))];
    for (payload, echoed) in cases {
        let mut client = Client::connect(&gateway).await;
        client.send_raw(&frame(0x88, payload)).await;
        assert!(matches!(client.next().await, Received::Close(code, _) if code == echoed));
        assert!(matches!(client.next().await, Received::End), "the server ends TCP first");
    }
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"normal\"}", 4).await;
}

#[tokio::test]
async fn answers_what_came_before_a_close_and_nothing_after() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    let mut bytes = frame(0x81, br#"{"type":"ping","id":1}"#);
    bytes.extend(frame(0x88, &[0x03, 0xE8]));
    bytes.extend(frame(0x81, br#"{"type":"ping","id":2}"#));
    client.send_raw(&bytes).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { id: Some(RequestId::Number(1)), .. }));
    assert!(matches!(client.next().await, Received::Close(Some(1000), _)));
    assert!(matches!(client.next().await, Received::End));
}

#[tokio::test]
async fn answers_a_websocket_ping_with_its_payload() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    for payload in [&b""[..], b"x", &[0xFF; 125]] {
        client.send_raw(&frame(0x89, payload)).await;
        assert!(matches!(client.next().await, Received::Pong(answer) if answer == payload));
    }
    // Between the fragments of a message too (RFC 6455 §5.4).
    client.send_raw(&frame(0x01, br#"{"type":"#)).await;
    client.send_raw(&frame(0x89, b"between")).await;
    assert!(matches!(client.next().await, Received::Pong(answer) if answer == b"between"));
    client.send_raw(&frame(0x80, br#""ping"}"#)).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { .. }));
}

#[tokio::test]
async fn counts_who_came_and_who_left() {
    let gateway = Gateway::without_nats(|_| {});
    let clients = [Client::connect(&gateway).await, Client::connect(&gateway).await, Client::connect(&gateway).await];
    gateway.metric_becomes("odin_gateway_connections", 3).await;
    gateway.metric_becomes("odin_gateway_handshakes_ok_total", 3).await;
    // Cut off without a close frame.
    drop(clients);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    gateway.metric_becomes("odin_gateway_connections_opened_total", 3).await;
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"peer_gone\"}", 3).await;
    assert_eq!(gateway.metric("odin_gateway_handshakes_pending").await, 0);
}
