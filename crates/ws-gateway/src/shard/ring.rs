//! The newest publications of one feed, in the order of delivery, bounded in bytes.

use std::{collections::VecDeque, sync::Arc};

use crate::publication::Publication;

/// Positions count the publications of a feed on this shard: the first is 1. The ring holds those
/// in (`base`, head].
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<Arc<Publication>>,
    bytes: usize,
    limit_bytes: usize,
    base: u64,
    base_seq: u64,
}

impl Ring {
    /// A ring that is trimmed to `limit_bytes`; 0 keeps nothing.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last position that is no longer here.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The highest sequence that is no longer here.
    pub(crate) fn base_seq(&self) -> u64 {
        self.base_seq
    }

    /// Appends one, and lets the oldest go until what is left fits the ring's own limit and
    /// `room_bytes`, which all rings share.
    pub(crate) fn push(&mut self, publication: &Arc<Publication>, room_bytes: usize) {
        let limit_bytes = self.limit_bytes.min(self.bytes.saturating_add(room_bytes));
        self.entries.push_back(publication.clone());
        self.bytes += publication.size();
        while self.bytes > limit_bytes
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.size();
            self.base += 1;
            self.base_seq = self.base_seq.max(oldest.seq);
        }
    }

    /// Forgets everything; the next publication will be `position + 1`, and those before it had
    /// sequences up to `seq`.
    pub(crate) fn restart(&mut self, position: u64, seq: u64) {
        self.entries.clear();
        self.bytes = 0;
        self.base = position;
        self.base_seq = seq;
    }

    /// The time of the publication with this sequence, if it is here.
    pub(crate) fn time_of(&self, seq: u64) -> Option<i64> {
        // Nearly sorted: repairs come late.
        self.entries.iter().rev().find(|publication| publication.seq == seq).map(|publication| publication.ts_ms)
    }

    /// What follows `position`, which must be at least `base`.
    pub(crate) fn after(&self, position: u64) -> impl Iterator<Item = &Arc<Publication>> {
        let skip = usize::try_from(position - self.base).unwrap_or(usize::MAX);
        self.entries.range(skip.min(self.entries.len())..)
    }
}
