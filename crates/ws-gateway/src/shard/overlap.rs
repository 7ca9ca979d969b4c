//! A pattern and one of its own channels on the same connection: everything still comes once.
//!
//! The channel's subscription is covered: it stays, but the pattern's feed carries it. The two feeds
//! may stand at different sequences when one takes over from the other, so the connection notes how
//! far the subject had come – its floor – and leaves out what is at or below it.

use odin_protocol::{
    error::GapReason,
    message::{Mode, ServerMessage},
};

use super::{
    Shard,
    feed::Feed,
    resume::Beginning,
    subscription::{COVERED, Cursor, Floor, Subscription},
};
use crate::metrics::Settlement;

impl Shard {
    /// Whether a pattern of this connection carries the feed's channel already.
    pub(super) fn is_covered(&self, slot: usize, feed: u32) -> bool {
        self.pattern_of(slot, feed).is_some()
    }

    /// Index of the listed pattern that covers the feed's channel. There is at most one: the star
    /// stands for the last segment only.
    pub(super) fn pattern_of(&self, slot: usize, feed: u32) -> Option<usize> {
        let topic = &self.feeds.at(feed).topic;
        if topic.channel.is_pattern() {
            return None;
        }
        self.connections[slot].subscriptions.iter().position(|other| {
            let pattern = &self.feeds.at(other.feed).topic;
            other.is_listed() && pattern.carries(topic)
        })
    }

    /// How a subscription is served: a pattern that carries a channel of mode `all` merges nothing.
    pub(super) fn mode_of(&self, slot: usize, subscription: &Subscription) -> Mode {
        let pattern = &self.feeds.at(subscription.feed).topic.channel;
        let carries_all = || {
            self.connections[slot].subscriptions.iter().any(|other| {
                other.index == COVERED
                    && other.mode == Mode::All
                    && pattern.matches(&self.feeds.at(other.feed).topic.channel)
            })
        };
        if subscription.mode == Mode::Latest && pattern.is_pattern() && carries_all() {
            return Mode::All;
        }
        subscription.mode
    }

    /// The subscription at `at` has just been covered: from here on its pattern serves its mode.
    pub(super) fn end_merging(&mut self, slot: usize, at: usize) {
        let Subscription { feed, mode, .. } = self.connections[slot].subscriptions[at];
        if let Some(pattern) = self.pattern_of(slot, feed).filter(|_| mode == Mode::All) {
            let head = self.feeds.at(self.connections[slot].subscriptions[pattern].feed).position;
            let cursor = &mut self.outbox(slot).cursors[pattern];
            cursor.merge_until = cursor.merge_until.min(head);
        }
    }

    /// The pattern `feed` is about to be listed: it takes over the channels it covers.
    pub(super) fn cover(&mut self, slot: usize, feed: u32, beginning: Beginning) {
        let pattern = self.feeds.at(feed).topic.clone();
        if !pattern.channel.is_pattern() {
            return;
        }
        for at in 0..self.connections[slot].subscriptions.len() {
            let subscription = self.connections[slot].subscriptions[at];
            let covered = self.feeds.at(subscription.feed);
            if !subscription.is_listed() || !pattern.carries(&covered.topic) || subscription.feed == feed {
                continue;
            }
            let cursor = self.outbox(slot).cursors[at];
            self.settle_rest(subscription, &cursor, Settlement::Left);
            let seq = cursor.reached();
            self.raise_floor(slot, subscription.feed, seq);
            if subscription.mode == Mode::All {
                self.announce_skipped(slot, subscription.feed, feed, seq, beginning);
            }
            let format = self.connections[slot].format;
            // Counted before it leaves, so that the feed is never without use in between.
            self.feeds.at_mut(subscription.feed).covered += 1;
            self.leave(slot, subscription, format);
            self.connections[slot].subscriptions[at].index = COVERED;
            // What it had still to read is the pattern's to send.
            self.outbox(slot).cursors[at] = Cursor::at_head(self.feeds.at(subscription.feed), subscription.mode);
        }
    }

    /// The pattern `feed` has been taken from the connection, which had been sent it up to `cursor`:
    /// what it carried goes by its own feeds again.
    pub(super) fn uncover(&mut self, slot: usize, feed: u32, cursor: Cursor) {
        let pattern = self.feeds.at(feed).topic.clone();
        if !pattern.channel.is_pattern() {
            return;
        }
        for at in 0..self.connections[slot].subscriptions.len() {
            let subscription = self.connections[slot].subscriptions[at];
            let own = self.feeds.at(subscription.feed);
            if subscription.index != COVERED || !pattern.carries(&own.topic) {
                continue;
            }
            let sent = sent_seq(self.feeds.at(feed), &own.topic.subject, &cursor);
            // Another stream's sequences are another's.
            let sent = if own.epoch == self.feeds.at(feed).epoch { sent } else { 0 };
            let seq = self.raise_floor(slot, subscription.feed, sent);
            self.feeds.at_mut(subscription.feed).covered -= 1;
            self.list(slot, at, Beginning::Snapshot(None));
            if subscription.mode == Mode::All && seq > 0 {
                // The chain goes on where it was: no snapshot.
                self.outbox(slot).cursors[at] = Cursor::after(self.feeds.at(subscription.feed), seq, Mode::All);
            }
        }
    }

