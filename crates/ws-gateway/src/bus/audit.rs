//! The audit: proves that a feed has everything, whatever was lost on the way without a sign.
//!
//! A replica is asked for the last message of each subject of the filter. Whatever did not come live is
//! read, and then everything up to the sequence the replica had applied is known to be delivered. This is
//! true of any replica's answer, so the audits on a period need no barrier. After trouble there is one:
//! then the answer is at least as new as the end of the trouble.
//!
//! A feed has one audit under way at most, however often trouble is suspected meanwhile. An answer that
//! was asked for before the latest suspicion proves nothing about it, so another audit follows.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Bus,
    feed::Stored,
    reads::{Done, RETRY},
    replay::{LastValues, ReadError},
    source::{Proof, SourceId},
};

/// How long a message that an audit has seen may be on its way on the live path before it is read: longer
/// than a route's usual delay, so that an audit under load repairs only what is lost.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// An audit that came back.
pub(super) struct Audited {
    sources: Vec<SourceId>,
    is_urgent: bool,
    result: Result<LastValues, ReadError>,
    /// The first sequence that the stream keeps, asked behind the values.
    kept_from: u64,
}

/// What an audit found missing in one feed, after a while.
pub(super) struct Settled {
    source: SourceId,
    up_to: u64,
    lasts: Vec<(Arc<str>, u64)>,
}

impl Bus {
    /// Audits the feeds whose time has come.
    pub(super) fn audit_due(&mut self, now: Instant) {
        let due = self.sources.iter().filter(|(_, source)| {
            source.machine.is_live() && !source.is_under_audit && source.audit_at <= now && !source.proves_itself()
        });
        let due: Vec<usize> = due.map(|(slot, _)| slot).collect();
        for round in self.rounds(due) {
            self.audit(round, false, Duration::ZERO);
        }
    }

    /// Messages may have been lost: audits every feed at once, or as soon as its present audit is back.
    pub(super) fn audit_all(&mut self) {
        let live = self.sources.iter_mut().filter(|(_, source)| source.machine.is_live() && !source.proves_itself());
        let live = live.filter_map(|(slot, source)| {
            source.proof = Proof::Asked;
            source.must_audit_again = source.is_under_audit;
            (!source.is_under_audit).then_some(slot)
        });
        let live: Vec<usize> = live.collect();
        for round in self.rounds(live) {
            self.audit(round, true, Duration::ZERO);
        }
        self.prove_wide(Duration::ZERO);
    }

    /// Draws the time of a feed's next audit.
    pub(super) fn schedule_audit(&mut self, slot: usize) {
        let feeds = &self.config.feeds;
        let source = &mut self.sources[slot];
        let wait = if mem::take(&mut source.had_traffic) {
            feeds.audit_interval.mul_f64(rand::random_range(0.5..1.0))
        } else {
            feeds.audit_quiet_interval.mul_f64(rand::random_range(0.8..1.2))
        };
        source.audit_at = Instant::now() + wait;
        source.is_under_audit = false;
    }

    fn audit(&mut self, round: Vec<SourceId>, is_urgent: bool, pause: Duration) {
        // The same subject may be in two feeds: one of them with a filter.
        let mut filters = HashSet::with_capacity(round.len());
        let mut after = u64::MAX;
        let mut sources = Vec::with_capacity(round.len());
        for id in round {
            if let Some(source) = self.source(id).filter(|source| source.machine.is_live()) {
                source.is_under_audit = true;
                after = after.min(source.machine.watermark());
                filters.insert(source.topic.subject.clone());
                sources.push(id);
            }
        }
        if sources.is_empty() {
            return;
        }
        self.metrics.audits.add(1);
        let replay = self.replay.clone();
        self.reads.push(
            async move {
                tokio::time::sleep(pause).await;
                let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
                let result = replay.last_values(&filters, after, is_urgent).await;
                let info = if result.is_ok() { replay.stream_info().await.ok() } else { None };
                let kept_from = info.map_or(0, |info| info.state.first_seq);
                Done::Audited(Audited { sources, is_urgent, result, kept_from })
            }
            .boxed(),
        );
    }

