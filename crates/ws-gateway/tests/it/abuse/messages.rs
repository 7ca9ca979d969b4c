//! What well-formed frames can carry.

use odin_protocol::{
    Codec, ServerMessage,
    close::CloseCode,
    error::ErrorCode,
    message::{ClientMessage, RequestId},
};

use crate::support::{Client, Dial, Gateway, Odin, frame, until};

/// A gateway that bears with many faults of one client.
fn patient() -> Gateway {
    Gateway::without_nats(|config| {
        config.limits.strikes = 10_000;
        config.limits.messages_per_second = 10_000;
    })
}

/// Checklist 35: text that is no message, of every kind.
#[tokio::test]
async fn answers_unreadable_messages_with_an_error_and_the_id_if_it_can() {
    let gateway = patient();
    let mut client = Client::connect(&gateway).await;
    let deep = format!(r#"{{"type":"ping","id":1,"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let number = Some(RequestId::Number(1));
    let cases = [
        ("", None, ErrorCode::InvalidMessage),
        ("hello", None, ErrorCode::InvalidMessage),
        ("null", None, ErrorCode::InvalidMessage),
        ("[1]", None, ErrorCode::InvalidMessage),
        ("{}", None, ErrorCode::InvalidMessage),
        (r#"{"id":1}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"id":1,"type":7}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"id":1,"type":"dance"}"#, number.clone(), ErrorCode::UnknownType),
        (r#"{"id":1,"type":"Ping"}"#, number.clone(), ErrorCode::UnknownType),
        (r#"{"type":"ping","id":1} {"type":"ping"}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"type":"ping","type":"ping","id":1}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":1,"id":1}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":-1}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":1.5}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":1e400}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":9007199254740992}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":NaN}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":"\ud800"}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"ping","id":[]}"#, None, ErrorCode::InvalidMessage),
        (r#"{"type":"subscribe","id":1}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"type":"subscribe","id":1,"channels":[]}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"type":"subscribe","id":1,"channels":"price:BTC"}"#, number.clone(), ErrorCode::InvalidMessage),
        (r#"{"type":"subscribe","id":1,"channels":[1]}"#, number.clone(), ErrorCode::InvalidMessage),
        (
            r#"{"type":"subscribe","id":1,"channels":[{"channel":"price:BTC","mode":"some"}]}"#,
            number.clone(),
            ErrorCode::InvalidMessage,
        ),
        (
            r#"{"type":"unsubscribe","id":1,"channels":[{"channel":"price:BTC"}]}"#,
            number.clone(),
            ErrorCode::InvalidMessage,
        ),
        (r#"{"type":"auth","id":1}"#, number.clone(), ErrorCode::InvalidMessage),
    ];
    for (text, id, code) in &cases {
        client.send_text(text).await;
        let error = client.error().await;
        assert_eq!(error.code, *code, "{text}");
        // An id that stood before the fault may come back; a wrong one never does.
        assert!(error.id == *id || (id.is_none() && error.id == number), "{text}: {:?}", error.id);
    }
    client.send_text(&deep).await;
    assert_eq!(client.error().await.code, ErrorCode::InvalidMessage);
    assert!(client.sync(2).await.is_empty());
    gateway.metric_becomes("odin_gateway_errors_sent_total", cases.len() as u64 + 1).await;
}

/// Checklist 36: lengths that the message does not have, and types that have no place in it.
#[tokio::test]
async fn refuses_messagepack_that_is_no_message() {
    let gateway = patient();
    let dial = Dial { codec: Codec::MsgPack, ..Dial::default() };
    let mut client = Client::dial(gateway.address, dial).await;
    let nested = [vec![0x91; 10_000], vec![0xC0]].concat();
    let nested = [&b"\x81\xA1x"[..], &nested].concat();
    let cases: [&[u8]; 14] = [
        b"",
        b"\xDD\xFF\xFF\xFF\xFF",
        b"\xDF\xFF\xFF\xFF\xFF\xA4type",
        b"\xDB\xFF\xFF\xFF\xFFping",
        b"\xC6\xFF\xFF\xFF\xFFx",
        b"\x82\xA4type\xA4ping",
        b"\x81\xA4type\xA4ping\xC0",
        b"\x81\xC4\x04type\xA4ping",
        b"\x81\xA4type\xC4\x04ping",
        b"\x82\xA4type\xA4ping\xA2id\xCB\x7F\xF0\x00\x00\x00\x00\x00\x00",
        b"\x82\xA4type\xA4ping\x01\x02",
        b"\xC1",
        b"\x82\xA4type\xA9subscribe\xA8channels\xDD\xFF\xFF\xFF\xFF",
        &nested,
    ];
    for bytes in cases {
        client.send_raw(&frame(0x82, bytes)).await;
        let error = client.error().await;
        assert_eq!(error.code, ErrorCode::InvalidMessage, "{bytes:x?}");
    }
    assert!(client.sync(1).await.is_empty());
}

/// Checklist 35: go on sending nonsense.
#[tokio::test]
async fn closes_after_too_many_strikes() {
    let gateway = Gateway::without_nats(|config| config.limits.strikes = 10);
    let mut client = Client::connect(&gateway).await;
    for _ in 0..10 {
        client.send_text("nonsense").await;
        assert_eq!(client.error().await.code, ErrorCode::InvalidMessage);
    }
    // What the client may not have is no fault of its program.
    client.ask(1, &["signals:all"]).await;
    assert_eq!(client.error().await.code, ErrorCode::AuthRequired);
    client.send_text("nonsense").await;
    client.closed_with(CloseCode::PolicyViolation).await;
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"policy\"}", 1).await;
}

/// Checklist 37: frames of the other sub-protocol.
#[tokio::test]
async fn refuses_frames_of_the_wrong_type() {
    let gateway = Gateway::without_nats(|_| {});
    for (codec, first) in [(Codec::Json, 0x82), (Codec::MsgPack, 0x81)] {
        let mut client = Client::dial(gateway.address, Dial { codec, ..Dial::default() }).await;
        let message = ClientMessage::Ping { id: None };
        client.send_raw(&frame(first, &message.encode(codec))[..]).await;
        if codec == Codec::MsgPack {
            // MessagePack as text is not UTF-8, which is found first.
            let (code, _) = client.closed().await;
            assert!([1003, 1007].contains(&code), "{code}");
        } else {
            client.closed_with(CloseCode::UnsupportedData).await;
        }
    }
    let mut client = Client::dial(gateway.address, Dial { codec: Codec::MsgPack, ..Dial::default() }).await;
    client.send_raw(&frame(0x81, br#"{"type":"ping"}"#)).await;
    client.closed_with(CloseCode::UnsupportedData).await;
}

/// Checklist 38: channel names that would be wildcards or inner subjects of the bus, if they got there.
#[tokio::test]
async fn lets_no_client_text_become_a_subject() {
    let odin = Odin::start_with(|config| {
        config.limits.strikes = 10_000;
        config.limits.messages_per_second = 10_000;
    })
    .await;
    let mut client = odin.client().await;
    let long = "x".repeat(4096);
    let bad = [
        ">",
        "*",
        "price:>",
        "price:**",
        "price:B*",
        "*:BTC",
        "price:*:x",
        "price:",
        ":price",
        "price::BTC",
        "$JS.>",
        "_INBOX.>",
        "price:BTC.price",
        "price:BTC price",
        "price:BTC\r\nPUB x 1",
        "price:\u{0}",
        "price:ВТС",
        "price:BTC\u{202E}",
        "a:b:c:d:e",
        "",
        " ",
        "price:BTC ",
        "odin.tokens.BTC.price",
        &long,
    ];
    for (n, channel) in bad.iter().enumerate() {
        client.ask(n as u64, &[channel]).await;
        let error = client.error().await;
        assert_eq!(
            (error.id, error.code),
            (Some(RequestId::Number(n as u64)), ErrorCode::InvalidChannel),
            "{channel:?}"
        );
        assert!(error.channel.is_none_or(|echoed| echoed.len() <= 128), "not echoed at length");
        assert!(error.message.len() < 200, "not echoed at length");
        client.unsubscribe(n as u64, &[channel]).await;
        assert_eq!(client.error().await.code, ErrorCode::InvalidChannel, "{channel:?}");
    }
    // Nothing of it reached the bus.
    assert_eq!(odin.gateway.metric("odin_gateway_feed_opens_total").await, 0);
    assert_eq!(odin.gateway.metric("odin_gateway_feeds").await, 0);
    assert_eq!(odin.gateway.metric("odin_gateway_subscriptions").await, 0);
}

/// Checklist 39: one message that names tens of thousands of channels.
#[tokio::test]
async fn refuses_ten_thousand_channels_in_one_message() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    for kind in ["subscribe", "unsubscribe"] {
        let names = vec!["\"a\""; 15_000].join(",");
        client.send_text(&format!(r#"{{"type":"{kind}","id":1,"channels":[{names}]}}"#)).await;
        let error = client.error().await;
        assert_eq!((error.id, error.code), (Some(RequestId::Number(1)), ErrorCode::TooManyChannels));
    }
    assert!(client.sync(2).await.is_empty());
    assert_eq!(gateway.metric("odin_gateway_subscriptions").await, 0);
}

/// Attack: messages without end, each small and valid.
#[tokio::test]
async fn limits_the_rate_of_messages_and_closes_on_a_flood() {
    let gateway = Gateway::without_nats(|config| config.limits.messages_per_second = 20);
    let mut bystander = Client::connect(&gateway).await;
    let mut client = Client::connect(&gateway).await;
    let pings = |count: u64| -> Vec<u8> {
        (0..count).flat_map(|id| frame(0x81, format!(r#"{{"type":"ping","id":{id}}}"#).as_bytes())).collect()
    };
    client.send_raw(&pings(200)).await;
    let (mut pongs, mut limited) = (0, 0);
    let closed = loop {
        match client.next().await {
            crate::support::Received::Message(ServerMessage::Pong { .. }) => pongs += 1,
            crate::support::Received::Message(ServerMessage::Error(error)) => {
                assert_eq!(error.code, ErrorCode::RateLimited);
                assert_eq!(error.limit, Some(20));
                assert!(error.retry_after_ms.is_some());
                assert!(error.id.is_some());
                limited += 1;
            }
            crate::support::Received::Close(code, _) => break code,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(closed, Some(CloseCode::RateLimited.code()), "it went on after rate_limited errors");
    // The second may turn once while they are read.
    assert!((20..=40).contains(&pongs), "{pongs} answers");
    assert_eq!(limited, 11, "one more than the strikes allowed");
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"rate_limited\"}", 1).await;
    assert!(bystander.sync(1).await.is_empty());
}

#[tokio::test]
async fn answers_again_when_a_rate_limited_client_waited() {
    let gateway = Gateway::without_nats(|config| {
        config.limits.messages_per_second = 5;
        config.limits.strikes = 10_000;
    });
    let mut client = Client::connect(&gateway).await;
    let mut id = 0;
    let mut pings = async || {
        id += 1;
        client.ping(id).await;
        matches!(client.message().await, ServerMessage::Pong { .. })
    };
    until("a refusal", async || (!pings().await).then_some(())).await;
    until("an answer", async || pings().await.then_some(())).await;
}

/// Checklist 39: subscribe and unsubscribe a thousand times, to make the bus do it too.
#[tokio::test]
async fn keeps_churn_of_subscriptions_away_from_the_bus() {
    let odin = Odin::start_with(|config| config.limits.messages_per_second = 10_000).await;
    let mut client = odin.client().await;
    for id in 0..500 {
        client.ask(id, &["price:BTC"]).await;
        client.unsubscribe(id, &["price:BTC"]).await;
        if id % 50 == 49 {
            client.sync(id).await;
        }
    }
    odin.gateway.metric_becomes("odin_gateway_feed_opens_total", 1).await;
    assert_eq!(odin.gateway.metric("odin_gateway_subscriptions").await, 0);
    assert_eq!(odin.gateway.stats().await["bus"]["feeds"], 1);
}

/// Attack: options that do not exist, in the hope that one of them does something.
#[tokio::test]
async fn ignores_members_it_does_not_know_and_refuses_those_it_will_know() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.send_text(r#"{"type":"subscribe","id":1,"channels":[{"channel":"price:A","subject":"odin.>","mode":null}],"admin":true}"#).await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { channel, .. } if channel == "price:A"));
    for option in [r#""filter":{"a":1}"#, r#""every":1000"#, r#""delta":true"#] {
        client
            .send_text(&format!(r#"{{"type":"subscribe","id":2,"channels":[{{"channel":"price:B",{option}}}]}}"#))
            .await;
        let error = client.error().await;
        assert_eq!((error.id, error.code), (Some(RequestId::Number(2)), ErrorCode::Unsupported), "{option}");
    }
    assert_eq!(odin.gateway.stats().await["subscriptions"], 1);
}

/// Checklist 39: subscribe and unsubscribe as many channels as a message holds, again and again: it is the channels that
/// count, not the messages.
#[tokio::test]
async fn limits_the_rate_of_channels_however_few_messages_name_them() {
    let gateway = Gateway::without_nats(|config| {
        config.limits.channels_per_second = 500;
        config.limits.strikes = 1000;
    });
    let mut client = Client::connect(&gateway).await;
    let names: Vec<String> = (0..100).map(|n| format!("price:T{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut answered, mut limited) = (0, 0);
    for id in 0..20 {
        client.unsubscribe(id, &names).await;
    }
    while answered + 100 * limited < 2000 {
        match client.message().await {
            ServerMessage::Unsubscribed { .. } => answered += 1,
            ServerMessage::Error(error) => {
                assert_eq!((error.code, error.limit), (ErrorCode::RateLimited, Some(500)));
                assert!(error.retry_after_ms.is_some_and(|ms| ms > 0 && ms <= 1000));
                limited += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(answered >= 500 && limited > 0, "{answered} answered, {limited} refused");
}
