//! Spans of publications: what a collector is told, what is in the stream, and what happens without a collector.

use std::time::Duration;

use odin_publisher::telemetry::collector::{Answer, Collector};
use odin_publisher::telemetry::traces::{Service, Tracer};
use odin_publisher::telemetry::{Ratio, context};
use odin_publisher::{Options, PublishError, Publisher, Traces};
use tokio::runtime::Handle;

use crate::support::{World, message, soon};

const LIMIT: Duration = Duration::from_secs(30);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn tracer(collector: &Collector) -> Tracer {
    let service = Service { name: "odin-publisher", version: "0", instance: "test" };
    Tracer::start(service, collector.sender(), Handle::current()).expect("a tracer")
}

async fn publisher(world: &World, tracer: &Tracer, ratio: Ratio) -> Publisher {
    let traces = Some(Traces { tracer: tracer.clone(), ratio });
    Publisher::connect(Options { traces, ..world.options() }).await.expect("a connection")
}

#[tokio::test]
async fn a_publication_tells_its_outcome_and_its_message_names_the_span() {
    let (mut world, mut collector) = (World::start().await, Collector::start().await);
    let tracer = tracer(&collector);
    let publisher = publisher(&world, &tracer, Ratio::ALL).await;
    let published = publisher.publish_message(message("odin.tokens.BTC.price", "1").with_id("an-id")).await.unwrap();
    let published = published.await.unwrap();
    assert!(tracer.shutdown(LIMIT).await);

    let span = collector.span().await;
    assert_eq!((span.service.as_str(), span.span.name.as_str()), ("odin-publisher", "publish price"));
    assert_eq!(span.kind(), "Producer");
    for (name, value) in [
        ("messaging.system", "nats"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "odin.tokens.BTC.price"),
        ("messaging.message.id", "an-id"),
        ("messaging.message.body.size", "1"),
        ("odin.sequence", &published.sequence.to_string()),
        ("odin.attempts", "1"),
        ("odin.duplicate", "false"),
    ] {
        assert_eq!(span.attribute(name).as_deref(), Some(value), "{name}");
    }
    let stored = world.stored().await.remove(0);
    let header = stored.headers.get("traceparent").expect("a traceparent").to_string();
    let named = context::parse(&header, None).expect("a sampled context");
    assert_eq!(named.trace_id().to_bytes().to_vec(), span.span.trace_id);
    assert_eq!(named.span_id().to_bytes().to_vec(), span.span.span_id);
    assert!(stored.headers.get("tracestate").is_none());
    assert!(collector.rest().is_empty());
}

#[tokio::test]
async fn a_refused_publication_says_why() {
    let (world, mut collector) = (World::start().await, Collector::start().await);
    let tracer = tracer(&collector);
    let publisher = publisher(&world, &tracer, Ratio::ALL).await;
    let refused = publisher.publish("elsewhere", "1").await.unwrap().await;
    assert!(matches!(refused, Err(PublishError::NoStream { .. })), "{refused:?}");
    assert!(tracer.shutdown(LIMIT).await);
    let span = collector.span().await;
    assert_eq!(span.span.name, "publish");
    assert_eq!(span.attribute("error.type").as_deref(), Some("no_stream"));
    assert_eq!(span.span.status.unwrap().message, "no stream takes elsewhere");
}

#[tokio::test]
async fn a_callers_trace_goes_on_whatever_the_ratio_and_others_are_left_alone() {
    let (mut world, mut collector) = (World::start().await, Collector::start().await);
    let tracer = tracer(&collector);
    let publisher = publisher(&world, &tracer, Ratio::NONE).await;
    let parent = context::parse(PARENT, Some("vendor=1")).unwrap();
    let messages = [message("odin.a", "1"), message("odin.b", "1").with_context(parent.clone())];
    for answer in publisher.publish_all(messages).await {
        answer.unwrap();
    }
    assert!(tracer.shutdown(LIMIT).await);
    let span = collector.span().await;
    assert_eq!(span.span.trace_id, parent.trace_id().to_bytes());
    assert_eq!(span.span.parent_span_id, parent.span_id().to_bytes());
    assert!(collector.rest().is_empty());
    for stored in world.stored().await {
        assert_eq!(stored.headers.get("traceparent").is_some(), stored.subject == "odin.b", "{}", stored.subject);
        if let Some(state) = stored.headers.get("tracestate") {
            assert_eq!(state.as_str(), "vendor=1");
        }
    }
}

/// A collector that takes connections and says nothing.
#[tokio::test]
async fn a_dead_collector_keeps_nobody_from_publishing() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    collector.answers(Answer::Never);
    let tracer = tracer(&collector);
    let publisher = publisher(&world, &tracer, Ratio::ALL).await;
    // More than the queue of spans holds.
    let messages = (0..3_000).map(|n| message(&format!("odin.tokens.T{}.price", n % 500), "1"));
    let answers = soon("the answers", publisher.publish_all(messages)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.stored().await.len(), 3_000);
    assert!(tracer.counts().dropped > 0);
}
