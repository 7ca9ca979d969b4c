//! The application's ends of a client: a handle to ask with, and the events.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use odin_protocol::{Channel, validate_payload};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    event::Event,
    options::{Options, OptionsError, Subscription, SubscriptionError},
    publish::{MAX_PUBLISHES, Publish, PublishError, Published, Reply},
    stats::Stats,
    task::{Command, Ends, Task},
};

/// Requests that wait for the connection task; further callers wait.
const COMMAND_QUEUE: usize = 64;

/// A client's handle. Clones are handles of the same client.
///
/// Dropping the handles does not end the client; dropping its [`Events`] does, and so does [`Client::close`].
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    /// Places for publications under way.
    publishes: Arc<Semaphore>,
    stats: Arc<Mutex<Stats>>,
}

/// What happens, in order. A [`Stream`] too.
///
/// The queue behind it is bounded by [`Options::event_queue`]. When it is full the client stops reading its socket,
/// and the gateway deals with it as with any slow reader: in mode `latest` it merges, in mode `all` it keeps the
/// client's place, and after a minute without a byte taken it closes the connection with 4001. Nothing is lost by
/// that: the client comes back and resumes where the last event it queued stands.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
}

/// Why a request could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// One of the channels or cursors is not valid; nothing was asked for.
    #[error(transparent)]
    Invalid(#[from] SubscriptionError),
    /// The client has ended.
    #[error("client is closed")]
    Closed,
}

impl Client {
    /// Starts a client on the current runtime. It connects in the background and tells by [`Event::Connected`] or
    /// [`Event::Reconnecting`] what came of it.
    ///
    /// # Errors
    /// Options that cannot work.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(options: Options) -> Result<(Client, Events), OptionsError> {
        let addresses = options.check()?;
        for address in addresses.iter().filter(|address| options.token.is_some() && address.is_exposed()) {
            tracing::warn!(host = address.host, "tokens travel without encryption");
        }
        let (commands, commands_end) = mpsc::channel(COMMAND_QUEUE);
        let (events_end, queue) = mpsc::channel(options.event_queue);
        let stop = CancellationToken::new();
        let stats = Arc::new(Mutex::new(Stats::default()));
        let ends = Ends { commands: commands_end, stop: stop.clone(), events: events_end, stats: Arc::clone(&stats) };
        tokio::spawn(Task::new(&options, addresses, ends).run());
        let publishes = Arc::new(Semaphore::new(MAX_PUBLISHES));
        Ok((Client { commands, stop, publishes, stats }, Events { queue }))
    }

    /// Subscribes to channels or patterns. Each is answered by [`Event::Subscribed`] or [`Event::Error`], and asked for
    /// again by itself after every reconnect. One that is subscribed already is left alone.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropped before it is done, it asks for nothing.
    pub async fn subscribe<C: AsRef<str>>(&self, channels: impl IntoIterator<Item = C>) -> Result<(), RequestError> {
        let subscriptions: Result<Vec<_>, _> =
            channels.into_iter().map(|channel| Subscription::new(channel.as_ref())).collect();
        self.subscribe_with(subscriptions?).await
    }

    /// Subscribes with options. A channel that is subscribed already begins anew if the options differ.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    ///
    /// # Cancel safety
    /// Dropped before it is done, it asks for nothing.
    pub async fn subscribe_with(
        &self,
        subscriptions: impl IntoIterator<Item = Subscription>,
    ) -> Result<(), RequestError> {
        self.send(Command::Subscribe(subscriptions.into_iter().collect())).await
    }

    /// Ends subscriptions. Each is answered by [`Event::Unsubscribed`]; no update of theirs is delivered once the client
    /// has taken the request.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropped before it is done, it ends nothing.
    pub async fn unsubscribe<C: AsRef<str>>(&self, channels: impl IntoIterator<Item = C>) -> Result<(), RequestError> {
        let channels: Result<Vec<Channel>, SubscriptionError> =
            channels.into_iter().map(|channel| Ok(Subscription::new(channel.as_ref())?.channel)).collect();
        self.send(Command::Unsubscribe(channels?)).await
    }

    /// Publishes one JSON value to a channel, where the gateway allows it, and waits until the stream has stored it.
    ///
    /// Without a connection, or before the client has signed in, it waits. At most [`MAX_PUBLISHES`] are under way, and
    /// further callers wait their turn. Events must go on being taken meanwhile: the answer is read after them.
    ///
    /// # Errors
    /// [`PublishError`]. After [`PublishError::Unknown`] it may be stored or not: it is never sent a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, it publishes nothing; dropped later, it may be stored or not.
    pub async fn publish(&self, channel: &str, json: &str) -> Result<Published, PublishError> {
        let channel = Subscription::new(channel)?.channel;
        if channel.is_pattern() {
            return Err(PublishError::Pattern { channel });
        }
        validate_payload(json.as_bytes())?;
        let data = RawValue::from_string(json.to_owned()).expect("a payload is one JSON value");
        let place = Arc::clone(&self.publishes).acquire_owned().await.map_err(|_| PublishError::Closed)?;
        let (to, answer) = oneshot::channel();
        let publish = Publish { channel, data, reply: Reply::new(to, place) };
        self.commands.send(Command::Publish(publish)).await.map_err(|_| PublishError::Closed)?;
        answer.await.unwrap_or(Err(PublishError::Closed))
    }

    async fn send(&self, command: Command) -> Result<(), RequestError> {
        self.commands.send(command).await.map_err(|_| RequestError::Closed)
    }

    /// Says goodbye to the gateway and ends the client; returns when it has ended, after two seconds at most. Events
    /// that were queued can still be taken.
    ///
    /// # Cancel safety
    /// Once polled the client ends, whether or not the future is dropped.
    pub async fn close(&self) {
        self.stop.cancel();
        self.commands.closed().await;
    }

    /// The figures at this moment.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// The next event; `None` after [`Event::Closed`].
    ///
    /// # Cancel safety
    /// Yes: no event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.try_recv().ok()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll_recv(context)
    }
}
