//! Double entry: what subscriptions were owed on one side, what became of it on the other. The two are counted in
//! different places, when a feed publishes and when a cursor moves, so a difference without a slow reader is a fault.

use super::{
    Shard,
    feed::Feed,
    subscription::{Cursor, Subscription},
};
use crate::metrics::{Settlement, ShardMetrics};

/// A cursor moved: `sent` publications were written for it, the rest of what lies between was not, for a reason.
pub(super) fn of_move(feed: &Feed, before: &Cursor, after: &Cursor, sent: u64, metrics: &ShardMetrics) {
    let passed = before.pending(after.position);
    // What was sent may be a snapshot, or of the past: not owed by this subscription.
    let sent = sent.min(passed);
    let rest = if before.past.is_some() {
        Settlement::Replayed
    } else if before.position < before.merge_until {
        Settlement::Merged
    } else {
        Settlement::Filtered
    };
    let class = feed.class();
    metrics.settled.of((class, Settlement::Delivered)).add(sent);
    metrics.settled.of((class, rest)).add(passed - sent);
}

impl Shard {
    /// The subscription ends, or begins anew: nothing more of what it was owed is sent.
    pub(super) fn settle_rest(&self, subscription: Subscription, cursor: &Cursor, how: Settlement) {
        if subscription.is_listed() {
            let feed = self.feeds.at(subscription.feed);
            self.metrics.settled.of((feed.class(), how)).add(cursor.pending(feed.position));
        }
    }
}
