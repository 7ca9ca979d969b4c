//! From received bytes to messages, whatever way the bytes were split.

use std::{fmt, mem, ops::Range};

use super::{
    Limits, Message, Opcode, Violation,
    header::{Header, MAX_HEADER_BYTES},
    mask,
    partial::{Partial, Stage},
};

/// The inbound half of one connection, server side.
///
/// One pointer in size, and null whenever no frame and no message is incomplete, which is nearly always. What is
/// incomplete is kept on the heap: the bytes that have arrived, never memory for what a header only promised. The buffer
/// at most doubles as it grows and never passes [`Limits::message_bytes`].
///
/// After a close frame or a violation the stream is over, and all further input is ignored.
#[derive(Default)]
pub struct Decoder(Option<Box<Partial>>);

const _: () = assert!(size_of::<Decoder>() == size_of::<usize>());

impl Decoder {
    /// Decodes `input`, the bytes that follow those given before. It is unmasked in place, so its content afterwards is
    /// of no use to anybody else.
    ///
    /// Call [`Messages::next`] until it returns `None`: bytes not decoded by then are lost, and the rest of the stream
    /// with them. To stop for good after a close frame or a violation is fine.
    ///
    /// The limits may differ from one call to the next; a frame is held to those in force when its header is read.
    pub fn read<'a>(&'a mut self, input: &'a mut [u8], limits: &'a Limits) -> Messages<'a> {
        Messages { decoder: self, input, position: 0, limits, held: Vec::new() }
    }

    /// Whether nothing is incomplete: neither a frame nor a fragmented message.
    pub fn is_idle(&self) -> bool {
        self.0.is_none() || self.is_over()
    }

    /// Whether a close frame or a violation has ended the stream.
    pub fn is_over(&self) -> bool {
        matches!(self.0.as_deref(), Some(Partial { stage: Stage::Over, .. }))
    }

    /// Bytes of heap held for what is incomplete; 0 if nothing is.
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.data.capacity());
            size_of::<Partial>() + message + partial.control.capacity()
        })
    }

    /// Forgets everything and ignores what may still come.
    fn finish(&mut self) {
        self.0 = Some(Box::new(Partial { stage: Stage::Over, ..Partial::default() }));
    }

    /// Lets go of the heap if nothing is incomplete any more.
    fn release(&mut self) {
        self.0.take_if(|partial| matches!(partial.stage, Stage::Between) && partial.message.is_none());
    }
}

/// Says how much is held, not what: payloads do not belong in logs.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("held_bytes", &self.held_bytes()).field("over", &self.is_over()).finish()
    }
}

/// The messages of one input, in order; see [`Decoder::read`].
///
/// It lends: a message lives in the input, or in a buffer here, until the next one is asked for.
pub struct Messages<'a> {
    decoder: &'a mut Decoder,
    input: &'a mut [u8],
    /// How much of `input` has been decoded.
    position: usize,
    limits: &'a Limits,
    /// The payload of a message that had to be put together.
    held: Vec<u8>,
}

/// A complete message or control frame, and where its payload lies.
struct Found {
    opcode: Opcode,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Held,
}

