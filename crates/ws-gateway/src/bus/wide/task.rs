//! The life of a wide feed beside the sequencer: its snapshot, then one consumer after another.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    ops::ControlFlow,
    pin::Pin,
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
    Word,
    backlog::Backlog,
    consumer::{Broken, Consumer, Delivered, Heard},
    link::{Facts, Link},
    snapshot::{LastOfEach, Part, jittered},
};
use crate::{
    bus::{
        feed::Stored,
        reads::RETRY,
        replay::{ReadError, Replay},
        source::SourceId,
        traces::Incoming,
    },
    config::Config,
    metrics::BusMetrics,
};

/// How often the stream is asked what it still keeps. Retention must be longer than twice this.
pub(super) const CHECK: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to have a consumer.
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Attempts after which the connection is blamed.
const ATTEMPTS: u32 = 4;

/// Traces of one batch; the sequencer may still tell fewer.
const BATCH_TRACES: usize = 16;

/// Messages handed over at once, and bytes: as much as the sequencer may spend on one feed in a turn.
const BATCH_MESSAGES: usize = 256;
const BATCH_BYTES: usize = 256 * 1024;

/// How often subscribers hear how far their feed is complete, while messages come.
const NEWS: Duration = Duration::from_secs(1);

/// See the module. Everything that it may not say any more, because the sequencer is gone, ends it.
#[derive(Debug)]
pub(super) struct Task {
    id: SourceId,
    filter: String,
    epoch: Epoch,
    replay: Arc<Replay>,
    link: Arc<Link>,
    config: Arc<Config>,
    metrics: Arc<BusMetrics>,
    say: mpsc::Sender<(SourceId, Word)>,
    /// Each subject's name once.
    subjects: HashSet<Arc<str>>,
    /// Everything of the pattern up to here was handed over.
    reached: u64,
    /// The same, but as of when the stream was asked what it keeps, and kept all behind it.
    proven: u64,
    backlog: Backlog,
    /// The consumer that exists, or may exist.
    consumer: Option<String>,
}

/// What has come and not yet been handed over.
#[derive(Debug, Default)]
struct Batch {
    messages: Vec<Stored>,
    /// Of some of them.
    traces: HashMap<u64, Incoming>,
    bytes: usize,
    up_to: u64,
    /// Nothing more has come: a good time to say how far the feed is complete.
    is_news: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.messages.len() >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES
    }
}

/// The task has said its last word, or nobody listens any more.
struct Over;

type Checking = Pin<Box<dyn Future<Output = Option<Facts>> + Send>>;

impl Task {
    pub(super) fn new(
        (id, filter, epoch): (SourceId, String, Epoch),
        (replay, link): (Arc<Replay>, Arc<Link>),
        (config, metrics): (Arc<Config>, Arc<BusMetrics>),
        say: mpsc::Sender<(SourceId, Word)>,
    ) -> Self {
        let (subjects, backlog) = (HashSet::new(), Backlog::default());
        Self {
            id,
            filter,
            epoch,
            replay,
            link,
            config,
            metrics,
            say,
            subjects,
            reached: 0,
            proven: 0,
            backlog,
            consumer: None,
        }
    }

    /// Follows the stream behind `reached`, or after a snapshot, until `stop` is sent or dropped.
    pub(super) async fn run(mut self, reached: Option<u64>, stop: oneshot::Receiver<()>) {
        tokio::select! {
            _ = stop => {}
            _ = self.live(reached) => {}
        }
        // Best effort: it would be removed after a while in any case.
        if let Some(name) = self.consumer.take() {
            self.delete(name).await;
        }
    }

    async fn live(&mut self, reached: Option<u64>) -> Result<(), Over> {
        self.reached = match reached {
            Some(reached) => reached,
            None => self.open().await?,
        };
        let mut attempts = 0;
        loop {
            let before = self.reached;
            let broken = match self.attach().await? {
                ControlFlow::Continue(consumer) => self.follow(consumer).await?,
                ControlFlow::Break(broken) => broken,
            };
            if self.reached > before {
                // It was of use.
                attempts = 0;
            }
            tracing::warn!(filter = self.filter, %broken, reached = self.reached, "consumer of a wide feed");
            self.metrics.wide_restarts.add(1);
            if let Some(name) = self.consumer.take() {
                let (link, limit) = (self.link.clone(), self.config.nats.request_timeout);
                tokio::spawn(delete(link, name, limit));
            }
            if attempts > 0 {
                tokio::time::sleep(jittered((RETRY * attempts).min(LONGEST_RETRY))).await;
            }
            attempts += 1;
            if attempts % ATTEMPTS == 0 {
                self.link.move_on().await;
            }
        }
    }

    async fn tell(&self, word: Word) -> Result<(), Over> {
        self.say.send((self.id, word)).await.map_err(|_| Over)
    }

    /// Says the last word and waits for the end.
    async fn end(&self, word: Word) -> Over {
        match self.tell(word).await {
            // Whoever hears it stops the task.
            Ok(()) => std::future::pending().await,
            Err(over) => over,
        }
    }

    /// The snapshot. Gives the sequence up to which it is complete.
    async fn open(&mut self) -> Result<u64, Over> {
        let census = loop {
            match self.replay.census(&self.filter, self.config.limits.pattern_subjects).await {
                Ok(census) => break census,
                Err(ReadError::TooWide) => return Err(self.end(Word::TooWide).await),
                Err(error) => tracing::warn!(%error, filter = self.filter, "cannot open a wide feed yet"),
            }
            tokio::time::sleep(jittered(RETRY)).await;
        };
        let (up_to, subjects) = (census.up_to, census.subjects.len());
        let mut last = LastOfEach::of(census);
        while let Some(Part { mut values, mut newer }) = last.next(&self.replay).await {
            let newer_subjects = newer.iter_mut().map(|(subject, _)| subject);
            for subject in values.iter_mut().map(|value| &mut value.subject).chain(newer_subjects) {
                *subject = self.name(subject);
            }
            self.tell(Word::Values { values, newer }).await?;
        }
        self.tell(Word::Opened { up_to, subjects }).await?;
        Ok(up_to)
    }

