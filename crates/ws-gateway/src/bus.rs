//! The sequencer: one task that decides what comes next for every feed, and tells the shards.
//!
//! Shards ask for feeds and leave them. The bus holds one NATS subscription for each feed that any
//! shard wants, opens it so that nothing is missing between its snapshot and its first live message
//! (see `feed` and `replay`), and puts answers and publications of a feed into the same queue of
//! each shard in the same order. It reads nothing while it decides: reads run beside it and come
//! back as events.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::{Client, Event, jetstream};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use odin_protocol::{Cursor, Epoch};
use odin_telemetry::traces::Tracer;
use slab::Slab;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    admin::Readiness,
    config::Config,
    current::Current,
    metrics::BusMetrics,
    queue::{self, FeedId, Item},
    rules::Topic,
    seldom::Seldom,
    shard::Ticket,
};

mod audit;
mod feed;
mod history;
mod late;
mod live;
mod look_back;
mod members;
mod nats;
mod publishing;
mod pulse;
mod reads;
mod replay;
mod route;
mod source;
mod stamp;
mod traces;
mod verdict;
mod wide;

use feed::Step;
pub(crate) use feed::Stored;
use look_back::Question;
pub(crate) use nats::{Connections, connect, options};
use pulse::Pulse;
pub(crate) use pulse::{has_choice, is_connected};
use reads::Done;
use replay::Replay;
pub(crate) use replay::{ReadError, direct_get};
use source::Source;
use traces::Traces;
pub(crate) use verdict::LONGEST_ELECTION;
use wide::{Link, Wide};

/// Live messages taken before the shards are told.
const BURST: usize = 1024;

/// How often the stream is asked who it is.
const EPOCH_PERIOD: Duration = Duration::from_secs(5);

/// What a shard wants.
#[derive(Debug)]
pub(crate) enum Command {
    /// `feed` wants the publications of `topic`, beginning with the last values.
    /// Asked for again, it begins again.
    Join { shard: u32, feed: FeedId, topic: Arc<Topic> },
    /// `feed` is gone.
    Leave { shard: u32, feed: FeedId },
    /// Whether a resume from `cursor` is possible and, where `until` is given – the sequence of a
    /// publication of the feed – the first page of what was missed up to there.
    /// Answered by [`Item::Checked`], unless the feed is opened anew before that.
    Check { shard: u32, feed: FeedId, cursor: Cursor, until: Option<u64> },
    /// The page of `feed` behind `after`; `until` is the sequence of a publication of the feed.
    /// Answered by [`Item::Page`], unless the feed is opened anew before that.
    Read { shard: u32, feed: FeedId, after: u64, until: u64 },
    /// The position before everything that was stored at this time or later.
    /// Answered by [`Item::Found`], unless the feed is opened anew before that.
    Find { shard: u32, feed: FeedId, ts_ms: i64 },
    /// A client's publication is to be stored. Answered by [`Item::Published`].
    Publish { shard: u32, ticket: Ticket, subject: String, payload: Bytes, sender: Option<String> },
}

type Member = (u32, FeedId);

/// See the module.
pub(crate) struct Bus {
    config: Arc<Config>,
    metrics: Arc<BusMetrics>,
    shards: Vec<queue::Sender>,
    out: Vec<Vec<Item>>,
    readiness: watch::Sender<Readiness>,
    live: Client,
    reader: Client,
    context: jetstream::Context,
    replay: Arc<Replay>,
    epoch: Option<Epoch>,
    sources: Slab<Source>,
    /// Openings so far, of all sources.
    openings: u64,
    /// Times that nobody answered who the stream is, before anybody did.
    unanswered: u32,
    /// Publications of clients that were not acknowledged yet.
    publishing: usize,
    cannot_read: Seldom,
    by_topic: HashMap<Arc<Topic>, usize>,
    by_member: HashMap<Member, usize>,
    to_open: Vec<usize>,
    lives: SelectAll<BoxStream<'static, (usize, async_nats::Message)>>,
    reads: FuturesUnordered<BoxFuture<'static, Done>>,
    wide: Wide,
    steps: Vec<Step>,
    pulse: Pulse,
    /// None where no collector is told.
    traces: Option<Traces>,
}

impl Bus {
    pub(crate) fn new(
        config: Arc<Config>,
        metrics: Arc<BusMetrics>,
        shards: Vec<queue::Sender>,
        readiness: watch::Sender<Readiness>,
        connections: &Connections,
        (tracer, gateway): (Option<Tracer>, &str),
    ) -> Self {
        let (live, reader) = (connections.live.clone(), connections.reader.clone());
        let replay = Replay::new(live.clone(), reader.clone(), config.clone(), metrics.clone());
        let wide = Wide::new(Link::new(connections.wide.clone(), &config));
        let traces = tracer.map(|tracer| Traces::new(tracer, gateway, &config));
        Self {
            out: shards.iter().map(|_| Vec::new()).collect(),
            context: jetstream::new(reader.clone()),
            reader,
            replay: Arc::new(replay),
            config,
            metrics,
            shards,
            readiness,
            live,
            epoch: None,
            sources: Slab::new(),
            openings: 0,
            unanswered: 0,
            publishing: 0,
            cannot_read: Seldom::default(),
            by_topic: HashMap::new(),
            by_member: HashMap::new(),
            to_open: Vec::new(),
            lives: SelectAll::new(),
            reads: FuturesUnordered::new(),
            wide,
            steps: Vec::new(),
            pulse: Pulse::new(),
            traces,
        }
    }