    pub(super) fn on_audited(&mut self, Audited { sources, is_urgent, result, kept_from }: Audited) {
        let values = match result {
            Ok(values) => values,
            Err(ReadError::TooWide) if sources.len() == 1 => {
                // It has grown past what can be proven.
                self.widen(sources[0]);
                return;
            }
            Err(ReadError::TooWide) => {
                let (some, others) = sources.split_at(sources.len() / 2);
                self.audit(some.to_vec(), is_urgent, Duration::ZERO);
                self.audit(others.to_vec(), is_urgent, Duration::ZERO);
                return;
            }
            Err(error) => {
                self.metrics.audit_failures.add(1);
                tracing::debug!(%error, feeds = sources.len(), "cannot audit feeds yet");
                // The next one begins after whatever was suspected meanwhile.
                let is_urgent = !self.take_again(&sources).is_empty() || is_urgent;
                self.audit(sources, is_urgent, RETRY.mul_f64(rand::random_range(0.5..2.0)));
                return;
            }
        };
        let mut by_subject: HashMap<&str, (&Arc<str>, u64)> = HashMap::new();
        for message in &values.messages {
            by_subject.insert(&message.subject, (&message.subject, message.seq));
        }
        let again = self.take_again(&sources);
        for id in sources {
            let Some(source) = self.source(id) else {
                continue;
            };
            let is_missing = |(subject, seq): &(&Arc<str>, u64)| *seq > source.machine.have(subject);
            let lasts: Vec<_> = if source.is_pattern() {
                by_subject.values().copied().filter(is_missing).map(|(subject, seq)| (subject.clone(), seq)).collect()
            } else {
                let last = by_subject.get(&*source.topic.subject).copied().filter(is_missing);
                last.map(|(subject, seq)| (subject.clone(), seq)).into_iter().collect()
            };
            let is_outlived = kept_from > source.machine.watermark() + 1;
            if is_outlived {
                self.outlive(id, kept_from, &lasts);
            }
            self.schedule_audit(id.slot);
            let settled = Settled { source: id, up_to: values.up_to, lasts };
            if is_urgent || is_outlived || settled.lasts.is_empty() {
                self.on_settled(&settled);
                let proves = is_urgent && !again.contains(&id.slot);
                self.prove(id, proves.then_some(settled.up_to));
            } else {
                let wait = async move {
                    tokio::time::sleep(ON_ITS_WAY).await;
                    Done::Settled(settled)
                };
                self.reads.push(wait.boxed());
            }
        }
        for round in self.rounds(again) {
            self.audit(round, true, Duration::ZERO);
        }
    }

    /// Those for which the answer that has come is too old, once.
    fn take_again(&mut self, sources: &[SourceId]) -> Vec<usize> {
        let again = |id: &SourceId| self.source(*id).is_some_and(|source| mem::take(&mut source.must_audit_again));
        sources.iter().copied().filter(again).map(|id| id.slot).collect()
    }

    /// Announces what the stream dropped before it could be known whether it had come. What the audit
    /// has seen is asked for first: if that is dropped too, it is known by name.
    fn outlive(&mut self, id: SourceId, kept_from: u64, lasts: &[(Arc<str>, u64)]) {
        let Some(source) = self.source(id) else {
            return;
        };
        let mut steps = Vec::new();
        for (subject, last) in lasts {
            source.machine.verified(subject, *last, &mut steps);
        }
        let Some((after, until)) = source.machine.outlived(kept_from, &mut steps) else {
            return;
        };
        let lasts: Vec<_> = source.machine.lasts().map(|(subject, last)| (subject.clone(), last)).collect();
        for (subject, last) in lasts {
            if last < until {
                let after = after.max(last);
                let void = Stored { subject, seq: until, last: Some(after), ts_ms: 0, payload: None };
                self.deliver(id.slot, void);
            }
        }
        self.take_steps(id.slot, steps);
    }

    pub(super) fn on_settled(&mut self, Settled { source: id, up_to, lasts }: &Settled) {
        let Some(source) = self.source(*id) else {
            return;
        };
        let mut steps = Vec::new();
        let missing = lasts.iter().filter(|(subject, seq)| *seq > source.machine.have(subject)).count();
        source.machine.audited(*up_to, lasts, &mut steps);
        self.metrics.audit_repairs.add(missing as u64);
        self.take_steps(id.slot, steps);
    }

    /// Notes how far a feed must be verified to be proven again: up to `goal`, or as was said before.
    pub(super) fn prove(&mut self, id: SourceId, goal: Option<u64>) {
        let Some(source) = self.source(id) else {
            return;
        };
        if let Some(goal) = goal {
            source.proof = Proof::Until(goal);
        }
        if let Proof::Until(goal) = source.proof
            && source.machine.watermark() >= goal
        {
            source.proof = Proof::Given;
        }
    }

    /// Whether every feed has been audited since trouble began, and has what was missing.
    pub(super) fn is_proven(&self) -> bool {
        self.sources.iter().all(|(_, source)| !source.machine.is_live() || source.proof == Proof::Given)
    }
}
