//! Long polling: when it is answered, with what, and what becomes of those who wait.

use std::time::Duration;

use odin_protocol::{
    Cursor, ServerMessage,
    error::{ErrorCode, ResumeFailure},
    message::SystemState,
};
use serde_json::json;
use tokio::sync::oneshot;
use ws_gateway::config::Secret;

use super::support::{Polled, Poller, Web, ask, bearer, get, get_with, is_refused, post};
use crate::support::{Gateway, Odin, Wired, in_time, token, until, with_users};

const WAITING: &str = "odin_gateway_http_questions_waiting";

/// Polls beside the test.
fn poll_later(gateway: &Gateway, mut poller: Poller, wait: u32) -> oneshot::Receiver<(Poller, Polled)> {
    let (answer, heard) = oneshot::channel();
    let address = gateway.address;
    tokio::spawn(async move {
        let polled = poller.poll_at(address, wait).await;
        // The test may be over.
        let _ = answer.send((poller, polled));
    });
    heard
}

async fn heard(answer: oneshot::Receiver<(Poller, Polled)>) -> (Poller, Polled) {
    in_time("the answer to a poll", answer).await.expect("no panic")
}

#[tokio::test]
async fn begins_with_a_snapshot_at_once() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let polled = Polled::of(&get(&odin.gateway, "/v1/poll?channels=price:BTC,price:ETH").await);
    let mut begun = Vec::new();
    for message in &polled.messages {
        match message {
            ServerMessage::Subscribed { channel, recovered: false, reason: None, id: None, .. } => {
                begun.push(&**channel)
            }
            ServerMessage::Update(update) => assert_eq!((update.seq, update.snapshot), (seq, true)),
            other => panic!("{other:?}"),
        }
    }
    begun.sort_unstable();
    assert_eq!(begun, ["price:BTC", "price:ETH"]);
    assert_eq!((polled.messages.len(), polled.more), (3, None));
    // One for each channel, or one for both when a tick came in between.
    let cursors: Vec<Cursor> = polled.cursor.split(',').map(|cursor| cursor.parse().expect("a cursor")).collect();
    assert!(cursors.len() <= 2 && cursors[0].seq >= seq, "{}", polled.cursor);
    odin.gateway.metric_becomes("odin_gateway_http_questions_total", 1).await;
    odin.gateway.metric_becomes(WAITING, 0).await;
    odin.gateway.metric_becomes("odin_gateway_subscriptions", 0).await;
    assert_eq!(odin.gateway.metric("odin_gateway_connections_opened_total").await, 0, "it is no connection");
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn waits_for_news_and_brings_it_at_once() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    for channels in ["price:BTC", "price:BTC&mode=all", "price:*", "price:BTC,price:ETH&mode=all"] {
        let mut poller = Poller::new(channels);
        poller.poll(&odin.gateway, 50).await;
        let answer = poll_later(&odin.gateway, poller, 50);
        odin.gateway.metric_becomes(WAITING, 1).await;
        let seq = odin.publisher.price("BTC", 2).await;
        let (_, polled) = heard(answer).await;
        assert_eq!((polled.seqs(), polled.messages.len()), (vec![seq], 1), "{channels}: nothing but the news");
        assert!(!polled.updates()[0].snapshot);
    }
}

