//! What a subscription is owed, worked out from its cursor: the last values, then a part of the stream
//! if it is behind the ring, then the ring.

use std::collections::HashSet;

use bytes::Bytes;
use odin_protocol::{error::GapReason, message::ServerMessage};

use super::{
    feed::Feed,
    pages::Pages,
    subscription::{Cursor, Floor},
};
use crate::{
    format::{Format, with_id},
    page::Page,
    publication::Publication,
    question::mark_of,
    queue::FeedId,
};

/// Frames gathered for one write.
const FRAMES: usize = 62;

/// A frame that is owed, and where its subscription stands once it is sent.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) frame: Bytes,
    pub(super) subscription: usize,
    pub(super) after: Cursor,
    /// Publications in it that were merged away before it.
    pub(super) merged: u64,
    pub(super) is_gap: bool,
}

/// A page that has to be read from the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) feed: FeedId,
    pub(super) after: u64,
    /// A message of the feed, which tells a replica that lags from one that has everything.
    pub(super) until: u64,
}

/// See the module. Of several subscriptions, in their order.
#[derive(Debug, Default)]
pub(super) struct Debt {
    pub(super) owed: Vec<Owed>,
    pub(super) wants: Vec<Want>,
}

impl Debt {
    pub(super) fn is_full(&self) -> bool {
        self.owed.len() >= FRAMES
    }
}

/// One subscription whose debt is worked out.
#[derive(Debug)]
pub(super) struct Debtor<'a> {
    pub(super) feed: &'a Feed,
    pub(super) pages: &'a Pages,
    pub(super) floors: &'a [Floor],
    pub(super) format: Format,
    /// Marks of chains and their last sequences, which a polling client has had.
    pub(super) had: &'a [(u64, u64)],
    /// Each update has the position it is.
    pub(super) has_ids: bool,
    /// Another subscription of the connection has not begun yet, and may want to know where this one did.
    pub(super) is_joined: bool,
    pub(super) subscription: usize,
}

