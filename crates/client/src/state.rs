//! The client's state machine: what to ask, what to tell the application, when to give up on a connection, when
//! to come back.
//!
//! It does no I/O and looks at no clock: time, messages and ends of connections are given to it, and it gives back
//! messages, events and plans. The task in `task.rs` carries them out.

mod link;
mod receive;
mod wanted;

use std::collections::VecDeque;
use std::time::Duration;

use odin_protocol::{Channel, ClientMessage, Reconnect, RequestId};
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    cursor_map::CursorMap,
    event::Event,
    options::{Options, Subscription},
    parting::{Parting, Plan},
    stats::Stats,
};
use link::{Due, Link};
use wanted::Wanted;

#[derive(Debug)]
enum Phase {
    Away,
    /// Connected, and the gateway has not said hello.
    Greeting,
    Live(Link),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    urls: Vec<String>,
    url: usize,
    ping_interval: Option<Duration>,
    stable_after: Duration,
    max_attempts: Option<u32>,
    backoff: Backoff,
    random: StdRng,
    phase: Phase,
    /// Partings since a connection was last stable.
    attempt: u32,
    /// Tries in a row without a hello.
    fruitless: u32,
    wanted: Wanted,
    /// Unsubscribed, and the gateway has not answered.
    leaving: Vec<Channel>,
    outgoing: VecDeque<ClientMessage>,
    cursors: CursorMap,
    next_id: u64,
    stats: Stats,
}

impl Session {
    /// `options` have been checked; `seed` decides about every random wait.
    pub(crate) fn new(options: &Options, seed: u64) -> Self {
        Session {
            urls: options.urls.clone(),
            url: 0,
            ping_interval: options.ping_interval,
            stable_after: options.stable_after,
            max_attempts: options.max_attempts,
            backoff: options.backoff,
            random: StdRng::seed_from_u64(seed),
            phase: Phase::Away,
            attempt: 0,
            fruitless: 0,
            wanted: Wanted::new(options.backoff),
            leaving: Vec::new(),
            outgoing: VecDeque::new(),
            cursors: CursorMap::default(),
            next_id: 0,
            stats: Stats::default(),
        }
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Which of the addresses to dial.
    pub(crate) fn url(&self) -> usize {
        self.url
    }

    /// Whether there is anything to connect for after [`Plan::Sleep`].
    pub(crate) fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn subscribe(&mut self, subscription: Subscription) {
        if self.wanted.differs(&subscription) {
            // a gateway keeps the options of what is subscribed already
            self.leave(&subscription.channel);
        }
        self.wanted.add(subscription);
    }

    pub(crate) fn unsubscribe(&mut self, channel: Channel, events: &mut VecDeque<Event>) {
        if self.leave(&channel) {
            self.leaving.push(channel);
        } else {
            events.push_back(Event::Unsubscribed { channel: channel.as_str().to_owned() });
        }
    }

    /// Ends a subscription; says whether the gateway has to answer.
    fn leave(&mut self, channel: &Channel) -> bool {
        let was_asked = self.wanted.remove(channel) == Some(true);
        self.cursors.end(channel);
        if !was_asked || !self.is_live() {
            return false;
        }
        self.next_id += 1;
        let id = Some(RequestId::Number(self.next_id));
        let channels = vec![channel.as_str().to_owned()];
        self.outgoing.push_back(ClientMessage::Unsubscribe { id, channels });
        true
    }

    /// A connection is open; the gateway is to say hello within the connect timeout.
    pub(crate) fn opened(&mut self) {
        self.phase = Phase::Greeting;
    }

    /// The next message to send.
    pub(crate) fn outgoing(&mut self) -> Option<ClientMessage> {
        let Phase::Live(link) = &self.phase else { return None };
        if let Some(message) = self.outgoing.pop_front() {
            return Some(message);
        }
        if !self.wanted.has_due() {
            return None;
        }
        self.next_id += 1;
        let cursors = &self.cursors;
        self.wanted.request(self.next_id, link.max_request_bytes, |channel| cursors.since(channel))
    }

    /// A frame of any kind came.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Phase::Live(link) = &mut self.phase {
            link.heard(now);
        }
    }

    /// When [`Session::tick`] has something to do. The wait for the hello is the task's.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let Phase::Live(link) = &self.phase else { return None };
        let deadline = link.deadline();
        Some(self.wanted.deadline().map_or(deadline, |wish| wish.min(deadline)))
    }

    /// Time has passed. Gives the reason to leave, if there is one now.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Parting> {
        self.wanted.tick(now);
        let Phase::Live(link) = &mut self.phase else { return None };
        match link.due(now) {
            Due::Nothing => None,
            Due::Leave(why) => Some(why),
            Due::Ping => {
                self.next_id += 1;
                link.pinged(now, self.next_id);
                self.outgoing.push_back(ClientMessage::Ping { id: Some(RequestId::Number(self.next_id)) });
                None
            }
        }
    }

    /// There is no connection any more, or there was none to be had.
    pub(crate) fn parted(&mut self, now: Instant, why: Parting, events: &mut VecDeque<Event>) -> Plan {
        let lived = match &self.phase {
            Phase::Live(link) => Some(link.age(now)),
            Phase::Away | Phase::Greeting => None,
        };
        self.phase = Phase::Away;
        self.outgoing.clear();
        self.cursors.disconnect();
        self.stats.partings += 1;
        self.url = (self.url + 1) % self.urls.len();
        for channel in self.leaving.drain(..) {
            events.push_back(Event::Unsubscribed { channel: channel.as_str().to_owned() });
        }
        match lived {
            None => self.fruitless += 1,
            Some(lived) if lived >= self.stable_after => {
                self.attempt = 0;
                self.backoff.reset();
            }
            Some(_) => {}
        }
        let has_given_up = self.max_attempts.is_some_and(|max| self.fruitless >= max);
        match why.reconnect() {
            Reconnect::Never => return Self::end(why, events),
            _ if has_given_up => return Self::end(why, events),
            Reconnect::Later => self.backoff.be_patient(),
            Reconnect::Soon if why.is_idle() && self.wanted.is_empty() => {
                events.push_back(Event::Idle);
                return Plan::Sleep;
            }
            Reconnect::Soon => {}
        }
        self.attempt += 1;
        let after = why.retry_after().saturating_add(self.backoff.draw(&mut self.random));
        events.push_back(Event::Reconnecting { attempt: self.attempt, after, why });
        Plan::Dial { after }
    }

    fn end(why: Parting, events: &mut VecDeque<Event>) -> Plan {
        events.push_back(Event::Closed { code: why.close_code(), why });
        Plan::End
    }

    /// Whether the gateway has said hello.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }
}

#[cfg(test)]
mod tests;
