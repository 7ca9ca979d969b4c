//! What the bus says of a feed – opened, refused, late – and whom it concerns.

use std::{sync::Arc, time::Duration};

use odin_protocol::{
    Epoch,
    error::{ErrorCode, ResumeFailure, StaleReason},
    message::{ErrorMessage, ServerMessage},
};

use super::{
    Shard,
    feed::Waiting,
    resume::Beginning,
    subscription::{COVERED, Cursor, Subscription, WAITING},
};
use crate::{clock::now_ms, metrics::Settlement, publication::Publication, queue::FeedId};

impl Shard {
    /// The bus has opened a feed: whoever waits begins. If it was open before, its subscribers go on
    /// where they stood; of another stream, or a pattern, they begin anew with a fresh snapshot, and are
    /// told so, because nobody can say what lies between.
    pub(super) fn opened(
        &mut self,
        id: FeedId,
        epoch: Epoch,
        (up_to, newest): (u64, u64),
        last: Vec<Arc<Publication>>,
    ) {
        let Some(feed) = self.feeds.get_mut(id) else {
            return;
        };
        let subscribers: Vec<u32> = feed.subscribers.iter().flatten().copied().collect();
        let is_same = feed.epoch == Some(epoch);
        // What they have been sent is known by one number only where there is one chain.
        let goes_on = is_same && feed.is_one_chain();
        let reached: Vec<u64> = subscribers.iter().map(|slot| self.reached(*slot as usize, id.slot)).collect();
        for slot in &subscribers {
            let connection = &self.connections[*slot as usize];
            // What they are still owed comes by another cursor.
            if let (Some(at), Some(outbox)) = (connection.find(id.slot), &connection.outbox) {
                self.settle_rest(connection.subscriptions[at], &outbox.cursors[at], Settlement::Replayed);
            }
        }
        let Some(feed) = self.feeds.get_mut(id) else {
            return;
        };
        self.ring_bytes -= feed.ring.bytes();
        feed.open(epoch, (up_to, newest), last);
        feed.verified_at = self.ticks;
        feed.spoke_at = self.ticks;
        // Silent before we came counts too.
        let age_ms = feed.last.values().map(|last| last.publication.ts_ms).max().map(|newest| now_ms() - newest);
        let is_old = |limit: Duration| age_ms.is_some_and(|age| age >= limit.as_millis() as i64);
        feed.is_silent = feed.topic.max_silence.is_some_and(is_old);
        let waiting = std::mem::take(&mut feed.waiting);
        self.again.extend(self.pages.forget(id));
        for (slot, reached) in subscribers.into_iter().zip(reached) {
            let slot = slot as usize;
            let at = self.connections[slot].find(id.slot).expect("listed, so subscribed");
            let subscription = self.connections[slot].subscriptions[at];
            let mode = self.mode_of(slot, &subscription);
            if !goes_on {
                let reason = if is_same { ResumeFailure::ReplayLimit } else { ResumeFailure::EpochChanged };
                self.say_subscribed(slot, None, id.slot, Some(Beginning::Snapshot(Some(reason))));
            }
            let feed = self.feeds.at(id.slot);
            let cursor = match reached {
                1.. if goes_on => Cursor::after(feed, reached, mode),
                _ => Cursor::fresh(feed, mode),
            };
            self.outbox(slot).cursors[at] = cursor;
            self.catch_up(slot);
        }
        for Waiting { slot, request, since, .. } in waiting {
            let slot = slot as usize;
            // An answer before this one may have found the connection gone.
            let Some(at) = self.connections.get(slot).and_then(|connection| connection.find(id.slot)) else {
                continue;
            };
            if self.connections[slot].subscriptions[at].index == WAITING {
                self.begin(slot, request, id.slot, since);
            } else {
                self.say_subscribed(slot, request, id.slot, None);
            }
            self.catch_up(slot);
        }
    }

    /// Up to which sequence a subscriber has everything of a feed with one chain; 0 before its snapshot.
    fn reached(&self, slot: usize, feed: u32) -> u64 {
        let connection = &self.connections[slot];
        let at = connection.find(feed).expect("listed, so subscribed");
        let feed = self.feeds.at(feed);
        match connection.outbox.as_ref().map(|outbox| &outbox.cursors[at]) {
            Some(cursor) if cursor.position < feed.position || cursor.past.is_some() => cursor.reached(),
            _ => feed.seq.max(feed.verified),
        }
    }

    /// The bus cannot give the feed: everybody who wants it is told.
    pub(super) fn refused(&mut self, id: FeedId, code: ErrorCode, text: &str) {
        let Some(feed) = self.feeds.get_mut(id) else {
            return;
        };
        let channel = feed.topic.channel.to_string();
        let waiting = std::mem::take(&mut feed.waiting);
        let subscribers = feed.subscribers.iter().flatten().map(|slot| (*slot, None, true));
        let mut everybody: Vec<_> =
            waiting.into_iter().map(|waiting| (waiting.slot, waiting.request, false)).chain(subscribers).collect();
        if feed.covered > 0 {
            let is_covered = |s: &Subscription| s.feed == id.slot && s.index == COVERED;
            let covered = self.connections.iter().filter(|(_, c)| c.subscriptions.iter().any(is_covered));
            everybody.extend(covered.map(|(slot, _)| (slot as u32, None, true)));
        }
        for (slot, request, was_subscribed) in everybody {
            let slot = slot as usize;
            let Some(connection) = self.connections.get(slot) else {
                continue;
            };
            if let Some(at) = connection.find(id.slot) {
                let cursor = self.outbox(slot).cursors.remove(at);
                let subscription = self.connections[slot].subscriptions.remove(at);
                self.metrics.subscriptions.sub(1);
                self.settle_rest(subscription, &cursor, Settlement::Left);
                if subscription.is_listed() {
                    self.uncover(slot, id.slot, cursor);
                }
            }
            let mut error = ErrorMessage::new(request, code, text);
            error.channel = Some(channel.clone());
            self.refuse(slot, error);
            if was_subscribed {
                let channel = channel.clone();
                self.answer(slot, &ServerMessage::Unsubscribed { id: None, channel });
            }
            self.catch_up(slot);
        }
        self.forget_feed(id.slot);
    }

    /// Opening takes long: whoever waits is told once that the values cannot be had at present.
    pub(super) fn still_waiting(&mut self, id: FeedId) {
        let Some(feed) = self.feeds.get_mut(id) else {
            return;
        };
        let stale = ServerMessage::Stale {
            channel: Some(feed.topic.channel.to_string()),
            reason: Some(StaleReason::Unverified),
            since: Some(now_ms()),
        };
        let mut slots: Vec<u32> = feed.waiting.iter().map(|waiting| waiting.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            self.answer(slot as usize, &stale);
            self.catch_up(slot as usize);
        }
    }
}
