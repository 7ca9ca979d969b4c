//! The state machine of one feed: which message is the next, which was there before, what is missing.
//!
//! Pure: it is told what came and says what to do. Live messages carry the previous sequence of
//! their subject, so every delivered message is the next link of its subject's chain; a link that
//! is missing is read from the stream before anything later of that subject goes out. A chain says
//! nothing until its subject speaks again, so audits tell which subjects have moved, and what did
//! not come is read just the same.
//!
//! # What is accounted for
//! Everything of a subject up to [`Feed::have`] was delivered, announced as lost, was there before
//! the feed opened, or had been removed when an audit looked. While the subject has a hole, that is
//! where the hole begins; otherwise it is the last of the subject or, if higher, as far as audits
//! have looked: what they found missing lies in holes. Hence the watermark: as far as audits have
//! looked, but not past the begin of any hole. Unlike the sequence of a delivered message it covers
//! the whole filter, so it is the only one a pattern can be resumed from.
//!
//! # What `prev` says
//! `last` of a [`Step::Deliver`] is never above what was delivered or announced of that subject
//! before, or was its last when the feed opened. It is equal to it but for one case: the stream
//! says less, because it no longer had what we delivered (purge, expiry: 0 if nothing was left).
//! Then the stream's word stands. A client that came from another gateway after the removal cannot
//! have what was removed, and must not be told that it missed it. If the stream names a link that
//! no audit saw and nobody delivered – it expired in between – that link is announced as lost
//! before what follows it.
//!
//! # What is not announced
//! What was purged or expired before it could be read leaves no trace, and is not owed. What the
//! stream's limits evicted leaves two: the first sequence it keeps, see [`Feed::outlived`], and
//! `kept_from` of [`Feed::filled`].
//!
//! # Memory
//! A sequence for each subject that ever spoke, kept because `prev` needs it: as many as the filter
//! has subjects. A hole for each subject at most, with up to [`HELD_MESSAGES`] behind it; as many
//! while the feed opens. Audits leave two numbers.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// Messages held back while a feed opens or a hole is filled; past it they are dropped and read
/// from the stream instead.
const HELD_MESSAGES: usize = 4096;

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) subject: Arc<str>,
    pub(crate) seq: u64,
    /// The previous sequence of the subject. Only live messages carry it; what is read back from
    /// the stream has it filled in from the chain.
    pub(crate) last: Option<u64>,
    pub(crate) ts_ms: i64,
    /// None for a marker: the stream says that the subject's last value expired.
    pub(crate) payload: Option<Bytes>,
}

