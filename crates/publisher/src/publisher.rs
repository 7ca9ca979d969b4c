//! A publisher: accepts messages, bounded, and answers each exactly once. See the crate's page for what it promises.

mod answer;
mod backoff;
mod connection;
mod driver;
mod error;
mod flushes;
mod job;
mod message;
mod options;
mod queue;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, context::GetStreamByNameErrorKind};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use error::{ConnectError, PublishError, StreamError};
pub use message::{Ack, Message, Published, new_message_id};
pub use options::{Auth, Options, OptionsError, Tls};
pub use trace::Traces;

use crate::stats::{Counters, Stats};
use crate::subject::Subject;
use connection::{connect_options, masked, on_event, parse_urls};
use driver::{Control, Driver, Inputs, Link};
use job::{Accounts, Job};
use message::{UUID_BYTES, new_id};
use queue::Queue;

/// Longest message id, in bytes.
const MAX_ID_BYTES: usize = 128;
/// Flushes and aborts waiting for the driver; further callers wait.
const CONTROL_CAPACITY: usize = 16;
/// Refused subjects waiting for the driver; further ones run into their timeout instead.
const FORBIDDEN_CAPACITY: usize = 256;

/// Publishes acknowledged, once, in order per subject, bounded. Clones share everything; when the last one is dropped, what
/// was accepted is still published in the background while the runtime lives.
#[derive(Clone, Debug)]
pub struct Publisher {
    accounts: Arc<Accounts>,
    jobs: mpsc::Sender<Job>,
    control: mpsc::Sender<Control>,
    finished: CancellationToken,
    jetstream: jetstream::Context,
    max_in_flight: usize,
    max_in_flight_bytes: usize,
    max_message_bytes: usize,
    traces: Option<Traces>,
}

/// What the server says about the stream of a subject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamCheck {
    /// The stream's name.
    pub name: String,
    /// How long it remembers ids; the publisher was told [`Options::duplicate_window`].
    pub duplicate_window: Duration,
}

impl Publisher {
    /// Connects and starts the publisher's task on the current runtime.
    ///
    /// Afterwards the connection is kept by itself, with jittered pauses between 25 ms and 2 s.
    ///
    /// # Errors
    /// [`ConnectError`]: options that cannot work, credentials that cannot be read, no server within
    /// [`Options::connect_timeout`] or none that lets us in.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect(options: Options) -> Result<Publisher, ConnectError> {
        options.validate()?;
        let urls = parse_urls(&options.urls)?;
        let (link_tx, link) = watch::channel(Link { lost: false, since: Instant::now() });
        let (forbidden_tx, forbidden) = mpsc::channel(FORBIDDEN_CAPACITY);
        let connect_options = connect_options(&options).await?.event_callback(move |event| {
            on_event(&event, &link_tx, &forbidden_tx);
            std::future::ready(())
        });
        let client = async_nats::connect_with_options(&urls[..], connect_options).await.map_err(|source| {
            let urls = options.urls.iter().map(|url| masked(url)).collect::<Vec<_>>().join(", ");
            ConnectError::Nats { urls, source }
        })?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(|_| ConnectError::Inbox)?;
        let jetstream = jetstream::new(client.clone());

