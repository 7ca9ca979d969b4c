//! Which connections a user has, on all gateways: asked of each, because nobody knows those of the others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{
    Cluster,
    words::{Answer, Ask, Boot, Name, Seen},
};
use crate::control::Order;

/// Connections told of one user, of all gateways together.
const MAX_LISTED: usize = 1_000;

/// How long the others may take, and how long the own shards: less, so that an answer is not late.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const SHARDS_TIMEOUT: Duration = Duration::from_millis(700);

/// Questions of others that are being answered. Those beyond are not.
const ANSWERS_UNDER_WAY: usize = 16;

/// Questions that are open.
#[derive(Debug)]
pub(super) struct Questions {
    last: AtomicU64,
    open: Mutex<HashMap<u64, mpsc::Sender<Answer>>>,
    answering: Arc<Semaphore>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// At most 1,000, each with its gateway.
    pub(crate) connections: Vec<(Name, Boot, Seen)>,
    /// Whether these are all: every gateway answered, and there are no more.
    pub(crate) is_complete: bool,
}

/// Closes a question, however it ends.
struct Open<'a> {
    questions: &'a Questions,
    id: u64,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(rand::random()),
            open: Mutex::default(),
            answering: Arc::new(Semaphore::new(ANSWERS_UNDER_WAY)),
        }
    }
}

impl Questions {
    fn open(&self, room: usize) -> (Open<'_>, mpsc::Receiver<Answer>) {
        let (tell, told) = mpsc::channel(room.max(1));
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, tell);
        (Open { questions: self, id }, told)
    }

    /// Says whether somebody is waiting for it.
    pub(super) fn on_answer(&self, answer: Answer) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&answer.id).is_some_and(|tell| tell.try_send(answer).is_ok())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.questions.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Cluster {
    /// The user's connections on all gateways that are known, within a second.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn connections_of(&self, sub: &str) -> Found {
        let mut awaited = self.peers().boots();
        let (question, mut answers) = self.questions.open(awaited.len());
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        self.say("ask", &Ask { boot: self.me.1, id: question.id, sub: sub.into() }).await;
        let (here, mut is_complete) = self.seen_here(sub).await;
        let mine = |seen| (self.me.0.clone(), self.me.1, seen);
        let mut connections: Vec<_> = here.into_iter().map(mine).collect();
        while !awaited.is_empty() {
            let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.recv()).await else {
                break;
            };
            // One answer of each: whoever answers twice, or was not asked, is not heard.
            let before = awaited.len();
            awaited.retain(|boot| *boot != answer.boot);
            if awaited.len() < before {
                is_complete &= answer.is_complete;
                let (gateway, boot) = (answer.gateway, answer.boot);
                connections.extend(answer.connections.into_iter().map(|seen| (gateway.clone(), boot, seen)));
            }
        }
        is_complete &= awaited.is_empty() && connections.len() <= MAX_LISTED;
        connections.truncate(MAX_LISTED);
        Found { connections, is_complete }
    }

    /// Those of this gateway, and whether these are all.
    async fn seen_here(&self, sub: &str) -> (Vec<Seen>, bool) {
        let (reply, mut answers) = mpsc::channel(self.shards.len().max(1));
        // One more than are told, to see whether there are more.
        Order::List { sub: sub.into(), limit: MAX_LISTED + 1, reply }.give(&self.shards);
        let deadline = Instant::now() + SHARDS_TIMEOUT;
        let (mut seen, mut is_complete) = (Vec::new(), true);
        for _ in &self.shards {
            match tokio::time::timeout_at(deadline, answers.recv()).await {
                Ok(Some(of_shard)) => seen.extend(of_shard),
                _ => {
                    is_complete = false;
                    break;
                }
            }
        }
        is_complete &= seen.len() <= MAX_LISTED;
        seen.truncate(MAX_LISTED);
        (seen, is_complete)
    }

    /// Answers another gateway. Says whether there is somebody to do it.
    pub(super) fn on_ask(self: &Arc<Self>, ask: Ask) -> bool {
        let Ok(permit) = self.questions.answering.clone().try_acquire_owned() else {
            return false;
        };
        let cluster = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let (connections, is_complete) = cluster.seen_here(&ask.sub).await;
            let (gateway, boot) = cluster.me.clone();
            let answer = Answer { gateway, boot, id: ask.id, connections, is_complete };
            cluster.say(&format!("to.{}.answer", ask.boot), &answer).await;
        });
        true
    }
}
