//! Reads the stream back by Direct Get, and proves how far it has been read.
//!
//! Runs on a connection of its own, so that long answers never stand before live messages.
//! Only the barrier goes over the live connection: it must follow our SUB on the same path.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::{Client, HeaderMap, Message, Request, header};
use futures_util::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{feed::Stored, history::Anchors, pulse::is_connected};
use crate::{config::Config, metrics::BusMetrics};

/// Messages asked for in one batch.
pub(super) const BATCH: usize = 1000;

/// How long to wait before a replica that lags behind the leader is asked again.
pub(super) const LAG: Duration = Duration::from_millis(5);

/// What a read of last values is called in errors.
pub(super) const LAST_VALUES: &str = "last values";

/// End of a batch (ADR-31). The client library has no name for this status.
const END_OF_BATCH: u16 = 204;

/// The request has no answer that the server is willing to give: too many subjects.
const TOO_WIDE: u16 = 413;

/// No publish can ever be the next after this sequence, so the leader always refuses it – and says
/// in the refusal which sequence is its last.
const NEVER: u64 = u64::MAX - 1;

/// The server's code for a refused expectation.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// What the server says of a sequence that it does not keep (JSNoMessageFoundErr).
const NO_MESSAGE_FOUND: u64 = 10_037;

/// Why the stream could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// More subjects match than Direct Get reads at once. Final.
    #[error("the filter matches too many subjects")]
    TooWide,
    /// Nobody answered: no leader, no stream, or no connection.
    #[error("no answer to {0}")]
    NoAnswer(&'static str),
    /// Nothing is stored where it was asked for.
    #[error("nothing found for {0}")]
    NotFound(&'static str),
    /// The server said something we do not understand.
    #[error("unexpected answer to {0}: {1}")]
    Unexpected(&'static str, String),
}

/// The last message of every subject, and how far that is true.
#[derive(Debug)]
pub(crate) struct LastValues {
    pub(crate) messages: Vec<Stored>,
    /// The last sequence that the answering replica had applied.
    pub(crate) up_to: u64,
}

/// The messages of one answer, in order.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) messages: Vec<Stored>,
    /// Further ones that match and did not fit.
    pub(crate) pending: u64,
    /// The last sequence that the answering replica had applied, where it says so.
    up_to: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(super) live: Client,
    pub(super) reader: Client,
    pub(super) config: Arc<Config>,
    metrics: Arc<BusMetrics>,
    /// Bounds the requests under way.
    permits: Semaphore,
    pub(super) anchors: Anchors,
}

#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub(super) state: StreamState,
    pub(super) config: StreamLimits,
}

#[derive(Deserialize)]
pub(super) struct StreamLimits {
    /// -1 or 0 for no such limit.
    #[serde(default)]
    pub(super) max_msgs_per_subject: i64,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub(super) first_seq: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    err_code: u64,
    description: String,
}

impl Replay {
    pub(crate) fn new(live: Client, reader: Client, config: Arc<Config>, metrics: Arc<BusMetrics>) -> Self {
        let permits = Semaphore::new(config.feeds.direct_gets);
        Self { permits, anchors: Anchors::default(), live, reader, config, metrics }
    }

