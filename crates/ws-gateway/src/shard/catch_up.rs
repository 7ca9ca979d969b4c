//! The slow path: answers, snapshots, and whatever a connection that is behind has missed.
//!
//! Nothing waits in memory for such a connection but the rest of one frame and its answers. What
//! it is owed is computed from its cursors when the socket is ready to take it.

use std::{io::IoSlice, sync::Arc};

use odin_protocol::message::ServerMessage;

use super::{
    Shard,
    connection::{Outbox, Written},
    debt::{Debt, Debtor, Owed, Want},
    settlement,
    subscription::{Cursor, WAITING},
};
use crate::{bus::Command, metrics::CloseReason, page::Page, queue::FeedId};

/// Writes to one connection before others have their turn.
const WRITES: usize = 16;

/// Bytes written to those who are behind before those at head have their turn.
const TURN_BYTES: usize = 512 * 1024;

impl Shard {
    /// Writes as much as the socket takes of what stands between the connection and head.
    pub(super) fn catch_up(&mut self, slot: usize) {
        for _ in 0..WRITES {
            if self.caught_bytes >= TURN_BYTES {
                break;
            }
            let Some(connection) = self.connections.get_mut(slot) else {
                return;
            };
            let Some(mut outbox) = connection.outbox.take() else {
                return;
            };
            let mut debt = Debt::default();
            let is_joined = connection.subscriptions.iter().any(|subscription| subscription.index == WAITING);
            if connection.closing.is_none() {
                for index in 0..outbox.cursors.len() {
                    if !connection.subscriptions[index].is_listed() {
                        continue;
                    }
                    let feed = self.feeds.at(connection.subscriptions[index].feed);
                    let debtor = Debtor {
                        feed,
                        pages: &self.pages,
                        floors: &outbox.floors,
                        format: connection.format,
                        had: connection.had(feed.topic.channel.as_str()),
                        has_ids: connection.has_own_ids(),
                        is_joined,
                        subscription: index,
                    };
                    let reached = debtor.owe(outbox.cursors[index], &mut debt);
                    // With nothing to send it stands there already.
                    if debt.owed.last().is_none_or(|owed| owed.subscription != index) {
                        settlement::of_move(feed, &outbox.cursors[index], &reached, 0, &self.metrics);
                        outbox.cursors[index] = reached;
                    }
                    if debt.is_full() {
                        break;
                    }
                }
            }
            let Debt { owed, wants } = debt;
            outbox.is_waiting = false;
            if outbox.rest.is_empty() && outbox.answers.is_empty() && owed.is_empty() {
                // A feed that lost some in the queue is opened anew: what it missed is still to come.
                let feeds = || connection.subscriptions.iter().map(|subscription| self.feeds.at(subscription.feed));
                let owes_live = outbox.owes_live && connection.closing.is_none();
                if wants.is_empty() && owes_live && feeds().any(|feed| feed.has_hole) {
                    outbox.is_waiting = true;
                    connection.outbox = Some(outbox);
                    return;
                }
                if wants.is_empty() && std::mem::take(&mut outbox.owes_live) && connection.closing.is_none() {
                    let live = ServerMessage::Live { channel: None };
                    connection.format.append(&live, &mut outbox.answers);
                    connection.outbox = Some(outbox);
                    continue;
                }
                if wants.is_empty() {
                    self.caught_up(slot, outbox);
                } else {
                    outbox.is_waiting = true;
                    self.connections[slot].outbox = Some(outbox);
                    self.read_pages(slot, &wants);
                }
                return;
            }
            let mut pieces = Vec::with_capacity(owed.len() + 2);
            pieces.push(IoSlice::new(&outbox.rest));
            pieces.push(IoSlice::new(&outbox.answers));
            pieces.extend(owed.iter().map(|owed| IoSlice::new(&owed.frame)));
            let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
            let mut writes = 0;
            let written = connection.write_all(&mut pieces, &mut writes);
            self.metrics.writes.add(writes);
            let taken = match written {
                Written::All => offered,
                Written::Part(taken) => taken,
                Written::Gone => {
                    connection.outbox = Some(outbox);
                    self.remove(slot, CloseReason::PeerGone);
                    return;
                }
            };
            self.metrics.bytes_out.of(connection.format).add(taken as u64);
            self.caught_bytes += taken;
            if taken > 0 {
                outbox.progress_s = self.now_s();
            }
            self.settle(slot, &mut outbox, owed, taken);
            self.connections[slot].outbox = Some(outbox);
            if written != Written::All {
                self.metrics.writes_blocked.add(1);
                return;
            }
        }
        self.again.push(slot as u32);
    }