        let accounts = Arc::new(Accounts {
            counters: Counters::new(),
            messages: Semaphore::new(options.max_in_flight),
            bytes: Semaphore::new(options.max_in_flight_bytes),
        });
        let (jobs, jobs_rx) = mpsc::channel(options.max_in_flight);
        let (control, control_rx) = mpsc::channel(CONTROL_CAPACITY);
        let finished = CancellationToken::new();
        let queue = Queue::new(&options, Arc::clone(&accounts));
        let inputs = Inputs { jobs: jobs_rx, control: control_rx, answers, link, forbidden };
        tokio::spawn(Driver::new(client, jetstream.clone(), inbox, queue).run(inputs, finished.clone()));
        Ok(Publisher {
            accounts,
            jobs,
            control,
            finished,
            jetstream,
            max_in_flight: options.max_in_flight,
            max_in_flight_bytes: options.max_in_flight_bytes,
            max_message_bytes: options.max_message_bytes,
            traces: options.traces,
        })
    }

    /// Accepts a message for `subject` under a new id; waits while too much is in flight.
    ///
    /// # Errors
    /// Refused before it was accepted: [`PublishError::Subject`], [`PublishError::TooLarge`], [`PublishError::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future accepts nothing; once it has returned, the message is accepted whatever happens to the [`Ack`].
    pub async fn publish(&self, subject: &str, payload: impl Into<Bytes>) -> Result<Ack, PublishError> {
        let subject = Subject::parse(subject).map_err(|error| self.refused(error.into()))?;
        self.publish_message(Message::new(subject, payload)).await
    }

    /// Accepts a message; waits while too much is in flight.
    ///
    /// # Errors
    /// Refused before it was accepted: [`PublishError::MessageId`], [`PublishError::TimeToLive`],
    /// [`PublishError::TooLarge`], [`PublishError::Closed`].
    ///
    /// # Cancel safety
    /// As [`publish`](Publisher::publish).
    pub async fn publish_message(&self, message: Message) -> Result<Ack, PublishError> {
        let cost = self.check(&message).map_err(|error| self.refused(error))?;
        let closed = |_| self.refused(PublishError::Closed);
        let one = self.accounts.messages.acquire().await.map_err(closed)?;
        let bytes = self.accounts.bytes.acquire_many(cost).await.map_err(closed)?;
        // the driver gives them back when the message is settled
        one.forget();
        bytes.forget();
        self.accept(message, cost)
    }

    /// Accepts a message if there is room for it now.
    ///
    /// # Errors
    /// As [`publish_message`](Publisher::publish_message), and [`PublishError::Full`].
    pub fn try_publish(&self, message: Message) -> Result<Ack, PublishError> {
        let cost = self.check(&message).map_err(|error| self.refused(error))?;
        let failed = |error| match error {
            tokio::sync::TryAcquireError::Closed => self.refused(PublishError::Closed),
            tokio::sync::TryAcquireError::NoPermits => {
                PublishError::Full { max_messages: self.max_in_flight, max_bytes: self.max_in_flight_bytes }
            }
        };
        let one = self.accounts.messages.try_acquire().map_err(failed)?;
        let bytes = self.accounts.bytes.try_acquire_many(cost).map_err(failed)?;
        one.forget();
        bytes.forget();
        self.accept(message, cost)
    }

    /// Publishes all of them and waits for every answer; the answers are in the order of the messages.
    ///
    /// # Cancel safety
    /// Dropping the future loses the answers; what was accepted by then is published all the same.
    pub async fn publish_all(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Vec<Result<Published, PublishError>> {
        let mut acks = Vec::new();
        for message in messages {
            acks.push(self.publish_message(message).await);
        }
        let mut answers = Vec::with_capacity(acks.len());
        for ack in acks {
            answers.push(match ack {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Waits until everything accepted before is settled: stored, refused or unknown. Others may go on publishing.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn flush(&self) {
        let (waiter, flushed) = oneshot::channel();
        if self.control.send(Control::Flush(waiter)).await.is_ok() {
            // an error means that the driver has ended, and then everything is settled
            let _ = flushed.await;
        }
    }

    /// Accepts nothing more, waits at most `grace` for what is in flight, and settles the rest: what was sent as
    /// [`PublishError::Unknown`], what was not as [`PublishError::Closed`]. Gives the last figures.
    ///
    /// # Cancel safety
    /// Once polled nothing more is accepted; dropped then, what is in flight goes on by itself.
    pub async fn close(&self, grace: Duration) -> Stats {
        self.accounts.messages.close();
        self.accounts.bytes.close();
        if timeout(grace, self.flush()).await.is_err() {
            tracing::warn!(?grace, in_flight = self.stats().in_flight, "closing with messages in flight");
        }
        if self.control.send(Control::Abort).await.is_ok() {
            self.finished.cancelled().await;
        }
        self.stats()
    }

    /// The figures at this moment.
    pub fn stats(&self) -> Stats {
        self.accounts.counters.snapshot()
    }

    /// Asks which stream takes `subject` and how long it remembers ids.
    ///
    /// # Errors
    /// [`StreamError`]: there is none, or JetStream did not say (not there, no leader, not permitted).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn check_stream(&self, subject: &Subject) -> Result<StreamCheck, StreamError> {
        let unanswered = |reason: String| StreamError::Unanswered { subject: subject.clone(), reason };
        let name = match self.jetstream.stream_by_subject(subject.as_str()).await {
            Ok(name) => name,
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
                return Err(StreamError::NoStream { subject: subject.clone() });
            }
            Err(error) => return Err(unanswered(error.to_string())),
        };
        let stream = self.jetstream.get_stream(&name).await.map_err(|error| unanswered(error.to_string()))?;
        Ok(StreamCheck { name, duplicate_window: stream.cached_info().config.duplicate_window })
    }

    /// Checks what can be checked here; gives the byte permits it needs.
    fn check(&self, message: &Message) -> Result<u32, PublishError> {
        if let Some(id) = &message.id
            && (!(1..=MAX_ID_BYTES).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(PublishError::MessageId { id: id.chars().take(MAX_ID_BYTES).collect() });
        }
        if let Some(ttl) = message.ttl
            && (ttl < Duration::from_secs(1) || ttl.subsec_nanos() != 0)
        {
            return Err(PublishError::TimeToLive { ttl });
        }
        let bytes = message.payload.len() + message.header_bytes();
        if bytes > self.max_message_bytes {
            let limit = format!("this publisher allows {} bytes", self.max_message_bytes);
            return Err(PublishError::TooLarge { subject: message.subject.clone(), bytes, limit });
        }
        let id_bytes = message.id.as_ref().map_or(UUID_BYTES, String::len);
        let cost = message.payload.len() + message.subject.as_str().len() + id_bytes;
        // one that is larger than all the room takes all of it: then it is in flight alone
        let cost = cost.min(self.max_in_flight_bytes);
        Ok(u32::try_from(cost).expect("the options bound the bytes in flight to 32 bits"))
    }

    /// Hands a message whose permits are taken to the driver.
    fn accept(&self, mut message: Message, cost: u32) -> Result<Ack, PublishError> {
        let (answer, outcome) = oneshot::channel();
        let plan = trace::Plan::of(self.traces.as_ref(), &mut message, self.max_message_bytes);
        let id: Arc<str> = message.id.map_or_else(new_id, Into::into);
        let subject = message.subject.clone();
        let trace = plan.map(|plan| plan.begin(&message.subject, &id, message.payload.len()));
        let job = Job {
            subject: message.subject,
            payload: message.payload,
            id: Arc::clone(&id),
            ttl: message.ttl,
            expect_last_sequence: message.expect_last_sequence,
            trace,
            cost,
            answer,
        };
        self.accounts.counters.accepted(cost as usize);
        // never full: it has room for as many jobs as there are permits
        if self.jobs.try_send(job).is_err() {
            self.accounts.counters.settled(cost as usize);
            return Err(self.refused(PublishError::Closed));
        }
        Ok(Ack { subject, id, accepted: Instant::now(), answer: outcome })
    }

    fn refused(&self, error: PublishError) -> PublishError {
        self.accounts.counters.failed(&error);
        error
    }
}
