//! Pages read from the stream for readers that catch up: each is asked for once, shared by all who are
//! in the same stretch, and soon forgotten – a page that is gone before it was needed is read again.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use crate::{page::Page, queue::FeedId};

/// A page that was asked for serves those who stand up to so many sequences behind its beginning.
const NEAR: u64 = 4096;

/// Ticks for which a page is kept.
const KEPT_TICKS: u64 = 10;

#[derive(Debug)]
struct Asked {
    feed: FeedId,
    after: u64,
    readers: HashSet<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pages {
    kept: VecDeque<(FeedId, Arc<Page>, u64)>,
    bytes: usize,
    limit_bytes: usize,
    asked: Vec<Asked>,
    reads: usize,
    /// Readers for whom no read was free.
    queue: VecDeque<u32>,
    queued: HashSet<u32>,
}

impl Pages {
    /// At most `reads` are under way; what is kept fits `limit_bytes`, but for the newest.
    pub(crate) fn new(limit_bytes: usize, reads: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            limit_bytes,
            asked: Vec::new(),
            reads: reads.max(1),
            queue: VecDeque::new(),
            queued: HashSet::new(),
        }
    }

    /// Bytes of the pages that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The page that goes on behind `seq`.
    pub(crate) fn find(&self, feed: FeedId, seq: u64) -> Option<&Page> {
        // The newest first: it goes furthest.
        let mut of_feed = self.kept.iter().rev().filter(|(of, page, _)| *of == feed && page.continues(seq));
        of_feed.next().map(|(_, page, _)| &**page)
    }

    /// `reader` needs the page behind `after`. True: ask the bus for it. Otherwise it is on its way,
    /// or comes to its turn when another one has arrived.
    pub(crate) fn want(&mut self, feed: FeedId, after: u64, reader: u32) -> bool {
        let near = |asked: &&mut Asked| asked.feed == feed && asked.after <= after && after - asked.after < NEAR;
        if let Some(asked) = self.asked.iter_mut().find(near) {
            asked.readers.insert(reader);
            return false;
        }
        if self.asked.len() >= self.reads {
            if self.queued.insert(reader) {
                self.queue.push_back(reader);
            }
            return false;
        }
        self.asked.push(Asked { feed, after, readers: HashSet::from([reader]) });
        true
    }

    /// A page came. Gives those who may go on: its readers, and one from the queue for the read that
    /// is free now.
    pub(crate) fn arrived(&mut self, feed: FeedId, page: Arc<Page>, tick: u64) -> Vec<u32> {
        let asked = self.asked.iter().position(|asked| asked.feed == feed && asked.after == page.after);
        let asked = asked.map(|at| self.asked.swap_remove(at));
        self.keep(feed, page, tick);
        let mut readers: Vec<u32> = asked.into_iter().flat_map(|asked| asked.readers).collect();
        readers.extend(self.next_queued());
        readers
    }

    /// Keeps a page for those who need it next.
    pub(crate) fn keep(&mut self, feed: FeedId, page: Arc<Page>, tick: u64) {
        self.bytes += page.size();
        self.kept.push_back((feed, page, tick));
        while self.bytes > self.limit_bytes && self.kept.len() > 1 {
            self.drop_oldest();
        }
    }

    /// The feed is gone or was opened anew: nobody will answer. Gives those who waited.
    pub(crate) fn forget(&mut self, feed: FeedId) -> Vec<u32> {
        self.kept.retain(|(of, page, _)| {
            let stays = *of != feed;
            if !stays {
                self.bytes -= page.size();
            }
            stays
        });
        let mut readers = Vec::new();
        self.asked.retain_mut(|asked| {
            let stays = asked.feed != feed;
            if !stays {
                readers.extend(asked.readers.drain());
            }
            stays
        });
        readers.extend(self.next_queued());
        readers
    }

    /// Forgets what has been here for a while.
    pub(crate) fn sweep(&mut self, tick: u64) {
        while self.kept.front().is_some_and(|(_, _, since)| since + KEPT_TICKS <= tick) {
            self.drop_oldest();
        }
        if self.kept.is_empty() {
            self.kept.shrink_to_fit();
        }
    }

    fn next_queued(&mut self) -> Option<u32> {
        let reader = self.queue.pop_front()?;
        self.queued.remove(&reader);
        Some(reader)
    }

    fn drop_oldest(&mut self) {
        if let Some((_, page, _)) = self.kept.pop_front() {
            self.bytes -= page.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId { slot: 1, generation: 1 };

    fn page(after: u64, until: u64) -> Arc<Page> {
        Arc::new(Page { after, until, kept_from: 0, publications: Vec::new() })
    }

    #[test]
    fn asks_once_for_all_who_are_near() {
        let mut pages = Pages::new(1 << 20, 4);
        assert!(pages.want(FEED, 1000, 1));
        assert!(!pages.want(FEED, 1000, 2));
        assert!(!pages.want(FEED, 1003, 3));
        assert!(pages.want(FEED, 990, 4), "what is asked for does not reach back to it");
        assert!(pages.want(FEED, 1000 + NEAR, 5), "far ahead");
        let mut readers = pages.arrived(FEED, page(1000, 1200), 0);
        readers.sort_unstable();
        assert_eq!(readers, [1, 2, 3]);
        assert!(pages.find(FEED, 1003).is_some() && pages.find(FEED, 1200).is_none());
    }

    #[test]
    fn lets_readers_wait_when_all_reads_are_under_way() {
        let mut pages = Pages::new(1 << 20, 1);
        assert!(pages.want(FEED, 10, 1));
        assert!(!pages.want(FEED, 90_000, 2));
        assert!(!pages.want(FEED, 90_000, 2));
        assert_eq!(pages.arrived(FEED, page(10, 20), 0), [1, 2]);
        assert!(pages.want(FEED, 90_000, 2), "a read is free");
    }

    #[test]
    fn keeps_the_newest_within_its_bound_and_for_its_time() {
        let mut pages = Pages::new(2 * size_of::<Page>(), 1);
        for after in [10, 20, 30] {
            pages.keep(FEED, page(after, after + 10), 5);
        }
        assert!(pages.find(FEED, 15).is_none() && pages.find(FEED, 25).is_some() && pages.find(FEED, 35).is_some());
        pages.sweep(5 + KEPT_TICKS);
        assert!(pages.find(FEED, 35).is_none());
        assert_eq!(pages.bytes(), 0);
    }

    #[test]
    fn gives_back_who_waited_for_a_feed_that_is_gone() {
        let mut pages = Pages::new(1 << 20, 1);
        pages.want(FEED, 10, 7);
        assert_eq!(pages.forget(FEED), [7]);
    }
}