#[tokio::test]
async fn is_empty_at_the_end_of_its_wait_and_has_a_cursor_all_the_same() {
    let odin = Odin::start().await;
    let before = odin.publisher.price("BTC", 1).await;
    let mut poller = Poller::new("price:BTC&mode=all");
    assert_eq!(poller.poll(&odin.gateway, 1).await.seqs(), [before]);
    for wait in [1, 0] {
        let polled = poller.poll(&odin.gateway, wait).await;
        assert!(polled.messages.is_empty(), "{:?}", polled.messages);
        assert!(!polled.cursor.is_empty());
    }
    let seq = odin.publisher.price("BTC", 2).await;
    assert_eq!(poller.poll(&odin.gateway, 50).await.seqs(), [seq]);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn waits_for_no_longer_than_it_may_and_for_no_time_that_is_none() {
    let odin = Odin::start().await;
    let mut poller = Poller::new("price:BTC");
    poller.poll(&odin.gateway, 0).await;
    // What is too long is cut, and not refused.
    let answer = poll_later(&odin.gateway, poller, u32::MAX);
    odin.gateway.metric_becomes(WAITING, 1).await;
    odin.publisher.price("BTC", 1).await;
    assert_eq!(heard(answer).await.1.messages.len(), 1);
    for wait in ["-1", "1.5", "soon", "", "99999999999999999999999", "1&wait=2"] {
        let answer = get(&odin.gateway, &format!("/v1/poll?channels=price:BTC&wait={wait}")).await;
        is_refused(&answer, 400, "bad_request");
    }
}

/// An answer that was lost on its way is asked for again.
#[tokio::test]
async fn the_same_cursor_brings_the_same_again() {
    let odin = Odin::start().await;
    let mut poller = Poller::new("price:*&mode=all");
    poller.poll(&odin.gateway, 0).await;
    let sequences = odin.publisher.prices("BTC", 1, 5, 0).await;
    let before = poller.cursor.clone();
    let mut again = async |gateway| {
        poller.cursor.clone_from(&before);
        poller.poll(gateway, 50).await.seqs()
    };
    until("all of them", async || (again(&odin.gateway).await == sequences).then_some(())).await;
    for _ in 0..3 {
        assert_eq!(again(&odin.gateway).await, sequences);
    }
    assert_eq!(again(&odin.another_gateway().await).await, sequences);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn a_refused_channel_is_an_error_among_the_messages_and_all_of_them_an_http_error() {
    let odin = Odin::start_with(with_users).await;
    let mut poller = Poller::new("signals:all,price:BTC");
    for _ in 0..2 {
        let polled = poller.poll(&odin.gateway, 1).await;
        let errors: Vec<_> = polled
            .messages
            .iter()
            .filter_map(|message| match message {
                ServerMessage::Error(error) => Some((error.code, error.channel.as_deref())),
                _ => None,
            })
            .collect();
        assert_eq!(errors, [(ErrorCode::AuthRequired, Some("signals:all"))], "each time: it is answered at once");
        assert!(polled.cursor.contains(','), "a place for each, whatever was refused: {}", polled.cursor);
    }
    let seq = odin.publisher.price("BTC", 1).await;
    until("the update beside the error", async || {
        let seqs = poller.poll(&odin.gateway, 1).await.seqs();
        (!seqs.is_empty()).then(|| assert_eq!(seqs, [seq]))
    })
    .await;
    let ada = bearer(&token("ada", json!({ "tier": "free" })));
    for (asks, headers, status, code) in [
        ("channels=signals:all,trades", "", 401, "auth_required"),
        ("channels=watchlist:BTC", &*ada, 403, "forbidden"),
        ("channels=nothing:here", "", 404, "unknown_channel"),
        ("channels=price:%3E", "", 400, "invalid_channel"),
        ("channels=system:health&mode=all", "", 400, "unsupported"),
        ("wait=1", "", 400, "bad_request"),
        ("channels=price:A,price:B,price:C&cursor=1,2", "", 400, "bad_request"),
    ] {
        is_refused(&get_with(&odin.gateway, &format!("/v1/poll?{asks}"), headers).await, status, code);
    }
    let polled = Polled::of(&get_with(&odin.gateway, "/v1/poll?channels=trades&wait=0", &ada).await);
    assert_eq!(polled.messages.len(), 1);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn a_post_may_say_what_a_query_cannot() {
    let odin = Odin::start().await;
    let first = odin.publisher.price("A", 1).await;
    let polled = Polled::of(&get(&odin.gateway, "/v1/poll?channels=price:A&mode=all&wait=0").await);
    let missed = odin.publisher.prices("A", 2, 3, 0).await;
    let body = |since: &str| {
        json!({ "type": "subscribe", "id": "x", "channels": [
            { "channel": "price:A", "mode": "all", "since": since }, { "channel": "price:B" },
        ] })
        .to_string()
    };
    let polled = until("what was missed", async || {
        let polled = Polled::of(&post(&odin.gateway, "/v1/poll?wait=0", "", &body(&polled.cursor)).await);
        (polled.seqs() == missed).then_some(polled)
    })
    .await;
    let begun =
        |message: &ServerMessage| matches!(message, ServerMessage::Subscribed { channel, .. } if channel == "price:B");
    assert!(polled.messages.iter().any(begun), "the other one begins: {:?}", polled.messages);
    // The cursor of the last answer beats what the body says.
    let target = format!("/v1/poll?wait=0&cursor={}", polled.cursor);
    let polled = Polled::of(&post(&odin.gateway, &target, "", &body("1.zzzzzzzz.1.1")).await);
    assert!(!polled.seqs().contains(&first) && polled.updates().is_empty(), "{:?}", polled.messages);
    for (target, body) in [
        ("/v1/poll?channels=price:A", body("")),
        ("/v1/poll?mode=all", body("")),
        ("/v1/poll", String::new()),
        ("/v1/poll", r#"{"type":"ping"}"#.to_owned()),
        ("/v1/poll", r#"{"type":"auth","token":"x"}"#.to_owned()),
    ] {
        let answer = post(&odin.gateway, target, "", &body).await;
        assert_eq!(answer.status, 400, "{target} {body}: {}", answer.body);
    }
    for body in [r#"{"type":"subscribe","channels":[]}"#, r#"{"type":"subscribe","channels":7}"#, "[1", "{}{}"] {
        is_refused(&post(&odin.gateway, "/v1/poll", "", body).await, 400, "invalid_message");
    }
    let long = format!(r#"{{"type":"subscribe","channels":["price:A"],"x":"{}"}}"#, "x".repeat(70_000));
    is_refused(&post(&odin.gateway, "/v1/poll", "", &long).await, 413, "message_too_big");
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn whoever_leaves_while_waiting_leaves_nothing_behind() {
    let odin = Odin::start_with(|config| config.feeds.linger = Duration::from_millis(100)).await;
    let mut poller = Poller::new("price:BTC,price:*");
    poller.poll(&odin.gateway, 0).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut web = Web::connect(&odin.gateway).await;
        let target = format!("/v1/poll?channels=price:BTC,price:*&wait=55&cursor={}", poller.cursor);
        web.send(format!("GET {target} HTTP/1.1\r\nHost: odin\r\n\r\n").as_bytes()).await;
        waiting.push(web);
    }
    odin.gateway.metric_becomes(WAITING, 20).await;
    odin.gateway.metric_becomes("odin_gateway_http_connections", 20).await;
    drop(waiting);
    for gone in ["http_questions_waiting", "http_connections", "subscriptions", "shard_feeds", "feeds"] {
        odin.gateway.metric_becomes(&format!("odin_gateway_{gone}"), 0).await;
    }
}

/// Checklist 45: NATS is away. Whoever has nothing is told to come back; whoever waits goes on waiting.
#[tokio::test]
async fn says_that_the_stream_cannot_be_reached() {
    let gateway = Gateway::without_nats(|_| {});
    for wait in [0, 1] {
        let answer = get(&gateway, &format!("/v1/poll?channels=price:BTC&wait={wait}")).await;
        is_refused(&answer, 503, "unavailable");
    }
}

#[tokio::test]
async fn values_that_may_be_old_do_not_end_the_wait() {
    let wired = Wired::start_with(|config| config.feeds.stale_after = Duration::from_millis(100)).await;
    let mut poller = Poller::new("price:BTC&mode=all");
    poller.poll(&wired.gateway, 0).await;
    let answer = poll_later(&wired.gateway, poller, 55);
    wired.gateway.metric_becomes(WAITING, 1).await;
    wired.proxy.cut();
    wired.gateway.metric_becomes("odin_gateway_stale", 1).await;
    // One more that begins meanwhile: it gets what it has, and hears that this may be old.
    let seq = wired.publisher.price("BTC", 1).await;
    wired.gateway.metric_becomes(WAITING, 1).await;
    wired.proxy.mend();
    let (_, polled) = heard(answer).await;
    assert_eq!(polled.seqs(), [seq]);
    assert!(matches!(polled.messages[0], ServerMessage::Stale { channel: None, .. }), "{:?}", polled.messages);
}

#[tokio::test]
async fn a_drain_answers_those_who_wait() {
    let mut odin = Odin::start().await;
    let other = odin.another_gateway().await;
    let mut poller = Poller::new("price:BTC&mode=all");
    poller.poll(&odin.gateway, 0).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let mut web = Web::connect(&odin.gateway).await;
        let target = format!("/v1/poll?channels=price:BTC&mode=all&wait=55&cursor={}", poller.cursor);
        web.send(format!("GET {target} HTTP/1.1\r\nHost: odin\r\n\r\n").as_bytes()).await;
        waiting.push(web);
    }
    let mut idle = Web::connect(&odin.gateway).await;
    assert_eq!(idle.get("/v1/poll?channels=price:BTC&wait=0").await.status, 200);
    odin.gateway.metric_becomes(WAITING, 10).await;
    odin.gateway.begin_stop();
    for web in &mut waiting {
        let answer = web.answer(false).await;
        assert_eq!(answer.header("connection"), Some("close"), "{}", answer.head);
        let polled = Polled::of(&answer);
        let is_draining =
            |message: &ServerMessage| matches!(message, ServerMessage::System { status: SystemState::Draining, .. });
        assert!(polled.messages.iter().all(is_draining) && polled.messages.len() == 1, "{:?}", polled.messages);
        poller.cursor = polled.cursor;
        web.ended().await;
    }
    assert_eq!(odin.gateway.ended().await.remained, 0);
    idle.ended().await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(poller.poll(&other, 50).await.seqs(), [seq], "it goes on with the next gateway");
}

/// Checklist 19: a user is revoked who waits for news.
#[tokio::test]
async fn whoever_is_revoked_while_waiting_gets_no_news() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.admin.token = Some(Secret::new("0123456789abcdef"));
    })
    .await;
    let ada = bearer(&token("ada", json!({})));
    let begun = Polled::of(&get_with(&odin.gateway, "/v1/poll?channels=trades&wait=0", &ada).await);
    let mut web = Web::connect(&odin.gateway).await;
    let target = format!("/v1/poll?channels=trades&wait=55&cursor={}", begun.cursor);
    web.send(format!("GET {target} HTTP/1.1\r\nHost: odin\r\n{ada}\r\n").as_bytes()).await;
    odin.gateway.metric_becomes(WAITING, 1).await;
    let answer = odin.gateway.order("POST", "/v1/revocations", "0123456789abcdef", r#"{"sub":"ada"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    is_refused(&web.answer(false).await, 401, "auth_failed");
    is_refused(&get_with(&odin.gateway, "/v1/poll?channels=trades&wait=0", &ada).await, 401, "auth_failed");
    odin.gateway.is_balanced().await;
}

/// Checklist 42: cursors of nothing, of another stream, of the future, and with chains that are none.
#[tokio::test]
async fn says_why_a_cursor_is_of_no_use_and_begins_with_a_snapshot() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let begun = Polled::of(&get(&odin.gateway, "/v1/poll?channels=price:BTC&mode=all&wait=0").await);
    let good = begun.cursor.as_str();
    let parts: Vec<&str> = good.split('.').collect();
    let [version, epoch, _, ts] = parts[..] else { panic!("{good}") };
    let chains = "!1.1".repeat(257);
    for (cursor, reason) in [
        (&*format!("{version}.zzzzzzzz.1.{ts}"), ResumeFailure::EpochChanged),
        (&format!("{version}.{epoch}.999999999.{ts}"), ResumeFailure::RolledBack),
        (&format!("{version}.{epoch}.{seq}.1"), ResumeFailure::RolledBack),
        ("nonsense", ResumeFailure::InvalidCursor),
        ("!", ResumeFailure::InvalidCursor),
        ("!!!!", ResumeFailure::InvalidCursor),
        ("%00", ResumeFailure::InvalidCursor),
        ("%22%7D%5C", ResumeFailure::InvalidCursor),
        (&format!("{good}!1"), ResumeFailure::InvalidCursor),
        (&format!("{good}!1.-1"), ResumeFailure::InvalidCursor),
        (&format!("{good}!1.zzzzzzzzzzzzzzzzzzzz"), ResumeFailure::InvalidCursor),
        (&format!("{good}{chains}"), ResumeFailure::InvalidCursor),
    ] {
        for channels in ["price:BTC&mode=all", "price:*&mode=all", "price:*"] {
            let target = format!("/v1/poll?channels={channels}&wait=50&cursor={cursor}");
            let polled = Polled::of(&get(&odin.gateway, &target).await);
            match &polled.messages[0] {
                ServerMessage::Subscribed { recovered: false, reason: said, .. } => {
                    assert_eq!(*said, Some(reason), "{channels} {cursor:.80}");
                }
                other => panic!("{channels} {cursor:.80}: {other:?}"),
            }
            assert_eq!((polled.seqs(), polled.messages.len()), (vec![seq], 2), "{channels} {cursor:.80}");
            assert_ne!(polled.cursor, cursor);
        }
    }
    // Chains that never were change nothing, and neither do those of a channel that has only one.
    for channels in ["price:BTC&mode=all", "price:*&mode=all"] {
        let live = odin.publisher.price("BTC", 2).await;
        let target = format!("/v1/poll?channels={channels}&wait=50&cursor={good}!abc.5!0.99999!zzz.1");
        let seqs = Polled::of(&get(&odin.gateway, &target).await).seqs();
        assert_eq!(seqs.last(), Some(&live), "{channels}");
    }
    let answer =
        ask(&odin.gateway, "GET", &format!("/v1/poll?channels=price:*&cursor={}", "x".repeat(20_000)), "", "").await;
    assert!([414, 431].contains(&answer.status), "{}", answer.head);
    odin.gateway.is_balanced().await;
}
