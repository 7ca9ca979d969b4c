//! A modelled gateway against the cursor map: whatever a gateway that keeps its promises does, and in whatever order,
//! nothing is delivered twice, nothing is missing, and it is never blamed; one that breaks them is found out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use odin_protocol::{Cursor, Epoch};
use proptest::prelude::*;

use super::*;

/// The subjects: what a client sees of each. Two exact channels under one pattern, and one channel with two keys.
const SUBJECTS: [(&str, Option<&str>); 4] =
    [("price:A", None), ("price:B", None), ("signals:all", Some("x")), ("signals:all", Some("y"))];
/// What clients subscribe to, alone and in company.
const SUBSCRIPTIONS: [&[&str]; 6] = [
    &["price:A"],
    &["price:*"],
    &["signals:all"],
    &["price:*", "price:A"],
    &["price:A", "price:*"],
    &["signals:all", "price:A", "price:B"],
];

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A publication is stored, so many sequences after the last one.
    Publish {
        subject: usize,
        after: u64,
    },
    /// The connection takes the next update of a subject.
    Send {
        subject: usize,
    },
    /// So many updates of a subject are left out and a gap says so.
    LeaveOut {
        subject: usize,
        count: usize,
    },
    /// All that waits of a subscription up to a sequence is left out and one gap says so.
    LeaveOutAll {
        subscription: usize,
        share: u64,
    },
    Checkpoint {
        is_opaque: bool,
    },
    Reconnect {
        names_cursor: bool,
    },
    /// The gateway begins a subscription anew, without being asked.
    Anew {
        subscription: usize,
        names_cursor: bool,
    },
    /// The stream drops its oldest, up to this share of it.
    Trim {
        share: u64,
    },
    /// The stream is another one; the gateway says so, or the client finds out when it comes back.
    Recreate {
        is_told: bool,
    },
    /// The stream has lost its newest, and counts on from there.
    RollBack {
        share: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let subject = 0..SUBJECTS.len();
    prop_oneof![
        12 => (subject.clone(), 1..4_u64).prop_map(|(subject, after)| Step::Publish { subject, after }),
        12 => subject.clone().prop_map(|subject| Step::Send { subject }),
        2 => (subject, 1..4_usize).prop_map(|(subject, count)| Step::LeaveOut { subject, count }),
        1 => (0..3_usize, 0..=100_u64).prop_map(|(subscription, share)| Step::LeaveOutAll { subscription, share }),
        4 => any::<bool>().prop_map(|is_opaque| Step::Checkpoint { is_opaque }),
        2 => any::<bool>().prop_map(|names_cursor| Step::Reconnect { names_cursor }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(subscription, names_cursor)| Step::Anew { subscription, names_cursor }),
        1 => (0..=100_u64).prop_map(|share| Step::Trim { share }),
        1 => any::<bool>().prop_map(|is_told| Step::Recreate { is_told }),
        1 => (0..=100_u64).prop_map(|share| Step::RollBack { share }),
    ]
}

/// What a gateway that breaks its promises does.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Leaves an update out and says nothing.
    Lose,
    /// Sends an update twice.
    Repeat,
    /// Sends an update before the one that goes before it.
    Swap,
    /// Says that it continues, and begins too late.
    ResumeTooLate,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    seq: u64,
    prev: u64,
    subject: usize,
}

/// A stream, a gateway, one connection of it, and the client.
struct Model {
    map: CursorMap,
    subscriptions: Vec<Channel>,
    epoch: u64,
    /// Counts the streams: a rolled back one has the same epoch and uses its numbers again.
    life: u64,
    log: Vec<Stored>,
    /// What is not after this sequence is no longer stored.
    trimmed: u64,
    /// What the connection has still to be sent, for each subject.
    owed: [VecDeque<UpdateHead<'static>>; 4],
    /// (life, subject, sequence) of what the client delivered, and of what it was told not to expect.
    delivered: BTreeSet<(u64, usize, u64)>,
    excused: BTreeSet<(u64, usize, u64)>,
    violations: u64,
}

impl Model {
    fn new(subscriptions: &[&str], names_cursor: bool) -> Model {
        let subscriptions = subscriptions.iter().map(|name| Channel::parse(name).expect("valid")).collect();
        let mut model = Model {
            map: CursorMap::default(),
            subscriptions,
            epoch: 1,
            life: 1,
            log: Vec::new(),
            trimmed: 0,
            owed: Default::default(),
            delivered: BTreeSet::new(),
            excused: BTreeSet::new(),
            violations: 0,
        };
        model.connect(names_cursor);
        model
    }

