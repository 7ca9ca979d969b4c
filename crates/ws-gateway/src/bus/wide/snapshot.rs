//! The last values of a wide pattern: the names of its subjects, then their values some at a time.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use crate::bus::{
    feed::Stored,
    reads::RETRY,
    replay::{LAG, ReadError, Replay},
};

/// Subjects whose last values are read by one request. Fewer than Direct Get would answer, because each
/// answer is work for the sequencer in one go.
const SOME: usize = 500;

/// How often a leader that does not have what it has announced is asked again.
const LAGGING_ANSWERS: u32 = 20;

#[derive(Deserialize)]
struct Info {
    state: State,
    /// Subjects that match, where not all are listed.
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct State {
    last_seq: u64,
    #[serde(default)]
    subjects: std::collections::HashMap<String, u64>,
}

/// The subjects of a pattern.
#[derive(Debug)]
pub(super) struct Census {
    /// Every subject with a message up to here is among `subjects`, or has none any more.
    pub(super) up_to: u64,
    pub(super) subjects: Vec<String>,
}

impl Replay {
    /// The subjects that `filter` matches, from a server that has at least everything the leader had
    /// when this was called – or has not caught up in reasonable time, which its answer tells.
    ///
    /// # Errors
    /// [`ReadError::TooWide`] for more than `most`, others as they come.
    pub(super) async fn census(&self, filter: &str, most: usize) -> Result<Census, ReadError> {
        let barrier = self.barrier().await?;
        let request = serde_json::json!({ "subjects_filter": filter }).to_string();
        let mut lagging = 0;
        loop {
            let _permit = self.permit().await;
            let Info { state, total } = self.ask_stream_info(request.clone()).await?;
            if state.subjects.len().max(total) > most {
                return Err(ReadError::TooWide);
            }
            if state.last_seq >= barrier || lagging >= LAGGING_ANSWERS {
                return Ok(Census { up_to: state.last_seq, subjects: state.subjects.into_keys().collect() });
            }
            lagging += 1;
            tokio::time::sleep(LAG).await;
        }
    }
}

/// The last values of the subjects of a census, as of it, some at a time, asked for until they come.
#[derive(Debug)]
pub(super) struct LastOfEach {
    left: Vec<Vec<String>>,
    up_to: u64,
}

/// Some of them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) values: Vec<Stored>,
    /// Subjects whose value of then has been followed by another one, and the sequence of that.
    pub(super) newer: Vec<(Arc<str>, u64)>,
}

impl LastOfEach {
    pub(super) fn of(census: Census) -> Self {
        let left = census.subjects.chunks(SOME).map(<[String]>::to_vec).collect();
        Self { left, up_to: census.up_to }
    }

    /// The next values. None: these were all.
    pub(super) async fn next(&mut self, replay: &Replay) -> Option<Part> {
        loop {
            let some = self.left.pop()?;
            let filters: Vec<&str> = some.iter().map(String::as_str).collect();
            match replay.last_values(&filters, 0, true).await {
                Ok(answer) if answer.up_to >= self.up_to => {
                    let (values, newer): (Vec<_>, Vec<_>) =
                        answer.messages.into_iter().partition(|value| value.seq <= self.up_to);
                    let newer = newer.into_iter().map(|value| (value.subject, value.seq)).collect();
                    return Some(Part { values, newer });
                }
                Ok(_) => {
                    // A replica behind the census, which a barrier did not rule out.
                    self.left.push(some);
                    tokio::time::sleep(LAG).await;
                }
                Err(ReadError::TooWide) if some.len() > 1 => {
                    // So large that they do not fit into one answer.
                    let (front, back) = some.split_at(some.len() / 2);
                    self.left.extend([front.to_vec(), back.to_vec()]);
                }
                Err(error) => {
                    tracing::warn!(%error, subjects = some.len(), "cannot read last values yet");
                    self.left.push(some);
                    tokio::time::sleep(jittered(RETRY)).await;
                }
            }
        }
    }
}

/// `time`, give or take a half.
pub(in crate::bus) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.5..1.5))
}
