//! Reads the past of a filter: what follows a sequence, a stretch at a time, and whether a cursor still
//! names the message it was made of.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use odin_protocol::{Cursor, error::ResumeFailure};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    feed::Stored,
    replay::{BATCH, LAG, ReadError, Replay},
};
use crate::clock::now_ms;

/// Messages in one stretch, and bytes: about what the socket of a reader that catches up takes at once.
const STRETCH_MESSAGES: usize = 256;
const STRETCH_BYTES: usize = 32 * 1024;

/// How often a replica that does not have what its leader has announced is asked again.
const LAGGING_ANSWERS: u32 = 20;

/// Nothing is stored with a time that is so far ahead of ours.
const AHEAD_MS: i64 = 24 * 3_600 * 1_000;

/// How long what was found at a sequence is taken for true.
const ANCHOR_LIFE: Duration = Duration::from_secs(2);

/// What the stream has at a sequence.
#[derive(Debug)]
enum Anchor {
    /// A message of this time.
    At(i64),
    /// Nothing any more.
    Removed,
    /// Nothing yet: the stream ends before.
    Never,
}

/// One look-up for all who ask.
type Lookup = Arc<OnceCell<Anchor>>;

/// Sequences that cursors name, each looked up once for everybody who comes with it at the time.
#[derive(Debug, Default)]
pub(super) struct Anchors(Mutex<HashMap<u64, (Instant, Lookup)>>);

impl Anchors {
    fn of(&self, seq: u64) -> Lookup {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| since.elapsed() < ANCHOR_LIFE);
        all.entry(seq).or_insert_with(|| (Instant::now(), Arc::default())).1.clone()
    }
}

/// Messages of a filter, in order.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// What was asked for begins behind this sequence.
    pub(crate) after: u64,
    /// Everything up to here is in `messages`, or is no longer kept.
    pub(crate) until: u64,
    /// From here on the stream has dropped nothing; `after` + 1 or less when all is there.
    pub(crate) kept_from: u64,
    /// The time of the message with the sequence `after`, if it is one of the filter.
    pub(crate) begins_at_ms: Option<i64>,
    /// Messages that match and lie behind `until`.
    pub(crate) pending: u64,
    pub(crate) messages: Vec<Stored>,
}

impl Stretch {
    /// Bytes that this and everything behind it are likely to have.
    fn replay_bytes(&self) -> u64 {
        let bytes: usize = self.messages.iter().map(Stored::size).sum();
        let count = self.messages.len().max(1) as u64;
        (bytes as u64 / count).saturating_mul(count + self.pending)
    }
}

/// What a cursor turned out to be worth. `Some` is the first stretch behind it.
pub(crate) type Checked = Result<Option<Stretch>, ResumeFailure>;

