use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes: 1 << 16, fragments: 8 };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a test can keep of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

impl From<Message<'_>> for Event {
    fn from(message: Message<'_>) -> Event {
        match message {
            Message::Text(text) => Event::Text(text.to_owned()),
            Message::Binary(bytes) => Event::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Event::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Event::Pong(bytes.to_vec()),
            Message::Close(close) => Event::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn refused(violation: Violation) -> Vec<Event> {
    vec![Event::Violation(violation)]
}

fn read(decoder: &mut Decoder, input: &[u8], limits: &Limits, events: &mut Vec<Event>) {
    let mut input = input.to_vec();
    let mut messages = decoder.read(&mut input, limits);
    while let Some(message) = messages.next() {
        events.push(message.map_or_else(Event::Violation, Event::from));
    }
}

/// Decodes `input` at once, byte by byte and in halves, which must agree.
fn decode_with(input: &[u8], limits: &Limits) -> Vec<Event> {
    let mut at_once = Vec::new();
    read(&mut Decoder::default(), input, limits, &mut at_once);
    let mut by_byte = Vec::new();
    let mut decoder = Decoder::default();
    for byte in input {
        read(&mut decoder, &[*byte], limits, &mut by_byte);
    }
    assert_eq!(by_byte, at_once, "one byte at a time");
    let (first, second) = input.split_at(input.len() / 2);
    let mut in_halves = Vec::new();
    let mut decoder = Decoder::default();
    read(&mut decoder, first, limits, &mut in_halves);
    read(&mut decoder, second, limits, &mut in_halves);
    assert_eq!(in_halves, at_once, "in halves");
    at_once
}

fn decode(input: &[u8]) -> Vec<Event> {
    decode_with(input, &LIMITS)
}

/// A header as a client would write it, with the length in `length_bytes` (1, 2 or 8) bytes.
fn header(first: u8, len: u64, length_bytes: usize) -> Vec<u8> {
    let mut out = vec![first];
    match length_bytes {
        1 => out.push(0x80 | len as u8),
        2 => out.push(0x80 | 126),
        _ => out.push(0x80 | 127),
    }
    if length_bytes > 1 {
        out.extend_from_slice(&len.to_be_bytes()[8 - length_bytes..]);
    }
    out.extend_from_slice(&KEY);
    out
}

fn masked(payload: &[u8]) -> impl Iterator<Item = u8> {
    payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key)
}

/// A client's frame with this first byte.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let length_bytes = match payload.len() {
        0..=125 => 1,
        126..=0xFFFF => 2,
        _ => 8,
    };
    let mut out = header(first, payload.len() as u64, length_bytes);
    out.extend(masked(payload));
    out
}

/// A client's final frame.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    raw(0x80 | opcode as u8, payload)
}

/// A client's frame that others follow.
fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    raw(opcode as u8, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(Opcode::Close, &[&code.to_be_bytes(), reason].concat())
}

// What is accepted.

