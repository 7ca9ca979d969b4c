//! Spans of publications, for those whose publisher began a trace: `receive` where the bus takes one, `fan_out` where a
//! shard writes it. Never one for each delivery.
//!
//! What is not traced costs a look at one field for each publication and turn.

use std::sync::Arc;

use odin_telemetry::{
    KeyValue, Sender,
    context::SpanContext,
    traces::{Service, Span, SpanKind, Tracer},
};
use tokio::runtime::Handle;

use crate::{config::Telemetry, error::RunError};

/// How long the end of the process waits for the collector.
pub(crate) const FLUSH_LIMIT: std::time::Duration = std::time::Duration::from_secs(3);

/// Gets ready to tell a collector, if one is configured. Whether it is there is not asked: nothing depends on it.
///
/// # Errors
/// [`RunError::Telemetry`].
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn start(config: &Telemetry, gateway: &str) -> Result<Option<Tracer>, RunError> {
    let Some(endpoint) = config.endpoint().map_err(|error| RunError::Telemetry(error.into()))? else {
        return Ok(None);
    };
    let service = Service { name: "odin-gateway", version: env!("CARGO_PKG_VERSION"), instance: gateway };
    let sender = Sender::new(endpoint).map_err(|error| RunError::Telemetry(error.into()))?;
    let tracer = Tracer::start(service, sender, Handle::current());
    tracer.map(Some).map_err(|error| RunError::Telemetry(error.into()))
}

/// What a traced publication carries: below which span it is fanned out.
#[derive(Debug)]
pub(crate) struct Trace {
    context: SpanContext,
    tracer: Tracer,
}

impl Trace {
    pub(crate) fn below(span: &Span, tracer: &Tracer) -> Box<Trace> {
        Box::new(Trace { context: span.context().clone(), tracer: tracer.clone() })
    }

    /// Begins the span of a shard that writes it for a channel.
    pub(crate) fn fan_out(&self, shard: u32, channel: &Arc<str>) -> Span {
        let attributes =
            vec![KeyValue::new("odin.shard", i64::from(shard)), KeyValue::new("odin.channel", channel.clone())];
        self.tracer.span("fan_out", SpanKind::Internal, Some(&self.context), None, attributes)
    }
}