    /// The leader's last sequence, asked on the live connection behind every SUB sent before.
    ///
    /// # Errors
    /// [`ReadError::NoAnswer`] without a leader, [`ReadError::Unexpected`] if it took the message.
    pub(crate) async fn barrier(&self) -> Result<u64, ReadError> {
        if !is_connected(&self.live) {
            return Err(ReadError::NoAnswer("barrier"));
        }
        self.metrics.barriers.add(1);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, NEVER.to_string().as_str());
        let request = Request::new().headers(headers).timeout(Some(self.config.nats.request_timeout));
        let subject = self.config.stream.barrier_subject.clone();
        let result = match self.live.send_request(subject, request).await {
            Ok(answer) => parse_barrier(&answer.payload),
            Err(_) => Err(ReadError::NoAnswer("barrier")),
        };
        if result.is_err() {
            self.metrics.barrier_errors.add(1);
        }
        result
    }

    /// The last message of every subject that `filters` match and that has one after `after`. With
    /// `as_of_now`, from a replica that has at least everything the leader had when this was called.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) async fn last_values(
        &self,
        filters: &[&str],
        after: u64,
        as_of_now: bool,
    ) -> Result<LastValues, ReadError> {
        let _permit = self.permit().await;
        let barrier = if as_of_now { self.barrier().await? } else { 0 };
        // The leader that answered may have lost what it had last: then no replica ever gets there, and
        // the next barrier is lower.
        let deadline = Instant::now() + self.config.nats.request_timeout;
        let mut asked = filters.to_vec();
        // There is always a tick, so "nothing matches" still tells how far the replica is.
        asked.push(&self.config.stream.tick_subject);
        loop {
            let mut request = serde_json::json!({ "multi_last": asked, "batch": BATCH + 25 });
            if after > 0 {
                request["seq"] = (after + 1).into();
            }
            let mut answer = match self.direct_get(LAST_VALUES, &request.to_string()).await {
                // The tick may be the one subject too many. Where so many match, it is not needed.
                Err(ReadError::TooWide) if asked.len() > filters.len() => {
                    asked.truncate(filters.len());
                    continue;
                }
                answer => answer?,
            };
            if answer.up_to >= barrier {
                let tick = &self.config.stream.tick_subject;
                answer.messages.retain(|message| *message.subject != **tick);
                return Ok(LastValues { messages: answer.messages, up_to: answer.up_to });
            }
            self.metrics.open_retries.add(1);
            if Instant::now() >= deadline {
                return Err(ReadError::NoAnswer("barrier"));
            }
            tokio::time::sleep(LAG).await;
        }
    }

    /// The sequence of the last tick, as some replica knows it that `client` reaches; 0 if there is none.
    /// Waits for nobody's turn: it is asked when nothing else is answered.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn last_tick(&self, client: &Client) -> Result<u64, ReadError> {
        let request = serde_json::json!({ "multi_last": [self.config.stream.tick_subject], "batch": 1 }).to_string();
        match self.direct_get_by(client, "tick", &request).await {
            Ok(answer) => Ok(answer.messages.last().map_or(0, |tick| tick.seq)),
            Err(ReadError::NotFound(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// What the stream keeps, by its leader.
    pub(super) async fn stream_info(&self) -> Result<StreamInfo, ReadError> {
        self.ask_stream_info(String::new()).await
    }

    /// The same, as much as is wanted of what was asked for.
    pub(super) async fn ask_stream_info<T: DeserializeOwned>(&self, request: String) -> Result<T, ReadError> {
        if !is_connected(&self.reader) {
            return Err(ReadError::NoAnswer("stream info"));
        }
        let subject = format!("$JS.API.STREAM.INFO.{}", self.config.stream.name);
        let request = Request::new().payload(request.into()).timeout(Some(self.config.nats.request_timeout));
        let answer = self.reader.send_request(subject, request).await;
        let answer = answer.map_err(|_| ReadError::NoAnswer("stream info"))?;
        serde_json::from_slice(&answer.payload).map_err(|error| ReadError::Unexpected("stream info", error.to_string()))
    }

    /// Whether the leader has a message at `seq`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn is_stored(&self, seq: u64) -> Result<bool, ReadError> {
        if !is_connected(&self.reader) {
            return Err(ReadError::NoAnswer("message"));
        }
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.config.stream.name);
        let payload = serde_json::json!({ "seq": seq }).to_string().into();
        let request = Request::new().payload(payload).timeout(Some(self.config.nats.request_timeout));
        let answer = self.reader.send_request(subject, request).await;
        let answer = answer.map_err(|_| ReadError::NoAnswer("message"))?;
        says_stored(&answer.payload)
    }

    /// Waits until another request may be under way.
    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("never closed")
    }

    /// One request and all its answers.
    pub(super) async fn direct_get(&self, what: &'static str, request: &str) -> Result<Answer, ReadError> {
        self.direct_get_by(&self.reader, what, request).await
    }

    async fn direct_get_by(&self, client: &Client, what: &'static str, request: &str) -> Result<Answer, ReadError> {
        if !is_connected(client) {
            return Err(ReadError::NoAnswer(what));
        }
        self.metrics.direct_gets.add(1);
        let stream = &self.config.stream.name;
        let result =
            tokio::time::timeout(self.config.nats.request_timeout, direct_get(client, stream, what, request)).await;
        let result = result.unwrap_or(Err(ReadError::NoAnswer(what)));
        if result.is_err() {
            self.metrics.direct_get_errors.add(1);
        }
        result
    }
}

/// One Direct Get request to a stream, and all its answers. Waits for ever: the caller knows for how long.
///
/// # Errors
/// See [`ReadError`].
///
/// # Cancel safety
/// Cancel safe: it only reads.
pub(crate) async fn direct_get(
    client: &Client,
    stream: &str,
    what: &'static str,
    request: &str,
) -> Result<Answer, ReadError> {
    let gone = |_| ReadError::NoAnswer(what);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| ReadError::NoAnswer(what))?;
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let request = request.to_owned().into();
    client.publish_with_reply(subject, inbox, request).await.map_err(gone)?;
    let mut names = HashMap::new();
    let mut messages = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.status.map(|status| status.as_u16()) {
            // The answer's Nats-Last-Sequence is the one before it in this batch, not in the chain.
            None => messages.extend(stored(&answer, &mut names).map(|found| Stored { last: None, ..found })),
            Some(END_OF_BATCH) => {
                let headers = answer.headers.as_ref();
                let up_to = headers.and_then(|headers| number(headers, "Nats-UpTo-Sequence")).unwrap_or(0);
                let pending = headers.and_then(|headers| number(headers, "Nats-Num-Pending")).unwrap_or(0);
                if what == LAST_VALUES && pending > 0 {
                    // Cut short by the server's limit in bytes: incomplete is as good as too wide.
                    return Err(ReadError::TooWide);
                }
                return Ok(Answer { messages, pending, up_to });
            }
            Some(TOO_WIDE) => return Err(ReadError::TooWide),
            Some(404) => return Err(ReadError::NotFound(what)),
            Some(503) => return Err(ReadError::NoAnswer(what)),
            Some(status) => return Err(ReadError::Unexpected(what, status.to_string())),
        }
    }
    Err(ReadError::NoAnswer(what))
}