#[test]
fn is_one_null_pointer_when_idle() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let decoder = Decoder::default();
    assert!(decoder.is_idle());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn decodes_a_text_frame_in_place_and_keeps_nothing() {
    let mut input = frame(Opcode::Text, "grüezi".as_bytes());
    let place = input.as_ptr_range();
    let mut decoder = Decoder::default();
    let mut messages = decoder.read(&mut input, &LIMITS);
    let Some(Ok(Message::Text(text))) = messages.next() else { panic!("no text") };
    assert_eq!(text, "grüezi");
    assert!(place.contains(&text.as_ptr()), "the text is in the input, not in a copy");
    assert!(messages.next().is_none());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn decodes_every_length_form_at_its_borders() {
    for len in [0, 1, 7, 8, 9, 125, 126, 127, 128, 65_535, 65_536] {
        let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let mut events = Vec::new();
        read(&mut Decoder::default(), &frame(Opcode::Binary, &payload), &LIMITS, &mut events);
        assert_eq!(events, [Event::Binary(payload)], "{len} bytes");
    }
}

#[test]
fn decodes_many_frames_of_one_buffer_in_order() {
    let input = [
        frame(Opcode::Text, b"one"),
        frame(Opcode::Ping, b"two"),
        frame(Opcode::Binary, &[3]),
        frame(Opcode::Pong, b""),
        frame(Opcode::Text, b""),
        frame(Opcode::Close, b""),
    ]
    .concat();
    let expected = [
        text("one"),
        Event::Ping(b"two".to_vec()),
        Event::Binary(vec![3]),
        Event::Pong(vec![]),
        text(""),
        Event::Close(None),
    ];
    assert_eq!(decode(&input), expected);
}

#[test]
fn puts_fragments_together_and_delivers_control_frames_between_them_at_once() {
    let input = [
        fragment(Opcode::Text, b"a"),
        frame(Opcode::Ping, b"now"),
        fragment(Opcode::Continuation, b""),
        frame(Opcode::Pong, b""),
        frame(Opcode::Continuation, b"b"),
        frame(Opcode::Text, b"c"),
    ]
    .concat();
    let expected = [Event::Ping(b"now".to_vec()), Event::Pong(vec![]), text("ab"), text("c")];
    assert_eq!(decode(&input), expected);
}

#[test]
fn accepts_a_code_point_split_between_fragments() {
    let [head, tail] = ["€".as_bytes()[..1].to_vec(), "€".as_bytes()[1..].to_vec()];
    let input = [fragment(Opcode::Text, &head), frame(Opcode::Continuation, &tail)].concat();
    assert_eq!(decode(&input), [text("€")]);
}

#[test]
fn accepts_binary_that_is_not_utf8() {
    let input = [fragment(Opcode::Binary, &[0xFF]), frame(Opcode::Continuation, &[0xC0])].concat();
    assert_eq!(decode(&input), [Event::Binary(vec![0xFF, 0xC0])]);
}

#[test]
fn lets_go_of_the_heap_as_soon_as_nothing_is_incomplete() {
    let input = frame(Opcode::Text, b"hello");
    let mut decoder = Decoder::default();
    for split in 1..input.len() {
        let mut events = Vec::new();
        read(&mut decoder, &input[..split], &LIMITS, &mut events);
        assert!(events.is_empty() && !decoder.is_idle() && decoder.held_bytes() > 0);
        read(&mut decoder, &input[split..], &LIMITS, &mut events);
        assert_eq!(events, [text("hello")]);
        assert!(decoder.is_idle());
        assert_eq!(decoder.held_bytes(), 0, "split after {split}");
    }
}

#[test]
fn accepts_a_message_of_exactly_the_limits() {
    let limits = Limits { message_bytes: 4, fragments: 3 };
    let input = [
        frame(Opcode::Text, b"1234"),
        fragment(Opcode::Text, b"12"),
        fragment(Opcode::Continuation, b""),
        frame(Opcode::Ping, &[7; MAX_CONTROL_BYTES]),
        frame(Opcode::Continuation, b"34"),
    ]
    .concat();
    assert_eq!(decode_with(&input, &limits), [text("1234"), Event::Ping(vec![7; 125]), text("1234")]);
}

#[test]
fn ignores_what_follows_a_close_frame() {
    let input = [close(1000, b"bye"), frame(Opcode::Ping, b"late"), raw(0xFF, b"")].concat();
    assert_eq!(decode(&input), [Event::Close(Some((1000, "bye".to_owned())))]);
    let mut decoder = Decoder::default();
    read(&mut decoder, &input, &LIMITS, &mut Vec::new());
    assert!(decoder.is_over() && decoder.is_idle());
}

#[test]
fn delivers_what_came_before_a_violation_and_nothing_after_it() {
    for (bad, violation) in [
        (raw(0x83, b""), Violation::ReservedOpcode),
        (frame(Opcode::Text, b"\xFF"), Violation::InvalidUtf8),
        (frame(Opcode::Close, &[3]), Violation::CloseTooShort),
        (close(1005, b""), Violation::InvalidCloseCode),
    ] {
        let input = [frame(Opcode::Text, b"fine"), bad, frame(Opcode::Text, b"late")].concat();
        assert_eq!(decode(&input), [text("fine"), Event::Violation(violation)]);
    }
}

// Hostile framing.

/// Attack: a frame without a mask, which proxies could be made to take for HTTP (RFC 6455 §10.3).
#[test]
fn refuses_an_unmasked_frame() {
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        assert_eq!(decode(&[0x80 | opcode as u8, 0]), refused(Violation::Unmasked));
    }
    assert_eq!(decode(b"\x81\x05hello"), refused(Violation::Unmasked));
}

