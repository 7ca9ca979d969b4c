//! Patterns over more subjects than Direct Get reads at once: one push consumer for each, shared by
//! everybody who wants it.
//!
//! Such a feed has no core subscription. A [`Task`] of its own reads the snapshot and then follows the
//! stream by an ordered push consumer; what it says comes by one bounded channel, in order. While the
//! sequencer is busy the task waits, leaves the consumer's flow control unanswered, and the server
//! waits too. To shards and clients there is no difference.
//!
//! # Why nothing is missing
//! *W* is a sequence such that every message of the pattern up to W was delivered or is older than the
//! snapshot. A subject's *have* is the larger of W and the last sequence delivered of it.
//!
//! 1. **Snapshot.** One `STREAM.INFO` with the pattern as `subjects_filter` gives the stream's last
//!    sequence L and, read by the server after it, the list of subjects. So every subject that has a
//!    message up to L is listed, or has none any more. The last values are read by `multi_last` over
//!    the listed names, some at a time, each time from a replica that has applied L at least. Values
//!    above L are left out: they, and whatever is before them, come by the consumer. What is left is
//!    the pattern as of W = L: of a subject without a message above L its last one, of the others
//!    nothing, because what they owe a newcomer is newer. No answer needs to be fresh for this; a
//!    barrier before the first only sees to it that the snapshot is.
//! 2. **Following.** A consumer with a start sequence of W + 1 and the pattern as filter is sent every
//!    stored match from there on, in the order of the stream, each with the next consumer sequence.
//!    The task takes a message only with the next consumer sequence, so what it has taken is a prefix,
//!    and the sequence of the last is the new W. A number left out, in a message or a heartbeat, ends
//!    the consumer. So the feed has the order of the stream from its first message on, across subjects
//!    too.
//! 3. **Beginning again.** A consumer that ended, fell silent or was deleted is replaced by one that
//!    starts at W + 1, which is 2. with a larger W. This is independent of why: a leader killed, a
//!    reconnect, a slow consumer. The library's ordered consumer is not used because before its first
//!    message it would start again from the stream's first one, and because it waits longer.
//! 4. **The stream is the same.** After each creation, and while following, the stream's epoch is
//!    compared with the one the feed was opened for. The consumer is deleted with its stream, so as
//!    long as the epoch is found after it was created, it reads the stream that W belongs to.
//! 5. **Nothing was dropped by the stream before it was read.** A consumer passes over what retention
//!    has removed, without a word. Limits of age, bytes and messages drop the oldest first, so a
//!    message was there when it was passed if the first sequence *afterwards* is not above it. The task
//!    asks for the first sequence every [`task::CHECK`] and compares it with the W of the time before;
//!    for a limit of messages for each subject see [`backlog`]. What cannot be proven ends in
//!    [`Word::Lost`]: the feed begins anew, and clients are told.
//!
//! W rises on a quiet pattern too. A heartbeat carries the number of the consumer's last message and
//! the stream sequence it has looked at last; when the task has all up to that number, W is that
//! sequence. (The tick as a second filter would do as well, but with several filters the server walks
//! all subjects for each message: 1,500 messages a second instead of 7,700, in a debug build.)
//!
//! The sequence that precedes each message of its subject, which core messages carry, is here the last
//! that was delivered of it: by 2. there is none in between.
//!
//! # Bounds
//! Subjects: `limits.pattern_subjects`, at the opening and while live. Messages between a task and the
//! sequencer: [`WORDS`] batches. On the wire: the server's flow control, 32 MiB for each consumer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use odin_protocol::Epoch;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Bus,
    feed::Stored,
    reads::{Done, RETRY},
    replay::ReadError,
    source::{Carrier, Proof, SourceId},
    traces::Incoming,
};

mod backlog;
mod consumer;
mod link;
mod snapshot;
mod task;

pub(super) use link::{Facts, Link};
pub(super) use snapshot::jittered;
use task::Task;

/// The most subjects that Direct Get reads the last values of in one request.
const NARROW: usize = 1024;

/// Patterns remembered as wide.
const REMEMBERED: usize = 256;

/// Batches that may wait for the sequencer, of all wide feeds together.
const WORDS: usize = 16;

/// A feed that has begun anew because of a loss does not do so again sooner: each time, everybody gets
/// a snapshot of all its subjects.
const LEAST_LIFE: Duration = Duration::from_secs(5);

