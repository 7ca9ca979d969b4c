//! One publication from its publisher through the stream to a shard, as a collector is told; and everything as usual
//! when there is no collector, or headers are a lie.

use std::{num::NonZeroUsize, time::Duration};

use odin_protocol::Codec;
use odin_publisher::{
    Message, Options, Publisher, Subject, Traces,
    telemetry::{
        Ratio,
        collector::{Answer, Collector, SpanTaken},
        context,
        traces::{Service, Tracer},
    },
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{metric::Data, number_data_point::Value},
};
use prost::Message as _;
use tokio::runtime::Handle;
use ws_gateway::{config::Config, provision::provision};

use crate::support::{Canary, Client, Dial, Feeder, Gateway, Odin, Wired, config, until};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn telling(collector: &Collector) -> impl FnOnce(&mut Config) {
    let url = collector.url.clone();
    move |config| config.telemetry.otlp_endpoint = Some(url)
}

/// A publisher that traces all of its messages.
async fn tracing_publisher(url: String, collector: &Collector) -> (Publisher, Tracer) {
    let service = Service { name: "odin-publisher", version: "0", instance: "test" };
    let tracer = Tracer::start(service, collector.sender(), Handle::current()).expect("a tracer");
    let traces = Some(Traces { tracer: tracer.clone(), ratio: Ratio::ALL });
    let publisher = Publisher::connect(Options { urls: vec![url], traces, ..Options::default() }).await;
    (publisher.expect("a publisher"), tracer)
}

