//! A subscription is a cursor. At head it is not stored: whoever is in a feed's list and not behind
//! has been sent everything. Only a connection that is behind keeps a [`Cursor`] for each.

use std::sync::Arc;

use odin_protocol::{Epoch, message::Mode};

use super::feed::Feed;
use crate::publication::Publication;

/// The subscriber still waits for the feed to open.
pub(crate) const WAITING: u32 = u32::MAX;

/// Everything of the feed comes by a pattern that the connection subscribes to as well.
pub(crate) const COVERED: u32 = u32::MAX - 1;

/// A connection's place in a feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    /// The feed's slot.
    pub(crate) feed: u32,
    /// Index in the feed's list of subscribers, [`WAITING`] or [`COVERED`].
    pub(crate) index: u32,
    pub(crate) mode: Mode,
}

impl Subscription {
    /// Whether the feed's list has it.
    pub(crate) fn is_listed(&self) -> bool {
        self.index < COVERED
    }
}

/// Where a subject's chain stood on a connection when it changed from one feed to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) subject: Arc<str>,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
}

impl Floor {
    /// Whether the publication was sent before, by the other feed.
    pub(crate) fn holds_back(&self, publication: &Publication) -> bool {
        publication.seq <= self.seq && publication.subject == self.subject && publication.epoch == self.epoch
    }

    /// Whether `feed` has nothing more at or below the floor.
    pub(crate) fn is_passed_by(&self, feed: &Feed) -> bool {
        let reached = feed
            .last
            .get(&self.subject)
            .map_or(feed.seq, |last| last.void.as_ref().map_or(last.publication.seq, |(_, void)| void.seq));
        reached >= self.seq || feed.epoch != Some(self.epoch)
    }
}

/// What a cursor reads from the stream before it goes on with the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    /// Read up to here.
    pub(crate) after: u64,
    /// Where it ends: what is behind this comes from the ring.
    pub(crate) until: u64,
    /// The position in the feed at which that was its highest.
    pub(crate) position: u64,
}

/// How far a connection that is behind has been sent a feed.
///
/// It has everything at positions up to `position`, and knew the stream up to `known` when it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    /// The position it was sent last; 0 before the snapshot.
    pub(crate) position: u64,
    /// The highest sequence up to that position.
    pub(crate) seq: u64,
    /// Up to this position the last values are enough: for ever in mode `latest`, up to where it
    /// subscribed in mode `all`.
    pub(crate) merge_until: u64,
    /// Up to this position the last values are the snapshot.
    pub(crate) snapshot_until: u64,
    /// What the feed delivers up to this sequence is not sent: another connection, or another feed, had
    /// it. 0 when the feed has passed it.
    pub(crate) known: u64,
    /// Set while the stream is read for it.
    pub(crate) past: Option<Past>,
    /// What the feed published up to this position was not owed: it came before the subscription, or is settled.
    pub(crate) owed_after: u64,
}

impl Cursor {
    /// Where a subscriber stands that has everything.
    pub(crate) fn at_head(feed: &Feed, mode: Mode) -> Self {
        Self {
            position: feed.position,
            seq: feed.seq,
            merge_until: if mode == Mode::Latest { u64::MAX } else { 0 },
            snapshot_until: 0,
            known: 0,
            past: None,
            owed_after: feed.position,
        }
    }

    /// Where a new subscriber stands: the snapshot is owed, then what follows.
    pub(crate) fn fresh(feed: &Feed, mode: Mode) -> Self {
        let merge_until = if mode == Mode::Latest { u64::MAX } else { feed.position };
        Self { position: 0, seq: 0, merge_until, snapshot_until: feed.position, ..Self::at_head(feed, mode) }
    }

    /// Where a subscriber stands that has everything up to `seq` of the stream: from this
    /// connection, or from another one before it.
    pub(crate) fn after(feed: &Feed, seq: u64, mode: Mode) -> Self {
        let mut cursor = Self { position: 0, seq: 0, known: seq, ..Self::at_head(feed, mode) };
        if mode == Mode::All {
            if seq >= feed.ring.base_seq() {
                (cursor.position, cursor.seq) = (feed.ring.base(), feed.ring.base_seq());
            } else {
                cursor.past = Some(Past { after: seq, until: feed.seq, position: feed.position });
            }
        }
        cursor
    }

    /// How many publications it was owed at positions up to `until` and has not been sent.
    pub(crate) fn pending(&self, until: u64) -> u64 {
        until.saturating_sub(self.position.max(self.owed_after))
    }

    /// The highest sequence that was sent.
    pub(crate) fn reached(&self) -> u64 {
        self.seq.max(self.known).max(self.past.map_or(0, |past| past.after))
    }

    /// Up to which sequence everything that the feed has was sent, or was merged away; `u64::MAX` at its head.
    pub(crate) fn complete(&self, feed: &Feed) -> u64 {
        let (from, reached) = match self.past {
            Some(past) => (past.position, past.after),
            None if self.position >= feed.position => return u64::MAX,
            None => {
                let merged_until = self.merge_until.min(feed.position);
                let owed = feed.last_between(self.position, merged_until).map(|last| last.publication.seq - 1).min();
                (self.position, owed.unwrap_or(if self.position < merged_until { feed.seq } else { self.seq }))
            }
        };
        let late = feed.late_between(from, feed.position).chain(feed.late_lost_after(from));
        late.map(|seq| seq - 1).fold(reached, u64::min)
    }

    /// At the head of the feed: forgets what it will not deliver again in any case.
    pub(crate) fn prune(&mut self, feed: &Feed) {
        if feed.verified >= self.known || (feed.is_one_chain() && feed.seq >= self.known) {
            self.known = 0;
        }
    }

    /// The ring no longer has what comes next: reads the stream up to where the feed is now.
    pub(crate) fn start_past(&mut self, feed: &Feed) {
        let after = self.seq.max(self.known);
        // What the feed delivered out of the stream's order since then lies before that.
        let late = feed.late_between(self.position, feed.position);
        let late = late.filter(|seq| *seq <= after && *seq > self.known).min();
        let after = late.map_or(after, |late| after.min(late - 1));
        self.past = Some(Past { after, until: feed.seq.max(after), position: feed.position });
    }

    /// Everything of the past was sent: from here on the ring has what comes next.
    pub(crate) fn end_past(&mut self) {
        if let Some(past) = self.past.take() {
            self.position = past.position;
            self.seq = self.seq.max(past.until);
        }
    }
}
