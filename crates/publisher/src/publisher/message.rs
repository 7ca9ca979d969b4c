//! What goes in and what comes out: a message, and the promise of its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use odin_telemetry::context::SpanContext;
use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::PublishError;
use crate::subject::Subject;

/// Length of an id that was made here.
pub(crate) const UUID_BYTES: usize = 36;

/// A message to publish. The subject is already checked; everything else is checked when it is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where to.
    pub subject: Subject,
    /// What; for odin's gateways one JSON value of at most 64 KiB with headers.
    pub payload: Bytes,
    /// Its `Nats-Msg-Id`, 1 to 128 bytes of printable ASCII; a new UUIDv7 when there is none.
    pub id: Option<String>,
    /// Removed from the stream after this time, whole seconds, at least one; the stream must allow it.
    pub ttl: Option<Duration>,
    /// Store it only if the subject's last message has this sequence (0: there is none).
    pub expect_last_sequence: Option<u64>,
    /// The trace it belongs to: what whoever receives it continues. Only if it is sampled; else as if there were none.
    pub context: Option<Box<SpanContext>>,
}

/// The stream has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The stream had it already under this id: from an earlier attempt, or from somebody else.
    pub duplicate: bool,
    /// Attempts it took, from 1.
    pub attempts: u32,
    /// From the first attempt to the acknowledgement.
    pub latency: Duration,
}

/// The promise of an answer to one accepted message: a future of `Result<Published, PublishError>`.
///
/// # Cancel safety
/// May be polled again after anything. Dropping it changes nothing for the message, which is published, retried and counted all the same.
#[derive(Debug)]
#[must_use = "dropping it does not stop the message, but loses its outcome"]
pub struct Ack {
    pub(super) subject: Subject,
    pub(super) id: Arc<str>,
    pub(super) accepted: Instant,
    pub(super) answer: oneshot::Receiver<Result<Published, PublishError>>,
}

impl Message {
    /// A message under a new id, kept as long as the stream keeps messages.
    pub fn new(subject: Subject, payload: impl Into<Bytes>) -> Message {
        Message { subject, payload: payload.into(), id: None, ttl: None, expect_last_sequence: None, context: None }
    }

    /// The same under this id.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Message {
        Message { id: Some(id.into()), ..self }
    }

    /// The same, removed from the stream after `ttl`.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Message {
        Message { ttl: Some(ttl), ..self }
    }

    /// The same, stored only if the subject's last message has this sequence.
    #[must_use]
    pub fn expect_last_sequence(self, sequence: u64) -> Message {
        Message { expect_last_sequence: Some(sequence), ..self }
    }

    /// The same, as part of a trace.
    #[must_use]
    pub fn with_context(self, context: SpanContext) -> Message {
        Message { context: Some(Box::new(context)), ..self }
    }

    /// The size of its headers on the wire without those of a trace, in bytes.
    pub(super) fn header_bytes(&self) -> usize {
        let line = |name: &str, value: usize| name.len() + ": \r\n".len() + value;
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
        "NATS/1.0\r\n\r\n".len()
            + line("Nats-Msg-Id", self.id.as_ref().map_or(UUID_BYTES, String::len))
            + self.ttl.map_or(0, |ttl| line("Nats-TTL", digits(ttl.as_secs())))
            + self
                .expect_last_sequence
                .map_or(0, |sequence| line("Nats-Expected-Last-Subject-Sequence", digits(sequence)))
    }
}

impl Ack {
    /// The message's `Nats-Msg-Id`.
    pub fn message_id(&self) -> &str {
        &self.id
    }

    /// The message's subject.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl Future for Ack {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ack = &mut *self;
        Pin::new(&mut ack.answer).poll(cx).map(|answer| {
            // the driver settles everything it has, so it was torn down with its runtime
            answer.unwrap_or_else(|_| {
                Err(PublishError::Unknown {
                    subject: ack.subject.clone(),
                    id: ack.id.to_string(),
                    waited: ack.accepted.elapsed(),
                    attempts: 0,
                })
            })
        })
    }
}

/// A new message id, a UUIDv7 in lower case: what a message gets that has none, for those who also want it inside the
/// payload.
pub fn new_message_id() -> String {
    new_id().as_ref().to_owned()
}

pub(super) fn new_id() -> Arc<str> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let random: [u8; 10] = rand::rng().random();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    (&*id.as_hyphenated().encode_lower(&mut [0; UUID_BYTES])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_uuid_v7_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_eq!(uuid::Uuid::parse_str(&a).unwrap().get_version_num(), 7);
        assert_ne!(a, b);
    }

    #[test]
    fn knows_the_size_of_headers() {
        let message = Message::new(Subject::parse("a").unwrap(), "x")
            .with_id("abc")
            .with_ttl(Duration::from_secs(60))
            .expect_last_sequence(1234);
        let wire = "NATS/1.0\r\nNats-Msg-Id: abc\r\nNats-TTL: 60\r\nNats-Expected-Last-Subject-Sequence: 1234\r\n\r\n";
        assert_eq!(message.header_bytes(), wire.len());
    }
}
