use odin_protocol::{Codec, Epoch, ServerMessage};
use serde_json::value::RawValue;

use super::*;

fn channel(name: &str) -> Channel {
    Channel::parse(name).expect("a valid name")
}

fn link(channel: &'static str, prev: u64, seq: u64) -> UpdateHead<'static> {
    UpdateHead {
        channel,
        key: None,
        seq,
        prev: Some(prev),
        ts_ms: 1_000 + i64::try_from(seq).expect("small"),
        epoch: Epoch::from_hash(1),
        snapshot: false,
    }
}

fn cursor(seq: u64) -> String {
    let ts_ms = 1_000 + i64::try_from(seq).expect("small");
    Cursor { epoch: Epoch::from_hash(1), seq, ts_ms }.to_string()
}

fn subscribed(name: &str, mode: Mode) -> CursorMap {
    let mut map = CursorMap::default();
    map.begin(&channel(name), mode, false, None, Some(cursor(3)));
    map
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    messages: Vec<Step>,
}

#[derive(serde::Deserialize)]
struct Step {
    expect: String,
    message: Box<RawValue>,
}

#[test]
fn judges_every_vector_as_the_protocol_says() {
    let cases = include_str!("../../../protocol/vectors/chains.json");
    let cases: Vec<Case> = serde_json::from_str(cases).expect("vectors are readable");
    assert!(!cases.is_empty());
    for Case { name, messages } in cases {
        let mut map = CursorMap::default();
        for (at, Step { expect, message }) in messages.iter().enumerate() {
            let message = ServerMessage::decode(Codec::Json, message.get().as_bytes()).expect("a message");
            let outcome = match message {
                ServerMessage::Subscribed { channel: name, mode, recovered, reason, cursor, .. } => {
                    map.begin(&channel(&name), mode, recovered, reason, cursor);
                    "begin"
                }
                ServerMessage::Update(update) => match map.update(&update.head()) {
                    Judgement::Deliver => "deliver",
                    Judgement::Merged => "merged",
                    Judgement::Missing { .. } => "missing",
                    Judgement::Duplicate => "drop",
                    Judgement::Stray => "stray",
                },
                ServerMessage::Gap { channel: name, key, until, .. } => {
                    map.gap(&channel(&name), key.as_deref(), until);
                    "gap"
                }
                ServerMessage::Checkpoint { cursor } => {
                    map.checkpoint(&cursor);
                    "position"
                }
                other => panic!("{name}: unexpected {other:?}"),
            };
            assert_eq!(outcome, expect, "{name}, message {at}");
        }
    }
}

#[test]
fn comes_back_to_the_last_update_of_an_exact_channel() {
    let mut map = subscribed("price:BTC", Mode::Latest);
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(3)));
    map.update(&link("price:BTC", 0, 5));
    map.disconnect();
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(5)));
}

#[test]
fn comes_back_to_a_checkpoint_that_is_further_than_the_last_update() {
    let mut map = subscribed("price:BTC", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    map.checkpoint(&cursor(90));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(90)));
    map.update(&link("price:BTC", 5, 95));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(95)));
}

#[test]
fn never_comes_back_to_the_last_update_of_a_pattern() {
    let mut map = subscribed("price:*", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    map.update(&link("price:ETH", 0, 9));
    assert_eq!(map.since(&channel("price:*")), Some(cursor(3)));
    map.checkpoint(&cursor(7));
    assert_eq!(map.since(&channel("price:*")), Some(cursor(7)));
}

#[test]
fn never_comes_back_to_the_last_update_of_a_channel_with_keys() {
    let mut map = subscribed("signals:all", Mode::All);
    let keyed = UpdateHead { key: Some("momentum.BTC"), ..link("signals:all", 0, 5) };
    assert_eq!(map.update(&keyed), Judgement::Deliver);
    assert_eq!(map.since(&channel("signals:all")), Some(cursor(3)));
}

#[test]
fn a_checkpoint_counts_only_for_subscriptions_of_this_connection() {
    let mut map = subscribed("price:*", Mode::All);
    map.disconnect();
    map.begin(&channel("volume:BTC"), Mode::All, false, None, Some(cursor(50)));
    map.checkpoint(&cursor(60));
    assert_eq!(map.since(&channel("price:*")), Some(cursor(3)), "not confirmed again yet");
    assert_eq!(map.since(&channel("volume:BTC")), Some(cursor(60)));
}

#[test]
fn the_position_after_a_gap_is_not_an_update_before_it() {
    let mut map = subscribed("price:BTC", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    map.checkpoint(&cursor(6));
    map.gap(&channel("price:BTC"), None, 40);
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(6)));
}

#[test]
fn drops_the_second_copy_of_overlapping_subscriptions() {
    let mut map = subscribed("price:*", Mode::All);
    map.begin(&channel("price:BTC"), Mode::All, false, None, None);
    assert_eq!(map.update(&link("price:BTC", 0, 5)), Judgement::Deliver);
    assert_eq!(map.update(&link("price:BTC", 0, 5)), Judgement::Duplicate);
}

#[test]
fn forgets_what_no_subscription_covers_any_more() {
    let mut map = subscribed("price:*", Mode::Latest);
    map.begin(&channel("price:BTC"), Mode::All, false, None, None);
    map.update(&link("price:BTC", 0, 5));
    map.update(&link("price:ETH", 0, 6));
    assert_eq!(map.chains(), 2);
    map.end(&channel("price:*"));
    assert_eq!(map.chains(), 1);
    assert_eq!(map.update(&link("price:ETH", 6, 7)), Judgement::Stray);
    assert_eq!(map.update(&link("price:BTC", 5, 8)), Judgement::Deliver);
    map.end(&channel("price:BTC"));
    assert_eq!(map.chains(), 0);
}

#[test]
fn a_channel_is_complete_if_one_of_its_subscriptions_is() {
    let mut map = subscribed("price:*", Mode::Latest);
    map.update(&link("price:BTC", 0, 5));
    assert_eq!(map.update(&link("price:BTC", 6, 7)), Judgement::Merged);
    map.begin(&channel("price:BTC"), Mode::All, true, None, None);
    assert_eq!(map.update(&link("price:BTC", 8, 9)), Judgement::Missing { after: 7, until: 8 });
    map.end(&channel("price:BTC"));
    assert_eq!(map.update(&link("price:BTC", 10, 11)), Judgement::Merged);
}

#[test]
fn refuses_updates_of_channels_that_are_no_names() {
    let mut map = subscribed("price:*", Mode::Latest);
    for name in ["price:*", "price", "price:BTC:USD", "", "price:\u{1b}[2J"] {
        let head = UpdateHead { channel: name, ..link("price:BTC", 0, 5) };
        assert_eq!(map.update(&head), Judgement::Stray, "{name:?}");
    }
}
