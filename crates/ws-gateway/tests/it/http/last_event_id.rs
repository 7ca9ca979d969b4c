//! Event streams that come back: on any gateway they go on where their last `id` says.

use std::{collections::HashMap, time::Duration};

use odin_protocol::{Cursor, Mode, ServerMessage, error::ResumeFailure};
use serde_json::json;
use ws_gateway::config::Config;

use super::{
    often,
    support::{Events, cursor_of},
};
use crate::support::{Chains, Odin, Wired};

const ALL_OF_BTC: &str = "price:BTC&mode=all";

/// Rings that hold next to nothing, so that what was missed is read from the stream.
fn small_rings(config: &mut Config) {
    config.feeds.ring_bytes = 4 * 1024;
}

#[tokio::test]
async fn an_exact_channel_goes_on_without_a_seam_on_any_gateway() {
    let odin = Odin::start_with(small_rings).await;
    let other = odin.another_gateway().await;
    let mut events = Events::open(&odin.gateway, ALL_OF_BTC).await;
    events.begun(1, Mode::All).await;
    odin.publisher.price("BTC", 1).await;
    let mut chains = Chains::default();
    chains.take(&events.update().await);
    let mut last_id = events.last_id.clone();
    drop(events);
    for gateway in [&odin.gateway, &other, &odin.gateway] {
        // Several pages, while nobody is there.
        let missed = odin.publisher.prices("BTC", 2, 700, 300).await;
        let mut events = Events::resume(gateway, ALL_OF_BTC, &last_id).await;
        events.resumed(1).await;
        for seq in &missed {
            let update = events.update().await;
            assert_eq!((update.seq, update.snapshot), (*seq, false));
            chains.take(&update);
        }
        let live = odin.publisher.price("BTC", 9).await;
        let update = events.update().await;
        assert_eq!(update.seq, live);
        chains.take(&update);
        while events.last_id != cursor_of(&update) {}
        last_id.clone_from(&events.last_id);
        assert!(gateway.metric("odin_gateway_look_backs_total").await >= 1, "the ring had not all of it");
        assert_eq!(gateway.metric("odin_gateway_gaps_announced_total").await, 0);
    }
}

#[tokio::test]
async fn has_no_seam_between_what_was_missed_and_what_comes() {
    const MANY: usize = 2_000;
    let odin = Odin::start_with(small_rings).await;
    let gateways = [odin.another_gateway().await, odin.another_gateway().await];
    let mut events = Events::open(&odin.gateway, ALL_OF_BTC).await;
    events.begun(1, Mode::All).await;
    odin.publisher.price("BTC", 1).await;
    let mut chains = Chains::default();
    chains.take(&events.update().await);
    let mut last_id = events.last_id.clone();
    let publisher = odin.publisher.clone();
    let rain = tokio::spawn(async move { publisher.prices("BTC", 2, MANY as u64, 100).await });
    // Moves about while it rains.
    let mut seen: Vec<u64> = Vec::new();
    let mut turns = 0;
    while seen.len() < MANY {
        let mut events = Events::resume(&gateways[turns % 2], ALL_OF_BTC, &last_id).await;
        events.resumed(1).await;
        let position: Cursor = last_id.parse().expect("a cursor");
        assert!(seen.last().is_none_or(|last| *last == position.seq), "an update and its id are one event");
        for _ in 0..(100 + turns % 3).min(MANY - seen.len()) {
            let update = events.update().await;
            assert_eq!(update.prev, seen.last().copied().or(Some(position.seq)), "the next link");
            seen.push(update.seq);
        }
        turns += 1;
        last_id.clone_from(&events.last_id);
    }
    assert_eq!(seen, rain.await.expect("no panic"));
    assert!(turns >= 15, "{turns}");
}

