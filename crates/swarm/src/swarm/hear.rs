//! What a client is told.

use odin_client::{AuthFailure, Parting};
use odin_protocol::{Codec, ErrorCode, ServerMessage, SystemState, frame::Opcode, message::ErrorMessage};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

use super::{Due, POLL_PAUSE_US, Swarm, micros};
use crate::{
    client::Phase,
    frame, http,
    ledger::Judgement,
    news::{Head, Heard},
    plan::Way,
    tally::count,
};

/// What a poll is answered.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    cursor: Box<str>,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// What a stream's `close` says.
#[derive(Debug, Deserialize)]
struct Goodbye {
    code: u16,
}

impl Swarm {
    /// Takes what has come, and says how much of it is done with.
    pub(super) fn take(&mut self, at: usize, bytes: &[u8], now: u64) -> usize {
        let mut taken = 0;
        while self.clients[at].stream.is_some() && taken < bytes.len() {
            let rest = &bytes[taken..];
            let step = match (self.clients[at].way, self.clients[at].phase) {
                (Way::Poll, _) => self.take_answer(at, rest, now),
                (_, Phase::Asked) => self.take_head(at, rest, now),
                (Way::Socket(codec), _) => self.take_frame(at, codec, rest, now),
                (Way::Events, _) => self.take_event(at, rest, now),
            };
            match step {
                Some(size) => taken += size,
                None => break,
            }
        }
        taken
    }

    fn take_head(&mut self, at: usize, bytes: &[u8], now: u64) -> Option<usize> {
        let head = match http::head(bytes) {
            Ok(head) => head?,
            Err(what) => {
                self.fault(at, what);
                return None;
            }
        };
        let is_right = match self.clients[at].way {
            Way::Socket(codec) => head.status == 101 && head.protocol.as_deref() == Some(codec.protocol()),
            _ => head.status == 200,
        };
        if !is_right {
            self.refused(at, head.status, head.retry_after);
            return None;
        }
        let client = &mut self.clients[at];
        self.tally.handshake_us.note(now - client.step_us);
        client.phase = Phase::Greeting;
        Some(head.size)
    }

    fn take_frame(&mut self, at: usize, codec: Codec, bytes: &[u8], now: u64) -> Option<usize> {
        let found = match frame::cut(bytes) {
            Ok(found) => found?,
            Err(fault) => {
                self.fault(at, &fault.to_string());
                return None;
            }
        };
        let payload = &bytes[found.payload.clone()];
        match found.opcode {
            Opcode::Ping => self.send(at, Opcode::Pong, payload),
            Opcode::Close => {
                let client = &mut self.clients[at];
                client.closed = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                // The answer RFC 6455 §5.5.1 asks for. The gateway ends TCP, but who waits for that waits in vain for
                // one that is killed: we have all it had to say.
                self.send(at, Opcode::Close, payload);
                let code = self.clients[at].closed;
                self.part(at, Parting::Closed { code, reason: String::new() });
                return None;
            }
            Opcode::Text | Opcode::Binary if codec.is_text() == (found.opcode == Opcode::Text) => {
                self.message(at, codec, payload, now);
            }
            Opcode::Pong => {}
            _ => self.fault(at, "a frame of the wrong type"),
        }
        Some(found.payload.end)
    }

    fn take_event(&mut self, at: usize, bytes: &[u8], now: u64) -> Option<usize> {
        let event = http::event(bytes)?;
        match event.data {
            Some(data) if event.is_close => {
                let code = serde_json::from_slice::<Goodbye>(data).ok().map(|goodbye| goodbye.code);
                self.part(at, Parting::Closed { code, reason: String::new() });
                return None;
            }
            Some(data) => self.message(at, Codec::Json, data, now),
            None => {}
        }
        Some(event.size)
    }

