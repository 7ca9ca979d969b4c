//! One test per attack. All of it runs on a small stack, so that recursion would show.

use odin_protocol::{
    Channel, ClientMessage, Codec, Cursor, DecodeError, ErrorCode, PayloadError, RequestId, ServerMessage,
    validate_payload,
};

const MESSAGE_BYTES: usize = 64 * 1024;

/// Runs a check on a stack that a few hundred nested calls would overflow.
fn on_a_small_stack<T: Send + 'static>(check: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(check);
    thread.expect("a thread starts").join().expect("no panic")
}

fn refused(codec: Codec, bytes: Vec<u8>) -> DecodeError {
    on_a_small_stack(move || {
        ClientMessage::decode(codec, &bytes).map(|message| message.type_name()).expect_err("a bad message")
    })
}

/// Attack: 10,000 and more opening brackets, in every place a value can stand.
#[test]
fn refuses_endless_nesting_without_recursion() {
    for depth in [65, 129, 10_000, MESSAGE_BYTES / 2 - 40] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        for text in [
            format!("{open}{close}"),
            open.clone(),
            format!(r#"{{"id":1,"x":{open}{close}}}"#),
            format!(r#"{{"id":1,"type":{open}{close}}}"#),
            format!(r#"{{"id":1,"type":"publish","channel":"a","data":{open}{close}}}"#),
            format!(r#"{{"id":1,"type":"subscribe","channels":{open}{close}}}"#),
            format!(r#"{{"id":1,"type":"subscribe","channels":[{{"x":{open}{close}}}]}}"#),
            format!(r#"{{"id":1,"x":{}"#, r#"{"a":"#.repeat(depth)),
        ] {
            let has_id = text.starts_with('{');
            let error = refused(Codec::Json, text.into_bytes());
            assert_eq!(error.code, ErrorCode::InvalidMessage);
            assert_eq!(error.id, has_id.then_some(RequestId::Number(1)));
        }
    }
}

/// Attack: the same in MessagePack, as arrays and as maps.
#[test]
fn refuses_endless_nesting_in_messagepack_without_recursion() {
    for depth in [66, 129, 10_000, MESSAGE_BYTES] {
        for level in [&b"\x91"[..], b"\x81\xa1a"] {
            let error = refused(Codec::MsgPack, level.repeat(depth));
            assert_eq!(error.code, ErrorCode::InvalidMessage);
            let nested = level.repeat(depth);
            let is_error = on_a_small_stack(move || ServerMessage::decode(Codec::MsgPack, &nested).is_err());
            assert!(is_error);
        }
    }
}

/// Attack: a publisher nests its payload 10,000 deep.
#[test]
fn refuses_a_payload_nested_too_deep_without_recursion() {
    for depth in [65, 10_000, 32_000] {
        let nested = "[".repeat(depth) + &"]".repeat(depth);
        let outcome = on_a_small_stack(move || validate_payload(nested.as_bytes()));
        assert_eq!(outcome, Err(PayloadError::TooDeep));
    }
}

/// Attack: a container announces 2^32 - 1 items and brings none. Memory for them would be at least 64 GiB.
#[test]
fn allocates_nothing_for_items_only_announced() {
    for header in [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff",
    ] {
        refused(Codec::MsgPack, header.to_vec());
        assert!(ServerMessage::decode(Codec::MsgPack, header).is_err());
        let mut inside = b"\x83\xa2id\x07\xa4type\xa9subscribe\xa8channels".to_vec();
        inside.extend_from_slice(header);
        assert_eq!(refused(Codec::MsgPack, inside).id, Some(RequestId::Number(7)));
    }
}

/// Attack: every prefix of a valid message, and the message with any one byte changed.
#[test]
fn survives_every_cut_and_every_changed_byte() {
    let text = br#"{"type":"subscribe","id":"r-1","channels":["price:BTC",{"channel":"a","mode":"all"}],"since":"x"}"#;
    let message = ClientMessage::decode(Codec::Json, text).expect("valid");
    for codec in Codec::ALL {
        let whole = message.encode(codec);
        for len in 0..whole.len() {
            assert!(ClientMessage::decode(codec, &whole[..len]).is_err(), "{codec:?} cut to {len}");
        }
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = ClientMessage::decode(codec, &changed);
                let _ = ServerMessage::decode(codec, &changed);
            }
        }
    }
}

/// Attack: one message names 20,000 channels.
#[test]
fn refuses_a_message_with_too_many_channels() {
    let list = vec![r#""a""#; 4_097].join(",");
    let error = refused(Codec::Json, format!(r#"{{"type":"subscribe","id":1,"channels":[{list}]}}"#).into());
    assert_eq!(error.code, ErrorCode::TooManyChannels);
    assert_eq!(error.id, Some(RequestId::Number(1)));
    let list = vec![r#""a""#; 4_096].join(",");
    let text = format!(r#"{{"type":"subscribe","id":1,"channels":[{list}]}}"#);
    assert!(ClientMessage::decode(Codec::Json, text.as_bytes()).is_ok());
}

/// Attack: a huge type or member name, to have it echoed or logged.
#[test]
fn echoes_at_most_64_characters() {
    let long = "\u{202e}<script>\n".replace('\n', "\\n").repeat(2_000);
    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"ping","{long}":1,"id":[]}}"#),
        format!(r#"{{"type":"subscribe","channels":[{{"{long}":1}}]}}"#),
        format!(r#"{{"type":"subscribe","channels":[{{"channel":"a","mode":"{long}"}}]}}"#),
        format!(r#"{{"type":"ping","id":"{long}"}}"#),
        format!(r#"{{"type":"ping",{long}}}"#),
    ] {
        let error = refused(Codec::Json, text.into_bytes());
        assert!(error.message.chars().filter(|c| *c == 's').count() < 64, "{}", error.message);
        assert!(error.message.len() < 1_024, "{}", error.message.len());
        assert!(!error.message.contains(['\n', '\u{202e}']), "{}", error.message);
    }
}

/// Attack: a token in a message that ends up in a log.
#[test]
fn prints_no_token() {
    let text = br#"{"type":"auth","id":1,"token":"hunter2"}"#;
    let message = ClientMessage::decode(Codec::Json, text).expect("valid");
    assert!(format!("{message:?}").contains("***"));
    assert!(!format!("{message:?}").contains("hunter2"));
    let error = refused(Codec::Json, br#"{"type":"auth","id":1,"token":{"hunter2":1}}"#.to_vec());
    assert!(!format!("{error:?}").contains("hunter2"));
}

/// Attack: 64 KiB that JSON writes six times as long.
#[test]
fn escapes_of_a_messagepack_text_stay_bounded() {
    let mut bytes = b"\x82\xa4type\xa4ping\xa1x\xda\xff\x00".to_vec();
    bytes.resize(bytes.len() + 0xff00, 0x01);
    let message = ClientMessage::decode(Codec::MsgPack, &bytes).expect("unknown members are ignored");
    assert_eq!(message.type_name(), "ping");
}

/// Attack: names of megabytes for a parser that would copy them first.
#[test]
fn refuses_endless_names_at_once() {
    let long = "a".repeat(1 << 20);
    assert!(Channel::parse(&long).is_err());
    assert!(long.parse::<Cursor>().is_err());
    assert!(format!("1.k3j9x2m4.{}.1", "9".repeat(1 << 20)).parse::<Cursor>().is_err());
}

#[test]
fn null_counts_as_absent_in_optional_members() {
    let text = br#"{"type":"subscribe","id":null,"since":null,"channels":[{"channel":"a","mode":null,"since":null,"filter":null,"every":null,"delta":null}]}"#;
    let message = ClientMessage::decode(Codec::Json, text).expect("valid");
    assert_eq!(message.encode(Codec::Json), br#"{"type":"subscribe","channels":["a"]}"#);
}

#[test]
fn unknown_members_are_ignored_and_reserved_options_are_named() {
    let text = br#"{"x":[{"y":1}],"type":"subscribe","channels":[{"z":0,"delta":true,"every":100,"channel":"a"},{"channel":"b","filter":{}},"c"],"token":5}"#;
    let ClientMessage::Subscribe { channels, .. } = ClientMessage::decode(Codec::Json, text).expect("valid") else {
        panic!("not a subscribe");
    };
    let unsupported: Vec<Option<&str>> = channels.iter().map(|request| request.unsupported).collect();
    assert_eq!(unsupported, [Some("every"), Some("filter"), None]);
}

#[test]
fn a_client_survives_a_newer_gateway() {
    let decode = |text: &str| ServerMessage::decode(Codec::Json, text.as_bytes()).expect(text);
    assert!(matches!(decode(r#"{"type":"weather","data":[{"a":1}]}"#), ServerMessage::Unknown));
    assert!(matches!(
        decode(r#"{"more":1,"type":"update","channel":"a","seq":1,"ts":1,"epoch":"00000000","data":{},"new":[]}"#),
        ServerMessage::Update(_)
    ));
    let ServerMessage::Error(error) = decode(r#"{"type":"error","code":"teapot","message":"short and stout"}"#) else {
        panic!("not an error");
    };
    assert_eq!(error.code, ErrorCode::Unknown);
}
