//! Reads the control stream: every revocation there is, then every order in the order in which they were stored.
//!
//! There is no consumer. The log is read by Direct Get from the first message on, at once when the stream republishes
//! one, and every second in any case. A replica may lag behind, so the end of the log is where the *leader* says that
//! nothing follows. What is revoked is known to [`Revocations`] before shards are told to look for it.
//!
//! Orders to be carried out once are told from the past when the log is read for the first time: those older than this
//! process are not for it. Later everything is new, whatever the clocks say. A stream that was created anew, or went
//! back, is read again from the start; what was carried out before is remembered by its id for as long as it can be read.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Request};
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::{Link, Order, Revocations, link::Refusal, record::Subjects};
use crate::clock::now_ms;
use crate::{
    admin::NotReady,
    bus::{LONGEST_ELECTION, ReadError, direct_get, has_choice},
    config::Config,
    metrics::ControlMetrics,
    queue,
};

mod obey;

/// Messages asked for at once.
const BATCH: usize = 256;

/// The log is read so often when nothing tells of something new, and up to a quarter less.
const PERIOD: Duration = Duration::from_secs(1);

/// After a read that failed, more or less: not so long that a gateway waits for it when it starts.
const RETRY: Duration = Duration::from_millis(100);

/// Between two reads, however often somebody says that there is something new.
const PAUSE: Duration = Duration::from_millis(10);

/// How long to wait before replicas that lag behind the leader are asked again.
const LAG: Duration = Duration::from_millis(5);

/// The server's code for a stream that does not exist.
const STREAM_NOT_FOUND: u64 = 10_059;

/// The server's code for nothing to be found behind a sequence.
const NO_MESSAGE_FOUND: u64 = 10_037;

/// How far the log is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogState {
    /// It was never read to its end, for this reason.
    Unread(NotReady),
    /// It was. What came since may be missing for a moment, or for as long as the stream cannot be read.
    Read,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    link: Link,
    stream: String,
    subjects: Subjects,
    live: String,
    timeout: Duration,
    revocations: Arc<Revocations>,
    shards: Vec<queue::Sender>,
    metrics: Arc<ControlMetrics>,
    state: watch::Sender<LogState>,
    started_ms: i64,
    /// Everything of the log up to here was read.
    after: u64,
    /// When the stream was created, as it says itself.
    created: Option<String>,
    /// The stream's last sequence when the end of the log was last proven.
    proven: Option<u64>,
    /// Orders that were carried out, and until when they can be read.
    done: HashMap<Box<str>, i64>,
    /// Revocations that shards have not been told of yet.
    revoked: Vec<Order>,
    pruned_at: Instant,
    /// Since when it cannot be read.
    lost_since: Option<Instant>,
    /// Not before, another NATS server is tried.
    next_move: Instant,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("no connection to nats")]
    Disconnected,
    #[error("the control stream does not exist")]
    Missing,
    #[error("no answer from the leader of the control stream")]
    NoLeader,
    #[error("no replica has what the leader has")]
    Behind,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

/// An answer of the leader: what was asked for, or why not.
#[derive(Deserialize)]
struct Answer<T> {
    #[serde(flatten)]
    said: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Info {
    created: String,
    state: Numbers,
}

#[derive(Deserialize)]
struct Numbers {
    last_seq: u64,
}

#[derive(Deserialize)]
struct Found {
    #[allow(dead_code, reason = "that there is one is all that matters")]
    message: serde::de::IgnoredAny,
}

impl Log {
    /// A log of which nothing is known yet. What becomes of it is told to `state`.
    pub(crate) fn new(
        config: &Config,
        link: Link,
        revocations: Arc<Revocations>,
        shards: Vec<queue::Sender>,
        metrics: Arc<ControlMetrics>,
        state: watch::Sender<LogState>,
    ) -> Self {
        let subjects = Subjects::of(config);
        Self {
            link,
            stream: config.control_stream.name.clone(),
            live: config.stream.live_subject(&subjects.log()),
            subjects,
            timeout: config.nats.request_timeout,
            revocations,
            shards,
            metrics,
            state,
            started_ms: now_ms(),
            after: 0,
            created: None,
            proven: None,
            done: HashMap::new(),
            revoked: Vec::new(),
            pruned_at: Instant::now(),
            lost_since: None,
            next_move: Instant::now(),
        }
    }

    /// Reads for ever.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read was acted on.
    pub(crate) async fn run(mut self) {
        let Some(client) = self.link.client().cloned() else {
            return;
        };
        // Before the first read, so that nothing falls between the two.
        let mut live = match client.subscribe(self.live.clone()).await {
            Ok(live) => live.boxed(),
            Err(error) => {
                tracing::error!(%error, "cannot subscribe to the control log");
                futures_util::stream::pending().boxed()
            }
        };
        let mut is_woken = true;
        loop {
            let outcome = self.read(&client, is_woken).await;
            self.tell(outcome);
            self.move_on(&client).await;
            self.prune();
            tokio::time::sleep(PAUSE).await;
            let period = if self.lost_since.is_some() { RETRY } else { PERIOD };
            let period = period.mul_f64(rand::random_range(0.75..1.0));
            is_woken = tokio::select! {
                Some(_) = live.next() => true,
                () = tokio::time::sleep(period) => false,
            };
            // What they say is read from the stream: anybody could have sent them.
            while let Some(Some(_)) = live.next().now_or_never() {}
        }
    }

