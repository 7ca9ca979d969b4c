//! Reads of the stream beside the live path, and what becomes of their answers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::FutureExt;
use odin_protocol::Epoch;

use super::{
    Bus,
    audit::{Audited, Settled},
    feed::Stored,
    history::Stretch,
    look_back::LookedBack,
    nats::{self, Unknown},
    pulse::is_connected,
    replay::{LastValues, ReadError},
    source::{Source, SourceId},
};
use crate::shard::Ticket;

/// Exact subjects opened by one request; Direct Get reads no more at once.
const FILTERS: usize = 1000;

/// How long after a failed read the next attempt follows.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// So often nobody answers before the log says what may be wrong: an election or a server that starts takes less.
const UNANSWERED: u32 = 5;

/// A read that came back.
pub(super) enum Done {
    /// The leader's last sequence, for wide feeds to be proven again when they have come as far.
    WideGoal {
        sources: Vec<SourceId>,
        goal: Result<u64, ReadError>,
    },
    Opened {
        sources: Vec<SourceId>,
        result: Result<LastValues, ReadError>,
    },
    Audited(Audited),
    Settled(Settled),
    Probed {
        newest: Option<u64>,
        stream: Result<Epoch, Unknown>,
    },
    Filled {
        source: SourceId,
        subject: Arc<str>,
        until: u64,
        result: Result<Stretch, ReadError>,
    },
    LookedBack(LookedBack),
    Epoch(Result<Epoch, Unknown>),
    Ticked {
        is_stored: bool,
    },
    Moved,
    Published {
        shard: u32,
        ticket: Ticket,
        stored: Option<(u64, Epoch)>,
    },
}

impl Bus {
    /// Opens what waits to be opened: exact subjects many at a time, patterns one by one.
    pub(super) fn open_next(&mut self) {
        if self.epoch.is_none() || self.to_open.is_empty() {
            return;
        }
        self.metrics.opens.add(self.to_open.len() as u64);
        let to_open = std::mem::take(&mut self.to_open);
        for round in self.rounds(to_open) {
            self.open(round);
        }
    }

    fn open(&mut self, round: Vec<SourceId>) {
        let round: Vec<_> = round.into_iter().filter(|id| self.source(*id).is_some()).collect();
        let (alone, round): (Vec<_>, Vec<_>) = round.into_iter().partition(|id| self.sources[id.slot].proves_itself());
        for id in alone {
            match self.sources[id.slot].topic.delay {
                None => self.open_wide(id),
                Some(_) => self.open_late(id),
            }
        }
        if round.is_empty() {
            return;
        }
        let filters: Vec<String> = round.iter().map(|id| self.sources[id.slot].topic.subject.clone()).collect();
        let replay = self.replay.clone();
        self.reads.push(
            async move {
                let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
                let result = replay.last_values(&filters, 0, true).await;
                if result.as_ref().is_err_and(|error| *error != ReadError::TooWide) {
                    tokio::time::sleep(RETRY).await;
                }
                Done::Opened { sources: round, result }
            }
            .boxed(),
        );
    }

    /// Groups of sources that one request can read, each as it is opened now.
    pub(super) fn rounds(&self, slots: Vec<usize>) -> Vec<Vec<SourceId>> {
        let id = |slot: &usize| SourceId { slot: *slot, opening: self.sources[*slot].opening };
        let (patterns, exact): (Vec<usize>, Vec<usize>) =
            slots.into_iter().partition(|slot| self.sources[*slot].is_pattern());
        let mut rounds: Vec<Vec<_>> = exact.chunks(FILTERS).map(|some| some.iter().map(id).collect()).collect();
        rounds.extend(patterns.iter().map(|slot| vec![id(slot)]));
        rounds
    }