/// What a task says of its feed.
#[derive(Debug)]
pub(super) enum Word {
    /// Last values, some of them, and subjects whose next message does not tell what was before it:
    /// their last value is newer than the snapshot, has this sequence, and comes behind it.
    Values { values: Vec<Stored>, newer: Vec<(Arc<str>, u64)> },
    /// Those were all: everything up to here is in them or older.
    Opened { up_to: u64, subjects: usize },
    /// The next messages of the stream, in its order, or none. Everything up to `up_to` has come;
    /// `is_news` when subscribers should know. `traces` are those of some of them, by their sequences.
    Live { messages: Vec<Stored>, traces: HashMap<u64, Incoming>, up_to: u64, is_news: bool },
    /// Something may have been dropped before it was read.
    Lost,
    /// There are more subjects than a pattern may cover.
    TooWide,
    /// The stream seems to be another one.
    OtherStream,
}

/// What the bus holds for all wide feeds.
#[derive(Debug)]
pub(super) struct Wide {
    pub(super) link: Arc<Link>,
    /// Filters that were found to be wide, so that they are not asked about again.
    known: HashSet<Box<str>>,
    pub(super) say: mpsc::Sender<(SourceId, Word)>,
    /// In order for each feed.
    pub(super) heard: mpsc::Receiver<(SourceId, Word)>,
}

impl Wide {
    pub(super) fn new(link: Link) -> Self {
        let (say, heard) = mpsc::channel(WORDS);
        Self { link: Arc::new(link), known: HashSet::new(), say, heard }
    }

    /// Whether the filter was found to be wide.
    pub(super) fn knows(&self, filter: &str) -> bool {
        self.known.contains(filter)
    }

    fn learn(&mut self, filter: &str) {
        if self.known.len() >= REMEMBERED
            && let Some(any) = self.known.iter().next().cloned()
        {
            self.known.remove(&any);
        }
        self.known.insert(filter.into());
    }
}

/// What a source holds of its task. Dropped, it ends the task, and the task its consumer.
#[derive(Debug, Default)]
pub(super) struct Following {
    stop: Option<oneshot::Sender<()>>,
    /// Subjects and sequences of the snapshot while it comes.
    snapshot: Vec<Stored>,
    /// Subjects of which the message before the next one is not known.
    unknown: HashSet<Arc<str>>,
    lost_at: Option<Instant>,
}

impl Following {
    /// Ends the task, for another one that ends when the receiver says so, and begins only after so long.
    pub(super) fn begin(&mut self) -> (oneshot::Receiver<()>, Duration) {
        let (stop, stopped) = oneshot::channel();
        self.stop();
        self.stop = Some(stop);
        (stopped, self.lost_at.map_or(Duration::ZERO, |at| LEAST_LIFE.saturating_sub(at.elapsed())))
    }

    /// Ends the task.
    pub(super) fn stop(&mut self) {
        self.stop = None;
        self.snapshot = Vec::new();
        self.unknown = HashSet::new();
    }

    /// Whether nobody knows what was before the next message of the subject. It is known afterwards.
    pub(super) fn take_unknown(&mut self, subject: &str) -> bool {
        self.unknown.remove(subject)
    }
}

impl Bus {
    /// Direct Get cannot read all of the pattern at once: a consumer does.
    pub(super) fn open_wide(&mut self, id: SourceId) {
        let (Some(epoch), Some(source)) = (self.epoch, self.source(id)) else {
            return;
        };
        // What the core subscription brought is forgotten: the consumer brings it again.
        source.reopen(id.opening);
        self.follow(id, epoch, None);
    }

    /// A live pattern has outgrown Direct Get: from its watermark on, a consumer carries it. What came
    /// by the core subscription from above the watermark comes again and is dropped.
    pub(super) fn widen(&mut self, id: SourceId) {
        let (Some(epoch), Some(source)) = (self.epoch, self.source(id)) else {
            return;
        };
        if source.is_pattern() && source.machine.is_live() && !source.is_wide() {
            let reached = source.machine.watermark();
            self.follow(id, epoch, Some(reached));
            self.prove_wide(Duration::ZERO);
        }
    }

    /// Messages may have been lost, or come late: wide feeds are proven again when they have come as
    /// far as the leader is now.
    pub(super) fn prove_wide(&mut self, pause: Duration) {
        let mut sources = Vec::new();
        for (slot, source) in self.sources.iter_mut().filter(|(_, source)| source.is_wide()) {
            source.proof = Proof::Asked;
            sources.push(SourceId { slot, opening: source.opening });
        }
        if sources.is_empty() {
            return;
        }
        let replay = self.replay.clone();
        self.reads.push(
            async move {
                tokio::time::sleep(pause).await;
                Done::WideGoal { sources, goal: replay.barrier().await }
            }
            .boxed(),
        );
    }