/// Attack: frames of extensions that nobody negotiated, for instance compressed ones.
#[test]
fn refuses_reserved_bits() {
    for bits in 1..8 {
        for opcode in [0x1, 0x2, 0x8, 0x9, 0xA] {
            assert_eq!(decode(&raw(0x80 | bits << 4 | opcode, b"x")), refused(Violation::ReservedBit));
        }
    }
}

/// Attack: opcodes that mean nothing yet.
#[test]
fn refuses_reserved_opcodes() {
    for opcode in (0x3..0x8).chain(0xB..=0xF) {
        assert_eq!(decode(&raw(0x80 | opcode, b"")), refused(Violation::ReservedOpcode));
        assert_eq!(decode(&raw(opcode, b"")), refused(Violation::ReservedOpcode));
    }
}

/// Attack: control frames used as a carrier of data.
#[test]
fn refuses_control_frames_longer_than_125_bytes() {
    for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
        assert_eq!(decode(&raw(0x80 | opcode as u8, &[0; 126])), refused(Violation::ControlTooLong));
        assert_eq!(decode(&header(0x80 | opcode as u8, 1 << 40, 8)), refused(Violation::ControlTooLong));
    }
}

/// Attack: control frames in pieces, which would have to be kept beside the message in pieces.
#[test]
fn refuses_fragmented_control_frames() {
    for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
        assert_eq!(decode(&fragment(opcode, b"")), refused(Violation::FragmentedControl));
    }
}

/// Attack: lengths that a careless server allocates or adds up with overflow.
#[test]
fn refuses_absurd_lengths_without_allocating() {
    for (len, violation) in [
        (1 << 63, Violation::LengthOutOfRange),
        (u64::MAX, Violation::LengthOutOfRange),
        ((1 << 63) - 1, Violation::MessageTooBig),
        (1 << 32, Violation::MessageTooBig),
    ] {
        let input = header(0x82, len, 8);
        assert_eq!(decode(&input), refused(violation), "{len}");
        // The length is enough: not even the mask is waited for.
        assert_eq!(decode(&input[..10]), refused(violation), "{len}");

        let mut decoder = Decoder::default();
        let small = fragment(Opcode::Binary, b"x");
        read(&mut decoder, &small, &LIMITS, &mut Vec::new());
        let before = decoder.held_bytes();
        read(&mut decoder, &header(0x80, len, 8)[..9], &LIMITS, &mut Vec::new());
        assert_eq!(decoder.held_bytes(), before);
        let mut events = Vec::new();
        read(&mut decoder, &header(0x80, len, 8)[9..], &LIMITS, &mut events);
        assert_eq!(events, refused(violation), "{len} as a continuation");
    }
}

/// Attack: the same length written in other ways, to slip past what compares bytes.
#[test]
fn refuses_lengths_that_are_not_in_their_shortest_form() {
    for len in [0, 1, 125] {
        assert_eq!(decode(&header(0x82, len, 2)), refused(Violation::LengthNotMinimal), "{len} in 2 bytes");
    }
    for len in [0, 125, 126, 65_535] {
        assert_eq!(decode(&header(0x82, len, 8)), refused(Violation::LengthNotMinimal), "{len} in 8 bytes");
    }
    assert!(decode(&header(0x82, 126, 2)).is_empty());
    assert!(decode(&header(0x82, 65_536, 8)).is_empty());
}

/// Attack: 64 KiB declared, one byte sent, then silence, on every connection there is.
#[test]
fn holds_what_has_arrived_and_not_what_was_declared() {
    let limits = Limits { message_bytes: 1 << 30, fragments: 8 };
    let input = [header(0x82, 1 << 30, 8), vec![0; 1]].concat();
    let mut decoder = Decoder::default();
    read(&mut decoder, &input, &limits, &mut Vec::new());
    assert!(!decoder.is_idle());
    let frame_state = decoder.held_bytes() - 1;
    assert!(frame_state < 160, "{frame_state} bytes beside the payload");
    for arrived in 2..5000 {
        read(&mut decoder, &[0], &limits, &mut Vec::new());
        assert!(decoder.held_bytes() <= frame_state + 2 * arrived, "{arrived} bytes arrived");
    }
}

