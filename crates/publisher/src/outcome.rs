//! Waits for the answers to everything published, says which messages failed, and notices a missing stream.

use std::fmt;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use odin_publisher::{Ack, PublishError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Answers waiting to be taken over; then the source waits.
const CAPACITY: usize = 1_024;
/// Failures said one by one; of the others every thousandth.
const SAID: u64 = 20;

/// Where a message came from, for its failure's log line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The line of the input, from 1.
    Line(u64),
    /// The message of the simulation, from 1.
    Step(u64),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(number) => write!(f, "line {number}"),
            Origin::Step(number) => write!(f, "message {number}"),
        }
    }
}

/// Takes over answers and failures.
#[derive(Debug)]
pub(crate) struct Outcomes {
    waiting: mpsc::Sender<(Origin, Result<Ack, PublishError>)>,
    task: JoinHandle<()>,
    /// Some message's subject has no stream.
    pub(crate) no_stream: CancellationToken,
}

impl Outcomes {
    pub(crate) fn start() -> Outcomes {
        let (waiting, incoming) = mpsc::channel(CAPACITY);
        let no_stream = CancellationToken::new();
        let task = tokio::spawn(watch(incoming, no_stream.clone()));
        Outcomes { waiting, task, no_stream }
    }

    /// Takes over the answer to one message. What waits here is bounded by what the publisher has in flight.
    pub(crate) async fn add(&self, origin: Origin, outcome: Result<Ack, PublishError>) {
        // it ends only after this handle
        let _ = self.waiting.send((origin, outcome)).await;
    }

    /// Waits until every answer is in: after the publisher was closed, at once.
    pub(crate) async fn finish(self) {
        drop(self.waiting);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "lost track of failed messages");
        }
    }
}

async fn watch(mut incoming: mpsc::Receiver<(Origin, Result<Ack, PublishError>)>, no_stream: CancellationToken) {
    let mut answers = FuturesUnordered::new();
    let mut failures = 0;
    let mut open = true;
    while open || !answers.is_empty() {
        let (origin, error) = tokio::select! {
            next = incoming.recv(), if open => match next {
                Some((origin, Ok(ack))) => {
                    answers.push(async move { (origin, ack.await) });
                    continue;
                }
                Some((origin, Err(error))) => (origin, error),
                None => {
                    open = false;
                    continue;
                }
            },
            Some((origin, answer)) = answers.next() => match answer {
                Ok(_) => continue,
                Err(error) => (origin, error),
            },
        };
        failures += 1;
        if failures <= SAID || failures % 1_000 == 0 {
            tracing::error!(%origin, cause = error.cause(), %error, failures, "not published");
        }
        if matches!(error, PublishError::NoStream { .. }) && !no_stream.is_cancelled() {
            tracing::error!("{}", NO_STREAM_HINT);
            no_stream.cancel();
        }
    }
}

/// What to do about it.
pub(crate) const NO_STREAM_HINT: &str =
    "no stream takes these subjects: create odin's streams with `ws-gateway provision`, or check --nats-url";
