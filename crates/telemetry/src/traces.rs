//! Spans: made of the OpenTelemetry SDK, gathered in a bounded queue, sent in batches from a thread of their own.
//!
//! Whether a trace is taken is decided before anything here is called (see [`Ratio`](crate::Ratio)), so that what is not
//! taken costs nothing. Ending a span never waits: with the queue full it is dropped, and counted.

mod bounded;
mod channel;

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, Status, TraceContextExt, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use crate::{Sender, context::SpanContext};
use bounded::{Bounded, Counted};
use channel::Channel;

pub use opentelemetry::trace::SpanKind;

/// Spans that wait to be sent or are being sent: some seconds of a busy publisher, a megabyte.
pub const QUEUE_SPANS: usize = 2_048;
/// Spans of one request.
const BATCH_SPANS: usize = 512;
/// How long the first span of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// Who makes the spans: the resource they are told with. `OTEL_RESOURCE_ATTRIBUTES` adds to it.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// `service.name`.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `service.instance.id`: which of them.
    pub instance: &'a str,
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The exporter cannot be made: an `OTEL_EXPORTER_OTLP_…` variable asks for what it cannot do.
    #[error("the exporter of traces cannot be set up: {0}")]
    Exporter(String),
}

/// What has become of the spans so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The collector has them.
    pub exported: u64,
    /// There was no room.
    pub dropped: u64,
    /// The collector did not take them.
    pub failed: u64,
}

/// Makes spans and has them sent. Clones share everything; when the last one is dropped without
/// [`shutdown`](Tracer::shutdown), what waits may get lost.
#[derive(Clone)]
pub struct Tracer {
    tracer: SdkTracer,
    shared: Arc<Shared>,
}

/// One piece of work while it is done. Ended, or dropped, it goes to the collector.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

#[derive(Debug)]
struct Shared {
    provider: SdkTracerProvider,
    state: Arc<State>,
}

/// What processor, exporter and channel share.
#[derive(Debug, Default)]
struct State {
    /// Spans that wait or are being sent.
    waiting: AtomicUsize,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// Nothing is tried twice any more.
    is_stopping: AtomicBool,
}

impl Tracer {
    /// Starts the thread that gathers batches. They are sent by tasks on `runtime`, which has to have time and I/O and
    /// must not be blocked for long.
    ///
    /// # Errors
    /// [`StartError::Exporter`].
    pub fn start(service: Service<'_>, sender: Sender, runtime: Handle) -> Result<Tracer, StartError> {
        let state = Arc::new(State::default());
        let endpoint = sender.endpoint();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            // Only so that the library takes no other from the environment: the channel knows where to.
            .with_endpoint(endpoint.base().to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(endpoint.timeout())
            .with_retry_policy(RetryPolicy::recommended())
            .with_http_client(Channel::new(sender, runtime, state.clone()))
            .build()
            .map_err(|error| StartError::Exporter(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(BATCH_SPANS)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let processor = BatchSpanProcessor::new(Counted::new(exporter, state.clone()), batches);
        let resource = Resource::builder()
            .with_service_name(service.name)
            .with_attributes([
                KeyValue::new("service.version", service.version),
                KeyValue::new("service.instance.id", service.instance.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(Bounded::new(processor, state.clone()))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer(service.name);
        Ok(Tracer { tracer, shared: Arc::new(Shared { provider, state }) })
    }

    /// Begins a span: now, or when `at` says; below `parent`, or a trace of its own.
    pub fn span(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<&SpanContext>,
        at: Option<SystemTime>,
        attributes: Vec<KeyValue>,
    ) -> Span {
        let mut builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        builder.start_time = at;
        let mut above = Context::new();
        if let Some(parent) = parent {
            above = above.with_remote_span_context(parent.clone());
        }
        Span(self.tracer.build_with_context(builder, &above))
    }

    /// The figures at this moment.
    pub fn counts(&self) -> Counts {
        let state = &self.shared.state;
        Counts {
            exported: state.exported.load(Ordering::Relaxed),
            dropped: state.dropped.load(Ordering::Relaxed),
            failed: state.failed.load(Ordering::Relaxed),
        }
    }

    /// Sends what waits, for at most `limit`, and ends the thread. Spans that end later are dropped. Says whether all
    /// was sent in time.
    ///
    /// # Cancel safety
    /// Dropped, it goes on by itself while the runtime lives.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        let state = self.shared.state.clone();
        let lost = || state.failed.load(Ordering::Relaxed);
        let before = lost();
        state.is_stopping.store(true, Ordering::Relaxed);
        let provider = self.shared.provider.clone();
        // It waits for the thread, which waits for this runtime.
        let is_over = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit).is_ok()).await;
        is_over.unwrap_or(false) && lost() == before
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Else the provider waits for its thread for five seconds, on whatever thread this is.
        self.state.is_stopping.store(true, Ordering::Relaxed);
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
    }
}

impl Span {
    /// What its children name as their parent.
    pub fn context(&self) -> &SpanContext {
        self.0.span_context()
    }

    /// Adds an attribute.
    pub fn set(&mut self, attribute: KeyValue) {
        self.0.set_attribute(attribute);
    }

    /// Notes that something happens now.
    pub fn event(&mut self, name: &'static str, attributes: Vec<KeyValue>) {
        self.0.add_event(name, attributes);
    }

    /// Says that it went wrong.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.0.set_status(Status::error(why));
    }

    /// Ends it. Never waits.
    pub fn end(mut self) {
        self.0.end();
    }
}
