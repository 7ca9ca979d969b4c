//! The slow path: answers, snapshots, and whatever a connection that is behind has missed.
//!
//! Nothing waits in memory for such a connection but the rest of one frame and its answers. What
//! it is owed is computed from its cursors when the socket is ready to take it.

use std::io::IoSlice;

use bytes::Bytes;
use odin_protocol::{codec::Codec, error::GapReason, message::ServerMessage};

use super::{
    Shard,
    connection::{Outbox, Written},
    feed::Feed,
    subscription::{Cursor, Floor},
};
use crate::{
    metrics::CloseReason,
    publication::{Publication, frame_of},
};

/// Frames gathered for one write.
const FRAMES: usize = 62;

/// Writes to one connection before others have their turn.
const WRITES: usize = 16;

/// A frame that is owed, and where its subscription stands once it is sent.
#[derive(Debug)]
struct Owed {
    frame: Bytes,
    subscription: usize,
    after: Cursor,
    /// Publications in it that were merged away before it.
    merged: u64,
    is_gap: bool,
}

impl Shard {
    /// Writes as much as the socket takes of what stands between the connection and head.
    pub(super) fn catch_up(&mut self, slot: usize) {
        for _ in 0..WRITES {
            let Some(connection) = self.connections.get_mut(slot) else {
                return;
            };
            let Some(mut outbox) = connection.outbox.take() else {
                return;
            };
            let mut owed = Vec::new();
            if connection.closing.is_none() {
                for (index, cursor) in outbox.cursors.iter().enumerate() {
                    let feed = self.feeds.at(connection.subscriptions[index].feed);
                    if connection.subscriptions[index].is_listed() {
                        owe(feed, index, *cursor, connection.codec, &outbox.floors, &mut owed);
                    }
                    if owed.len() >= FRAMES {
                        break;
                    }
                }
            }
            if outbox.rest.is_empty() && outbox.answers.is_empty() && owed.is_empty() {
                self.caught_up(slot, outbox);
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
            self.metrics.bytes_out.add(taken as u64);
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
        let codec = self.connections[slot].codec;
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
            outbox.cursors[owed.subscription] = owed.after;
            self.metrics.merged.add(owed.merged);
            if owed.is_gap {
                self.metrics.gaps_announced.add(1);
            } else {
                self.metrics.deliveries.of(codec).add(1);
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
        if !outbox.floors.is_empty() && connection.closing.is_none() {
            // Everything there is has been sent or held back, so the cursors stand at head.
            outbox.cursors = self.cursors_at_head(slot);
            self.connections[slot].outbox = Some(outbox);
            return;
        }
        drop(outbox);
        self.metrics.behind.sub(1);
        let connection = &mut self.connections[slot];
        match connection.closing {
            Some(closing) if !closing.await_peer => self.remove(slot, closing.reason),
            Some(_) => {
                // Our side is done; the peer answers or runs into the deadline. A socket that is
                // gone already will say so when it is read.
                let _ = connection.stream.shutdown(std::net::Shutdown::Write);
            }
            None => {}
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

/// Adds what a subscription at `cursor` is owed, up to [`FRAMES`] in all.
fn owe(feed: &Feed, subscription: usize, mut cursor: Cursor, codec: Codec, floors: &[Floor], owed: &mut Vec<Owed>) {
    let is_held_back = |publication: &Publication| floors.iter().any(|floor| floor.holds_back(publication));
    let merge_until = cursor.merge_until.min(feed.position);
    if cursor.position < merge_until {
        for last in feed.last_between(cursor.position, merge_until) {
            if owed.len() >= FRAMES {
                return;
            }
            let is_snapshot = last.position <= cursor.snapshot_until;
            let void = last.void.as_ref().filter(|(position, _)| *position <= cursor.snapshot_until);
            let void = void.map(|(_, void)| void).filter(|void| !is_held_back(void));
            let value = Some(&last.publication).filter(|value| !is_held_back(value));
            let frame = match (value, void) {
                (None, None) => continue,
                (None, Some(void)) => void.frame(codec).clone(),
                (Some(value), None) if is_snapshot => value.snapshot_frame(codec),
                (Some(value), None) => value.frame(codec).clone(),
                // In one piece: the cursor cannot stand between them.
                (Some(value), Some(void)) => [value.snapshot_frame(codec), void.frame(codec).clone()].concat().into(),
            };
            let before = cursor.position.max(cursor.snapshot_until);
            let merged = if is_snapshot { 0 } else { last.position - before - 1 };
            cursor.position = last.position;
            cursor.seq = last.publication.seq;
            owed.push(Owed { frame, subscription, after: cursor, merged, is_gap: value.is_none() });
        }
        // What lies between the last of them and here was merged away.
        cursor.position = merge_until;
        if let Some(owed) = owed.last_mut().filter(|owed| owed.subscription == subscription) {
            owed.after = cursor;
        }
    }
    if cursor.position >= feed.position || owed.len() >= FRAMES || cursor.merge_until > feed.position {
        return;
    }
    if cursor.position < feed.ring.base() {
        let until = feed.ring.base_seq();
        let gap = ServerMessage::Gap {
            channel: feed.topic.channel.to_string(),
            key: None,
            // A pattern's feed may have filled a hole below: a gap still has a length.
            after: cursor.seq.min(until.saturating_sub(1)),
            until,
            reason: GapReason::ReplayLimit,
        };
        let mut message = Vec::with_capacity(128);
        gap.encode(codec, &mut message);
        cursor.position = feed.ring.base();
        cursor.seq = until;
        owed.push(Owed { frame: frame_of(codec, &message), subscription, after: cursor, merged: 0, is_gap: true });
    }
    for publication in feed.ring.after(cursor.position) {
        if owed.len() >= FRAMES {
            return;
        }
        cursor.position += 1;
        if is_held_back(publication) {
            continue;
        }
        cursor.seq = publication.seq;
        owed.push(Owed {
            frame: publication.frame(codec).clone(),
            subscription,
            after: cursor,
            merged: 0,
            is_gap: false,
        });
    }
}
