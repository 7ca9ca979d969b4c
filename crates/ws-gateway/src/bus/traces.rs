//! What the sequencer tells of traced messages: one span for each feed that takes one, from its receipt until it is in
//! the shards' queues.
//!
//! Who may publish may also say that everything is traced, so there are bounds: [`Budget`] for the spans of a second,
//! [`HELD`] for messages that wait behind a hole.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::{HeaderMap, header::HeaderName};
use odin_telemetry::{
    KeyValue,
    context::{self, SpanContext, TRACEPARENT, TRACESTATE},
    traces::{Span, SpanKind, Tracer},
};
use tokio::time::Instant;

use super::feed::{Step, Stored};
use crate::{
    config::{Config, Telemetry},
    publication::{Body, Publication},
    traces::Trace,
};

/// Traced messages that wait to be delivered; more are not traced.
const HELD: usize = 1_024;

/// A message that was not delivered for so long will not be: its feed has begun anew, or is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A feed's opening and a sequence.
pub(super) type Key = (u64, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Traces {
    tracer: Tracer,
    gateway: Box<str>,
    stream: Box<str>,
    budget: Budget,
    received: HashMap<Key, Received>,
    /// Delivered, and not yet in the shards' queues.
    delivered: Vec<Span>,
}

/// A context that came with a message.
#[derive(Debug)]
pub(super) struct Incoming {
    context: SpanContext,
    at: SystemTime,
}

#[derive(Debug)]
struct Received {
    span: Span,
    since: Instant,
}

/// How many spans may still begin in this second.
#[derive(Debug)]
struct Budget {
    second: Instant,
    used: u32,
}

impl Incoming {
    /// The sampled context in a message's headers, if there is one.
    pub(super) fn of(headers: Option<&HeaderMap>) -> Option<Incoming> {
        let headers = headers?;
        let parent = headers.get(HeaderName::from_static(TRACEPARENT))?.as_str();
        if !context::is_sampled(parent) {
            return None;
        }
        let state = headers.get(HeaderName::from_static(TRACESTATE)).map(|state| state.as_str());
        let context = context::parse(parent, state)?;
        Some(Incoming { context, at: SystemTime::now() })
    }
}

impl Traces {
    pub(super) fn new(tracer: Tracer, gateway: &str, config: &Config) -> Self {
        Traces {
            tracer,
            gateway: gateway.into(),
            stream: config.stream.name.as_str().into(),
            budget: Budget { second: Instant::now(), used: 0 },
            received: HashMap::new(),
            delivered: Vec::new(),
        }
    }

    /// Whether another one can be told in this second: if not, nobody need look at its headers.
    pub(super) fn has_room(&mut self, config: &Telemetry) -> bool {
        self.received.len() < HELD && self.budget.left(config.spans_per_second) > 0
    }

    /// A traced message has come for a feed that so many shards want. None: it is not told.
    pub(super) fn receive(
        &mut self,
        Incoming { context, at }: Incoming,
        message: &Stored,
        (opening, shards): (u64, usize),
        config: &Telemetry,
    ) -> Option<Key> {
        let key = (opening, message.seq);
        // Its own span, and one of each shard.
        let spans = u32::try_from(shards + 1).unwrap_or(u32::MAX);
        // The same one again, while the first still waits: that is the one that is told.
        if self.received.contains_key(&key)
            || !config.ratio().takes(context.trace_id())
            || !self.has_room(config)
            || !self.budget.take(spans, config.spans_per_second)
        {
            return None;
        }
        let attributes = vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.type", "receive"),
            KeyValue::new("messaging.destination.name", message.subject.clone()),
            KeyValue::new("messaging.message.body.size", number(message.size())),
            KeyValue::new("odin.stream", self.stream.to_string()),
            KeyValue::new("odin.sequence", number(message.seq)),
            KeyValue::new("odin.gateway", self.gateway.to_string()),
        ];
        let span = self.tracer.span("receive", SpanKind::Consumer, Some(&context), Some(at), attributes);
        self.received.insert(key, Received { span, since: Instant::now() });
        Some(key)
    }

    /// What its feed makes of a message just received.
    pub(super) fn judge(&mut self, key: Key, steps: &[Step]) {
        let is_delivered = |step: &Step| matches!(step, Step::Deliver(message) if message.seq == key.1);
        if steps.iter().any(is_delivered) {
            return;
        }
        if steps.iter().any(|step| matches!(step, Step::Duplicate)) {
            if let Some(Received { mut span, .. }) = self.received.remove(&key) {
                span.set(KeyValue::new("odin.outcome", "duplicate"));
                span.end();
            }
        } else if let Some(Received { span, .. }) = self.received.get_mut(&key) {
            // Behind a hole that is being filled, or because the feed is still opened.
            span.event("held", Vec::new());
        }
    }

    /// The span of a message that is delivered now.
    pub(super) fn take(&mut self, key: Key) -> Option<Span> {
        if self.received.is_empty() {
            return None;
        }
        self.received.remove(&key).map(|received| received.span)
    }

    /// The message has become this, or nothing; its span ends with [`handed`](Self::handed).
    pub(super) fn deliver(&mut self, mut span: Span, publication: Option<&mut Arc<Publication>>) {
        let outcome = match publication.as_deref() {
            None => "not_for_this_feed",
            Some(publication) => match publication.body {
                Body::Value(_) => "delivered",
                Body::Void(_) => "gap",
            },
        };
        span.set(KeyValue::new("odin.outcome", outcome));
        if let Some(publication) = publication {
            span.set(KeyValue::new("odin.channel", publication.channel.clone()));
            if let Some(publication) = Arc::get_mut(publication) {
                publication.trace = Some(Trace::below(&span, &self.tracer));
            }
        }
        self.delivered.push(span);
    }

    /// The shards have what was delivered.
    pub(super) fn handed(&mut self) {
        self.delivered.drain(..).for_each(Span::end);
    }

    /// Lets go of what will never be delivered.
    pub(super) fn sweep(&mut self) {
        for (_, Received { mut span, .. }) in
            self.received.extract_if(|_, received| received.since.elapsed() >= PATIENCE)
        {
            span.set(KeyValue::new("odin.outcome", "not_delivered"));
            span.end();
        }
    }
}

