//! An accepted message on its way, and what callers and driver share.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_MESSAGE_TTL};
use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use super::error::PublishError;
use super::message::Published;
use super::trace::Trace;
use crate::stats::Counters;
use crate::subject::Subject;

/// What callers and driver share: the counters and the room that is left.
#[derive(Debug)]
pub(crate) struct Accounts {
    pub(crate) counters: Counters,
    pub(crate) messages: Semaphore,
    pub(crate) bytes: Semaphore,
}

/// An accepted message.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) id: Arc<str>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) expect_last_sequence: Option<u64>,
    /// What is told about it, if anything.
    pub(crate) trace: Option<Box<Trace>>,
    /// Byte permits it holds.
    pub(crate) cost: u32,
    pub(crate) answer: oneshot::Sender<Result<Published, PublishError>>,
}

/// What to put on the wire now.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) headers: HeaderMap,
    /// The attempt's number, from 1.
    pub(crate) number: u32,
}

impl Job {
    /// What its attempt of this number puts on the wire: always the same but for the number.
    pub(crate) fn attempt(&self, number: u32) -> Attempt {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, &*self.id);
        if let Some(ttl) = self.ttl {
            headers.insert(NATS_MESSAGE_TTL, ttl.as_secs().to_string());
        }
        if let Some(sequence) = self.expect_last_sequence {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        }
        if let Some(trace) = &self.trace {
            trace.write(&mut headers);
        }
        Attempt { subject: self.subject.clone(), payload: self.payload.clone(), headers, number }
    }
}
