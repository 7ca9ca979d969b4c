//! Spans on their way.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    thread::ThreadId,
    time::{Duration, SystemTime},
};

use odin_telemetry::{
    KeyValue,
    collector::{Answer, Collector, SECRET, sender},
    context,
    traces::{Counts, QUEUE_SPANS, Service, SpanKind, Tracer},
};
use tokio::{net::TcpListener, runtime::Handle};

const SERVICE: Service<'static> = Service { name: "odin-test", version: "1.2.3", instance: "here" };
const LIMIT: Duration = Duration::from_secs(20);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn span(tracer: &Tracer) {
    tracer.span("work", SpanKind::Internal, None, None, Vec::new()).end();
}

#[tokio::test]
async fn a_span_comes_with_its_parent_and_its_service() {
    let mut collector = Collector::start().await;
    let tracer = Tracer::start(SERVICE, collector.sender(), Handle::current()).unwrap();
    let parent = context::parse(PARENT, Some("vendor=1")).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let attributes = vec![KeyValue::new("a", 1)];
    let mut outer = tracer.span("outer", SpanKind::Consumer, Some(&parent), Some(at), attributes);
    outer.event("happened", Vec::new());
    let mut inner = tracer.span("inner", SpanKind::Internal, Some(outer.context()), None, Vec::new());
    inner.fail("because");
    inner.end();
    outer.end();
    assert!(tracer.shutdown(LIMIT).await);

    let (inner, outer) = (collector.span_named("inner").await, collector.span_named("outer").await);
    assert_eq!(outer.service, "odin-test");
    assert_eq!(outer.resource("service.version").as_deref(), Some("1.2.3"));
    assert_eq!(outer.resource("service.instance.id").as_deref(), Some("here"));
    assert_eq!(outer.attribute("a").as_deref(), Some("1"));
    assert_eq!(outer.span.trace_id, parent.trace_id().to_bytes());
    assert_eq!(outer.span.parent_span_id, parent.span_id().to_bytes());
    assert_eq!(outer.span.trace_state, "vendor=1");
    assert!(inner.is_child_of(&outer));
    assert_eq!(outer.kind(), "Consumer");
    assert_eq!(outer.span.start_time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(outer.span.events[0].name, "happened");
    assert_eq!(inner.span.status.unwrap().message, "because");
    assert_eq!(tracer.counts(), Counts { exported: 2, dropped: 0, failed: 0 });
}

#[tokio::test]
async fn a_batch_is_sent_again_when_the_collector_asks_for_it() {
    let mut collector = Collector::start().await;
    collector.answers(Answer::Status(503));
    let tracer = Tracer::start(SERVICE, collector.sender(), Handle::current()).unwrap();
    span(&tracer);
    let first = collector.request().await;
    collector.answers(Answer::Status(200));
    assert_eq!(collector.request().await.body, first.body);
    assert!(tracer.shutdown(LIMIT).await);
    assert_eq!(tracer.counts(), Counts { exported: 1, dropped: 0, failed: 0 });
}

/// A collector that takes everything and answers nothing.
#[tokio::test]
async fn nobody_waits_for_a_dead_collector_and_what_has_no_room_is_counted() {
    let mut collector = Collector::start().await;
    collector.answers(Answer::Never);
    let tracer = Tracer::start(SERVICE, collector.sender(), Handle::current()).unwrap();
    for _ in 0..QUEUE_SPANS + 100 {
        span(&tracer);
    }
    assert_eq!(tracer.counts(), Counts { exported: 0, dropped: 100, failed: 0 });
    collector.request().await;
    assert!(!tracer.shutdown(Duration::from_millis(10)).await, "not all was sent");
    // Later ones go nowhere, and do not block either.
    span(&tracer);
}

/// A tracer that is thrown away while its collector is dead.
#[tokio::test]
async fn dropping_a_tracer_does_not_wait_for_its_collector() {
    let mut collector = Collector::start().await;
    collector.answers(Answer::Never);
    let tracer = Tracer::start(SERVICE, collector.sender(), Handle::current()).unwrap();
    span(&tracer);
    collector.request().await;
    // This thread is the one that would have to send: if dropping waited for that, it would wait in vain.
    drop(tracer);
}

/// Checklist 3: a collector that is down for long must not fill the log; 17: and no secret gets there.
#[tokio::test]
async fn an_outage_is_said_once_and_so_is_its_end() {
    let log = Log { lines: Arc::default(), of: std::thread::current().id() };
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let tracer = Tracer::start(SERVICE, sender(&format!("http://{address}"), LIMIT), Handle::current()).unwrap();
    for failed in 1..=2 {
        span(&tracer);
        while tracer.counts().failed < failed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut collector = Collector::on(address).await;
    span(&tracer);
    collector.request().await;
    assert!(tracer.shutdown(LIMIT).await);

    let log = String::from_utf8(log.lines.lock().unwrap().clone()).unwrap();
    let lines = |level: &str, text: &str| log.lines().filter(|l| l.contains(level) && l.contains(text)).count();
    assert_eq!(lines(" WARN ", ""), 1, "{log}");
    assert_eq!(lines(" WARN ", "spans cannot be sent"), 1, "{log}");
    assert!(lines("DEBUG ", "spans cannot be sent") >= 1, "{log}");
    assert_eq!(lines(" INFO ", "spans can be sent again"), 1, "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

/// What one thread has logged: the tasks that send run on a test's own, and other tests do not.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    of: ThreadId,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if std::thread::current().id() == self.of {
            self.lines.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
