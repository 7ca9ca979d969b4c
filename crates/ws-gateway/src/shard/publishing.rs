//! Publications of clients: checked here, stored by the bus, acknowledged when the stream has them.

use std::time::Duration;

use bytes::Bytes;
use odin_protocol::{
    Epoch,
    channel::Channel,
    codec::validate_payload,
    error::ErrorCode,
    message::{ErrorMessage, RequestId, ServerMessage},
};

use super::{Shard, rate::Quota};
use crate::{bus::Command, rules::Refusal};

/// Publications of one connection that may be on their way to the stream.
const UNDER_WAY: u8 = 16;

/// How soon a client may try again when the bus has no room.
const RETRY_AFTER_MS: u64 = 1_000;

/// Whom an acknowledgement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: usize,
    serial: u64,
    request: Option<RequestId>,
    channel: String,
}

impl Shard {
    pub(super) fn publish(&mut self, slot: usize, request: Option<RequestId>, name: &str, data: &str) {
        let channel = match Channel::parse(name) {
            Ok(channel) => channel,
            Err(error) => {
                self.refuse(slot, ErrorMessage::new(request, ErrorCode::InvalidChannel, error.to_string()));
                return;
            }
        };
        let refuse = |shard: &mut Self, code, text: String, retry_after_ms| {
            let mut error = ErrorMessage::new(request.clone(), code, text);
            error.channel = Some(channel.to_string());
            error.retry_after_ms = retry_after_ms;
            shard.refuse(slot, error);
        };
        let identity = &self.connections[slot].guest.identity;
        let user = identity.user().cloned();
        let subject = match self.must_sign_in(slot).and_then(|()| self.config.rules.publish_subject(&channel, identity))
        {
            Ok(subject) => subject,
            Err(Refusal { code, message }) => return refuse(self, code, message, None),
        };
        let limits = &self.config.limits;
        let own = user.as_ref().and_then(|user| user.limits.publishes_per_second);
        let quota = Quota { most: own.unwrap_or(limits.publishes_per_second), period: Duration::from_secs(1) };
        if data.len() > limits.payload_bytes {
            let text = format!("more than {} bytes", limits.payload_bytes);
            return refuse(self, ErrorCode::InvalidPayload, text, None);
        }
        if let Err(fault) = validate_payload(data.as_bytes()) {
            return refuse(self, ErrorCode::InvalidPayload, fault.to_string(), None);
        }
        let now_us = self.now_us();
        if let Err(retry_ms) = self.connections[slot].rates.publishes.take(1, quota, now_us) {
            return self.refuse_rate(slot, request, "publications in a second", quota.most, retry_ms);
        }
        if self.connections[slot].publishing >= UNDER_WAY {
            return self.refuse_rate(slot, request, "publications on their way", UNDER_WAY.into(), RETRY_AFTER_MS);
        }
        let serial = self.connections[slot].serial;
        let ticket = Ticket { slot, serial, request: request.clone(), channel: channel.to_string() };
        let command = Command::Publish {
            shard: self.index,
            ticket,
            subject,
            payload: Bytes::copy_from_slice(data.as_bytes()),
            sender: user.map(|user| user.sub.clone()),
        };
        if self.bus.try_send(command).is_err() {
            let text = "too much is on its way to the stream".to_owned();
            return refuse(self, ErrorCode::Unavailable, text, Some(RETRY_AFTER_MS));
        }
        self.connections[slot].publishing += 1;
    }

    /// What became of a publication.
    pub(super) fn on_published(&mut self, ticket: Ticket, stored: Option<(u64, Epoch)>) {
        self.metrics.published.add(u64::from(stored.is_some()));
        let Ticket { slot, serial, request: id, channel } = ticket;
        let Some(connection) = self.connections.get_mut(slot).filter(|c| c.serial == serial && c.closing.is_none())
        else {
            return;
        };
        connection.publishing -= 1;
        match stored {
            Some((seq, epoch)) => self.answer(slot, &ServerMessage::Published { id, channel, seq, epoch }),
            None => {
                let text = "the stream did not acknowledge it; it may have been stored";
                let mut error = ErrorMessage::new(id, ErrorCode::Unavailable, text);
                error.channel = Some(channel);
                error.retry_after_ms = Some(RETRY_AFTER_MS);
                self.refuse(slot, error);
            }
        }
        self.catch_up(slot);
    }
}
