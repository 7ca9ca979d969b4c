//! The client's state machine: what to ask, what to tell the application, when to give up on a connection, when
//! to come back.
//!
//! It does no I/O and looks at no clock: time, messages and ends of connections are given to it, and it gives back
//! messages, events and plans. The task in `task.rs` carries them out.

mod link;
mod wanted;

use std::collections::VecDeque;
use std::time::Duration;

use odin_protocol::{
    Channel, ClientMessage, ConnectionStatus, ErrorMessage, Mode, Reconnect, RequestId, ResumeFailure, ServerMessage,
    SystemState, Update,
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    cursor_map::{CursorMap, Judgement},
    event::{Connected, Event, Gap, Refusal},
    options::{Options, Subscription},
    parting::{Parting, Plan},
    stats::Stats,
    text::printable,
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
        self.wanted.add(subscription);
    }

    pub(crate) fn unsubscribe(&mut self, channel: Channel, events: &mut VecDeque<Event>) {
        let was_asked = self.wanted.remove(&channel) == Some(true);
        self.cursors.end(&channel);
        if was_asked && matches!(self.phase, Phase::Live(_)) {
            self.next_id += 1;
            let id = Some(RequestId::Number(self.next_id));
            let channels = vec![channel.as_str().to_owned()];
            self.outgoing.push_back(ClientMessage::Unsubscribe { id, channels });
            self.leaving.push(channel);
        } else {
            events.push_back(Event::Unsubscribed { channel: channel.as_str().to_owned() });
        }
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

    /// A message of the gateway.
    pub(crate) fn receive(&mut self, now: Instant, message: ServerMessage, events: &mut VecDeque<Event>) {
        self.stats.messages += 1;
        match message {
            ServerMessage::Update(update) => self.update(update, events),
            ServerMessage::Status(status) => self.greeted(now, status, events),
            ServerMessage::Subscribed { id, channel, mode, recovered, reason, cursor } => {
                let answer = Answer { mode, recovered, reason, cursor };
                self.subscribed(id.as_ref(), channel, answer, events);
            }
            ServerMessage::Unsubscribed { id, channel } => self.unsubscribed(id.is_none(), channel, events),
            ServerMessage::Gap { channel, key, after, until, reason } => {
                self.stats.gaps += 1;
                if let Ok(channel) = Channel::parse(&channel) {
                    self.cursors.gap(&channel, key.as_deref(), until);
                }
                events.push_back(Event::Gap(Gap { channel, key, after, until, announced: Some(reason) }));
            }
            ServerMessage::Checkpoint { cursor } => self.cursors.checkpoint(&cursor),
            ServerMessage::Stale { channel, reason, since } => {
                events.push_back(Event::Stale { channel, reason, since_ms: since });
            }
            ServerMessage::Live { channel } => events.push_back(Event::Live { channel }),
            ServerMessage::System { status, reconnect_in_ms, message, .. } => {
                let message = message.map(|text| printable(&text).into_owned());
                self.system(now, status, reconnect_in_ms.map(Duration::from_millis), message, events);
            }
            ServerMessage::Pong { id: Some(RequestId::Number(id)), .. } => self.pong(now, id, events),
            ServerMessage::Error(error) => self.refused(now, error, events),
            _ => self.stats.unknown += 1,
        }
    }

    fn greeted(&mut self, now: Instant, status: ConnectionStatus, events: &mut VecDeque<Event>) {
        if !matches!(self.phase, Phase::Greeting) {
            return;
        }
        self.phase = Phase::Live(Link::new(now, &status, self.ping_interval));
        self.fruitless = 0;
        self.wanted.start_over();
        let url = self.urls[self.url].clone();
        events.push_back(Event::Connected(Connected { url, status, reconnects: self.stats.connections }));
        self.stats.connections += 1;
    }

    fn update(&mut self, update: Update, events: &mut VecDeque<Event>) {
        match self.cursors.update(&update.head()) {
            Judgement::Duplicate => {
                self.stats.duplicates += 1;
                return;
            }
            Judgement::Stray => {
                self.stats.strays += 1;
                return;
            }
            Judgement::Deliver => {}
            Judgement::Merged => self.stats.merged += 1,
            Judgement::Missing { after, until } => {
                self.stats.violations += 1;
                let (channel, key) = (update.channel.clone(), update.key.clone());
                events.push_back(Event::Gap(Gap { channel, key, after, until, announced: None }));
            }
        }
        self.stats.updates += 1;
        self.stats.snapshots += u64::from(update.snapshot);
        events.push_back(Event::Update(update));
    }

    fn subscribed(&mut self, id: Option<&RequestId>, name: String, answer: Answer, events: &mut VecDeque<Event>) {
        let Ok(channel) = Channel::parse(&name) else { return };
        if !self.wanted.confirm(&channel, id.and_then(number)) {
            // unsubscribed meanwhile: its updates are dropped
            return;
        }
        let Answer { mode, recovered, reason, cursor } = answer;
        self.cursors.begin(&channel, mode, recovered, reason, cursor);
        self.stats.recovered += u64::from(recovered);
        self.stats.not_recovered += u64::from(reason.is_some());
        events.push_back(Event::Subscribed { channel: name, mode, recovered, reason });
    }

    fn unsubscribed(&mut self, is_by_gateway: bool, name: String, events: &mut VecDeque<Event>) {
        let Ok(channel) = Channel::parse(&name) else { return };
        if is_by_gateway {
            self.wanted.remove(&channel);
            self.cursors.end(&channel);
        } else if let Some(at) = self.leaving.iter().position(|leaving| *leaving == channel) {
            self.leaving.swap_remove(at);
        } else {
            return;
        }
        events.push_back(Event::Unsubscribed { channel: name });
    }

    fn system(
        &mut self,
        now: Instant,
        status: SystemState,
        within: Option<Duration>,
        message: Option<String>,
        events: &mut VecDeque<Event>,
    ) {
        match status {
            SystemState::Draining => {
                if let (Phase::Live(link), Some(within)) = (&mut self.phase, within) {
                    link.draining(now, within);
                }
                events.push_back(Event::Draining { within, message });
            }
            _ => {
                let message = message.unwrap_or_else(|| status.as_str().to_owned());
                events.push_back(Event::Notice { message });
            }
        }
    }

    fn pong(&mut self, now: Instant, id: u64, events: &mut VecDeque<Event>) {
        let Phase::Live(link) = &mut self.phase else { return };
        if let Some(round_trip) = link.answered(now, id) {
            self.stats.round_trip = Some(round_trip);
            events.push_back(Event::RoundTrip(round_trip));
        }
    }

    fn refused(&mut self, now: Instant, error: ErrorMessage, events: &mut VecDeque<Event>) {
        self.stats.errors += 1;
        let id = error.id.as_ref().and_then(number);
        if let (Phase::Live(link), Some(id)) = (&mut self.phase, id) {
            // a refused ping is answered, but measures nothing
            link.answered(now, id);
        }
        let may_retry = error.code.retry();
        let at_least = Duration::from_millis(error.retry_after_ms.unwrap_or_default());
        let mut retry_after = None;
        for channel in self.wanted.refused(id, error.channel.as_deref()) {
            if may_retry {
                let random = &mut self.random;
                self.wanted.postpone(&channel, |backoff| {
                    let wait = at_least.saturating_add(backoff.draw(random));
                    retry_after = Some(retry_after.map_or(wait, |other: Duration| other.min(wait)));
                    now + wait
                });
            } else {
                self.wanted.remove(&channel);
                self.cursors.end(&channel);
            }
        }
        events.push_back(Event::Error(Refusal {
            code: error.code,
            message: printable(&error.message).into_owned(),
            channel: error.channel.map(|channel| printable(&channel).into_owned()),
            retry_after,
        }));
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

/// What `subscribed` says.
#[derive(Debug)]
struct Answer {
    mode: Mode,
    recovered: bool,
    reason: Option<ResumeFailure>,
    cursor: Option<String>,
}

fn number(id: &RequestId) -> Option<u64> {
    match id {
        RequestId::Number(number) => Some(*number),
        RequestId::Text(_) => None,
    }
}

#[cfg(test)]
mod tests;
