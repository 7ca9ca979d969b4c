//! What odin's programs tell an OpenTelemetry collector, and how.
//!
//! - [`Endpoint`] and [`Sender`]: one POST of protobuf by OTLP/HTTP, bounded in time and size. Who sends decides about
//!   retries.
//! - [`traces`]: spans, made of the OpenTelemetry SDK, gathered in a bounded queue and sent in batches.
//! - [`context`]: who a message's trace belongs to, in the headers of W3C Trace Context.
//! - [`Ratio`]: which traces are taken.
//!
//! Telemetry is never worth a delivery: nothing here blocks whoever publishes or fans out. With the collector down spans
//! are dropped and counted. It speaks no gRPC, does not compress, and sends no logs.

#[cfg(feature = "collector")]
pub mod collector;
pub mod context;
mod endpoint;
mod error;
mod ratio;
mod sender;
pub mod traces;

pub use endpoint::{Endpoint, EndpointError};
pub use error::ExportError;
pub use ratio::Ratio;
pub use sender::{Sender, SenderError};

/// A name and a value of a span or an event.
pub use opentelemetry::KeyValue;
