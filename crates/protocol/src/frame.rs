//! RFC 6455 frames, server side: a frame encoder and a strict inbound [`Decoder`].
//!
//! No sockets and no clock: bytes go in, messages come out. The decoder unmasks in place in the buffer the caller read
//! into, so a complete unfragmented message costs no allocation, and it keeps nothing at all for a connection of which
//! no frame or message is incomplete.
//!
//! It refuses to be lenient. Whatever RFC 6455 forbids a client ends the connection with a [`Violation`], as early as
//! the bytes that prove it have arrived; no extension is ever negotiated, so all reserved bits are violations too.
//!
//! ```
//! use odin_protocol::frame::{Decoder, Limits, Message};
//!
//! let limits = Limits { message_bytes: 64 * 1024, fragments: 256 };
//! let mut decoder = Decoder::default();
//! // "Hi" as a browser sends it: FIN and text, masked and two bytes long, masking key, payload.
//! let mut received = *b"\x81\x82\x01\x02\x03\x04\x49\x6b";
//! let mut messages = decoder.read(&mut received, &limits);
//! while let Some(message) = messages.next() {
//!     assert_eq!(message, Ok(Message::Text("Hi")));
//! }
//! assert!(decoder.is_idle());
//! ```

mod decoder;
mod header;
mod mask;
mod partial;
#[cfg(test)]
mod tests;

use std::str;

use thiserror::Error;

pub use decoder::{Decoder, Messages};

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// The longest reason of a close frame, in bytes: a control frame less the code.
pub const MAX_CLOSE_REASON_BYTES: usize = MAX_CONTROL_BYTES - 2;

/// What a frame carries (RFC 6455 §5.2). The reserved opcodes have no variant: they are a violation.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message begun before.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of one direction of the connection.
    Close = 0x8,
    /// To be answered by a pong with the same payload.
    Ping = 0x9,
    /// The answer to a ping, or unsolicited.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is a close, ping or pong frame.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// The opcode of these four bits, if it is one.
    const fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }
}

/// What one connection may send, whatever it declares.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most payload bytes of one message, all its fragments together.
    pub message_bytes: usize,
    /// Most frames of one message, empty ones included. An unfragmented message always passes.
    pub fragments: u32,
}