/// Attack: a message that fits frame by frame, and grows without end.
#[test]
fn refuses_a_message_over_the_limit_before_its_payload_arrives() {
    let limits = Limits { message_bytes: 100, fragments: 1000 };
    let too_big = |input: &[u8]| assert_eq!(decode_with(input, &limits), refused(Violation::MessageTooBig));
    too_big(&header(0x81, 101, 1));
    let first = fragment(Opcode::Text, &[b'x'; 60]);
    too_big(&[first.clone(), header(0x00, 41, 1)].concat());
    too_big(&[first, fragment(Opcode::Continuation, &[b'x'; 40]), header(0x80, 1, 1)].concat());
}

#[test]
fn buffers_never_grow_past_the_message_limit() {
    let limits = Limits { message_bytes: 1000, fragments: 1000 };
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    read(&mut decoder, &fragment(Opcode::Binary, b""), &limits, &mut events);
    let state = decoder.held_bytes();
    read(&mut decoder, &fragment(Opcode::Continuation, &[0; 600]), &limits, &mut events);
    for _ in 0..400 {
        read(&mut decoder, &fragment(Opcode::Continuation, &[0]), &limits, &mut events);
        assert!(decoder.held_bytes() <= state + 1000);
    }
    assert!(events.is_empty());
    read(&mut decoder, &fragment(Opcode::Continuation, &[0]), &limits, &mut events);
    assert_eq!(events, refused(Violation::MessageTooBig));
}

/// Attack: fragments without content, which never reach a size limit.
#[test]
fn refuses_a_flood_of_empty_fragments() {
    let limits = Limits { message_bytes: 100, fragments: 3 };
    let mut input = fragment(Opcode::Text, b"");
    input.extend(fragment(Opcode::Continuation, b""));
    input.extend(fragment(Opcode::Continuation, b""));
    assert!(decode_with(&input, &limits).is_empty());
    let one_more = [input.clone(), frame(Opcode::Continuation, b"")].concat();
    assert_eq!(decode_with(&one_more, &limits), refused(Violation::TooManyFragments));
    assert_eq!(decode_with(&[input, vec![0x00]].concat(), &limits), refused(Violation::TooManyFragments));
    assert_eq!(Violation::TooManyFragments.close_code(), 1008);
}

#[test]
fn without_fragments_allowed_takes_whole_messages_only() {
    let limits = Limits { message_bytes: 100, fragments: 0 };
    assert_eq!(decode_with(&frame(Opcode::Text, b"whole"), &limits), [text("whole")]);
    assert_eq!(decode_with(&fragment(Opcode::Text, b""), &limits), refused(Violation::TooManyFragments));
}

/// Attack: a continuation of nothing.
#[test]
fn refuses_a_continuation_without_a_start() {
    assert_eq!(decode(&frame(Opcode::Continuation, b"x")), refused(Violation::UnexpectedContinuation));
    assert_eq!(decode(&fragment(Opcode::Continuation, b"x")), refused(Violation::UnexpectedContinuation));
    let after_whole = [frame(Opcode::Text, b"x"), frame(Opcode::Continuation, b"y")].concat();
    assert_eq!(decode(&after_whole), [text("x"), Event::Violation(Violation::UnexpectedContinuation)]);
}

/// Attack: a second message begun inside the first.
#[test]
fn refuses_a_new_message_inside_a_fragmented_one() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let input = [fragment(Opcode::Text, b"x"), frame(opcode, b"y")].concat();
        assert_eq!(decode(&input), refused(Violation::UnfinishedMessage));
        let input = [fragment(Opcode::Binary, b"x"), fragment(opcode, b"y")].concat();
        assert_eq!(decode(&input), refused(Violation::UnfinishedMessage));
    }
}

/// Attack: bytes that are not UTF-8 in a text message.
#[test]
fn refuses_text_that_is_not_utf8() {
    for bytes in [
        &b"\xFF"[..],
        b"\xC0\xAF",         // overlong
        b"\xED\xA0\x80",     // surrogate
        b"\xF4\x90\x80\x80", // over U+10FFFF
        b"ok\x80",           // continuation byte alone
    ] {
        assert_eq!(decode(&frame(Opcode::Text, bytes)), refused(Violation::InvalidUtf8), "{bytes:x?}");
    }
}

