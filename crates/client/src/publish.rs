//! Publishing through a gateway: one request, one answer, and nothing done twice.

use std::time::Duration;

use odin_protocol::{Channel, Epoch, ErrorCode, PayloadError};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::options::SubscriptionError;

/// Publications under way at once, those included that wait for a connection; further callers wait. A gateway answers a
/// hundred messages in a second, and forgives only a few beyond.
pub const MAX_PUBLISHES: usize = 16;
/// A publication without an answer for so long will not get one: the gateway itself waits less for the stream.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// A publication that the stream has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// As asked for.
    pub channel: String,
    /// Its sequence.
    pub seq: u64,
    /// The stream the sequence belongs to.
    pub epoch: Epoch,
}

/// Why a publication was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel is none; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] SubscriptionError),
    /// A pattern is many channels; nothing was sent.
    #[error("{channel} is a pattern")]
    Pattern {
        /// As given.
        channel: Channel,
    },
    /// The data is not what a gateway passes on; nothing was sent.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The gateway does not read messages of this size; nothing was sent.
    #[error("message has {bytes} bytes, the gateway reads {limit}")]
    TooBig {
        /// The whole message, in the codec of the connection.
        bytes: u64,
        /// What the gateway said it reads.
        limit: u64,
    },
    /// The gateway did not take it: it is not stored.
    #[error("{code}: {message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// When the same may succeed, if the gateway said that.
        retry_after: Option<Duration>,
    },
    /// It was sent, and the connection ended or [`PUBLISH_TIMEOUT`] was over before an answer came, or the gateway could
    /// not tell (`unavailable`): it may be stored or not. The client does not send it again; whoever does may publish it twice.
    #[error("no answer: it may be stored or not")]
    Unknown,
    /// The client has ended; nothing was sent.
    #[error("client is closed")]
    Closed,
}

/// What the application asks for, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) channel: Channel,
    pub(crate) data: Box<RawValue>,
    pub(crate) reply: Reply,
}

/// The way back to whoever waits.
#[derive(Debug)]
pub(crate) struct Reply {
    to: oneshot::Sender<Result<Published, PublishError>>,
    /// Given back with the answer.
    _place: OwnedSemaphorePermit,
}

impl Reply {
    pub(crate) fn new(to: oneshot::Sender<Result<Published, PublishError>>, place: OwnedSemaphorePermit) -> Self {
        Reply { to, _place: place }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.to.is_closed()
    }

    /// Answers; nobody needs to listen.
    pub(crate) fn send(self, outcome: Result<Published, PublishError>) {
        let _ = self.to.send(outcome);
    }
}
