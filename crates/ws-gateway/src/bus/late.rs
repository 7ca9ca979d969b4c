//! Feeds that are served late: the same publications, so long after the stream stored them.
//!
//! Such a feed has no subscription and no consumer. A [`Task`] of its own reads the stream ahead, some messages at a
//! time, and says each when it is due; it speaks like the task of a wide feed (see [`wide`](super::wide)), so the
//! sequencer, the shards and the clients find no difference.
//!
//! # Why nothing is missing, and nothing comes early
//! 1. **Snapshot.** Direct Get gives the last value of each subject as of the time that is due now, the tick's among
//!    them. *W* is the largest sequence of the answer: a message of the feed behind W was stored later than that, or it
//!    would itself be in the answer.
//! 2. **Following.** What is read behind W is in the order of the stream. A replica that lags has a prefix of it, so
//!    what it lacks is read the next time; and it is read long before it is due.
//! 3. **Early.** A message is said when the gateway's clock has reached its time in the stream and the delay. What a
//!    slow reader or a resumed client reads back ends at the newest message that was said.
//! 4. **Dropped by the stream before it was due.** After each read the first sequence that is kept is compared with
//!    what had been read of the stream by the read before. What cannot be proven ends in [`Word::Lost`]: the feed begins
//!    anew, and clients are told.
//!
//! # Bounds
//! Messages read ahead: [`AHEAD`]. Subjects of a pattern: what Direct Get reads at once, 1,024; more is too wide.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use odin_protocol::Epoch;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Bus,
    feed::Stored,
    reads::RETRY,
    replay::{BATCH, LAST_VALUES, ReadError, Replay},
    source::{Carrier, SourceId},
    wide::{Facts, Link, Word, jittered},
};
use crate::{clock::now_ms, metrics::BusMetrics};

/// Messages read ahead of their time.
const AHEAD: usize = 256;

/// Bytes of one such read.
const AHEAD_BYTES: usize = 256 * 1024;

/// The longest sleep: clocks may be set, and what is said of the feed must not be older.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// How far the clocks of the stream's servers and ours may be apart without a message being late.
const SKEW: Duration = Duration::from_secs(5);

/// By then a replica that answers has what the leader had.
const SETTLED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
struct Task {
    id: SourceId,
    filter: String,
    epoch: Epoch,
    delay: Duration,
    replay: Arc<Replay>,
    link: Arc<Link>,
    metrics: Arc<BusMetrics>,
    say: mpsc::Sender<(SourceId, Word)>,
    /// Read, and not due yet.
    ahead: VecDeque<Stored>,
    /// Everything of the feed up to here was read.
    read: u64,
    /// The stream was read up to here at least.
    proven: u64,
    /// The leader's last sequence, and when it was asked for: it will have been read by the next read.
    last: (u64, Instant),
}

/// The task has said its last word, or nobody listens any more.
struct Over;

impl Bus {
    /// Serves a feed late.
    pub(super) fn open_late(&mut self, id: SourceId) {
        let (Some(epoch), Some(source)) = (self.epoch, self.source(id)) else {
            return;
        };
        let (Some(delay), filter) = (source.topic.delay, source.topic.subject.clone()) else {
            return;
        };
        source.reopen(id.opening);
        let Carrier::Late(following) = &mut source.carrier else {
            return;
        };
        let (stopped, rest) = following.begin();
        let task = Task {
            id,
            filter,
            epoch,
            delay,
            replay: self.replay.clone(),
            link: self.wide.link.clone(),
            metrics: self.metrics.clone(),
            say: self.wide.say.clone(),
            ahead: VecDeque::new(),
            read: 0,
            proven: 0,
            last: (0, Instant::now()),
        };
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            task.run(stopped).await;
        });
    }
}

impl Task {
    async fn run(mut self, stop: oneshot::Receiver<()>) {
        tokio::select! {
            _ = stop => {}
            _ = self.live() => {}
        }
    }

    async fn live(&mut self) -> Result<(), Over> {
        self.open().await?;
        loop {
            self.say_due().await?;
            if self.ahead.is_empty() {
                self.read_ahead().await?;
            }
            let wait = match self.ahead.front() {
                Some(next) => self.due_in(next.ts_ms),
                // What is stored from now on is not due before.
                None => self.delay.saturating_sub(SKEW).max(self.delay / 2),
            };
            tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
        }
    }

    async fn tell(&self, word: Word) -> Result<(), Over> {
        self.say.send((self.id, word)).await.map_err(|_| Over)
    }

    async fn end(&self, word: Word) -> Over {
        // What is said last ends the task; whether it was heard makes no difference to it.
        let _ = self.tell(word).await;
        Over
    }

