//! A stretch of a feed read back from the stream, for readers that are further behind than the ring goes.

use std::sync::Arc;

use crate::publication::Publication;

/// See the module. Shared by everybody who is in the same stretch.
#[derive(Debug)]
pub(crate) struct Page {
    /// It begins behind this sequence.
    pub(crate) after: u64,
    /// It has everything of the feed up to here that the stream still keeps.
    pub(crate) until: u64,
    /// From here on the stream has dropped nothing.
    pub(crate) kept_from: u64,
    /// In the order of the stream.
    pub(crate) publications: Vec<Arc<Publication>>,
}

impl Page {
    /// Bytes it keeps alive.
    pub(crate) fn size(&self) -> usize {
        self.publications.iter().map(|publication| publication.size()).sum::<usize>() + size_of::<Self>()
    }

    /// Whether it has what comes next for a reader that has everything up to `seq`.
    pub(crate) fn continues(&self, seq: u64) -> bool {
        self.after <= seq && seq < self.until
    }
}
