//! The streams of JetStream that odin uses.

use std::time::Duration;

use super::defaults as default;

/// The stream of publications, as `provision` creates and verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// The subjects it stores.
    pub subjects: Vec<String>,
    /// The first token of republished messages: `odin.x` goes live as `live.odin.x`.
    pub live_prefix: String,
    /// Subject of the barrier: a publish there is always rejected, and the rejection tells the leader's last sequence.
    pub barrier_subject: String,
    /// Subject of the tick: at least one message is always stored there.
    pub tick_subject: String,
    /// Copies of each message, 1 to 5.
    pub replicas: usize,
    /// How long a message is kept; the longest absence of a client that can be bridged.
    pub max_age: Duration,
    /// Bytes kept, per replica.
    pub max_bytes: usize,
    /// Messages kept for each subject; `None` for no such limit.
    pub max_messages_per_subject: Option<usize>,
    /// Largest message that the stream takes, in bytes, headers included.
    pub max_message_bytes: usize,
    /// How long the stream remembers the id of a message to drop duplicates.
    pub duplicate_window: Duration,
}

impl Stream {
    /// The core subject on which messages of `subject` are republished.
    pub fn live_subject(&self, subject: &str) -> String {
        format!("{}.{subject}", self.live_prefix)
    }

    /// Subjects within the stream that no channel may lead to.
    pub(crate) fn reserved(&self) -> Vec<&str> {
        vec![&self.barrier_subject, &self.tick_subject]
    }
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            name: default::STREAM_NAME.to_owned(),
            subjects: vec![default::STREAM_SUBJECT.to_owned()],
            live_prefix: default::LIVE_PREFIX.to_owned(),
            barrier_subject: default::BARRIER_SUBJECT.to_owned(),
            tick_subject: default::TICK_SUBJECT.to_owned(),
            replicas: default::STREAM_REPLICAS,
            max_age: default::STREAM_MAX_AGE,
            max_bytes: default::STREAM_MAX_BYTES,
            max_messages_per_subject: None,
            max_message_bytes: default::STREAM_MAX_MESSAGE_BYTES,
            duplicate_window: default::DUPLICATE_WINDOW,
        }
    }
}

/// The stream of topics that need a snapshot for ever: one message for each subject, no age limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateStream {
    /// Its name.
    pub name: String,
    /// The subjects it stores.
    pub subjects: Vec<String>,
    /// Bytes kept, per replica.
    pub max_bytes: usize,
}

impl Default for StateStream {
    fn default() -> StateStream {
        StateStream {
            name: default::STATE_STREAM_NAME.to_owned(),
            subjects: vec![default::STATE_STREAM_SUBJECT.to_owned()],
            max_bytes: default::STATE_STREAM_MAX_BYTES,
        }
    }
}

/// The control stream: one message for each subject, as long as a token lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlStream {
    /// Its name.
    pub name: String,
    /// The subjects it stores.
    pub subjects: Vec<String>,
    /// The longest life of a token.
    pub max_age: Duration,
    /// Bytes kept, per replica.
    pub max_bytes: usize,
}

impl Default for ControlStream {
    fn default() -> ControlStream {
        ControlStream {
            name: default::CONTROL_STREAM_NAME.to_owned(),
            subjects: vec![default::CONTROL_STREAM_SUBJECT.to_owned()],
            max_age: default::CONTROL_STREAM_MAX_AGE,
            max_bytes: default::CONTROL_STREAM_MAX_BYTES,
        }
    }
}
