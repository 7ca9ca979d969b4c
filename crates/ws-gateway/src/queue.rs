//! The queue from the bus to one shard: ordered, bounded in bytes, never blocking the bus.
//!
//! Full means: publications of that feed are left out and the feed is named in `overrun`, so that
//! the shard joins it anew. Answers to joins are small, as many as the joins, and always accepted.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use odin_protocol::{
    Cursor, Epoch,
    error::{ErrorCode, ResumeFailure, StaleReason},
};
use tokio::sync::Notify;

use crate::{control::Order, page::Page, publication::Publication, shard::Ticket};

/// A feed as a shard knows it: slot and generation, so that a late item never reaches the slot's
/// next owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FeedId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What the bus tells a shard.
#[derive(Debug)]
pub(crate) enum Item {
    /// The feed is live from here on; `last` is the newest value of each of its subjects.
    /// Sent again when the feed had to be opened anew.
    /// Everything up to `up_to` is in it or older than it. `newest` is the highest sequence that was known of its
    /// messages, of those too that have nothing to show, or whose subject's value is still to come.
    Opened { feed: FeedId, epoch: Epoch, up_to: u64, newest: u64, last: Vec<Arc<Publication>> },
    /// The feed cannot be had.
    Refused { feed: FeedId, code: ErrorCode, message: String },
    /// The next publication of a live feed.
    Publish { feed: FeedId, publication: Arc<Publication> },
    /// Opening takes longer than `feeds.open_timeout`; it goes on.
    Waiting { feed: FeedId },
    /// The answer to `Command::Check`: what the cursor is worth, and what follows it where that was
    /// asked for.
    Checked { feed: FeedId, cursor: Cursor, answer: Result<Option<Arc<Page>>, ResumeFailure> },
    /// The answer to `Command::Read`.
    Page { feed: FeedId, page: Arc<Page> },
    /// The answer to `Command::Find`.
    Found { feed: FeedId, ts_ms: i64, cursor: Cursor },
    /// Every message of the feed with a sequence up to `up_to` came before this, or was there when
    /// the feed opened.
    Verified { feed: FeedId, up_to: u64 },
    /// The stream's tick: a position that exists and is the same for every gateway. Once a second.
    Tick { epoch: Epoch, seq: u64, ts_ms: i64 },
    /// What comes may be old from now on; complete up to `since_ms`.
    Stale { reason: StaleReason, since_ms: Option<i64> },
    /// Everything missed since [`Item::Stale`] came before this.
    Live,
    /// What became of a client's publication: its sequence, where the stream has acknowledged it.
    Published { ticket: Ticket, stored: Option<(u64, Epoch)> },
    /// Operators want something of connections.
    Order(Arc<Order>),
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Publish { publication, .. } => publication.size(),
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    overrun: Vec<FeedId>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    filled: Notify,
    limit_bytes: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while holding it leaves a complete list: pushing is all that happens inside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bus's end.
#[derive(Debug, Clone)]
pub(crate) struct Sender(Arc<Shared>);

/// The shard's end.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Shared>);

/// A queue that holds publications of at most `limit_bytes`.
pub(crate) fn channel(limit_bytes: usize) -> (Sender, Receiver) {
    let shared = Arc::new(Shared { state: Mutex::default(), filled: Notify::new(), limit_bytes });
    (Sender(shared.clone()), Receiver(shared))
}

impl Sender {
    /// Moves `items` into the queue and wakes the shard once. Returns how many did not fit.
    pub(crate) fn push(&self, items: &mut Vec<Item>) -> u64 {
        let mut refused = 0;
        let mut state = self.0.lock();
        let state = &mut *state;
        for item in items.drain(..) {
            let size = item.size();
            match &item {
                // Once one is missing, the feed's later ones are of no use until it is joined anew.
                Item::Publish { feed, .. } if state.overrun.contains(feed) => {
                    refused += 1;
                    continue;
                }
                Item::Publish { feed, .. } if state.bytes + size > self.0.limit_bytes => {
                    state.overrun.push(*feed);
                    refused += 1;
                    continue;
                }
                // It would vouch for those that are missing.
                Item::Verified { feed, .. } if state.overrun.contains(feed) => continue,
                _ => {}
            }
            state.bytes += size;
            state.items.push(item);
        }
        self.0.filled.notify_one();
        refused
    }
}

/// Everything that waited.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// Feeds that lost publications because the queue was full.
    pub(crate) overrun: Vec<FeedId>,
    pub(crate) bytes: usize,
}

impl Receiver {
    /// Waits until something was pushed.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken.
    pub(crate) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Takes all that waits; `batch` gets the queue's storage in exchange for its own.
    pub(crate) fn take(&self, batch: &mut Batch) {
        batch.items.clear();
        batch.overrun.clear();
        let mut state = self.0.lock();
        mem::swap(&mut batch.items, &mut state.items);
        mem::swap(&mut batch.overrun, &mut state.overrun);
        batch.bytes = mem::take(&mut state.bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::publication::Body;

    fn publish(slot: u32, seq: u64) -> Item {
        let publication = Publication::new(
            "odin.tokens.A.price".into(),
            ("price:A".into(), None),
            Epoch::from_hash(1),
            (Some(seq - 1), seq),
            0,
            Body::Value(Bytes::from_static(b"{}")),
        );
        Item::Publish { feed: FeedId { slot, generation: 0 }, publication: Arc::new(publication) }
    }

    #[test]
    fn names_the_feed_that_did_not_fit_and_keeps_the_others_whole() {
        let one = publish(1, 1).size();
        let (tx, rx) = channel(2 * one);
        assert_eq!(tx.push(&mut vec![publish(1, 1), publish(2, 1), publish(1, 2)]), 1);
        let mut batch = Batch::default();
        rx.take(&mut batch);
        assert_eq!(batch.items.len(), 2);
        assert_eq!(batch.overrun, [FeedId { slot: 1, generation: 0 }]);
        assert_eq!(tx.push(&mut vec![publish(1, 3)]), 0, "room again after a take");
    }

    #[test]
    fn verifies_nothing_that_was_refused() {
        let one = publish(1, 1).size();
        let (tx, rx) = channel(one);
        let verified = |slot, up_to| Item::Verified { feed: FeedId { slot, generation: 0 }, up_to };
        tx.push(&mut vec![publish(1, 1), verified(1, 1), publish(1, 2), verified(1, 2), verified(2, 2)]);
        let mut batch = Batch::default();
        rx.take(&mut batch);
        let verified = batch.items.iter().filter_map(|item| match item {
            Item::Verified { feed, up_to } => Some((feed.slot, *up_to)),
            _ => None,
        });
        assert_eq!(verified.collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    }

    #[test]
    fn leaves_out_what_follows_a_hole_in_the_same_feed() {
        let one = publish(1, 1).size();
        let (tx, rx) = channel(one);
        let opened = Item::Waiting { feed: FeedId { slot: 1, generation: 0 } };
        assert_eq!(tx.push(&mut vec![publish(1, 1), publish(1, 2), publish(1, 3), opened]), 2);
        let mut batch = Batch::default();
        rx.take(&mut batch);
        assert_eq!(batch.items.len(), 2, "answers are accepted even when full");
        assert_eq!(batch.overrun.len(), 1);
    }
}
