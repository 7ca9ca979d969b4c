//! The two codecs: JSON in text frames, MessagePack in binary frames, with size and depth limits.
//!
//! Both carry the same messages. MessagePack is read by turning it into JSON first, so there is one reader
//! of messages and one set of rules; what JSON cannot say (binary, extensions, NaN) is refused.

mod msgpack;
mod text;
mod walk;

pub use msgpack::MsgPackError;
pub(crate) use msgpack::to_json;

use crate::cursor::Epoch;
use crate::{JSON_PROTOCOL, MSGPACK_PROTOCOL};

/// Deepest nesting of a payload, and of each member of a client's message.
pub const MAX_DEPTH: usize = 64;

/// How messages are written: chosen once per connection by its sub-protocol.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// `odin.v1.json`, text frames.
    Json,
    /// `odin.v1.msgpack`, binary frames.
    MsgPack,
}

impl Codec {
    /// Both codecs, in the order of [`Codec::index`].
    pub const ALL: [Codec; 2] = [Codec::Json, Codec::MsgPack];

    /// The codec of a sub-protocol name. Names are compared exactly, as RFC 6455 wants.
    pub fn from_protocol(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.protocol() == name)
    }

    /// The first known sub-protocol of a client's offer, in the client's order.
    pub fn negotiate<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Codec> {
        offered.into_iter().find_map(Codec::from_protocol)
    }

    /// The sub-protocol name.
    pub const fn protocol(self) -> &'static str {
        match self {
            Codec::Json => JSON_PROTOCOL,
            Codec::MsgPack => MSGPACK_PROTOCOL,
        }
    }

    /// Whether messages travel in text frames; else in binary ones.
    pub const fn is_text(self) -> bool {
        matches!(self, Codec::Json)
    }

    /// 0 or 1: the place of the codec in an array that has one entry for each.
    pub const fn index(self) -> usize {
        match self {
            Codec::Json => 0,
            Codec::MsgPack => 1,
        }
    }
}

/// Why bytes are not an acceptable payload.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A byte that is not part of UTF-8 text.
    #[error("payload is not UTF-8 after byte {valid_up_to}")]
    NotUtf8 {
        /// Bytes before the fault.
        valid_up_to: usize,
    },
    /// Not exactly one JSON value, a number outside the range of a double, or a lone surrogate.
    #[error("payload is not one JSON value, at line {line} column {column}")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes; 0 if the line had not begun.
        column: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("payload nests deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Checks a publisher's payload: UTF-8, exactly one JSON value, nested at most [`MAX_DEPTH`] deep.
///
/// What passes can be put into a JSON update untouched and turned into MessagePack: numbers fit a double and
/// strings are well-formed Unicode. Members that appear twice are not looked for.
///
/// # Errors
/// The first fault, with its place.
pub fn validate_payload(bytes: &[u8]) -> Result<(), PayloadError> {
    let text =
        std::str::from_utf8(bytes).map_err(|fault| PayloadError::NotUtf8 { valid_up_to: fault.valid_up_to() })?;
    walk::walk(text, MAX_DEPTH, &mut walk::Nothing)
}

/// Everything of an `update` but its data.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct UpdateHead<'a> {
    /// The concrete channel, never a pattern.
    pub channel: &'a str,
    /// Which subject of the channel, where the channel covers several without naming them.
    pub key: Option<&'a str>,
    /// Sequence in the stream, at most 2^53 - 1.
    pub seq: u64,
    /// Previous sequence of the same subject, 0 if none; absent in a snapshot and where it is not known.
    pub prev: Option<u64>,
    /// Stream time, in milliseconds since 1970.
    pub ts_ms: i64,
    /// The stream the sequences belong to.
    pub epoch: Epoch,
    /// Whether this is the last stored value, sent on subscribe: the start of a chain.
    pub snapshot: bool,
}

/// Appends an `update` message to `out`: the hot path.
///
/// JSON is the head and then the payload's bytes, untouched and not looked at again: they must have passed
/// [`validate_payload`]. MessagePack is the head and the payload transcoded. Nothing is allocated beyond `out`
/// (transcoding borrows a buffer only for strings with escapes).
///
/// # Errors
/// MessagePack only: a payload that [`validate_payload`] refuses. `out` is then as it was.
pub fn encode_update(
    codec: Codec,
    head: &UpdateHead<'_>,
    payload_json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    match codec {
        Codec::Json => {
            encode_json_update(head, payload_json, out);
            Ok(())
        }
        Codec::MsgPack => {
            let start = out.len();
            let outcome = encode_msgpack_update(head, payload_json, out);
            if outcome.is_err() {
                out.truncate(start);
            }
            outcome
        }
    }
}

fn encode_json_update(head: &UpdateHead<'_>, payload_json: &[u8], out: &mut Vec<u8>) {
    // 160 covers every member name, the punctuation and the longest numbers.
    let names = head.channel.len() + head.key.map_or(0, str::len);
    out.reserve(160 + names + payload_json.len());
    out.extend_from_slice(br#"{"type":"update","channel":"#);
    text::put_str(head.channel, out);
    if let Some(key) = head.key {
        out.extend_from_slice(br#","key":"#);
        text::put_str(key, out);
    }
    out.extend_from_slice(br#","seq":"#);
    text::put_u64(head.seq, out);
    if let Some(prev) = head.prev {
        out.extend_from_slice(br#","prev":"#);
        text::put_u64(prev, out);
    }
    out.extend_from_slice(br#","ts":"#);
    text::put_i64(head.ts_ms, out);
    out.extend_from_slice(br#","epoch":""#);
    out.extend_from_slice(head.epoch.as_str().as_bytes());
    out.push(b'"');
    if head.snapshot {
        out.extend_from_slice(br#","snapshot":true"#);
    }
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(payload_json);
    out.push(b'}');
}

fn encode_msgpack_update(head: &UpdateHead<'_>, payload_json: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let text = std::str::from_utf8(payload_json)
        .map_err(|fault| PayloadError::NotUtf8 { valid_up_to: fault.valid_up_to() })?;
    out.reserve(160 + head.channel.len() + head.key.map_or(0, str::len) + payload_json.len());
    let optional = [head.key.is_some(), head.prev.is_some(), head.snapshot];
    // A map of at most 9 members is one byte: 0x80 and the number of them.
    out.push(0x86 + optional.into_iter().filter(|is_there| *is_there).count() as u8);
    msgpack::put_str("type", out);
    msgpack::put_str("update", out);
    msgpack::put_str("channel", out);
    msgpack::put_str(head.channel, out);
    if let Some(key) = head.key {
        msgpack::put_str("key", out);
        msgpack::put_str(key, out);
    }
    msgpack::put_str("seq", out);
    msgpack::put_u64(head.seq, out);
    if let Some(prev) = head.prev {
        msgpack::put_str("prev", out);
        msgpack::put_u64(prev, out);
    }
    msgpack::put_str("ts", out);
    msgpack::put_i64(head.ts_ms, out);
    msgpack::put_str("epoch", out);
    msgpack::put_str(head.epoch.as_str(), out);
    if head.snapshot {
        msgpack::put_str("snapshot", out);
        out.push(0xc3);
    }
    msgpack::put_str("data", out);
    walk::walk(text, MAX_DEPTH, out)
}

/// Appends a whole message, written as JSON, to `out` as MessagePack.
pub(crate) fn message_to_msgpack(json: &str, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    walk::walk(json, MAX_DEPTH + 1, out)
}
