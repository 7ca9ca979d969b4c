//! Spans of what is fanned out, for publications that are traced: one for each of them, whatever the number of readers.

use odin_telemetry::{KeyValue, traces::Span};

use super::{Shard, fan_out::FanOut};
use crate::format::Format;

/// A span that has begun: the feed's slot, and the publication's place in the turn.
#[derive(Debug)]
pub(super) struct Traced {
    feed: u32,
    index: usize,
    span: Span,
    /// At head or not.
    subscribers: usize,
}

impl Shard {
    /// Begins the spans of this turn. Nearly always there are none, and nothing is allocated.
    pub(super) fn begin_traces(&self, turn: &FanOut) -> Vec<Traced> {
        let mut traced = Vec::new();
        for &slot in &turn.touched {
            let feed = self.feeds.at(slot);
            for (index, publication) in feed.turn.iter().enumerate() {
                let Some(trace) = &publication.trace else {
                    continue;
                };
                let subscribers = feed.subscribers.iter().map(Vec::len).sum();
                if subscribers > 0 {
                    let span = trace.fan_out(self.index, &publication.channel);
                    traced.push(Traced { feed: slot, index, span, subscribers });
                }
            }
        }
        traced
    }

    /// Ends them, before the turn is forgotten. Whoever stands at head now has been sent everything.
    pub(super) fn end_traces(&self, traced: Vec<Traced>) {
        for Traced { feed, index, mut span, subscribers } in traced {
            let feed = self.feeds.at(feed);
            let (mut deliveries, mut bytes) = (0, 0);
            for format in Format::ALL {
                let at_head = |slot: &&u32| self.connections[**slot as usize].outbox.is_none();
                let sent = feed.subscribers[format.index()].iter().filter(at_head).count();
                if let Some(publication) = feed.turn.get(index).filter(|_| sent > 0) {
                    bytes += sent * publication.frame(format).len();
                }
                deliveries += sent;
            }
            for (name, value) in
                [("odin.subscribers", subscribers), ("odin.deliveries", deliveries), ("odin.bytes", bytes)]
            {
                span.set(KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX)));
            }
            span.end();
        }
    }
}
