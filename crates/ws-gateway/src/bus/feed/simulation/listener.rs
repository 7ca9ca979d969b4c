//! Who listens to a feed, and what must be true of what it hears.

use super::stream::{SUBJECTS, Set, Stream, between, highest, one, up_to};

/// What listeners are told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said {
    Update {
        subject: usize,
        seq: u64,
        prev: u64,
    },
    Lost {
        subject: usize,
        after: u64,
        until: u64,
    },
    /// For every subject of the feed.
    Gap {
        after: u64,
        until: u64,
    },
    Verified(u64),
}

/// The record of one listener: the feed itself, or a client that came later.
#[derive(Debug)]
pub(super) struct Listener {
    width: usize,
    /// What is owed of each subject begins behind this.
    begins: [u64; SUBJECTS],
    /// The last sequence of each chain; None for a chain not seen yet.
    chains: [Option<u64>; SUBJECTS],
    /// Everything up to here was had by other means before.
    cursor: u64,
    is_resumed: bool,
    got: Set,
    lost: Set,
    watermark: u64,
}

impl Listener {
    /// One that begins with a snapshot, when everything up to `begin` was accounted for.
    pub(super) fn with_snapshot(width: usize, begin: u64, snapshot: [u64; SUBJECTS]) -> Self {
        Self {
            width,
            begins: snapshot.map(|seq| seq.max(begin)),
            chains: snapshot.map(Some),
            cursor: 0,
            is_resumed: false,
            got: 0,
            lost: 0,
            watermark: begin,
        }
    }

    /// One that goes on behind `cursor`, not knowing its chains.
    pub(super) fn resumed(width: usize, cursor: u64) -> Self {
        let begins = [cursor; SUBJECTS];
        Self { width, begins, chains: [None; SUBJECTS], cursor, is_resumed: true, got: 0, lost: 0, watermark: cursor }
    }

    /// The last of each subject, as a snapshot for those who come now.
    pub(super) fn chains(&self) -> [u64; SUBJECTS] {
        self.chains.map(|last| last.unwrap_or(0))
    }

    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// A message read back for a listener that resumes.
    pub(super) fn read_back(&mut self, stream: &Stream, seq: u64) {
        let subject = stream.message(seq).subject;
        assert!(seq > self.chains[subject].unwrap_or(self.cursor), "{seq} was read after a later one");
        self.chains[subject] = Some(seq);
        self.got |= one(seq);
    }

    /// What was delivered or announced as lost.
    pub(super) fn heard(&self) -> Set {
        self.got | self.lost
    }

    pub(super) fn hear(&mut self, stream: &Stream, said: Said) {
        match said {
            Said::Update { seq, .. } if seq <= self.cursor => {}
            Said::Lost { until, .. } | Said::Gap { until, .. } if until <= self.cursor => {}
            Said::Update { subject, seq, prev } => self.update(stream, subject, seq, prev),
            Said::Lost { subject, after, until } => {
                let range = stream.of(subject) & between(after, until) & !up_to(self.cursor);
                // Whoever resumed may have read what had expired where the feed's audit looked.
                let excused = if self.is_resumed { stream.gone } else { 0 };
                let told = range & self.got & !excused;
                assert_eq!(told, 0, "{} of {subject} was delivered, and is announced as lost", highest(told));
                self.lose(stream, range & !self.got);
                self.chains[subject] = self.chains[subject].max(Some(until));
            }
            Said::Gap { after, until } => {
                let range = stream.filtered(self.width) & between(after, until) & !up_to(self.cursor);
                self.lose(stream, range & !self.got);
                for last in &mut self.chains {
                    *last = (*last).max(last.and(Some(until)));
                }
            }
            Said::Verified(watermark) => {
                self.watermark = self.watermark.max(watermark);
                self.check(stream, self.watermark);
            }
        }
    }

    fn update(&mut self, stream: &Stream, subject: usize, seq: u64, prev: u64) {
        assert!(seq > self.begins[subject], "{seq} of {subject} was there before");
        assert_eq!((self.got | self.lost) & one(seq), 0, "{seq} of {subject} came twice");
        let last = self.chains[subject];
        let begin = last.unwrap_or(0).max(self.begins[subject]);
        assert!(seq > begin, "{seq} of {subject} came after {last:?}");
        // What the limits took may be announced a little later, for the whole feed.
        let excused = self.got | self.lost | stream.gone | stream.evicted;
        let passed = stream.of(subject) & between(begin, seq - 1) & !excused;
        assert_eq!(passed, 0, "{seq} of {subject} came before {}", highest(passed));
        if let Some(last) = last {
            // Whoever resumed cannot know of what was removed before.
            let missed = stream.of(subject) & between(last.max(self.cursor), prev);
            let is_excused = self.is_resumed && missed & !stream.gone == 0;
            assert!(prev <= last || is_excused, "{seq} of {subject} says that it follows {prev}, not {last}");
        }
        self.chains[subject] = Some(seq);
        self.got |= one(seq);
    }

    fn lose(&mut self, stream: &Stream, range: Set) {
        let kept = range & !(stream.gone | stream.evicted);
        assert_eq!(kept, 0, "{} is announced as lost, and is there", highest(kept));
        self.lost |= range;
    }

    /// Nothing is missing up to the watermark.
    pub(super) fn check(&self, stream: &Stream, watermark: u64) {
        let mut owed = 0;
        for subject in 0..self.width {
            owed |= stream.of(subject) & !up_to(self.begins[subject]);
        }
        let missing = owed & up_to(watermark) & !(self.got | self.lost | stream.gone);
        assert_eq!(missing, 0, "{} is missing below the watermark {watermark}", highest(missing));
    }
}