impl Messages<'_> {
    /// The next message or control frame; `None` when the input is used up and what is incomplete has been kept in the
    /// [`Decoder`].
    ///
    /// # Errors
    /// The client broke the protocol or a limit. It is the last thing this connection yields.
    #[expect(clippy::should_implement_trait, reason = "the message borrows from here, as `Iterator` cannot say")]
    pub fn next(&mut self) -> Option<Result<Message<'_>, Violation>> {
        let found = match self.advance() {
            Ok(found) => found?,
            Err(violation) => {
                self.decoder.finish();
                return Some(Err(violation));
            }
        };
        let payload = match found.place {
            Place::Input(range) => &self.input[range],
            Place::Held => &self.held[..],
        };
        let message = Message::new(found.opcode, payload);
        // §5.5.1: the client must not send anything after a close frame; what it sends all the same is not looked at.
        if matches!(message, Ok(Message::Close(_)) | Err(_)) {
            self.decoder.finish();
        }
        Some(message)
    }

    /// Decodes up to the end of the next complete message or control frame.
    fn advance(&mut self) -> Result<Option<Found>, Violation> {
        loop {
            match self.decoder.0.as_deref_mut() {
                Some(Partial { stage: Stage::Over, .. }) => return Ok(None),
                Some(partial @ Partial { stage: Stage::Payload(_), .. }) => {
                    let arrived = &mut self.input[self.position..];
                    self.position += partial.absorb(arrived, self.limits)?;
                    if partial.is_inside_payload() {
                        return Ok(None);
                    }
                    if let Some(found) = self.end_frame() {
                        return Ok(Some(found));
                    }
                }
                _ => {
                    let Some(header) = self.read_header()? else {
                        return Ok(None);
                    };
                    if let Some(range) = self.whole_message(&header) {
                        mask::unmask(&mut self.input[range.clone()], header.key);
                        return Ok(Some(Found { opcode: header.opcode, place: Place::Input(range) }));
                    }
                    self.decoder.0.get_or_insert_default().begin(&header);
                }
            }
        }
    }

    /// Reads a header and steps over it, or keeps its beginning.
    fn read_header(&mut self) -> Result<Option<Header>, Violation> {
        let arrived = &self.input[self.position..];
        if arrived.is_empty() {
            return Ok(None);
        }
        let unfinished = self.decoder.0.as_ref().and_then(|partial| partial.unfinished());

        if let Some(partial) = &mut self.decoder.0
            && let Stage::Header { bytes, len } = &mut partial.stage
        {
            let before = *len;
            *len = MAX_HEADER_BYTES.min(before + arrived.len());
            bytes[before..*len].copy_from_slice(&arrived[..*len - before]);
            let Some(header) = Header::parse(&bytes[..*len], unfinished, self.limits)? else {
                // A header is never longer than the place for it, so all of the input has been copied.
                self.position = self.input.len();
                return Ok(None);
            };
            partial.stage = Stage::Between;
            self.decoder.release();
            self.position += header.size - before;
            return Ok(Some(header));
        }

        match Header::parse(arrived, unfinished, self.limits)? {
            Some(header) => {
                self.position += header.size;
                Ok(Some(header))
            }
            None => {
                let mut bytes = [0; MAX_HEADER_BYTES];
                bytes[..arrived.len()].copy_from_slice(arrived);
                let stage = Stage::Header { bytes, len: arrived.len() };
                self.decoder.0.get_or_insert_default().stage = stage;
                self.position = self.input.len();
                Ok(None)
            }
        }
    }

    /// Steps over the payload if it is in the input and needs nothing before or after it: the path without allocation.
    fn whole_message(&mut self, header: &Header) -> Option<Range<usize>> {
        let alone = header.opcode.is_control() || (header.fin && header.opcode != Opcode::Continuation);
        if !alone || self.input.len() - self.position < header.payload_len {
            return None;
        }
        let start = self.position;
        self.position += header.payload_len;
        Some(start..self.position)
    }

    /// Ends the frame whose payload is complete, and hands its message over if that is complete too.
    fn end_frame(&mut self) -> Option<Found> {
        let partial = self.decoder.0.as_mut()?;
        let Stage::Payload(payload) = mem::take(&mut partial.stage) else {
            return None;
        };
        let opcode = if payload.opcode.is_control() {
            self.held = mem::take(&mut partial.control);
            payload.opcode
        } else if payload.fin {
            let message = partial.message.take()?;
            self.held = message.data;
            message.opcode
        } else {
            return None;
        };
        self.decoder.release();
        Some(Found { opcode, place: Place::Held })
    }
}

/// Says where it stands, not what it holds: payloads do not belong in logs.
impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("decoder", &self.decoder)
            .field("input_bytes", &self.input.len())
            .field("position", &self.position)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
