//! The table as Prometheus reads it. Nothing is kept for it: each scrape walks the table and reads the counters.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{BOUNDS_US, METRICS, Metric, MetricKind, Metrics, Value};

/// Media type of [`Exposition::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders the metrics.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// An exposition of these metrics.
    pub fn new(metrics: Arc<Metrics>) -> Exposition {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Table(metrics)));
        Exposition { registry }
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing into a String cannot fail");
        out
    }
}

#[derive(Debug)]
struct Table(Arc<Metrics>);

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let (kind, unit) = (metric_type(metric), unit(metric));
            // The encoder adds the unit and `_total` itself.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let name = name.strip_suffix(metric.unit).map_or(name, |name| name.trim_end_matches('_'));
            let mut encoder = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
            for (labels, value) in metric.read(&self.0).0 {
                if labels.is_empty() {
                    encode(&mut encoder, metric.kind, &value)?;
                } else {
                    encode(&mut encoder.encode_family(&labels)?, metric.kind, &value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, kind: MetricKind, value: &Value) -> Result<(), fmt::Error> {
    match (value, kind) {
        (Value::Number(number), MetricKind::Counter) => encoder.encode_counter::<NoLabelSet, u64, u64>(number, None),
        (Value::Number(number), _) => encoder.encode_gauge(number),
        (Value::Real(number), MetricKind::Counter) => encoder.encode_counter::<NoLabelSet, f64, u64>(number, None),
        (Value::Real(number), _) => encoder.encode_gauge(number),
        (Value::Histogram(tally), _) => {
            let bounds = BOUNDS_US.iter().map(|us| seconds(*us)).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(tally.counts).collect();
            encoder.encode_histogram::<NoLabelSet>(seconds(tally.sum_us), tally.count(), &buckets, None)
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn metric_type(metric: &Metric) -> MetricType {
    match metric.kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
    }
}

fn unit(metric: &Metric) -> Option<Unit> {
    match metric.unit {
        "bytes" => Some(Unit::Bytes),
        "seconds" => Some(Unit::Seconds),
        _ => None,
    }
}
