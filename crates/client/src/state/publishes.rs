//! Publications under way: those that wait to be sent, and those that wait for their answer.
//!
//! One is sent once. When the connection ends first, its outcome is not known, and that is what is said.

use std::collections::VecDeque;
use std::time::Duration;

use odin_protocol::{ClientMessage, Codec, ErrorCode, ErrorMessage, RequestId};
use tokio::time::Instant;

use crate::{
    publish::{PUBLISH_TIMEOUT, Publish, PublishError, Published, Reply},
    text::printable,
};

/// Longest time a gateway can hold publications back with.
const MAX_HOLD: Duration = Duration::from_secs(600);

/// See the module. Callers are let in by a semaphore: that is its bound.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    waiting: VecDeque<Publish>,
    /// Oldest first.
    sent: VecDeque<Sent>,
    /// The gateway asked for patience: whoever goes on is closed for good.
    hold_until: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    id: u64,
    answer_by: Instant,
    reply: Reply,
}

impl Publishes {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    pub(super) fn add(&mut self, publish: Publish) {
        self.waiting.push_back(publish);
    }

    /// Whether [`Publishes::message`] may have something to say.
    pub(super) fn has_message(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && self.hold_until.is_none_or(|until| now >= until)
    }

    /// The next publication to send, under this id. Those that nobody waits for any more are not sent.
    ///
    /// To be asked only if [`Publishes::has_message`] says so.
    pub(super) fn message(&mut self, now: Instant, id: u64, codec: Codec, limit: u64) -> Option<ClientMessage> {
        while let Some(Publish { channel, data, reply }) = self.waiting.pop_front() {
            if reply.is_abandoned() {
                continue;
            }
            let channel = channel.as_str().to_owned();
            let message = ClientMessage::Publish { id: Some(RequestId::Number(id)), channel, data };
            let bytes = message.encode(codec).len() as u64;
            if bytes > limit {
                // it would end the connection, and for good
                reply.send(Err(PublishError::TooBig { bytes, limit }));
                continue;
            }
            self.sent.push_back(Sent { id, answer_by: now + PUBLISH_TIMEOUT, reply });
            return Some(message);
        }
        None
    }

    /// `published` under this id: says whether somebody had asked for that.
    pub(super) fn published(&mut self, id: Option<&RequestId>, published: Published) -> bool {
        let Some(RequestId::Number(id)) = id else { return false };
        self.answer(*id, Ok(published))
    }

    /// `error` under this id: says whether it was about a publication.
    pub(super) fn refused(&mut self, now: Instant, id: u64, error: &ErrorMessage) -> bool {
        let retry_after = error.retry_after_ms.map(Duration::from_millis);
        let message = printable(&error.message).into_owned();
        let outcome = match error.code {
            // the gateway has sent it on, and does not know what became of it
            ErrorCode::Unavailable => PublishError::Unknown,
            code => PublishError::Refused { code, message, retry_after },
        };
        let is_ours = self.answer(id, Err(outcome));
        if is_ours && error.code == ErrorCode::RateLimited {
            let until = now + retry_after.unwrap_or_default().min(MAX_HOLD);
            self.hold_until = self.hold_until.max(Some(until));
        }
        is_ours
    }

    fn answer(&mut self, id: u64, outcome: Result<Published, PublishError>) -> bool {
        let Some(at) = self.sent.iter().position(|sent| sent.id == id) else { return false };
        if let Some(sent) = self.sent.remove(at) {
            sent.reply.send(outcome);
        }
        true
    }

    /// When [`Publishes::tick`] has something to do, or [`Publishes::message`] has something to say again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.hold_until.filter(|_| !self.waiting.is_empty());
        let answer_by = self.sent.front().map(|sent| sent.answer_by);
        [held, answer_by].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        self.hold_until = self.hold_until.filter(|until| now < *until);
        let late = self.sent.iter().take_while(|sent| sent.answer_by <= now).count();
        for sent in self.sent.drain(..late) {
            sent.reply.send(Err(PublishError::Unknown));
        }
    }

    /// Nothing was read for some time: answers may lie there unread.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        self.sent.iter_mut().for_each(|sent| sent.answer_by = now + PUBLISH_TIMEOUT);
    }

    /// There is no connection any more. What was not sent waits for the next one.
    pub(super) fn disconnect(&mut self) {
        self.hold_until = None;
        for sent in self.sent.drain(..) {
            sent.reply.send(Err(PublishError::Unknown));
        }
    }
}

impl Drop for Publishes {
    /// However the client ends, nobody is told that nothing was sent when something was.
    fn drop(&mut self) {
        self.disconnect();
    }
}
