//! What travels between a gateway and its clients: messages, channel names, cursors, codecs, frames.
//!
//! | module | one thing |
//! |---|---|
//! | [`channel`] | the name of a channel: parsed once, then trusted |
//! | [`cursor`] | a position in the stream: epoch, sequence, time |
//! | [`message`] | what a client may say, what a gateway answers |
//! | [`codec`] | JSON and MessagePack, payload checks, the hot path of an update |
//! | [`close`] | close codes: number, reason, may the client return |
//! | [`error`] | error codes: why a request was refused |
//! | [`frame`] | RFC 6455 frames, strict, without I/O |
//!
//! The crate has no sockets, no async and no clock. `docs/protocol.md` is the normative text; tests compare
//! its tables with this code, and `vectors/*.json` holds golden messages for the tests of every language.
//!
//! ```
//! use odin_protocol::{ClientMessage, Codec};
//!
//! let message = ClientMessage::decode(Codec::Json, br#"{"type":"ping","id":3}"#)?;
//! assert_eq!(message.encode(Codec::MsgPack), b"\x82\xa4type\xa4ping\xa2id\x03");
//! # Ok::<(), odin_protocol::DecodeError>(())
//! ```

pub mod channel;
pub mod close;
pub mod codec;
pub mod cursor;
pub mod error;
pub mod frame;
pub mod message;
mod names;

pub use channel::{Channel, ChannelError};
pub use close::{CloseCode, Reconnect};
pub use codec::{Codec, PayloadError, UpdateHead, encode_update, validate_payload};
pub use cursor::{Cursor, CursorError, Epoch};
pub use error::{ErrorCode, GapReason, ResumeFailure, StaleReason};
pub use message::{
    ChannelRequest, ClientMessage, ConnectionStatus, DecodeError, ErrorMessage, Mode, RequestId, Secret, ServerMessage,
    SystemState, Update,
};

/// The sub-protocol of JSON messages in text frames.
pub const JSON_PROTOCOL: &str = "odin.v1.json";
/// The sub-protocol of MessagePack messages in binary frames.
pub const MSGPACK_PROTOCOL: &str = "odin.v1.msgpack";
/// The largest integer every client language reads exactly: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
