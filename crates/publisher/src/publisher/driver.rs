//! The one task between callers and the connection: it sends what the [`Queue`] has ready, hands it the answers, and asks
//! about streams where nobody listens.
//!
//! Its inputs are bounded: jobs by the permits taken before, controls by their channel, answers by what is in flight (an
//! answer that finds no room is lost like any other lost answer: the attempt times out and is sent again).
//!
//! Known limit: what was handed to the connection in the seconds before it is found dead may be sent by it after it is back.
//! Should that take longer than the duplicate window, an attempt whose message had been stored before, unacknowledged,
//! would be stored again. The client offers no way to take it back; a reconnect within the window is safe.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::{self, context::GetStreamByNameErrorKind};
use async_nats::{Client, Subscriber};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::error::PublishError;
use super::job::Job;
use super::queue::Queue;
use crate::subject::Subject;

/// How often a lost connection is looked at while something waits to be sent.
const RECONNECT_POLL: Duration = Duration::from_millis(100);
/// How long a connection may take to accept a message before it counts as stalled.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// Questions about streams at the same time; further ones wait their turn.
const MAX_QUESTIONS: usize = 8;
/// Answers taken in one turn before what they made ready is sent.
const ANSWERS_PER_TURN: usize = 256;

/// What a publisher tells its driver besides jobs.
#[derive(Debug)]
pub(crate) enum Control {
    /// Say when everything accepted so far is settled.
    Flush(oneshot::Sender<()>),
    /// Answer everything now and end.
    Abort,
}

/// The connection as its events tell it.
#[derive(Debug)]
pub(crate) struct Link {
    /// It was lost and has not come back yet.
    pub(crate) lost: bool,
    /// When it came back last.
    pub(crate) since: Instant,
}

/// What the driver listens to.
pub(crate) struct Inputs {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) answers: Subscriber,
    /// The connection's ups and downs; a change means that it came back.
    pub(crate) link: watch::Receiver<Link>,
    /// Subjects the server has refused.
    pub(crate) forbidden: mpsc::Receiver<String>,
}

type Question = Pin<Box<dyn Future<Output = (u64, Option<bool>)> + Send>>;

pub(crate) struct Driver {
    client: Client,
    jetstream: jetstream::Context,
    /// Replies go to `<inbox>.<key>-<attempt>`.
    inbox: String,
    queue: Queue,
    questions: FuturesUnordered<Question>,
    unasked: Vec<(u64, Subject)>,
    /// The connection takes nothing at the moment.
    stalled: bool,
}

impl Driver {
    pub(crate) fn new(client: Client, jetstream: jetstream::Context, inbox: String, queue: Queue) -> Driver {
        Driver {
            client,
            jetstream,
            inbox,
            queue,
            questions: FuturesUnordered::new(),
            unasked: Vec::new(),
            stalled: false,
        }
    }

    /// Runs until all publishers are gone and everything is settled, or until it is told to abort.
    pub(crate) async fn run(mut self, mut inputs: Inputs, finished: CancellationToken) {
        let _finished = finished.drop_guard();
        let (mut jobs_open, mut controls_open, mut answers_open) = (true, true, true);
        loop {
            self.take_jobs(&mut inputs.jobs);
            self.send_ready().await;
            if !jobs_open && self.queue.is_empty() {
                return;
            }
            let wake = self.wake_at();
            tokio::select! {
                job = inputs.jobs.recv(), if jobs_open => match job {
                    Some(job) => self.queue.push(job, Instant::now()),
                    None => jobs_open = false,
                },
                answer = inputs.answers.next(), if answers_open => match answer {
                    Some(answer) => self.take_answers(answer, &mut inputs.answers),
                    // the client has ended, which it does only when told: deadlines settle what is left
                    None => answers_open = false,
                },
                control = inputs.control.recv(), if controls_open => match control {
                    Some(Control::Flush(waiter)) => {
                        self.take_jobs(&mut inputs.jobs);
                        self.queue.flush(waiter);
                    }
                    Some(Control::Abort) => {
                        inputs.jobs.close();
                        self.take_jobs(&mut inputs.jobs);
                        self.queue.abort(Instant::now());
                        return;
                    }
                    None => controls_open = false,
                },
                Ok(()) = inputs.link.changed() => {
                    let since = inputs.link.borrow_and_update().since;
                    self.queue.reconnected(since);
                }
                Some(subject) = inputs.forbidden.recv() => self.queue.forbid(&subject, Instant::now()),
                Some((key, has_stream)) = self.questions.next(), if !self.questions.is_empty() => {
                    self.queue.asked(key, has_stream, Instant::now());
                    self.ask();
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let now = Instant::now();
                    self.queue.expire(now);
                    if self.cannot_send() {
                        self.queue.expire_ready(now);
                    }
                    self.stalled = false;
                }
            }
        }
    }