/// Publishes with these headers, whatever they are.
async fn publish_raw(odin: &Odin, token: &str, headers: &[(&str, &str)]) {
    let mut map = async_nats::HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    let subject = format!("odin.tokens.{token}.price");
    let jetstream = odin.jetstream().await;
    let ack = jetstream.publish_with_headers(subject, map, r#"{"price":1}"#.into()).await;
    ack.expect("accepted").await.expect("stored");
}

async fn publish_traced(feeder: &Feeder, subject: &str) -> u64 {
    let message = Message::new(Subject::parse(subject).expect("a subject"), r#"{"price":1}"#);
    feeder.publish_message(message.with_context(context::parse(PARENT, None).expect("a context"))).await
}

/// Until the gateway has sent everything.
async fn stop(mut odin: Odin) {
    odin.gateway.begin_stop();
    odin.gateway.ended().await;
}

/// The same instruments as Prometheus reads, without anybody asking.
#[tokio::test]
async fn metrics_are_pushed_at_every_interval() {
    let mut collector = Collector::start().await;
    let url = collector.url.clone();
    let odin = Odin::start_with(move |config| {
        config.telemetry.otlp_endpoint = Some(url);
        config.telemetry.metrics_interval = Duration::from_secs(1);
    })
    .await;
    let _client = odin.client().await;
    until("a push with the client in it", async || {
        let taken = collector.request().await;
        assert_eq!(
            (taken.path.as_str(), taken.headers["content-type"].as_bytes()),
            ("/v1/metrics", &b"application/x-protobuf"[..])
        );
        let request = ExportMetricsServiceRequest::decode(taken.body).expect("a batch of metrics");
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let connections = metrics.iter().find(|metric| metric.name == "odin_gateway_connections").expect("there");
        let Some(Data::Gauge(gauge)) = &connections.data else { panic!("{connections:?}") };
        (gauge.data_points[0].value == Some(Value::AsInt(1))).then_some(())
    })
    .await;
    // A collector that refuses disturbs nobody, and is tried again.
    collector.answers(Answer::Status(503));
    for _ in 0..3 {
        collector.request().await;
    }
    odin.publisher.publish("odin.tokens.BTC.price", r#"{"price":1}"#).await;
}

fn number(span: &SpanTaken, name: &str) -> u64 {
    span.attribute(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {span:?}"))
}

#[tokio::test]
async fn three_spans_tell_where_a_publication_was() {
    let mut collector = Collector::start().await;
    let odin = Odin::start_with(telling(&collector)).await;
    let (publisher, tracer) = tracing_publisher(odin.nats.url(), &collector).await;
    let mut clients = Vec::new();
    for n in 0..3 {
        let codec = Codec::ALL[n % 2];
        let mut client = Client::dial(odin.gateway.address, Dial { codec, ..Dial::default() }).await;
        client.subscribe(&["price:BTC"]).await;
        clients.push(client);
    }
    let published = publisher.publish("odin.tokens.BTC.price", r#"{"price":1}"#).await.expect("accepted");
    let sequence = published.await.expect("stored").sequence;
    for client in &mut clients {
        assert_eq!(client.update().await.seq, sequence);
    }
    assert!(tracer.shutdown(Duration::from_secs(20)).await);
    stop(odin).await;

    let publish = collector.span_named("publish price").await;
    let receive = collector.span_named("receive").await;
    let fan_out = collector.span_named("fan_out").await;
    assert!(collector.rest().is_empty());
    assert!(receive.is_child_of(&publish), "{receive:?}");
    assert!(fan_out.is_child_of(&receive), "{fan_out:?}");
    assert_eq!((publish.service.as_str(), receive.service.as_str()), ("odin-publisher", "odin-gateway"));
    assert_eq!((receive.kind().as_str(), fan_out.kind().as_str()), ("Consumer", "Internal"));
    assert!(receive.span.start_time_unix_nano >= publish.span.start_time_unix_nano);
    assert!(fan_out.span.start_time_unix_nano >= receive.span.start_time_unix_nano);
    for (name, value) in [
        ("messaging.system", "nats"),
        ("messaging.operation.type", "receive"),
        ("messaging.destination.name", "odin.tokens.BTC.price"),
        ("odin.stream", "ODIN"),
        ("odin.channel", "price:BTC"),
        ("odin.outcome", "delivered"),
    ] {
        assert_eq!(receive.attribute(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(number(&receive, "odin.sequence"), sequence);
    assert_eq!(receive.attribute("odin.gateway"), receive.resource("service.instance.id"));
    assert_eq!(number(&fan_out, "odin.subscribers"), 3);
    assert_eq!(number(&fan_out, "odin.deliveries"), 3);
    assert!(number(&fan_out, "odin.bytes") > 3 * 20, "{fan_out:?}");
}

#[tokio::test]
async fn each_shard_with_subscribers_has_a_span_and_each_reader_has_none() {
    let mut collector = Collector::start().await;
    let tell = telling(&collector);
    let odin = Odin::start_with(|config| {
        config.shards = NonZeroUsize::new(2).expect("not zero");
        tell(config);
    })
    .await;
    let mut clients = Vec::new();
    // Until there is one on each: the kernel decides.
    until("clients on both shards", async || {
        let mut client = odin.client().await;
        client.subscribe(&["price:BTC"]).await;
        clients.push(client);
        (odin.gateway.metric("odin_gateway_feed_joins_total").await == 2).then_some(())
    })
    .await;
    publish_traced(&odin.publisher, "odin.tokens.BTC.price").await;
    let count = clients.len() as u64;
    for client in &mut clients {
        client.update().await;
    }
    stop(odin).await;
    let receive = collector.span_named("receive").await;
    let fan_outs = [collector.span_named("fan_out").await, collector.span_named("fan_out").await];
    assert!(collector.rest().is_empty());
    assert!(fan_outs.iter().all(|span| span.is_child_of(&receive)));
    assert_eq!(fan_outs.iter().map(|span| number(span, "odin.deliveries")).sum::<u64>(), count);
    assert_ne!(number(&fan_outs[0], "odin.shard"), number(&fan_outs[1], "odin.shard"));
}

/// Checklist 49: headers of a publisher that are nonsense, too long, not sampled, or there twice.
#[tokio::test]
async fn what_is_not_sampled_or_nonsense_is_delivered_and_not_told() {
    let mut collector = Collector::start().await;
    let odin = Odin::start_with(telling(&collector)).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let long = "x".repeat(20_000);
    let state = format!("a={long}");
    for headers in [
        &[][..],
        &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")],
        &[("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")],
        &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")],
        &[("traceparent", "nonsense")],
        &[("traceparent", "")],
        &[("traceparent", &long)],
        &[("tracestate", &long)],
        &[("traceparent", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("traceparent", PARENT)],
    ] {
        publish_raw(&odin, "BTC", headers).await;
        client.update().await;
    }
    // Told, but without the state that has no bounds.
    publish_raw(&odin, "BTC", &[("traceparent", PARENT), ("tracestate", &state)]).await;
    client.update().await;
    stop(odin).await;
    let receive = collector.span_named("receive").await;
    assert_eq!(receive.span.trace_state, "");
    collector.span_named("fan_out").await;
    assert!(collector.rest().is_empty());
}

#[tokio::test]
async fn without_a_ratio_nothing_is_told_and_a_reload_changes_that() {
    let mut collector = Collector::start().await;
    let nats = odin_devkit::NatsServer::start().await.expect("a nats-server");
    let mut config = config(&nats.url());
    telling(&collector)(&mut config);
    config.telemetry.trace_ratio = 0.0;
    provision(&config, false).await.expect("streams");
    let after = Config {
        telemetry: ws_gateway::config::Telemetry { trace_ratio: 1.0, ..config.telemetry.clone() },
        ..config.clone()
    };
    let reload = ws_gateway::Reload::new(move || Ok(after.clone()));
    let reloader = reload.reloader();
    let mut gateway = Gateway::start_reloadable(config, reload);
    gateway.ready().await;
    let feeder = Feeder::connect(vec![nats.url()]).await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe(&["price:BTC"]).await;
    let untold = publish_traced(&feeder, "odin.tokens.BTC.price").await;
    client.update().await;
    let changed = reloader.reload().await.expect("a good configuration");
    assert_eq!(changed["changed"], serde_json::json!(["telemetry.trace_ratio"]));
    // The bus takes it over by itself, and batches are sent by themselves.
    let mut told = Vec::new();
    until("a span", async || {
        publish_traced(&feeder, "odin.tokens.BTC.price").await;
        client.update().await;
        told.extend(collector.rest());
        (!told.is_empty()).then_some(())
    })
    .await;
    let receives = told.iter().filter(|span| span.span.name == "receive");
    assert!(receives.clone().count() > 0);
    assert!(receives.map(|span| number(span, "odin.sequence")).all(|sequence| sequence > untold));
    gateway.begin_stop();
    gateway.ended().await;
}

#[tokio::test]
async fn a_message_behind_a_hole_says_that_it_was_held_and_one_that_came_twice_says_that() {
    let mut collector = Collector::start().await;
    let wired = Wired::start_with(telling(&collector)).await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    wired.publisher.price("BTC", 0).await;
    client.update().await;
    wired.proxy.lose(1);
    wired.publisher.price("BTC", 1).await;
    until("a loss", async || (wired.proxy.lost() == 1).then_some(())).await;
    let held = publish_traced(&wired.publisher, "odin.tokens.BTC.price").await;
    client.update().await;
    assert_eq!(client.update().await.seq, held);
    let receive = collector.span_named("receive").await;
    assert_eq!(number(&receive, "odin.sequence"), held);
    assert_eq!(receive.span.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["held"]);
    assert_eq!(receive.attribute("odin.outcome").as_deref(), Some("delivered"));
    assert!(collector.span_named("fan_out").await.is_child_of(&receive));

    wired.proxy.repeat();
    let twice = publish_traced(&wired.publisher, "odin.tokens.BTC.price").await;
    client.update().await;
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let receive = collector.span_named("receive").await;
        assert_eq!(number(&receive, "odin.sequence"), twice);
        outcomes.extend(receive.attribute("odin.outcome"));
    }
    outcomes.sort();
    assert_eq!(outcomes, ["delivered", "duplicate"]);
}

#[tokio::test]
async fn a_pattern_that_a_consumer_carries_is_told_too() {
    let mut collector = Collector::start().await;
    let odin = Odin::start_with(telling(&collector)).await;
    // More than Direct Get reads at once.
    let prices = (0..1_100).map(|n| (format!("odin.tokens.T{n}.price"), r#"{"price":1}"#.to_owned()));
    odin.publisher.publish_all(prices.collect()).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:*"]).await;
    let traced = publish_traced(&odin.publisher, "odin.tokens.T7.price").await;
    while client.update().await.seq != traced {}
    odin.gateway.metric_becomes("odin_gateway_wide_feeds", 1).await;
    stop(odin).await;
    let receive = collector.span_named("receive").await;
    assert_eq!(number(&receive, "odin.sequence"), traced);
    assert_eq!(receive.attribute("odin.channel").as_deref(), Some("price:T7"));
    assert!(collector.span_named("fan_out").await.is_child_of(&receive));
}

/// A publisher that has everything traced.
#[tokio::test]
async fn a_flood_of_sampled_messages_is_delivered_and_told_within_bounds() {
    let mut collector = Collector::start().await;
    let tell = telling(&collector);
    let odin = Odin::start_with(|config| {
        config.telemetry.spans_per_second = 10;
        tell(config);
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let began = std::time::Instant::now();
    for _ in 0..500 {
        publish_traced(&odin.publisher, "odin.tokens.BTC.price").await;
    }
    for _ in 0..500 {
        client.update().await;
    }
    let seconds = began.elapsed().as_secs() as usize + 2;
    stop(odin).await;
    collector.span_named("receive").await;
    let rest = collector.rest().len();
    assert!(rest < 10 * seconds, "{rest} spans in {seconds} s");
}

/// A collector that takes everything and answers nothing.
#[tokio::test]
async fn a_dead_collector_holds_up_nobody() {
    let collector = Collector::start().await;
    collector.answers(Answer::Never);
    let tell = telling(&collector);
    let odin = Odin::start_with(|config| {
        config.telemetry.spans_per_second = 100_000;
        tell(config);
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    for _ in 0..200 {
        publish_traced(&odin.publisher, "odin.tokens.BTC.price").await;
        client.update().await;
    }
    stop(odin).await;
}

/// Checklist 17: secrets in what is logged and printed; the collector is down, so that something is said of it.
#[tokio::test]
async fn the_collectors_secret_is_told_to_nobody_else() {
    let secret = Canary::new("otlp");
    let odin = Odin::start_with(|config| {
        config.telemetry.otlp_endpoint = Some("http://127.0.0.1:1".to_owned());
        let headers = format!("authorization=Bearer%20{}", secret.word());
        config.telemetry.otlp_headers = Some(ws_gateway::config::Secret::new(headers));
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    publish_traced(&odin.publisher, "odin.tokens.BTC.price").await;
    client.update().await;
    for path in ["/v1/config", "/metrics", "/v1/stats"] {
        assert!(!odin.gateway.get(path).await.body.contains(secret.word()), "{path}");
    }
    stop(odin).await;
    secret.was_not_logged();
}
