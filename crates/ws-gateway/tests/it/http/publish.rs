//! Publishing by HTTP: who may, what is taken, and that an answer means that it is stored.

use odin_protocol::Mode;
use serde_json::json;

use super::support::{Events, Web, ask, bearer, is_refused, post};
use crate::publish::rooms;
use crate::support::{Answer, Gateway, Odin, token, until};

const LOBBY: &str = "/v1/channels/chat:lobby/publish";

fn ada() -> String {
    bearer(&token("ada", json!({})))
}

#[tokio::test]
async fn stores_what_a_client_publishes_and_everybody_gets_it() {
    let odin = Odin::start_with(rooms).await;
    let mut reader = Events::open(&odin.gateway, "chat:lobby").await;
    reader.begun(1, Mode::All).await;
    let data = r#"{ "text" : "hello", "n":1.0 }"#;
    let answer = post(&odin.gateway, LOBBY, &ada(), data).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let published = answer.json();
    assert_eq!((&published["type"], &published["channel"]), (&"published".into(), &"chat:lobby".into()));
    let update = reader.update().await;
    assert_eq!(Some(update.seq), published["seq"].as_u64());
    assert_eq!(Some(&*update.epoch.to_string()), published["epoch"].as_str());
    assert_eq!(update.data.get(), data, "untouched");
    let stream = odin.jetstream().await.get_stream("ODIN").await.expect("the stream");
    let stored = stream.get_raw_message(update.seq).await.expect("stored");
    assert_eq!(stored.subject.as_str(), "odin.chat.lobby");
    assert_eq!(stored.headers.get("Odin-Sender").map(|sender| sender.as_str()), Some("ada"));
    odin.gateway.metric_becomes("odin_gateway_client_publications_total", 1).await;
    odin.gateway.metric_becomes("odin_gateway_http_questions_waiting", 0).await;
}

#[tokio::test]
async fn publications_of_one_connection_are_stored_in_their_order() {
    let odin = Odin::start_with(rooms).await;
    let mut web = Web::connect(&odin.gateway).await;
    let mut last = 0;
    for data in ["null", "0", "\"x\"", "[]", " {} ", "true"] {
        let answer = web.ask("POST", LOBBY, &ada(), data).await;
        let seq = answer.json()["seq"].as_u64().unwrap_or_else(|| panic!("{data}: {}", answer.body));
        assert!(seq > last);
        last = seq;
    }
}

#[tokio::test]
async fn takes_publications_only_where_and_from_whom_a_rule_says_so() {
    let odin = Odin::start_with(rooms).await;
    for (channel, headers, status, code) in [
        ("chat:lobby", "", 401, "auth_required"),
        ("board", &*ada(), 403, "forbidden"),
        ("price:BTC", &ada(), 400, "unsupported"),
        ("chat:*", &ada(), 400, "unsupported"),
        ("nothing:here", &ada(), 404, "unknown_channel"),
        ("chat:%3E", &ada(), 400, "invalid_channel"),
        ("$JS.API", &ada(), 400, "invalid_channel"),
        ("chat:a%2Eb", &ada(), 400, "invalid_channel"),
    ] {
        is_refused(&post(&odin.gateway, &format!("/v1/channels/{channel}/publish"), headers, "1").await, status, code);
    }
    let root = bearer(&token("root", json!({ "admin": true })));
    assert_eq!(post(&odin.gateway, "/v1/channels/board/publish", &root, "1").await.status, 200);
    for method in ["GET", "PUT", "HEAD", "DELETE"] {
        let answer = ask(&odin.gateway, method, LOBBY, &ada(), "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{method}");
    }
    odin.gateway.metric_becomes("odin_gateway_client_publications_total", 1).await;
}

/// Checklist 35: what is no JSON, or would hurt whoever reads it.
#[tokio::test]
async fn refuses_payloads_that_are_none() {
    let odin = Odin::start_with(|config| {
        rooms(config);
        config.limits.payload_bytes = 1_000;
        config.limits.message_bytes = 4_096;
    })
    .await;
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let big = format!("\"{}\"", "x".repeat(1_000));
    for data in ["", " ", "{", "1 2", "nul", "'x'", "1e999", r#""\ud800""#, "{\"a\":1,}", &deep, &big] {
        is_refused(&post(&odin.gateway, LOBBY, &ada(), data).await, 422, "invalid_payload");
    }
    let mut web = Web::connect(&odin.gateway).await;
    let head = format!("POST {LOBBY} HTTP/1.1\r\nHost: odin\r\n{}Content-Length: 3\r\n\r\n", ada());
    web.send(&[head.as_bytes(), b"\"\xff\""].concat()).await;
    is_refused(&web.answer(false).await, 422, "invalid_payload");
    let too_big = format!("\"{}\"", "x".repeat(4_096));
    is_refused(&post(&odin.gateway, LOBBY, &ada(), &too_big).await, 413, "message_too_big");
    // Nobody reads what is announced to be too long.
    let mut web = Web::connect(&odin.gateway).await;
    web.send(format!("POST {LOBBY} HTTP/1.1\r\nHost: odin\r\n{}Content-Length: 99999999\r\n\r\n", ada()).as_bytes())
        .await;
    is_refused(&web.answer(false).await, 413, "message_too_big");
    web.ended().await;
    assert_eq!(odin.gateway.metric("odin_gateway_client_publications_total").await, 0);
}

/// Checklist 25: a body that is announced and does not come.
#[tokio::test]
async fn does_not_wait_for_a_body_for_ever() {
    let gateway = Gateway::without_nats(rooms);
    for target in [LOBBY, "/v1/poll", "/v1/events"] {
        let mut web = Web::connect(&gateway).await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: odin\r\n{}Content-Length: 100\r\n\r\n[1", ada());
        web.send(head.as_bytes()).await;
        let answer = web.answer(false).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (408, &"request_timeout".into()), "{target}");
        web.ended().await;
    }
    gateway.metric_becomes("odin_gateway_http_connections", 0).await;
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"timeout\"}", 3).await;
}

/// A limit of a connection is one of all requests that come by it.
#[tokio::test]
async fn publishes_no_faster_than_by_a_websocket() {
    let odin = Odin::start_with(|config| {
        rooms(config);
        config.limits.publishes_per_second = 5;
        config.http.requests_per_second = 1_000;
    })
    .await;
    let mut web = Web::connect(&odin.gateway).await;
    let mut stored = 0;
    let refused: Answer = loop {
        let answer = web.ask("POST", LOBBY, &ada(), "1").await;
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 200, "no limit");
    };
    is_refused(&refused, 429, "rate_limited");
    assert_eq!(refused.json()["error"]["limit"], 5);
    assert!(stored >= 5);
}

/// Checklist 45: the stream cannot be reached, or does not answer.
#[tokio::test]
async fn says_so_when_it_cannot_be_stored() {
    let gateway = Gateway::without_nats(rooms);
    is_refused(&post(&gateway, LOBBY, &ada(), "1").await, 503, "unavailable");
    let odin = Odin::start_with(rooms).await;
    odin.nats.pause();
    let refused = until("no answer of the stream", async || {
        // What was on its way when it stopped may have been stored.
        Some(post(&odin.gateway, LOBBY, &ada(), "1").await).filter(|answer| answer.status != 200)
    })
    .await;
    is_refused(&refused, 503, "unavailable");
    odin.nats.resume();
}
