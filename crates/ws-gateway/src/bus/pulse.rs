//! Whether what comes is alive: the tick, the ways it comes and goes by, and what shards and probes are told.
//!
//! Every gateway publishes a tick each second, and the stream keeps one of each second. It comes back
//! live, so it proves the whole way: publish, store, republish, route, subscription. A server that is
//! frozen is left by the client itself, whose pings it does not answer. When the connection is in order
//! and the tick does not come, either the stream stands still – then waiting is all there is to do – or
//! the way behind the server is broken, which nothing else tells: see [`Verdict`].
//!
//! Trouble begins when the connection goes or the tick does not come, and is over when ticks come again
//! and every feed has been proven since. Clients hear of it when it lasts for `feeds.stale_after`, probes
//! when it lasts for `nats.ready_grace`.

use std::{mem, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Message, connection::State};
use futures_util::FutureExt;
use odin_protocol::{Epoch, error::StaleReason};
use tokio::time::Instant;

use super::{
    Bus,
    nats::{self, Unknown},
    reads::Done,
    replay::stored,
    verdict::Verdict,
};
use crate::{
    admin::{NotReady, Readiness},
    queue::Item,
};

/// The longest pause between two changes of servers.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A clock of one second that is so late says that this process stood still, and then silence says
/// nothing about the others: what came meanwhile has not been read yet.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// How long a client may take to say how many servers it knows.
const POOL_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    is_connected: bool,
    /// Connections so far, as the client counts them.
    connects: u64,
    /// The last tick on this connection.
    ticked_at: Option<Instant>,
    /// Silence counts from here if there was no tick: the connection, or the end of a standstill of ours.
    granted_at: Instant,
    /// When the clock last struck.
    struck_at: Instant,
    /// Sequence and time of the last tick.
    tick: Option<(u64, i64)>,
    /// When a tick of our own was last acknowledged.
    stored_at: Option<Instant>,
    /// Since when the reading connection, by which they go, is this one, and which it is.
    publishes_since: Instant,
    reader_connects: u64,
    is_probing: bool,
    /// Changes of servers since all was in order, and when the next may be made.
    moves: u32,
    next_move: Instant,
    /// Since when there is trouble with the bus.
    trouble_since: Option<Instant>,
    /// Whether clients have been told.
    is_stale: bool,
    /// What is wrong with the stream.
    fault: Option<NotReady>,
    problem_since: Option<Instant>,
    was_ready: bool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            is_connected: false,
            connects: 0,
            ticked_at: None,
            granted_at: now,
            struck_at: now,
            tick: None,
            stored_at: None,
            publishes_since: now,
            reader_connects: 0,
            is_probing: false,
            moves: 0,
            next_move: now,
            trouble_since: None,
            is_stale: false,
            fault: None,
            problem_since: None,
            was_ready: false,
        }
    }

    /// Before the first tick nobody knows whether the one of this second has come already: ours must
    /// not be taken for a copy of it.
    pub(super) fn must_be_seen(&self) -> bool {
        self.ticked_at.is_none()
    }

    /// Since when a tick is waited for.
    fn waits_since(&self) -> Instant {
        self.ticked_at.map_or(self.granted_at, |ticked_at| ticked_at.max(self.granted_at))
    }
}

/// Whether requests get anywhere. Without a connection the client keeps them for the next one, where
/// nobody waits for the answers any more.
pub(crate) fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

impl Bus {
    /// The connection may be another one, or gone. Asked on every event and on the clock, because events
    /// may be lost when there are many of them.
    pub(super) fn look_at_connection(&mut self) {
        let connects = self.live.statistics().connects.load(Ordering::Relaxed);
        let is_connected = is_connected(&self.live);
        if is_connected && connects > self.pulse.connects {
            let is_first = self.pulse.connects == 0;
            let again = connects - self.pulse.connects - u64::from(is_first);
            self.pulse.connects = connects;
            self.on_connected(again);
        } else if !is_connected && self.pulse.is_connected {
            self.on_disconnected();
        }
        let reader_connects = self.reader.statistics().connects.load(Ordering::Relaxed);
        if mem::replace(&mut self.pulse.reader_connects, reader_connects) != reader_connects {
            self.pulse.publishes_since = Instant::now();
            // At once, not with the next second: it is what readiness waits for.
            self.ask_epoch();
            self.publish_tick();
        }
    }

