//! One ordered push consumer: it lives as long as everything comes, and in order.
//!
//! It keeps no state at the server worth keeping: one replica, in memory, no acknowledgements. Whatever
//! is wrong with it, another one is made.

use std::time::Duration;

use async_nats::{
    HeaderValue, StatusCode, Subject, Subscriber, header,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, push},
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::link::Link;

/// How often the server says that it has nothing to say, and how far it has looked.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Nothing at all for so long, and the consumer is gone.
const SILENCE: Duration = Duration::from_secs(4);

/// No step forward for so long, although the stream gets a tick every second: its node may not get what
/// the stream stores. An election takes less.
const STANDSTILL: Duration = Duration::from_secs(15);

/// A consumer that nobody listens to is removed after this, if it could not be deleted.
const ABANDONED: Duration = Duration::from_secs(30);

/// In a heartbeat: the consumer waits for an answer to this flow control request.
const STALLED: &str = "Nats-Consumer-Stalled";

/// In a heartbeat: the stream sequence that the consumer looked at last. It was sent everything that
/// matches up to there.
const LAST_STREAM: &str = "Nats-Last-Stream";

/// Why a consumer is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("cannot be created: {0}")]
    Create(#[from] jetstream::stream::ConsumerError),
    #[error("cannot listen: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("nothing known of the stream: {0}")]
    Unknown(#[source] jetstream::context::GetStreamError),
    #[error("the stream is another one")]
    OtherStream,
    #[error("silent for {SILENCE:?}")]
    Silent,
    #[error("no step forward for {STANDSTILL:?}")]
    Standstill,
    #[error("expected number {expected}, came {came}")]
    Gap { expected: u64, came: u64 },
    #[error("a message without numbers: {0}")]
    Unreadable(async_nats::Error),
    #[error("ended with status {0:?}")]
    Ended(Option<StatusCode>),
}

/// What a consumer brings.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Delivered),
    /// Nothing more that matches up to `seq`.
    Nothing {
        seq: u64,
        /// Nor is there anything that was held back.
        is_idle: bool,
    },
}

/// A message and its numbers.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) message: async_nats::Message,
    pub(super) seq: u64,
    pub(super) ts_ms: i64,
    /// Matching messages stored behind it when it was sent.
    pub(super) pending: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Consumer {
    link: std::sync::Arc<Link>,
    messages: Subscriber,
    /// The number of the last message.
    number: u64,
    /// How far it has come in the stream.
    seq: u64,
    /// Where to send a flow control answer.
    owed: Option<Subject>,
    silent_at: Instant,
    still_at: Instant,
}

impl Consumer {
    /// A consumer by this name of everything that `filter` matches from sequence `start` on.
    ///
    /// # Errors
    /// See [`Broken`].
    pub(super) async fn create(
        link: std::sync::Arc<Link>,
        name: &str,
        filter: &str,
        start: u64,
    ) -> Result<Self, Broken> {
        let inbox = link.client.new_inbox();
        // Before the consumer: what it sends first must be heard.
        let messages = link.client.subscribe(inbox.clone()).await?;
        let config = push::Config {
            deliver_subject: inbox,
            name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            filter_subject: filter.to_owned(),
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            num_replicas: 1,
            memory_storage: true,
            inactive_threshold: ABANDONED,
            ..push::Config::default()
        };
        link.context.create_consumer_on_stream(config, link.stream()).await?;
        let now = Instant::now();
        let (silent_at, still_at) = (now + SILENCE, now + STANDSTILL);
        Ok(Self { link, messages, number: 0, seq: 0, owed: None, silent_at, still_at })
    }

    /// The next message, which follows the one before without a gap, or that there is none.
    ///
    /// # Errors
    /// See [`Broken`].
    ///
    /// # Cancel safety
    /// Cancel safe: a flow control answer that was not sent is sent next time, and the time limits are
    /// moments.
    pub(super) async fn next(&mut self) -> Result<Heard, Broken> {
        loop {
            if let Some(subject) = &self.owed {
                // Fails only with the connection, and then there is no more to answer.
                let _ = self.link.client.publish(subject.clone(), Bytes::new()).await;
                self.owed = None;
            }
            let deadline = self.silent_at.min(self.still_at);
            // Looks for a message before it looks at the time: who was late himself hears what waits.
            let message = match tokio::time::timeout_at(deadline, self.messages.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Broken::Ended(None)),
                Err(_) if self.silent_at <= self.still_at => return Err(Broken::Silent),
                Err(_) => return Err(Broken::Standstill),
            };
            self.silent_at = Instant::now() + SILENCE;
            match message.status {
                None => return self.delivered(message),
                Some(StatusCode::IDLE_HEARTBEAT) => {
                    if let Some(nothing) = self.idle(&message)? {
                        return Ok(nothing);
                    }
                }
                Some(status) => return Err(Broken::Ended(Some(status))),
            }
        }
    }

    fn delivered(&mut self, message: async_nats::Message) -> Result<Heard, Broken> {
        let message = jetstream::Message { message, context: self.link.context.clone() };
        let info = message.info().map_err(Broken::Unreadable)?;
        let (came, seq, pending) = (info.consumer_sequence, info.stream_sequence, info.pending);
        let ts_ms = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let expected = self.number + 1;
        if came != expected {
            return Err(Broken::Gap { expected, came });
        }
        self.number = came;
        self.advance(seq);
        Ok(Heard::Message(Delivered { message: message.message, seq, ts_ms, pending }))
    }

    /// A heartbeat, or a request for flow control: answered where it stands, so that the server never
    /// has more under way than it allows itself.
    fn idle(&mut self, message: &async_nats::Message) -> Result<Option<Heard>, Broken> {
        let header = |name: &str| message.headers.as_ref()?.get(name).map(HeaderValue::as_str);
        let number = |name: &str| header(name)?.parse().ok();
        let last = number(header::NATS_LAST_CONSUMER.as_ref());
        if let Some(came) = last.filter(|last| *last != self.number) {
            return Err(Broken::Gap { expected: self.number, came });
        }
        let stalled = header(STALLED);
        self.owed = message.reply.clone().or(stalled.map(Subject::from));
        // Only together do they say that everything up to there has come.
        let Some(seq) = last.and(number(LAST_STREAM)) else {
            return Ok(None);
        };
        self.advance(seq);
        Ok(Some(Heard::Nothing { seq, is_idle: stalled.is_none() }))
    }

    fn advance(&mut self, seq: u64) {
        if seq > self.seq {
            self.seq = seq;
            self.still_at = Instant::now() + STANDSTILL;
        }
    }
}
