//! Flags for spans.

use std::time::Duration;

use clap::Args;
use odin_publisher::telemetry::{Endpoint, Ratio};

/// How long a collector may take for one batch of spans.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which publications are told to an OpenTelemetry collector.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceArgs {
    /// Of all messages, how many begin a trace that gateways continue: 0 none, 1 all, 0.001 one in a thousand
    #[arg(long, env = "ODIN_PUBLISHER_TRACE_RATIO", default_value = "0", value_parser = ratio, value_name = "RATIO")]
    trace_ratio: Ratio,
    /// Collector that takes spans by OTLP/HTTP, as http://127.0.0.1:4318; /v1/traces is added
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    otlp_endpoint: Option<String>,
    /// Headers for the collector, as authorization=Bearer%20abc,x-scope=a
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", value_name = "HEADERS", hide_env_values = true)]
    otlp_headers: Option<Secret>,
}

/// What is not printed.
#[derive(Clone)]
struct Secret(String);

impl TraceArgs {
    /// Where spans go and how many; None without any. Without a ratio the rest is not looked at: it may be meant for
    /// another program.
    pub(crate) fn endpoint(&self) -> anyhow::Result<Option<(Endpoint, Ratio)>> {
        if self.trace_ratio.is_none() {
            return Ok(None);
        }
        let Some(url) = self.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) else {
            anyhow::bail!("--trace-ratio needs --otlp-endpoint, or spans would go nowhere");
        };
        let headers = self.otlp_headers.as_ref().map_or("", |headers| &headers.0);
        let endpoint = Endpoint::parse(url, headers, TIMEOUT).map_err(|error| anyhow::anyhow!("--otlp-…: {error}"))?;
        Ok(Some((endpoint, self.trace_ratio)))
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Secret, Self::Err> {
        Ok(Secret(text.to_owned()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

fn ratio(text: &str) -> Result<Ratio, String> {
    text.parse().ok().and_then(Ratio::new).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(ratio_text: &str, url: Option<&str>, headers: &str) -> TraceArgs {
        TraceArgs {
            trace_ratio: ratio(ratio_text).unwrap(),
            otlp_endpoint: url.map(str::to_owned),
            otlp_headers: Some(Secret(headers.to_owned())),
        }
    }

    #[test]
    fn without_a_ratio_nothing_else_counts() {
        assert!(args("0", Some("nonsense"), "nonsense").endpoint().unwrap().is_none());
    }

    /// Checklist 17: secrets in what is printed.
    #[test]
    fn a_wrong_endpoint_is_named_and_not_repeated() {
        for (url, headers) in [
            (None, ""),
            (Some(""), ""),
            (Some("collector:4317"), ""),
            (Some("http://a:hunter2@collector"), ""),
            (Some("http://collector"), "hunter2"),
        ] {
            let args = args("0.5", url, headers);
            let error = args.endpoint().unwrap_err().to_string();
            assert!(error.contains("otlp"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", args("0.5", None, "a=hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_ratio_lies_between_nothing_and_everything() {
        assert!(["-1", "2", "NaN", "x", ""].into_iter().all(|text| ratio(text).is_err()));
        assert!(["0", "1", "0.5", "1e-3"].into_iter().all(|text| ratio(text).is_ok()));
    }
}