    /// Runs until every shard has dropped its end of `commands`.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<Event>,
        mut current: watch::Receiver<Arc<Current>>,
    ) {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut epoch_asked = Instant::now() - EPOCH_PERIOD;
        let mut ticks =
            self.listen(&self.live, self.config.stream.live_subject(&self.config.stream.tick_subject)).await;
        let elections = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", self.config.stream.name);
        let mut elections = self.listen(&self.reader, elections).await;
        loop {
            // Cancel safe arms: receivers and streams lose nothing when another arm wins.
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => {
                        self.obey(command).await;
                        while let Ok(command) = commands.try_recv() {
                            self.obey(command).await;
                        }
                    }
                    None => return,
                },
                Some((source, message)) = self.lives.next(), if !self.lives.is_empty() => {
                    self.on_live(source, &message);
                    for _ in 1..BURST {
                        match self.lives.next().now_or_never() {
                            Some(Some((source, message))) => self.on_live(source, &message),
                            _ => break,
                        }
                    }
                }
                Some((source, word)) = self.wide.heard.recv() => self.on_wide(source, word),
                Some(done) = self.reads.next(), if !self.reads.is_empty() => self.on_read(done),
                Some(tick) = ticks.next() => self.on_tick(&tick),
                // A new leader may never republish what the old one had not.
                Some(_) = elections.next() => self.audit_all(),
                Some(event) = events.recv() => self.on_event(&event),
                Ok(()) = current.changed() => self.config = current.borrow_and_update().config.clone(),
                now = clock.tick() => {
                    self.publish_tick();
                    self.audit_due(now);
                    self.on_second();
                    if let Some(traces) = &mut self.traces {
                        traces.sweep();
                    }
                    // Until the stream is known, nothing can be opened: ask more often.
                    if now - epoch_asked >= EPOCH_PERIOD || self.epoch.is_none() {
                        epoch_asked = now;
                        self.ask_epoch();
                    }
                    self.announce_late();
                }
            }
            self.open_next();
            self.flush();
        }
    }

    /// Says that this gateway is alive, and finds out whether it comes back.
    fn publish_tick(&mut self) {
        if !pulse::is_connected(&self.reader) {
            return;
        }
        let (context, config) = (self.context.clone(), self.config.clone());
        let must_be_seen = self.pulse.must_be_seen();
        let tick = async move { Done::Ticked { is_stored: nats::tick(&context, &config, must_be_seen).await } };
        self.reads.push(tick.boxed());
    }

    /// What comes on a subject of the bus's own; nothing when it cannot be subscribed.
    async fn listen(&self, client: &Client, subject: String) -> BoxStream<'static, async_nats::Message> {
        match client.subscribe(subject).await {
            Ok(messages) => messages.boxed(),
            Err(error) => {
                tracing::error!(%error, "cannot subscribe");
                futures_util::stream::pending().boxed()
            }
        }
    }

    /// Hands the shards what has gathered for them.
    fn flush(&mut self) {
        for (out, shard) in self.out.iter_mut().zip(&self.shards) {
            if !out.is_empty() {
                let refused = shard.push(out);
                self.metrics.shard_overruns.add(refused);
            }
        }
        self.metrics.feeds.set(self.sources.len() as u64);
        if let Some(traces) = &mut self.traces {
            traces.handed();
        }
    }

    fn tell(&mut self, (shard, feed): Member, item: impl FnOnce(FeedId) -> Item) {
        self.out[shard as usize].push(item(feed));
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Join { shard, feed, topic } => self.join((shard, feed), topic).await,
            Command::Leave { shard, feed } => self.leave((shard, feed)),
            Command::Check { shard, feed, cursor, until } => {
                self.look_back((shard, feed), Question::Check { cursor, until }, Duration::ZERO);
            }
            Command::Read { shard, feed, after, until } => {
                self.look_back((shard, feed), Question::Read { after, until }, Duration::ZERO);
            }
            Command::Find { shard, feed, ts_ms } => {
                self.look_back((shard, feed), Question::Find { ts_ms }, Duration::ZERO);
            }
            Command::Publish { shard, ticket, subject, payload, sender } => {
                self.publish_for((shard, ticket), subject, payload, sender);
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Connected | Event::Disconnected => self.look_at_connection(),
            Event::SlowConsumer(_) => {
                self.metrics.slow_consumer_events.add(1);
                self.audit_all();
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
            Event::ClientError(error) => tracing::warn!(%error, "the NATS client reports an error"),
            Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "NATS"),
        }
    }

    fn say_ready(&self, readiness: Readiness) {
        self.readiness.send_if_modified(|word| std::mem::replace(word, readiness) != readiness);
    }
}
