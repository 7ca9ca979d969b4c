//! The live path: from what NATS brings to what the shards are handed, by way of each source's order.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Bus,
    feed::{Step, Stored},
    replay::stored,
    source::SourceId,
    traces::Incoming,
};
use crate::{
    clock::now_ms,
    metrics::{Class, Fate},
    publication::Publication,
    queue::Item,
};

impl Bus {
    pub(super) fn on_live(&mut self, source: usize, message: &async_nats::Message) {
        self.metrics.live_received.add(1);
        self.metrics.live_bytes.add(message.payload.len() as u64);
        let Some(found) = self.sources.get_mut(source) else {
            return;
        };
        if found.proves_itself() {
            // Its subscription is about to end: the consumer brings it.
            return;
        }
        let Some(stored) = stored(message, &mut found.subjects) else {
            // Not from the stream: nobody else may publish here, and whoever did is not believed.
            self.metrics.unmapped.add(1);
            return;
        };
        if !std::mem::replace(&mut found.had_traffic, true) {
            let soon = Instant::now() + self.config.feeds.audit_interval.mul_f64(rand::random_range(0.5..1.0));
            found.audit_at = found.audit_at.min(soon);
        }
        let is_told = self.traces.as_mut().is_some_and(|traces| traces.has_room(&self.config.telemetry));
        let trace = if is_told { Incoming::of(message.headers.as_ref()) } else { None };
        self.take_live(source, stored, trace);
    }

    /// The next message of a feed has come, maybe as part of a trace.
    pub(super) fn take_live(&mut self, source: usize, message: Stored, trace: Option<Incoming>) {
        let since_ms = now_ms().saturating_sub(message.ts_ms).max(0).unsigned_abs();
        self.metrics.to_gateway.observe_us(since_ms.saturating_mul(1_000));
        let found = &mut self.sources[source];
        let of = (found.opening, found.members.len());
        let traced = trace.zip(self.traces.as_mut());
        let key = traced.and_then(|(trace, traces)| traces.receive(trace, &message, of, &self.config.telemetry));
        let mut steps = std::mem::take(&mut self.steps);
        found.machine.live(message, &mut steps);
        if let (Some(key), Some(traces)) = (key, &mut self.traces) {
            traces.judge(key, &steps);
        }
        self.take_steps(source, steps);
    }

    pub(super) fn take_steps(&mut self, source: usize, mut steps: Vec<Step>) {
        for step in steps.drain(..) {
            match step {
                Step::Deliver(message) => self.deliver(source, message),
                Step::Duplicate => {
                    let class = Class::from(self.sources[source].topic.mode);
                    self.metrics.received.of(class).add(1);
                    self.metrics.sorted.of((class, Fate::Duplicate)).add(1);
                    self.metrics.duplicates_dropped.add(1);
                }
                Step::Fill { subject, after, until } => {
                    self.metrics.chain_gaps.add(1);
                    tracing::debug!(subject = &*subject, after, until, "filling a hole");
                    let opening = self.sources[source].opening;
                    self.fill(SourceId { slot: source, opening }, subject, until, Duration::ZERO);
                }
                Step::Lost { subject, after, until } => {
                    let void = Stored { subject, seq: until, last: Some(after), ts_ms: 0, payload: None };
                    self.deliver(source, void);
                }
                Step::Verified(up_to) => {
                    for &(shard, feed) in &self.sources[source].members {
                        self.out[shard as usize].push(Item::Verified { feed, up_to });
                    }
                    let opening = self.sources[source].opening;
                    self.prove(SourceId { slot: source, opening }, None);
                }
                Step::Reopen => {
                    self.openings += 1;
                    self.sources[source].opening = self.openings;
                    self.to_open.push(source);
                }
            }
        }
        self.steps = steps;
    }

    pub(super) fn publication(&mut self, source: usize, message: Stored) -> Result<Arc<Publication>, Fate> {
        let epoch = self.epoch.ok_or(Fate::Dropped)?;
        self.sources[source].publication(message, epoch, &self.config.limits, &self.metrics)
    }

    pub(super) fn deliver(&mut self, source: usize, message: Stored) {
        let class = Class::from(self.sources[source].topic.mode);
        self.metrics.received.of(class).add(1);
        let key = (self.sources[source].opening, message.seq);
        let span = self.traces.as_mut().and_then(|traces| traces.take(key));
        let mut publication = self.publication(source, message);
        if let (Some(span), Some(traces)) = (span, &mut self.traces) {
            traces.deliver(span, publication.as_mut().ok());
        }
        let publication = match publication {
            Ok(publication) => publication,
            Err(fate) => {
                self.metrics.sorted.of((class, fate)).add(1);
                return;
            }
        };
        self.metrics.sorted.of((class, Fate::Delivered)).add(1);
        self.metrics.delivered.add(1);
        self.sources[source].remember(&publication);
        for &(shard, feed) in &self.sources[source].members {
            self.out[shard as usize].push(Item::Publish { feed, publication: publication.clone() });
        }
    }
}
