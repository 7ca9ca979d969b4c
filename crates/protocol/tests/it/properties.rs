//! What holds for all inputs, tried on random ones.

use odin_protocol::{
    Channel, ChannelRequest, ClientMessage, Codec, Cursor, Epoch, Mode, RequestId, Secret, ServerMessage, UpdateHead,
    encode_update, validate_payload,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::support::client_text;

fn json_value() -> impl Strategy<Value = Value> {
    let finite = any::<f64>().prop_filter_map("finite", Number::from_f64);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-300_i64..300).prop_map(Value::from),
        finite.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 200, 40, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..40).prop_map(Value::from),
            vec((any::<String>(), inner), 0..40)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn request_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![
        (0..=odin_protocol::MAX_SAFE_INTEGER).prop_map(RequestId::Number),
        "\\PC{0,16}".prop_map(|text| RequestId::Text(text.into())),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Latest), Just(Mode::All)]
}

fn channel_request() -> impl Strategy<Value = ChannelRequest> {
    (any::<String>(), option::of(any::<String>()), option::of(mode()))
        .prop_map(|(channel, since, mode)| ChannelRequest { channel, since, mode, unsupported: None })
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let id = || option::of(request_id());
    let raw = json_value().prop_map(|value| serde_json::value::to_raw_value(&value).expect("a value is JSON"));
    prop_oneof![
        (id(), vec(channel_request(), 1..20), option::of(any::<String>()))
            .prop_map(|(id, channels, since)| ClientMessage::Subscribe { id, channels, since }),
        (id(), vec(any::<String>(), 1..20)).prop_map(|(id, channels)| ClientMessage::Unsubscribe { id, channels }),
        id().prop_map(|id| ClientMessage::Ping { id }),
        (id(), any::<String>()).prop_map(|(id, token)| ClientMessage::Auth { id, token: Secret::new(token) }),
        (id(), any::<String>(), raw).prop_map(|(id, channel, data)| ClientMessage::Publish { id, channel, data }),
    ]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch::from_hash)
}

