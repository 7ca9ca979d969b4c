//! `[telemetry]`: what an OpenTelemetry collector is told.

use std::time::Duration;

use odin_telemetry::{Endpoint, EndpointError, Ratio};

use super::defaults as default;
use super::nats::Secret;

/// Where metrics and spans are sent, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Base URL of a collector that takes OTLP/HTTP; `None`: nothing is sent.
    pub otlp_endpoint: Option<String>,
    /// Headers for it: `name=value,other=value`, percent-encoded.
    pub otlp_headers: Option<Secret>,
    /// How often metrics are sent.
    pub metrics_interval: Duration,
    /// Of the sampled traces that publishers begin, how many are continued: 0 to 1.
    pub trace_ratio: f64,
    /// Spans that are made each second, at most.
    pub spans_per_second: u32,
}

impl Telemetry {
    /// Where to send; `None`: nowhere.
    ///
    /// # Errors
    /// See [`EndpointError`]; never after the configuration was checked.
    pub fn endpoint(&self) -> Result<Option<Endpoint>, EndpointError> {
        let Some(url) = &self.otlp_endpoint else {
            return Ok(None);
        };
        let headers = self.otlp_headers.as_ref().map_or("", Secret::expose);
        Endpoint::parse(url, headers, default::OTLP_TIMEOUT).map(Some)
    }

    /// Which traces are continued.
    pub(crate) fn ratio(&self) -> Ratio {
        Ratio::new(self.trace_ratio).unwrap_or(Ratio::NONE)
    }
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry {
            otlp_endpoint: None,
            otlp_headers: None,
            metrics_interval: default::METRICS_INTERVAL,
            trace_ratio: default::TRACE_RATIO,
            spans_per_second: default::SPANS_PER_SECOND,
        }
    }
}
