//! Places of answers that are hard to come by otherwise.

use odin_protocol::{frame::encode_frame, message::ChannelRequest};

use super::*;
use crate::http::asked::Asked;

const EPOCH: &str = "k3j9x2m4";

fn frames(messages: &[String]) -> Vec<u8> {
    let mut frames = Vec::new();
    messages.iter().for_each(|message| encode_frame(Opcode::Text, message.as_bytes(), &mut frames));
    frames
}

fn begins(channel: &str) -> String {
    format!(r#"{{"type":"subscribed","channel":"{channel}","mode":"all","recovered":false}}"#)
}

fn update(channel: &str, seq: u64) -> String {
    format!(r#"{{"type":"update","channel":"{channel}","seq":{seq},"ts":{seq},"epoch":"{EPOCH}","data":1}}"#)
}

/// Both are brought by the pattern.
fn reached(channel: &str, is_at_head: bool, (complete, position): (u64, u64)) -> Reached {
    let epoch: Epoch = EPOCH.parse().expect("an epoch");
    let is_one_chain = !channel.contains('*');
    let position = Some(Cursor { epoch, seq: position, ts_ms: position as i64 });
    Reached { channel: channel.to_owned(), epoch: Some(epoch), is_one_chain, is_at_head, complete, position }
}

/// The sequences of the places after these messages.
fn places(asked: &str, given: &str, messages: &[String], is_at_head: bool, proven: (u64, u64)) -> Vec<Place> {
    let request = |name: &str| ChannelRequest { since: Some(given.to_owned()), ..ChannelRequest::from(name) };
    let channels: Vec<ChannelRequest> = asked.split(',').map(request).collect();
    let places = channels.iter().map(|_| Some(Place::parse(given)).filter(|_| !given.is_empty())).collect();
    let reached = channels.iter().map(|request| reached(&request.channel, is_at_head, proven)).collect();
    let answer = Answer { frames: frames(messages), reached, ..Answer::default() };
    let cursor = Heard::of(&answer).cursor(&Asked { channels, places });
    let places: Vec<Place> = cursor.split(',').map(Place::parse).collect();
    (0..asked.split(',').count()).map(|at| places[at % places.len()].clone()).collect()
}

fn at(seq: u64) -> String {
    format!("1.{EPOCH}.{seq}.{seq}")
}

/// The gateway refuses to go on with a channel whose pattern is ahead of it: what lies between may be missing.
#[test]
fn a_channel_is_as_far_as_the_pattern_that_brings_it() {
    let messages = [update("price:A", 20), update("price:B", 21)];
    for asked in ["price:A,price:*", "price:*,price:A"] {
        let places = places(asked, &at(10), &messages, false, (21, 10));
        assert_eq!(places[0].cursor, at(21), "{asked}");
        assert_eq!(places[1].cursor, at(21), "{asked}");
    }
}

#[test]
fn what_is_not_proven_is_named_for_each_chain() {
    let messages = [update("price:A", 20), update("price:B", 21)];
    let places = places("price:A,price:*", &at(10), &messages, true, (15, 12));
    assert_eq!((&places[0].cursor, &places[1].cursor), (&at(20), &at(12)));
    assert_eq!(places[1].chains, [(mark_of("price:B", None), 21), (mark_of("price:A", None), 20)]);
}

#[test]
fn a_channel_that_begins_behind_its_pattern_has_what_that_brought() {
    let messages = [begins("price:*"), update("price:A", 20), begins("price:A")];
    let places = places("price:*,price:A", "", &messages, true, (15, 12));
    assert_eq!((&places[0].cursor, &places[1].cursor), (&at(12), &at(20)));
    assert_eq!(places[0].chains, [(mark_of("price:A", None), 20)]);
}

#[test]
fn a_pattern_that_begins_behind_its_channel_has_what_that_brought() {
    let messages = [begins("price:A"), update("price:A", 20), begins("price:*"), update("price:B", 14)];
    let places = places("price:*,price:A", "", &messages, true, (15, 12));
    assert_eq!((&places[0].cursor, &places[1].cursor), (&at(12), &at(20)));
    assert_eq!(places[0].chains, [(mark_of("price:A", None), 20), (mark_of("price:B", None), 14)]);
}

/// Only its first place counts the next time.
#[test]
fn a_channel_that_is_asked_for_twice_goes_on() {
    let places = places("price:A,price:A", &at(10), &[update("price:A", 20)], true, (15, 12));
    assert_eq!(places[0].cursor, at(20));
}
