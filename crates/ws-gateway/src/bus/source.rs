//! One feed as the bus holds it: its state machine, who wants it, and its last values.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use odin_protocol::{Epoch, codec::validate_payload, error::GapReason};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Member,
    feed::{Feed, Stored},
    history::Stretch,
    stamp,
    wide::Following,
};
use crate::{
    config::Limits,
    metrics::{BusMetrics, Fate},
    page::Page,
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

/// Whether a feed is known to have everything since trouble was last suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Given,
    /// An audit that began after that is under way, or begins when the present one is back.
    Asked,
    /// As soon as it is verified up to here.
    Until(u64),
}

/// A subject's names, worked out once.
#[derive(Debug)]
struct Names {
    channel: Arc<str>,
    key: Option<Box<str>>,
}

/// How the messages of a feed come. Dropped, it ends that.
#[derive(Debug)]
pub(super) enum Carrier {
    /// By a core subscription, which lasts as long as this.
    Core(#[expect(dead_code, reason = "dropped, it ends the subscription")] oneshot::Sender<()>),
    /// By a consumer. A source that is carried so stays so.
    Wide(Following),
    /// By reads of the stream, when they are due.
    Late(Following),
}

impl Carrier {
    /// What there is of a task.
    pub(super) fn following(&mut self) -> Option<&mut Following> {
        match self {
            Carrier::Core(_) => None,
            Carrier::Wide(following) | Carrier::Late(following) => Some(following),
        }
    }
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
    /// The highest sequence of its messages when it was opened, whether there was something to show of them or not.
    pub(super) newest: u64,
    /// When it is audited next.
    pub(super) audit_at: Instant,
    /// One at a time.
    pub(super) is_under_audit: bool,
    /// Trouble was suspected after the audit under way began: its answer proves nothing.
    pub(super) must_audit_again: bool,
    /// Whether live messages have come since the last audit.
    pub(super) had_traffic: bool,
    pub(super) proof: Proof,
    pub(super) members: Vec<Member>,
    last: HashMap<Arc<str>, Arc<Publication>>,
    voids: HashMap<Arc<str>, Arc<Publication>>,
    /// The subjects that came so far, each kept once.
    pub(super) subjects: HashMap<Box<str>, Arc<str>>,
    /// None for a subject that no channel has.
    names: HashMap<Arc<str>, Option<Names>>,
    pub(super) carrier: Carrier,
}

impl Source {
    /// A feed that `member` asked for and that has to be opened.
    pub(super) fn new(topic: Arc<Topic>, opening: u64, member: Member, carrier: Carrier) -> Self {
        Self {
            topic,
            opening,
            asked_at: Instant::now(),
            was_announced_late: false,
            machine: Feed::opening(),
            newest: 0,
            audit_at: Instant::now(),
            is_under_audit: false,
            must_audit_again: false,
            had_traffic: false,
            proof: Proof::Given,
            members: vec![member],
            last: HashMap::new(),
            voids: HashMap::new(),
            subjects: HashMap::new(),
            names: HashMap::new(),
            carrier,
        }
    }

    pub(super) fn is_pattern(&self) -> bool {
        self.topic.subject.contains('*')
    }

    /// Whether a task carries it, which proves by itself that nothing is missing.
    pub(super) fn proves_itself(&self) -> bool {
        !matches!(self.carrier, Carrier::Core(_))
    }

    /// Whether a consumer carries it.
    pub(super) fn is_wide(&self) -> bool {
        matches!(self.carrier, Carrier::Wide(_))
    }

    /// Subjects that came so far.
    pub(super) fn subject_count(&self) -> usize {
        self.names.len()
    }

    /// The last sequence of the subject that was delivered, or 0.
    fn last_seq(&self, subject: &str) -> u64 {
        let newest = |of: &HashMap<Arc<str>, Arc<Publication>>| of.get(subject).map_or(0, |last| last.seq);
        newest(&self.last).max(newest(&self.voids))
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
        self.newest = 0;
        self.is_under_audit = false;
        self.must_audit_again = false;
        self.proof = Proof::Given;
        self.last.clear();
        self.voids.clear();
        self.names.clear();
        self.subjects.clear();
        if let Some(following) = self.carrier.following() {
            following.stop();
        }
    }

