//! The task behind a client: it carries out what the state machine decides.
//!
//! It waits for one thing at a time out of these: a command, room for an event, a frame, a moment. It reads from the
//! socket only when no event waits for the application: that is the back-pressure.

mod conversation;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use odin_protocol::{Channel, Codec, Secret};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    address::Address,
    event::Event,
    options::{Options, Subscription},
    parting::{Parting, Plan},
    publish::Publish,
    state::Session,
    stats::Stats,
    token::{TokenError, TokenSource},
    transport::{self, Reader, Writer},
};

/// Events that may wait for the application besides the queue before commands wait too. One command or message
/// makes only a few.
const MAX_WAITING_EVENTS: usize = 64;

/// What the application asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe(Vec<Subscription>),
    Unsubscribe(Vec<Channel>),
    Publish(Publish),
}

/// See the module.
pub(crate) struct Task {
    addresses: Vec<Address>,
    codec: Codec,
    max_message_bytes: usize,
    connect_timeout: Duration,
    write_timeout: Duration,
    tokens: Option<TokenSource>,
    token_timeout: Duration,
    session: Session,
    commands: mpsc::Receiver<Command>,
    /// All handles are gone: no command comes any more.
    is_alone: bool,
    stop: CancellationToken,
    events: mpsc::Sender<Event>,
    /// Events for which the queue had no room.
    waiting: VecDeque<Event>,
    stats: Arc<Mutex<Stats>>,
}

/// The task's ends of what it shares with its handles.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stop: CancellationToken,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) stats: Arc<Mutex<Stats>>,
}

/// What happened while the task waited for something.
enum Turn<T> {
    /// That something.
    Done(T),
    /// Something else, which has been dealt with.
    Other,
    /// The application wants no more.
    End,
}

impl Task {
    pub(crate) fn new(options: &Options, addresses: Vec<Address>, ends: Ends) -> Self {
        Task {
            addresses,
            codec: options.codec,
            max_message_bytes: options.max_message_bytes,
            connect_timeout: options.connect_timeout,
            write_timeout: options.write_timeout,
            tokens: options.token.clone(),
            token_timeout: options.token_timeout,
            session: Session::new(options, rand::random()),
            commands: ends.commands,
            is_alone: false,
            stop: ends.stop,
            events: ends.events,
            waiting: VecDeque::new(),
            stats: ends.stats,
        }
    }

    /// Runs until the application or a close code ends it.
    pub(crate) async fn run(mut self) {
        let mut after = Duration::ZERO;
        let why = loop {
            if !self.pause(after).await {
                break Parting::Asked;
            }
            let why = match self.meet().await {
                None => break Parting::Asked,
                Some(Err(why)) => why,
                Some(Ok((reader, writer))) => self.converse(reader, writer).await,
            };
            if why == Parting::Asked {
                break why;
            }
            tracing::debug!(%why, "no connection");
            match self.session.parted(Instant::now(), why, &mut self.waiting) {
                Plan::Dial { after: wait } => after = wait,
                Plan::Sleep => {
                    if !self.sleep().await {
                        break Parting::Asked;
                    }
                    after = Duration::ZERO;
                }
                Plan::End => {
                    self.publish_stats();
                    self.deliver_all().await;
                    return;
                }
            }
            self.publish_stats();
        };
        // whoever asked may not be listening any more
        let code = why.close_code();
        let _ = self.events.try_send(Event::Closed { code, why });
    }

    /// Waits; false if the application wants no more.
    async fn pause(&mut self, time: Duration) -> bool {
        let mut pause = pin!(sleep(time));
        loop {
            match self.turn(pause.as_mut()).await {
                Turn::Done(()) => return true,
                Turn::Other => {}
                Turn::End => return false,
            }
        }
    }