    pub(super) fn on_wide_goal(&mut self, sources: Vec<SourceId>, goal: Result<u64, ReadError>) {
        match goal {
            Ok(goal) => sources.into_iter().for_each(|id| self.prove(id, Some(goal))),
            Err(error) => {
                tracing::debug!(%error, "cannot say yet how far wide feeds must come");
                self.prove_wide(snapshot::jittered(RETRY));
            }
        }
    }

    fn follow(&mut self, id: SourceId, epoch: Epoch, reached: Option<u64>) {
        let source = &mut self.sources[id.slot];
        let filter = source.topic.subject.clone();
        if !source.is_wide() {
            tracing::info!(filter, "the pattern is wide: followed by a consumer");
            source.carrier = Carrier::Wide(Following::default());
            self.metrics.wide_feeds.add(1);
        }
        let Carrier::Wide(following) = &mut source.carrier else {
            return;
        };
        let (stopped, rest) = following.begin();
        let task = Task::new(
            (id, filter.clone(), epoch),
            (self.replay.clone(), self.wide.link.clone()),
            (self.config.clone(), self.metrics.clone()),
            self.wide.say.clone(),
        );
        self.wide.learn(&filter);
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            task.run(reached, stopped).await;
        });
    }

    pub(super) fn on_wide(&mut self, id: SourceId, word: Word) {
        if self.source(id).is_none() {
            return;
        }
        match word {
            Word::Values { values, newer } => self.on_wide_values(id, values, newer),
            Word::Opened { up_to, subjects } => self.on_wide_opened(id, up_to, subjects),
            Word::Live { messages, traces, up_to, is_news } => {
                self.on_wide_live(id, (messages, traces), up_to, is_news)
            }
            Word::Lost => {
                self.openings += 1;
                let source = &mut self.sources[id.slot];
                tracing::warn!(filter = source.topic.subject, "the feed begins anew: not all of it can be proven");
                source.reopen(self.openings);
                if let Some(following) = source.carrier.following() {
                    following.lost_at = Some(Instant::now());
                }
                self.to_open.push(id.slot);
            }
            Word::TooWide => self.refuse(id),
            Word::OtherStream => self.ask_epoch(),
        }
    }

    fn on_wide_values(&mut self, id: SourceId, values: Vec<Stored>, newer: Vec<(Arc<str>, u64)>) {
        let sequences = values.iter().map(|value| value.seq).chain(newer.iter().map(|(_, seq)| *seq));
        let newest = sequences.max().unwrap_or(0);
        let source = &mut self.sources[id.slot];
        source.newest = source.newest.max(newest);
        for message in values {
            let seen = Stored { payload: None, ..message.clone() };
            if let Ok(publication) = self.publication(id.slot, message) {
                self.sources[id.slot].remember(&publication);
            }
            if let Some(following) = self.sources[id.slot].carrier.following() {
                following.snapshot.push(seen);
            }
        }
        if let Some(following) = self.sources[id.slot].carrier.following() {
            following.unknown.extend(newer.into_iter().map(|(subject, _)| subject));
        }
    }

    fn on_wide_opened(&mut self, id: SourceId, up_to: u64, subjects: usize) {
        let source = &mut self.sources[id.slot];
        if subjects < NARROW {
            // The next one to open it may find that it is narrow again.
            self.wide.known.remove(source.topic.subject.as_str());
        }
        let Some(following) = source.carrier.following() else {
            return;
        };
        let snapshot = std::mem::take(&mut following.snapshot);
        // Nothing was held back: what follows comes behind this.
        source.machine.opened(up_to, &snapshot, &mut Vec::new());
        for member in source.members.clone() {
            self.say_opened(id.slot, member);
        }
    }

    fn on_wide_live(
        &mut self,
        id: SourceId,
        (messages, mut traces): (Vec<Stored>, HashMap<u64, Incoming>),
        up_to: u64,
        is_news: bool,
    ) {
        for message in messages {
            self.metrics.live_received.add(1);
            self.metrics.live_bytes.add(message.size() as u64);
            let trace = if traces.is_empty() { None } else { traces.remove(&message.seq) };
            self.take_live(id.slot, message, trace);
        }
        let source = &mut self.sources[id.slot];
        if source.subject_count() > self.config.limits.pattern_subjects {
            self.refuse(id);
        } else if is_news {
            // As an audit that found nothing missing.
            let mut steps = std::mem::take(&mut self.steps);
            source.machine.audited(up_to, &[], &mut steps);
            self.take_steps(id.slot, steps);
        }
    }
}
