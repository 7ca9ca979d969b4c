//! A feed on one shard: who gets it, its last values, and what it published in this turn.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use odin_protocol::{
    Cursor, Epoch,
    error::ResumeFailure,
    message::{Mode, RequestId},
};
use slab::Slab;

use super::ring::Ring;
use crate::{
    format::{Format, with_id},
    metrics::Class,
    publication::{Body, Publication},
    queue::FeedId,
    rules::Topic,
};

/// Repairs remembered for readers that are behind, of one feed.
const LATE: usize = 256 * 1024;

/// A subscriber that waits for the feed to open, or for its cursor to be checked.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) slot: u32,
    pub(crate) request: Option<RequestId>,
    /// Where it wants to go on.
    pub(crate) since: Option<Box<str>>,
    /// The cursor the bus is asked about for it.
    pub(crate) checking: Option<odin_protocol::Cursor>,
}

/// What a cursor was found to be worth, for those who come with the same one soon after.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) cursor: odin_protocol::Cursor,
    /// Whether what follows it was read too.
    pub(crate) replays: bool,
    /// The shard's tick at which the answer came; None while it is under way.
    pub(crate) at: Option<u64>,
    pub(crate) failure: Option<ResumeFailure>,
}

/// The last value of one subject and its position in the feed.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) position: u64,
    pub(crate) publication: Arc<Publication>,
    /// What came after it and had nothing to show, and its position: whoever is shown the value is
    /// told of this too, or would miss a link.
    pub(crate) void: Option<(u64, Arc<Publication>)>,
}

/// See the module. Subscribers in `subscribers` stand at head unless their connection is behind.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) id: FeedId,
    pub(crate) topic: Arc<Topic>,
    /// None until the bus has opened the feed.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) subscribers: [Vec<u32>; Format::ALL.len()],
    pub(crate) waiting: Vec<Waiting>,
    /// Subscriptions that get everything by a pattern, and need this feed when the pattern goes.
    pub(crate) covered: u32,
    pub(crate) last: HashMap<Arc<str>, Last>,
    /// The subjects of `last` by position, where there may be many: whoever is owed last values takes
    /// a few at a time, and must not look at all of them for that.
    by_position: BTreeMap<u64, Arc<str>>,
    /// The last sequence of subjects that have nothing to show.
    empty: HashMap<Arc<str>, u64>,
    pub(crate) ring: Ring,
    /// Publications so far: the position of head.
    pub(crate) position: u64,
    /// The highest sequence so far.
    pub(crate) seq: u64,
    /// The same when this turn began.
    pub(crate) turn_seq: u64,
    /// A message of the feed that it was opened with, which may still be to come.
    newest: u64,
    /// Position and sequence of publications that came after one with a higher sequence, as repairs
    /// of a pattern do: by them a cursor knows what it lacks below its highest sequence.
    late: VecDeque<(u64, u64)>,
    /// The last position of which the above has been forgotten, and the lowest sequence.
    late_lost: (u64, u64),
    pub(crate) judged: Vec<Judged>,
    /// Everything of the feed up to this sequence came before, or was there when it opened.
    pub(crate) verified: u64,
    /// The shard's tick when that rose last.
    pub(crate) verified_at: u64,
    /// The shard's tick at the last publication.
    pub(crate) spoke_at: u64,
    /// Whether that is longer ago than the rule allows, and subscribers know.
    pub(crate) is_silent: bool,
    /// Publications of this turn, not yet fanned out.
    pub(crate) turn: Vec<Arc<Publication>>,
    /// Publications are missing: what comes is of no use until the feed is opened anew.
    pub(crate) has_hole: bool,
    /// The tick at which the last subscriber left; the feed lingers from then on.
    pub(crate) unused_since: Option<u64>,
}

impl Feed {
    /// What its channel promises.
    pub(crate) fn class(&self) -> Class {
        self.topic.mode.into()
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.covered == 0 && self.waiting.is_empty() && self.subscribers.iter().all(Vec::is_empty)
    }

    /// Takes the last values of a feed that was opened, for the first time or anew. `newest` is a message of it, and none
    /// up to `up_to` is behind that.
    pub(crate) fn open(&mut self, epoch: Epoch, (up_to, newest): (u64, u64), mut last: Vec<Arc<Publication>>) {
        if self.epoch != Some(epoch) {
            self.seq = 0;
        }
        self.epoch = Some(epoch);
        self.verified = up_to;
        self.has_hole = false;
        self.turn.clear();
        self.last.clear();
        self.by_position.clear();
        self.empty.clear();
        self.late.clear();
        self.late_lost = (0, 0);
        self.judged.clear();
        last.sort_unstable_by_key(|publication| publication.seq);
        for publication in last {
            self.remember(publication);
        }
        // Subjects that have nothing to show, or whose value is still to come, may have had others up to here.
        self.seq = self.seq.max(newest.min(up_to));
        self.newest = newest;
        self.ring.restart(self.position, self.seq);
    }

