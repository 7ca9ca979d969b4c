//! Questions of HTTP clients: each is a connection whose socket is memory, until it is answered (`question`).

use super::{
    Shard,
    connection::Connection,
    pipe::{Pipe, Times},
    stream::Stream,
    subscription::{Subscription, WAITING},
};
use crate::{
    format::Format,
    metrics::CloseReason,
    question::{Answer, From, Patience, Question, Reached},
};
use odin_protocol::{
    close::CloseCode,
    message::{ServerMessage, SystemState},
};

/// How long a question that does not wait for news may take, in seconds.
const AT_ONCE_S: u32 = 5;

/// Questions taken in one turn.
pub(super) const QUESTIONS: usize = 256;

/// Whether everything that was asked for is there, or is told as soon as it is. A publish is when the stream has it.
fn has_begun(connection: &Connection) -> bool {
    connection.publishing == 0 && connection.subscriptions.iter().all(|subscription| subscription.index != WAITING)
}

impl Shard {
    pub(super) fn take_question(&mut self, question: Question) {
        let Question { guest, message, had, patience, rates, bytes, answer } = question;
        let slot = self.connections.vacant_key();
        let wait_s = match patience {
            Patience::UntilNews(wait) => u32::try_from(wait.as_secs()).unwrap_or(u32::MAX),
            Patience::Now | Patience::Past { .. } => AT_ONCE_S,
        };
        // Of this second some has passed already.
        let until = |wait_s: u32| self.now_s().saturating_add(1).saturating_add(wait_s);
        let times = Times { until_s: until(wait_s), late_s: until(wait_s.max(AT_ONCE_S)) };
        let pipe = Pipe::new((slot as u32, self.bell.clone()), (patience, times), had, bytes, answer);
        self.metrics.questions.add(1);
        self.metrics.questions_waiting.add(1);
        self.insert(Stream::Pipe(Box::new(pipe)), Format::Json, Box::new(guest));
        self.connections[slot].rates = rates;
        if let Some(stale) = self.freshness.stale() {
            self.answer(slot, &stale);
        }
        let is_revoked = |user| self.shared.revocations.cover(user);
        if self.connections[slot].guest.identity.user().is_some_and(|user| is_revoked(user)) {
            self.close(slot, CloseCode::Revoked, CloseReason::Revoked);
        } else if self.departures.is_some() {
            // It is answered at once, and asks somebody else the next time.
            let draining = ServerMessage::System {
                status: SystemState::Draining,
                reconnect_in_ms: None,
                expires_in_ms: None,
                message: None,
            };
            self.answer(slot, &draining);
        }
        if self.connections[slot].closing.is_none() {
            self.act(slot, message);
        }
        self.catch_up(slot);
        self.ring(slot);
    }

    /// Has a question looked at, if it is one, at the end of the turn.
    pub(super) fn ring(&mut self, slot: usize) {
        if let Some(Stream::Pipe(pipe)) = self.connections.get_mut(slot).map(|connection| &mut connection.stream) {
            pipe.ring();
        }
    }

    /// Answers those that have been asked for, if there is enough of an answer.
    pub(super) fn answer_questions(&mut self) {
        for slot in self.bell.take() {
            let slot = slot as usize;
            if self.is_answered(slot) {
                self.finish(slot);
            }
        }
    }

    /// Looks after a question; called once a second.
    pub(super) fn visit_question(&mut self, slot: usize) {
        let now_s = self.now_s();
        let Some(connection) = self.connections.get(slot) else {
            return;
        };
        let Stream::Pipe(pipe) = &connection.stream else {
            return;
        };
        let is_over = now_s >= pipe.times.until_s && has_begun(connection);
        let is_over = pipe.is_forgotten() || is_over || now_s >= pipe.times.late_s;
        // A position may have been proven in the meantime.
        if is_over || self.is_answered(slot) {
            self.finish(slot);
        }
    }

    fn is_answered(&mut self, slot: usize) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else {
            return false;
        };
        let Stream::Pipe(pipe) = &mut connection.stream else {
            return false;
        };
        pipe.be_looked_at();
        let (is_enough, is_full) = (pipe.is_enough(), pipe.is_full());
        if pipe.has_closed() {
            return true;
        }
        has_begun(connection) && is_enough && (is_full || (connection.is_at_head() && self.leads_further(slot)))
    }

    /// Whether the client can go on from what it is told. A cursor that the stream does not reach back to must not be told
    /// again, or its next request is the same as this one, and so on.
    fn leads_further(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        let Stream::Pipe(pipe) = &connection.stream else {
            return true;
        };
        (0..connection.subscriptions.len()).all(|at| {
            let channel = self.feeds.at(connection.subscriptions[at].feed).topic.channel.as_str();
            self.reached_by(slot, at).position.is_none_or(|position| pipe.can_resume(channel, position))
        })
    }

    /// Gives the answer, as far as there is one.
    fn finish(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else {
            return;
        };
        let is_waiting = |subscription: &Subscription| subscription.index == WAITING;
        let is_late = !has_begun(connection);
        let begun = (0..connection.subscriptions.len()).filter(|at| !is_waiting(&connection.subscriptions[*at]));
        let reached = begun.map(|at| self.reached_by(slot, at)).collect();
        let connection = &mut self.connections[slot];
        let rates = std::mem::take(&mut connection.rates);
        if let Stream::Pipe(pipe) = &mut connection.stream {
            pipe.finish(Answer { frames: Vec::new(), reached, is_late, rates });
        }
        self.remove(slot, CloseReason::Normal);
    }

    fn reached_by(&self, slot: usize, at: usize) -> Reached {
        let connection = &self.connections[slot];
        let subscription = connection.subscriptions[at];
        let own = self.feeds.at(subscription.feed);
        // What a pattern covers comes by that.
        let carrier = if subscription.is_listed() { at } else { self.pattern_of(slot, own.id.slot).unwrap_or(at) };
        let feed = self.feeds.at(connection.subscriptions[carrier].feed);
        let cursor = connection.outbox.as_ref().map(|outbox| outbox.cursors[carrier]);
        // Whoever has gone beyond what is verified keeps what it has.
        let sent = cursor.map_or(u64::MAX, |cursor| cursor.complete(feed));
        let complete = if feed.has_hole { 0 } else { sent.min(feed.verified) };
        Reached {
            channel: own.topic.channel.to_string(),
            epoch: feed.epoch,
            is_one_chain: own.is_one_chain(),
            is_at_head: sent == u64::MAX && !feed.has_hole,
            complete,
            position: self.freshness.position(feed.epoch, complete),
        }
    }

    /// Where it begins, if it is a history.
    pub(super) fn past_of(&self, slot: usize) -> Option<From> {
        match &self.connections.get(slot)?.stream {
            Stream::Pipe(pipe) => match pipe.patience {
                Patience::Past { from, .. } => Some(from),
                Patience::Now | Patience::UntilNews(_) => None,
            },
            _ => None,
        }
    }
}