/// Publishes while somebody is connected until there is a position, some more behind it, and more while nobody is there.
/// Then whoever comes back gets what is newer than that position and nothing else, each once.
async fn repeats_only_what_is_newer(asks: &str, channels: usize) {
    let odin = Odin::start_with(often).await;
    let other = odin.another_gateway().await;
    let token = |n: u64| format!("odin.tokens.{}.price", ["A", "B", "C"][n as usize % 3]);
    let publish = async |first: u64, count: u64| {
        let message = |n| (token(n), format!(r#"{{"n":{n}}}"#));
        odin.publisher.publish_all((first..first + count).map(message).collect()).await
    };
    let mut events = Events::open(&odin.gateway, asks).await;
    events.begun(channels, Mode::All).await;
    let mut published = Vec::new();
    while events.last_id.is_empty() {
        published.extend(publish(published.len() as u64, 1).await);
        events.update().await;
    }
    let before = published.len() as u64;
    published.extend(publish(before, 20).await);
    while events.update().await.seq != *published.last().expect("some") {}
    let last_id = events.last_id.clone();
    drop(events);
    published.extend(publish(before + 20, 300).await);
    let position: Cursor = last_id.parse().expect("a cursor");
    for gateway in [&odin.gateway, &other] {
        let mut events = Events::resume(gateway, asks, &last_id).await;
        let mut newer: Vec<u64> = published.iter().copied().filter(|seq| *seq > position.seq).collect();
        let (mut seen, mut last, mut resumed) = (Vec::new(), HashMap::new(), 0);
        while seen.len() < newer.len() || resumed < channels {
            match events.message().await {
                ServerMessage::Subscribed { recovered: true, .. } => resumed += 1,
                ServerMessage::Update(update) => {
                    let before = last.insert(update.channel.clone(), update.seq);
                    assert!(before.is_none_or(|before| before < update.seq), "forwards: {update:?}");
                    seen.push(update.seq);
                }
                ServerMessage::Status(_) => {}
                message => panic!("{message:?}"),
            }
        }
        newer.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, newer);
        let live = publish(0, 1).await[0];
        published.push(live);
        assert_eq!(events.update().await.seq, live);
    }
}

#[tokio::test]
async fn several_channels_go_on_at_the_last_position_of_all_of_them() {
    repeats_only_what_is_newer("price:A,price:B,price:C&mode=all", 3).await;
}

#[tokio::test]
async fn a_pattern_goes_on_at_the_last_position_of_all_its_chains() {
    repeats_only_what_is_newer("price:*&mode=all", 1).await;
}

#[tokio::test]
async fn mode_latest_goes_on_with_the_newest_value_of_what_has_changed() {
    let odin = Odin::start().await;
    let mut events = Events::open(&odin.gateway, "price:BTC").await;
    events.begun(1, Mode::Latest).await;
    odin.publisher.price("BTC", 1).await;
    events.update().await;
    let last_id = events.last_id.clone();
    drop(events);
    let mut newest = *odin.publisher.prices("BTC", 2, 20, 0).await.last().expect("some");
    let other = odin.another_gateway().await;
    for gateway in [&odin.gateway, &other] {
        let mut events = Events::resume(gateway, "price:BTC", &last_id).await;
        events.resumed(1).await;
        let update = events.update().await;
        assert_eq!((update.seq, update.snapshot), (newest, false));
        let mut events = Events::resume(gateway, "price:BTC", &cursor_of(&update)).await;
        events.resumed(1).await;
        newest = odin.publisher.price("BTC", 2).await;
        assert_eq!(events.update().await.seq, newest, "nothing had changed");
    }
}

#[tokio::test]
async fn a_post_says_for_each_channel_where_and_how_it_goes_on() {
    let odin = Odin::start().await;
    let mut events = Events::open(&odin.gateway, "price:A&mode=all").await;
    events.begun(1, Mode::All).await;
    odin.publisher.price("A", 1).await;
    let since = cursor_of(&events.update().await);
    drop(events);
    let missed = odin.publisher.prices("A", 2, 3, 0).await;
    let of_b = odin.publisher.prices("B", 1, 3, 0).await;
    let body = json!({ "type": "subscribe", "id": 7, "channels": [
        { "channel": "price:A", "since": since, "mode": "all" },
        "price:B",
        { "channel": "price:C", "filter": {} },
    ] });
    let mut events = Events::post(&odin.gateway, "Content-Type: application/json\r\n", &body).await;
    let (mut begun, mut of, mut refused) = (HashMap::new(), HashMap::<String, Vec<u64>>::new(), 0);
    while begun.len() < 2 || of.values().map(Vec::len).sum::<usize>() < 4 || refused < 1 {
        match events.message().await {
            ServerMessage::Subscribed { channel, mode, recovered, .. } => {
                begun.insert(channel, (mode, recovered));
            }
            ServerMessage::Update(update) => of.entry(update.channel).or_default().push(update.seq),
            ServerMessage::Error(error) => {
                assert_eq!(error.channel.as_deref(), Some("price:C"));
                refused += 1;
            }
            ServerMessage::Status(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begun["price:A"], (Mode::All, true));
    assert_eq!(begun["price:B"], (Mode::Latest, false));
    assert_eq!(of["price:A"], missed);
    assert_eq!(of["price:B"], of_b[2..], "its snapshot");
    let live = odin.publisher.price("B", 9).await;
    assert_eq!(events.update().await.seq, live);
}

/// Checklist 42: cursors that are none, in every place where one may be; `Last-Event-ID` counts most.
#[tokio::test]
async fn a_cursor_that_is_of_no_use_begins_with_a_snapshot_and_a_reason() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut events = Events::open(&odin.gateway, ALL_OF_BTC).await;
    events.begun(1, Mode::All).await;
    let good = cursor_of(&events.update().await);
    let cursor: Cursor = good.parse().expect("a cursor");
    let other_epoch = Cursor { epoch: "zzzzzzzz".parse().expect("an epoch"), ..cursor }.to_string();
    let beyond = Cursor { seq: seq + 1_000_000, ..cursor }.to_string();
    let asks = |cursor: &str| format!("{ALL_OF_BTC}&cursor={cursor}");
    for (asks, last_id, reason) in [
        (asks(&other_epoch), "", Some(ResumeFailure::EpochChanged)),
        (asks(&beyond), "", Some(ResumeFailure::RolledBack)),
        (asks("nonsense"), "", Some(ResumeFailure::InvalidCursor)),
        (asks(&"x".repeat(5_000)), "", Some(ResumeFailure::InvalidCursor)),
        (asks(&good), &*other_epoch, Some(ResumeFailure::EpochChanged)),
        (asks(&good), "%00%0a", Some(ResumeFailure::InvalidCursor)),
        (asks(&beyond), &*good, None),
        (asks(&good), "", None),
        (asks(""), "", None),
    ] {
        let is_resume = reason.is_none() && !asks.ends_with('=');
        let mut events = Events::resume(&odin.gateway, &asks, last_id).await;
        let (recovered, said) = loop {
            match events.message().await {
                ServerMessage::Subscribed { recovered, reason, .. } => break (recovered, reason),
                ServerMessage::Status(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((recovered, said), (is_resume, reason), "{asks:.80} {last_id}");
        if !is_resume {
            let update = events.update().await;
            assert_eq!((update.seq, update.snapshot), (seq, true));
        }
    }
}

/// What is proven is older than the last update as long as it rains; whoever came back with it would get that again.
#[tokio::test]
async fn ids_go_forward_whatever_is_proven_meanwhile() {
    let odin = Odin::start_with(often).await;
    let mut events = Events::open(&odin.gateway, ALL_OF_BTC).await;
    events.begun(1, Mode::All).await;
    // Positions are told once a second.
    for n in 0..30 {
        odin.publisher.price("BTC", n).await;
        let update = events.update().await;
        tokio::time::sleep(Duration::from_millis(75)).await;
        assert_eq!(events.last_id, cursor_of(&update));
    }
    // It is quiet: the next one is beyond.
    let last = events.last_id.clone();
    while events.last_id == last {
        events.next().await.expect("a position");
    }
}

/// The connection to NATS is lost under a stream, and what came meanwhile follows: its positions lead over no hole.
#[tokio::test]
async fn a_stream_that_was_stale_has_no_seam_either() {
    let wired = Wired::start_with(|config| {
        often(config);
        config.feeds.stale_after = Duration::from_millis(100);
    })
    .await;
    let mut events = Events::open(&wired.gateway, ALL_OF_BTC).await;
    events.begun(1, Mode::All).await;
    let mut published = vec![wired.publisher.price("BTC", 0).await];
    let mut chains = Chains::default();
    let first = events.update().await;
    chains.take(&first);
    wired.proxy.cut();
    assert!(matches!(events.message().await, ServerMessage::Stale { channel: None, .. }));
    let before = events.last_id.clone();
    assert_eq!(before, cursor_of(&first), "no position while nobody knows");
    published.extend(wired.publisher.prices("BTC", 1, 20, 0).await);
    wired.proxy.mend();
    let mut seen = vec![first.seq];
    loop {
        match events.message().await {
            ServerMessage::Update(update) => {
                chains.take(&update);
                seen.push(update.seq);
            }
            ServerMessage::Live { channel: None } => break,
            message => panic!("{message:?}"),
        }
    }
    assert_eq!(seen, published, "all of it comes before it is live");
    // Another one goes on where this one stood before.
    let mut again = Events::resume(&wired.gateway, ALL_OF_BTC, &before).await;
    again.resumed(1).await;
    for seq in &published[1..] {
        assert_eq!(again.update().await.seq, *seq);
    }
}
