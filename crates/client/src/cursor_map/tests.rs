use odin_protocol::{Codec, Cursor, Epoch, ServerMessage};
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
                    Judgement::Overlap | Judgement::Repeated => "drop",
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
    let mut map = subscribed("price:BTC", Mode::All);
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
fn a_quiet_channel_comes_back_to_the_checkpoint_whatever_its_form() {
    let mut map = subscribed("price:BTC", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    assert!(map.checkpoint("2.a-form-of-tomorrow"));
    assert_eq!(map.since(&channel("price:BTC")).as_deref(), Some("2.a-form-of-tomorrow"));
    map.disconnect();
    assert_eq!(map.since(&channel("price:BTC")).as_deref(), Some("2.a-form-of-tomorrow"));
    map.begin(&channel("price:BTC"), Mode::All, true, None, None);
    map.update(&link("price:BTC", 5, 7));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(7)));
}

#[test]
fn asks_for_the_snapshot_again_until_it_is_known_to_have_come() {
    let mut map = subscribed("price:*", Mode::Latest);
    map.update(&UpdateHead { prev: None, snapshot: true, ..link("price:BTC", 0, 2) });
    assert_eq!(map.since(&channel("price:*")), None, "there may be more of it");
    map.checkpoint(&cursor(4));
    assert_eq!(map.since(&channel("price:*")), Some(cursor(4)));
    map.begin(&channel("price:*"), Mode::Latest, true, None, Some(cursor(4)));
    assert_eq!(map.since(&channel("price:*")), Some(cursor(4)));
    let mut map = subscribed("price:BTC", Mode::Latest);
    map.update(&UpdateHead { prev: None, snapshot: true, ..link("price:BTC", 0, 2) });
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(2)));
}

#[test]
fn keeps_no_position_that_no_gateway_takes_back() {
    let mut map = subscribed("price:*", Mode::All);
    for nonsense in ["", &"9".repeat(65)] {
        assert!(!map.checkpoint(nonsense));
        map.begin(&channel("price:*"), Mode::All, true, None, Some(nonsense.to_owned()));
        assert_eq!(map.since(&channel("price:*")), Some(cursor(3)));
    }
}

#[test]
fn does_not_come_back_to_a_stream_that_is_gone() {
    for reason in [ResumeFailure::EpochChanged, ResumeFailure::RolledBack] {
        let mut map = subscribed("price:BTC", Mode::All);
        map.begin(&channel("price:*"), Mode::All, false, None, Some(cursor(3)));
        map.update(&link("price:BTC", 0, 500));
        // the pattern is named, and means the channel too
        assert!(map.begin(&channel("price:*"), Mode::All, false, Some(reason), None));
        assert_eq!(map.since(&channel("price:*")), None);
        assert_eq!(map.since(&channel("price:BTC")), None);
        assert_eq!(map.update(&link("price:BTC", 3, 4)), Judgement::Deliver);
        assert_eq!(map.since(&channel("price:BTC")), Some(cursor(4)));
    }
}

#[test]
fn an_overlap_is_forgiven_until_something_new_comes() {
    let mut map = subscribed("price:*", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    map.update(&link("price:ETH", 0, 6));
    map.disconnect();
    map.begin(&channel("price:*"), Mode::All, true, None, None);
    assert_eq!(map.update(&link("price:BTC", 0, 5)), Judgement::Overlap);
    assert_eq!(map.update(&link("price:BTC", 5, 7)), Judgement::Deliver);
    assert_eq!(map.update(&link("price:BTC", 5, 7)), Judgement::Repeated);
    assert_eq!(map.update(&link("price:ETH", 0, 6)), Judgement::Overlap, "each chain by itself");
}

#[test]
fn keeps_no_key_that_is_too_long() {
    let mut map = subscribed("signals:all", Mode::All);
    let key = "k".repeat(MAX_KEY_BYTES + 1);
    assert_eq!(map.update(&UpdateHead { key: Some(&key), ..link("signals:all", 0, 5) }), Judgement::Stray);
    let key = &key[1..];
    assert_eq!(map.update(&UpdateHead { key: Some(key), ..link("signals:all", 0, 5) }), Judgement::Deliver);
    assert_eq!(map.chains(), 1);
}

#[test]
fn never_keeps_more_chains_than_its_limit() {
    let mut map = subscribed("signals:all", Mode::All);
    for number in 0..MAX_CHAINS + 10 {
        let key = number.to_string();
        let head = UpdateHead { key: Some(&key), ..link("signals:all", 0, 5) };
        assert_eq!(map.update(&head), Judgement::Deliver);
    }
    assert_eq!(map.chains(), MAX_CHAINS);
    assert_eq!(map.since(&channel("signals:all")), Some(cursor(3)));
    map.end(&channel("signals:all"));
    assert_eq!(map.chains(), 0);
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
fn the_position_after_a_gap_is_the_next_update_or_checkpoint() {
    let mut map = subscribed("price:BTC", Mode::All);
    map.update(&link("price:BTC", 0, 5));
    map.checkpoint(&cursor(6));
    assert!(map.gap(&channel("price:BTC"), None, 40));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(6)));
    map.update(&link("price:BTC", 38, 45));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(45)));
    map.gap(&channel("price:BTC"), None, 60);
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(45)), "nobody wrote a position of the gap's end");
    map.checkpoint(&cursor(70));
    assert_eq!(map.since(&channel("price:BTC")), Some(cursor(70)));
}

#[test]
fn drops_the_second_copy_of_overlapping_subscriptions() {
    let mut map = subscribed("price:*", Mode::All);
    map.begin(&channel("price:BTC"), Mode::All, false, None, None);
    assert_eq!(map.update(&link("price:BTC", 0, 5)), Judgement::Deliver);
    assert_eq!(map.update(&link("price:BTC", 0, 5)), Judgement::Repeated);
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
