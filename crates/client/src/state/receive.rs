//! What each message of the gateway means to the state machine.

use std::collections::VecDeque;
use std::time::Duration;

use odin_protocol::{
    Channel, ConnectionStatus, ErrorMessage, Mode, RequestId, ResumeFailure, ServerMessage, SystemState, Update,
};
use tokio::time::Instant;

use super::{Phase, Session, link::Link, wanted::Confirmed};
use crate::{
    cursor_map::Judgement,
    event::{Connected, Event, Gap, Refusal},
    parting::Parting,
    publish::Published,
    text::printable,
};

impl Session {
    /// A message of the gateway. `wall_ms` is the time of day, in milliseconds since 1970. Gives the reason to leave, if
    /// there is one now.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        wall_ms: i64,
        message: ServerMessage,
        events: &mut VecDeque<Event>,
    ) -> Option<Parting> {
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
                let gap = Gap { channel, key, after, until, announced: Some(reason) };
                self.gap(gap, events);
            }
            ServerMessage::Checkpoint { cursor } => {
                if self.cursors.checkpoint(&cursor) {
                    self.stats.checkpoints += 1;
                    events.push_back(Event::Checkpoint { cursor });
                }
            }
            ServerMessage::Stale { channel, reason, since } => {
                if self.concerns(channel.as_deref()) {
                    events.push_back(Event::Stale { channel, reason, since_ms: since });
                }
            }
            ServerMessage::Live { channel } => {
                if self.concerns(channel.as_deref()) {
                    events.push_back(Event::Live { channel });
                }
            }
            ServerMessage::System { status: SystemState::TokenExpiring, expires_in_ms, .. } => {
                self.auth.expiring(now, expires_in_ms.map(Duration::from_millis));
            }
            ServerMessage::System { status, reconnect_in_ms, message, .. } => {
                let message = message.map(|text| printable(&text).into_owned());
                self.system(now, status, reconnect_in_ms.map(Duration::from_millis), message, events);
            }
            ServerMessage::Authenticated { id, sub, expires_at } => {
                let left = expires_at.map(|at| u64::try_from(at.saturating_sub(wall_ms)).unwrap_or_default());
                let left = left.map(Duration::from_millis);
                if let Some(is_refresh) = self.auth.accepted(now, id.as_ref(), left, &mut self.random) {
                    self.fruitless = 0;
                    events.push_back(Event::Authenticated { sub, expires_at_ms: expires_at, is_refresh });
                }
            }
            ServerMessage::Pong { id: Some(RequestId::Number(id)), .. } => self.pong(now, id, events),
            ServerMessage::Published { id, channel, seq, epoch } => {
                let is_ours = self.publishes.published(id.as_ref(), Published { channel, seq, epoch });
                self.stats.published += u64::from(is_ours);
            }
            ServerMessage::Error(error) => return self.refused(now, error, events),
            _ => self.stats.unknown += 1,
        }
        None
    }

    fn greeted(&mut self, now: Instant, status: ConnectionStatus, events: &mut VecDeque<Event>) {
        if !matches!(self.phase, Phase::Greeting) {
            return;
        }
        self.phase = Phase::Live(Link::new(now, &status, self.ping_interval));
        if self.auth.is_open() {
            self.fruitless = 0;
        }
        self.wanted.start_over();
        let url = self.urls[self.url].clone();
        events.push_back(Event::Connected(Connected { url, status, reconnects: self.stats.connections }));
        self.stats.connections += 1;
    }

    fn update(&mut self, update: Update, events: &mut VecDeque<Event>) {
        match self.cursors.update(&update.head()) {
            Judgement::Overlap => {
                self.stats.duplicates += 1;
                return;
            }
            Judgement::Repeated => {
                self.stats.repeats += 1;
                self.stats.violations += 1;
                let Update { channel, key, seq, .. } = update;
                events.push_back(Event::Repeated { channel, key, seq });
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

    fn gap(&mut self, gap: Gap, events: &mut VecDeque<Event>) {
        let is_ours =
            Channel::parse(&gap.channel).is_ok_and(|channel| self.cursors.gap(&channel, gap.key.as_deref(), gap.until));
        if !is_ours {
            self.stats.strays += 1;
            return;
        }
        self.stats.gaps += 1;
        events.push_back(Event::Gap(gap));
    }

    /// Whether something about this channel, or about the whole connection, is of interest.
    fn concerns(&mut self, channel: Option<&str>) -> bool {
        let is_ours = channel.is_none_or(|name| Channel::parse(name).is_ok_and(|name| self.wanted.contains(&name)));
        self.stats.strays += u64::from(!is_ours);
        is_ours
    }

    fn subscribed(&mut self, id: Option<&RequestId>, name: String, answer: Answer, events: &mut VecDeque<Event>) {
        let Ok(channel) = Channel::parse(&name) else { return };
        let since = match self.wanted.confirm(&channel, id) {
            Confirmed::Answer { since } => since,
            Confirmed::Anew => None,
            // nothing has begun; if it was unsubscribed meanwhile, its updates are dropped
            Confirmed::Nothing => return,
        };
        let Answer { mode, recovered, reason, cursor } = answer;
        let cursor = cursor.or(since.filter(|_| recovered));
        let is_anew = self.cursors.begin(&channel, mode, recovered, reason, cursor);
        self.stats.recovered += u64::from(recovered);
        self.stats.not_recovered += u64::from(is_anew);
        let cursor = self.cursors.since(&channel);
        events.push_back(Event::Subscribed { channel: name, mode, recovered, reason, is_anew, cursor });
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

    fn refused(&mut self, now: Instant, error: ErrorMessage, events: &mut VecDeque<Event>) -> Option<Parting> {
        self.stats.errors += 1;
        let id = error.id.as_ref().and_then(number);
        if let (Phase::Live(link), Some(id)) = (&mut self.phase, id) {
            // a refused ping is answered, but measures nothing
            link.answered(now, id);
        }
        if let Some(id) = id
            && let setback @ Some(_) = self.auth.refused(now, id, &error, &mut self.random)
        {
            return self.set_back(setback, events);
        }
        if id.is_some_and(|id| self.publishes.refused(now, id, &error)) {
            return None;
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
        None
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