impl Debtor<'_> {
    /// Adds what is owed at `cursor`, and gives where the subscription stands when all of it is sent.
    pub(super) fn owe(&self, mut cursor: Cursor, debt: &mut Debt) -> Cursor {
        let is_done = self.merge(&mut cursor, debt) && self.catch_up(&mut cursor, debt) && self.ring(&mut cursor, debt);
        debug_assert!(is_done || debt.is_full() || !debt.wants.is_empty());
        if is_done && !self.is_joined {
            cursor.prune(self.feed);
        }
        if let Some(last) = debt.owed.last_mut().filter(|owed| owed.subscription == self.subscription) {
            last.after = cursor;
        }
        cursor
    }

    fn push(&self, debt: &mut Debt, frame: Bytes, after: &Cursor) {
        let (subscription, after) = (self.subscription, *after);
        debt.owed.push(Owed { frame, subscription, after, merged: 0, is_gap: false });
    }

    fn push_gap(&self, debt: &mut Debt, (after, until): (u64, u64), reason: GapReason, cursor: &Cursor) {
        // A pattern's feed may have filled a hole below: a gap still has a length.
        let after = after.min(until.saturating_sub(1));
        let channel = self.feed.topic.channel.to_string();
        let mut message = Vec::with_capacity(128);
        ServerMessage::Gap { channel, key: None, after, until, reason }.encode(self.format.codec(), &mut message);
        self.push(debt, self.format.frame(&message), cursor);
        if let Some(gap) = debt.owed.last_mut() {
            gap.is_gap = true;
        }
    }

    fn was_had(&self, publication: &Publication) -> bool {
        let mut newer = self.had.iter().filter(|(_, seq)| publication.seq <= *seq).peekable();
        if newer.peek().is_none() {
            return false;
        }
        let mark = mark_of(&publication.channel, publication.key.as_deref());
        newer.any(|(had, _)| *had == mark)
    }

    fn with_id(&self, publication: &Publication, frame: Bytes) -> Bytes {
        match self.feed.id_of(publication).filter(|_| self.has_ids) {
            None => frame,
            Some(cursor) => with_id(cursor, &frame),
        }
    }

    fn is_held_back(&self, cursor: &Cursor, publication: &Publication) -> bool {
        publication.seq <= cursor.known
            || self.floors.iter().any(|floor| floor.holds_back(publication))
            || self.was_had(publication)
    }

    /// The last values, where they are enough. False: there was no room for all.
    fn merge(&self, cursor: &mut Cursor, debt: &mut Debt) -> bool {
        let merge_until = cursor.merge_until.min(self.feed.position);
        if cursor.position >= merge_until {
            return true;
        }
        for last in self.feed.last_between(cursor.position, merge_until) {
            if debt.is_full() {
                return false;
            }
            let is_snapshot = last.position <= cursor.snapshot_until;
            let void = last.void.as_ref().filter(|(position, _)| *position <= cursor.snapshot_until);
            let void = void.map(|(_, void)| void).filter(|void| !self.is_held_back(cursor, void));
            let value = Some(&last.publication).filter(|value| !self.is_held_back(cursor, value));
            let frame = match (value, void) {
                (None, None) => continue,
                (None, Some(void)) => void.frame(self.format).clone(),
                (Some(value), None) if is_snapshot => self.with_id(value, value.snapshot_frame(self.format)),
                (Some(value), None) => self.with_id(value, value.frame(self.format).clone()),
                // In one piece: the cursor cannot stand between them.
                (Some(value), Some(void)) => {
                    [value.snapshot_frame(self.format), void.frame(self.format).clone()].concat().into()
                }
            };
            let before = cursor.position.max(cursor.snapshot_until);
            // Of what a resumed one has missed, nobody counts how much was merged.
            let merged = if is_snapshot || before == 0 { 0 } else { last.position - before - 1 };
            cursor.position = last.position;
            cursor.seq = cursor.seq.max(last.publication.seq);
            self.push(debt, frame, cursor);
            if let Some(owed) = debt.owed.last_mut() {
                (owed.merged, owed.is_gap) = (merged, value.is_none());
            }
        }
        // What lies between the last of them and here was merged away.
        cursor.position = merge_until;
        true
    }

    /// What is further back than the ring goes, from pages. False: not all of it could be had yet.
    fn catch_up(&self, cursor: &mut Cursor, debt: &mut Debt) -> bool {
        if cursor.merge_until > self.feed.position {
            return true;
        }
        loop {
            if cursor.past.is_none() {
                if cursor.position >= self.feed.ring.base() {
                    return true;
                }
                if let Some(lowest) = self.feed.late_lost_after(cursor.position) {
                    // More was repaired out of order than is remembered: nobody can say what it lacks.
                    if debt.is_full() {
                        return false;
                    }
                    let gap = (lowest - 1, self.feed.seq);
                    (cursor.position, cursor.seq) = (self.feed.position, self.feed.seq);
                    self.push_gap(debt, gap, GapReason::ReplayLimit, cursor);
                    return true;
                }
                cursor.start_past(self.feed);
            }
            let Some(past) = cursor.past else {
                return true;
            };
            if past.after >= past.until {
                cursor.end_past();
                continue;
            }
            let Some(page) = self.pages.find(self.feed.id, past.after) else {
                debt.wants.push(Want { feed: self.feed.id, after: past.after, until: self.feed.reads_until() });
                return false;
            };
            if !self.page(page, cursor, debt) {
                return false;
            }
        }
    }

    /// What a page has of the cursor's past. False: there was no room for all.
    fn page(&self, page: &Page, cursor: &mut Cursor, debt: &mut Debt) -> bool {
        let Some(mut past) = cursor.past else {
            return true;
        };
        let lost_until = page.kept_from.saturating_sub(1).min(past.until);
        if lost_until > past.after {
            if debt.is_full() {
                return false;
            }
            let gap = (past.after, lost_until);
            past.after = lost_until;
            cursor.past = Some(past);
            self.push_gap(debt, gap, GapReason::Retention, cursor);
        }
        // Only what the feed had delivered where the cursor goes on: a subject of which it was missing
        // something then comes from there, in its order.
        let later: HashSet<u64> = self.feed.late_between(past.position, self.feed.position).collect();
        let late: HashSet<u64> = self.feed.late_between(cursor.position, past.position).collect();
        for publication in &page.publications {
            if publication.seq <= past.after {
                continue;
            }
            if publication.seq > past.until {
                break;
            }
            if debt.is_full() {
                return false;
            }
            past.after = publication.seq;
            cursor.past = Some(past);
            let seq = publication.seq;
            let was_delivered = seq <= self.feed.delivered(&publication.subject) && !later.contains(&seq);
            let is_new = seq > cursor.seq || late.contains(&seq);
            if was_delivered && is_new && !self.is_held_back(cursor, publication) {
                self.push(debt, self.with_id(publication, publication.frame(self.format).clone()), cursor);
            }
        }
        past.after = past.after.max(page.until.min(past.until));
        cursor.past = Some(past);
        true
    }

    /// What the ring has. False: there was no room for all.
    fn ring(&self, cursor: &mut Cursor, debt: &mut Debt) -> bool {
        if cursor.merge_until > self.feed.position {
            return true;
        }
        for publication in self.feed.ring.after(cursor.position) {
            if debt.is_full() {
                return false;
            }
            cursor.position += 1;
            cursor.seq = cursor.seq.max(publication.seq);
            if !self.is_held_back(cursor, publication) {
                self.push(debt, self.with_id(publication, publication.frame(self.format).clone()), cursor);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use odin_protocol::{Epoch, message::Mode};

    use super::*;
    use crate::shard::feed::tests::{feed, publication};

    /// When a wide feed was opened, B had a newer value than those it was opened with: that is still to come, and what
    /// was before it is only in the stream.
    #[test]
    fn the_stream_has_what_came_before_the_feed_of_a_subject_that_the_feed_does_not_know() {
        let mut feed = feed("price:*");
        feed.open(Epoch::from_hash(1), (9, 11), vec![publication("A", 7)]);
        let mut pages = Pages::new(1 << 20, 1);
        let publications =
            [("A", 2), ("B", 3), ("A", 7), ("B", 8), ("B", 11)].map(|(token, seq)| publication(token, seq));
        let page = Page { after: 1, until: 12, kept_from: 0, publications: publications.to_vec() };
        pages.keep(feed.id, Arc::new(page), 0);
        let owed = |feed: &Feed, cursor: Cursor| {
            let mut debt = Debt::default();
            let debtor = Debtor {
                feed,
                pages: &pages,
                floors: &[],
                format: Format::Json,
                had: &[],
                has_ids: false,
                is_joined: false,
                subscription: 0,
            };
            let after = debtor.owe(cursor, &mut debt);
            (debt.owed.iter().map(|owed| owed.after.reached()).collect::<Vec<_>>(), after)
        };
        let cursor = Cursor::after(&feed, 1, Mode::All);
        let (seqs, after) = owed(&feed, cursor);
        assert_eq!(seqs, [2, 3, 7, 9], "each as it is sent; behind the last, all there was by then");
        feed.publish(publication("B", 11), 1 << 20);
        assert_eq!(owed(&feed, after).0, [11]);
    }
}