impl Budget {
    /// Spans that may still begin.
    fn left(&mut self, per_second: u32) -> u32 {
        if self.second.elapsed() >= Duration::from_secs(1) {
            *self = Budget { second: Instant::now(), used: 0 };
        }
        per_second.saturating_sub(self.used)
    }

    fn take(&mut self, spans: u32, per_second: u32) -> bool {
        // One message may always be told, or a gateway with more shards than spans would tell nothing.
        let may = self.left(per_second) >= spans || self.used == 0;
        // What has no room ends the second: who comes next has none either, and need not be looked at.
        self.used = if may { self.used.saturating_add(spans) } else { u32::MAX };
        may
    }
}

fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(parent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, parent);
        headers
    }

    /// Checklist 49: a publisher's header that is no context.
    #[test]
    fn hears_only_what_is_sampled() {
        assert!(Incoming::of(Some(&headers("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))).is_some());
        for parent in ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "nonsense", ""] {
            assert!(Incoming::of(Some(&headers(parent))).is_none(), "{parent}");
        }
        assert!(Incoming::of(Some(&HeaderMap::new())).is_none());
        assert!(Incoming::of(None).is_none());
    }

    /// A publisher that has everything traced.
    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_spans_and_no_more() {
        let mut budget = Budget { second: Instant::now(), used: 0 };
        assert_eq!((0..1_000).filter(|_| budget.take(3, 100)).count(), 33);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..1_000).filter(|_| budget.take(3, 100)).count(), 33);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..1_000).filter(|_| budget.take(65, 10)).count(), 1);
    }
}
