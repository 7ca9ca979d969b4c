//! WebSocket frames as a client sees them. The protocol crate has the server's side: it refuses frames without a mask.

use std::ops::Range;

use odin_protocol::frame::{Opcode, encode_header};

/// Longest payload a client must take (`docs/protocol.md`, limits).
pub const MAX_PAYLOAD_BYTES: usize = 262_144;

/// Any key will do: nothing between us and the gateway caches.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A whole frame of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// Where its payload lies.
    pub payload: Range<usize>,
}

/// What a gateway must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A gateway's frames are not masked.
    #[error("a masked frame")]
    Masked,
    /// A gateway never fragments, and no extension is negotiated.
    #[error("a fragment, a reserved bit or a reserved opcode")]
    Unexpected,
    /// Longer than a client must take.
    #[error("a frame that is too long")]
    TooLong,
}

/// The frame at the beginning of `bytes`; `None` while some of it is missing.
///
/// # Errors
/// See [`Fault`].
pub fn cut(bytes: &[u8]) -> Result<Option<Frame>, Fault> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8A => Opcode::Pong,
        _ => return Err(Fault::Unexpected),
    };
    if second & 0x80 != 0 {
        return Err(Fault::Masked);
    }
    let (head, length) = match second {
        126 => (4, bytes.get(2..4).map(|length| u64::from(u16::from_be_bytes([length[0], length[1]])))),
        127 => (10, bytes.get(2..).and_then(|rest| rest.first_chunk()).map(|length| u64::from_be_bytes(*length))),
        short => (2, Some(u64::from(short))),
    };
    let Some(length) = length else { return Ok(None) };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD_BYTES) else {
        return Err(Fault::TooLong);
    };
    let payload = head..head + length;
    Ok((bytes.len() >= payload.end).then_some(Frame { opcode, payload }))
}

/// Appends a whole frame of a client, masked.
pub fn put(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    encode_header(opcode, payload.len(), out);
    out[start + 1] |= 0x80;
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use odin_protocol::frame::{Decoder, Limits, Message, encode_frame};

    use super::*;

    #[test]
    fn cuts_what_a_gateway_sends_at_every_length_and_waits_for_the_rest() {
        for length in [0, 1, 125, 126, 65_535, 65_536, MAX_PAYLOAD_BYTES] {
            let mut bytes = Vec::new();
            encode_frame(Opcode::Binary, &vec![7; length], &mut bytes);
            let frame = cut(&bytes).expect("no fault").expect("it is whole");
            assert_eq!((frame.opcode, frame.payload.len(), frame.payload.end), (Opcode::Binary, length, bytes.len()));
            for missing in 1..=bytes.len().min(12) {
                assert_eq!(cut(&bytes[..bytes.len() - missing]), Ok(None), "{missing} of {length} missing");
            }
        }
    }

    #[test]
    fn refuses_what_a_gateway_must_not_send() {
        assert_eq!(cut(&[0x01, 0]), Err(Fault::Unexpected));
        assert_eq!(cut(&[0xC1, 0]), Err(Fault::Unexpected));
        assert_eq!(cut(&[0x81, 0x80]), Err(Fault::Masked));
        assert_eq!(cut(&[0x82, 127, 0, 0, 0, 0, 0, 4, 0, 1]), Err(Fault::TooLong));
        assert_eq!(cut(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), Err(Fault::TooLong));
    }

    #[test]
    fn a_gateway_understands_what_a_client_puts() {
        let text = "x".repeat(70_000);
        let mut bytes = Vec::new();
        put(Opcode::Text, text.as_bytes(), &mut bytes);
        put(Opcode::Pong, b"1", &mut bytes);
        let limits = Limits { message_bytes: 100_000, fragments: 1 };
        let mut decoder = Decoder::default();
        let mut messages = decoder.read(&mut bytes, &limits);
        assert_eq!(messages.next(), Some(Ok(Message::Text(&text))));
        assert_eq!(messages.next(), Some(Ok(Message::Pong(b"1"))));
        assert!(messages.next().is_none());
    }
}
