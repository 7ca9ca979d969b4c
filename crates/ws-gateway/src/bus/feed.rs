//! The state machine of one feed: which message is the next, which was there before, what is missing.
//!
//! Pure: it is told what came and says what to do. Live messages carry the previous sequence of
//! their subject, so every delivered message is the next link of its subject's chain; a link that
//! is missing is read from the stream before anything later of that subject goes out.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

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
    /// Read the messages of `subject` with `after` < sequence <= `until`, then call [`Feed::filled`].
    Fill { subject: Arc<str>, after: u64, until: u64 },
    /// Nobody has these any more: `after` < sequence <= `until`.
    Lost { subject: Arc<str>, after: u64, until: u64 },
    /// A message that was delivered before came again.
    Duplicate,
    /// The watermark rose to this sequence; whatever is below it came in an earlier step.
    Verified(u64),
    /// Too much came while the feed was opening: open it again.
    Reopen,
}

#[derive(Debug)]
struct Hole {
    until: u64,
    held: Vec<Stored>,
    /// The last sequence that is known to be stored and is not in `held`, or 0.
    known: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Everything of the filter up to here was delivered or was there before the feed opened.
    watermark: u64,
    /// How far an audit has seen the stream: where the watermark will be when all holes are filled.
    audited: u64,
    /// The last sequence of each subject.
    last: HashMap<Arc<str>, u64>,
    holes: HashMap<Arc<str>, Hole>,
    /// None once the feed is live.
    opening: Option<Vec<Stored>>,
}

impl Feed {
    /// A feed that is being opened: what comes is held back.
    pub(crate) fn opening() -> Self {
        Self { opening: Some(Vec::new()), ..Self::default() }
    }

