//! The client's state machine: what to ask, what to tell the application, when to give up on a connection, when
//! to come back.
//!
//! It does no I/O and looks at no clock: time, messages and ends of connections are given to it, and it gives back
//! messages, events and plans. The task in `task.rs` carries them out.

mod auth;
mod link;
mod publishes;
mod receive;
mod wanted;

use std::collections::VecDeque;
use std::time::Duration;

use odin_protocol::{Channel, ClientMessage, CloseCode, Codec, Reconnect, RequestId, Secret};
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    cursor_map::CursorMap,
    event::Event,
    options::{Options, Subscription},
    parting::{Parting, Plan},
    publish::Publish,
    stats::Stats,
    token::TokenError,
};
use auth::{Auth, Setback, Then};
use link::{Due, Link};
use publishes::Publishes;
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
    codec: Codec,
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
    /// Tries in a row without a connection that could be used.
    fruitless: u32,
    auth: Auth,
    wanted: Wanted,
    publishes: Publishes,
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
            codec: options.codec,
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
            auth: Auth::new(options.token.is_some(), options.connect_timeout, options.backoff),
            wanted: Wanted::new(options.backoff),
            publishes: Publishes::default(),
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
        !self.wanted.is_empty() || !self.publishes.is_empty()
    }

    /// Publishes as soon as the gateway takes it.
    pub(crate) fn publish(&mut self, publish: Publish) {
        self.publishes.add(publish);
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

    /// Whether the source of tokens is to be asked, and [`Session::token`] to be told.
    pub(crate) fn wants_token(&self) -> bool {
        self.auth.wants_token()
    }

    /// What the source of tokens said. Gives the reason to leave, if there is one now.
    pub(crate) fn token(
        &mut self,
        now: Instant,
        token: Result<Secret, TokenError>,
        events: &mut VecDeque<Event>,
    ) -> Option<Parting> {
        let setback = self.auth.given(now, token, &mut self.random);
        self.set_back(setback, events)
    }

    /// Tells the application of a try to sign in that failed, or gives the reason to leave.
    fn set_back(&mut self, setback: Option<Setback>, events: &mut VecDeque<Event>) -> Option<Parting> {
        let Setback { why, then } = setback?;
        let is_refresh = self.auth.is_signed_in();
        let retry_after = match then {
            Then::Leave => return Some(Parting::NotSignedIn(why)),
            Then::AskAnew => Some(Duration::ZERO),
            Then::Retry(wait) => {
                self.fruitless += u32::from(!is_refresh);
                if !is_refresh && self.has_given_up() {
                    return Some(Parting::NotSignedIn(why));
                }
                Some(wait)
            }
            Then::Expire => None,
        };
        events.push_back(Event::AuthFailed { why, retry_after, is_refresh });
        None
    }

    fn has_given_up(&self) -> bool {
        self.max_attempts.is_some_and(|max| self.fruitless >= max)
    }

    /// The next message to send. A token goes before everything else, and nothing that needs it goes before the gateway
    /// has accepted it.
    pub(crate) fn outgoing(&mut self, now: Instant) -> Option<ClientMessage> {
        let Phase::Live(link) = &self.phase else { return None };
        if self.auth.has_message() {
            self.next_id += 1;
            return self.auth.message(now, self.next_id);
        }
        if let Some(message) = self.outgoing.pop_front() {
            return Some(message);
        }
        if !self.auth.is_open() {
            return None;
        }
        if self.wanted.has_due() {
            self.next_id += 1;
            let cursors = &self.cursors;
            let position = |channel: &Channel| cursors.since(channel);
            if let request @ Some(_) = self.wanted.request(self.next_id, link.max_request_bytes, position) {
                return request;
            }
        }
        if !self.publishes.has_message(now) {
            return None;
        }
        self.next_id += 1;
        self.publishes.message(now, self.next_id, self.codec, link.max_message_bytes)
    }

    /// A frame of any kind came.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Phase::Live(link) = &mut self.phase {
            link.heard(now);
        }
    }

    /// Reading goes on after it stood still for the application's sake: silence meanwhile proves nothing.
    pub(crate) fn listens_again(&mut self, now: Instant) {
        self.heard(now);
        self.auth.wait_anew(now);
        self.publishes.wait_anew(now);
    }

    /// When [`Session::tick`] has something to do. The wait for the hello is the task's.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let Phase::Live(link) = &self.phase else { return None };
        let others = [self.wanted.deadline(), self.auth.deadline(), self.publishes.deadline()];
        Some(others.into_iter().flatten().fold(link.deadline(), Instant::min))
    }

    /// Time has passed. Gives the reason to leave, if there is one now.
    pub(crate) fn tick(&mut self, now: Instant, events: &mut VecDeque<Event>) -> Option<Parting> {
        if let Some(why) = self.tick_requests(now, events) {
            return Some(why);
        }
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

    /// The part of [`Session::tick`] that needs nothing to be read: a token is refreshed in time even while the
    /// application is slow.
    pub(crate) fn tick_deaf(&mut self, now: Instant) {
        if self.is_live() {
            self.auth.begin(now);
        }
    }

    /// The part of [`Session::tick`] that is about requests and not about silence: it has its time even while frames
    /// come without a pause.
    pub(crate) fn tick_requests(&mut self, now: Instant, events: &mut VecDeque<Event>) -> Option<Parting> {
        if !self.is_live() {
            return None;
        }
        self.wanted.tick(now);
        self.publishes.tick(now);
        let setback = self.auth.tick(now, &mut self.random);
        self.set_back(setback, events)
    }

    /// There is no connection any more, or there was none to be had.
    pub(crate) fn parted(&mut self, now: Instant, why: Parting, events: &mut VecDeque<Event>) -> Plan {
        let lived = match &self.phase {
            Phase::Live(link) if self.auth.is_open() => Some(link.age(now)),
            _ => None,
        };
        let is_unauthorized = why.close_code() == Some(CloseCode::Unauthorized.code());
        let reconnect = match why.reconnect() {
            _ if is_unauthorized && self.auth.unauthorized() => Reconnect::Soon,
            reconnect => reconnect,
        };
        self.auth.away();
        self.phase = Phase::Away;
        self.outgoing.clear();
        self.cursors.disconnect();
        self.publishes.disconnect();
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
        let has_given_up = self.has_given_up();
        match reconnect {
            Reconnect::Never => return Self::end(why, events),
            _ if has_given_up => return Self::end(why, events),
            Reconnect::Later => self.backoff.be_patient(),
            Reconnect::Soon if why.is_idle() && !self.is_wanting() => {
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
