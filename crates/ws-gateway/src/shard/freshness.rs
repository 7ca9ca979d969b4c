//! How fresh what a connection gets is, and up to where it is complete: `stale`, `live`, `checkpoint`.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use odin_protocol::{Cursor, Epoch, error::StaleReason, message::ServerMessage};

use super::{Shard, TICKS_PER_S, connection::Outbox, subscription::WAITING};
use crate::format::Format;

/// Ticks remembered: quiet feeds are verified up to positions of half a minute ago.
const TICKS: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    epoch: Option<Epoch>,
    /// Positions that exist in the stream, with their times.
    ticks: VecDeque<(u64, i64)>,
    /// Why what comes may be old, and up to when it is complete.
    stale: Option<(StaleReason, Option<i64>)>,
    /// The last checkpoint, encoded.
    encoded: [(u64, Bytes); Format::ALL.len()],
    /// Feeds that have broken their silence in this turn.
    spoke: Vec<u32>,
}

impl Freshness {
    /// What a connection that comes now has to know.
    pub(crate) fn stale(&self) -> Option<ServerMessage> {
        self.stale.map(|(reason, since)| ServerMessage::Stale { channel: None, reason: Some(reason), since })
    }

    /// The newest position that is not beyond `up_to`.
    pub(crate) fn position(&self, epoch: Option<Epoch>, up_to: u64) -> Option<Cursor> {
        let &(seq, ts_ms) = self.ticks.iter().rev().find(|(seq, _)| *seq <= up_to)?;
        Some(Cursor { epoch: self.epoch.filter(|own| Some(*own) == epoch)?, seq, ts_ms })
    }

    /// The time of a tick that is remembered.
    pub(crate) fn time_of(&self, epoch: Epoch, seq: u64) -> Option<i64> {
        let ticks = Some(&self.ticks).filter(|_| self.epoch == Some(epoch))?;
        let at = ticks.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        ticks.get(at).map(|(_, ts_ms)| *ts_ms)
    }

    fn checkpoint(&mut self, format: Format, cursor: Cursor) -> Bytes {
        let (seq, frame) = &mut self.encoded[format.index()];
        if *seq != cursor.seq || frame.is_empty() {
            let mut bytes = Vec::with_capacity(96);
            format.append(&ServerMessage::Checkpoint { cursor: cursor.to_string() }, &mut bytes);
            (*seq, *frame) = (cursor.seq, bytes.into());
        }
        frame.clone()
    }
}

impl Shard {
    /// The stream's tick came.
    pub(super) fn on_bus_tick(&mut self, epoch: Epoch, seq: u64, ts_ms: i64) {
        let freshness = &mut self.freshness;
        if freshness.epoch.replace(epoch) != Some(epoch) {
            freshness.ticks.clear();
            freshness.encoded = Default::default();
        }
        if freshness.ticks.len() == TICKS {
            freshness.ticks.pop_front();
        }
        freshness.ticks.push_back((seq, ts_ms));
    }

    /// The bus is gone or cannot prove that it has everything.
    pub(super) fn on_bus_stale(&mut self, reason: StaleReason, since_ms: Option<i64>) {
        self.freshness.stale = Some((reason, since_ms));
        let Some(message) = self.freshness.stale() else {
            return;
        };
        for slot in self.everybody() {
            let outbox = self.connections[slot].outbox.as_mut();
            // Whoever has not heard yet that the last trouble was over need not hear of the next.
            if !outbox.is_some_and(|outbox| std::mem::take(&mut outbox.owes_live)) {
                self.answer(slot, &message);
                self.catch_up(slot);
            }
        }
    }

    /// The bus is back, and what was missed came before.
    pub(super) fn on_bus_live(&mut self) {
        self.freshness.stale = None;
        for slot in self.everybody() {
            // Told when it has been sent what it missed.
            self.outbox(slot).owes_live = true;
            self.catch_up(slot);
        }
    }

    fn everybody(&self) -> Vec<usize> {
        self.connections.iter().filter(|(_, c)| c.closing.is_none()).map(|(slot, _)| slot).collect()
    }