    /// How long until what was stored at `ts_ms` is due.
    fn due_in(&self, ts_ms: i64) -> Duration {
        let delay_ms = i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX);
        let left_ms = ts_ms.saturating_add(delay_ms).saturating_sub(now_ms());
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }

    /// The last values as of the time that is due.
    async fn open(&mut self) -> Result<(), Over> {
        loop {
            let due_ms = now_ms().saturating_sub(i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX));
            match self.values_as_of(due_ms).await {
                Ok((up_to, values)) => {
                    (self.read, self.proven, self.last) = (up_to, up_to, (up_to, Instant::now()));
                    let subjects = values.len();
                    self.tell(Word::Values { values, newer: Vec::new() }).await?;
                    return self.tell(Word::Opened { up_to, subjects }).await;
                }
                Err(ReadError::TooWide) => return Err(self.end(Word::TooWide).await),
                Err(error) => {
                    tracing::warn!(%error, filter = self.filter, "cannot open a late feed yet");
                    self.metrics.open_retries.add(1);
                    tokio::time::sleep(jittered(RETRY)).await;
                }
            }
        }
    }

    /// Says everything whose time has come.
    async fn say_due(&mut self) -> Result<(), Over> {
        let mut messages = Vec::new();
        while let Some(next) = self.ahead.front()
            && self.due_in(next.ts_ms).is_zero()
        {
            messages.extend(self.ahead.pop_front());
        }
        match messages.last() {
            Some(last) => {
                let up_to = last.seq;
                self.tell(Word::Live { messages, traces: HashMap::new(), up_to, is_news: true }).await
            }
            None => Ok(()),
        }
    }

    /// Reads what follows, however much of it is due.
    async fn read_ahead(&mut self) -> Result<(), Over> {
        loop {
            let after = self.read;
            let (before, (messages, is_all), facts) = match self.read_behind(after).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(%error, filter = self.filter, "cannot read on for a late feed yet");
                    tokio::time::sleep(jittered(RETRY)).await;
                    continue;
                }
            };
            if facts.epoch != self.epoch {
                return Err(self.end(Word::OtherStream).await);
            }
            if facts.first_seq > self.proven.max(after) + 1 {
                return Err(self.end(Word::Lost).await);
            }
            self.read = messages.last().map_or(after, |last| last.seq);
            self.proven = self.proven.max(self.read);
            if is_all && self.last.1.elapsed() >= SETTLED {
                self.proven = self.proven.max(self.last.0);
                self.last = (before.last_seq, Instant::now());
            }
            self.ahead.extend(messages);
            return Ok(());
        }
    }

    /// Messages behind `after` in the order of the stream, whether these are all, and the stream before and after.
    async fn read_behind(&self, after: u64) -> Result<(Facts, (Vec<Stored>, bool), Facts), ReadError> {
        let before = self.facts().await?;
        let request = serde_json::json!({
            "seq": after + 1, "next_by_subj": self.filter, "batch": AHEAD, "max_bytes": AHEAD_BYTES,
        });
        let _permit = self.replay.permit().await;
        let read = match self.replay.direct_get("late messages", &request.to_string()).await {
            Ok(answer) => (answer.messages, answer.pending == 0),
            Err(ReadError::NotFound(_)) => (Vec::new(), true),
            Err(error) => return Err(error),
        };
        Ok((before, read, self.facts().await?))
    }

    async fn facts(&self) -> Result<Facts, ReadError> {
        self.link.facts().await.map_err(|_| ReadError::NoAnswer("stream info"))
    }

    /// The last value of each subject as of a time, and up to which sequence of the stream that is everything.
    async fn values_as_of(&self, ts_ms: i64) -> Result<(u64, Vec<Stored>), ReadError> {
        let facts = self.facts().await?;
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(ts_ms).unwrap_or_default());
        let time = humantime::format_rfc3339_millis(time).to_string();
        let tick = self.replay.config.stream.tick_subject.as_str();
        // The tick's is asked for too: it is the newest of what there was then.
        let mut asked = vec![self.filter.as_str(), tick];
        let _permit = self.replay.permit().await;
        loop {
            let request = serde_json::json!({ "multi_last": asked, "up_to_time": time, "batch": BATCH + 25 });
            let mut values = match self.replay.direct_get(LAST_VALUES, &request.to_string()).await {
                Ok(answer) => answer.messages,
                // The stream is younger.
                Err(ReadError::NotFound(_)) => return Ok((facts.first_seq.saturating_sub(1), Vec::new())),
                // The tick may be the one subject too many.
                Err(ReadError::TooWide) if asked.len() > 1 => {
                    asked.truncate(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let up_to = values.iter().map(|value| value.seq).max().unwrap_or_default();
            values.retain(|value| *value.subject != *tick);
            return Ok((up_to, values));
        }
    }
}
