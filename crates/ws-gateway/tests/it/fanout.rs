//! From a publication to everybody who wants it: chains, patterns, poison, filters.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use odin_protocol::{
    Codec, Cursor, ServerMessage, Update,
    error::{ErrorCode, GapReason},
    message::{ChannelRequest, Mode, RequestId},
};
use ws_gateway::{
    config::Config,
    rules::{Access, Filter, RuleSource},
};

use crate::support::{Chains, Client, Dial, Odin, with_rules};

/// A rule that everybody may use, in mode `all`.
fn public_events(channel: &str, subject: &str) -> RuleSource {
    RuleSource::new(channel, subject, Access::Public, Mode::All)
}

fn public_signals(config: &mut Config) {
    let high = RuleSource {
        filter: Some(Filter { field: "severity".to_owned(), equals: "high".to_owned() }),
        ..public_events("signals:high", "odin.signals.*.*")
    };
    with_rules(config, vec![public_events("signals:all", "odin.signals.*.*"), high]);
}

#[tokio::test]
async fn gives_each_publication_once_and_in_order_to_everybody() {
    let odin = Odin::start().await;
    let mut clients = Vec::new();
    for n in 0..40 {
        let codec = Codec::ALL[n % 2];
        let mut client = Client::dial(odin.gateway.address, Dial { codec, ..Dial::default() }).await;
        client.subscribe_all(&["price:BTC", "price:ETH"]).await;
        clients.push((client, Chains::default(), HashMap::<String, Vec<u64>>::new()));
    }
    let (btc, eth) = tokio::join!(odin.publisher.prices("BTC", 1, 100, 0), odin.publisher.prices("ETH", 1, 100, 0));
    for (client, chains, seen) in &mut clients {
        for _ in 0..200 {
            let update = client.update().await;
            chains.take(&update);
            seen.entry(update.channel).or_default().push(update.seq);
        }
        assert_eq!(seen["price:BTC"], btc);
        assert_eq!(seen["price:ETH"], eth);
        assert!(client.sync(2).await.is_empty());
    }
    odin.gateway.metric_becomes("odin_gateway_deliveries_total", 40 * 200).await;
    odin.gateway.metric_becomes("odin_gateway_publications_delivered_total", 200).await;
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn names_the_concrete_channel_of_every_update_of_a_pattern() {
    let odin = Odin::start().await;
    let btc = odin.publisher.price("BTC", 1).await;
    let eth = odin.publisher.price("ETH", 2).await;
    // A pattern of prices is not one of volumes.
    odin.publisher.publish("odin.tokens.BTC.volume", "7").await;
    let mut client = odin.client().await;
    client.ask(1, &["price:*"]).await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { channel, .. } if channel == "price:*"));
    let mut chains = Chains::default();
    let mut snapshots = HashMap::new();
    for _ in 0..2 {
        let update = client.update().await;
        assert!(update.snapshot);
        assert_eq!(update.key, None);
        chains.take(&update);
        snapshots.insert(update.channel, update.seq);
    }
    assert_eq!(snapshots, HashMap::from([("price:BTC".to_owned(), btc), ("price:ETH".to_owned(), eth)]));
    odin.publisher.price("BTC", 3).await;
    // A subject that did not exist when the client subscribed.
    odin.publisher.price("NEW", 4).await;
    odin.publisher.price("NEW", 5).await;
    odin.publisher.publish("odin.tokens.BTC.volume", "8").await;
    odin.publisher.price("ETH", 6).await;
    for expected in ["price:BTC", "price:NEW", "price:NEW", "price:ETH"] {
        let update = client.update().await;
        assert_eq!(update.channel, expected);
        chains.take(&update);
    }
    client.unsubscribe(2, &["price:*"]).await;
    assert!(matches!(client.message().await, ServerMessage::Unsubscribed { channel, .. } if channel == "price:*"));
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn opens_a_wide_pattern_with_one_snapshot_of_each_subject() {
    let odin = Odin::start().await;
    // Exactly as many as Direct Get reads at once.
    let messages = (0..1024).map(|n| (format!("odin.tokens.T{n}.price"), format!(r#"{{"price":{n}}}"#)));
    let sequences = odin.publisher.publish_all(messages.collect()).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:*"]).await;
    let mut seen = HashMap::new();
    let mut chains = Chains::default();
    for _ in 0..1024 {
        let update = client.update().await;
        assert!(update.snapshot, "{update:?}");
        chains.take(&update);
        assert_eq!(seen.insert(update.channel.clone(), update.seq), None);
    }
    for (n, seq) in sequences.iter().enumerate() {
        assert_eq!(seen[&format!("price:T{n}")], *seq);
    }
    let seq = odin.publisher.price("T500", 1).await;
    let update = client.update().await;
    assert_eq!(update.seq, seq);
    chains.take(&update);
    odin.gateway.is_balanced().await;
}

/// Attack: subscribe to a pattern over more subjects than the gateway is willing to keep.
#[tokio::test]
async fn refuses_a_pattern_over_too_many_subjects() {
    let odin = Odin::start_with(|config| config.limits.pattern_subjects = 100).await;
    let messages = (0..101).map(|n| (format!("odin.tokens.T{n}.price"), n.to_string()));
    odin.publisher.publish_all(messages.collect()).await;
    let mut client = odin.client().await;
    client.ask(3, &["price:*"]).await;
    let error = client.error().await;
    assert_eq!((error.id, error.code), (Some(RequestId::Number(3)), ErrorCode::TooWide));
    assert_eq!(error.channel.as_deref(), Some("price:*"));
    // It is no subscription, and the next asker gets the same answer.
    assert_eq!(odin.gateway.stats().await["subscriptions"], 0);
    client.ask(4, &["price:*"]).await;
    assert_eq!(client.error().await.code, ErrorCode::TooWide);
    client.subscribe(&["price:T7"]).await;
    assert!(client.update().await.snapshot);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn tells_the_subjects_of_one_channel_apart_by_key() {
    let odin = Odin::start_with(public_signals).await;
    let stored = odin.publisher.publish("odin.signals.momentum.BTC", r#"{"n":0}"#).await;
    let mut client = odin.client().await;
    client.ask(1, &["signals:all"]).await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { mode: Mode::All, .. }));
    let mut chains = Chains::default();
    let snapshot = client.update().await;
    assert_eq!((snapshot.seq, snapshot.key.as_deref(), snapshot.snapshot), (stored, Some("momentum.BTC"), true));
    chains.take(&snapshot);
    let subjects = ["momentum.BTC", "volume.BTC", "momentum.ETH", "momentum.BTC"];
    for key in subjects {
        let seq = odin.publisher.publish(&format!("odin.signals.{key}"), r#"{"n":1}"#).await;
        let update = client.update().await;
        assert_eq!((update.seq, &*update.channel, update.key.as_deref()), (seq, "signals:all", Some(key)));
        chains.take(&update);
    }
}

#[tokio::test]
async fn filters_a_channel_by_what_its_rule_says() {
    let odin = Odin::start_with(public_signals).await;
    let signal = async |severity: &str| {
        odin.publisher.publish("odin.signals.momentum.BTC", format!(r#"{{"severity":"{severity}"}}"#)).await
    };
    signal("low").await;
    let mut high = odin.client().await;
    let mut all = odin.client().await;
    high.subscribe(&["signals:high"]).await;
    all.subscribe(&["signals:all"]).await;
    assert!(high.sync(1).await.is_empty(), "the last value is not a high one");
    assert!(all.update().await.snapshot);
    let mut wanted = Vec::new();
    for severity in ["high", "low", "low", "high", "medium", "high"] {
        let seq = signal(severity).await;
        if severity == "high" {
            wanted.push(seq);
        }
    }
    // What does not match in another way: not an object, not JSON.
    odin.publisher.publish("odin.signals.momentum.BTC", r#""high""#).await;
    odin.publisher.publish("odin.signals.momentum.BTC", "high").await;
    wanted.push(signal("high").await);
    let mut last = None;
    for seq in wanted {
        let update = high.update().await;
        assert_eq!(update.seq, seq);
        assert_eq!(update.key.as_deref(), Some("momentum.BTC"));
        assert!(update.prev.is_none_or(|prev| Some(prev) <= last), "nothing is missing: {update:?}");
        last = Some(update.seq);
    }
    assert!(high.sync(2).await.is_empty());
    for _ in 0..7 {
        all.update().await;
    }
}

/// Of each subject the last message matters to nobody here: what did is in the stream, and comes to whoever missed it.
#[tokio::test]
async fn resumes_a_filtered_channel_whose_last_messages_are_filtered_out() {
    let odin = Odin::start_with(|config| {
        let filter = Some(Filter { field: "severity".to_owned(), equals: "high".to_owned() });
        let rule = |channel, subject| RuleSource { filter: filter.clone(), ..public_events(channel, subject) };
        with_rules(config, vec![rule("high:all", "odin.signals.*.*"), rule("high:btc", "odin.signals.momentum.BTC")]);
    })
    .await;
    let signal = async |name: &str, severity: &str| {
        odin.publisher
            .publish(&format!("odin.signals.momentum.{name}"), format!(r#"{{"severity":"{severity}"}}"#))
            .await
    };
    let mut had = odin.client().await;
    had.subscribe(&["high:all"]).await;
    signal("BTC", "high").await;
    let Update { epoch, seq, ts, .. } = had.update().await;
    let since = Cursor { epoch, seq, ts_ms: ts }.to_string();
    let missed = [signal("BTC", "high").await, signal("ETH", "high").await, signal("BTC", "high").await];
    for name in ["BTC", "ETH", "BTC"] {
        signal(name, "low").await;
    }
    let other = odin.another_gateway().await;
    for (channel, wanted) in [("high:all", missed.to_vec()), ("high:btc", vec![missed[0], missed[2]])] {
        let mut client = Client::connect(&other).await;
        client.ask_with(1, vec![ChannelRequest { since: Some(since.clone()), ..ChannelRequest::from(channel) }]).await;
        assert!(matches!(client.message().await, ServerMessage::Subscribed { recovered: true, .. }));
        for seq in wanted {
            assert_eq!(client.update().await.seq, seq, "{channel}");
        }
        assert!(client.sync(2).await.is_empty(), "{channel}");
    }
    other.is_balanced().await;
}

/// Attack: a publisher sends what is not one JSON value, or too much of it.
/// Checklist 49: a poisonous payload is counted and announced, and reaches nobody.
#[tokio::test]
async fn never_fans_out_poison_and_announces_it_as_a_gap() {
    let odin = Odin::start_with(|config| config.limits.payload_bytes = 1000).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut latest = odin.client().await;
    latest.subscribe(&["price:BTC"]).await;
    let deep = "[".repeat(65) + &"]".repeat(65);
    let too_big = format!("\"{}\"", "x".repeat(1000));
    let poison: [&[u8]; 12] = [
        // The year 2286.
        br#"{"timestamp":9999999999999}"#,
        b"",
        b"not json",
        b"{\"a\":1} {\"b\":2}",
        b"{\"a\":1",
        b"\x81\xA1a\x01",
        b"\"\xFF\xFE\"",
        br#""\ud800""#,
        b"1e999",
        b"NaN",
        deep.as_bytes(),
        too_big.as_bytes(),
    ];
    let mut last = odin.publisher.price("BTC", 0).await;
    let mut chains = Chains::default();
    chains.take(&client.update().await);
    for payload in poison {
        let seq = odin.publisher.publish("odin.tokens.BTC.price", Bytes::copy_from_slice(payload)).await;
        match client.message().await {
            ServerMessage::Gap { channel, key, after, until, reason } => {
                assert_eq!((&*channel, key, after, until), ("price:BTC", None, last, seq));
                assert_eq!(reason, GapReason::Invalid);
                chains.skip(&channel, until);
            }
            other => panic!("expected a gap for {:?}, not {other:?}", String::from_utf8_lossy(payload)),
        }
        last = seq;
    }
    let seq = odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    assert_eq!((update.seq, update.prev), (seq, Some(last)), "the chain leads over the poison");
    chains.take(&update);
    assert!(client.sync(2).await.is_empty());
    odin.gateway.metric_becomes("odin_gateway_payload_invalid_total", 10).await;
    odin.gateway.metric_becomes("odin_gateway_payload_too_big_total", 1).await;
    odin.gateway.metric_becomes("odin_gateway_payload_ahead_total", 1).await;
    // In mode latest there may be gaps, but values only where they are good.
    let mut values = Vec::new();
    for message in latest.sync(3).await {
        match message {
            ServerMessage::Update(update) => values.push(update.data.get().to_owned()),
            ServerMessage::Gap { reason: GapReason::Invalid, .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(values, [r#"{"price":0}"#, r#"{"price":1}"#]);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn shows_no_poison_to_whoever_subscribes_after_it() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    odin.publisher.publish("odin.tokens.BTC.price", "poison").await;
    // The first opens the feed, the second finds it open.
    for _ in 0..2 {
        let mut client = odin.client().await;
        client.subscribe_all(&["price:BTC"]).await;
        let mut last = 0;
        for message in client.sync(2).await {
            match message {
                ServerMessage::Update(update) => {
                    assert!(update.snapshot);
                    assert_eq!(update.data.get(), r#"{"price":1}"#);
                    last = update.seq;
                }
                ServerMessage::Gap { until, .. } => last = until,
                other => panic!("unexpected {other:?}"),
            }
        }
        let seq = odin.publisher.price("BTC", 1).await;
        let update = client.update().await;
        assert_eq!(update.seq, seq);
        assert!(last == 0 || update.prev <= Some(last), "the chain has no hole: {update:?} after {last}");
        odin.publisher.publish("odin.tokens.BTC.price", "poison").await;
        assert!(matches!(client.message().await, ServerMessage::Gap { .. }));
    }
}

/// Attack: a publisher uses a subject that no channel can be called by.
#[tokio::test]
async fn counts_and_drops_what_comes_on_an_unmapped_subject() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    for token in ["B$C", "a=b", "a+b", "(x)"] {
        odin.publisher.publish(&format!("odin.tokens.{token}.price"), "1").await;
    }
    let long = "x".repeat(65);
    odin.publisher.publish(&format!("odin.tokens.{long}.price"), "1").await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
    assert!(client.sync(2).await.is_empty());
    odin.gateway.metric_becomes("odin_gateway_unmapped_total", 5).await;
    odin.gateway.metric_becomes("odin_gateway_publications_delivered_total", 1).await;
    // Nor are they part of a snapshot.
    let mut late = odin.client().await;
    late.subscribe(&["price:*"]).await;
    assert_eq!(late.update().await.seq, seq);
    assert!(late.sync(2).await.is_empty());
    odin.gateway.is_balanced().await;
}

/// Attack: somebody with access to NATS publishes on the live subject past the stream.
#[tokio::test]
async fn does_not_believe_live_messages_that_the_stream_did_not_send() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let forger = async_nats::connect(odin.nats.url()).await.expect("a connection");
    forger.publish("live.odin.tokens.BTC.price", r#"{"price":0}"#.into()).await.expect("sent");
    forger.flush().await.expect("flushed");
    odin.gateway.metric_reaches("odin_gateway_live_messages_total", 1).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
    odin.gateway.metric_becomes("odin_gateway_unmapped_total", 1).await;
    odin.gateway.is_balanced().await;
}

/// Attack: a publisher whose clock is a year ahead.
#[tokio::test]
async fn stamps_updates_with_the_streams_time_whatever_the_payload_claims() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    odin.publisher.publish("odin.tokens.BTC.price", r#"{"price":1,"timestamp":1}"#).await;
    let update = client.update().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert!((now as i64 - update.ts).abs() < 3_600_000, "{}", update.ts);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn serves_the_same_sequences_and_epoch_on_two_gateways() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let other = odin.another_gateway().await;
    let mut clients = [odin.client().await, Client::connect(&other).await];
    for client in &mut clients {
        client.subscribe_all(&["price:BTC"]).await;
    }
    let sequences = odin.publisher.prices("BTC", 2, 50, 0).await;
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut chains = Chains::default();
        let mut heads = Vec::new();
        for _ in 0..51 {
            let update = client.update().await;
            chains.take(&update);
            heads.push((update.seq, update.ts, update.epoch, update.data.get().to_owned()));
        }
        seen.push(heads);
    }
    assert_eq!(seen[0], seen[1]);
    let epochs: HashSet<_> = seen[0].iter().map(|(_, _, epoch, _)| *epoch).collect();
    assert_eq!(epochs.len(), 1);
    assert_eq!(seen[0][1..].iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), sequences);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn moves_a_subscriber_between_gateways_without_a_hole() {
    let odin = Odin::start().await;
    let other = odin.another_gateway().await;
    let mut first = odin.client().await;
    first.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    odin.publisher.price("BTC", 1).await;
    chains.take(&first.update().await);
    drop(first);
    let seq = odin.publisher.price("BTC", 2).await;
    let mut second = Client::connect(&other).await;
    second.subscribe_all(&["price:BTC"]).await;
    let snapshot = second.update().await;
    assert_eq!((snapshot.seq, snapshot.snapshot), (seq, true), "the newest, though stored between the two");
    chains.take(&snapshot);
    odin.publisher.price("BTC", 3).await;
    chains.take(&second.update().await);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn joins_while_publications_rain_without_missing_or_repeating_one() {
    let odin = Odin::start_with(|config| config.feeds.linger = std::time::Duration::ZERO).await;
    odin.publisher.price("BTC", 0).await;
    let publisher = odin.publisher.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let rain = tokio::spawn(async move {
        let mut price = 1;
        while stopped.try_recv().is_err() {
            publisher.price("BTC", price).await;
            price += 1;
        }
    });
    for _ in 0..40 {
        // Alone on its feed, so that each of them opens it anew.
        let mut client = odin.client().await;
        client.subscribe_all(&["price:BTC"]).await;
        let mut chains = Chains::default();
        let mut last = None;
        for _ in 0..10 {
            let update = client.update().await;
            assert_eq!(update.snapshot, last.is_none(), "one snapshot, first");
            chains.take(&update);
            let price: serde_json::Value = serde_json::from_str(update.data.get()).expect("json");
            let price = price["price"].as_u64().expect("a number");
            assert!(last.is_none_or(|last| price == last + 1), "{last:?} then {price}");
            last = Some(price);
        }
    }
    stop.send(()).expect("raining");
    rain.await.expect("no panic");
    odin.gateway.is_balanced().await;
}

/// Checklist 50: a publisher whose clock is an hour off, in either direction, is served and flagged.
#[tokio::test]
async fn flags_a_publisher_whose_clock_is_off() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    for off_ms in [-3_600_000, 0, 3_600_000] {
        let payload = format!(r#"{{"timestamp":{}}}"#, now_ms as i64 + off_ms);
        let seq = odin.publisher.publish("odin.tokens.BTC.price", payload).await;
        assert_eq!(client.update().await.seq, seq);
    }
    odin.gateway.metric_becomes("odin_gateway_clock_skews_total", 2).await;
    let hop = |name: &str, hop: &str| format!("odin_gateway_latency_seconds_{name}{{hop=\"{hop}\"}}");
    odin.gateway.metric_becomes(&hop("count", "publisher_to_stream"), 1).await;
    assert!(odin.gateway.metric(&hop("sum", "publisher_to_stream")).await < 300);
    odin.gateway.metric_becomes(&hop("count", "stream_to_gateway"), 3).await;
    odin.gateway.metric_becomes(&hop("count", "gateway_to_socket"), 3).await;
    odin.gateway.is_balanced().await;
}
