//! Why a publisher could not start, and why a message was not (or perhaps not) stored.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::options::OptionsError;
use crate::subject::{Subject, SubjectError};

/// Why a message has no acknowledgement. All but [`Unknown`](PublishError::Unknown) mean: not stored.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PublishError {
    /// The subject cannot be published on.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The id is empty, longer than 128 bytes or not printable ASCII.
    #[error("message id {id:?} is not 1 to 128 bytes of printable ASCII")]
    MessageId {
        /// The first 128 characters.
        id: String,
    },
    /// The time to live is under a second or not whole seconds.
    #[error("time to live {ttl:?} of a message is not at least 1 s and in whole seconds")]
    TimeToLive {
        /// As given.
        ttl: Duration,
    },
    /// Larger than this publisher, the server or the stream allows.
    #[error("message on {subject} has {bytes} bytes with its headers, {limit}")]
    TooLarge {
        /// Its subject.
        subject: Subject,
        /// Payload and headers.
        bytes: usize,
        /// Who allows how much, with units.
        limit: String,
    },
    /// No stream takes the subject.
    #[error("no stream takes {subject}")]
    NoStream {
        /// The subject.
        subject: Subject,
    },
    /// The NATS user may not publish here.
    #[error("not permitted to publish on {subject}")]
    Forbidden {
        /// The subject.
        subject: Subject,
    },
    /// Something else was published on the subject since the sequence the caller expected.
    #[error("{description} on {subject}, not the expected one")]
    WrongLastSequence {
        /// The subject.
        subject: Subject,
        /// The server's words, with the sequence that is the last.
        description: String,
    },
    /// The stream does not take it for another reason.
    #[error("stream rejects message {id} on {subject}: {description} (code {code})")]
    Rejected {
        /// The subject.
        subject: Subject,
        /// The message's id.
        id: String,
        /// JetStream's error code.
        code: u64,
        /// The server's words.
        description: String,
    },
    /// For the whole retry window there was no connection or no leader to ask. Not stored: it may be published again.
    #[error(
        "message {id} on {subject} not stored: no connection or no stream leader for {waited:?} ({attempts} attempts)"
    )]
    Unavailable {
        /// The subject.
        subject: Subject,
        /// The message's id.
        id: String,
        /// How long it was tried.
        waited: Duration,
        /// Attempts sent, all of them answered by "nobody here".
        attempts: u32,
    },
    /// Sent, and no answer within the retry window: may or may not be stored. Publishing it again, even under the same id,
    /// can store it twice: read the subject's last message first, or publish with
    /// [`Message::expect_last_sequence`](super::Message::expect_last_sequence).
    #[error("message {id} on {subject} may or may not be stored: no answer for {waited:?} ({attempts} attempts)")]
    Unknown {
        /// The subject.
        subject: Subject,
        /// The message's id.
        id: String,
        /// How long it was tried.
        waited: Duration,
        /// Attempts sent.
        attempts: u32,
    },
    /// Too much in flight for [`try_publish`](super::Publisher::try_publish). Nothing was accepted.
    #[error("publisher is full: {max_messages} messages or {max_bytes} bytes are in flight")]
    Full {
        /// The bound in messages.
        max_messages: usize,
        /// The bound in bytes.
        max_bytes: usize,
    },
    /// The publisher was closed before the first attempt.
    #[error("publisher is closed")]
    Closed,
}

impl PublishError {
    /// A short, stable name of the cause.
    pub fn cause(&self) -> &'static str {
        match self {
            PublishError::Subject(_) | PublishError::MessageId { .. } | PublishError::TimeToLive { .. } => "invalid",
            PublishError::TooLarge { .. } => "too_large",
            PublishError::NoStream { .. } => "no_stream",
            PublishError::Forbidden { .. } => "forbidden",
            PublishError::WrongLastSequence { .. } => "wrong_last_sequence",
            PublishError::Rejected { .. } => "rejected",
            PublishError::Unavailable { .. } => "unavailable",
            PublishError::Unknown { .. } => "unknown",
            PublishError::Full { .. } => "full",
            PublishError::Closed => "closed",
        }
    }
}

/// Why a publisher could not connect.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The options cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The credentials file cannot be read or understood.
    #[error("cannot use credentials file {path:?}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No server answered, or none let us in.
    #[error("cannot connect to NATS at {urls}")]
    Nats {
        /// The urls, without what stands before `@`.
        urls: String,
        /// Why not.
        source: async_nats::ConnectError,
    },
    /// The connection was lost at once.
    #[error("cannot listen for acknowledgements: connection closed")]
    Inbox,
}

/// Why a stream could not be checked.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StreamError {
    /// No stream takes the subject.
    #[error("no stream takes {subject}")]
    NoStream {
        /// The subject.
        subject: Subject,
    },
    /// JetStream did not answer: not enabled, no leader, or the user may not ask. Publishing may still work.
    #[error("JetStream did not say which stream takes {subject}: {reason}")]
    Unanswered {
        /// The subject.
        subject: Subject,
        /// The client's words.
        reason: String,
    },
}
