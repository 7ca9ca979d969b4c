//! A feed on one shard: who gets it, its last values, and what it published in this turn.

use std::{collections::HashMap, sync::Arc};

use odin_protocol::{
    Epoch,
    codec::Codec,
    message::{Mode, RequestId},
};
use slab::Slab;

use super::ring::Ring;
use crate::{
    publication::{Body, Publication},
    queue::FeedId,
    rules::Topic,
};

/// A subscriber that waits for the feed to open.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) slot: u32,
    pub(crate) request: Option<RequestId>,
    /// It gave a `since`.
    pub(crate) resumes: bool,
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
    pub(crate) subscribers: [Vec<u32>; Codec::ALL.len()],
    pub(crate) waiting: Vec<Waiting>,
    /// Subscriptions that get everything by a pattern, and need this feed when the pattern goes.
    pub(crate) covered: u32,
    pub(crate) last: HashMap<Arc<str>, Last>,
    pub(crate) ring: Ring,
    /// Publications so far: the position of head.
    pub(crate) position: u64,
    /// The sequence of head.
    pub(crate) seq: u64,
    /// Everything of the feed up to this sequence came before, or was there when it opened.
    pub(crate) verified: u64,
    /// Publications of this turn, not yet fanned out.
    pub(crate) turn: Vec<Arc<Publication>>,
    /// Publications are missing: what comes is of no use until the feed is opened anew.
    pub(crate) has_hole: bool,
    /// The tick at which the last subscriber left; the feed lingers from then on.
    pub(crate) unused_since: Option<u64>,
}

impl Feed {
    pub(crate) fn is_unused(&self) -> bool {
        self.covered == 0 && self.waiting.is_empty() && self.subscribers.iter().all(Vec::is_empty)
    }

    /// Takes the last values of a feed that was opened, for the first time or anew.
    pub(crate) fn open(&mut self, epoch: Epoch, up_to: u64, mut last: Vec<Arc<Publication>>) {
        self.epoch = Some(epoch);
        self.verified = up_to;
        self.has_hole = false;
        self.turn.clear();
        self.last.clear();
        last.sort_unstable_by_key(|publication| publication.seq);
        for publication in last {
            self.remember(publication);
        }
        self.ring.restart(self.position);
    }

    /// Appends the next publication and keeps it for this turn's fan-out. The ring may grow by
    /// `room_bytes`.
    pub(crate) fn publish(&mut self, publication: Arc<Publication>, room_bytes: usize) {
        self.turn.push(publication.clone());
        let publication = self.remember(publication);
        self.ring.push(&publication, room_bytes);
    }

    fn remember(&mut self, publication: Arc<Publication>) -> Arc<Publication> {
        self.position += 1;
        self.seq = publication.seq;
        let position = self.position;
        match (&publication.body, self.last.get_mut(&publication.subject)) {
            (Body::Value(_), Some(last)) => {
                *last = Last { position, publication: publication.clone(), void: None };
            }
            (Body::Value(_), None) => {
                let last = Last { position, publication: publication.clone(), void: None };
                self.last.insert(publication.subject.clone(), last);
            }
            (Body::Void(_), Some(last)) => {
                last.void = Some((position, Arc::new(publication.spanning_from(last.publication.seq))));
            }
            (Body::Void(_), None) => {}
        }
        publication
    }

    /// The last values at positions in (`after`, `until`], oldest first.
    pub(crate) fn last_between(&self, after: u64, until: u64) -> Vec<&Last> {
        let mut found: Vec<&Last> =
            self.last.values().filter(|last| last.position > after && last.position <= until).collect();
        found.sort_unstable_by_key(|last| last.position);
        found
    }
}

type Key = (Box<str>, Box<str>);

/// The feeds of a shard, found by (channel, subject) and by slot.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    slots: Slab<Feed>,
    by_key: HashMap<Key, u32>,
    generation: u32,
}

impl Feeds {
    fn key(topic: &Topic) -> Key {
        (topic.channel.as_str().into(), topic.subject.as_str().into())
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn find(&self, topic: &Topic) -> Option<u32> {
        self.by_key.get(&Self::key(topic)).copied()
    }

    /// Adds a feed that waits to be opened. `ring_bytes` bounds what it keeps for catching up.
    pub(crate) fn insert(&mut self, topic: Topic, ring_bytes: usize) -> &mut Feed {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer feeds than subscriptions fit in memory");
        self.by_key.insert(Self::key(&topic), slot);
        let keeps = topic.mode == Mode::All || topic.client_may_choose_mode;
        entry.insert(Feed {
            id: FeedId { slot, generation: self.generation },
            topic: Arc::new(topic),
            epoch: None,
            subscribers: Default::default(),
            waiting: Vec::new(),
            covered: 0,
            last: HashMap::new(),
            ring: Ring::new(if keeps { ring_bytes } else { 0 }),
            position: 0,
            seq: 0,
            verified: 0,
            turn: Vec::new(),
            has_hole: false,
            unused_since: None,
        })
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Feed> {
        let feed = self.slots.try_remove(slot as usize)?;
        self.by_key.remove(&Self::key(&feed.topic));
        Some(feed)
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
