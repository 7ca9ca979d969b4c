//! What a client may say, and what it is answered.

use odin_protocol::{
    Codec, ServerMessage,
    error::{ErrorCode, ResumeFailure},
    message::{ChannelRequest, ClientMessage, Mode, RequestId},
};

use crate::support::{Chains, Client, Dial, Gateway, Odin, frame, until};

fn id(number: u64) -> Option<RequestId> {
    Some(RequestId::Number(number))
}

#[tokio::test]
async fn begins_with_the_snapshot_and_goes_on_live_in_one_chain() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let last = odin.publisher.price("BTC", 2).await;
    let mut client = odin.client().await;
    client.ask(7, &["price:BTC"]).await;
    match client.message().await {
        ServerMessage::Subscribed { id: answered, channel, mode, recovered, reason, .. } => {
            assert_eq!(answered, id(7));
            assert_eq!(channel, "price:BTC");
            assert_eq!(mode, Mode::Latest);
            assert!(!recovered);
            assert_eq!(reason, None);
        }
        other => panic!("subscribed comes first, not {other:?}"),
    }
    let mut chains = Chains::default();
    let snapshot = client.update().await;
    assert!(snapshot.snapshot);
    assert_eq!((snapshot.seq, snapshot.prev, snapshot.data.get()), (last, None, r#"{"price":2}"#));
    chains.take(&snapshot);
    for price in 3..=10 {
        // One at a time, so that a client that reads along is never behind.
        let seq = odin.publisher.price("BTC", price).await;
        let update = client.update().await;
        assert_eq!(update.seq, seq);
        assert_eq!(update.data.get(), format!(r#"{{"price":{price}}}"#));
        assert_eq!(update.epoch, snapshot.epoch);
        assert!(update.ts >= snapshot.ts);
        chains.take(&update);
    }
}

#[tokio::test]
async fn begins_without_a_snapshot_where_nothing_is_stored() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:NEW"]).await;
    assert!(client.sync(2).await.is_empty());
    let seq = odin.publisher.price("NEW", 1).await;
    let update = client.update().await;
    assert_eq!((update.seq, update.prev, update.snapshot), (seq, Some(0), false));
}

#[tokio::test]
async fn says_the_same_in_messagepack() {
    let odin = Odin::start().await;
    let data = r#"{"tokenId":"BTC","price":64250.5,"volume24h":18446744073709551615,"list":[null,true,-1,"é"]}"#;
    let seq = odin.publisher.publish("odin.tokens.BTC.price", data).await;
    let dial = Dial { codec: Codec::MsgPack, ..Dial::default() };
    let mut msgpack = Client::dial(odin.gateway.address, dial).await;
    let mut json = odin.client().await;
    for client in [&mut msgpack, &mut json] {
        client.subscribe(&["price:BTC", "market:summary"]).await;
        let update = client.update().await;
        assert_eq!((update.seq, &*update.channel, update.snapshot), (seq, "price:BTC", true));
        assert_eq!(update.data.get(), data);
    }
    let data = r#"{"cap":1.5e300}"#;
    let seq = odin.publisher.publish("odin.market.summary", data).await;
    for client in [&mut msgpack, &mut json] {
        let update = client.update().await;
        assert_eq!((update.seq, &*update.channel, update.prev), (seq, "market:summary", Some(0)));
        let (got, sent): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(update.data.get()).expect("json"), serde_json::from_str(data).expect("json"));
        assert_eq!(got, sent);
    }
    odin.gateway.metric_becomes("odin_gateway_deliveries_total{format=\"msgpack\"}", 2).await;
    odin.gateway.metric_becomes("odin_gateway_deliveries_total{format=\"json\"}", 2).await;
}

#[tokio::test]
async fn passes_the_publishers_json_through_untouched() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    for data in [r#"{ "b" : 1.0 , "a":1e2,"a":"A" }"#, "null", "7", r#""text""#, "[ ]", "-0.0"] {
        odin.publisher.publish("odin.tokens.BTC.price", data).await;
        assert_eq!(client.update().await.data.get(), data.trim());
    }
}