    /// The position of a connection that has been sent everything, as a frame; none if it has not, if a
    /// subscription has not begun yet, or if nothing was verified within `period`.
    pub(super) fn checkpoint(&mut self, slot: usize, period: Duration) -> Option<Bytes> {
        if self.freshness.stale.is_some() {
            return None;
        }
        let connection = &self.connections[slot];
        let is_behind = |cursor: &super::subscription::Cursor| cursor.past.is_some();
        let is_held_up =
            |outbox: &Outbox| !outbox.is_waiting || outbox.owes_live || outbox.cursors.iter().any(is_behind);
        if connection.outbox.as_deref().is_some_and(is_held_up) {
            return None;
        }
        let feeds = || connection.subscriptions.iter().filter(|s| s.is_listed()).map(|s| self.feeds.at(s.feed));
        let ticks = period.as_secs().max(1) * TICKS_PER_S;
        let has_news = feeds().any(|feed| feed.verified_at + ticks >= self.ticks);
        if !has_news || connection.subscriptions.iter().any(|subscription| subscription.index == WAITING) {
            return None;
        }
        let epoch = feeds().next().and_then(|feed| feed.epoch);
        let up_to = feeds().map(|feed| if feed.epoch == epoch { feed.verified } else { 0 }).min()?;
        let (format, cursor) = (connection.format, self.freshness.position(epoch, up_to)?);
        if connection.has_own_ids() && feeds().any(|feed| feed.is_one_chain() && cursor.seq < feed.seq) {
            // An `EventSource` keeps the last id, and would come back with one from before its last update.
            return None;
        }
        Some(self.freshness.checkpoint(format, cursor))
    }

    /// Whether a connection cannot write its position itself, from its last update.
    pub(super) fn needs_checkpoints(&self, slot: usize) -> bool {
        let mut feeds = self.connections[slot].subscriptions.iter().map(|s| self.feeds.at(s.feed));
        feeds.any(|feed| !feed.is_one_chain())
    }

    /// Looks for feeds that were silent for longer than their rule allows. Called once a second.
    pub(super) fn find_silence(&mut self) {
        let mut silent = Vec::new();
        if self.freshness.stale.is_some() {
            // Nobody knows whether they are silent.
            return;
        }
        for feed in self.feeds.iter_mut() {
            let Some(limit) = feed.topic.max_silence.filter(|_| feed.epoch.is_some() && !feed.is_silent) else {
                continue;
            };
            let ticks = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_S) / 1000;
            if self.ticks >= feed.spoke_at.saturating_add(ticks) {
                feed.is_silent = true;
                silent.push(feed.id.slot);
            }
        }
        for slot in silent {
            let message = self.silence(slot);
            for subscriber in self.subscribers(slot) {
                self.answer(subscriber, &message);
                self.catch_up(subscriber);
            }
        }
    }

    /// The message that says that a feed is silent.
    pub(super) fn silence(&self, feed: u32) -> ServerMessage {
        let feed = self.feeds.at(feed);
        ServerMessage::Stale {
            channel: Some(feed.topic.channel.to_string()),
            reason: Some(StaleReason::FeedSilent),
            since: feed.last.values().map(|last| last.publication.ts_ms).max(),
        }
    }

    /// A feed that was silent has published: its subscribers are told behind the update.
    pub(super) fn note_spoke(&mut self, feed: u32) {
        self.freshness.spoke.push(feed);
    }

    pub(super) fn tell_spoke(&mut self) {
        for feed in std::mem::take(&mut self.freshness.spoke) {
            let live = ServerMessage::Live { channel: Some(self.feeds.at(feed).topic.channel.to_string()) };
            for subscriber in self.subscribers(feed) {
                self.answer(subscriber, &live);
                self.catch_up(subscriber);
            }
        }
    }

    fn subscribers(&self, feed: u32) -> Vec<usize> {
        self.feeds.at(feed).subscribers.iter().flatten().map(|slot| *slot as usize).collect()
    }
}