impl Replay {
    /// The messages of one exact subject with `after` < sequence <= `until`, as far as the stream
    /// still has them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn between(&self, subject: &str, after: u64, until: u64) -> Result<Stretch, ReadError> {
        let mut found = Stretch { after, until, kept_from: 0, begins_at_ms: None, pending: 0, messages: vec![] };
        let mut reached = after;
        while reached < until {
            let next = self.read(subject, reached, until, (BATCH, usize::MAX)).await?;
            reached = next.until;
            found.messages.extend(next.messages);
            found.pending = next.pending;
        }
        self.judge(&mut found, subject).await?;
        found.messages.retain(|message| message.seq <= until);
        Ok(found)
    }

    /// What follows `after`: at least one message if there is any up to `until`, which must be the
    /// sequence of a message of the filter, and as many as one answer may hold.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn stretch(&self, filter: &str, after: u64, until: u64) -> Result<Stretch, ReadError> {
        let mut found = self.read(filter, after, until, (STRETCH_MESSAGES, STRETCH_BYTES)).await?;
        self.judge(&mut found, filter).await?;
        Ok(found)
    }

    /// Whether the stream is still the one the cursor was made of, and – where `until` is given –
    /// what follows it up to there. `until` as in [`stretch`](Self::stretch).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn check(&self, filter: &str, cursor: Cursor, until: Option<u64>) -> Result<Checked, ReadError> {
        let found = match until {
            Some(until) => Some(self.stretch(filter, cursor.seq, until).await?),
            None => None,
        };
        let is_the_same = match found.as_ref().and_then(|found| found.begins_at_ms) {
            Some(ts_ms) => ts_ms == cursor.ts_ms,
            None => self.is_the_same(cursor).await?,
        };
        if !is_the_same {
            return Ok(Err(ResumeFailure::RolledBack));
        }
        let Some(found) = found else {
            return Ok(Ok(None));
        };
        Ok(if found.kept_from > cursor.seq + 1 {
            Err(ResumeFailure::CursorTooOld)
        } else if found.replay_bytes() > self.config.feeds.replay_bytes as u64 {
            Err(ResumeFailure::ReplayLimit)
        } else {
            Ok(Some(found))
        })
    }

    /// Sequence and time of the position behind which everything lies that was stored at `ts_ms` or later.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn before(&self, ts_ms: i64) -> Result<(u64, i64), ReadError> {
        // What is further ahead the server may not be able to count.
        let ts_ms = ts_ms.min(now_ms() + AHEAD_MS);
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(ts_ms).unwrap_or(0));
        let time = humantime::format_rfc3339_millis(time).to_string();
        // Of any subject: a position is one of the stream, and the first message is found without looking for it.
        let request = serde_json::json!({ "start_time": time, "next_by_subj": ">", "batch": 1 }).to_string();
        for _ in 0..LAGGING_ANSWERS {
            let answer = {
                let _permit = self.permit().await;
                self.direct_get("first message of a time", &request).await
            };
            let (first, is_sure) = match answer {
                Ok(answer) => (answer.messages.first().map(|message| message.seq), true),
                Err(ReadError::NotFound(_)) => (None, false),
                Err(error) => return Err(error),
            };
            let last = match first {
                Some(first) => first - 1,
                None => self.barrier().await?,
            };
            if last == 0 {
                return Ok((0, 0));
            }
            match self.anchor(last).await? {
                // A replica that lags did not have what the leader had.
                Anchor::At(stored_ms) if stored_ms >= ts_ms && !is_sure => tokio::time::sleep(LAG).await,
                Anchor::At(stored_ms) => return Ok((last, stored_ms)),
                Anchor::Removed | Anchor::Never => return Ok((last, 0)),
            }
        }
        Err(ReadError::NoAnswer("first message of a time"))
    }

    /// Whether the message at the cursor has its time; of one that is gone, whether there can have
    /// been one.
    async fn is_the_same(&self, cursor: Cursor) -> Result<bool, ReadError> {
        if cursor.seq == 0 {
            return Ok(true);
        }
        let asked = self.anchors.of(cursor.seq);
        let anchor = asked.get_or_try_init(|| self.anchor(cursor.seq)).await?;
        Ok(match anchor {
            Anchor::At(ts_ms) => *ts_ms == cursor.ts_ms,
            Anchor::Removed => true,
            Anchor::Never => false,
        })
    }

    async fn anchor(&self, seq: u64) -> Result<Anchor, ReadError> {
        let request = serde_json::json!({ "seq": seq, "next_by_subj": ">", "batch": 1 }).to_string();
        for _ in 0..LAGGING_ANSWERS {
            let answer = {
                let _permit = self.permit().await;
                self.direct_get("message of a cursor", &request).await
            };
            match answer {
                Ok(answer) => {
                    let found = answer.messages.first().filter(|message| message.seq == seq);
                    return Ok(found.map_or(Anchor::Removed, |message| Anchor::At(message.ts_ms)));
                }
                // Beyond the end of the stream, or of a replica that lags.
                Err(ReadError::NotFound(_)) if self.barrier().await? < seq => return Ok(Anchor::Never),
                Err(ReadError::NotFound(_)) => tokio::time::sleep(LAG).await,
                Err(error) => return Err(error),
            }
        }
        // Everything from there on was removed.
        Ok(Anchor::Removed)
    }

    /// One answer, from a replica that has what it was asked for.
    async fn read(
        &self,
        filter: &str,
        after: u64,
        until: u64,
        (most, most_bytes): (usize, usize),
    ) -> Result<Stretch, ReadError> {
        let _permit = self.permit().await;
        // From `after` on: whether it is a message of the filter tells the first one its predecessor.
        let mut from = after.max(1);
        let mut begins_at_ms = None;
        let mut lagging = 0;
        loop {
            let mut request = serde_json::json!({ "seq": from, "next_by_subj": filter, "batch": most });
            if most_bytes < usize::MAX {
                request["max_bytes"] = most_bytes.into();
            }
            let (mut messages, pending) = match self.direct_get("messages", &request.to_string()).await {
                Ok(answer) => (answer.messages, answer.pending),
                Err(ReadError::NotFound(_)) => (Vec::new(), 0),
                Err(error) => return Err(error),
            };
            if messages.first().is_some_and(|first| first.seq == after) {
                begins_at_ms = Some(messages.remove(0).ts_ms);
                from = after + 1;
            }
            let reached = messages.last().map_or(after, |last| last.seq);
            if reached < until && pending == 0 && lagging < LAGGING_ANSWERS {
                // A replica that lags does not have them yet. The leader has: they were announced.
                lagging += 1;
                tokio::time::sleep(LAG).await;
                continue;
            }
            if reached < until && pending == 0 && self.is_stored(until).await? {
                // Nobody may conclude from a replica that lags for so long that there is nothing.
                return Err(ReadError::NoAnswer("messages"));
            }
            if reached == after && pending > 0 {
                // The answer had room for one message only, and it was the one at `after`.
                continue;
            }
            let until = if pending > 0 { reached } else { reached.max(until) };
            return Ok(Stretch { after, until, kept_from: 0, begins_at_ms, pending, messages });
        }
    }

    /// Says from where on the stream has everything of it. Asked afterwards: a read that begins below
    /// the first message begins at it, without a word.
    async fn judge(&self, found: &mut Stretch, filter: &str) -> Result<(), ReadError> {
        let info = self.stream_info().await?;
        found.kept_from = info.state.first_seq;
        let newer = found.messages.len() as u64 + found.pending;
        // As many as a subject may keep: it may have had more before them.
        if u64::try_from(info.config.max_msgs_per_subject).is_ok_and(|most| most > 0 && newer >= most) {
            let is_exact = !filter.contains(['*', '>']);
            let kept_from = match found.messages.first() {
                Some(first) if is_exact => first.seq,
                // Of several subjects nobody can say which.
                _ => found.until + 1,
            };
            found.kept_from = found.kept_from.max(kept_from);
        }
        Ok(())
    }
}
