//! One thread with its own listener: accepts, serves and closes its connections, and fans out.
//!
//! A turn takes everything that waits – publications, socket events, new connections – and writes
//! to every connection it touched once. Connections have no task, no timer and no queue: a socket
//! that blocks turns its subscriptions into cursors (see `subscription`), and catches up from the
//! feeds when it drains.

use std::{sync::Arc, time::Duration};

use mio::{Events, Poll};
use slab::Slab;
use tokio::{
    io::{Interest as TokioInterest, unix::AsyncFd},
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    bus::Command,
    config::Config,
    current::Current,
    drain::Stage,
    guest::Shared,
    metrics::{Metrics, ShardMetrics},
    question::Question,
    queue::{Batch, FeedId, Receiver},
};

mod acceptor;
mod catch_up;
mod connection;
mod debt;
mod departure;
mod fan_out;
mod feed;
mod freshness;
mod heartbeat;
mod inbound;
mod items;
mod mailbox;
mod opening;
mod orders;
mod overlap;
mod pages;
mod permission;
mod pipe;
mod publishing;
mod questions;
mod rate;
mod resume;
mod ring;
mod roster;
mod session;
mod settlement;
mod signing_in;
mod sockets;
mod stream;
mod subscription;
mod traced;

use acceptor::{Acceptor, Arrival, Turnstile};
use connection::Connection;
pub(crate) use connection::Rates;
use departure::Departures;
use fan_out::FanOut;
use feed::Feeds;
use freshness::Freshness;
use mailbox::Mailbox;
use pages::Pages;
pub(crate) use permission::{are_few, topic};
pub(crate) use pipe::first_frame;
pub(crate) use publishing::Ticket;
use questions::QUESTIONS;
use signing_in::Verdict;
use stream::Socket;

/// Bytes read from a socket in one go; also the scratch space in which frames are decoded.
const READ_BYTES: usize = 64 * 1024;

/// Socket events taken in one turn.
const EVENTS: usize = 1024;

/// The clock of a shard: heartbeats, limits and linger count in it. A process that was stopped
/// does not find all its clients timed out when it goes on, because missed ticks are not made up.
const TICK: Duration = Duration::from_millis(100);

/// Ticks in a second.
const TICKS_PER_S: u64 = 10;

/// What a shard is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) index: usize,
    /// Tells this process from others.
    pub(crate) boot: u32,
    pub(crate) current: watch::Receiver<Arc<Current>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) inbox: Receiver,
    pub(crate) bus: mpsc::Sender<Command>,
    pub(crate) stage: watch::Receiver<Stage>,
}

#[derive(Debug)]
pub(crate) struct Shard {
    index: u32,
    boot: u32,
    config: Arc<Config>,
    current: watch::Receiver<Arc<Current>>,
    shared: Arc<Shared>,
    totals: Arc<Metrics>,
    metrics: Arc<ShardMetrics>,
    bus: mpsc::Sender<Command>,
    stage: watch::Receiver<Stage>,
    poll: AsyncFd<Poll>,
    events: Events,
    batch: Batch,
    connections: Slab<Connection>,
    /// One more than the highest slot ever used: where the sweep ends.
    slots_end: usize,
    feeds: Feeds,
    fan_out: FanOut,
    /// Bytes in the rings of all feeds, and their bound.
    ring_bytes: usize,
    ring_limit_bytes: usize,
    pages: Pages,
    /// Bytes written in this turn to those who are behind.
    caught_bytes: usize,
    freshness: Freshness,
    /// Questions that the bus had no room for.
    unasked: Vec<Command>,
    /// Feeds to be opened anew because the queue had no room for all they published.
    rejoin: Vec<FeedId>,
    /// Feeds nobody subscribes to, in the order in which they were left.
    unused: std::collections::VecDeque<FeedId>,
    /// Connections that have more to read or to be sent than one turn gives them.
    again: Vec<u32>,
    /// What became of tokens.
    verdicts: Mailbox<Verdict>,
    /// Questions that may be answered now.
    bell: Mailbox<u32>,
    scratch: Vec<u8>,
    ticks: u64,
    /// When the shard began: the origin of its real time, which goes on while the process is stopped.
    began: Instant,
    serial: u64,
    departures: Option<Departures>,
}

