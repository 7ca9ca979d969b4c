//! Whether what comes is alive: the tick, the route it comes by, and what shards and probes are told.
//!
//! Every gateway publishes a tick each second, and the stream keeps one of each second. It comes back
//! live, so it proves the whole way: publish, store, republish, route, subscription. When it does not
//! come, either the stream stands still – then waiting is all there is to do – or this gateway's route
//! is silent, which nothing else tells: then another server is tried.

use std::time::Duration;

use async_nats::Message;
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

/// The longest pause between two suspicions of a silent route.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    is_connected: bool,
    was_connected: bool,
    /// Since when a tick is waited for: the last one, or the connection.
    waits_since: Instant,
    /// Sequence and time of the last tick.
    tick: Option<(u64, i64)>,
    /// When a tick of our own was last acknowledged.
    stored_at: Option<Instant>,
    is_probing: bool,
    /// Probes since the last tick, and when the next one may be made.
    probes: u32,
    next_probe: Instant,
    /// Since when there is trouble with the bus.
    trouble_since: Option<Instant>,
    /// Whether clients have been told.
    is_stale: bool,
    /// What the stream's answer to who it is lacks.
    pub(super) fault: Option<NotReady>,
    problem_since: Option<Instant>,
    was_ready: bool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            is_connected: false,
            was_connected: false,
            waits_since: now,
            tick: None,
            stored_at: None,
            is_probing: false,
            probes: 0,
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
        self.tick.is_none()
    }
}

impl Bus {
    pub(super) fn on_connected(&mut self) {
        tracing::info!("connected to NATS");
        self.metrics.connected.set(1);
        self.pulse.is_connected = true;
        self.pulse.waits_since = Instant::now();
        if std::mem::replace(&mut self.pulse.was_connected, true) {
            self.metrics.reconnects.add(1);
            self.audit_all();
        }
        self.ask_epoch();
        self.feel_pulse();
    }

    pub(super) fn on_disconnected(&mut self) {
        tracing::warn!("lost the connection to NATS");
        self.metrics.connected.set(0);
        self.pulse.is_connected = false;
        self.feel_pulse();
    }

    /// A live tick came.
    pub(super) fn on_tick(&mut self, message: &Message) {
        // Not from the stream: not believed.
        let Some(tick) = stored(message, &mut Default::default()) else {
            self.metrics.unmapped.add(1);
            return;
        };
        let was_silent = self.is_silent(Instant::now());
        self.pulse.waits_since = Instant::now();
        self.pulse.probes = 0;
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

    fn is_silent(&self, now: Instant) -> bool {
        self.pulse.is_connected && now - self.pulse.waits_since >= self.config.nats.tick_timeout
    }

    /// Looks whether there is trouble, whether it is over, and who has to know.
    pub(super) fn feel_pulse(&mut self) {
        let now = Instant::now();
        let is_silent = self.is_silent(now);
        if is_silent {
            self.probe(now);
        }
        if is_silent || !self.pulse.is_connected {
            let since = match self.pulse.trouble_since {
                Some(since) => since,
                None => {
                    if is_silent {
                        tracing::warn!("no live tick: the stream stands still, or the route is silent");
                        self.audit_all();
                    }
                    *self.pulse.trouble_since.insert(now)
                }
            };
            if now - since >= self.config.feeds.stale_after && !self.pulse.is_stale {
                self.pulse.is_stale = true;
                self.metrics.stale.set(1);
                let reason = if is_silent { StaleReason::Unverified } else { StaleReason::BusLost };
                let since_ms = self.pulse.tick.map(|(_, ts_ms)| ts_ms);
                for out in &mut self.out {
                    out.push(Item::Stale { reason, since_ms });
                }
            }
        } else if self.pulse.trouble_since.is_some() && self.pulse.tick.is_some() && self.is_proven() {
            self.pulse.trouble_since = None;
            if std::mem::take(&mut self.pulse.is_stale) {
                self.metrics.stale.set(0);
                self.out.iter_mut().for_each(|out| out.push(Item::Live));
            }
        }
        self.judge_readiness();
    }

    /// Finds out whether the stream goes on while nothing comes here.
    fn probe(&mut self, now: Instant) {
        if self.pulse.is_probing || now < self.pulse.next_probe {
            return;
        }
        self.pulse.is_probing = true;
        let replay = self.replay.clone();
        self.reads.push(async move { Done::Probed(replay.last_tick().await) }.boxed());
    }

    pub(super) fn on_probed(&mut self, last: &Result<u64, ReadError>) {
        self.pulse.is_probing = false;
        let now = Instant::now();
        if !self.is_silent(now) {
            return;
        }
        // The new route gets its time, and longer each time: if all are silent, it is not the route.
        let pause = self.config.nats.tick_timeout.saturating_mul(1 << self.pulse.probes.min(5)).min(LONGEST_PAUSE);
        let seen = self.pulse.tick.map_or(0, |(seq, _)| seq);
        let stands_still = last.as_ref().is_ok_and(|last| *last <= seen);
        if stands_still {
            self.pulse.next_probe = now + self.config.nats.tick_timeout / 2;
            return;
        }
        self.pulse.probes += 1;
        self.pulse.next_probe = now + pause.mul_f64(rand::random_range(0.8..1.2));
        self.metrics.route_changes.add(1);
        tracing::warn!(reads = last.is_ok(), "the route is silent: trying another NATS server");
        let (live, reader) = (self.live.clone(), self.reader.clone());
        let reader_is_silent = last.is_err();
        self.reads.push(
            async move {
                // Fails only when the client has been closed, and then the gateway is stopping.
                let _ = live.force_reconnect().await;
                if reader_is_silent {
                    let _ = reader.force_reconnect().await;
                }
                Done::Rerouted
            }
            .boxed(),
        );
    }

    /// Ready as soon as all is well; not ready when it has not been for the grace period.
    pub(super) fn judge_readiness(&mut self) {
        let now = Instant::now();
        // Two ticks may fail; the grace period comes on top.
        let is_old = |at: Option<Instant>| at.is_none_or(|at| now - at > self.config.nats.tick_timeout);
        let problem = if !self.pulse.is_connected {
            Some(NotReady::NatsDisconnected)
        } else if let Some(fault) = self.pulse.fault {
            Some(fault)
        } else if self.epoch.is_none() {
            Some(NotReady::Starting)
        } else if self.pulse.tick.is_none() || self.is_silent(now) || is_old(self.pulse.stored_at) {
            Some(NotReady::StreamSilent)
        } else {
            None
        };
        let Some(problem) = problem else {
            self.pulse.problem_since = None;
            self.pulse.was_ready = true;
            self.say_ready(Readiness::Ready);
            return;
        };
        let since = *self.pulse.problem_since.get_or_insert(now);
        if !self.pulse.was_ready || now - since >= self.config.nats.ready_grace {
            self.say_ready(Readiness::NotReady(problem));
        }
    }
}
