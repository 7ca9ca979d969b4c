//! A modelled stream: a leader's log and replicas that lag behind it.
//!
//! A case has at most 64 messages, so that a set of them is one number: the checks run after every
//! step of a hundred thousand cases.

use std::sync::Arc;

use bytes::Bytes;

use super::super::Stored;

/// The last one is outside of the filter.
pub(super) const SUBJECTS: usize = 4;

/// A set of sequences from 1 to 64.
pub(super) type Set = u64;

pub(super) fn one(seq: u64) -> Set {
    1 << (seq - 1)
}

pub(super) fn up_to(seq: u64) -> Set {
    if seq >= 64 { Set::MAX } else { (1 << seq) - 1 }
}

pub(super) fn between(after: u64, until: u64) -> Set {
    up_to(until) & !up_to(after)
}

/// The highest sequence of the set, or 0.
pub(super) fn highest(set: Set) -> u64 {
    u64::from(Set::BITS - set.leading_zeros())
}

fn lowest(set: Set) -> Option<u64> {
    (set != 0).then(|| u64::from(set.trailing_zeros()) + 1)
}

/// The sequences of a set, rising.
pub(super) fn each(mut set: Set) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let seq = lowest(set)?;
        set &= set - 1;
        Some(seq)
    })
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) subject: usize,
    /// The previous sequence of the subject that the leader had when it stored this.
    pub(super) last: u64,
    is_marker: bool,
    /// Entries of the log.
    stored_at: usize,
    removed_at: usize,
}

#[derive(Debug)]
pub(super) struct Stream {
    names: [Arc<str>; SUBJECTS],
    messages: Vec<Message>,
    /// The last sequence after each entry.
    log: Vec<u64>,
    /// How much of the log each follower has applied.
    followers: [usize; 2],
    of: [Set; SUBJECTS],
    kept: Set,
    /// What the limits removed: who had not got it must be told.
    pub(super) evicted: Set,
    /// What was purged or expired, with what had been removed before it: not owed to anybody.
    pub(super) gone: Set,
    /// What has expired by the clock of the followers, which may run ahead.
    expired: Set,
    /// Messages of a subject; 0 for no limit.
    pub(super) most_per_subject: u32,
    /// Messages of the stream; 0 for no limit.
    pub(super) most: u32,
}

