//! A client that keeps cursors as the protocol says, notes everything, and comes back to any gateway.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use odin_protocol::{
    Channel, Cursor, Mode, ServerMessage,
    message::{ChannelRequest, ClientMessage, RequestId},
};
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, task::AbortHandle, time::Instant};

use crate::{
    history::{Chain, History, Record},
    ledger::number_of,
    link::{self, Events, Link, Transport},
    socket::{Incoming, Socket},
};

/// Bytes a reader of 1 KB/s reads at once, and how often.
const SIP_BYTES: usize = 512;
const SIP_PAUSE: Duration = Duration::from_millis(500);

/// `SO_RCVBUF` of those who may be told not to read: so small that they are found out soon.
const SMALL_BUFFER: u32 = 4096;

/// How those read that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As fast as it comes.
    Freely,
    /// Not at all.
    Stopped,
    /// 1 KB/s.
    Slowly,
}

/// What a client is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in findings and files.
    pub name: String,
    /// How it is connected.
    pub transport: Transport,
    /// One mode for all its subscriptions.
    pub mode: Mode,
    /// What it subscribes to.
    pub channels: Vec<String>,
    /// Resumes the whole connection by one token.
    pub one_token: bool,
    /// Reads as it is told.
    pub obeys: bool,
    /// Moves to another gateway every so often.
    pub moves: Option<Duration>,
    /// Where its choices come from.
    pub seed: u64,
}

/// When clients connected, all of them.
pub type Connects = Arc<Mutex<Vec<Instant>>>;

/// A client that is running. Dropped, it is gone without goodbye.
#[derive(Debug)]
pub struct Client {
    task: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Starts it on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        plan: Plan,
        gateways: watch::Receiver<Vec<SocketAddr>>,
        reading: watch::Receiver<Reading>,
        history: History,
        connects: Connects,
    ) -> Client {
        let random = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut body = Body {
            plan,
            gateways,
            reading,
            history,
            connects,
            random,
            positions: HashMap::new(),
            checkpoint: None,
            last_id: None,
        };
        let task = tokio::spawn(async move {
            match body.plan.transport {
                Transport::Poll => body.poll().await,
                _ => body.live().await,
            }
        });
        Client { task: task.abort_handle() }
    }
}

struct Body {
    plan: Plan,
    gateways: watch::Receiver<Vec<SocketAddr>>,
    reading: watch::Receiver<Reading>,
    history: History,
    connects: Connects,
    random: ChaCha8Rng,
    /// The position of each subscription: what its updates or its `subscribed` said.
    positions: HashMap<String, Cursor>,
    checkpoint: Option<Cursor>,
    /// What an `EventSource` remembers, and what a poll said last.
    last_id: Option<String>,
}