/// Attack: a code point cut off by the end of the message.
#[test]
fn refuses_a_code_point_split_by_the_end_of_the_message() {
    assert_eq!(decode(&frame(Opcode::Text, b"\xE2\x82")), refused(Violation::InvalidUtf8));
    let input = [fragment(Opcode::Text, b"\xE2"), frame(Opcode::Continuation, b"\x82")].concat();
    assert_eq!(decode(&input), refused(Violation::InvalidUtf8));
    let input = [fragment(Opcode::Text, b"\xE2"), frame(Opcode::Continuation, b"")].concat();
    assert_eq!(decode(&input), refused(Violation::InvalidUtf8));
}

/// Attack: text already known to be wrong, and gigabytes of it still to come.
#[test]
fn refuses_bad_text_at_the_octet_that_spoils_it() {
    let payload = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited";
    let spoils = payload.iter().position(|byte| *byte == 0x90).expect("it is there");

    let input = frame(Opcode::Text, payload);
    let until = input.len() - payload.len() + spoils;
    assert!(decode(&input[..until]).is_empty());
    assert_eq!(decode(&input[..=until]), refused(Violation::InvalidUtf8), "inside a frame");

    let mut pieces = fragment(Opcode::Text, &payload[..spoils]);
    assert!(decode(&pieces).is_empty());
    pieces.extend(fragment(Opcode::Continuation, &payload[spoils..=spoils]));
    assert_eq!(decode(&pieces), refused(Violation::InvalidUtf8), "between fragments");
}

/// Attack: a close frame with half a code.
#[test]
fn refuses_a_close_frame_of_one_byte() {
    assert_eq!(decode(&frame(Opcode::Close, &[3])), refused(Violation::CloseTooShort));
}

/// Attack: close codes that no frame may carry.
#[test]
fn accepts_the_defined_close_codes_and_no_others() {
    for code in 0..=u16::MAX {
        let defined = match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => true,
            0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => false,
        };
        let expected = if defined {
            Event::Close(Some((code, "x".to_owned())))
        } else {
            Event::Violation(Violation::InvalidCloseCode)
        };
        assert_eq!(decode(&close(code, b"x")), [expected], "{code}");
    }
}

/// Attack: a close reason that is not UTF-8.
#[test]
fn refuses_a_close_reason_that_is_not_utf8() {
    assert_eq!(decode(&close(1000, b"\xFF")), refused(Violation::InvalidCloseReason));
    assert_eq!(decode(&close(1000, b"\xE2\x82")), refused(Violation::InvalidCloseReason));
    let longest = "ü".repeat(61);
    assert_eq!(decode(&close(1000, longest.as_bytes())), [Event::Close(Some((1000, longest)))]);
}

#[test]
fn names_every_violation_once_and_gives_it_a_code_that_may_be_sent() {
    let mut names: Vec<_> = Violation::ALL.iter().map(|violation| violation.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Violation::ALL.len());
    for violation in Violation::ALL {
        assert!(may_be_sent(violation.close_code()));
        assert!(violation.name().len() <= MAX_CLOSE_REASON_BYTES);
    }
    assert_eq!(Violation::Unmasked.close_code(), 1002);
    assert_eq!(Violation::InvalidUtf8.close_code(), 1007);
    assert_eq!(Violation::InvalidCloseReason.close_code(), 1007);
    assert_eq!(Violation::MessageTooBig.close_code(), 1009);
}

#[test]
fn shows_no_payload_when_debugged() {
    let mut decoder = Decoder::default();
    let mut input = fragment(Opcode::Text, b"secret");
    let messages = decoder.read(&mut input, &LIMITS);
    assert!(!format!("{messages:?}").contains("secret"));
    let mut messages = messages;
    assert!(messages.next().is_none());
    let shown = format!("{decoder:?}");
    assert!(shown.contains("held_bytes") && !shown.contains("secret") && !shown.contains("115"));
}

// The encoder.

