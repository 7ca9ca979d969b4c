//! The hot path: this turn's publications to everybody who stands at head, one write for each.

use std::{io::IoSlice, time::Instant};

use super::{
    Shard,
    connection::{Outbox, UNTOUCHED, Written},
};
use crate::{
    format::Format,
    metrics::{Class, CloseReason, Label, Settlement},
};

/// Most pieces offered to a socket in one call.
const PIECES: usize = 64;

/// Scratch space beyond this is given back after the turn.
const KEEP_BYTES: usize = 4 << 20;

/// A feed with something new for a connection: an element of the list that begins at
/// `Connection::touched`.
#[derive(Debug, Clone, Copy)]
struct Link {
    touched: u32,
    next: u32,
}

/// What the turn has gathered. Emptied at its end, storage kept.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    /// Slots of the feeds that published in this turn.
    pub(crate) touched: Vec<u32>,
    /// For each touched feed and format, where its frames lie in `bytes`.
    spans: Vec<[(usize, usize); Format::ALL.len()]>,
    /// For each touched feed, where its events lie with their positions: for streams that have no other feed.
    with_ids: Vec<(usize, usize)>,
    bytes: Vec<u8>,
    links: Vec<Link>,
    /// Connections with something to write.
    dirty: Vec<u32>,
    /// Of each class, what they are about to be sent.
    linked: [u64; Class::COUNT],
}

impl Shard {
    /// Writes the turn's publications. Who cannot take them all falls behind.
    pub(super) fn fan_out(&mut self) {
        if self.fan_out.touched.is_empty() {
            return;
        }
        let mut turn = std::mem::take(&mut self.fan_out);
        self.gather(&mut turn);
        self.mark(&mut turn);
        let traced = self.begin_traces(&turn);
        let mut linked = std::mem::take(&mut turn.linked);
        let mut order = Vec::with_capacity(8);
        let (mut writes, mut deliveries, mut bytes) = (0, [0u64; Format::ALL.len()], [0u64; Format::ALL.len()]);
        for &slot in &turn.dirty {
            order.clear();
            let connection = &mut self.connections[slot as usize];
            let mut at = std::mem::replace(&mut connection.touched, UNTOUCHED);
            while at != UNTOUCHED {
                let link = turn.links[at as usize];
                order.push(link.touched);
                at = link.next;
            }
            order.reverse();
            let format = connection.format.index();
            let has_id = connection.has_own_ids();
            let span = |touched: u32| {
                let touched = touched as usize;
                let (start, end) = if has_id { turn.with_ids[touched] } else { turn.spans[touched][format] };
                &turn.bytes[start..end]
            };
            let mut written = Written::All;
            let mut taken = 0;
            if let [only] = order[..] {
                written = connection.write(span(only), &mut writes);
                if written == Written::All {
                    taken = span(only).len();
                }
            } else {
                for some in order.chunks(PIECES) {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let mut offered = 0;
                    for (piece, touched) in pieces.iter_mut().zip(some) {
                        *piece = IoSlice::new(span(*touched));
                        offered += piece.len();
                    }
                    written = connection.write_all(&mut pieces[..some.len()], &mut writes);
                    if written != Written::All {
                        break;
                    }
                    taken += offered;
                }
            }
            if let Written::Part(n) = written {
                taken += n;
            }
            bytes[format] += taken as u64;
            match written {
                Written::All => {
                    for touched in &order {
                        let feed = self.feeds.at(turn.touched[*touched as usize]);
                        deliveries[format] += feed.turn.len() as u64;
                    }
                }
                Written::Part(_) => {
                    self.unlink(&mut linked, &turn, &order);
                    deliveries[format] += self.fall_behind(slot, &order, &turn, taken);
                }
                Written::Gone => {
                    self.unlink(&mut linked, &turn, &order);
                    for touched in &order {
                        let feed = self.feeds.at(turn.touched[*touched as usize]);
                        let settled = self.metrics.settled.of((feed.class(), Settlement::Left));
                        settled.add(feed.turn.len() as u64);
                    }
                    self.remove(slot as usize, CloseReason::PeerGone);
                }
            }
        }
        let now = Instant::now();
        self.end_traces(traced);
        for &feed in &turn.touched {
            for publication in self.feeds.at_mut(feed).turn.drain(..) {
                self.metrics.to_socket.observe(now.saturating_duration_since(publication.received));
            }
        }
        self.metrics.writes.add(writes);
        for format in Format::ALL {
            self.metrics.deliveries.of(format).add(deliveries[format.index()]);
            self.metrics.bytes_out.of(format).add(bytes[format.index()]);
        }
        for class in Class::all() {
            self.metrics.settled.of((class, Settlement::Delivered)).add(linked[class.index()]);
        }
        turn.touched.clear();
        turn.spans.clear();
        turn.with_ids.clear();
        turn.links.clear();
        turn.dirty.clear();
        turn.bytes.clear();
        turn.bytes.shrink_to(KEEP_BYTES);
        self.fan_out = turn;
    }