    fn take_answer(&mut self, at: usize, bytes: &[u8], now: u64) -> Option<usize> {
        let head = match http::head(bytes) {
            Ok(head) => head?,
            Err(what) => {
                self.fault(at, what);
                return None;
            }
        };
        if head.status != 200 {
            self.refused(at, head.status, head.retry_after);
            return None;
        }
        let Some(length) = head.length else {
            self.fault(at, "an answer without a length");
            return None;
        };
        let body = bytes.get(head.size..head.size + length)?;
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
            self.fault(at, "an answer that is none");
            return None;
        };
        self.clients[at].pending = 0;
        if self.clients[at].phase == Phase::Asked {
            self.tally.handshake_us.note(now - self.clients[at].step_us);
            self.tally.connected += 1;
            self.ready(at);
        }
        for message in answer.messages {
            self.message(at, Codec::Json, message.get().as_bytes(), now);
        }
        let client = &mut self.clients[at];
        client.place = Some(answer.cursor);
        if head.is_last {
            self.part(at, Parting::Broken { cause: "end of the connection".to_owned() });
            return None;
        }
        let next = client.step_us + POLL_PAUSE_US;
        if now >= next {
            self.poll_again(at);
        } else {
            self.remind(next, at as u32, Due::Ask);
        }
        Some(head.size + length)
    }

    fn message(&mut self, at: usize, codec: Codec, bytes: &[u8], now: u64) {
        match self.news.read(codec, bytes) {
            Some(Heard::Update(head)) => self.update(at, &head, now),
            Some(Heard::Other(message)) => self.other(at, *message, now),
            None => self.fault(at, "a message that is none"),
        }
    }

    fn update(&mut self, at: usize, head: &Head, now: u64) {
        let client = &mut self.clients[at];
        self.tally.deliveries += 1;
        self.delivered += 1;
        self.tally.snapshots += u64::from(head.snapshot);
        match client.ledger.update(head, &self.news.names) {
            Judgement::Next => {}
            Judgement::Merged => self.tally.merged += 1,
            Judgement::Lost => self.tally.lost += 1,
            Judgement::Overlap => return self.tally.overlap += 1,
            Judgement::Twice => return self.tally.twice += 1,
            Judgement::Reordered => return self.tally.reordered += 1,
            Judgement::Stray => return self.tally.stray += 1,
        }
        // What was stored before the client was there is late by its own absence.
        let stored_us = u64::try_from(head.ts_ms).unwrap_or(0).saturating_mul(1000);
        if head.snapshot || client.phase != Phase::Live || stored_us <= client.live_us {
            return;
        }
        if client.is_slow {
            return self.tally.slow_latency_us.note(now.saturating_sub(stored_us));
        }
        self.tally.stream_latency_us.note(now.saturating_sub(stored_us));
        if head.made_us > 0 {
            self.tally.latency_us.note(now.saturating_sub(head.made_us));
        }
    }

    fn other(&mut self, at: usize, message: ServerMessage, now: u64) {
        let names = &mut self.news.names;
        let client = &mut self.clients[at];
        match message {
            ServerMessage::Status(status) => {
                client.heartbeat_us = status.heartbeat_ms.saturating_mul(1000);
                self.tally.connected += 1;
                match client.way {
                    Way::Events => client.phase = Phase::Subscribing,
                    _ => self.greeted(at),
                }
            }
            ServerMessage::Authenticated { .. } if client.phase == Phase::SigningIn => self.subscribe(at),
            ServerMessage::Subscribed { id, channel, mode, recovered, reason, cursor } => {
                let Some(number) = names.known(&channel) else { return };
                let resumes = client.ledger.begin(number, mode, recovered, reason, cursor.as_deref(), names);
                if resumes && client.is_resuming && client.way != Way::Poll {
                    match (recovered, reason) {
                        (true, _) => self.tally.recovered += 1,
                        (false, Some(reason)) => count(&mut self.tally.not_recovered, reason),
                        // Begun anew by the gateway, which it does only with a reason to; or by churn.
                        (false, None) => count(&mut self.tally.not_recovered, "none"),
                    }
                }
                if id.is_some() || client.way == Way::Events {
                    self.answered(at);
                }
            }
            ServerMessage::Unsubscribed { channel, .. } => {
                if let Some(number) = names.known(&channel) {
                    self.unsubscribed(at, number);
                }
            }
            ServerMessage::Gap { channel, key, until, .. } => {
                self.tally.gaps += 1;
                let key = key.map(|key| names.known(&key));
                if let (Some(channel), None | Some(Some(_))) = (names.known(&channel), key) {
                    client.ledger.gap(channel, key.flatten(), until, names);
                }
            }
            ServerMessage::Checkpoint { cursor } => client.ledger.checkpoint(&cursor),
            ServerMessage::Stale { .. } => self.tally.stale += 1,
            // The close comes at a random moment of the drain window: that is what spreads the reconnects.
            ServerMessage::System { status: SystemState::Draining, .. } => self.tally.draining += 1,
            ServerMessage::Error(error) => self.error(at, error, now),
            _ => {}
        }
    }

    fn answered(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.pending = client.pending.saturating_sub(1);
        if client.pending == 0 && client.phase == Phase::Subscribing {
            self.ready(at);
        }
    }

    fn error(&mut self, at: usize, error: ErrorMessage, now: u64) {
        count(&mut self.tally.errors, error.code);
        let retry_after = error.retry_after_ms.map(Duration::from_millis);
        let client = &mut self.clients[at];
        if client.phase == Phase::SigningIn {
            let (code, message) = (error.code, error.message);
            let failure = AuthFailure::Refused { code, message, retry_after };
            return self.part(at, Parting::NotSignedIn(failure));
        }
        let number = error.channel.as_deref().and_then(|channel| self.news.names.known(channel));
        let Some(sub) = number.and_then(|number| client.ledger.sub_mut(number)) else {
            // A whole request was refused: of the answers it should have had, none will come.
            if error.id.is_some() && error.code == ErrorCode::RateLimited {
                client.pending = 0;
                self.answered(at);
            }
            return;
        };
        sub.is_refused = true;
        if error.code.retry() {
            let wait = retry_after.unwrap_or_default() + client.backoff.draw(&mut self.random);
            self.remind(now + micros(wait), at as u32, Due::Retry);
        }
        self.answered(at);
    }
}
