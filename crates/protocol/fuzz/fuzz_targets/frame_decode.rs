//! Bytes of a hostile client into the frame decoder: no panic, the same result however they are split, memory in
//! proportion to what arrived.
//!
//! The first byte chooses the limits and how the rest is split; the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odin_protocol::frame::{Decoder, Limits, Message, Violation};

/// What the decoder may hold beside payload bytes.
const STATE_BYTES: usize = 256;

/// One message or violation, to be compared.
#[derive(PartialEq, Eq, Debug)]
enum Event {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let limits = match choice & 3 {
        0 => Limits {
            message_bytes: 0,
            fragments: 0,
        },
        1 => Limits {
            message_bytes: 64,
            fragments: 3,
        },
        2 => Limits {
            message_bytes: 1 << 16,
            fragments: 256,
        },
        _ => Limits {
            message_bytes: usize::MAX,
            fragments: u32::MAX,
        },
    };
    let step = usize::from(choice >> 2).max(1);

    let at_once = decode(stream, stream.len().max(1), &limits);
    assert_eq!(decode(stream, 1, &limits), at_once, "one byte at a time");
    assert_eq!(
        decode(stream, step, &limits),
        at_once,
        "{step} bytes at a time"
    );
    check(&at_once, &limits);
});

fn decode(stream: &[u8], step: usize, limits: &Limits) -> Vec<Event> {
    let mut events = Vec::new();
    let mut decoder = Decoder::default();
    let mut arrived = 0;
    for piece in stream.chunks(step) {
        let mut piece = piece.to_vec();
        arrived += piece.len();
        let mut messages = decoder.read(&mut piece, limits);
        while let Some(message) = messages.next() {
            events.push(match message {
                Ok(Message::Text(text)) => Event::Text(text.to_owned()),
                Ok(Message::Binary(bytes)) => Event::Binary(bytes.to_vec()),
                Ok(Message::Ping(bytes)) => Event::Ping(bytes.to_vec()),
                Ok(Message::Pong(bytes)) => Event::Pong(bytes.to_vec()),
                Ok(Message::Close(close)) => {
                    Event::Close(close.map(|(code, reason)| (code, reason.to_owned())))
                }
                Err(violation) => Event::Violation(violation),
            });
        }
        assert!(
            decoder.held_bytes() <= STATE_BYTES + 2 * arrived,
            "held for {arrived} bytes"
        );
        assert!(decoder.is_idle() || decoder.held_bytes() > 0);
    }
    events
}

/// What holds for every stream.
fn check(events: &[Event], limits: &Limits) {
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Text(text) => assert!(text.len() <= limits.message_bytes),
            Event::Binary(bytes) => assert!(bytes.len() <= limits.message_bytes),
            Event::Ping(bytes) | Event::Pong(bytes) => assert!(bytes.len() <= 125),
            Event::Close(_) | Event::Violation(_) => {
                assert_eq!(index + 1, events.len(), "something after the end");
            }
        }
    }
}