    /// Notes that the only subject of `feed` has been sent up to `seq`, and gives its floor: higher
    /// if an earlier change of feeds left it so, 0 for none.
    pub(super) fn raise_floor(&mut self, slot: usize, feed: u32, seq: u64) -> u64 {
        let feed = self.feeds.at(feed);
        let (subject, Some(epoch)) = (feed.topic.subject.clone(), feed.epoch) else {
            return 0;
        };
        let floors = &mut self.outbox(slot).floors;
        match floors.iter_mut().find(|floor| *floor.subject == *subject && floor.epoch == epoch) {
            Some(floor) => {
                floor.seq = floor.seq.max(seq);
                floor.seq
            }
            None => {
                if seq > 0 {
                    floors.push(Floor { subject: subject.into(), epoch, seq });
                }
                seq
            }
        }
    }

    /// Whether the pattern that carries the feed's channel was resumed at or before `seq`, and has all
    /// of the channel from there on.
    pub(super) fn is_carried_from(&mut self, slot: usize, feed: u32, seq: u64) -> bool {
        let Some(at) = self.pattern_of(slot, feed) else {
            return false;
        };
        let outbox = self.connections[slot].outbox.as_ref();
        outbox.is_some_and(|outbox| (1..=seq).contains(&outbox.cursors[at].known))
    }

    /// A reader of every publication that stood at `seq` goes on with the pattern at its beginning:
    /// what that leaves out is announced.
    fn announce_skipped(&mut self, slot: usize, own: u32, pattern: u32, seq: u64, beginning: Beginning) {
        let (own, pattern) = (self.feeds.at(own), self.feeds.at(pattern));
        let Some(last) = pattern.last.get(own.topic.subject.as_str()).map(|last| &last.publication) else {
            return;
        };
        let until = match beginning {
            Beginning::Snapshot(_) => {
                let known = own.ring.after(own.ring.base()).map(|publication| publication.seq);
                // What was read when the pattern opened does not know its predecessor, and the channel's own
                // feed may not have come as far: then all that lies between may have been left out.
                let known = known.chain([own.ring.base_seq(), last.prev.unwrap_or(last.seq - 1)]);
                known.filter(|known| *known < last.seq).max().unwrap_or(0)
            }
            Beginning::After(since) => since.seq.min(own.seq),
        };
        if seq == 0 || until <= seq || own.epoch != pattern.epoch {
            return;
        }
        let gap = ServerMessage::Gap {
            channel: last.channel.to_string(),
            key: last.key.as_deref().map(str::to_owned),
            after: seq,
            until,
            reason: GapReason::ReplayLimit,
        };
        self.metrics.gaps_announced.add(1);
        self.answer(slot, &gap);
    }
}

/// The highest sequence of `subject` that a connection at `cursor` has been sent; 0 for none.
fn sent_seq(feed: &Feed, subject: &str, cursor: &Cursor) -> u64 {
    cursor.known.max(cursor.past.map_or(0, |past| past.after)).max(sent_by_position(feed, subject, cursor))
}

fn sent_by_position(feed: &Feed, subject: &str, cursor: &Cursor) -> u64 {
    let Some(last) = feed.last.get(subject) else {
        return 0;
    };
    if let Some((_, void)) = last.void.as_ref().filter(|(position, _)| *position <= cursor.position) {
        return void.seq;
    }
    if last.position <= cursor.position {
        return last.publication.seq;
    }
    if cursor.position < cursor.snapshot_until {
        // The snapshot had not come to it.
        return 0;
    }
    let base = feed.ring.base();
    if cursor.position < base || cursor.merge_until > feed.position {
        // What came before the last value was sent, or merged into it, or is past the ring: of that
        // only what the cursor has seen is sure.
        let before = last.publication.prev.unwrap_or(0);
        return if cursor.merge_until > feed.position { before } else { before.min(cursor.seq) };
    }
    let mut entries =
        (base + 1..).zip(feed.ring.after(base)).filter(|(_, publication)| *publication.subject == *subject);
    match entries.next() {
        Some((position, first)) if position > cursor.position => first.prev.unwrap_or(0),
        Some((_, first)) => {
            let before = entries.take_while(|(position, _)| *position <= cursor.position);
            before.last().map_or(first.seq, |(_, publication)| publication.seq)
        }
        None => 0,
    }
}