impl Body {
    async fn live(&mut self) {
        let mut last = None;
        loop {
            if let Some((at, address)) = self.another(last)
                && let Ok((mut link, resumed)) = self.connect(address).await
            {
                last = Some(at);
                self.history.note(Record::Connected { gateway: at });
                self.connects.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                self.serve(&mut link, &resumed).await;
                self.history.note(Record::Parted);
            }
            let pause = self.random.random_range(20..300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// A gateway, if there is one; not the last one, if there are others.
    fn another(&mut self, last: Option<usize>) -> Option<(usize, SocketAddr)> {
        let gateways = self.gateways.borrow().clone();
        let others: Vec<_> = (0..gateways.len()).filter(|at| gateways.len() == 1 || Some(*at) != last).collect();
        others.choose(&mut self.random).map(|at| (*at, gateways[*at]))
    }

    /// A connection on which everything was asked for, and what of it goes on where it was.
    async fn connect(&mut self, address: SocketAddr) -> anyhow::Result<(Link, Vec<String>)> {
        let buffer = self.plan.obeys.then_some(SMALL_BUFFER);
        match self.plan.transport {
            Transport::WebSocket(codec) => {
                let mut socket = Socket::connect(address, codec, buffer).await?;
                let (message, resumed) = self.subscribe();
                socket.send(&message).await?;
                Ok((Link::Socket(socket), resumed))
            }
            Transport::EventSource => {
                let (message, _) = self.subscribe();
                let id = self.last_id.as_deref();
                let resumed = if id.is_some() { self.plan.channels.clone() } else { Vec::new() };
                Ok((Link::Events(Events::open(address, &message, id, true, buffer).await?), resumed))
            }
            Transport::Events | Transport::Poll => {
                let (message, resumed) = self.subscribe();
                Ok((Link::Events(Events::open(address, &message, None, false, buffer).await?), resumed))
            }
        }
    }

    /// One poll after the other, each at another gateway: to the client it is one connection without an end, so nothing
    /// may come twice in all its life.
    async fn poll(&mut self) {
        self.history.note(Record::Connected { gateway: 0 });
        let (message, _) = self.subscribe();
        let mut last = None;
        loop {
            let answer = match self.another(last) {
                Some((at, address)) => {
                    last = Some(at);
                    link::poll(address, &message, self.last_id.as_deref()).await
                }
                None => Err(anyhow::anyhow!("no gateway")),
            };
            match answer {
                Ok((messages, cursor)) => {
                    let resumed = if self.last_id.is_some() { self.plan.channels.clone() } else { Vec::new() };
                    messages.into_iter().for_each(|message| self.hear(message, &resumed, &mut 0));
                    self.last_id = Some(cursor);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(self.random.random_range(20..300))).await,
            }
        }
    }

    /// One connection, to its end.
    async fn serve(&mut self, socket: &mut Link, resumed: &[String]) {
        let leaves_at = self.plan.moves.map(|time| Instant::now() + time.mul_f64(self.random.random_range(0.5..1.5)));
        let mut confirmed = 0;
        loop {
            let reading = if self.plan.obeys { *self.reading.borrow_and_update() } else { Reading::Freely };
            let is_over = async {
                match leaves_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let incoming = tokio::select! {
                incoming = socket.next(if reading == Reading::Slowly { SIP_BYTES } else { 64 * 1024 }),
                    if reading != Reading::Stopped => incoming,
                _ = self.reading.changed(), if self.plan.obeys => continue,
                () = is_over => return,
            };
            match incoming {
                Incoming::Message(message) => self.hear(*message, resumed, &mut confirmed),
                Incoming::Id(id) => self.last_id = Some(id),
                Incoming::End(_) => return,
            }
            if reading == Reading::Slowly {
                tokio::time::sleep(SIP_PAUSE).await;
            }
        }
    }

    /// Where a subscription goes on: the later of its own position and the connection's.
    fn since(&self, channel: &str) -> Option<Cursor> {
        let own = self.positions.get(channel).copied();
        match (own, self.checkpoint) {
            (Some(own), Some(check)) if own.epoch == check.epoch && own.seq > check.seq => Some(own),
            (Some(own), None) => Some(own),
            (_, check) => check,
        }
    }

    /// The message that asks for everything, and what of it goes on where it was.
    fn subscribe(&self) -> (ClientMessage, Vec<String>) {
        let mut resumed = Vec::new();
        let token = self.plan.one_token.then_some(self.checkpoint).flatten();
        let channels: Vec<String> = self.plan.channels.clone();
        let channels = channels.iter().map(|channel| {
            let since = if token.is_some() { None } else { self.since(channel) };
            if since.is_some() || token.is_some() {
                resumed.push(channel.clone());
            }
            let since = since.map(|cursor| cursor.to_string());
            ChannelRequest { mode: Some(self.plan.mode), since, ..ChannelRequest::from(channel.as_str()) }
        });
        let message = ClientMessage::Subscribe {
            id: Some(RequestId::Number(1)),
            channels: channels.collect(),
            since: token.map(|cursor| cursor.to_string()),
        };
        (message, resumed)
    }

    fn hear(&mut self, message: ServerMessage, resumed: &[String], confirmed: &mut usize) {
        match message {
            ServerMessage::Subscribed { channel, mode, recovered, reason, cursor, .. } => {
                *confirmed += 1;
                let cursor = cursor.and_then(|text| text.parse::<Cursor>().ok());
                if !recovered {
                    self.positions.remove(&channel);
                    // What the connection's position said of it does not hold any more.
                    self.checkpoint = None;
                }
                if let Some(cursor) = cursor {
                    self.positions.insert(channel.clone(), cursor);
                }
                let resumes = resumed.contains(&channel);
                self.history.note(Record::Subscribed { channel, mode, resumes, recovered, reason });
            }
            ServerMessage::Update(update) => {
                let position = Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts };
                let is_exact = Channel::parse(&update.channel).is_ok_and(|channel| !channel.is_pattern());
                // An exact channel with one chain: its last update is its position.
                if is_exact && update.key.is_none() && self.plan.channels.contains(&update.channel) {
                    self.positions.insert(update.channel.clone(), position);
                }
                self.history.note(Record::Update {
                    chain: Chain { channel: update.channel, key: update.key },
                    seq: update.seq,
                    prev: update.prev,
                    epoch: update.epoch.to_string(),
                    snapshot: update.snapshot,
                    number: number_of(update.data.get().as_bytes()),
                });
            }
            ServerMessage::Gap { channel, key, after, until, reason } => {
                self.history.note(Record::Gap { channel, key, after, until, reason });
            }
            ServerMessage::Checkpoint { cursor } => {
                // Of every subscription confirmed on this connection; before that it says nothing of the others.
                if *confirmed >= self.plan.channels.len() {
                    self.checkpoint = cursor.parse().ok();
                }
                self.history.note(Record::Note { text: format!("checkpoint {cursor}") });
            }
            ServerMessage::Stale { reason, .. } => {
                self.history.note(Record::Note { text: format!("stale {reason:?}") });
            }
            ServerMessage::Live { .. } => self.history.note(Record::Note { text: "live".to_owned() }),
            ServerMessage::Error(error) => {
                self.history.note(Record::Note { text: format!("error {:?}: {}", error.code, error.message) });
            }
            _ => {}
        }
    }
}