impl Stream {
    pub(super) fn new(names: &[Arc<str>; SUBJECTS]) -> Self {
        Self {
            names: names.clone(),
            messages: Vec::with_capacity(64),
            log: Vec::with_capacity(96),
            followers: [0; 2],
            of: [0; SUBJECTS],
            kept: 0,
            evicted: 0,
            gone: 0,
            expired: 0,
            most_per_subject: 0,
            most: 0,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn of(&self, subject: usize) -> Set {
        self.of[subject]
    }

    /// The messages of the first `width` subjects.
    pub(super) fn filtered(&self, width: usize) -> Set {
        self.of[..width].iter().fold(0, |all, of| all | of)
    }

    pub(super) fn message(&self, seq: u64) -> &Message {
        &self.messages[seq as usize - 1]
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() == 64
    }

    /// A message as it is read back.
    pub(super) fn read_back(&self, seq: u64) -> Stored {
        let message = self.message(seq);
        let payload = (!message.is_marker).then(Bytes::new);
        Stored { subject: self.names[message.subject].clone(), seq, last: None, ts_ms: 0, payload }
    }

    /// A message as it is republished.
    pub(super) fn republished(&self, seq: u64) -> Stored {
        Stored { last: Some(self.message(seq).last), ..self.read_back(seq) }
    }

    pub(super) fn store(&mut self, subject: usize) {
        let last = highest(self.kept & self.of[subject]);
        self.append(subject, last, false);
    }

    fn append(&mut self, subject: usize, last: u64, is_marker: bool) {
        let stored_at = self.log.len();
        self.messages.push(Message { subject, last, is_marker, stored_at, removed_at: usize::MAX });
        let seq = self.last();
        self.of[subject] |= one(seq);
        self.kept |= one(seq);
        let most = self.most_per_subject;
        let of = self.kept & self.of[subject];
        if most > 0 && of.count_ones() > most {
            self.evict(of & of.wrapping_neg());
        }
        if self.most > 0 && self.kept.count_ones() > self.most {
            self.evict(self.kept & self.kept.wrapping_neg());
        }
        self.log.push(seq);
    }

    fn evict(&mut self, set: Set) {
        self.evicted |= set;
        self.remove(set);
    }

    fn remove(&mut self, set: Set) {
        for seq in each(set & self.kept) {
            self.messages[seq as usize - 1].removed_at = self.log.len();
        }
        self.kept &= !set;
    }

    /// The limits take the oldest.
    pub(super) fn evict_oldest(&mut self) {
        self.evict(self.kept & self.kept.wrapping_neg());
        self.log.push(self.last());
    }

    pub(super) fn purge(&mut self, subject: usize) {
        self.remove(self.of[subject]);
        self.excuse(subject, self.last());
        self.log.push(self.last());
    }

    /// What was removed before this is no longer known to have been there.
    fn excuse(&mut self, subject: usize, seq: u64) {
        self.gone |= self.of[subject] & up_to(seq) & (!self.kept | self.expired);
    }

    /// A message expires: for the followers only, or everywhere, with a marker in its place or not.
    pub(super) fn expire(&mut self, seq: u64, is_early: bool, has_marker: bool) {
        if self.kept & one(seq) == 0 {
            return;
        }
        let subject = self.message(seq).subject;
        self.expired |= one(seq);
        if is_early {
            self.excuse(subject, seq);
            return;
        }
        let is_last = highest(self.kept & self.of[subject]) == seq;
        self.remove(one(seq));
        self.excuse(subject, seq);
        self.log.push(self.last());
        if has_marker && is_last && !self.is_full() {
            // It rolls up the subject.
            self.purge(subject);
            self.append(subject, seq, true);
        }
    }

    /// What has expired early expires everywhere, and everybody has everything.
    pub(super) fn settle(&mut self) {
        for seq in each(self.kept & self.expired) {
            self.expire(seq, false, false);
        }
        self.followers = [self.log.len(); 2];
    }

    /// A follower applies some more of the log.
    pub(super) fn replicate(&mut self, follower: usize, entries: usize) {
        let applied = &mut self.followers[follower];
        *applied = self.log.len().min(*applied + entries);
    }

    /// What a replica has – the leader is replica 0 – and the last sequence that it has applied.
    pub(super) fn at(&self, replica: usize) -> (Set, u64) {
        if replica == 0 {
            return (self.kept, self.last());
        }
        let applied = self.followers[replica - 1];
        let Some(newest) = applied.checked_sub(1) else {
            return (0, 0);
        };
        let mut kept = 0;
        for (index, message) in self.messages.iter().enumerate() {
            if message.stored_at < applied && message.removed_at >= applied {
                kept |= 1 << index;
            }
        }
        (kept & !self.expired, self.log[newest])
    }

    /// The first sequence the leader keeps.
    pub(super) fn first(&self) -> u64 {
        lowest(self.kept).unwrap_or(self.last() + 1)
    }

    /// From where on the leader has everything of a subject.
    pub(super) fn kept_from(&self, subject: usize) -> u64 {
        let of = self.kept & self.of[subject];
        match lowest(of) {
            Some(first) if self.most_per_subject > 0 && of.count_ones() >= self.most_per_subject => first,
            _ => self.first(),
        }
    }

    /// Whether everything after `cursor` that is still owed can be read.
    pub(super) fn is_recoverable(&self, cursor: u64, width: usize) -> bool {
        let most = self.most_per_subject;
        let newer = |subject: usize| (self.of[subject] & !up_to(cursor)).count_ones();
        self.first() <= cursor + 1 && (most == 0 || (0..width).all(|subject| newer(subject) < most))
    }
}
