//! The table as an OpenTelemetry collector wants it, pushed at regular intervals: the same instruments as Prometheus
//! reads. As there, nothing is kept for it; what is pushed is cumulative, so that a push that is lost costs a point and no
//! count.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use odin_telemetry::Sender;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    self as wire, AggregationTemporality, HistogramDataPoint, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::time::MissedTickBehavior;

use super::{BOUNDS_US, Labels, METRICS, Metric, MetricKind, Metrics, Value};

/// Where metrics go, below the collector's base (OTLP/HTTP).
const PATH: &str = "/v1/metrics";

/// Microseconds in a second.
const US: f64 = 1e6;

/// Pushes for ever. Every push has all metrics; one that fails is not repeated, because the next says more.
///
/// # Cancel safety
/// Cancel safe: a push that is under way may be lost.
pub(crate) async fn push(metrics: Arc<Metrics>, instance: String, sender: Sender, interval: Duration) {
    let mut clock = tokio::time::interval(interval);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    let mut not_before = tokio::time::Instant::now();
    loop {
        clock.tick().await;
        if tokio::time::Instant::now() < not_before {
            continue;
        }
        match sender.post(PATH, encode(&metrics, &instance, SystemTime::now())).await {
            Ok(()) if std::mem::take(&mut is_failing) => tracing::info!("metrics are pushed again"),
            Ok(()) => {}
            Err(error) => {
                if let Some(wait) = error.retry_after() {
                    not_before = tokio::time::Instant::now() + wait;
                }
                // Once, not with every push: a collector may be away for days.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "metrics cannot be pushed; it is tried again at every interval");
                }
            }
        }
    }
}

