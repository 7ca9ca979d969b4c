//! What the bus says, and what it is asked.

use tokio::sync::mpsc::error::TrySendError;

use super::Shard;
use crate::{
    bus::Command,
    queue::{FeedId, Item},
};

impl Shard {
    /// Applies what the bus said, in its order. Publications are only noted down: see `fan_out`.
    pub(super) fn take_items(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.metrics.queue_bytes.set(batch.bytes as u64);
        let mut spoke = Vec::new();
        for item in batch.items.drain(..) {
            match item {
                Item::Publish { feed, publication } => {
                    if let Some(feed) = self.feeds.get_mut(feed).filter(|feed| !feed.has_hole) {
                        if feed.turn.is_empty() {
                            self.fan_out.touched.push(feed.id.slot);
                        }
                        feed.spoke_at = self.ticks;
                        if std::mem::take(&mut feed.is_silent) {
                            spoke.push(feed.id.slot);
                        }
                        let room_bytes = self.ring_limit_bytes.saturating_sub(self.ring_bytes);
                        self.ring_bytes -= feed.ring.bytes();
                        let subscribers: usize = feed.subscribers.iter().map(Vec::len).sum();
                        self.metrics.owed.of(feed.class()).add(subscribers as u64);
                        feed.publish(publication, room_bytes);
                        self.ring_bytes += feed.ring.bytes();
                    }
                }
                Item::Opened { feed, epoch, up_to, newest, last } => {
                    // Those at head get what came before, so that everything after is in order.
                    self.fan_out();
                    self.opened(feed, epoch, (up_to, newest), last);
                }
                // An answer that blocks turns head into cursors, so here too what came before goes first.
                Item::Refused { feed, code, message } => {
                    self.fan_out();
                    self.refused(feed, code, &message);
                }
                Item::Waiting { feed } => {
                    self.fan_out();
                    self.still_waiting(feed);
                }
                Item::Page { feed, page } => {
                    self.fan_out();
                    self.on_page(feed, page);
                }
                Item::Checked { feed, cursor, answer } => {
                    self.fan_out();
                    self.checked(feed, cursor, answer);
                }
                Item::Found { feed, ts_ms, cursor } => {
                    self.fan_out();
                    self.found(feed, ts_ms, cursor);
                }
                Item::Verified { feed, up_to } => {
                    if let Some(feed) = self.feeds.get_mut(feed).filter(|feed| !feed.has_hole) {
                        feed.verified = feed.verified.max(up_to);
                        feed.verified_at = self.ticks;
                    }
                }
                Item::Tick { epoch, seq, ts_ms } => self.on_bus_tick(epoch, seq, ts_ms),
                Item::Stale { reason, since_ms } => {
                    self.fan_out();
                    self.on_bus_stale(reason, since_ms);
                }
                Item::Live => {
                    self.fan_out();
                    self.on_bus_live();
                }
                Item::Published { ticket, stored } => {
                    self.fan_out();
                    self.on_published(ticket, stored);
                }
                Item::Order(order) => {
                    self.fan_out();
                    self.obey(&order);
                }
            }
        }
        spoke.into_iter().for_each(|feed| self.note_spoke(feed));
        for feed in batch.overrun.drain(..) {
            self.metrics.queue_overruns.add(1);
            if let Some(found) = self.feeds.get_mut(feed) {
                found.has_hole = true;
                self.rejoin.push(feed);
            }
        }
        // Until the bus has room for the question, it is asked again in every turn.
        for feed in std::mem::take(&mut self.rejoin) {
            if self.feeds.get_mut(feed).is_some() && !self.join(feed) {
                self.rejoin.push(feed);
            }
        }
        for command in std::mem::take(&mut self.unasked) {
            self.ask(command);
        }
        self.batch = batch;
    }

    /// Asks the bus something. The answer is an item.
    pub(super) fn ask(&mut self, command: Command) {
        if let Err(TrySendError::Full(command)) = self.bus.try_send(command) {
            self.unasked.push(command);
        }
    }

    /// Asks the bus for a feed. The answer is an item. False: the bus has no room for the question.
    pub(super) fn join(&mut self, feed: FeedId) -> bool {
        let topic = self.feeds.at(feed.slot).topic.clone();
        let command = Command::Join { shard: self.index, feed, topic };
        self.bus.try_send(command).is_ok()
    }
}