/// One message or control frame of the client, unmasked and checked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping, at most 125 bytes, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong, at most 125 bytes.
    Pong(&'a [u8]),
    /// The client's last frame: its code and reason, if it gave any. Nothing is decoded after it.
    Close(Option<(u16, &'a str)>),
}

impl<'a> Message<'a> {
    /// Checks the payload of a complete message or control frame.
    fn new(opcode: Opcode, payload: &'a [u8]) -> Result<Message<'a>, Violation> {
        match opcode {
            Opcode::Text => match str::from_utf8(payload) {
                Ok(text) => Ok(Message::Text(text)),
                Err(_) => Err(Violation::InvalidUtf8),
            },
            // The decoder names an assembled message by its first frame, so a continuation never comes here.
            Opcode::Binary | Opcode::Continuation => Ok(Message::Binary(payload)),
            Opcode::Ping => Ok(Message::Ping(payload)),
            Opcode::Pong => Ok(Message::Pong(payload)),
            Opcode::Close => Message::close(payload),
        }
    }

    /// RFC 6455 §5.5.1: nothing, or a code and a reason.
    fn close(payload: &'a [u8]) -> Result<Message<'a>, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(Message::Close(None)) } else { Err(Violation::CloseTooShort) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::InvalidCloseCode);
        }
        match str::from_utf8(reason) {
            Ok(reason) => Ok(Message::Close(Some((code, reason)))),
            Err(_) => Err(Violation::InvalidCloseReason),
        }
    }
}

/// Whether a close frame may carry this code: RFC 6455 §7.4.1 and §7.4.2 with IANA's later 1012–1014. 1004 is undefined;
/// 1005, 1006 and 1015 only ever describe a close that had no frame.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// How a client broke RFC 6455 or the limits. The connection must be closed with [`Violation::close_code`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Error)]
pub enum Violation {
    /// §5.1: every frame of a client is masked.
    #[error("frame is not masked")]
    Unmasked,
    /// §5.2: a reserved bit is set though no extension was negotiated.
    #[error("reserved bit is set")]
    ReservedBit,
    /// §5.2: opcode 3–7 or 11–15.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// §5.5: a control frame without FIN.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// §5.5: a control frame of more than 125 bytes.
    #[error("control frame is longer than 125 bytes")]
    ControlTooLong,
    /// §5.2: a length written in more bytes than it needs.
    #[error("length is not in its shortest form")]
    LengthNotMinimal,
    /// §5.2: a 64-bit length with its highest bit set.
    #[error("length is 2^63 or more")]
    LengthOutOfRange,
    /// §5.4: a continuation frame, and nothing to continue.
    #[error("continuation without a message to continue")]
    UnexpectedContinuation,
    /// §5.4: a new text or binary frame before the last fragment of the message before.
    #[error("new message inside a fragmented message")]
    UnfinishedMessage,
    /// §10.4: more bytes in one message than [`Limits::message_bytes`], by what its headers declare.
    #[error("message is over the size limit")]
    MessageTooBig,
    /// §10.4: more frames in one message than [`Limits::fragments`].
    #[error("message has too many fragments")]
    TooManyFragments,
    /// §8.1: text that is not UTF-8, or cannot become it any more.
    #[error("text is not utf-8")]
    InvalidUtf8,
    /// §5.5.1: a close frame with half a code.
    #[error("close frame of one byte")]
    CloseTooShort,
    /// §7.4: a close code that no frame may carry.
    #[error("close code is invalid")]
    InvalidCloseCode,
    /// §5.5.1: a close reason that is not UTF-8.
    #[error("close reason is not utf-8")]
    InvalidCloseReason,
}

impl Violation {
    /// Every violation, for tables of metric labels.
    pub const ALL: [Violation; 15] = [
        Violation::Unmasked,
        Violation::ReservedBit,
        Violation::ReservedOpcode,
        Violation::FragmentedControl,
        Violation::ControlTooLong,
        Violation::LengthNotMinimal,
        Violation::LengthOutOfRange,
        Violation::UnexpectedContinuation,
        Violation::UnfinishedMessage,
        Violation::MessageTooBig,
        Violation::TooManyFragments,
        Violation::InvalidUtf8,
        Violation::CloseTooShort,
        Violation::InvalidCloseCode,
        Violation::InvalidCloseReason,
    ];

    /// The code to close with (RFC 6455 §7.4.1): 1007 for text that is not UTF-8, 1009 for a message over the size limit,
    /// 1008 for too many fragments (the message itself may be small: it is our policy that refuses it), else 1002.
    pub const fn close_code(self) -> u16 {
        match self {
            Violation::InvalidUtf8 | Violation::InvalidCloseReason => 1007,
            Violation::TooManyFragments => 1008,
            Violation::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    /// A short snake_case name: the metric label, and the reason given to the client.
    pub const fn name(self) -> &'static str {
        match self {
            Violation::Unmasked => "unmasked",
            Violation::ReservedBit => "reserved_bit",
            Violation::ReservedOpcode => "reserved_opcode",
            Violation::FragmentedControl => "fragmented_control",
            Violation::ControlTooLong => "control_too_long",
            Violation::LengthNotMinimal => "length_not_minimal",
            Violation::LengthOutOfRange => "length_out_of_range",
            Violation::UnexpectedContinuation => "unexpected_continuation",
            Violation::UnfinishedMessage => "unfinished_message",
            Violation::MessageTooBig => "message_too_big",
            Violation::TooManyFragments => "too_many_fragments",
            Violation::InvalidUtf8 => "invalid_utf8",
            Violation::CloseTooShort => "close_too_short",
            Violation::InvalidCloseCode => "invalid_close_code",
            Violation::InvalidCloseReason => "invalid_close_reason",
        }
    }
}

/// Appends the header of a server's frame: final, unmasked (§5.1), with the length in its shortest form (§5.2).
///
/// A control frame must not be longer than [`MAX_CONTROL_BYTES`].
pub fn encode_header(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload_len <= MAX_CONTROL_BYTES, "control frame of {payload_len} bytes");
    out.push(0x80 | opcode as u8);
    if let Ok(len @ 0..=125) = u8::try_from(payload_len) {
        out.push(len);
    } else if let Ok(len) = u16::try_from(payload_len) {
        out.push(126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// Appends a whole frame of a server: header and payload. See [`encode_header`].
pub fn encode_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    encode_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason of more than [`MAX_CLOSE_REASON_BYTES`] is cut at the last character that fits.
pub fn encode_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(MAX_CLOSE_REASON_BYTES)];
    encode_header(Opcode::Close, 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason);
}