    fn name(&mut self, subject: &str) -> Arc<str> {
        match self.subjects.get(subject) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = subject.into();
                self.subjects.insert(new.clone());
                new
            }
        }
    }

    /// A consumer of everything behind what was reached, of the right stream, which still had it all
    /// when the consumer was there.
    async fn attach(&mut self) -> Result<ControlFlow<Broken, Consumer>, Over> {
        let name = format!("odin-wide-{}", uuid::Uuid::now_v7().simple());
        self.consumer = Some(name.clone());
        let consumer = match Consumer::create(self.link.clone(), &name, &self.filter, self.reached + 1).await {
            Ok(consumer) => consumer,
            Err(broken) => return Ok(ControlFlow::Break(broken)),
        };
        self.proven = self.reached;
        let facts = match self.link.facts().await {
            Ok(facts) => facts,
            Err(error) => return Ok(ControlFlow::Break(Broken::Unknown(error))),
        };
        self.backlog = Backlog::begin(facts.most_of_a_subject);
        match self.judge(facts, self.reached).await? {
            ControlFlow::Continue(()) => Ok(ControlFlow::Continue(consumer)),
            ControlFlow::Break(broken) => Ok(ControlFlow::Break(broken)),
        }
    }

    /// What the stream says of itself, and `reached` as of when it was asked.
    async fn judge(&mut self, facts: Facts, reached: u64) -> Result<ControlFlow<Broken>, Over> {
        if facts.epoch != self.epoch {
            self.tell(Word::OtherStream).await?;
            return Ok(ControlFlow::Break(Broken::OtherStream));
        }
        if facts.first_seq > self.proven + 1 {
            return Err(self.end(Word::Lost).await);
        }
        self.proven = reached;
        Ok(ControlFlow::Continue(()))
    }

    /// Takes what the consumer brings for as long as nothing is wrong with it.
    async fn follow(&mut self, mut consumer: Consumer) -> Result<Broken, Over> {
        let mut pause = Box::pin(tokio::time::sleep(CHECK));
        let mut checking: Option<(u64, Checking)> = None;
        let mut told_at = Instant::now();
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                heard = consumer.next() => match heard {
                    Ok(heard) => self.take(heard, &mut batch).await?,
                    Err(broken) => return Ok(broken),
                },
                () = &mut pause, if checking.is_none() => {
                    let link = self.link.clone();
                    // Asked from here on: what was reached before is what the answer is about.
                    checking = Some((self.reached, Box::pin(async move { link.facts().await.ok() })));
                }
                facts = async { (&mut checking.as_mut().expect("guarded").1).await }, if checking.is_some() => {
                    let reached = checking.take().map_or(0, |(reached, _)| reached);
                    pause = Box::pin(tokio::time::sleep(CHECK));
                    if let Some(facts) = facts
                        && let ControlFlow::Break(broken) = self.judge(facts, reached).await?
                    {
                        return Ok(broken);
                    }
                }
            }
            while !batch.is_full()
                && let Some(heard) = consumer.next().now_or_never()
            {
                match heard {
                    Ok(heard) => self.take(heard, &mut batch).await?,
                    // What came before is not handed over: the next consumer brings it again.
                    Err(broken) => return Ok(broken),
                }
            }
            let Batch { messages, traces, up_to, is_news, .. } = batch;
            if up_to > self.reached {
                self.reached = up_to;
                let is_news = is_news || told_at.elapsed() >= NEWS;
                if is_news {
                    told_at = Instant::now();
                }
                self.tell(Word::Live { messages, traces, up_to, is_news }).await?;
            }
        }
    }

    async fn take(&mut self, heard: Heard, batch: &mut Batch) -> Result<(), Over> {
        let Delivered { message, seq, ts_ms, pending } = match heard {
            Heard::Message(delivered) => delivered,
            Heard::Nothing { seq, is_idle } => {
                if is_idle {
                    self.backlog.settle(0);
                }
                batch.up_to = batch.up_to.max(seq);
                batch.is_news = true;
                return Ok(());
            }
        };
        batch.up_to = seq;
        let subject = self.name(&message.subject);
        if self.backlog.has_lost(&subject, pending) {
            return Err(self.end(Word::Lost).await);
        }
        let headers = message.headers.as_ref();
        let is_marker = headers.is_some_and(|headers| headers.get(async_nats::header::NATS_MARKER_REASON).is_some());
        // Copied: the message is a slice of the connection's read buffer and would keep all of it.
        let payload = (!is_marker).then(|| bytes::Bytes::copy_from_slice(&message.payload));
        batch.bytes += message.payload.len();
        if self.config.telemetry.otlp_endpoint.is_some()
            && batch.traces.len() < BATCH_TRACES
            && let Some(trace) = Incoming::of(headers)
        {
            batch.traces.insert(seq, trace);
        }
        batch.messages.push(Stored { subject, seq, last: None, ts_ms, payload });
        Ok(())
    }

    async fn delete(&self, name: String) {
        delete(self.link.clone(), name, self.config.nats.request_timeout).await;
    }
}

async fn delete(link: Arc<Link>, name: String, limit: Duration) {
    let deleted = link.context.delete_consumer_from_stream(&name, link.stream());
    if let Ok(Err(error)) = tokio::time::timeout(limit, deleted).await {
        tracing::debug!(%error, name, "the consumer was not deleted");
    }
}