    /// Appends the next publication and keeps it for this turn's fan-out. The ring may grow by
    /// `room_bytes`.
    pub(crate) fn publish(&mut self, publication: Arc<Publication>, room_bytes: usize) {
        if self.turn.is_empty() {
            self.turn_seq = self.seq;
        }
        self.turn.push(publication.clone());
        let publication = self.remember(publication);
        self.ring.push(&publication, room_bytes);
    }

    fn remember(&mut self, publication: Arc<Publication>) -> Arc<Publication> {
        self.position += 1;
        let position = self.position;
        if publication.seq < self.seq && !self.is_one_chain() {
            self.late.push_back((position, publication.seq));
            if self.late.len() > LATE
                && let Some((position, seq)) = self.late.pop_front()
            {
                let lowest = if self.late_lost.0 == 0 { seq } else { seq.min(self.late_lost.1) };
                self.late_lost = (position, lowest);
            }
        }
        self.seq = self.seq.max(publication.seq);
        let is_one_chain = self.is_one_chain();
        match (&publication.body, self.last.get_mut(&publication.subject)) {
            (Body::Value(_), Some(last)) => {
                if let Some(subject) = self.by_position.remove(&last.position) {
                    self.by_position.insert(position, subject);
                }
                *last = Last { position, publication: publication.clone(), void: None };
            }
            (Body::Value(_), None) => {
                let last = Last { position, publication: publication.clone(), void: None };
                self.last.insert(publication.subject.clone(), last);
                if !is_one_chain {
                    self.by_position.insert(position, publication.subject.clone());
                }
            }
            (Body::Void(_), Some(last)) => {
                last.void = Some((position, Arc::new(publication.spanning_from(last.publication.seq))));
            }
            (Body::Void(_), None) => {
                self.empty.insert(publication.subject.clone(), publication.seq);
            }
        }
        publication
    }

    /// Up to which sequence everything of a subject was delivered, or is older than the feed; what has a higher one comes
    /// later.
    pub(crate) fn delivered(&self, subject: &str) -> u64 {
        if self.is_one_chain() {
            return u64::MAX;
        }
        let last = self.last.get(subject).map_or_else(
            || self.empty.get(subject).copied().unwrap_or(0),
            |last| last.void.as_ref().map_or(last.publication.seq, |(_, void)| void.seq),
        );
        last.max(self.verified)
    }

    /// Whether all publications have one subject, so that they come in the order of the stream.
    pub(crate) fn is_one_chain(&self) -> bool {
        !self.topic.subject.contains('*')
    }

    /// A message that the stream has, behind which nothing of the past is to be read.
    pub(crate) fn reads_until(&self) -> u64 {
        self.seq.max(self.newest)
    }

    /// The position of the feed behind a publication, if it can be told from that.
    pub(crate) fn id_of(&self, publication: &Publication) -> Option<Cursor> {
        let has_value = matches!(publication.body, Body::Value(_));
        (self.is_one_chain() && has_value).then(|| publication.cursor())
    }

    /// A publication as the event of a stream that has no other feed: with its position, if that can be told.
    pub(crate) fn event_of(&self, publication: &Publication) -> Bytes {
        let frame = publication.frame(Format::Events);
        match self.id_of(publication) {
            None => frame.clone(),
            Some(cursor) => with_id(cursor, frame),
        }
    }

    /// Sequences that came at positions in (`after`, `until`] although higher ones had come before them.
    pub(crate) fn late_between(&self, after: u64, until: u64) -> impl Iterator<Item = u64> {
        let start = self.late.partition_point(|(at, _)| *at <= after);
        self.late.range(start..).take_while(move |(at, _)| *at <= until).map(|(_, seq)| *seq)
    }

    /// The lowest sequence that came late behind `position` and is not remembered, if there is one.
    pub(crate) fn late_lost_after(&self, position: u64) -> Option<u64> {
        (self.late_lost.0 > position).then_some(self.late_lost.1)
    }

    /// The last values at positions in (`after`, `until`], oldest first.
    pub(crate) fn last_between(&self, after: u64, until: u64) -> impl Iterator<Item = &Last> {
        // One chain has one last value, which needs no order.
        let only = self.is_one_chain().then_some(&self.last).into_iter().flat_map(HashMap::values);
        let range = (Bound::Excluded(after), Bound::Included(until));
        let many = (after < until).then(|| self.by_position.range(range)).into_iter().flatten();
        let many = many.filter_map(|(_, subject)| self.last.get(subject));
        only.chain(many).filter(move |last| last.position > after && last.position <= until)
    }
}

