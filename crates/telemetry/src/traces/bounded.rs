//! The bound of the queue, and what became of the spans: the SDK counts only for its own log.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

use super::{QUEUE_SPANS, State};

/// Lets a span into the queue if there is room.
#[derive(Debug)]
pub(super) struct Bounded {
    queue: BatchSpanProcessor,
    state: Arc<State>,
}

/// Counts what the exporter does.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    state: Arc<State>,
}

impl Bounded {
    pub(super) fn new(queue: BatchSpanProcessor, state: Arc<State>) -> Self {
        Bounded { queue, state }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // Those on their way to the collector count too: they are in memory as well.
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_SPANS {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queue.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, state: Arc<State>) -> Self {
        Counted { exporter, state }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.state.waiting.fetch_sub(spans, Ordering::Relaxed);
        let count = if result.is_ok() { &self.state.exported } else { &self.state.failed };
        count.fetch_add(spans as u64, Ordering::Relaxed);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