    /// Reads to the end of the log.
    async fn read(&mut self, client: &Client, is_woken: bool) -> Result<(), Trouble> {
        if self.link.connected().is_none() {
            return Err(Trouble::Disconnected);
        }
        let info: Info = self.ask_leader(client, "INFO", String::new()).await?.ok_or(Trouble::NoLeader)?;
        let last_seq = info.state.last_seq;
        if self.created.as_ref() != Some(&info.created) || last_seq < self.after {
            if self.created.is_some() {
                tracing::warn!(after = self.after, last_seq, "the control stream is another one: reading it again");
            }
            (self.created, self.after, self.proven) = (Some(info.created), 0, None);
        }
        if self.proven == Some(last_seq) && !is_woken {
            return Ok(());
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            self.read_replica(client).await?;
            let next = serde_json::json!({ "seq": self.after + 1, "next_by_subj": self.subjects.log() }).to_string();
            if self.ask_leader::<Found>(client, "MSG.GET", next).await?.is_none() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Behind);
            }
            tokio::time::sleep(LAG).await;
        }
        self.proven = Some(last_seq);
        Ok(())
    }

    /// Reads as far as some replica has the log.
    async fn read_replica(&mut self, client: &Client) -> Result<(), Trouble> {
        loop {
            let request = serde_json::json!({
                "seq": self.after + 1,
                "next_by_subj": self.subjects.log(),
                "batch": BATCH,
            });
            let request = request.to_string();
            let answer = direct_get(client, &self.stream, "control log", &request);
            let answer = match tokio::time::timeout(self.timeout, answer).await {
                Ok(Err(ReadError::NotFound(_))) => return Ok(()),
                answer => answer.unwrap_or(Err(ReadError::NoAnswer("control log")))?,
            };
            let is_end = answer.pending == 0 || answer.messages.is_empty();
            for message in &answer.messages {
                self.apply(message);
                self.after = self.after.max(message.seq);
            }
            self.give_revoked();
            if is_end {
                return Ok(());
            }
        }
    }

    /// Asks the stream's leader; nothing is what it has not found.
    async fn ask_leader<T: DeserializeOwned>(
        &self,
        client: &Client,
        what: &str,
        request: String,
    ) -> Result<Option<T>, Trouble> {
        let subject = format!("$JS.API.STREAM.{what}.{}", self.stream);
        let request = Request::new().payload(request.into()).timeout(Some(self.timeout));
        let answer = client.send_request(subject, request).await.map_err(|_| Trouble::NoLeader)?;
        let answer: Answer<T> =
            serde_json::from_slice(&answer.payload).map_err(|error| Trouble::Unexpected(error.to_string()))?;
        match answer {
            Answer { error: Some(error), .. } => match error.err_code {
                STREAM_NOT_FOUND => Err(Trouble::Missing),
                NO_MESSAGE_FOUND => Ok(None),
                _ => Err(Trouble::Unexpected(error.description)),
            },
            Answer { said: Some(said), .. } => Ok(Some(said)),
            Answer { .. } => Err(Trouble::Unexpected("neither an answer nor an error".to_owned())),
        }
    }

    /// Says how far the log is known, where that changed.
    fn tell(&mut self, outcome: Result<(), Trouble>) {
        let is_first = *self.state.borrow() != LogState::Read;
        match outcome {
            Ok(()) => {
                if is_first {
                    tracing::info!(revocations = self.revocations.prune(now_ms()), "the control log is read");
                }
                if self.lost_since.take().is_some() && !is_first {
                    tracing::info!("the control log is read again");
                }
                self.metrics.control_lost.set(0);
                self.state.send_if_modified(|state| std::mem::replace(state, LogState::Read) != LogState::Read);
            }
            Err(trouble) => {
                if self.lost_since.is_none() {
                    self.lost_since = Some(Instant::now());
                    tracing::warn!(%trouble, "the control log cannot be read");
                }
                self.metrics.control_lost.set(1);
                let reason = match trouble {
                    Trouble::Missing => {
                        // Whoever says so is not cut off.
                        self.next_move = Instant::now() + LONGEST_ELECTION;
                        NotReady::ControlMissing
                    }
                    _ => NotReady::ControlUnread,
                };
                self.state.send_if_modified(|state| {
                    let is_news = is_first && *state != LogState::Unread(reason);
                    if is_news {
                        *state = LogState::Unread(reason);
                    }
                    is_news
                });
            }
        }
    }

    /// A server that takes the connection may be cut off from the stream's leader: after the longest election another
    /// one is tried, and again after twice as long at most.
    async fn move_on(&mut self, client: &Client) {
        let is_long = self.lost_since.is_some_and(|since| since.elapsed() >= LONGEST_ELECTION);
        if is_long && self.link.connected().is_some() && Instant::now() >= self.next_move {
            self.next_move = Instant::now() + LONGEST_ELECTION.mul_f64(rand::random_range(1.0..2.0));
            if has_choice(client).await {
                tracing::warn!("the control stream does not answer: trying another NATS server");
                // Fails only when the client has been closed, and then the gateway is stopping.
                let _ = client.force_reconnect().await;
            }
        }
    }

    fn prune(&mut self) {
        if self.pruned_at.elapsed() >= PERIOD {
            self.pruned_at = Instant::now();
            let now_ms = now_ms();
            self.metrics.revocations.set(self.revocations.prune(now_ms) as u64);
            self.done.retain(|_, until_ms| *until_ms > now_ms);
        }
    }
}
