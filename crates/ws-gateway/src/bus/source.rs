//! One feed as the bus holds it: its state machine, who wants it, and its last values.

use std::{collections::HashMap, sync::Arc};

use odin_protocol::{Epoch, codec::validate_payload, error::GapReason};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Member,
    feed::{Feed, Stored},
};
use crate::{
    metrics::BusMetrics,
    publication::{Body, Publication},
    rules::Topic,
};

/// A source at one of its openings: an answer to an earlier one, or to another source that had the
/// same slot, is not for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceId {
    pub(super) slot: usize,
    pub(super) opening: u64,
}

/// A subject's names, worked out once.
#[derive(Debug)]
struct Names {
    channel: Arc<str>,
    key: Option<Box<str>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) topic: Arc<Topic>,
    /// Which opening this is, among all of all sources.
    pub(super) opening: u64,
    pub(super) asked_at: Instant,
    pub(super) was_announced_late: bool,
    pub(super) machine: Feed,
    pub(super) members: Vec<Member>,
    last: HashMap<Arc<str>, Arc<Publication>>,
    voids: HashMap<Arc<str>, Arc<Publication>>,
    /// The subjects that came so far, each kept once.
    pub(super) subjects: HashMap<Box<str>, Arc<str>>,
    /// None for a subject that no channel has.
    names: HashMap<Arc<str>, Option<Names>>,
    /// Dropped, it ends the NATS subscription.
    _interest: oneshot::Sender<()>,
}

impl Source {
    /// A feed that `member` asked for and that has to be opened. Dropped with its
    /// `interest`, it ends the NATS subscription.
    pub(super) fn new(topic: Arc<Topic>, opening: u64, member: Member, interest: oneshot::Sender<()>) -> Self {
        Self {
            topic,
            opening,
            asked_at: Instant::now(),
            was_announced_late: false,
            machine: Feed::opening(),
            members: vec![member],
            last: HashMap::new(),
            voids: HashMap::new(),
            subjects: HashMap::new(),
            names: HashMap::new(),
            _interest: interest,
        }
    }

    pub(super) fn is_pattern(&self) -> bool {
        self.topic.subject.contains('*')
    }

    /// Keeps the newest value of each subject, and a void behind it, for those who join later.
    pub(super) fn remember(&mut self, publication: &Arc<Publication>) {
        let subject = publication.subject.clone();
        if let Body::Value(_) = publication.body {
            self.voids.remove(&subject);
            self.last.insert(subject, publication.clone());
        } else {
            self.voids.insert(subject, publication.clone());
        }
    }

    /// What [`remember`](Self::remember) has kept.
    pub(super) fn remembered(&self) -> Vec<Arc<Publication>> {
        self.last.values().chain(self.voids.values()).cloned().collect()
    }

    /// Forgets what another stream had.
    pub(super) fn reopen(&mut self, opening: u64) {
        self.opening = opening;
        self.machine = Feed::opening();
        self.last.clear();
        self.voids.clear();
    }

    /// What a stored message is to clients. None: nothing, and its chain says so.
    pub(super) fn publication(
        &mut self,
        message: Stored,
        epoch: Epoch,
        payload_bytes: usize,
        metrics: &BusMetrics,
    ) -> Option<Arc<Publication>> {
        let topic = &self.topic;
        let names = self.names.entry(message.subject.clone()).or_insert_with(|| {
            let (channel, key) = topic.naming.name(&message.subject)?;
            Some(Names { channel: channel.into(), key: key.map(Into::into) })
        });
        let Some(names) = names else {
            metrics.unmapped.add(1);
            return None;
        };
        let body = match message.payload {
            None => {
                metrics.markers.add(1);
                Body::Void(GapReason::Retention)
            }
            Some(payload) if payload.len() > payload_bytes => {
                metrics.payload_too_big.add(1);
                Body::Void(GapReason::Invalid)
            }
            Some(payload) if validate_payload(&payload).is_err() => {
                metrics.payload_invalid.add(1);
                Body::Void(GapReason::Invalid)
            }
            Some(payload) => Body::Value(payload),
        };
        let mut prev = message.last;
        if let Some(filter) = &topic.filter {
            // A filtered feed has a chain of its own: what was filtered out is not missing.
            match &body {
                Body::Value(payload) if filter.matches(payload) => {
                    prev = self.last.get(&message.subject).map(|last| last.seq);
                }
                // Nobody knows what it was, so it may have been for this feed.
                Body::Void(GapReason::Retention) => {}
                _ => return None,
            }
        }
        let names = (names.channel.clone(), names.key.clone());
        Some(Arc::new(Publication::new(message.subject, names, epoch, (prev, message.seq), message.ts_ms, body)))
    }
}