    fn on_connected(&mut self, again: u64) {
        tracing::info!("connected to NATS");
        self.metrics.connected.set(1);
        self.metrics.reconnects.add(again);
        self.pulse.is_connected = true;
        self.pulse.ticked_at = None;
        self.pulse.granted_at = Instant::now();
        if again > 0 {
            self.audit_all();
        }
        self.ask_epoch();
        self.publish_tick();
        self.feel_pulse();
    }

    fn on_disconnected(&mut self) {
        tracing::warn!("lost the connection to NATS");
        self.metrics.connected.set(0);
        self.pulse.is_connected = false;
        self.feel_pulse();
    }

    /// A second has passed.
    pub(super) fn on_second(&mut self) {
        // Not the clock's own time: that is when it should have struck.
        let now = Instant::now();
        let since = mem::replace(&mut self.pulse.struck_at, now);
        if now - since >= STOOD_STILL {
            tracing::warn!(for_ms = (now - since).as_millis() as u64, "this process stood still");
            self.pulse.granted_at = now;
            self.pulse.publishes_since = now;
            self.audit_all();
        }
        self.look_at_connection();
        self.feel_pulse();
    }

    /// A live tick came.
    pub(super) fn on_tick(&mut self, message: &Message) {
        // Not from the stream: not believed.
        let Some(tick) = stored(message, &mut Default::default()) else {
            self.metrics.unmapped.add(1);
            return;
        };
        // It may come before the word that there is a connection.
        self.look_at_connection();
        let was_silent = self.silence(Instant::now()).is_some();
        self.pulse.ticked_at = Some(Instant::now());
        if self.pulse.tick.is_some_and(|(seq, _)| tick.seq < seq) {
            // The stream has become shorter: is it another one?
            self.ask_epoch();
        }
        self.pulse.tick = Some((tick.seq, tick.ts_ms));
        self.tell_tick();
        if was_silent {
            // A new leader, or a route that was broken for a while: what came before this may be lost.
            self.audit_all();
        }
        self.feel_pulse();
    }

    /// Tells the shards of the last tick: a position of the stream, as soon as it is known of which one.
    pub(super) fn tell_tick(&mut self) {
        let (Some(epoch), Some((seq, ts_ms))) = (self.epoch, self.pulse.tick) else {
            return;
        };
        for out in &mut self.out {
            out.push(Item::Tick { epoch, seq, ts_ms });
        }
    }

    pub(super) fn on_ticked(&mut self, is_stored: bool) {
        if is_stored {
            self.pulse.stored_at = Some(Instant::now());
            self.judge_readiness();
        }
    }

    /// For how long there has been no tick, once that is too long.
    fn silence(&self, now: Instant) -> Option<Duration> {
        let silence = now.saturating_duration_since(self.pulse.waits_since());
        (self.pulse.is_connected && silence >= self.config.nats.tick_timeout).then_some(silence)
    }

    /// Whether ticks come on this connection.
    fn is_flowing(&self, now: Instant) -> bool {
        self.pulse.is_connected && self.pulse.ticked_at.is_some() && self.silence(now).is_none()
    }

    /// Whether our own ticks are not acknowledged, although they have had the time.
    fn is_unheard(&self, now: Instant) -> bool {
        let since = self.pulse.publishes_since;
        let since = self.pulse.stored_at.map_or(since, |stored_at| stored_at.max(since));
        now.saturating_duration_since(since) > self.config.nats.tick_timeout
    }

    /// Looks whether there is trouble, whether it is over, and who has to know.
    pub(super) fn feel_pulse(&mut self) {
        let now = Instant::now();
        let silence = self.silence(now);
        if silence.is_some() {
            self.probe(now);
        } else if self.is_flowing(now) && self.is_unheard(now) {
            // There is a leader, but what we say does not get there.
            self.move_on(now, self.reader.clone(), "reader", false);
        } else if self.is_flowing(now) {
            self.pulse.moves = 0;
        }
        if self.pulse.trouble_since.is_none() {
            if let Some(silence) = silence {
                tracing::warn!("no live tick: the stream stands still, or the route is silent");
                self.pulse.trouble_since = Some(now.checked_sub(silence).unwrap_or(now));
                self.audit_all();
            } else if !self.pulse.is_connected {
                self.pulse.trouble_since = Some(now);
            }
        }
        if let Some(since) = self.pulse.trouble_since {
            if self.is_flowing(now) && self.is_proven() {
                self.pulse.trouble_since = None;
                if mem::take(&mut self.pulse.is_stale) {
                    self.metrics.stale.set(0);
                    self.out.iter_mut().for_each(|out| out.push(Item::Live));
                }
            } else if now - since >= self.config.feeds.stale_after && !self.pulse.is_stale {
                self.pulse.is_stale = true;
                self.metrics.stale.set(1);
                let reason = if self.pulse.is_connected { StaleReason::Unverified } else { StaleReason::BusLost };
                let since_ms = self.pulse.tick.map(|(_, ts_ms)| ts_ms);
                for out in &mut self.out {
                    out.push(Item::Stale { reason, since_ms });
                }
            }
        }
        self.judge_readiness();
    }