/// The feeds of a shard, found by topic and by slot.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    slots: Slab<Feed>,
    by_topic: HashMap<Arc<Topic>, u32>,
    generation: u32,
}

impl Feeds {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn find(&self, topic: &Topic) -> Option<u32> {
        self.by_topic.get(topic).copied()
    }

    /// Adds a feed that waits to be opened. `ring_bytes` bounds what it keeps for catching up.
    pub(crate) fn insert(&mut self, topic: Topic, ring_bytes: usize) -> &mut Feed {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer feeds than subscriptions fit in memory");
        let topic = Arc::new(topic);
        self.by_topic.insert(topic.clone(), slot);
        let keeps = topic.mode == Mode::All || topic.client_may_choose_mode;
        entry.insert(Feed {
            id: FeedId { slot, generation: self.generation },
            topic,
            epoch: None,
            subscribers: Default::default(),
            waiting: Vec::new(),
            covered: 0,
            last: HashMap::new(),
            by_position: BTreeMap::new(),
            empty: HashMap::new(),
            ring: Ring::new(if keeps { ring_bytes } else { 0 }),
            position: 0,
            seq: 0,
            turn_seq: 0,
            newest: 0,
            late: VecDeque::new(),
            late_lost: (0, 0),
            judged: Vec::new(),
            verified: 0,
            verified_at: 0,
            spoke_at: 0,
            is_silent: false,
            turn: Vec::new(),
            has_hole: false,
            unused_since: None,
        })
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Feed> {
        let feed = self.slots.try_remove(slot as usize)?;
        self.by_topic.remove(&feed.topic);
        Some(feed)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Feed> {
        self.slots.iter_mut().map(|(_, feed)| feed)
    }

    /// The feed in `slot`. It stays there while anybody subscribes to it.
    pub(crate) fn at(&self, slot: u32) -> &Feed {
        &self.slots[slot as usize]
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Feed {
        &mut self.slots[slot as usize]
    }

    /// The feed with this very identity, if it still exists.
    pub(crate) fn get_mut(&mut self, id: FeedId) -> Option<&mut Feed> {
        self.slots.get_mut(id.slot as usize).filter(|feed| feed.id == id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use odin_protocol::channel::Channel;

    use super::*;
    use crate::{config::Stream, identity::Identity, rules::Rules};

    pub(crate) fn feed(channel: &str) -> Feed {
        let rules = Rules::new(Rules::default_sources(), &Stream::default()).expect("valid rules");
        let channel = Channel::parse(channel).expect("a channel");
        let topic = rules.resolve(&channel, &Identity::Anonymous).expect("public");
        let mut feeds = Feeds::default();
        let slot = feeds.insert(topic, 1024).id.slot;
        feeds.remove(slot).expect("inserted")
    }

    pub(crate) fn publication(token: &str, seq: u64) -> Arc<Publication> {
        let names = (format!("price:{token}").into(), None);
        let subject = format!("odin.tokens.{token}.price").into();
        let body = Body::Value(Bytes::from_static(b"1"));
        Arc::new(Publication::new(subject, names, Epoch::from_hash(1), (Some(0), seq), 0, body))
    }

    fn seqs(feed: &Feed, after: u64, until: u64) -> Vec<u64> {
        feed.last_between(after, until).map(|last| last.publication.seq).collect()
    }

    #[test]
    fn gives_each_last_value_once_in_the_order_of_delivery() {
        let mut feed = feed("price:*");
        feed.open(Epoch::from_hash(1), (9, 9), vec![publication("A", 7), publication("B", 9), publication("C", 3)]);
        assert_eq!(seqs(&feed, 0, 3), [3, 7, 9]);
        feed.publish(publication("A", 11), 0);
        feed.publish(publication("D", 12), 0);
        feed.publish(publication("A", 13), 0);
        assert_eq!(seqs(&feed, 0, 6), [3, 9, 12, 13]);
        assert_eq!(seqs(&feed, 3, 5), [12], "what is at 6 is not asked for");
        assert_eq!(seqs(&feed, 6, 6), [0; 0]);
        feed.open(Epoch::from_hash(2), (1, 1), vec![publication("A", 1)]);
        assert_eq!(seqs(&feed, 6, 7), [1], "nothing is left of before");
    }

    #[test]
    fn keeps_no_index_of_a_single_chain() {
        let mut feed = feed("price:A");
        feed.open(Epoch::from_hash(1), (9, 9), vec![publication("A", 7)]);
        feed.publish(publication("A", 11), 0);
        assert_eq!((seqs(&feed, 0, 2), seqs(&feed, 0, 1)), (vec![11], vec![]));
        assert!(feed.by_position.is_empty());
    }
}
