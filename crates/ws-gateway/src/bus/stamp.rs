//! What publishers' clocks say: the `timestamp` of a payload beside the time at which the stream stored it.

use std::time::Duration;

use serde::Deserialize;

use crate::metrics::BusMetrics;

/// A publisher's clock that is further ahead than this is skewed: nothing can be stored before it was made. NTP keeps
/// clocks well within.
const AHEAD_MS: i64 = 1_000;

/// What is stored so long after it was made was held up for longer than any publisher retries, or its clock is behind.
const BEHIND_MS: i64 = 5 * 60 * 1_000;

#[derive(Deserialize)]
struct Stamped {
    timestamp: Option<f64>,
}

/// The member `timestamp` of a payload, in milliseconds since 1970; `None` where it has none that is a number.
pub(super) fn timestamp_ms(json: &[u8]) -> Option<i64> {
    let stamped: Stamped = serde_json::from_slice(json).ok()?;
    // Casts of floats saturate.
    stamped.timestamp.map(|ms| ms as i64)
}

/// Whether the publisher's time is so far ahead of the stream's that nobody may believe it.
pub(super) fn is_from_the_future(timestamp_ms: i64, stored_ms: i64, limit: Duration) -> bool {
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    timestamp_ms.saturating_sub(stored_ms) > limit_ms
}

/// Counts how long a live message took from its publisher into the stream. A clock that cannot be right is counted,
/// and its message left out of the sum, so that one bad clock does not make an average of everybody's.
pub(super) fn measure(timestamp_ms: i64, stored_ms: i64, metrics: &BusMetrics) {
    let took_ms = stored_ms.saturating_sub(timestamp_ms);
    if !(-AHEAD_MS..=BEHIND_MS).contains(&took_ms) {
        metrics.clock_skews.add(1);
        return;
    }
    // A clock that is slightly ahead took no time.
    metrics.to_stream.observe_us(took_ms.max(0).unsigned_abs().saturating_mul(1_000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_timestamp_where_there_is_one() {
        assert_eq!(timestamp_ms(br#"{"price":1,"timestamp":1767225600000}"#), Some(1_767_225_600_000));
        assert_eq!(timestamp_ms(br#"{"timestamp":1e300}"#), Some(i64::MAX));
        for none in
            ["{}", "7", "[]", r#"{"timestamp":"now"}"#, r#"{"timestamp":null}"#, r#"{"timestamp":1,"timestamp":2}"#]
        {
            assert_eq!(timestamp_ms(none.as_bytes()), None, "{none}");
        }
    }

    /// Checklist 50: an hour off in either direction is flagged and spoils no average.
    #[test]
    fn a_clock_that_is_off_is_counted_and_not_averaged() {
        let metrics = BusMetrics::default();
        let hour = 3_600_000;
        for (timestamp, stored) in [(hour, 0), (0, hour), (i64::MAX, 0), (i64::MIN, i64::MAX)] {
            measure(timestamp, stored, &metrics);
        }
        measure(1_000, 1_200, &metrics);
        measure(1_500, 1_000, &metrics);
        let tally = metrics.to_stream.tally();
        assert_eq!((metrics.clock_skews.get(), tally.count(), tally.sum_us), (4, 2, 200_000));
    }
}