#[test]
fn encodes_lengths_in_their_shortest_form_and_unmasked() {
    for (len, expected) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xFF, 0xFF]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        encode_header(Opcode::Binary, len, &mut out);
        assert_eq!(out, expected, "{len}");
    }
    let mut out = b"before".to_vec();
    encode_frame(Opcode::Text, b"Hello", &mut out);
    assert_eq!(out, b"before\x81\x05Hello");
}

#[test]
fn encodes_a_close_frame_and_cuts_a_reason_that_is_too_long() {
    let mut out = Vec::new();
    encode_close(1001, "going away", &mut out);
    assert_eq!(out, b"\x88\x0C\x03\xE9going away");
    let mut out = Vec::new();
    encode_close(1000, &"ü".repeat(100), &mut out);
    assert_eq!(out.len(), 2 + 2 + 122);
    assert!(str::from_utf8(&out[4..]).is_ok());
}

// Properties.

/// A frame-by-frame decoder of valid input, without any of the real one's care. `None` for what is incomplete or
/// invalid from there on.
fn reference(mut input: &[u8]) -> Vec<Event> {
    fn one(input: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
        let first = *input.split_off_first()?;
        let len = match input.split_off_first()? & 0x7F {
            126 => input.split_off(..2)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
            127 => input.split_off(..8)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
            len => usize::from(len),
        };
        let key = input.split_off(..4)?;
        let payload = input.split_off(..len)?;
        Some((first, payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()))
    }
    let (mut events, mut message, mut message_opcode) = (Vec::new(), Vec::new(), 0);
    while let Some((first, payload)) = one(&mut input) {
        match first & 0x0F {
            0x9 => events.push(Event::Ping(payload)),
            0xA => events.push(Event::Pong(payload)),
            0x8 if payload.is_empty() => return [events, vec![Event::Close(None)]].concat(),
            0x8 => {
                let reason = String::from_utf8(payload[2..].to_vec()).expect("valid input");
                events.push(Event::Close(Some((u16::from_be_bytes([payload[0], payload[1]]), reason))));
                return events;
            }
            opcode => {
                message_opcode = if opcode == 0 { message_opcode } else { opcode };
                message.extend(payload);
                if first & 0x80 != 0 {
                    let message = std::mem::take(&mut message);
                    events.push(match message_opcode {
                        1 => Event::Text(String::from_utf8(message).expect("valid input")),
                        _ => Event::Binary(message),
                    });
                }
            }
        }
    }
    events
}

/// Decodes `input` cut at `cuts` (per mille of its length, in any order).
fn decode_cut(input: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Event>, Decoder) {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut * input.len() / 1000).collect();
    cuts.sort_unstable();
    let (mut events, mut decoder, mut from) = (Vec::new(), Decoder::default(), 0);
    for to in cuts.into_iter().chain([input.len()]) {
        read(&mut decoder, &input[from..to], limits, &mut events);
        from = to;
    }
    (events, decoder)
}

fn control() -> impl Strategy<Value = (Event, Vec<u8>)> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125)).prop_map(|(ping, payload)| {
        if ping {
            (Event::Ping(payload.clone()), frame(Opcode::Ping, &payload))
        } else {
            (Event::Pong(payload.clone()), frame(Opcode::Pong, &payload))
        }
    })
}

/// A message, the places to break it into fragments, and control frames to put between those.
fn message() -> impl Strategy<Value = (Vec<Event>, Vec<u8>)> {
    let event = prop_oneof![
        "\\PC{0,200}".prop_map(Event::Text),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Event::Binary),
    ];
    let breaks = prop::collection::vec((0..=1000_usize, prop::option::of(control())), 0..7);
    (event, breaks).prop_map(|(event, mut breaks)| {
        let (mut opcode, payload) = match &event {
            Event::Text(text) => (Opcode::Text, text.as_bytes().to_vec()),
            Event::Binary(bytes) => (Opcode::Binary, bytes.clone()),
            _ => unreachable!("only data messages are generated"),
        };
        breaks.sort_by_key(|(at, _)| *at);
        let (mut events, mut input, mut from) = (Vec::new(), Vec::new(), 0);
        for (at, between) in breaks {
            let to = at * payload.len() / 1000;
            input.extend(fragment(opcode, &payload[from..to]));
            opcode = Opcode::Continuation;
            from = to;
            if let Some((event, frame)) = between {
                events.push(event);
                input.extend(frame);
            }
        }
        input.extend(frame(opcode, &payload[from..]));
        events.push(event);
        (events, input)
    })
}