    fn head(&self, stored: Stored) -> UpdateHead<'static> {
        let (channel, key) = SUBJECTS[stored.subject];
        let ts_ms = i64::try_from(stored.seq).expect("small");
        let epoch = Epoch::from_hash(self.epoch);
        UpdateHead { channel, key, seq: stored.seq, prev: Some(stored.prev), ts_ms, epoch, snapshot: false }
    }

    fn end(&self) -> u64 {
        self.log.last().map_or(0, |stored| stored.seq)
    }

    fn covers(&self, subscription: usize, subject: usize) -> bool {
        let (name, subscribed) = (SUBJECTS[subject].0, &self.subscriptions[subscription]);
        let name = Channel::parse(name).expect("valid");
        *subscribed == name || (subscribed.is_pattern() && subscribed.matches(&name))
    }

    fn is_wanted(&self, subject: usize) -> bool {
        (0..self.subscriptions.len()).any(|subscription| self.covers(subscription, subject))
    }

    fn excuse(&mut self, subject: usize, seq: u64) {
        self.excused.insert((self.life, subject, seq));
    }

    /// The client takes an update.
    fn take(&mut self, subject: usize, head: &UpdateHead<'_>) {
        match self.map.update(head) {
            Judgement::Deliver => {
                let place = (self.life, subject, head.seq);
                let later = (self.life, subject, u64::MAX);
                assert!(self.delivered.range(place..=later).next().is_none(), "{head:?} twice or out of order");
                self.delivered.insert(place);
            }
            Judgement::Overlap => {
                let place = (self.life, subject, head.seq);
                let is_known = self.delivered.contains(&place) || self.excused.contains(&place);
                assert!(is_known, "{head:?} was dropped and never delivered");
            }
            Judgement::Missing { .. } => {
                self.violations += 1;
                self.delivered.insert((self.life, subject, head.seq));
            }
            Judgement::Repeated => self.violations += 1,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn send(&mut self, subject: usize) {
        if let Some(head) = self.owed[subject].pop_front() {
            self.take(subject, &head);
        }
    }

    fn drain(&mut self) {
        for subject in 0..SUBJECTS.len() {
            while !self.owed[subject].is_empty() {
                self.send(subject);
            }
        }
    }

    fn publish(&mut self, subject: usize, after: u64) {
        let seq = self.end() + after;
        let prev = self.log.iter().rev().find(|stored| stored.subject == subject).map_or(0, |stored| stored.seq);
        let stored = Stored { seq, prev, subject };
        self.log.push(stored);
        if self.is_wanted(subject) {
            let head = self.head(stored);
            self.owed[subject].push_back(head);
        }
    }

    /// The gateway's cursor for a sequence, in the form of today or of tomorrow.
    fn cursor(&self, seq: u64, is_opaque: bool) -> String {
        let ts_ms = i64::try_from(seq).expect("small");
        let cursor = Cursor { epoch: Epoch::from_hash(self.epoch), seq, ts_ms };
        if is_opaque { cursor.to_string().replacen("1.", "2x", 1) } else { cursor.to_string() }
    }

    fn checkpoint(&mut self, is_opaque: bool) {
        let first_owed = self.owed.iter().filter_map(|owed| owed.front()).map(|head| head.seq).min();
        let position = first_owed.map_or(self.end(), |seq| seq - 1);
        assert!(self.map.checkpoint(&self.cursor(position, is_opaque)));
    }

    /// A new connection: every subscription resumes if it can.
    fn connect(&mut self, names_cursor: bool) {
        self.map.disconnect();
        // who comes back to the begin of a subscription gets no second snapshot
        for subject in 0..SUBJECTS.len() {
            for head in std::mem::take(&mut self.owed[subject]).iter().filter(|head| head.snapshot) {
                self.excuse(subject, head.seq);
            }
        }
        let mut from: HashMap<usize, u64> = HashMap::new();
        let asked: Vec<_> = self.subscriptions.iter().map(|channel| self.map.since(channel)).collect();
        let mut failed = Vec::new();
        for (at, since) in asked.iter().enumerate() {
            let Some(since) = since else {
                failed.push((at, None));
                continue;
            };
            let cursor: Cursor = since.replacen("2x", "1.", 1).parse().expect("a cursor of this gateway");
            if cursor.epoch != Epoch::from_hash(self.epoch) {
                failed.push((at, Some(ResumeFailure::EpochChanged)));
            } else if cursor.seq < self.trimmed {
                failed.push((at, Some(ResumeFailure::CursorTooOld)));
            } else {
                let position = names_cursor.then(|| since.clone());
                assert!(!self.map.begin(&self.subscriptions[at], Mode::All, true, None, position));
                for subject in 0..SUBJECTS.len() {
                    if self.covers(at, subject) {
                        let seq = from.entry(subject).or_insert(cursor.seq);
                        *seq = cursor.seq.min(*seq);
                    }
                }
            }
        }
        for (at, reason) in failed {
            self.begin_anew(at, reason, names_cursor, &from);
        }
        for (subject, seq) in from {
            let missed = self.log.iter().filter(|stored| stored.subject == subject && stored.seq > seq);
            self.owed[subject] = missed.map(|stored| self.head(*stored)).collect();
        }
    }

    /// A subscription begins with a snapshot: what was owed is not sent, and the client knows that.
    fn begin_anew(
        &mut self,
        at: usize,
        reason: Option<ResumeFailure>,
        names_cursor: bool,
        carried: &HashMap<usize, u64>,
    ) {
        let channel = self.subscriptions[at].clone();
        let position = names_cursor.then(|| self.cursor(self.end(), false));
        self.map.begin(&channel, Mode::All, false, reason, position);
        for subject in 0..SUBJECTS.len() {
            if !self.covers(at, subject) {
                continue;
            }
            let kept: Vec<Stored> = self.log.iter().filter(|stored| stored.subject == subject).copied().collect();
            if let Some(from) = carried.get(&subject) {
                // another subscription goes on with it from there: only what lies before is given up
                for stored in kept.iter().filter(|stored| stored.seq <= *from) {
                    self.excuse(subject, stored.seq);
                }
                continue;
            }
            let last = kept.last().filter(|stored| stored.seq > self.trimmed);
            for stored in kept.iter().filter(|stored| last.is_none_or(|last| stored.seq != last.seq)) {
                self.excuse(subject, stored.seq);
            }
            let snapshot = last.map(|last| UpdateHead { prev: None, snapshot: true, ..self.head(*last) });
            self.owed[subject] = snapshot.into_iter().collect();
        }
    }

    fn all_anew(&mut self, reason: ResumeFailure) {
        for at in 0..self.subscriptions.len() {
            self.begin_anew(at, Some(reason), at % 2 == 0, &HashMap::new());
        }
    }

    fn leave_out(&mut self, subject: usize, count: usize) {
        let mut until = None;
        for _ in 0..count {
            // a snapshot is never left out
            if self.owed[subject].front().is_some_and(|head| !head.snapshot) {
                let head = self.owed[subject].pop_front().expect("just seen");
                self.excuse(subject, head.seq);
                until = Some(head.seq);
            }
        }
        let (name, key) = SUBJECTS[subject];
        if let Some(until) = until {
            assert!(self.map.gap(&Channel::parse(name).expect("valid"), key, until));
        }
    }

    fn leave_out_all(&mut self, subscription: usize, share: u64) {
        let subscription = subscription % self.subscriptions.len();
        let until = self.end() * share / 100;
        for subject in 0..SUBJECTS.len() {
            if self.covers(subscription, subject) {
                while let Some(head) = self.owed[subject].pop_front_if(|head| head.seq <= until) {
                    self.excuse(subject, head.seq);
                }
            }
        }
        assert!(self.map.gap(&self.subscriptions[subscription], None, until));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { subject, after } => self.publish(subject, after),
            Step::Send { subject } => self.send(subject),
            Step::LeaveOut { subject, count } => self.leave_out(subject, count),
            Step::LeaveOutAll { subscription, share } => self.leave_out_all(subscription, share),
            Step::Checkpoint { is_opaque } => self.checkpoint(is_opaque),
            Step::Reconnect { names_cursor } => self.connect(names_cursor),
            Step::Anew { subscription, names_cursor } => {
                let at = subscription % self.subscriptions.len();
                self.begin_anew(at, None, names_cursor, &HashMap::new());
            }
            Step::Trim { share } => self.trimmed = self.trimmed.max(self.end() * share / 100),
            Step::Recreate { is_told } => {
                (self.life, self.epoch, self.trimmed) = (self.life + 1, self.epoch + 1, 0);
                self.log.clear();
                if is_told {
                    self.all_anew(ResumeFailure::EpochChanged);
                } else {
                    self.connect(true);
                }
            }
            Step::RollBack { share } => {
                self.life += 1;
                let end = self.end() * share / 100;
                self.log.retain(|stored| stored.seq <= end);
                self.trimmed = self.trimmed.min(self.end());
                self.all_anew(ResumeFailure::RolledBack);
            }
        }
    }

    /// What was stored, is wanted, and was neither delivered nor excused.
    fn missing(&self) -> BTreeMap<usize, Vec<u64>> {
        let mut missing: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for stored in self.log.iter().filter(|stored| self.is_wanted(stored.subject)) {
            let place = (self.life, stored.subject, stored.seq);
            if !self.delivered.contains(&place) && !self.excused.contains(&place) {
                missing.entry(stored.subject).or_default().push(stored.seq);
            }
        }
        missing
    }

    /// Breaks a promise about a subject that is sent something before and after.
    fn sabotage(&mut self, subject: usize, fault: Fault) {
        self.publish(subject, 1);
        self.drain();
        self.checkpoint(false);
        for _ in 0..3 {
            self.publish(subject, 1);
        }
        match fault {
            Fault::Lose => {
                self.owed[subject].pop_front();
            }
            Fault::Repeat => {
                let head = self.owed[subject][0];
                self.owed[subject].insert(1, head);
            }
            Fault::Swap => self.owed[subject].swap(0, 1),
            Fault::ResumeTooLate => {
                self.connect(true);
                self.owed[subject].pop_front();
            }
        }
        self.drain();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_gateway_that_keeps_its_promises_is_never_blamed_and_loses_nothing(
        subscriptions in prop::sample::select(&SUBSCRIPTIONS[..]),
        names_cursor in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new(subscriptions, names_cursor);
        for step in steps {
            model.step(step);
        }
        model.drain();
        prop_assert_eq!(model.violations, 0);
        prop_assert_eq!(model.missing(), BTreeMap::new());
    }

    #[test]
    fn a_gateway_that_breaks_a_promise_is_found_out(
        subscriptions in prop::sample::select(&SUBSCRIPTIONS[..]),
        names_cursor in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
        fault in prop::sample::select(&[Fault::Lose, Fault::Repeat, Fault::Swap, Fault::ResumeTooLate][..]),
        subject in any::<prop::sample::Index>(),
    ) {
        let mut model = Model::new(subscriptions, names_cursor);
        let wanted: Vec<usize> = (0..SUBJECTS.len()).filter(|subject| model.is_wanted(*subject)).collect();
        let subject = *subject.get(&wanted);
        for step in steps {
            model.step(step);
        }
        model.sabotage(subject, fault);
        prop_assert!(model.violations > 0, "{:?} was not seen", fault);
    }
}