/// Everything there is now, of this process.
fn encode(metrics: &Metrics, instance: &str, now: SystemTime) -> Bytes {
    let began = now - metrics.started.elapsed();
    let span = (nanos(began), nanos(now));
    let resource = [
        ("service.name", "ws-gateway"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: resource.map(pair).into(), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope { name: "odin".to_owned(), ..InstrumentationScope::default() }),
                metrics: METRICS.iter().map(|metric| instrument(metric, metrics, span)).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec().into()
}

fn instrument(metric: &Metric, metrics: &Metrics, span: (u64, u64)) -> wire::Metric {
    let values = metric.read(metrics).0;
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match metric.kind {
        MetricKind::Counter => metric::Data::Sum(wire::Sum {
            data_points: values.into_iter().map(|value| number(value, span)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        MetricKind::Gauge => metric::Data::Gauge(wire::Gauge {
            data_points: values.into_iter().map(|value| number(value, span)).collect(),
        }),
        MetricKind::Histogram => metric::Data::Histogram(wire::Histogram {
            data_points: values.into_iter().map(|value| histogram(value, span)).collect(),
            aggregation_temporality: temporality,
        }),
    };
    // Units of UCUM. The collector's exporter to Prometheus adds unit and `_total` to the name.
    let unit = match metric.unit {
        "bytes" => "By",
        "seconds" => "s",
        _ => "1",
    };
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let name = name.strip_suffix(metric.unit).map_or(name, |name| name.trim_end_matches('_'));
    wire::Metric {
        name: name.to_owned(),
        description: metric.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..wire::Metric::default()
    }
}

fn number((labels, value): (Labels, Value), (began, now): (u64, u64)) -> NumberDataPoint {
    let value = match value {
        Value::Number(number) => number_data_point::Value::AsInt(i64::try_from(number).unwrap_or(i64::MAX)),
        Value::Real(number) => number_data_point::Value::AsDouble(number),
        Value::Histogram(_) => unreachable!("a histogram is none of a number's kinds"),
    };
    NumberDataPoint {
        attributes: labels.into_iter().map(pair).collect(),
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn histogram((labels, value): (Labels, Value), (began, now): (u64, u64)) -> HistogramDataPoint {
    let Value::Histogram(tally) = value else {
        unreachable!("only a histogram is of its kind");
    };
    HistogramDataPoint {
        attributes: labels.into_iter().map(pair).collect(),
        start_time_unix_nano: began,
        time_unix_nano: now,
        count: tally.count(),
        sum: Some(tally.sum_us as f64 / US),
        bucket_counts: tally.counts.to_vec(),
        explicit_bounds: BOUNDS_US.iter().map(|us| *us as f64 / US).collect(),
        ..HistogramDataPoint::default()
    }
}

fn pair((key, value): (&str, &str)) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanos(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exposition;

    fn pushed(metrics: &Metrics) -> Vec<wire::Metric> {
        let bytes = encode(metrics, "gateway-1", SystemTime::now());
        let request = ExportMetricsServiceRequest::decode(bytes).expect("protobuf");
        let [of_process] = &request.resource_metrics[..] else { panic!("one process") };
        let resource = of_process.resource.as_ref().expect("a resource");
        assert!(resource.attributes.contains(&pair(("service.instance.id", "gateway-1"))));
        of_process.scope_metrics[0].metrics.clone()
    }

    /// As Prometheus would name it and its points, with their values.
    fn points(metric: &wire::Metric) -> Vec<(Vec<KeyValue>, f64)> {
        let number = |point: &NumberDataPoint| {
            let value = match point.value.expect("a value") {
                number_data_point::Value::AsInt(number) => number as f64,
                number_data_point::Value::AsDouble(number) => number,
            };
            (point.attributes.clone(), value)
        };
        match metric.data.as_ref().expect("data") {
            metric::Data::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "cumulative");
                sum.data_points.iter().map(number).collect()
            }
            metric::Data::Gauge(gauge) => gauge.data_points.iter().map(number).collect(),
            metric::Data::Histogram(histogram) => {
                let points = histogram.data_points.iter();
                points.map(|point| (point.attributes.clone(), point.count as f64)).collect()
            }
            _ => panic!("none of our kinds"),
        }
    }

    #[test]
    fn pushes_what_prometheus_reads() {
        let metrics = Arc::new(Metrics::new(2));
        for shard in &metrics.shards {
            shard.connections.set(3);
            shard.bytes_out.of(crate::format::Format::Events).add(50);
            shard.to_socket.observe_us(700);
        }
        let pushed = pushed(&metrics);
        assert_eq!(pushed.len(), METRICS.len());
        let text = Exposition::new(metrics).render();
        for (metric, wire) in METRICS.iter().zip(&pushed) {
            // What the process uses changes while it is looked at.
            let is_still = !["resident", "cpu_seconds", "descriptors", "threads", "uptime"]
                .iter()
                .any(|word| metric.name.contains(word));
            for (attributes, value) in points(wire).into_iter().filter(|_| is_still) {
                let labels: Vec<String> = attributes
                    .iter()
                    .map(|pair| match &pair.value.as_ref().expect("a value").value {
                        Some(any_value::Value::StringValue(value)) => format!("{}=\"{value}\"", pair.key),
                        _ => panic!("a text"),
                    })
                    .collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let count = if metric.kind == MetricKind::Histogram { "_count" } else { "" };
                let line = format!("{}{count}{labels} {value}", metric.name);
                assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn a_histogram_keeps_its_buckets() {
        let metrics = Metrics::new(1);
        metrics.shards[0].to_socket.observe_us(700);
        let pushed = pushed(&metrics);
        let latency = pushed.iter().find(|metric| metric.name == "odin_gateway_latency").expect("there");
        assert_eq!(latency.unit, "s");
        let Some(metric::Data::Histogram(histogram)) = &latency.data else { panic!("a histogram") };
        let point = histogram.data_points.last().expect("a point");
        assert_eq!((point.bucket_counts.len(), point.explicit_bounds.len()), (17, 16));
        assert_eq!((point.bucket_counts[3], point.explicit_bounds[3]), (1, 0.001));
        assert!((point.sum.expect("a sum") - 0.0007).abs() < 1e-9);
    }
}
