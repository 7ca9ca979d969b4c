//! The golden vectors, both ways.

use std::collections::BTreeSet;

use odin_protocol::{
    Channel, ClientMessage, CloseCode, Codec, Cursor, ErrorCode, GapReason, RequestId, ResumeFailure, ServerMessage,
    StaleReason, SystemState, UpdateHead, encode_update, validate_payload,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{client_text, encode_server, hex, path, read, server_text, unhex, vectors};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageCase {
    name: String,
    direction: String,
    json: Box<RawValue>,
    msgpack: String,
}

#[test]
fn client_messages_are_read_and_written_as_the_vectors_say() {
    for case in vectors::<MessageCase>("client_messages.json") {
        let MessageCase { name, direction, json, msgpack } = case;
        assert_eq!(direction, "client", "{name}");
        let from_json = ClientMessage::decode(Codec::Json, json.get().as_bytes()).expect(&name);
        assert_eq!(client_text(&from_json), json.get(), "{name}");
        assert_eq!(hex(&from_json.encode(Codec::MsgPack)), msgpack, "{name}");
        let from_msgpack = ClientMessage::decode(Codec::MsgPack, &unhex(&msgpack)).expect(&name);
        assert_eq!(client_text(&from_msgpack), json.get(), "{name}");
    }
}

#[test]
fn gateway_messages_are_read_and_written_as_the_vectors_say() {
    for case in vectors::<MessageCase>("server_messages.json") {
        let MessageCase { name, direction, json, msgpack } = case;
        assert_eq!(direction, "server", "{name}");
        let from_json = ServerMessage::decode(Codec::Json, json.get().as_bytes()).expect(&name);
        assert!(!matches!(from_json, ServerMessage::Unknown), "{name}");
        assert_eq!(server_text(&from_json), json.get(), "{name}");
        assert_eq!(hex(&encode_server(&from_json, Codec::MsgPack)), msgpack, "{name}");
        let from_msgpack = ServerMessage::decode(Codec::MsgPack, &unhex(&msgpack)).expect(&name);
        assert_eq!(server_text(&from_msgpack), json.get(), "{name}");
    }
}

#[test]
fn every_reason_and_code_of_gateway_messages_is_known_to_this_version() {
    for case in vectors::<MessageCase>("server_messages.json") {
        let known = match ServerMessage::decode(Codec::Json, case.json.get().as_bytes()).expect("read before") {
            ServerMessage::Subscribed { reason, .. } => reason != Some(ResumeFailure::Unknown),
            ServerMessage::Gap { reason, .. } => reason != GapReason::Unknown,
            ServerMessage::Stale { reason, .. } => reason != Some(StaleReason::Unknown),
            ServerMessage::System { status, .. } => status != SystemState::Unknown,
            ServerMessage::Error(error) => error.code != ErrorCode::Unknown,
            _ => true,
        };
        assert!(known, "{}", case.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodeErrorCase {
    name: String,
    codec: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    hex: Option<String>,
    code: String,
    id: Option<RequestId>,
}

#[test]
fn bad_messages_are_refused_with_the_code_and_id_of_the_vectors() {
    for case in vectors::<DecodeErrorCase>("decode_errors.json") {
        let name = case.name;
        let codec = if case.codec == "json" { Codec::Json } else { Codec::MsgPack };
        let bytes = input(case.text.as_deref(), case.hex.as_deref());
        match ClientMessage::decode(codec, &bytes) {
            Ok(message) => panic!("{name}: read as {message:?}"),
            Err(error) => {
                assert_eq!(error.code.as_str(), case.code, "{name}: {error}");
                assert_eq!(error.id, case.id, "{name}: {error}");
                assert!(!error.message.is_empty(), "{name}");
            }
        }
    }
}

fn input(text: Option<&str>, hex: Option<&str>) -> Vec<u8> {
    match (text, hex) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(hex)) => unhex(hex),
        _ => panic!("a case has either text or hex"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadCase {
    name: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    hex: Option<String>,
    valid: bool,
    #[serde(default)]
    msgpack: Option<String>,
}

#[test]
fn payloads_are_checked_and_transcoded_as_the_vectors_say() {
    let head = UpdateHead {
        channel: "a",
        key: None,
        seq: 1,
        prev: None,
        ts_ms: 0,
        epoch: "00000000".parse().expect("an epoch"),
        snapshot: false,
    };
    let mut before = Vec::new();
    encode_update(Codec::MsgPack, &head, b"null", &mut before).expect("null is a payload");
    before.pop();
    for case in vectors::<PayloadCase>("payloads.json") {
        let name = case.name;
        let bytes = input(case.text.as_deref(), case.hex.as_deref());
        let mut out = b"kept".to_vec();
        let outcome = encode_update(Codec::MsgPack, &head, &bytes, &mut out);
        assert_eq!(validate_payload(&bytes), outcome, "{name}");
        assert_eq!(outcome.is_ok(), case.valid, "{name}: {outcome:?}");
        if case.valid {
            let data = out.strip_prefix(b"kept").and_then(|rest| rest.strip_prefix(&before[..]));
            assert_eq!(data.map(hex), case.msgpack, "{name}");
        } else {
            assert_eq!(out, b"kept", "{name}");
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChannelCase {
    text: String,
    valid: bool,
    pattern: Option<bool>,
    covers: Option<Vec<String>>,
    covers_not: Option<Vec<String>>,
}

#[test]
fn channel_names_follow_the_grammar_of_the_vectors() {
    for case in vectors::<ChannelCase>("channels.json") {
        let text = &case.text;
        let Ok(channel) = Channel::parse(text) else {
            assert!(!case.valid, "{text:?}");
            continue;
        };
        assert!(case.valid, "{text:?}");
        assert_eq!(channel.as_str(), text);
        assert_eq!(Some(channel.is_pattern()), case.pattern, "{text:?}");
        let covers = |other: &String| channel.matches(&Channel::parse(other).expect("a case names valid channels"));
        assert!(case.covers.unwrap_or_default().iter().all(covers), "{text:?}");
        assert!(!case.covers_not.unwrap_or_default().iter().any(covers), "{text:?}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CursorCase {
    text: String,
    valid: bool,
    epoch: Option<String>,
    seq: Option<String>,
    ts: Option<String>,
}

#[test]
fn cursors_are_read_and_written_as_the_vectors_say() {
    for case in vectors::<CursorCase>("cursors.json") {
        let text = &case.text;
        let Ok(cursor) = text.parse::<Cursor>() else {
            assert!(!case.valid, "{text:?}");
            continue;
        };
        assert!(case.valid, "{text:?}");
        assert_eq!(&cursor.to_string(), text);
        assert_eq!(Some(cursor.epoch.to_string()), case.epoch, "{text:?}");
        assert_eq!(Some(cursor.seq.to_string()), case.seq, "{text:?}");
        assert_eq!(Some(cursor.ts_ms.to_string()), case.ts, "{text:?}");
    }
}

/// Compares a table of the code with its file, or writes it when `ODIN_WRITE_TABLES` is set.
fn assert_table(file: &str, cases: Vec<Value>) {
    let lines: Vec<String> = cases.iter().map(|case| format!("  {case}")).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("ODIN_WRITE_TABLES").is_some() {
        std::fs::write(path(&format!("vectors/{file}")), text).expect("vectors can be written");
        return;
    }
    let stored: Value = serde_json::from_str(&read(&format!("vectors/{file}"))).expect(file);
    assert_eq!(stored, Value::Array(cases), "{file}; ODIN_WRITE_TABLES=1 writes it anew");
}

#[test]
fn close_codes_are_those_of_the_vectors() {
    let case = |code: &CloseCode| {
        json!({
            "code": code.code(),
            "name": code.name(),
            "reason": code.reason(),
            "reconnect": code.reconnect().as_str(),
            "meaning": code.meaning(),
        })
    };
    assert_table("close_codes.json", CloseCode::ALL.iter().map(case).collect());
}

#[test]
fn error_codes_are_those_of_the_vectors() {
    let case = |code: &ErrorCode| {
        json!({
            "code": code.as_str(),
            "meaning": code.meaning(),
            "retry": code.retry(),
            "strike": code.is_strike(),
        })
    };
    assert_table("error_codes.json", ErrorCode::ALL.iter().map(case).collect());
}

#[test]
fn reasons_are_those_of_the_vectors() {
    let row = |kind: &str, name: &str, meaning: &str| json!({"kind": kind, "name": name, "meaning": meaning});
    let mut cases = Vec::new();
    cases.extend(ResumeFailure::ALL.iter().map(|it| row("resume", it.as_str(), it.meaning())));
    cases.extend(GapReason::ALL.iter().map(|it| row("gap", it.as_str(), it.meaning())));
    cases.extend(StaleReason::ALL.iter().map(|it| row("stale", it.as_str(), it.meaning())));
    cases.extend(SystemState::ALL.iter().map(|it| row("system", it.as_str(), it.meaning())));
    assert_table("reasons.json", cases);
}

#[test]
fn names_are_distinct_and_close_reasons_fit_a_close_frame() {
    let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    let numbers: Vec<u16> = CloseCode::ALL.iter().map(|code| code.code()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    for code in CloseCode::ALL {
        assert!(code.reason().len() <= 123, "{code:?}");
        assert_eq!(CloseCode::from_u16(code.code()), Some(*code));
        match code.code() {
            4000..=4399 => assert_ne!(code.reconnect().as_str(), "never", "{code:?}"),
            4400..=4999 => assert_eq!(code.reconnect().as_str(), "never", "{code:?}"),
            _ => {}
        }
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_name(code.as_str()), *code);
    }
}
