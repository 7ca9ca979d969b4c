//! One frame header (RFC 6455 §5.2), and all that can be refused by it before any payload arrives.

use super::{Limits, MAX_CONTROL_BYTES, Opcode, Violation};

/// The longest header: two bytes, eight of length, four of masking key.
pub(super) const MAX_HEADER_BYTES: usize = 14;

/// A complete and acceptable header.
#[derive(Copy, Clone, Debug)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// Payload bytes declared, within the limits.
    pub(super) payload_len: usize,
    pub(super) key: [u8; 4],
    /// Bytes of the header itself.
    pub(super) size: usize,
}

/// The fragmented message that a frame arrives in the midst of.
#[derive(Copy, Clone, Debug)]
pub(super) struct Unfinished {
    /// Payload bytes so far.
    pub(super) bytes: usize,
    /// Frames so far.
    pub(super) fragments: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if more bytes are needed.
    ///
    /// Each byte is judged before the next one is looked at, so a violation is found as soon as it has arrived, and is
    /// the same one however the bytes were split.
    pub(super) fn parse(
        bytes: &[u8],
        unfinished: Option<Unfinished>,
        limits: &Limits,
    ) -> Result<Option<Header>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (opcode, fin) = first_byte(first, unfinished, limits)?;

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short_len = second & 0x7F;
        if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_BYTES {
            return Err(Violation::ControlTooLong);
        }

        let Some((len, mut rest)) = extended_len(short_len, &bytes[2..])? else {
            return Ok(None);
        };
        let payload_len = match usize::try_from(len) {
            Ok(payload_len) if opcode.is_control() || fits(payload_len, unfinished, limits) => payload_len,
            _ => return Err(Violation::MessageTooBig),
        };

        let Some(key) = rest.split_off(..4) else {
            return Ok(None);
        };
        let key = [key[0], key[1], key[2], key[3]];
        Ok(Some(Header { opcode, fin, payload_len, key, size: bytes.len() - rest.len() }))
    }
}

/// Opcode and FIN, if the frame may stand where it stands (§5.4).
fn first_byte(byte: u8, unfinished: Option<Unfinished>, limits: &Limits) -> Result<(Opcode, bool), Violation> {
    if byte & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::from_bits(byte & 0x0F).ok_or(Violation::ReservedOpcode)?;
    let fin = byte & 0x80 != 0;
    let fragments_before = match (opcode, unfinished) {
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if fin => return Ok((opcode, fin)),
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
            return Err(Violation::FragmentedControl);
        }
        (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::UnfinishedMessage),
        (Opcode::Text | Opcode::Binary, None) if fin => return Ok((opcode, fin)),
        (Opcode::Text | Opcode::Binary, None) => 0,
        (Opcode::Continuation, Some(message)) => message.fragments,
    };
    if fragments_before >= limits.fragments {
        return Err(Violation::TooManyFragments);
    }
    Ok((opcode, fin))
}

/// The declared length and what follows it; `None` if it has not arrived whole.
fn extended_len(short_len: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (len, rest, shortest) = match short_len {
        126 => match bytes.split_first_chunk::<2>() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest, 126),
            None => return Ok(None),
        },
        127 => match bytes.split_first_chunk::<8>() {
            Some((len, rest)) => (u64::from_be_bytes(*len), rest, 1 << 16),
            None => return Ok(None),
        },
        short => (u64::from(short), bytes, 0),
    };
    if len >> 63 != 0 {
        return Err(Violation::LengthOutOfRange);
    }
    if len < shortest {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}

/// Whether the message stays within the limit with `payload_len` bytes more.
fn fits(payload_len: usize, unfinished: Option<Unfinished>, limits: &Limits) -> bool {
    let before = unfinished.map_or(0, |message| message.bytes);
    payload_len <= limits.message_bytes.saturating_sub(before)
}