impl Shard {
    /// Serves until the stage says drain and everybody has left, or until the drain gives up.
    ///
    /// # Errors
    /// The listener or the poll could not be set up.
    pub(crate) async fn run(parts: Parts) -> std::io::Result<()> {
        let Parts { index, boot, current, shared, metrics: totals, listener, inbox, bus, stage } = parts;
        let config = current.borrow().config.clone();
        let metrics = totals.shards[index].clone();
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the poll is owned here and closed after it is unwatched"
        )]
        let poll = AsyncFd::with_interest(Poll::new()?, TokioInterest::READABLE)?;
        let arrivals: Mailbox<Arrival> = Mailbox::default();
        let turnstile = Turnstile::default();
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let door = (current.clone(), shared.clone(), ask);
        let acceptor = Acceptor::spawn(listener, door, metrics.clone(), (arrivals.clone(), turnstile.clone()))?;
        let capacity = config.limits.connections.div_ceil(config.shards.get());
        let mut shard = Self {
            index: u32::try_from(index).expect("shards are counted in cores"),
            boot,
            bus,
            stage,
            poll,
            events: Events::with_capacity(EVENTS),
            batch: Batch::default(),
            // Reserved, not touched: it costs address space until connections come, and never moves.
            connections: Slab::with_capacity(capacity.min(1 << 20)),
            slots_end: 0,
            feeds: Feeds::default(),
            fan_out: FanOut::default(),
            ring_bytes: 0,
            pages: Pages::new(
                config.feeds.catch_up_bytes / config.shards.get(),
                config.feeds.catch_up_reads / config.shards.get(),
            ),
            caught_bytes: 0,
            freshness: Freshness::default(),
            unasked: Vec::new(),
            rejoin: Vec::new(),
            ring_limit_bytes: config.feeds.ring_total_bytes / config.shards.get(),
            unused: std::collections::VecDeque::new(),
            again: Vec::new(),
            verdicts: Mailbox::default(),
            bell: Mailbox::default(),
            scratch: vec![0; READ_BYTES],
            ticks: 0,
            began: Instant::now(),
            serial: 0,
            departures: None,
            config,
            current,
            shared,
            totals,
            metrics,
        };
        shard.serve(&inbox, (&arrivals, questions), &turnstile, acceptor).await;
        Ok(())
    }

    async fn serve(
        &mut self,
        inbox: &Receiver,
        (arrivals, mut questions): (&Mailbox<Arrival>, mpsc::Receiver<Question>),
        turnstile: &Turnstile,
        acceptor: Acceptor,
    ) {
        let mut acceptor = Some(acceptor);
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let more = Notify::new();
        let verdicts = self.verdicts.clone();
        let bell = self.bell.clone();
        let turn_interval = self.config.feeds.turn_interval;
        let mut fan_out_at = Instant::now();
        let mut is_waiting = false;
        loop {
            let mut tick = false;
            let mut events = false;
            let mut staged = false;
            let mut reloaded = false;
            let mut question = None;
            // Every arm is cancel safe: each waits for a fact that stays true until the turn takes it.
            tokio::select! {
                () = inbox.filled(), if !is_waiting => is_waiting = true,
                () = tokio::time::sleep_until(fan_out_at), if is_waiting => {}
                guard = self.poll.readable_mut() => {
                    // Cleared before the poll, so that what comes after it is an edge again.
                    guard.expect("the shard's own poll does not fail").clear_ready();
                    events = true;
                }
                () = arrivals.filled() => {}
                () = verdicts.filled() => {}
                () = bell.filled() => {}
                // Nobody can ask any more once the acceptor and its handshakes are gone: that is nothing to turn for.
                Some(asked) = questions.recv() => question = Some(asked),
                () = turnstile.wanted() => {}
                changed = self.current.changed() => reloaded = changed.is_ok(),
                _ = clock.tick() => tick = true,
                changed = self.stage.changed(), if self.departures.is_none() => {
                    changed.expect("the stage outlives the shards");
                    staged = true;
                }
                () = more.notified() => {}
            }
            let now = Instant::now();
            if is_waiting && now >= fan_out_at {
                is_waiting = false;
                inbox.take(&mut self.batch);
                self.take_items();
                self.fan_out();
                self.tell_spoke();
                // What comes until then goes out together: a write is nearly all that a delivery
                // costs, and one more frame in the same write next to nothing.
                fan_out_at = now + turn_interval;
            }
            self.caught_bytes = 0;
            if events {
                self.take_events();
            }
            self.take_again();
            for arrival in arrivals.take() {
                self.adopt(arrival);
            }
            for verdict in verdicts.take() {
                self.on_verdict(verdict);
            }
            let others = std::iter::from_fn(|| questions.try_recv().ok()).take(QUESTIONS);
            for question in question.into_iter().chain(others).collect::<Vec<_>>() {
                self.take_question(question);
            }
            if tick {
                self.tick();
            }
            if reloaded {
                self.reload();
            }
            if staged && *self.stage.borrow() == Stage::Draining {
                drop(acceptor.take());
                self.start_departures();
            }
            self.answer_questions();
            self.metrics.turn.observe(now.elapsed());
            if !self.again.is_empty() {
                more.notify_one();
            }
            // An answer that was given is still to be written.
            let have_left = self.connections.is_empty() && self.metrics.http_connections.get() == 0;
            if self.departures.as_ref().is_some_and(|d| have_left || d.is_over(self.ticks)) {
                return;
            }
            turnstile.turn();
            // Lets handshakes and the reactor run however much is waiting here.
            tokio::task::yield_now().await;
        }
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.ticks / TICKS_PER_S).unwrap_or(u32::MAX)
    }

    /// Seconds since the shard began, those included in which the process was stopped.
    fn lived_s(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// The same in microseconds.
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes over what was reloaded. With other rules, everybody is served by those from now on.
    fn reload(&mut self) {
        let before = std::mem::replace(&mut self.config, self.current.borrow_and_update().config.clone());
        let has_other_rules = before.rules != self.config.rules || before.auth.required != self.config.auth.required;
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.connections[slot].closing.is_some() {
                continue;
            }
            self.connections[slot].look_s = self.next_look(slot);
            if has_other_rules {
                self.recheck(slot);
                self.catch_up(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests;
