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

/// How far a connection that is behind has been sent a feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    /// The position it was sent last; 0 before the snapshot.
    pub(crate) position: u64,
    /// The sequence at that position.
    pub(crate) seq: u64,
    /// Up to this position the last values are enough: for ever in mode `latest`, up to where it
    /// subscribed in mode `all`.
    pub(crate) merge_until: u64,
    /// Up to this position the last values are the snapshot.
    pub(crate) snapshot_until: u64,
}

impl Cursor {
    /// Where a subscriber stands that has everything.
    pub(crate) fn at_head(feed: &Feed, mode: Mode) -> Self {
        Self {
            position: feed.position,
            seq: feed.seq,
            merge_until: match mode {
                Mode::Latest => u64::MAX,
                Mode::All => 0,
            },
            snapshot_until: 0,
        }
    }

    /// Where a new subscriber stands: the snapshot is owed, then what follows.
    pub(crate) fn fresh(feed: &Feed, mode: Mode) -> Self {
        Self {
            position: 0,
            seq: 0,
            merge_until: match mode {
                Mode::Latest => u64::MAX,
                Mode::All => feed.position,
            },
            snapshot_until: feed.position,
        }
    }
}