proptest! {
    #[test]
    fn client_messages_come_back_from_both_codecs(message in client_message()) {
        let text = client_text(&message);
        let again = ClientMessage::decode(Codec::Json, text.as_bytes()).expect("own JSON");
        prop_assert_eq!(client_text(&again), text.clone());
        let packed = message.encode(Codec::MsgPack);
        let again = ClientMessage::decode(Codec::MsgPack, &packed).expect("own MessagePack");
        let (again, message): (Value, Value) =
            (serde_json::from_str(&client_text(&again)).expect("JSON"), serde_json::from_str(&text).expect("JSON"));
        prop_assert_eq!(again, message);
    }

    #[test]
    fn own_messagepack_reads_the_same_in_another_library(message in client_message()) {
        let packed = message.encode(Codec::MsgPack);
        let elsewhere: Value = rmp_serde::from_slice(&packed).expect("MessagePack");
        prop_assert_eq!(elsewhere, serde_json::from_str::<Value>(&client_text(&message)).expect("JSON"));
    }

    #[test]
    fn messagepack_of_another_library_is_read(id in 0..1_000_000_u64, data in json_value()) {
        let message = serde_json::json!({"type": "publish", "id": id, "channel": "a", "data": data});
        let packed = rmp_serde::to_vec(&message).expect("MessagePack");
        let ClientMessage::Publish { data: read, .. } = ClientMessage::decode(Codec::MsgPack, &packed).expect("valid") else {
            panic!("not a publish");
        };
        prop_assert_eq!(serde_json::from_str::<Value>(read.get()).expect("JSON"), data);
    }

    #[test]
    fn updates_carry_head_and_data_in_both_codecs(
        (channel, key) in (any::<String>(), option::of(any::<String>())),
        (seq, prev, ts_ms) in (any::<u64>(), option::of(any::<u64>()), any::<i64>()),
        (epoch, snapshot) in (epoch(), any::<bool>()),
        data in json_value(),
    ) {
        let head = UpdateHead { channel: &channel, key: key.as_deref(), seq, prev, ts_ms, epoch, snapshot };
        let payload = data.to_string();
        prop_assert_eq!(validate_payload(payload.as_bytes()), Ok(()));
        for codec in Codec::ALL {
            let mut out = b"before".to_vec();
            encode_update(codec, &head, payload.as_bytes(), &mut out).expect("a valid payload");
            let bytes = out.strip_prefix(b"before").expect("appended");
            let ServerMessage::Update(update) = ServerMessage::decode(codec, bytes).expect("own update") else {
                panic!("not an update");
            };
            prop_assert_eq!(update.head(), head);
            prop_assert_eq!(serde_json::from_str::<Value>(update.data.get()).expect("JSON"), data.clone());
            if codec == Codec::Json {
                prop_assert_eq!(update.data.get(), &payload);
            }
            let mut again = Vec::new();
            ServerMessage::Update(update).encode(codec, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn decoding_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        for codec in Codec::ALL {
            let _ = ClientMessage::decode(codec, &bytes);
            let _ = ServerMessage::decode(codec, &bytes);
        }
        let _ = validate_payload(&bytes);
    }

    #[test]
    fn what_is_read_from_messagepack_can_be_written_again(bytes in vec(0x80..=0xff_u8, 0..40)) {
        let mut message = b"\x84\xa4type\xa7publish\xa2id\x01\xa7channel\xa1a\xa4data".to_vec();
        message.extend_from_slice(&bytes);
        if let Ok(read) = ClientMessage::decode(Codec::MsgPack, &message) {
            let ClientMessage::Publish { data, .. } = &read else { panic!("not a publish") };
            prop_assert_eq!(validate_payload(data.get().as_bytes()), Ok(()));
            let again = ClientMessage::decode(Codec::MsgPack, &read.encode(Codec::MsgPack)).expect("own message");
            prop_assert_eq!(client_text(&again), client_text(&read));
        }
    }

    #[test]
    fn what_another_parser_refuses_is_no_payload(text in "[\\[\\]{}:,\"\\\\0-9eE.+\\-a-fnrtu ]{0,24}") {
        let elsewhere = serde_json::from_str::<Value>(&text).is_ok();
        prop_assert_eq!(validate_payload(text.as_bytes()).is_ok(), elsewhere);
    }

    #[test]
    fn a_channel_that_parses_is_of_the_grammar(text in "[a-cA-C0-9_:*.> -]{0,20}") {
        if let Ok(channel) = Channel::parse(&text) {
            prop_assert_eq!(channel.as_str(), &text);
            let segments: Vec<&str> = channel.segments().collect();
            prop_assert!((1..=4).contains(&segments.len()));
            let is_plain = |segment: &&str| {
                !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            };
            let (last, before) = segments.split_last().expect("at least one");
            prop_assert!(before.iter().all(is_plain));
            prop_assert!(is_plain(last) || (*last == "*" && !before.is_empty()));
        }
    }

    #[test]
    fn cursors_come_back(epoch in epoch(), seq in any::<u64>(), ts_ms in any::<i64>()) {
        let cursor = Cursor { epoch, seq, ts_ms };
        let text = cursor.to_string();
        prop_assert!(text.len() <= odin_protocol::cursor::MAX_CURSOR_BYTES);
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
        prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor));
    }

    #[test]
    fn raw_data_goes_through_json_untouched(data in json_value()) {
        let spaced = serde_json::to_string_pretty(&data).expect("a value is JSON");
        let data = RawValue::from_string(spaced.clone()).expect("JSON");
        let message = ClientMessage::Publish { id: None, channel: "a".to_owned(), data };
        let ClientMessage::Publish { data: read, .. } =
            ClientMessage::decode(Codec::Json, &message.encode(Codec::Json)).expect("own JSON") else {
            panic!("not a publish");
        };
        prop_assert_eq!(read.get(), spaced.trim());
    }
}
