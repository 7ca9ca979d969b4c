//! Questions of HTTP clients: each is a connection whose socket is memory, until it is answered (`question`).

use super::{
    Shard,
    pipe::Pipe,
    stream::Stream,
    subscription::{Subscription, WAITING},
};
use crate::{
    format::Format,
    metrics::CloseReason,
    question::{Answer, Patience, Question, Reached},
};
use odin_protocol::{
    close::CloseCode,
    message::{ServerMessage, SystemState},
};

/// How long a question that does not wait for news may take, in seconds.
const AT_ONCE_S: u32 = 5;

/// Questions taken in one turn.
pub(super) const QUESTIONS: usize = 256;

impl Shard {
    pub(super) fn take_question(&mut self, question: Question) {
        let Question { guest, message, had, patience, bytes, answer } = question;
        let slot = self.connections.vacant_key();
        let wait_s = match patience {
            // The sweep comes once in a second.
            Patience::UntilNews(wait) => u32::try_from(wait.as_secs()).unwrap_or(u32::MAX),
            Patience::Now | Patience::Past { .. } => AT_ONCE_S,
        };
        let until_s = self.now_s().saturating_add(wait_s);
        let pipe = Pipe::new((slot as u32, self.bell.clone()), (patience, until_s), had, bytes, answer);
        self.metrics.questions.add(1);
        self.metrics.questions_waiting.add(1);
        self.insert(Stream::Pipe(Box::new(pipe)), Format::Json, Box::new(guest));
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
        let Some(Stream::Pipe(pipe)) = self.connections.get(slot).map(|connection| &connection.stream) else {
            return;
        };
        let is_over = pipe.is_forgotten() || now_s >= pipe.until_s;
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
        // A publish is answered when the stream has it.
        let has_begun = connection.publishing == 0 && connection.subscriptions.iter().all(|s| s.index != WAITING);
        has_begun && is_enough && (is_full || (connection.is_at_head() && self.has_places(slot)))
    }

    /// Whether the client can be told where it stands; else it would have to begin anew. The last value of one chain is a
    /// position too.
    fn has_places(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        let Stream::Pipe(pipe) = &connection.stream else {
            return true;
        };
        (0..connection.subscriptions.len()).all(|at| {
            let feed = self.feeds.at(connection.subscriptions[at].feed);
            let channel = feed.topic.channel.as_str();
            let position = self.reached_by(slot, at).position;
            (feed.is_one_chain() && !feed.last.is_empty())
                || position.is_some_and(|position| pipe.can_resume(channel, position))
        })
    }

    /// Gives the answer, as far as there is one.
    fn finish(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else {
            return;
        };
        let is_waiting = |subscription: &Subscription| subscription.index == WAITING;
        let is_late = connection.publishing > 0 || connection.subscriptions.iter().any(is_waiting);
        let begun = (0..connection.subscriptions.len()).filter(|at| !is_waiting(&connection.subscriptions[*at]));
        let reached = begun.map(|at| self.reached_by(slot, at)).collect();
        if let Some(Stream::Pipe(pipe)) = self.connections.get_mut(slot).map(|connection| &mut connection.stream) {
            pipe.finish(Answer { frames: Vec::new(), reached, is_late });
        }
        self.remove(slot, CloseReason::Normal);
    }

    fn reached_by(&self, slot: usize, at: usize) -> Reached {
        let connection = &self.connections[slot];
        let subscription = connection.subscriptions[at];
        let feed = self.feeds.at(subscription.feed);
        let cursor = connection.outbox.as_ref().map(|outbox| outbox.cursors[at]);
        let is_at_head = !subscription.is_listed()
            || cursor.is_none_or(|cursor| cursor.past.is_none() && cursor.position >= feed.position);
        // Whoever has gone beyond what is verified keeps what it has.
        let position = self.freshness.position(feed.epoch, feed.verified).filter(|_| is_at_head && !feed.has_hole);
        Reached { channel: feed.topic.channel.to_string(), is_one_chain: feed.is_one_chain(), is_at_head, position }
    }

    /// Whether it is a history from the oldest message that is kept.
    pub(super) fn is_from_oldest(&self, slot: usize) -> bool {
        let Stream::Pipe(pipe) = &self.connections[slot].stream else {
            return false;
        };
        matches!(pipe.patience, Patience::Past { from_oldest: true, .. })
    }
}