    /// Lays the frames of each feed end to end, so that a write takes one piece for each feed.
    fn gather(&mut self, turn: &mut FanOut) {
        for &slot in &turn.touched {
            let feed = self.feeds.at(slot);
            let mut spans = [(0, 0); Format::ALL.len()];
            for format in Format::ALL {
                let start = turn.bytes.len();
                if !feed.subscribers[format.index()].is_empty() {
                    for publication in &feed.turn {
                        turn.bytes.extend_from_slice(publication.frame(format));
                    }
                }
                spans[format.index()] = (start, turn.bytes.len());
            }
            turn.spans.push(spans);
            let start = turn.bytes.len();
            if !feed.subscribers[Format::Events.index()].is_empty() {
                feed.turn.iter().for_each(|publication| turn.bytes.extend_from_slice(&feed.event_of(publication)));
            }
            turn.with_ids.push((start, turn.bytes.len()));
        }
    }

    /// Links the touched feeds to the connections that stand at head.
    fn mark(&mut self, turn: &mut FanOut) {
        for (touched, &slot) in (0u32..).zip(&turn.touched) {
            let feed = self.feeds.at(slot);
            let before = turn.links.len();
            for subscriber in feed.subscribers.iter().flatten() {
                let connection = &mut self.connections[*subscriber as usize];
                if let Some(outbox) = &connection.outbox {
                    // It is behind, and its cursor says how far. It goes on when its socket drains –
                    // unless it is only here to leave out what it has had already.
                    if outbox.is_waiting {
                        self.again.push(*subscriber);
                    }
                    continue;
                }
                if connection.touched == UNTOUCHED {
                    turn.dirty.push(*subscriber);
                }
                let link = u32::try_from(turn.links.len()).expect("a turn is bounded by the queue");
                turn.links.push(Link { touched, next: connection.touched });
                connection.touched = link;
            }
            turn.linked[feed.class().index()] += ((turn.links.len() - before) * feed.turn.len()) as u64;
        }
    }

    /// The connection was not sent all of it after all.
    fn unlink(&self, linked: &mut [u64], turn: &FanOut, order: &[u32]) {
        for touched in order {
            let feed = self.feeds.at(turn.touched[*touched as usize]);
            linked[feed.class().index()] -= feed.turn.len() as u64;
        }
    }

    /// The socket took only `taken` bytes of the pieces in `order`: keep the rest of the frame that
    /// is on its way, and a cursor for every subscription. Returns the deliveries made.
    fn fall_behind(&mut self, slot: u32, order: &[u32], turn: &FanOut, mut taken: usize) -> u64 {
        let now_s = self.now_s();
        let cursors = self.cursors_at_head(slot as usize);
        let connection = &mut self.connections[slot as usize];
        let (format, has_id) = (connection.format, connection.has_own_ids());
        let mut outbox = Box::new(Outbox { progress_s: now_s, ..Outbox::default() });
        outbox.cursors = cursors;
        let mut delivered = 0;
        for &touched in order {
            let feed = self.feeds.at(turn.touched[touched as usize]);
            let index = connection.find(feed.id.slot).expect("linked, so subscribed");
            let cursor = &mut outbox.cursors[index];
            // Back to where this turn began, then forward over what was taken.
            cursor.position = feed.position - feed.turn.len() as u64;
            cursor.owed_after = cursor.position;
            cursor.seq = feed.turn_seq;
            for publication in &feed.turn {
                if taken == 0 {
                    break;
                }
                let frame = if has_id { feed.event_of(publication) } else { publication.frame(format).clone() };
                if taken < frame.len() {
                    outbox.rest = frame.slice(taken..);
                }
                taken = taken.saturating_sub(frame.len());
                cursor.position += 1;
                cursor.seq = cursor.seq.max(publication.seq);
                delivered += 1;
            }
            let sent = cursor.position - cursor.owed_after;
            self.metrics.settled.of((feed.class(), Settlement::Delivered)).add(sent);
        }
        connection.outbox = Some(outbox);
        self.metrics.behind.add(1);
        self.metrics.writes_blocked.add(1);
        delivered
    }
}