    /// Finds out whether the stream goes on while nothing comes here.
    fn probe(&mut self, now: Instant) {
        // Without a stream there is no tick, whatever the route.
        if self.pulse.is_probing || now < self.pulse.next_move || self.pulse.fault.is_some() {
            return;
        }
        self.pulse.is_probing = true;
        let (replay, context, config) = (self.replay.clone(), self.context.clone(), self.config.clone());
        self.reads.push(
            async move {
                // On two ways, of which one may lead to a replica that is frozen or cut off.
                let (one, other, stream) = tokio::join!(
                    replay.last_tick(&replay.reader),
                    replay.last_tick(&replay.live),
                    nats::epoch(&context, &config)
                );
                Done::Probed { newest: one.ok().max(other.ok()), stream }
            }
            .boxed(),
        );
    }

    pub(super) fn on_probed(&mut self, newest: Option<u64>, stream: Result<Epoch, Unknown>) {
        self.pulse.is_probing = false;
        if let Err(Unknown::Unusable(_)) = stream {
            self.on_epoch(stream);
            return;
        }
        let now = Instant::now();
        let Some(silence) = self.silence(now) else {
            return;
        };
        let seen = self.pulse.tick.map_or(0, |(seq, _)| seq);
        let verdict = Verdict::of(seen, silence, newest);
        tracing::debug!(?verdict, ?newest, seen, "no live tick");
        if verdict != Verdict::Stay {
            self.move_on(now, self.live.clone(), "live", verdict == Verdict::LeaveIfThereIsAnother);
        }
    }

    /// Has a connection go to another server, if it is due. The new one gets its time, and longer each
    /// time: if all are silent, it is not the route.
    fn move_on(&mut self, now: Instant, client: Client, which: &'static str, needs_choice: bool) {
        // One that is looking for a server already would leave it as soon as it has found it.
        if now < self.pulse.next_move || !is_connected(&client) {
            return;
        }
        let timeout = self.config.nats.tick_timeout;
        let pause = timeout.saturating_mul(1 << self.pulse.moves.min(5)).min(LONGEST_PAUSE.max(timeout));
        self.pulse.moves += 1;
        self.pulse.next_move = now + timeout + pause.mul_f64(rand::random());
        let metrics = self.metrics.clone();
        self.reads.push(
            async move {
                if !needs_choice || has_choice(&client).await {
                    metrics.route_changes.add(1);
                    tracing::warn!(which, "the route is silent: trying another NATS server");
                    // Fails only when the client has been closed, and then the gateway is stopping.
                    let _ = client.force_reconnect().await;
                }
                Done::Moved
            }
            .boxed(),
        );
    }

    /// What the stream says of itself, if it says that it cannot be used.
    pub(super) fn note_fault(&mut self, fault: Option<NotReady>) {
        self.pulse.fault = fault;
        self.judge_readiness();
    }

    /// Ready as soon as all is well; not ready when it has not been for the grace period.
    fn judge_readiness(&mut self) {
        let now = Instant::now();
        let is_waiting = self.silence(now).is_none() && !self.is_unheard(now);
        let problem = if !self.pulse.is_connected {
            NotReady::NatsDisconnected
        } else if let Some(fault) = self.pulse.fault {
            fault
        } else if self.epoch.is_some() && self.is_flowing(now) && self.pulse.stored_at.is_some() && is_waiting {
            self.pulse.problem_since = None;
            self.pulse.was_ready = true;
            self.say_ready(Readiness::Ready);
            return;
        } else if is_waiting && !self.pulse.was_ready {
            NotReady::Starting
        } else {
            NotReady::StreamSilent
        };
        let since = *self.pulse.problem_since.get_or_insert(now);
        if !self.pulse.was_ready || now - since >= self.config.nats.ready_grace {
            self.say_ready(Readiness::NotReady(problem));
        }
    }
}

/// Whether the client knows more than one server.
pub(crate) async fn has_choice(client: &Client) -> bool {
    let pool = tokio::time::timeout(POOL_TIMEOUT, client.server_pool()).await;
    pool.is_ok_and(|pool| pool.is_ok_and(|pool| pool.len() > 1))
}