    fn take_jobs(&mut self, jobs: &mut mpsc::Receiver<Job>) {
        let now = Instant::now();
        while let Ok(job) = jobs.try_recv() {
            self.queue.push(job, now);
        }
    }

    fn take_answers(&mut self, first: async_nats::Message, answers: &mut Subscriber) {
        let now = Instant::now();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(answer) = next {
            if let Some((key, attempt)) = self.address(&answer)
                && let Some(subject) = self.queue.answer(key, attempt, Answer::read(&answer), now)
            {
                self.unasked.push((key, subject));
            }
            taken += 1;
            next = if taken < ANSWERS_PER_TURN { answers.next().now_or_never().flatten() } else { None };
        }
        self.ask();
    }

    /// Which message and attempt an answer is for.
    fn address(&self, answer: &async_nats::Message) -> Option<(u64, u32)> {
        let token = answer.subject.as_str().strip_prefix(self.inbox.as_str())?.strip_prefix('.')?;
        let (key, attempt) = token.split_once('-')?;
        Some((u64::from_str_radix(key, 16).ok()?, attempt.parse().ok()?))
    }

    async fn send_ready(&mut self) {
        while let Some(key) = self.queue.next_ready() {
            if self.cannot_send() {
                return;
            }
            let Some(attempt) = self.queue.attempt(key) else {
                continue;
            };
            let reply = format!("{}.{key:x}-{}", self.inbox, attempt.number);
            let bytes = attempt.payload.len();
            let publish = self.client.publish_with_reply_and_headers(
                async_nats::Subject::from(attempt.subject.as_str()),
                reply,
                attempt.headers,
                attempt.payload,
            );
            // dropping it half-way sends nothing: either the connection's channel has taken the message or not
            match timeout(HANDOVER_TIMEOUT, publish).await {
                Ok(Ok(())) => self.queue.sent(key, Instant::now()),
                Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let limit = format!("the server allows {} bytes", self.client.max_payload());
                    let error = PublishError::TooLarge { subject: attempt.subject, bytes, limit };
                    self.queue.refuse(key, error, Instant::now());
                }
                // slow, or gone for good: the retry window decides how long that is waited for
                Ok(Err(_)) | Err(_) => {
                    self.stalled = true;
                    return;
                }
            }
        }
    }

    /// Nothing is handed to a client without a connection: it would keep the message, and could send it long after the
    /// stream has forgotten its id.
    fn cannot_send(&self) -> bool {
        self.stalled || self.client.connection_state() != State::Connected
    }

    fn wake_at(&mut self) -> Option<Instant> {
        let deadline = self.queue.next_deadline();
        let poll = (self.queue.next_ready().is_some()).then(|| Instant::now() + RECONNECT_POLL);
        deadline.into_iter().chain(poll).min()
    }

    fn ask(&mut self) {
        while self.questions.len() < MAX_QUESTIONS
            && let Some((key, subject)) = self.unasked.pop()
        {
            let jetstream = self.jetstream.clone();
            self.questions.push(Box::pin(async move { (key, has_stream(&jetstream, &subject).await) }));
        }
    }
}

/// Whether a stream takes `subject`; `None` when JetStream does not say.
pub(crate) async fn has_stream(jetstream: &jetstream::Context, subject: &Subject) -> Option<bool> {
    match jetstream.stream_by_subject(subject.as_str()).await {
        Ok(_) => Some(true),
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Some(false),
        Err(error) => {
            tracing::debug!(%subject, %error, "cannot ask which stream takes a subject");
            None
        }
    }
}
