//! Event streams: how they are written, whom they serve, and how they end.

use std::time::Duration;

use odin_protocol::{Mode, ServerMessage, close::CloseCode, error::ErrorCode, message::SystemState};
use serde_json::{Value, json};
use ws_gateway::config::Secret;

use super::{
    often,
    support::{Event, Events, ask, bearer, cursor_of, get, get_with, is_refused},
};
use crate::support::{Gateway, Odin, in_seconds, token, with_users};

#[tokio::test]
async fn a_stream_begins_like_a_connection_and_brings_what_follows() {
    let odin = Odin::start().await;
    let first = odin.publisher.price("BTC", 1).await;
    let mut events = Events::open(&odin.gateway, "price:BTC,price:ETH").await;
    assert_eq!(events.head.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(events.head.header("x-accel-buffering"), Some("no"));
    assert_eq!(events.head.header("connection"), Some("close"));
    assert_eq!(events.head.header("content-length"), None, "it has no end");
    match events.message().await {
        ServerMessage::Status(status) => {
            assert_eq!((&*status.status, status.heartbeat_ms), ("connected", 25_000));
        }
        other => panic!("{other:?}"),
    }
    let (mut begun, mut snapshots) = (Vec::new(), Vec::new());
    while begun.len() < 2 || snapshots.is_empty() {
        match events.message().await {
            ServerMessage::Subscribed { channel, mode: Mode::Latest, recovered: false, id: None, .. } => {
                begun.push(channel);
            }
            ServerMessage::Update(update) => snapshots.push(update),
            other => panic!("{other:?}"),
        }
    }
    begun.sort_unstable();
    assert_eq!(begun, ["price:BTC", "price:ETH"]);
    let snapshot = &snapshots[0];
    assert_eq!((snapshot.seq, snapshot.snapshot, snapshot.prev), (first, true, None));
    let live = odin.publisher.price("ETH", 2).await;
    let update = events.update().await;
    assert_eq!((update.seq, &*update.channel, update.prev), (live, "price:ETH", Some(0)));
    odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
    odin.gateway.metric_becomes("odin_gateway_deliveries_total{format=\"events\"}", 2).await;
    assert_eq!(odin.gateway.metric("odin_gateway_deliveries_total{format=\"json\"}").await, 0);
    odin.gateway.metric_becomes("odin_gateway_handshakes_ok_total", 1).await;
    drop(events);
    for gone in ["connections", "subscriptions", "http_connections", "handshakes_pending"] {
        odin.gateway.metric_becomes(&format!("odin_gateway_{gone}"), 0).await;
    }
}

/// A publisher may write JSON on several lines; a line break would end the field of an event.
#[tokio::test]
async fn the_data_of_an_event_is_one_line_whatever_a_publisher_writes() {
    let odin = Odin::start().await;
    let mut events = Events::open(&odin.gateway, "price:BTC").await;
    events.begun(1, Mode::Latest).await;
    let pretty = "{\n  \"price\": 1,\r\n\t\"text\": \"one\\ntwo\\u2028\u{2028}\",\r  \"list\": [\n\n  ]\n}";
    odin.publisher.publish("odin.tokens.BTC.price", pretty).await;
    let live = events.update().await;
    // Once as it comes live, and once as a snapshot.
    let mut late = Events::open(&odin.gateway, "price:BTC").await;
    late.begun(1, Mode::Latest).await;
    for update in [live, late.update().await] {
        let data = update.data.get();
        assert!(!data.contains(['\n', '\r']), "{data:?}");
        assert_eq!(
            serde_json::from_str::<Value>(data).expect("json"),
            serde_json::from_str::<Value>(pretty).expect("json")
        );
    }
}

#[tokio::test]
async fn an_update_of_one_exact_channel_has_its_position() {
    let odin = Odin::start().await;
    let first = odin.publisher.price("BTC", 1).await;
    let mut events = Events::open(&odin.gateway, "price:BTC&mode=all").await;
    events.begun(1, Mode::All).await;
    let snapshot = events.update().await;
    assert_eq!(snapshot.seq, first);
    for n in 0..3 {
        let before = if n == 0 {
            snapshot.clone()
        } else {
            odin.publisher.price("BTC", n).await;
            events.update().await
        };
        assert_eq!(events.last_id, cursor_of(&before));
    }
}

#[tokio::test]
async fn says_the_position_of_all_channels_when_one_is_proven() {
    let odin = Odin::start_with(often).await;
    for channels in ["price:A,price:B", "price:*"] {
        let mut events = Events::open(&odin.gateway, &format!("{channels}&mode=all")).await;
        let mut last = 0;
        while events.last_id.is_empty() {
            last = odin.publisher.price("A", 1).await;
            events.next().await.expect("an event");
        }
        let cursor: odin_protocol::Cursor = events.last_id.parse().expect("a cursor");
        assert!(cursor.seq <= last + 60, "{cursor} is not beyond the stream's end, ticks included: {last}");
    }
}

#[tokio::test]
async fn a_heartbeat_is_a_comment() {
    let gateway = Gateway::without_nats(|config| config.heartbeat.interval = Duration::from_secs(1));
    let mut events = Events::open(&gateway, "price:BTC").await;
    let mut comments = 0;
    while comments < 2 {
        let event = events.next().await.expect("a heartbeat");
        if event.is_comment {
            assert_eq!(event, Event { is_comment: true, ..Event::default() });
            comments += 1;
        }
    }
}

#[tokio::test]
async fn a_refused_channel_is_an_error_event_and_all_of_them_an_http_error() {
    let odin = Odin::start_with(with_users).await;
    let mut events = Events::open(&odin.gateway, "signals:all,price:BTC,nothing:here").await;
    let (mut refused, mut begun) = (Vec::new(), 0);
    while refused.len() < 2 || begun < 1 {
        match events.message().await {
            ServerMessage::Error(error) => refused.push((error.channel.expect("its channel"), error.code)),
            ServerMessage::Subscribed { .. } => begun += 1,
            ServerMessage::Status(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let expected = [("signals:all", ErrorCode::AuthRequired), ("nothing:here", ErrorCode::UnknownChannel)];
    assert_eq!(refused, expected.map(|(channel, code)| (channel.to_owned(), code)));
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(events.update().await.seq, seq, "the others are served");
    let free = bearer(&token("ada", json!({ "tier": "free" })));
    let many = (0..501).map(|n| format!("price:T{n}")).collect::<Vec<_>>().join(",");
    for (asks, headers, status, code) in [
        ("channels=signals:all,nothing:here", "", 401, "auth_required"),
        ("channels=nothing:here", "", 404, "unknown_channel"),
        ("channels=watchlist:BTC", &*free, 403, "forbidden"),
        ("channels=price::", "", 400, "invalid_channel"),
        ("channels=system:health&mode=all", "", 400, "unsupported"),
        ("channels=market:*", "", 404, "unknown_channel"),
        ("channels=system:health,price::&mode=all", "", 400, "unsupported"),
        (&format!("channels={many}"), "", 400, "too_many_channels"),
        ("channels=", "", 400, "bad_request"),
        ("", "", 400, "bad_request"),
        ("channels=price:BTC&mode=some", "", 400, "bad_request"),
        ("channels=price:BTC&channels=price:ETH", "", 400, "bad_request"),
        ("channels=price:A&cursor=1,2", "", 400, "bad_request"),
    ] {
        let answer = get_with(&odin.gateway, &format!("/v1/events?{asks}"), headers).await;
        is_refused(&answer, status, code);
    }
    odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
    odin.gateway.is_balanced().await;
}

/// What a client would take for the next answer of its connection.
#[tokio::test]
async fn answers_a_head_request_without_a_body() {
    let odin = Odin::start().await;
    let answer = ask(&odin.gateway, "HEAD", "/v1/events?channels=price:BTC", "", "").await;
    assert_eq!((answer.status, &*answer.body), (405, ""));
    assert_eq!(answer.header("allow"), Some("get,post"));
    let answer = ask(&odin.gateway, "HEAD", "/v1/poll?channels=price:BTC", "", "").await;
    assert_eq!((answer.status, &*answer.body), (405, ""));
    assert_eq!(odin.gateway.metric("odin_gateway_connections_opened_total").await, 0);
    odin.gateway.is_balanced().await;
}

/// Checklist 15: a token ends, and with it the stream that it opened.
#[tokio::test]
async fn serves_a_user_until_the_token_ends() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.auth.expiry_warning = Duration::from_secs(60);
    })
    .await;
    let headers = bearer(&token("ada", json!({ "exp": in_seconds(3) })));
    let mut events = Events::open_with(&odin.gateway, "trades,price:BTC", &headers).await;
    let (mut said, mut was_warned) = (Vec::new(), false);
    while said.len() < 2 || !was_warned {
        match events.message().await {
            ServerMessage::Authenticated { id: None, sub, expires_at: Some(_) } => assert_eq!(sub, "ada"),
            ServerMessage::Subscribed { channel, .. } => said.push(channel),
            ServerMessage::System { status: SystemState::TokenExpiring, expires_in_ms: Some(ms), .. } => {
                assert!(ms <= 3_000, "{ms}");
                was_warned = true;
            }
            ServerMessage::Status(_) => {}
            other => panic!("{other:?}"),
        }
    }
    odin.gateway.metric_becomes("odin_gateway_user_connections", 1).await;
    let seq = odin.publisher.publish("odin.users.ada.trades", "1").await;
    assert_eq!(events.update().await.seq, seq);
    events.closed_with(CloseCode::TokenExpired).await;
    assert!((500..=3_000).contains(&events.retry), "{}", events.retry);
    odin.gateway.metric_becomes("odin_gateway_user_connections", 0).await;
    is_refused(&get_with(&odin.gateway, "/v1/events?channels=trades", &headers).await, 401, "auth_failed");
    odin.gateway.is_balanced().await;
}

/// Checklist 19: a revoked user loses every stream, and gets no other.
#[tokio::test]
async fn ends_the_streams_of_a_revoked_user() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.admin.token = Some(Secret::new("0123456789abcdef"));
    })
    .await;
    let headers = bearer(&token("ada", json!({})));
    let mut events = Events::open_with(&odin.gateway, "trades", &headers).await;
    let mut other = Events::open(&odin.gateway, "price:BTC").await;
    other.begun(1, Mode::Latest).await;
    let answer = odin.gateway.order("POST", "/v1/revocations", "0123456789abcdef", r#"{"sub":"ada"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    events.closed_with(CloseCode::Revoked).await;
    assert!(events.retry >= 60_000, "{}: never, as far as that can be said", events.retry);
    is_refused(&get_with(&odin.gateway, "/v1/events?channels=trades", &headers).await, 401, "auth_failed");
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(other.update().await.seq, seq, "nobody else is disturbed");
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn a_drain_is_announced_and_ends_streams_with_the_wait_that_belongs_to_it() {
    let mut odin = Odin::start_with(|config| config.drain.window = Duration::from_secs(2)).await;
    let other = odin.another_gateway().await;
    let mut events = Events::open(&odin.gateway, "price:BTC&mode=all").await;
    events.begun(1, Mode::All).await;
    odin.publisher.price("BTC", 1).await;
    events.update().await;
    odin.gateway.begin_stop();
    match events.message().await {
        ServerMessage::System { status: SystemState::Draining, reconnect_in_ms: Some(ms), .. } => {
            assert!(ms <= 2_000, "{ms}");
        }
        message => panic!("{message:?}"),
    }
    events.closed_with(CloseCode::ServiceRestart).await;
    assert!((500..=3_000).contains(&events.retry), "{}", events.retry);
    let seq = odin.publisher.price("BTC", 2).await;
    let mut events = Events::resume(&other, "price:BTC&mode=all", &events.last_id).await;
    events.resumed(1).await;
    assert_eq!(events.update().await.seq, seq);
    assert_eq!(odin.gateway.ended().await.remained, 0);
}

#[tokio::test]
async fn there_are_no_streams_but_those_that_are_asked_for_by_get_or_post() {
    let odin = Odin::start().await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = ask(&odin.gateway, method, "/v1/events?channels=price:BTC", "", "").await;
        is_refused(&answer, 405, "method_not_allowed");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("get") && allow.contains("post")));
    }
    assert_eq!(get(&odin.gateway, "/v1/nothing").await.status, 404);
    odin.gateway.is_balanced().await;
}