#[tokio::test]
async fn takes_many_channels_in_one_message_and_answers_each() {
    let odin = Odin::start().await;
    let channels: Vec<String> = (0..500).map(|n| format!("price:T{n}")).collect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let messages = channels.iter().enumerate().map(|(n, _)| (format!("odin.tokens.T{n}.price"), n.to_string()));
    let sequences = odin.publisher.publish_all(messages.collect()).await;
    let mut client = odin.client().await;
    client.ask(1, &names).await;
    let mut begun = std::collections::HashSet::new();
    let mut seen = std::collections::HashMap::new();
    while seen.len() < 500 {
        match client.message().await {
            ServerMessage::Subscribed { id: answered, channel, .. } => {
                assert_eq!(answered, id(1));
                assert!(begun.insert(channel), "answered once");
            }
            ServerMessage::Update(update) => {
                assert!(begun.contains(&update.channel), "subscribed comes before the snapshot");
                assert!(update.snapshot);
                assert!(seen.insert(update.channel.clone(), update.seq).is_none(), "one snapshot");
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    for (channel, seq) in channels.iter().zip(sequences) {
        assert_eq!(seen[channel], seq);
    }
    assert!(client.sync(2).await.is_empty());
    assert_eq!(odin.gateway.stats().await["subscriptions"], 500);
}

/// Checklist 40: subscribing twice.
#[tokio::test]
async fn answers_a_second_subscribe_the_same_and_sends_no_second_snapshot() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    assert!(client.update().await.snapshot);
    client.ask(2, &["price:BTC"]).await;
    let answers = client.sync(3).await;
    let [ServerMessage::Subscribed { id: answered, mode: Mode::Latest, recovered: false, .. }] = &answers[..] else {
        panic!("one answer and nothing else: {answers:?}");
    };
    assert_eq!(*answered, id(2));
    odin.publisher.price("BTC", 2).await;
    client.update().await;
    assert!(client.sync(4).await.is_empty(), "one update, not two");
    assert_eq!(odin.gateway.stats().await["subscriptions"], 1);
}

#[tokio::test]
async fn answers_each_of_two_requests_for_a_channel_that_is_still_opening() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    // In one message, so that the second comes before the feed can be open.
    client.ask(1, &["price:BTC", "price:BTC"]).await;
    client.ask(2, &["price:BTC"]).await;
    let mut answers = Vec::new();
    let mut snapshots = Vec::new();
    while answers.len() < 3 || snapshots.is_empty() {
        match client.message().await {
            ServerMessage::Subscribed { id, .. } => answers.push(id),
            ServerMessage::Update(update) => snapshots.push(update.seq),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(client.sync(3).await.is_empty());
    answers.sort();
    assert_eq!(answers, [id(1), id(1), id(2)]);
    assert_eq!(snapshots, [seq]);
    assert_eq!(odin.gateway.stats().await["subscriptions"], 1);
}

/// Checklist 40: unsubscribing what is not subscribed.
#[tokio::test]
async fn ends_a_subscription_and_answers_for_unknown_ones_too() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC", "price:ETH"]).await;
    client.unsubscribe(2, &["price:BTC", "price:NEVER", "signals:all"]).await;
    for expected in ["price:BTC", "price:NEVER", "signals:all"] {
        match client.message().await {
            ServerMessage::Unsubscribed { id: answered, channel } => {
                assert_eq!((answered, &*channel), (id(2), expected));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    odin.publisher.price("BTC", 1).await;
    let seq = odin.publisher.price("ETH", 1).await;
    let update = client.update().await;
    assert_eq!((&*update.channel, update.seq), ("price:ETH", seq), "nothing more of price:BTC");
    client.unsubscribe(3, &["price:BTC"]).await;
    assert!(matches!(client.message().await, ServerMessage::Unsubscribed { .. }), "as often as one likes");
    assert_eq!(odin.gateway.stats().await["subscriptions"], 1);
}

#[tokio::test]
async fn subscribes_again_after_an_unsubscribe_with_a_new_snapshot() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    client.update().await;
    client.unsubscribe(2, &["price:BTC"]).await;
    assert!(matches!(client.message().await, ServerMessage::Unsubscribed { .. }));
    let seq = odin.publisher.price("BTC", 2).await;
    // The feed lingers: its last value may be on its way to the shard.
    until("the newest value as snapshot", async || {
        client.subscribe(&["price:BTC"]).await;
        let update = client.update().await;
        assert!(update.snapshot);
        client.unsubscribe(3, &["price:BTC"]).await;
        client.sync(4).await;
        (update.seq == seq).then_some(())
    })
    .await;
}

#[tokio::test]
async fn survives_subscribe_and_unsubscribe_in_one_packet() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend(frame(0x81, br#"{"type":"subscribe","channels":["price:BTC"]}"#));
        bytes.extend(frame(0x81, br#"{"type":"unsubscribe","channels":["price:BTC"]}"#));
    }
    client.send_raw(&bytes).await;
    client.sync(1).await;
    odin.gateway.metric_becomes("odin_gateway_subscriptions", 0).await;
    client.subscribe(&["price:BTC"]).await;
    let seq = odin.publisher.price("BTC", 2).await;
    while client.update().await.seq < seq {}
    assert!(client.sync(2).await.is_empty());
}

#[tokio::test]
async fn gives_every_publication_to_whoever_asks_for_all() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    let request = ChannelRequest { mode: Some(Mode::All), ..ChannelRequest::from("price:BTC") };
    client.ask_with(1, vec![request]).await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { mode: Mode::All, .. }));
    let sequences = odin.publisher.prices("BTC", 1, 200, 0).await;
    let mut chains = Chains::default();
    for seq in sequences {
        let update = client.update().await;
        assert_eq!(update.seq, seq);
        chains.take(&update);
    }
}

#[tokio::test]
async fn refuses_what_no_rule_and_no_anonymous_user_may_have() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    let cases = [
        ("weather:london", ErrorCode::UnknownChannel),
        ("price", ErrorCode::UnknownChannel),
        ("price:BTC:USD", ErrorCode::UnknownChannel),
        ("market:nonsense", ErrorCode::UnknownChannel),
        ("market:*", ErrorCode::UnknownChannel),
        ("PRICE:BTC", ErrorCode::UnknownChannel),
        ("signals:all", ErrorCode::AuthRequired),
        ("signals:type:momentum", ErrorCode::AuthRequired),
        ("signals:high", ErrorCode::AuthRequired),
        ("watchlist:BTC", ErrorCode::AuthRequired),
        ("portfolio", ErrorCode::AuthRequired),
        ("trades", ErrorCode::AuthRequired),
        ("notifications", ErrorCode::AuthRequired),
    ];
    for (channel, code) in cases {
        client.ask(5, &[channel]).await;
        let error = client.error().await;
        assert_eq!((error.id, error.code, error.channel.as_deref()), (id(5), code, Some(channel)));
        assert!(!error.message.is_empty());
    }
    // None of these is a fault of the program: the connection goes on, and good entries are served beside bad ones.
    client.ask(6, &["signals:all", "price:BTC", "nothing:here"]).await;
    let (mut refused, mut served) = (Vec::new(), Vec::new());
    while refused.len() + served.len() < 3 {
        match client.message().await {
            ServerMessage::Error(error) => refused.push(error.code),
            ServerMessage::Subscribed { channel, .. } => served.push(channel),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(refused, [ErrorCode::AuthRequired, ErrorCode::UnknownChannel]);
    assert_eq!(served, ["price:BTC"]);
    odin.gateway.metric_becomes("odin_gateway_errors_sent_total", 15).await;
}

#[tokio::test]
async fn refuses_options_and_messages_that_are_not_offered() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    let cases = [
        (
            r#"{"type":"subscribe","id":"a","channels":[{"channel":"system:health","mode":"all"}]}"#,
            ErrorCode::Unsupported,
        ),
        (r#"{"type":"auth","id":"a","token":"eyJhbGciOiJub25lIn0.e30."}"#, ErrorCode::AuthUnavailable),
        (r#"{"type":"publish","id":"a","channel":"price:BTC","data":1}"#, ErrorCode::Unsupported),
    ];
    for (message, code) in cases {
        client.send_text(message).await;
        let error = client.error().await;
        assert_eq!((error.id, error.code), (Some(RequestId::Text("a".into())), code));
    }
    assert_eq!(gateway.metric("odin_gateway_subscriptions").await, 0);
}

/// Checklist 39: more subscriptions than a connection may have.
#[tokio::test]
async fn limits_the_subscriptions_of_a_connection() {
    let odin = Odin::start_with(|config| config.limits.subscriptions_per_connection = 3).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:A", "price:B", "price:C"]).await;
    client.ask(2, &["price:D"]).await;
    let error = client.error().await;
    assert_eq!(error.code, ErrorCode::TooManySubscriptions);
    assert_eq!((error.id, error.channel.as_deref(), error.limit), (id(2), Some("price:D"), Some(3)));
    // One that is there already takes no more room, and one that is gone makes some.
    client.ask(3, &["price:A"]).await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { .. }));
    client.unsubscribe(4, &["price:A"]).await;
    assert!(matches!(client.message().await, ServerMessage::Unsubscribed { .. }));
    client.subscribe(&["price:D"]).await;
    odin.client().await.subscribe(&["price:E"]).await;
}

#[tokio::test]
async fn refuses_a_message_with_too_many_channels_as_a_whole() {
    let gateway = Gateway::without_nats(|config| config.limits.channels_per_message = 3);
    let mut client = Client::connect(&gateway).await;
    client.ask(9, &["price:A", "price:B", "price:C", "price:D"]).await;
    let error = client.error().await;
    assert_eq!((error.id, error.code, error.limit), (id(9), ErrorCode::TooManyChannels, Some(3)));
    assert!(client.sync(1).await.is_empty());
    assert_eq!(gateway.metric("odin_gateway_subscriptions").await, 0);
    client.unsubscribe(10, &["price:A", "price:B", "price:C", "price:D"]).await;
    let error = client.error().await;
    assert_eq!((error.id, error.code, error.limit), (id(10), ErrorCode::TooManyChannels, Some(3)));
}

#[tokio::test]
async fn answers_a_resume_that_it_cannot_serve_with_a_reason_and_a_snapshot() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    client
        .send(&ClientMessage::Subscribe {
            id: id(1),
            channels: vec!["price:BTC".into()],
            since: Some("not a cursor".to_owned()),
        })
        .await;
    match client.message().await {
        ServerMessage::Subscribed { recovered: false, reason, .. } => {
            assert_eq!(reason, Some(ResumeFailure::InvalidCursor));
        }
        other => panic!("unexpected {other:?}"),
    }
    let update = client.update().await;
    assert_eq!((update.seq, update.snapshot), (seq, true));
}

#[tokio::test]
async fn echoes_ids_as_they_came() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    let long = "é".repeat(32);
    let ids = [
        ("0".to_owned(), RequestId::Number(0)),
        ("9007199254740991".to_owned(), RequestId::Number((1 << 53) - 1)),
        (r#""""#.to_owned(), RequestId::Text("".into())),
        (r#""a\"b\\\u0000\n""#.to_owned(), RequestId::Text("a\"b\\\0\n".into())),
        (format!("\"{long}\""), RequestId::Text(long.into())),
    ];
    for (typed, expected) in ids {
        client.send_text(&format!(r#"{{"id":{typed},"type":"ping"}}"#)).await;
        match client.message().await {
            ServerMessage::Pong { id, ts } => {
                assert_eq!(id, Some(expected));
                assert!(ts > 1_700_000_000_000);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    client.send_text(r#"{"type":"ping","id":null,"new member":{"a":[1]}}"#).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { id: None, .. }));
}

#[tokio::test]
async fn takes_messages_up_to_the_limit_whole_or_in_fragments() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    let head = r#"{"type":"ping","id":1,"padding":""#;
    let text = format!("{head}{}\"}}", "x".repeat(64 * 1024 - head.len() - 2));
    assert_eq!(text.len(), 65_536);
    client.send_text(&text).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { .. }));
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(300).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let opcode = if at == 0 { 0x01 } else { 0x00 };
        let fin = if at + 1 == pieces.len() { 0x80 } else { 0x00 };
        client.send_raw(&frame(fin | opcode, piece)).await;
    }
    assert!(matches!(client.message().await, ServerMessage::Pong { .. }));
}