    pub(super) fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.get_mut(id.slot).filter(|found| found.opening == id.opening)
    }

    pub(super) fn on_read(&mut self, done: Done) {
        match done {
            Done::WideGoal { sources, goal } => self.on_wide_goal(sources, goal),
            Done::Opened { sources, result } => match result {
                Ok(values) => self.on_opened(&sources, values),
                Err(ReadError::TooWide) if sources.len() == 1 => self.open_wide(sources[0]),
                Err(ReadError::TooWide) => {
                    // Exact subjects whose values together are more than one answer holds.
                    let (some, others) = sources.split_at(sources.len() / 2);
                    self.open(some.to_vec());
                    self.open(others.to_vec());
                }
                Err(error) => {
                    let feeds = sources.len();
                    self.cannot_read.log(|others| tracing::warn!(%error, feeds, others, "cannot open feeds yet"));
                    for source in sources {
                        if self.source(source).is_some() {
                            self.to_open.push(source.slot);
                        }
                    }
                }
            },
            Done::Published { shard, ticket, stored } => self.on_published(shard, ticket, stored),
            Done::Audited(audited) => self.on_audited(audited),
            Done::Settled(settled) => self.on_settled(&settled),
            Done::Probed { newest, stream } => self.on_probed(newest, stream),
            Done::Filled { source, subject, until, result } => {
                let mut steps = std::mem::take(&mut self.steps);
                match (self.source(source), result) {
                    (None, _) => {}
                    (Some(filled), Ok(found)) => {
                        let count = found.messages.len() as u64;
                        filled.machine.filled(&subject, found.messages, found.kept_from, &mut steps);
                        self.metrics.fills.add(count);
                        self.take_steps(source.slot, steps);
                    }
                    (Some(_), Err(error)) => {
                        let name = &*subject;
                        self.cannot_read.log(|others| {
                            tracing::warn!(%error, subject = name, others, "cannot fill a hole yet");
                        });
                        self.fill(source, subject, until, RETRY);
                    }
                }
            }
            Done::LookedBack(answer) => self.on_looked_back(answer),
            Done::Epoch(epoch) => self.on_epoch(epoch),
            Done::Ticked { is_stored } => self.on_ticked(is_stored),
            Done::Moved => {}
        }
    }

    fn on_opened(&mut self, sources: &[SourceId], values: LastValues) {
        let mut by_subject: HashMap<&str, Vec<&Stored>> = HashMap::new();
        for message in &values.messages {
            by_subject.entry(&message.subject).or_default().push(message);
        }
        for &id in sources {
            let Some(source) = self.source(id) else {
                continue;
            };
            let snapshot: Vec<Stored> = if source.is_pattern() {
                values.messages.clone()
            } else {
                by_subject.get(&*source.topic.subject).into_iter().flatten().copied().cloned().collect()
            };
            if source.is_pattern() && snapshot.len() > self.config.limits.pattern_subjects {
                self.refuse(id);
                continue;
            }
            let mut steps = std::mem::take(&mut self.steps);
            self.sources[id.slot].machine.opened(values.up_to, &snapshot, &mut steps);
            self.sources[id.slot].newest = snapshot.iter().map(|message| message.seq).max().unwrap_or(0);
            self.schedule_audit(id.slot);
            for message in snapshot {
                if let Ok(publication) = self.publication(id.slot, message) {
                    self.sources[id.slot].remember(&publication);
                }
            }
            for member in self.sources[id.slot].members.clone() {
                self.say_opened(id.slot, member);
            }
            self.take_steps(id.slot, steps);
        }
    }

    pub(super) fn fill(&mut self, source: SourceId, subject: Arc<str>, until: u64, pause: Duration) {
        let Some(after) = self.source(source).map(|found| found.machine.have(&subject)) else {
            return;
        };
        let replay = self.replay.clone();
        self.reads.push(
            async move {
                tokio::time::sleep(pause).await;
                let result = replay.between(&subject, after, until).await;
                Done::Filled { source, subject, until, result }
            }
            .boxed(),
        );
    }

    pub(super) fn ask_epoch(&mut self) {
        if !is_connected(&self.reader) {
            return;
        }
        let (context, config) = (self.context.clone(), self.config.clone());
        let first = self.epoch.is_none().then(|| self.replay.clone());
        let ask = async move {
            let epoch = nats::epoch(&context, &config).await;
            if let (Ok(_), Some(replay)) = (&epoch, first) {
                // What every feed will need, tried before anybody comes: a user of NATS may lack a permission.
                let (barrier, read) = tokio::join!(replay.barrier(), replay.last_tick(&replay.reader));
                if [barrier.err(), read.err()].iter().any(|error| matches!(error, Some(ReadError::NoAnswer(_)))) {
                    return Done::Epoch(Err(Unknown::NoAnswer));
                }
            }
            Done::Epoch(epoch)
        };
        self.reads.push(ask.boxed());
    }

    pub(super) fn on_epoch(&mut self, answer: Result<Epoch, Unknown>) {
        let epoch = match answer {
            Ok(epoch) => epoch,
            Err(Unknown::Unusable(fault)) => {
                self.note_fault(Some(fault));
                return;
            }
            // Says nothing of the stream: the tick says whether it is there.
            Err(Unknown::NoAnswer) => {
                self.unanswered += u32::from(self.epoch.is_none());
                if self.unanswered == UNANSWERED {
                    let stream = &self.config.stream.name;
                    tracing::warn!(
                        stream,
                        "no answer about the stream, its barrier or Direct Get: is JetStream there, in this account and \
                         domain, with a leader, and may this user ask? It is tried again"
                    );
                }
                return;
            }
        };
        if self.epoch.is_some_and(|known| known != epoch) {
            tracing::warn!(%epoch, "the stream is another one: every feed is opened again");
            self.metrics.epoch_changes.add(1);
            for (slot, source) in &mut self.sources {
                self.openings += 1;
                source.reopen(self.openings);
                if !self.to_open.contains(&slot) {
                    self.to_open.push(slot);
                }
            }
        }
        if self.epoch.replace(epoch).is_none() {
            self.tell_tick();
        }
        self.note_fault(None);
    }
}