fn stream() -> impl Strategy<Value = (Vec<Event>, Vec<u8>)> {
    let close = prop::option::of(("\\PC{0,30}", 3000..5000_u16)).prop_map(|close| match close {
        Some((reason, code)) => {
            let frame = close_of(code, &reason);
            (vec![Event::Close(Some((code, reason)))], frame)
        }
        None => (vec![Event::Close(None)], frame(Opcode::Close, b"")),
    });
    let single = control().prop_map(|(event, frame)| (vec![event], frame));
    let body = prop::collection::vec(prop_oneof![3 => message(), 1 => single], 0..6);
    (body, prop::option::of(close)).prop_map(|(body, close)| {
        let (events, input): (Vec<_>, Vec<_>) = body.into_iter().chain(close).unzip();
        (events.concat(), input.concat())
    })
}

fn close_of(code: u16, reason: &str) -> Vec<u8> {
    close(code, &reason.as_bytes()[..reason.floor_char_boundary(MAX_CLOSE_REASON_BYTES)])
}

proptest! {
    #[test]
    fn unmasks_as_byte_by_byte_xor_would(payload: Vec<u8>, key: [u8; 4], cut in 0..=1000_usize) {
        let expected: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        let cut = cut * payload.len() / 1000;
        let mut unmasked = payload;
        let (first, second) = unmasked.split_at_mut(cut);
        mask::unmask(first, key);
        mask::unmask(second, mask::advance(key, cut));
        prop_assert_eq!(unmasked, expected);
    }

    #[test]
    fn decodes_any_valid_stream_in_any_split_as_the_reference_does(
        (expected, input) in stream(),
        cuts in prop::collection::vec(0..=1000_usize, 0..12),
    ) {
        prop_assert_eq!(&reference(&input), &expected);
        let (events, decoder) = decode_cut(&input, &cuts, &LIMITS);
        prop_assert_eq!(&events, &expected);
        prop_assert!(decoder.is_idle());
        prop_assert_eq!(decode(&input), expected);
    }

    #[test]
    fn finds_the_same_in_a_damaged_stream_however_it_is_split(
        (_, mut input) in stream(),
        damage in prop::collection::vec((0..1000_usize, any::<u8>()), 1..4),
        length in 0..=1000_usize,
        cuts in prop::collection::vec(0..=1000_usize, 0..12),
    ) {
        for (at, byte) in damage {
            let at = at * input.len() / 1000;
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        input.truncate(length * input.len() / 1000);
        let limits = Limits { message_bytes: 300, fragments: 4 };
        let (events, decoder) = decode_cut(&input, &cuts, &limits);
        prop_assert_eq!(&events, &decode_with(&input, &limits));
        let violations = events.iter().filter(|event| matches!(event, Event::Violation(_))).count();
        prop_assert!(violations <= 1);
        if violations == 1 {
            prop_assert!(matches!(events.last(), Some(Event::Violation(_))) && decoder.is_over());
        }
    }

    #[test]
    fn takes_any_bytes_without_panic_and_the_same_however_they_are_split(
        input in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(0..=1000_usize, 0..6),
    ) {
        let (events, _) = decode_cut(&input, &cuts, &LIMITS);
        prop_assert_eq!(events, decode(&input));
    }

    #[test]
    fn decodes_its_own_encoding_once_that_is_masked(
        len in prop_oneof![0..300_usize, 65_500..65_600_usize],
        step: u8,
    ) {
        let payload: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(step)).collect();
        let mut server = Vec::new();
        encode_frame(Opcode::Binary, &payload, &mut server);
        let header_len = server.len() - payload.len();
        server[1] |= 0x80;
        let client = [&server[..header_len], &KEY, &masked(&payload).collect::<Vec<_>>()].concat();
        let limits = Limits { message_bytes: 70_000, fragments: 1 };
        let mut events = Vec::new();
        read(&mut Decoder::default(), &client, &limits, &mut events);
        prop_assert_eq!(events, vec![Event::Binary(payload)]);
    }
}