impl Stored {
    /// Bytes of what the publisher said, for limits.
    pub(crate) fn size(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// What the feed wants done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next message of its subject; `last` is set.
    Deliver(Stored),
    /// Read the messages of `subject` with `after` < sequence <= `until`, then call [`Feed::filled`]
    /// once. The stream has stored `until`: a replica that has not yet cannot answer.
    Fill { subject: Arc<str>, after: u64, until: u64 },
    /// Nobody has these any more: `after` < sequence <= `until`.
    Lost { subject: Arc<str>, after: u64, until: u64 },
    /// The watermark rose to here; what it depends on was said before.
    Verified(u64),
    /// A message that was delivered before came again.
    Duplicate,
    /// Too much came while the feed was opening: open it again.
    Reopen,
}

/// Sequences of a subject that are being read, and what waits for them.
#[derive(Debug)]
struct Hole {
    /// Everything up to here is accounted for.
    after: u64,
    until: u64,
    /// What came live meanwhile, as it came.
    held: Vec<Stored>,
    /// The highest sequence that an audit saw or that found no room in `held`, or 0.
    seen: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    /// What is not above this was there before the feed opened, or announced for all of it.
    begin: u64,
    watermark: u64,
    /// As far as the opening or an audit has looked: what is missing up to here lies in a hole.
    audited: u64,
    /// The last sequence of each subject.
    last: HashMap<Arc<str>, u64>,
    holes: HashMap<Arc<str>, Hole>,
    /// None once the feed is live.
    opening: Option<Vec<Stored>>,
    /// Messages that may be held in one place.
    room: usize,
}

impl Feed {
    /// A feed that is being opened: what comes is held back.
    pub(crate) fn opening() -> Self {
        Self {
            begin: 0,
            watermark: 0,
            audited: 0,
            last: HashMap::new(),
            holes: HashMap::new(),
            opening: Some(Vec::new()),
            room: HELD_MESSAGES,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.opening.is_none()
    }

    /// Everything of the filter up to here is accounted for. Never falls but by a new opening.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Every message with a sequence up to `up_to` is in the snapshot or older than it; `snapshot`
    /// has the last message of each subject. What was held back follows.
    pub(crate) fn opened(&mut self, up_to: u64, snapshot: &[Stored], steps: &mut Vec<Step>) {
        self.begin = up_to;
        self.watermark = up_to;
        self.audited = up_to;
        self.last.clear();
        self.holes.clear();
        for message in snapshot {
            self.last.insert(message.subject.clone(), message.seq);
        }
        for message in self.opening.take().unwrap_or_default() {
            self.live(message, steps);
        }
    }

    /// The subjects that have spoken, and the last sequence of each.
    pub(crate) fn lasts(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.last.iter().map(|(subject, last)| (subject, *last))
    }

    /// Everything at or below this sequence of the subject is accounted for.
    pub(crate) fn have(&self, subject: &str) -> u64 {
        match self.holes.get(subject) {
            Some(hole) => hole.after,
            None => self.last.get(subject).copied().unwrap_or(0).max(self.audited),
        }
    }

    /// A live message came.
    pub(crate) fn live(&mut self, message: Stored, steps: &mut Vec<Step>) {
        if let Some(held) = &mut self.opening {
            if held.len() < self.room {
                held.push(message);
            } else {
                held.clear();
                steps.push(Step::Reopen);
            }
            return;
        }
        if let Some(hole) = self.holes.get_mut(&message.subject) {
            if message.seq <= hole.after {
                steps.push(Step::Duplicate);
            } else if message.seq > hole.until {
                if hole.held.len() < self.room {
                    hole.held.push(message);
                } else {
                    hole.seen = hole.seen.max(message.seq);
                }
            }
            // The rest is being read.
            return;
        }
        let have = self.have(&message.subject);
        let last = message.last.unwrap_or(0);
        if message.seq <= have {
            steps.push(Step::Duplicate);
        } else if last <= have {
            self.deliver(message, steps);
        } else {
            let subject = message.subject.clone();
            self.dig(subject, Hole { after: have, until: last, held: vec![message], seen: 0 }, steps);
        }
    }

    /// An audit's answer: a replica that had applied everything up to `up_to` says that `lasts` are
    /// the last sequences of the subjects that changed after some sequence <= our watermark.
    ///
    /// Answers may come in any order, from replicas that lag, more than once, and while the feed
    /// opens, when they say nothing new. They must be about the stream of this opening's epoch.
    pub(crate) fn audited(&mut self, up_to: u64, lasts: &[(Arc<str>, u64)], steps: &mut Vec<Step>) {
        if !self.is_live() {
            return;
        }
        for (subject, last) in lasts {
            self.verified(subject, *last, steps);
        }
        self.audited = self.audited.max(up_to);
        self.raise(steps);
    }

    /// The stream had this message of a subject. If it did not come live, it and what is before it
    /// are read. Does not raise the watermark.
    pub(crate) fn verified(&mut self, subject: &Arc<str>, seq: u64, steps: &mut Vec<Step>) {
        if !self.is_live() {
            return;
        }
        if let Some(hole) = self.holes.get_mut(subject) {
            hole.seen = hole.seen.max(seq);
            return;
        }
        let have = self.have(subject);
        if seq > have {
            let hole = Hole { after: have, until: seq, held: Vec::new(), seen: 0 };
            self.dig(subject.clone(), hole, steps);
        }
    }

    /// The stream keeps nothing before `kept_from`. If that is past the watermark, messages may be
    /// gone that nobody has seen: returns the range (after, until] that has to be announced as lost
    /// for the whole feed, before `steps`.
    ///
    /// Asked after the `lasts` of an audit were given to [`verified`](Self::verified), and told
    /// before [`audited`](Self::audited) gets that answer: what is evicted in between lies in a hole.
    /// A stream that keeps everything for longer than two audits take needs none of this.
    pub(crate) fn outlived(&mut self, kept_from: u64, steps: &mut Vec<Step>) -> Option<(u64, u64)> {
        let (after, until) = (self.watermark, kept_from.saturating_sub(1));
        if !self.is_live() || until <= after {
            return None;
        }
        for hole in self.holes.values_mut() {
            hole.after = hole.after.max(until);
        }
        self.begin = self.begin.max(until);
        self.audited = self.audited.max(until);
        self.raise(steps);
        Some((after, until))
    }

    /// The answer to [`Step::Fill`]: what the stream still has, in order, and the sequence from
    /// which on it keeps everything of the subject.
    pub(crate) fn filled(&mut self, subject: &Arc<str>, found: Vec<Stored>, kept_from: u64, steps: &mut Vec<Step>) {
        // Without it the feed was opened anew in the meantime.
        if let Some(hole) = self.holes.remove(subject) {
            let have = self.fill(subject, &hole, found, kept_from, steps);
            self.follow(subject, hole, have, steps);
            self.raise(steps);
        }
    }

    /// Delivers what was found, announces the rest, and returns what is accounted for now.
    fn fill(
        &mut self,
        subject: &Arc<str>,
        hole: &Hole,
        found: Vec<Stored>,
        kept_from: u64,
        steps: &mut Vec<Step>,
    ) -> u64 {
        let until = hole.until;
        // What was dropped may have been of this subject: nobody can say any more.
        let mut have = self.lose(subject, hole.after, until.min(kept_from.saturating_sub(1)), steps);
        for message in found {
            if message.seq > have && message.seq <= until {
                have = message.seq;
                self.deliver(message, steps);
            }
        }
        self.lose(subject, have, until, steps)
    }

    /// Goes on behind a hole, with the next one if there is.
    fn follow(&mut self, subject: &Arc<str>, hole: Hole, mut have: u64, steps: &mut Vec<Step>) {
        let seen = hole.seen;
        let mut held = hole.held.into_iter();
        while let Some(message) = held.next() {
            if message.seq <= have {
                steps.push(Step::Duplicate);
                continue;
            }
            let mut last = message.last.unwrap_or(0);
            if last < have && seen > have {
                // When it was stored, less was left than we have: what was seen may have been
                // removed before, and this is no proof that it was not.
                last = message.seq - 1;
            }
            if last > have {
                let held = std::iter::once(message).chain(held).collect();
                self.dig(subject.clone(), Hole { after: have, until: last, held, seen }, steps);
                return;
            }
            have = message.seq;
            self.deliver(message, steps);
        }
        if seen > have {
            self.dig(subject.clone(), Hole { after: have, until: seen, held: Vec::new(), seen: 0 }, steps);
        }
    }

    /// Has a hole read.
    fn dig(&mut self, subject: Arc<str>, hole: Hole, steps: &mut Vec<Step>) {
        steps.push(Step::Fill { subject: subject.clone(), after: hole.after, until: hole.until });
        self.holes.insert(subject, hole);
    }

    /// Moves the watermark as far as the holes let it.
    fn raise(&mut self, steps: &mut Vec<Step>) {
        if self.watermark >= self.audited {
            return;
        }
        let begin = self.holes.values().map(|hole| hole.after).min();
        let watermark = begin.map_or(self.audited, |begin| begin.min(self.audited));
        if watermark > self.watermark {
            self.watermark = watermark;
            steps.push(Step::Verified(watermark));
        }
    }

    /// Announces what lies between, if anything can, and returns what is accounted for now.
    fn lose(&mut self, subject: &Arc<str>, after: u64, until: u64, steps: &mut Vec<Step>) -> u64 {
        if after >= until {
            return after;
        }
        steps.push(Step::Lost { subject: subject.clone(), after, until });
        self.last.insert(subject.clone(), until);
        until
    }

    fn deliver(&mut self, mut message: Stored, steps: &mut Vec<Step>) {
        let mut last = self.last.get(&message.subject).copied().unwrap_or(0);
        if let Some(said) = message.last {
            if said > last && said > self.begin {
                // An audit looked when it had been removed already, yet here is its successor.
                last = self.lose(&message.subject, last.max(self.begin), said, steps);
            }
            message.last = Some(last.min(said));
        } else {
            message.last = Some(last);
        }
        match self.last.get_mut(&message.subject) {
            Some(seq) => *seq = message.seq,
            None => {
                self.last.insert(message.subject.clone(), message.seq);
            }
        }
        steps.push(Step::Deliver(message));
    }
}
