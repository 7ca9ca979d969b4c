//! From a readable socket to the messages of a client, with the limits of RFC 6455 and our own.

use odin_protocol::{
    close::CloseCode,
    frame::{Limits, Message, Opcode, encode_close, encode_frame},
};

use super::{
    READ_BYTES, Shard,
    connection::{Closing, Got},
};
use crate::metrics::{CloseReason, Settlement};

/// Reads from one connection before others have their turn.
const READS: usize = 4;

/// Answers a client may leave untaken before we stop reading from it.
const UNANSWERED_BYTES: usize = 64 * 1024;

/// How long a peer may take to answer our close (RFC 6455 §7.1.1 wants the server to close first,
/// and a reset would take the close frame with it).
const CLOSE_WAIT_S: u32 = 3;

impl Shard {
    /// Reads until the socket has nothing more, the connection has had its turn, or it owes us the
    /// reading of our answers.
    pub(super) fn read(&mut self, slot: usize, to_the_end: bool) {
        for _ in 0..READS {
            let Some(connection) = self.connections.get_mut(slot) else {
                return;
            };
            if connection.unanswered() > UNANSWERED_BYTES
                && let Some(outbox) = &mut connection.outbox
            {
                // `catch_up` has it read again when the answers are gone.
                outbox.is_reading_paused = true;
                return;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            let got = connection.read(&mut scratch);
            let is_drained = matches!(got, Got::Bytes(n) if connection.stream.is_drained(n, READ_BYTES));
            if let Got::Bytes(n) = got {
                self.metrics.bytes_in.of(connection.format).add(n as u64);
                self.receive(slot, &mut scratch[..n]);
            }
            self.scratch = scratch;
            match got {
                // An event tells of more, unless the end is behind it.
                Got::Bytes(_) if is_drained && !to_the_end => {
                    self.catch_up(slot);
                    return;
                }
                Got::Bytes(_) => self.catch_up(slot),
                Got::Nothing => return,
                Got::End(reason) => {
                    self.remove(slot, reason);
                    return;
                }
            }
        }
        self.again.push(slot as u32);
    }

    /// Decodes in place and acts on every message that is complete.
    pub(super) fn receive(&mut self, slot: usize, bytes: &mut [u8]) {
        let limits =
            Limits { message_bytes: self.config.limits.message_bytes, fragments: self.config.limits.message_fragments };
        let now_s = self.now_s();
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if !connection.format.is_two_way() {
            // It had its say with its request.
            self.close(slot, CloseCode::PolicyViolation, CloseReason::Policy);
            return;
        }
        connection.heard_s = now_s;
        let mut decoder = std::mem::take(&mut connection.decoder);
        let mut messages = decoder.read(bytes, &limits);
        while let Some(message) = messages.next() {
            if self.connections.get(slot).is_none_or(|c| c.closing.is_some()) {
                break;
            }
            match message {
                Ok(Message::Text(text)) => self.on_message(slot, true, text.as_bytes()),
                Ok(Message::Binary(data)) => self.on_message(slot, false, data),
                Ok(Message::Ping(data)) => {
                    if self.may_ping(slot) {
                        encode_frame(Opcode::Pong, data, &mut self.outbox(slot).answers);
                    }
                }
                Ok(Message::Pong(_)) => self.metrics.pongs_in.add(1),
                Ok(Message::Close(code)) => self.on_close(slot, code.map(|(code, _)| code)),
                Err(violation) => {
                    tracing::debug!(serial = self.connections[slot].serial, violation = violation.name(), "closed");
                    let (code, reason) = (violation.close_code(), close_reason(violation.close_code()));
                    self.close_with(slot, code, violation.name(), reason);
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.decoder = decoder;
        }
    }

    /// Whether a ping is within the limit. What is beyond it goes unanswered, as if the next pong
    /// were for it too (RFC 6455 §5.5.3); far beyond it the connection is closed.
    fn may_ping(&mut self, slot: usize) -> bool {
        let limit = self.config.limits.pings_per_second;
        let connection = &mut self.connections[slot];
        connection.pings = connection.pings.saturating_add(1);
        let pings = u32::from(connection.pings);
        if pings > limit.saturating_mul(10) {
            self.close(slot, CloseCode::PolicyViolation, CloseReason::RateLimited);
        }
        pings <= limit
    }

    fn on_message(&mut self, slot: usize, is_text: bool, data: &[u8]) {
        if cfg!(feature = "echo") {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            encode_frame(opcode, data, &mut self.outbox(slot).answers);
            return;
        }
        let connection = &mut self.connections[slot];
        let format = connection.format;
        self.metrics.messages_in.of(format).add(1);
        if format.codec().is_text() == is_text {
            self.on_client_message(slot, data);
        } else {
            self.close(slot, CloseCode::UnsupportedData, CloseReason::ProtocolError);
        }
    }

    /// The peer's close: echoed once everything before it is written, then the socket is closed.
    fn on_close(&mut self, slot: usize, code: Option<u16>) {
        let answers = &mut self.outbox(slot).answers;
        match code {
            Some(code) => encode_close(code, "", answers),
            None => encode_frame(Opcode::Close, &[], answers),
        }
        self.start_closing(slot, CloseReason::Normal, false);
    }

    /// Tells the client why, and closes.
    pub(super) fn close(&mut self, slot: usize, code: CloseCode, reason: CloseReason) {
        self.close_with(slot, code.code(), code.reason(), reason);
    }

    fn close_with(&mut self, slot: usize, code: u16, text: &str, reason: CloseReason) {
        if self.connections[slot].closing.is_none() {
            let format = self.connections[slot].format;
            format.append_close(code, text, &mut self.outbox(slot).answers);
            self.start_closing(slot, reason, format.is_two_way());
        }
    }

    /// From here on the connection gets nothing but what its outbox holds.
    fn start_closing(&mut self, slot: usize, reason: CloseReason, await_peer: bool) {
        let until_s = self.now_s() + CLOSE_WAIT_S;
        let connection = &mut self.connections[slot];
        connection.closing = Some(Closing { reason, until_s, await_peer });
        let cursors = connection.outbox.as_mut().map(|outbox| std::mem::take(&mut outbox.cursors)).unwrap_or_default();
        let format = connection.format;
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        self.metrics.subscriptions.sub(subscriptions.len() as u64);
        for (subscription, cursor) in subscriptions.iter().zip(&cursors) {
            self.settle_rest(*subscription, cursor, Settlement::Left);
        }
        for subscription in subscriptions {
            self.leave(slot, subscription, format);
        }
    }
}

fn close_reason(code: u16) -> CloseReason {
    match code {
        1007 => CloseReason::InvalidUtf8,
        1009 => CloseReason::TooBig,
        1008 => CloseReason::Policy,
        _ => CloseReason::ProtocolError,
    }
}
