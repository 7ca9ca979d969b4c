//! Whether what comes is alive: the tick, the ways it comes and goes by, and what shards and probes are told.
//!
//! Every gateway publishes a tick each second, and the stream keeps one of each second. It comes back
//! live, so it proves the whole way: publish, store, republish, route, subscription. When it does not
//! come, nothing says whether the stream stands still – then waiting is all there is to do – or a
//! connection is silent, so both are asked what they know: see [`Verdict`].
//!
//! Trouble begins when the connection goes or the tick does not come, and is over when ticks come again
//! and every feed has been proven since. Clients hear of it when it lasts for `feeds.stale_after`, probes
//! when it lasts for `nats.ready_grace`.

use std::{mem, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Message, connection::State};
use futures_util::FutureExt;
use odin_protocol::error::StaleReason;
use tokio::time::Instant;

use super::{
    Bus,
    reads::Done,
    replay::{ReadError, stored},
};
use crate::{
    admin::{NotReady, Readiness},
    queue::Item,
};

/// The longest pause between two changes of servers.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Past this it is no election any more. The node may be cut off from the leader, and answers from
/// what it has: another one may know more.
const LONGEST_ELECTION: Duration = Duration::from_secs(15);

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
    /// When a tick of our own was last acknowledged, or could first have been.
    stored_at: Option<Instant>,
    is_probing: bool,
    /// Changes of servers since both ways were in order, and when the next probe may be made.
    changes: u32,
    next_probe: Instant,
    /// Since when there is trouble with the bus.
    trouble_since: Option<Instant>,
    /// Whether clients have been told.
    is_stale: bool,
    /// What is wrong with the stream.
    fault: Option<NotReady>,
    problem_since: Option<Instant>,
    was_ready: bool,
}

/// What to do about silence, by what both connections know of the last stored tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// The live connection has to go to another server.
    moves_live: bool,
    /// So has the one for reading.
    moves_reader: bool,
    /// Only if there is another server.
    is_a_guess: bool,
}

impl Verdict {
    /// `seen` is the last tick that came live, `silence` since when none has; none if they come.
    fn of(seen: u64, silence: Option<Duration>, live: Option<u64>, reader: Option<u64>) -> Self {
        let goes_on = live.max(reader).is_some_and(|last| last > seen);
        let stands_long = silence.is_some_and(|silence| silence >= LONGEST_ELECTION);
        let is_a_guess = stands_long && !goes_on && live.is_some() && reader.is_some();
        Self {
            moves_live: silence.is_some() && (live.is_none() || goes_on || is_a_guess),
            moves_reader: reader.is_none() || is_a_guess,
            is_a_guess,
        }
    }
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
            is_probing: false,
            changes: 0,
            next_probe: now,
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
pub(super) fn is_connected(client: &Client) -> bool {
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
        self.feel_pulse();
    }

    fn on_disconnected(&mut self) {
        tracing::warn!("lost the connection to NATS");
        self.metrics.connected.set(0);
        self.pulse.is_connected = false;
        self.feel_pulse();
    }

