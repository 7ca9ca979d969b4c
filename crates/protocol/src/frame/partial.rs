//! What is kept of a connection while a frame or a message is incomplete.

use std::str;

use super::{
    Limits, MAX_CONTROL_BYTES, Opcode, Violation,
    header::{Header, MAX_HEADER_BYTES, Unfinished},
    mask,
};

/// What is incomplete. It exists only while the stage is not [`Stage::Between`] or a message waits for fragments.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) stage: Stage,
    /// The data message that is not complete yet. Control frames may pass between its frames.
    pub(super) message: Option<Assembly>,
    /// The payload of an incomplete control frame.
    pub(super) control: Vec<u8>,
}

/// Where in a frame the input ended.
#[derive(Default)]
pub(super) enum Stage {
    /// Between two frames.
    #[default]
    Between,
    /// Inside a header.
    Header { bytes: [u8; MAX_HEADER_BYTES], len: usize },
    /// Inside a payload.
    Payload(Payload),
    /// After the last frame that counts.
    Over,
}

/// A frame whose payload is incomplete.
pub(super) struct Payload {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The masking key, turned to the next byte.
    pub(super) key: [u8; 4],
    /// Payload bytes still to arrive.
    pub(super) missing: usize,
}

/// A data message whose frames are put together.
pub(super) struct Assembly {
    /// Text or binary.
    pub(super) opcode: Opcode,
    pub(super) data: Vec<u8>,
    /// How much of `data` is known to be UTF-8, if it is text. Behind it stands at most one incomplete character.
    pub(super) checked: usize,
    pub(super) fragments: u32,
}

impl Partial {
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.message.as_ref().map(|message| Unfinished { bytes: message.data.len(), fragments: message.fragments })
    }

    pub(super) fn is_inside_payload(&self) -> bool {
        matches!(&self.stage, Stage::Payload(payload) if payload.missing > 0)
    }

    /// Turns to the payload of a frame.
    pub(super) fn begin(&mut self, header: &Header) {
        match (header.opcode, &mut self.message) {
            (Opcode::Text | Opcode::Binary, message) => {
                *message = Some(Assembly { opcode: header.opcode, data: Vec::new(), checked: 0, fragments: 1 });
            }
            (Opcode::Continuation, Some(message)) => message.fragments += 1,
            _ => {}
        }
        self.stage = Stage::Payload(Payload {
            opcode: header.opcode,
            fin: header.fin,
            key: header.key,
            missing: header.payload_len,
        });
    }

    /// Takes what has arrived of the current payload and returns how many bytes that was.
    pub(super) fn absorb(&mut self, arrived: &mut [u8], limits: &Limits) -> Result<usize, Violation> {
        let Stage::Payload(payload) = &mut self.stage else {
            return Ok(0);
        };
        let taken = payload.missing.min(arrived.len());
        let arrived = &mut arrived[..taken];
        mask::unmask(arrived, payload.key);
        payload.key = mask::advance(payload.key, taken);
        payload.missing -= taken;
        match &mut self.message {
            Some(message) if !payload.opcode.is_control() => {
                // Room for fragments yet to come saves copying; a last frame needs no more than it declares.
                let declared = message.data.len() + taken + payload.missing;
                append(&mut message.data, arrived, if payload.fin { declared } else { limits.message_bytes });
                message.check_text()?;
            }
            _ => append(&mut self.control, arrived, MAX_CONTROL_BYTES),
        }
        Ok(taken)
    }
}

impl Assembly {
    /// Refuses text as soon as no continuation could make it UTF-8 (§8.1). An incomplete character at the end is looked
    /// at again when more has arrived.
    fn check_text(&mut self) -> Result<(), Violation> {
        if self.opcode != Opcode::Text {
            return Ok(());
        }
        match str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidUtf8),
        }
        Ok(())
    }
}

/// Appends `bytes`, at most doubling the buffer, and not past `ceiling` unless the bytes themselves are.
fn append(buffer: &mut Vec<u8>, bytes: &[u8], ceiling: usize) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let capacity = buffer.capacity().saturating_mul(2).min(ceiling).max(needed);
        buffer.reserve_exact(capacity - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}
