//! Probes, metrics, statistics, and what is not in the log.

use odin_protocol::{ServerMessage, close::CloseCode};
use tokio::net::TcpStream;
use ws_gateway::config::Secret;

use crate::support::{Canary, Client, Gateway, Odin, exchange, frame, request, until};

#[tokio::test]
async fn answers_probes_metrics_and_statistics_on_the_admin_listener_only() {
    let odin = Odin::start().await;
    for path in ["/livez", "/readyz", "/metrics", "/v1/stats"] {
        assert_eq!(odin.gateway.get(path).await.status, 200, "{path}");
        let public = exchange(odin.gateway.address, &request(&format!("GET {path} HTTP/1.1"), "")).await;
        assert_eq!(public.status, 404, "{path} is not for clients");
    }
    assert_eq!(odin.gateway.get("/ws").await.status, 404);
    assert_eq!(odin.gateway.get("/debug/pprof").await.status, 404);
    let answer = exchange(odin.gateway.admin, &request("POST /metrics HTTP/1.1", "Connection: close\r\n")).await;
    assert_eq!(answer.status, 405);
    let metrics = odin.gateway.get("/metrics").await;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn counts_what_flows_through() {
    let odin = Odin::start().await;
    let mut clients = [odin.client().await, odin.client().await, odin.client().await];
    for client in &mut clients {
        client.subscribe(&["price:BTC"]).await;
    }
    for price in 0..10 {
        odin.publisher.price("BTC", price).await;
        for client in &mut clients {
            client.update().await;
        }
    }
    let gateway = &odin.gateway;
    for (name, value) in [
        ("odin_gateway_connections", 3),
        ("odin_gateway_subscriptions", 3),
        ("odin_gateway_feeds", 1),
        ("odin_gateway_shard_feeds", 1),
        ("odin_gateway_nats_connected", 1),
        ("odin_gateway_live_messages_total", 10),
        ("odin_gateway_publications_delivered_total", 10),
        ("odin_gateway_deliveries_total{format=\"json\"}", 30),
        ("odin_gateway_deliveries_total{format=\"msgpack\"}", 0),
        ("odin_gateway_messages_received_total{format=\"json\"}", 3),
        ("odin_gateway_feed_opens_total", 1),
        ("odin_gateway_chain_gaps_total", 0),
    ] {
        gateway.metric_becomes(name, value).await;
    }
    for name in ["odin_gateway_received_bytes_total", "odin_gateway_sent_bytes_total", "odin_gateway_writes_total"] {
        assert!(gateway.metric(name).await > 0, "{name}");
    }
    let stats = gateway.stats().await;
    assert_eq!(stats["readiness"]["status"], "ready");
    assert_eq!(stats["connectedClients"], 3);
    assert_eq!(stats["subscriptions"], 3);
    assert_eq!(stats["bus"]["connected"], true);
    assert_eq!(stats["bus"]["stream"], "ODIN");
    assert_eq!(stats["bus"]["delivered"], 10);
    assert_eq!(stats["shards"][0]["connections"], 3);
}

/// Attack: put secrets, or line breaks and forged entries, where a careless gateway would log them.
#[tokio::test]
async fn logs_neither_payloads_nor_what_clients_call_themselves() {
    let canary = Canary::new("secret");
    let word = canary.word().to_owned();
    let odin = Odin::start().await;
    let stream = TcpStream::connect(odin.gateway.address).await.expect("a connection");
    let headers = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Basic {word}\r\nCookie: session={word}\r\n\
         User-Agent: {word}\\n{{\"level\":\"ERROR\"}}\r\nSec-WebSocket-Protocol: odin.v1.json, {word}\r\n"
    );
    let text = request(&format!("GET /ws?{word}={word} HTTP/1.1"), &headers);
    let mut client = Client::shake_hands(stream, text.as_bytes(), odin_protocol::Codec::Json).await;
    client.subscribe(&["price:BTC"]).await;
    odin.publisher.publish("odin.tokens.BTC.price", format!(r#"{{"price":"{word}"}}"#)).await;
    client.update().await;
    odin.publisher.publish("odin.tokens.BTC.price", format!("poison {word}")).await;
    assert!(matches!(client.message().await, ServerMessage::Gap { .. }));
    let attempts = [
        format!(r#"{{"type":"auth","id":1,"token":"{word}"}}"#),
        format!(r#"{{"type":"publish","id":1,"channel":"price:BTC","data":"{word}"}}"#),
        format!(r#"{{"type":"{word}","id":1}}"#),
        format!(r#"{{"type":"subscribe","id":1,"channels":["{word}\n{{\"level\":\"ERROR\"}}"]}}"#),
        format!(r#"{{"type":"subscribe","id":1,"channels":["{word}"]}}"#),
        format!("not json {word}"),
    ];
    for attempt in attempts {
        client.send_text(&attempt).await;
        client.error().await;
    }
    // Neither does the way out: a close reason of the client's, given to us.
    client.send_raw(&frame(0x88, &[&[0x0F, 0xA0], word.as_bytes()].concat())).await;
    client.closed().await;
    // Requests that never become a connection.
    exchange(odin.gateway.address, &request(&format!("GET /{word} HTTP/1.1"), "")).await;
    exchange(odin.gateway.address, &request("GET /ws HTTP/1.1", &format!("{word}: {word}\r\n"))).await;
    odin.gateway.metric_becomes("odin_gateway_connections", 0).await;
    canary.was_not_logged();
}

#[tokio::test]
async fn logs_no_password_of_nats() {
    let canary = Canary::new("password");
    let word = canary.word().to_owned();
    let gateway = Gateway::without_nats(|config| {
        config.nats.urls = vec![format!("nats://odin:{word}@127.0.0.1:1")];
    });
    gateway.not_ready("nats_disconnected").await;
    canary.was_not_logged();
    let answers =
        [gateway.get("/v1/stats").await.body, gateway.get("/readyz").await.body, gateway.get("/metrics").await.body];
    assert!(answers.iter().all(|answer| !answer.contains(&word)));
}

/// Checklist 59: orders are for who has the token, and for nobody on the public address. The token is not logged.
#[tokio::test]
async fn orders_are_taken_with_the_token_and_on_the_admin_listener_only() {
    let canary = Canary::new("token");
    let token = canary.word();
    let odin = Odin::start_with(|config| config.admin.token = Some(Secret::new(token))).await;
    let gateway = &odin.gateway;
    let body = r#"{"message":"hello"}"#;
    let refused = gateway.order("POST", "/v1/broadcast", "wrong", body).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("bearer")));
    assert_eq!(gateway.get("/v1/cluster").await.status, 401);
    gateway.metric_becomes("odin_gateway_admin_refused_total", 2).await;
    // It is ready to serve before it can take orders.
    let done = until("a connection for orders", async || {
        Some(gateway.order("POST", "/v1/broadcast", token, body).await).filter(|answer| answer.status != 503)
    })
    .await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(done.json()["seq"].as_u64().is_some_and(|seq| seq > 0) && done.json()["id"].is_string());
    gateway.metric_becomes("odin_gateway_orders_total", 1).await;
    let headers = format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    let public = exchange(gateway.address, &request("POST /v1/broadcast HTTP/1.1", &headers)).await;
    assert_eq!(public.status, 404, "the public address knows nothing of it");
    let endless = format!("{{\"message\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(gateway.order("POST", "/v1/broadcast", token, &endless).await.status, 413);
    canary.was_not_logged();
}

#[tokio::test]
async fn nobody_may_order_where_there_is_no_token() {
    let gateway = Gateway::without_nats(|_| {});
    let answer = gateway.order("POST", "/v1/drain", "", "").await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (403, Some("admin_disabled")));
    assert_eq!(gateway.get("/openapi.json").await.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn a_gateway_that_is_told_to_drain_lets_everybody_go_and_ends() {
    let mut gateway = Gateway::without_nats(|config| config.admin.token = Some(Secret::new("0123456789abcdef")));
    let mut client = Client::connect(&gateway).await;
    let answer = gateway.order("POST", "/v1/drain", "0123456789abcdef", "").await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (202, Some("draining")));
    assert!(matches!(client.message().await, ServerMessage::System { .. }));
    client.closed_with(CloseCode::ServiceRestart).await;
    drop(client);
    assert_eq!(gateway.ended().await.left, 1);
}