    /// A second has passed.
    pub(super) fn on_second(&mut self, now: Instant) {
        let since = mem::replace(&mut self.pulse.struck_at, now);
        if now - since >= STOOD_STILL {
            tracing::warn!(for_ms = (now - since).as_millis() as u64, "this process stood still");
            self.pulse.granted_at = now;
            self.pulse.stored_at = self.pulse.stored_at.map(|_| now);
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
        if let Some(epoch) = self.epoch {
            for out in &mut self.out {
                out.push(Item::Tick { epoch, seq: tick.seq, ts_ms: tick.ts_ms });
            }
        }
        if was_silent {
            // A new leader, or a route that was broken for a while: what came before this may be lost.
            self.audit_all();
        }
        self.feel_pulse();
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
        let since = self.pulse.stored_at.map_or(self.pulse.granted_at, |at| at.max(self.pulse.granted_at));
        now.saturating_duration_since(since) > self.config.nats.tick_timeout
    }

    /// Looks whether there is trouble, whether it is over, and who has to know.
    pub(super) fn feel_pulse(&mut self) {
        let now = Instant::now();
        let silence = self.silence(now);
        if self.pulse.is_connected && (silence.is_some() || self.is_unheard(now)) {
            self.probe(now);
        } else if self.is_flowing(now) {
            self.pulse.changes = 0;
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

    /// Finds out what both connections know, and which of them is to blame.
    fn probe(&mut self, now: Instant) {
        // Without a stream there is no tick, whatever the route.
        if self.pulse.is_probing || now < self.pulse.next_probe || self.pulse.fault.is_some() {
            return;
        }
        self.pulse.is_probing = true;
        let replay = self.replay.clone();
        self.reads.push(
            async move {
                let (live, reader) = tokio::join!(replay.last_tick(&replay.live), replay.last_tick(&replay.reader));
                Done::Probed { live, reader }
            }
            .boxed(),
        );
    }

    pub(super) fn on_probed(&mut self, live: Result<u64, ReadError>, reader: Result<u64, ReadError>) {
        self.pulse.is_probing = false;
        let now = Instant::now();
        let silence = self.silence(now);
        if !self.pulse.is_connected || (silence.is_none() && !self.is_unheard(now)) {
            return;
        }
        let seen = self.pulse.tick.map_or(0, |(seq, _)| seq);
        let verdict = Verdict::of(seen, silence, live.ok(), reader.ok());
        let timeout = self.config.nats.tick_timeout;
        if !verdict.moves_live && !verdict.moves_reader {
            self.pulse.next_probe = now + timeout / 2;
            return;
        }
        // The new server gets its time, and longer each time: if all are silent, it is not the route.
        let pause = timeout.saturating_mul(1 << self.pulse.changes.min(5)).min(LONGEST_PAUSE.max(timeout));
        self.pulse.changes += 1;
        self.pulse.next_probe = now + pause.mul_f64(rand::random_range(0.8..1.2));
        self.move_on(verdict);
    }

    fn move_on(&self, verdict: Verdict) {
        let Verdict { moves_live, moves_reader, is_a_guess } = verdict;
        let (live, reader) = (self.live.clone(), self.reader.clone());
        let metrics = self.metrics.clone();
        self.reads.push(
            async move {
                if is_a_guess && !has_choice(&live).await {
                    return Done::Moved;
                }
                metrics.route_changes.add(1);
                tracing::warn!(moves_live, moves_reader, "a connection is silent: trying another NATS server");
                // These fail only when the client has been closed, and then the gateway is stopping.
                if moves_live {
                    let _ = live.force_reconnect().await;
                }
                if moves_reader {
                    let _ = reader.force_reconnect().await;
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
async fn has_choice(client: &Client) -> bool {
    let pool = tokio::time::timeout(POOL_TIMEOUT, client.server_pool()).await;
    pool.is_ok_and(|pool| pool.is_ok_and(|pool| pool.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_secs(3));
    const LONG: Option<Duration> = Some(LONGEST_ELECTION);

    /// (moves live, moves reader)
    fn moves(silence: Option<Duration>, live: Option<u64>, reader: Option<u64>) -> (bool, bool) {
        let verdict = Verdict::of(100, silence, live, reader);
        (verdict.moves_live, verdict.moves_reader)
    }

    #[test]
    fn waits_while_the_stream_stands_still() {
        assert_eq!(moves(SHORT, Some(100), Some(100)), (false, false));
        assert_eq!(moves(SHORT, Some(90), Some(100)), (false, false), "a replica may lag");
        assert!(!Verdict::of(100, SHORT, Some(100), Some(100)).is_a_guess);
    }

    #[test]
    fn leaves_a_route_on_which_nothing_comes_although_the_stream_goes_on() {
        assert_eq!(moves(SHORT, Some(101), Some(101)), (true, false));
        assert_eq!(moves(SHORT, Some(100), Some(101)), (true, false), "the other one knows more");
        assert_eq!(moves(LONG, Some(101), Some(101)), (true, false), "long, but no guess");
    }

    #[test]
    fn leaves_the_server_that_does_not_answer_and_only_that() {
        assert_eq!(moves(SHORT, None, Some(101)), (true, false));
        assert_eq!(moves(SHORT, None, Some(100)), (true, false));
        // Our ticks go out by the reader: without it, nothing comes by a live connection in order.
        assert_eq!(moves(SHORT, Some(100), None), (false, true));
        assert_eq!(moves(SHORT, None, None), (true, true));
        assert_eq!(moves(None, Some(101), None), (false, true), "ticks come, so the live one is in order");
        assert_eq!(moves(None, None, Some(101)), (false, false));
    }

    #[test]
    fn leaves_a_server_that_may_be_cut_off_after_a_long_time() {
        assert_eq!(moves(LONG, Some(100), Some(100)), (true, true));
        assert!(Verdict::of(100, LONG, Some(100), Some(100)).is_a_guess);
        assert!(!Verdict::of(100, LONG, None, Some(100)).is_a_guess);
    }
}