    /// Every message of the filter up to here was delivered, or was there before the feed opened.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    pub(crate) fn is_live(&self) -> bool {
        self.opening.is_none()
    }

    /// Every message with a sequence up to `up_to` is in the snapshot or older than it; `snapshot`
    /// has the last message of each subject. What was held back follows.
    pub(crate) fn opened(&mut self, up_to: u64, snapshot: &[Stored], steps: &mut Vec<Step>) {
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

    /// Everything at or below this sequence of the subject is accounted for.
    pub(crate) fn have(&self, subject: &str) -> u64 {
        self.last.get(subject).copied().unwrap_or(0).max(self.watermark)
    }

    /// A live message came.
    pub(crate) fn live(&mut self, message: Stored, steps: &mut Vec<Step>) {
        if let Some(held) = &mut self.opening {
            if held.len() < HELD_MESSAGES {
                held.push(message);
            } else {
                held.clear();
                steps.push(Step::Reopen);
            }
            return;
        }
        if let Some(hole) = self.holes.get_mut(&message.subject) {
            // In order, because it came by one connection; what does not fit is read later.
            if hole.held.len() < HELD_MESSAGES {
                hole.held.push(message);
            } else {
                hole.known = hole.known.max(message.seq);
            }
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
            self.hole(subject, last, vec![message], steps);
        }
    }

    /// An audit's answer: a replica that has applied everything up to `up_to` says that these are the
    /// last messages of the subjects that have changed since the watermark. What did not come live is
    /// read; then the watermark rises.
    pub(crate) fn audited(&mut self, up_to: u64, lasts: &[(Arc<str>, u64)], steps: &mut Vec<Step>) {
        if !self.is_live() {
            return;
        }
        for (subject, seq) in lasts {
            self.know(subject, *seq, steps);
        }
        self.audited = self.audited.max(up_to);
        self.rise(steps);
    }

    /// A message is stored. If it did not come live, it and what is before it are read.
    fn know(&mut self, subject: &Arc<str>, seq: u64, steps: &mut Vec<Step>) {
        if let Some(hole) = self.holes.get_mut(subject) {
            if seq > hole.until {
                hole.known = hole.known.max(seq);
            }
        } else if seq > self.have(subject) {
            self.hole(subject.clone(), seq, Vec::new(), steps);
        }
    }

    /// Below the first message that is missing somewhere, everything is there.
    fn rise(&mut self, steps: &mut Vec<Step>) {
        let missing = self.holes.keys().map(|subject| self.have(subject)).min();
        let watermark = missing.map_or(self.audited, |have| have.min(self.audited));
        if watermark > self.watermark {
            self.watermark = watermark;
            steps.push(Step::Verified(watermark));
        }
    }

    fn hole(&mut self, subject: Arc<str>, until: u64, held: Vec<Stored>, steps: &mut Vec<Step>) {
        steps.push(Step::Fill { subject: subject.clone(), after: self.have(&subject), until });
        let hole = Hole { until, held, known: 0 };
        self.holes.insert(subject, hole);
    }

    /// The answer to [`Step::Fill`]: what the stream still has, in order, and the sequence from
    /// which on it keeps everything.
    pub(crate) fn filled(&mut self, subject: &Arc<str>, found: Vec<Stored>, kept_from: u64, steps: &mut Vec<Step>) {
        let Some(hole) = self.holes.remove(subject) else {
            // The feed was opened anew in the meantime.
            return;
        };
        let have = self.have(subject);
        if kept_from > have + 1 {
            // What was dropped may have been of this subject: nobody can say any more.
            let until = hole.until.min(kept_from - 1);
            steps.push(Step::Lost { subject: subject.clone(), after: have, until });
            self.last.insert(subject.clone(), until);
        }
        for message in found {
            if message.seq > self.have(subject) && message.seq <= hole.until {
                self.deliver(message, steps);
            }
        }
        let have = self.have(subject);
        if have < hole.until {
            steps.push(Step::Lost { subject: subject.clone(), after: have, until: hole.until });
            self.last.insert(subject.clone(), hole.until);
        }
        for message in hole.held {
            self.live(message, steps);
        }
        self.know(subject, hole.known, steps);
        self.rise(steps);
    }

    fn deliver(&mut self, mut message: Stored, steps: &mut Vec<Step>) {
        let last = self.last.get(&message.subject).copied().unwrap_or(0);
        // The stream's own word counts; what was read back has none, and follows what we have.
        message.last = message.last.or(Some(last));
        match self.last.get_mut(&message.subject) {
            Some(seq) => *seq = message.seq,
            None => {
                self.last.insert(message.subject.clone(), message.seq);
            }
        }
        steps.push(Step::Deliver(message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64, last: u64) -> Stored {
        Stored { subject: "a".into(), seq, last: Some(last), ts_ms: 0, payload: Some(Bytes::new()) }
    }

    fn read_back(seq: u64) -> Stored {
        Stored { last: None, ..message(seq, 0) }
    }

    fn delivered(steps: &[Step]) -> Vec<u64> {
        let seqs = steps.iter().filter_map(|step| match step {
            Step::Deliver(message) => Some(message.seq),
            _ => None,
        });
        seqs.collect()
    }

    fn live_from(up_to: u64) -> Feed {
        let mut feed = Feed::opening();
        feed.opened(up_to, &[], &mut Vec::new());
        feed
    }

    #[test]
    fn drops_from_the_buffer_what_the_snapshot_had() {
        let mut feed = Feed::opening();
        let mut steps = Vec::new();
        for (seq, last) in [(4, 2), (6, 4), (9, 6)] {
            feed.live(message(seq, last), &mut steps);
        }
        assert_eq!(steps, []);
        feed.opened(6, &[message(6, 4)], &mut steps);
        assert_eq!(delivered(&steps), [9]);
        assert!(feed.is_live());
    }

    #[test]
    fn fills_a_missing_link_before_what_follows() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.live(message(15, 13), &mut steps);
        feed.live(message(16, 15), &mut steps);
        let hole = Step::Fill { subject: "a".into(), after: 10, until: 13 };
        assert_eq!(steps, [hole]);
        steps.clear();
        feed.filled(&"a".into(), vec![read_back(12), read_back(13)], 1, &mut steps);
        assert_eq!(delivered(&steps), [12, 13, 15, 16]);
    }

    #[test]
    fn does_not_hold_other_subjects_for_a_hole() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.live(message(15, 13), &mut steps);
        let other = Stored { subject: "b".into(), ..message(16, 3) };
        feed.live(other, &mut steps);
        assert_eq!(delivered(&steps), [16]);
    }

    #[test]
    fn says_what_the_stream_no_longer_keeps() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.live(message(15, 13), &mut steps);
        steps.clear();
        feed.filled(&"a".into(), vec![], 1, &mut steps);
        let lost = Step::Lost { subject: "a".into(), after: 10, until: 13 };
        assert_eq!(steps[0], lost);
        assert_eq!(delivered(&steps), [15]);
    }

    #[test]
    fn says_what_the_stream_dropped_before_it_was_read() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.live(message(25, 20), &mut steps);
        steps.clear();
        feed.filled(&"a".into(), vec![read_back(18), read_back(20)], 16, &mut steps);
        assert_eq!(steps[0], Step::Lost { subject: "a".into(), after: 10, until: 15 });
        assert_eq!(delivered(&steps), [18, 20, 25]);
        assert!(matches!(&steps[1], Step::Deliver(first) if first.last == Some(15)), "the chain goes on from the gap");
    }

    #[test]
    fn drops_what_comes_twice_and_never_goes_back() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        for (seq, last) in [(11, 9), (12, 11), (11, 9), (12, 11), (13, 12), (10, 9)] {
            feed.live(message(seq, last), &mut steps);
        }
        assert_eq!(delivered(&steps), [11, 12, 13]);
        assert_eq!(steps.iter().filter(|step| **step == Step::Duplicate).count(), 3);
    }

    #[test]
    fn reads_from_the_stream_what_did_not_fit_behind_a_hole() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        let many = HELD_MESSAGES as u64 + 50;
        for seq in 12..12 + many {
            feed.live(message(seq, seq - 1), &mut steps);
        }
        steps.clear();
        feed.filled(&"a".into(), vec![read_back(11)], 1, &mut steps);
        assert_eq!(delivered(&steps).len(), 1 + HELD_MESSAGES);
        let tail = Step::Fill { subject: "a".into(), after: 11 + HELD_MESSAGES as u64, until: 11 + many };
        assert_eq!(steps.last(), Some(&tail));
    }

    #[test]
    fn reads_the_tail_that_an_audit_finds() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.audited(10, &[("a".into(), 9)], &mut steps);
        assert_eq!(steps, []);
        feed.audited(14, &[("a".into(), 12)], &mut steps);
        assert_eq!(steps, [Step::Fill { subject: "a".into(), after: 10, until: 12 }]);
        assert_eq!(feed.watermark(), 10, "not before it is filled");
        steps.clear();
        feed.filled(&"a".into(), vec![read_back(12)], 1, &mut steps);
        assert_eq!(delivered(&steps), [12]);
        assert_eq!(steps.last(), Some(&Step::Verified(14)));
    }

    #[test]
    fn raises_the_watermark_only_below_what_is_missing() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        let other = |seq, last| Stored { subject: "b".into(), ..message(seq, last) };
        feed.live(other(11, 0), &mut steps);
        feed.live(other(12, 11), &mut steps);
        feed.live(message(15, 13), &mut steps);
        steps.clear();
        feed.audited(20, &[("a".into(), 18), ("b".into(), 12)], &mut steps);
        assert_eq!(steps, [], "the hole of one holds it at what came before");
        feed.filled(&"a".into(), vec![read_back(13)], 1, &mut steps);
        assert_eq!(delivered(&steps), [13, 15]);
        let more = Step::Fill { subject: "a".into(), after: 15, until: 18 };
        assert_eq!(steps[2..], [more, Step::Verified(15)]);
        steps.clear();
        feed.filled(&"a".into(), vec![read_back(18)], 1, &mut steps);
        assert_eq!(steps.last(), Some(&Step::Verified(20)));
    }

    #[test]
    fn never_lowers_the_watermark() {
        let mut feed = live_from(10);
        let mut steps = Vec::new();
        feed.audited(20, &[], &mut steps);
        feed.audited(15, &[], &mut steps);
        assert_eq!((steps, feed.watermark()), (vec![Step::Verified(20)], 20));
    }

    #[test]
    fn opens_again_when_too_much_came_meanwhile() {
        let mut feed = Feed::opening();
        let mut steps = Vec::new();
        for seq in 1..=HELD_MESSAGES as u64 + 1 {
            feed.live(message(seq, seq - 1), &mut steps);
        }
        assert_eq!(steps, [Step::Reopen]);
    }
}