    /// Waits until something is subscribed; false if the application wants no more.
    async fn sleep(&mut self) -> bool {
        while !self.session.is_wanting() {
            if let Turn::End = self.turn(pin!(std::future::pending::<()>())).await {
                return false;
            }
        }
        true
    }

    /// A token, if one is needed, and then a connection: a gateway does not wait long for either. `None` if the
    /// application wants no more.
    async fn meet(&mut self) -> Option<Result<(Reader, Writer), Parting>> {
        if self.session.wants_token() {
            let mut token = pin!(ask(self.tokens.clone(), self.token_timeout));
            let token = loop {
                match self.turn(token.as_mut()).await {
                    Turn::Done(token) => break token,
                    Turn::Other => {}
                    Turn::End => return None,
                }
            };
            if let Some(why) = self.session.token(Instant::now(), token, &mut self.waiting) {
                return Some(Err(why));
            }
        }
        self.dial().await
    }

    /// A connection whose gateway has still to say hello; `None` if the application wants no more.
    async fn dial(&mut self) -> Option<Result<(Reader, Writer), Parting>> {
        let address = self.addresses[self.session.url()].clone();
        let limit = self.connect_timeout;
        let dial = transport::dial(&address, self.codec, self.max_message_bytes);
        let mut dial = pin!(timeout(limit, dial));
        loop {
            match self.turn(dial.as_mut()).await {
                Turn::Done(Ok(outcome)) => return Some(outcome),
                Turn::Done(Err(_)) => return Some(Err(Parting::Timeout { limit })),
                Turn::Other => {}
                Turn::End => return None,
            }
        }
    }

    /// Serves commands and delivers events while waiting for `work`.
    ///
    /// # Cancel safety
    /// Yes; `work` is only polled.
    async fn turn<F: Future>(&mut self, work: Pin<&mut F>) -> Turn<F::Output> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Turn::End,
            command = self.commands.recv(), if !self.is_alone && self.waiting.len() < MAX_WAITING_EVENTS => {
                self.obey(command);
                Turn::Other
            }
            sent = give(&self.events, &mut self.waiting), if !self.waiting.is_empty() => match sent {
                Ok(()) => Turn::Other,
                Err(Gone) => Turn::End,
            },
            () = self.events.closed(), if self.waiting.is_empty() => Turn::End,
            output = work => Turn::Done(output),
        }
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Subscribe(subscriptions)) => {
                for subscription in subscriptions {
                    self.session.subscribe(subscription);
                }
            }
            Some(Command::Unsubscribe(channels)) => {
                for channel in channels {
                    self.session.unsubscribe(channel, &mut self.waiting);
                }
            }
            Some(Command::Publish(publish)) => self.session.publish(publish),
            None => self.is_alone = true,
        }
    }

    /// Gives the events that wait to the application.
    async fn deliver_all(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            tokio::select! {
                () = self.stop.cancelled() => return,
                sent = self.events.send(event) => if sent.is_err() { return },
            }
        }
    }

    /// Hands over as many events as there is room for now.
    fn deliver(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
            }
        }
    }

    fn publish_stats(&self) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = *self.session.stats();
    }
}

/// What the source of tokens says within the limit.
async fn ask(source: Option<TokenSource>, limit: Duration) -> Result<Secret, TokenError> {
    let Some(source) = source else { return Err(TokenError::new("no source of tokens")) };
    let late = |_| TokenError::new(format_args!("no answer of its source within {limit:?}"));
    timeout(limit, source.token()).await.map_err(late)?
}

/// The application has dropped its events.
struct Gone;

/// Hands over the first event that waits as soon as there is room.
///
/// # Cancel safety
/// Yes: the event leaves the line only when it is in the queue.
async fn give(events: &mpsc::Sender<Event>, waiting: &mut VecDeque<Event>) -> Result<(), Gone> {
    let room = events.reserve().await.map_err(|_| Gone)?;
    if let Some(event) = waiting.pop_front() {
        room.send(event);
    }
    Ok(())
}
