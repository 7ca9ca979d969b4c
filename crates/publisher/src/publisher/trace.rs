//! Spans of publications: from accepted to answered, with the context in the message's headers for whoever receives it.
//!
//! Most messages have none, and pay one comparison for it.

use std::time::Duration;

use async_nats::HeaderMap;
use odin_telemetry::context::{self, Headers, SpanContext, TRACEPARENT, TRACESTATE};
use odin_telemetry::traces::{Span, SpanKind, Tracer};
use odin_telemetry::{KeyValue, Ratio};

use super::error::PublishError;
use super::message::{Message, Published};
use crate::subject::Subject;

/// Which publications are told as spans, and to whom.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Makes the spans. Whoever has made it shuts it down, after the publisher.
    pub tracer: Tracer,
    /// Of the messages that belong to no trace, how many begin one. Those of a sampled context are always told.
    pub ratio: Ratio,
}

/// A message that is traced, before it is accepted.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    tracer: Option<&'a Tracer>,
    parent: Option<Box<SpanContext>>,
}

/// A message that is traced, until it is settled.
#[derive(Debug)]
pub(crate) struct Trace {
    headers: Headers,
    /// None where only a caller's context is passed on.
    span: Option<Span>,
}

impl<'a> Plan<'a> {
    /// Whether the message is traced. Not, if its headers would then be too large: a trace costs no message.
    pub(super) fn of(traces: Option<&'a Traces>, message: &mut Message, max_bytes: usize) -> Option<Plan<'a>> {
        let parent = message.context.take().filter(|context| context.is_valid() && context.is_sampled());
        if parent.is_none() && !traces.is_some_and(|traces| traces.ratio.draw()) {
            return None;
        }
        let bytes = message.payload.len() + message.header_bytes() + context::MAX_HEADER_BYTES;
        (bytes <= max_bytes).then_some(Plan { tracer: traces.map(|traces| &traces.tracer), parent })
    }

    /// The message is accepted under this id.
    pub(super) fn begin(self, subject: &Subject, id: &str, payload_bytes: usize) -> Box<Trace> {
        let span = self.tracer.map(|tracer| {
            let attributes = vec![
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.operation.name", "publish"),
                KeyValue::new("messaging.destination.name", subject.as_str().to_owned()),
                KeyValue::new("messaging.message.id", id.to_owned()),
                KeyValue::new("messaging.message.body.size", i64::try_from(payload_bytes).unwrap_or(i64::MAX)),
            ];
            tracer.span(name(subject), SpanKind::Producer, self.parent.as_deref(), None, attributes)
        });
        let context = span.as_ref().map(Span::context).or(self.parent.as_deref());
        Box::new(Trace { headers: context.map(context::format).unwrap_or_default(), span })
    }
}

impl Trace {
    /// Writes the context into a message's headers, the same for each attempt.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.headers.traceparent.as_str());
        if let Some(state) = &self.headers.tracestate {
            headers.insert(TRACESTATE, state.as_str());
        }
    }

    /// The message is settled.
    pub(super) fn end(self, result: &Result<Published, PublishError>, attempts: u32) {
        let Some(mut span) = self.span else {
            return;
        };
        span.set(KeyValue::new("odin.attempts", i64::from(attempts)));
        match result {
            Ok(published) => {
                span.set(KeyValue::new("odin.sequence", i64::try_from(published.sequence).unwrap_or(i64::MAX)));
                span.set(KeyValue::new("odin.duplicate", published.duplicate));
                span.set(KeyValue::new("odin.ack_ms", milliseconds(published.latency)));
            }
            Err(error) => {
                span.set(KeyValue::new("error.type", error.cause()));
                span.fail(error.to_string());
            }
        }
        span.end();
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A span's name says what kind of thing was published: there must be few of them, so that no token or user is in it.
fn name(subject: &Subject) -> &'static str {
    let mut tokens = subject.as_str().split('.');
    match (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
        (Some("odin"), Some("tokens"), Some(_), Some("price"), None) => "publish price",
        (Some("odin"), Some("tokens"), Some(_), Some("volume"), None) => "publish volume",
        (Some("odin"), Some("tokens"), Some(_), Some("quote"), None) => "publish watchlist",
        (Some("odin"), Some("tokens"), Some("batch"), Some("update"), None) => "publish prices",
        (Some("odin"), Some("market"), ..) => "publish market",
        (Some("odin"), Some("signals"), ..) => "publish signals",
        (Some("odin"), Some("users"), ..) => "publish user",
        (Some("odin"), Some("system"), ..) => "publish system",
        _ => "publish",
    }
}

#[cfg(test)]
mod tests {
    use odin_telemetry::context::{TraceFlags, TraceState};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn message(context: Option<SpanContext>) -> Message {
        let message = Message::new(Subject::parse("odin.tokens.BTC.price").unwrap(), "1");
        Message { context: context.map(Box::new), ..message }
    }

    #[test]
    fn a_callers_context_is_passed_on_without_a_collector() {
        let parent = context::parse(PARENT, Some("a=b")).unwrap();
        let mut message = message(Some(parent));
        let trace = Plan::of(None, &mut message, 64 * 1024).unwrap().begin(&message.subject, "id", 1);
        let mut headers = HeaderMap::new();
        trace.write(&mut headers);
        assert_eq!(headers.get(TRACEPARENT).unwrap().as_str(), PARENT);
        assert_eq!(headers.get(TRACESTATE).unwrap().as_str(), "a=b");
    }

    #[test]
    fn what_is_not_sampled_has_no_trace() {
        let sampled = context::parse(PARENT, None).unwrap();
        let (trace, span) = (sampled.trace_id(), sampled.span_id());
        let unsampled = SpanContext::new(trace, span, TraceFlags::NOT_SAMPLED, true, TraceState::NONE);
        for context in [None, Some(unsampled), Some(SpanContext::NONE)] {
            assert!(Plan::of(None, &mut message(context), 64 * 1024).is_none());
        }
    }

    /// Checklist 49: a trace that would make its message too large.
    #[test]
    fn a_message_that_only_just_fits_is_not_traced() {
        let parent = context::parse(PARENT, None).unwrap();
        let mut large = message(Some(parent));
        let room = large.payload.len() + large.header_bytes() + context::MAX_HEADER_BYTES;
        assert!(Plan::of(None, &mut large.clone(), room).is_some());
        assert!(Plan::of(None, &mut large, room - 1).is_none());
    }

    #[test]
    fn names_are_few() {
        for (subject, expected) in [
            ("odin.tokens.BTC.price", "publish price"),
            ("odin.tokens.batch.update", "publish prices"),
            ("odin.users.alice.trades", "publish user"),
            ("odin.tokens.BTC.price.more", "publish"),
            ("odin", "publish"),
            ("other.tokens.BTC.price", "publish"),
        ] {
            assert_eq!(name(&Subject::parse(subject).unwrap()), expected, "{subject}");
        }
    }
}