fn parse_barrier(answer: &[u8]) -> Result<u64, ReadError> {
    let unexpected = || ReadError::Unexpected("barrier", String::from_utf8_lossy(answer).chars().take(200).collect());
    let refusal: Refusal = serde_json::from_slice(answer).map_err(|_| unexpected())?;
    if refusal.error.err_code != WRONG_LAST_SEQUENCE {
        return Err(unexpected());
    }
    let last = refusal.error.description.rsplit(' ').next().and_then(|number| number.parse().ok());
    last.ok_or_else(unexpected)
}

fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

/// Whether an answer to `STREAM.MSG.GET` says that the message is stored.
///
/// # Errors
/// It says neither that nor the opposite: a server that knows no leader answers too.
fn says_stored(answer: &[u8]) -> Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct Fault {
        err_code: u64,
        description: Option<String>,
    }
    #[derive(Deserialize)]
    struct Answer {
        message: Option<serde::de::IgnoredAny>,
        error: Option<Fault>,
    }
    let unexpected = |what: String| Err(ReadError::Unexpected("message", what));
    match serde_json::from_slice(answer) {
        Ok(Answer { message: Some(_), .. }) => Ok(true),
        Ok(Answer { error: Some(Fault { err_code: NO_MESSAGE_FOUND, .. }), .. }) => Ok(false),
        Ok(Answer { error: Some(fault), .. }) => {
            unexpected(format!("{} ({})", fault.description.unwrap_or_default(), fault.err_code))
        }
        Ok(_) => unexpected("neither a message nor an error".to_owned()),
        Err(error) => unexpected(error.to_string()),
    }
}

/// A message that was read back, or republished live: both carry the same headers.
pub(super) fn stored(message: &Message, subjects: &mut HashMap<Box<str>, Arc<str>>) -> Option<Stored> {
    let headers = message.headers.as_ref()?;
    let name = headers.get(header::NATS_SUBJECT)?.as_str();
    let subject = match subjects.get(name) {
        Some(subject) => subject.clone(),
        None => {
            let subject: Arc<str> = name.into();
            subjects.insert(name.into(), subject.clone());
            subject
        }
    };
    let seq = headers.get(header::NATS_SEQUENCE)?.as_str().parse().ok()?;
    let last = headers.get(header::NATS_LAST_SEQUENCE).and_then(|last| last.as_str().parse().ok());
    let time = headers.get(header::NATS_TIME_STAMP)?.as_str();
    let ts_ms = async_nats::datetime::parse_rfc3339(time).ok()?.unix_timestamp_nanos() / 1_000_000;
    let is_marker = headers.get(header::NATS_MARKER_REASON).is_some();
    Some(Stored {
        subject,
        seq,
        last,
        ts_ms: i64::try_from(ts_ms).ok()?,
        // Copied: the message is a slice of the connection's read buffer and would keep all of it.
        payload: (!is_marker).then(|| bytes::Bytes::copy_from_slice(&message.payload)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_last_sequence_out_of_the_refusal() {
        let answer = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4711"},"stream":"ODIN","seq":0}"#;
        assert_eq!(parse_barrier(answer), Ok(4711));
    }

    #[test]
    fn does_not_take_an_acknowledgement_for_a_barrier() {
        assert!(parse_barrier(br#"{"stream":"ODIN","seq":12}"#).is_err());
        assert!(parse_barrier(b"").is_err());
        let other = br#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded 12"}}"#;
        assert!(parse_barrier(other).is_err());
    }

    #[test]
    fn only_one_error_says_that_a_message_is_not_stored() {
        assert_eq!(says_stored(br#"{"message":{"seq":7}}"#).ok(), Some(true));
        let none = br#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert_eq!(says_stored(none).ok(), Some(false));
        // A server without a leader answers at once, and knows nothing.
        let away =
            br#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
        for answer in [&away[..], b"{}", b"", br#"{"error":{}}"#] {
            assert!(says_stored(answer).is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }
}