    /// Moves answers and cursors past the `taken` bytes.
    fn settle(&mut self, slot: usize, outbox: &mut Outbox, owed: Vec<Owed>, mut taken: usize) {
        let format = self.connections[slot].format;
        let from_rest = taken.min(outbox.rest.len());
        outbox.rest = outbox.rest.slice(from_rest..);
        taken -= from_rest;
        let from_answers = taken.min(outbox.answers.len());
        outbox.answers.drain(..from_answers);
        if outbox.answers.is_empty() {
            outbox.answers = Vec::new();
            if std::mem::take(&mut outbox.is_reading_paused) {
                self.again.push(slot as u32);
            }
        }
        taken -= from_answers;
        for owed in owed {
            if taken == 0 {
                return;
            }
            if taken < owed.frame.len() {
                outbox.rest = owed.frame.slice(taken..);
            }
            taken = taken.saturating_sub(owed.frame.len());
            let subscription = self.connections[slot].subscriptions[owed.subscription];
            let before = std::mem::replace(&mut outbox.cursors[owed.subscription], owed.after);
            let feed = self.feeds.at(subscription.feed);
            settlement::of_move(feed, &before, &owed.after, u64::from(!owed.is_gap), &self.metrics);
            self.metrics.merged.add(owed.merged);
            if owed.is_gap {
                self.metrics.gaps_announced.add(1);
            } else {
                self.metrics.deliveries.of(format).add(1);
            }
        }
    }

    /// The connection stands at head again – or, when it is closing, has been told so.
    fn caught_up(&mut self, slot: usize, mut outbox: Box<Outbox>) {
        let connection = &mut self.connections[slot];
        let feeds = &self.feeds;
        let listed = || connection.subscriptions.iter().filter(|s| s.is_listed()).map(|s| feeds.at(s.feed));
        outbox.floors.retain(|floor| {
            let mut carriers = listed().filter(|feed| feed.topic.naming.name(&floor.subject).is_some());
            carriers.any(|feed| !floor.is_passed_by(feed))
        });
        let has_known = outbox.cursors.iter().any(|cursor| cursor.known > 0);
        if (has_known || !outbox.floors.is_empty() || connection.is_choosy()) && connection.closing.is_none() {
            // Everything there is has been sent or held back; what is to come may be held back too.
            outbox.is_waiting = true;
            self.connections[slot].outbox = Some(outbox);
            self.ring(slot);
            return;
        }
        drop(outbox);
        self.ring(slot);
        self.metrics.behind.sub(1);
        let connection = &mut self.connections[slot];
        match connection.closing {
            Some(closing) if !closing.await_peer && connection.stream.is_flushed() => self.remove(slot, closing.reason),
            Some(_) => {
                // Our side is done; the peer answers or runs into the deadline. A socket that is
                // gone already will say so when it is read.
                let _ = connection.stream.shutdown();
            }
            None => {}
        }
    }

    /// Asks the bus for pages, those that are not on their way.
    fn read_pages(&mut self, slot: usize, wants: &[Want]) {
        for want in wants {
            if self.pages.want(want.feed, want.after, slot as u32) {
                let (shard, feed) = (self.index, want.feed);
                self.ask(Command::Read { shard, feed, after: want.after, until: want.until });
            }
        }
    }

    /// A page came: those who waited for it go on.
    pub(super) fn on_page(&mut self, feed: FeedId, page: Arc<Page>) {
        for slot in self.pages.arrived(feed, page, self.ticks) {
            self.catch_up(slot as usize);
        }
    }

    /// The connection's outbox, made if it stood at head until now.
    pub(super) fn outbox(&mut self, slot: usize) -> &mut Outbox {
        let now_s = self.now_s();
        if self.connections[slot].outbox.is_none() {
            self.metrics.behind.add(1);
            let cursors = self.cursors_at_head(slot);
            self.connections[slot].outbox = Some(Box::new(Outbox { cursors, progress_s: now_s, ..Outbox::default() }));
        }
        self.connections[slot].outbox.as_mut().expect("made above")
    }

    pub(super) fn cursors_at_head(&self, slot: usize) -> Vec<Cursor> {
        let subscriptions = self.connections[slot].subscriptions.iter();
        subscriptions.map(|s| Cursor::at_head(self.feeds.at(s.feed), self.mode_of(slot, s))).collect()
    }
}