    /// What a stored message is to clients.
    ///
    /// # Errors
    /// It is nothing to them, which its chain says: why.
    pub(super) fn publication(
        &mut self,
        message: Stored,
        epoch: Epoch,
        limits: &Limits,
        metrics: &BusMetrics,
    ) -> Result<Arc<Publication>, Fate> {
        let seq = message.seq;
        let mut prev = message.last;
        let subject = message.subject.clone();
        if self.names(&subject).is_none() {
            metrics.unmapped.add(1);
            return Err(Fate::Dropped);
        }
        let (body, verdict) = body(message.payload, message.ts_ms, limits);
        match verdict {
            Ok(Some(timestamp_ms)) if self.machine.is_live() => stamp::measure(timestamp_ms, message.ts_ms, metrics),
            Ok(_) => {}
            Err(Fault::Marker) => metrics.markers.add(1),
            Err(Fault::TooBig) => metrics.payload_too_big.add(1),
            Err(Fault::Invalid) => metrics.payload_invalid.add(1),
            Err(Fault::Ahead) => metrics.payload_ahead.add(1),
        }
        if !self.has(&body) {
            return Err(Fate::Filtered);
        }
        if self.machine.is_live()
            && let Some(following) = self.carrier.following()
        {
            // A consumer leaves out nothing, and does not say what was before.
            prev = match (following.take_unknown(&subject), &body) {
                (false, _) => Some(self.last_seq(&subject)),
                (true, Body::Value(_)) => None,
                // Announced as a gap, which has a beginning.
                (true, Body::Void(_)) => Some(seq - 1),
            };
        }
        if let (Some(_), Body::Value(_)) = (&self.topic.filter, &body) {
            // A filtered feed has a chain of its own: what was filtered out is not missing.
            prev = self.last.get(&subject).map(|last| last.seq);
        }
        let names = self.names(&subject).ok_or(Fate::Dropped)?;
        Ok(Arc::new(Publication::new(subject, names, epoch, (prev, seq), message.ts_ms, body)))
    }

    /// What a stretch of the past is to clients.
    pub(super) fn page(&mut self, stretch: Stretch, epoch: Epoch, limits: &Limits) -> Page {
        let mut last: HashMap<Arc<str>, u64> = HashMap::new();
        let mut publications = Vec::with_capacity(stretch.messages.len());
        for message in stretch.messages {
            let (body, _) = body(message.payload, message.ts_ms, limits);
            let Some(names) = self.names(&message.subject).filter(|_| self.has(&body)) else {
                continue;
            };
            let is_only_subject = !self.is_pattern();
            // With several subjects, the one at the beginning is not known; nor is whether the filter
            // let it through.
            let before = (stretch.begins_at_ms.is_some() && is_only_subject && self.topic.filter.is_none())
                .then_some(stretch.after);
            let mut prev = last.insert(message.subject.clone(), message.seq).or(before);
            if let Body::Void(_) = body {
                // Announced as a gap, which has a beginning.
                prev = prev.or(Some(message.seq - 1));
            }
            let publication = Publication::new(message.subject, names, epoch, (prev, message.seq), message.ts_ms, body);
            publications.push(Arc::new(publication));
        }
        Page { after: stretch.after, until: stretch.until, kept_from: stretch.kept_from, publications }
    }

    /// Channel and key of a subject, worked out once. None for a subject that no channel has.
    fn names(&mut self, subject: &Arc<str>) -> Option<(Arc<str>, Option<Box<str>>)> {
        let topic = &self.topic;
        let names = self.names.entry(subject.clone()).or_insert_with(|| {
            let (channel, key) = topic.naming.name(subject)?;
            Some(Names { channel: channel.into(), key: key.map(Into::into) })
        });
        names.as_ref().map(|names| (names.channel.clone(), names.key.clone()))
    }

    /// Whether the feed has it: a filtered feed leaves out what its filter does.
    fn has(&self, body: &Body) -> bool {
        match (&self.topic.filter, body) {
            (None, _) => true,
            (Some(filter), Body::Value(payload)) => filter.matches(payload),
            // Nobody knows what it was, so it may have been for this feed.
            (Some(_), Body::Void(reason)) => *reason == GapReason::Retention,
        }
    }
}

/// Why a stored message has nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Marker,
    TooBig,
    Invalid,
    Ahead,
}

/// What there is to show, and the publisher's own time of it.
fn body(payload: Option<Bytes>, stored_ms: i64, limits: &Limits) -> (Body, Result<Option<i64>, Fault>) {
    let void = |reason, fault| (Body::Void(reason), Err(fault));
    let Some(payload) = payload else {
        return void(GapReason::Retention, Fault::Marker);
    };
    if payload.len() > limits.payload_bytes {
        return void(GapReason::Invalid, Fault::TooBig);
    }
    if validate_payload(&payload).is_err() {
        return void(GapReason::Invalid, Fault::Invalid);
    }
    let timestamp_ms = stamp::timestamp_ms(&payload);
    if timestamp_ms.is_some_and(|ms| stamp::is_from_the_future(ms, stored_ms, limits.payload_ahead)) {
        return void(GapReason::Invalid, Fault::Ahead);
    }
    (Body::Value(payload), Ok(timestamp_ms))
}
