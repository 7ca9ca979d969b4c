//! What a person wants to know of an update: price, change, and how old it was when it came.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use odin_client::{printable, protocol::Update};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Beyond this the difference of two clocks is not a latency.
const MAX_LATENCY: Duration = Duration::from_secs(3_600);
/// Longest value shown, in characters.
const MAX_SHOWN_CHARS: usize = 60;
const DAY_MS: i64 = 86_400_000;

/// The members this client knows; all may be missing or of another type.
#[derive(Debug, Default, Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    price: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "priceChange24h")]
    change: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quote {
    /// The price as it was written, else the start of the data. Safe to print.
    pub(crate) shown: String,
    pub(crate) price: Option<f64>,
    /// Of 24 hours, in percent.
    pub(crate) change: Option<f64>,
    /// When the publisher made it, in milliseconds since 1970; else when the stream stored it.
    pub(crate) made_ms: i64,
}

/// The time from the publisher to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Latency {
    /// A stored value says nothing about latency.
    Unknown,
    /// In milliseconds.
    Millis(u64),
    /// Negative or more than an hour: the two clocks disagree.
    Skewed,
}

impl Quote {
    pub(crate) fn read(update: &Update) -> Quote {
        let data = update.data.get();
        let payload: Payload<'_> = serde_json::from_str(data).unwrap_or_default();
        let number = |raw: Option<&RawValue>| -> Option<f64> {
            let text = raw?.get().trim_matches('"');
            text.parse().ok().filter(|number: &f64| number.is_finite())
        };
        let price = number(payload.price);
        let shown = match (payload.price, price) {
            (Some(raw), Some(_)) => raw.get().trim_matches('"').to_owned(),
            _ => start_of(data),
        };
        let made_ms = payload.timestamp.and_then(|raw| raw.get().parse().ok()).unwrap_or(update.ts);
        Quote { shown, price, change: number(payload.change), made_ms }
    }

    pub(crate) fn latency(&self, now_ms: i64, is_snapshot: bool) -> Latency {
        if is_snapshot {
            return Latency::Unknown;
        }
        match u64::try_from(now_ms.saturating_sub(self.made_ms)) {
            Ok(millis) if u128::from(millis) <= MAX_LATENCY.as_millis() => Latency::Millis(millis),
            _ => Latency::Skewed,
        }
    }
}

/// The data's first characters on one line.
fn start_of(data: &str) -> String {
    let one_line: String = data.chars().take(MAX_SHOWN_CHARS).collect();
    let is_cut = one_line.len() < data.len();
    let shown = printable(&one_line).into_owned();
    if is_cut { shown + "…" } else { shown }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `12:34:56.789` of a time in UTC.
pub(crate) fn time_of_day(ms: i64) -> String {
    let ms = ms.rem_euclid(DAY_MS);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use odin_client::protocol::Epoch;

    use super::*;

    fn update(data: &str) -> Update {
        Update {
            channel: "price:BTC".to_owned(),
            key: None,
            seq: 5,
            prev: Some(4),
            ts: 1_000,
            epoch: Epoch::from_hash(1),
            snapshot: false,
            data: RawValue::from_string(data.to_owned()).expect("JSON"),
        }
    }

    #[test]
    fn shows_a_price_as_it_was_written() {
        let quote = Quote::read(&update(r#"{"price":64250.50,"priceChange24h":-1.5,"timestamp":900}"#));
        assert_eq!(quote.shown, "64250.50");
        assert_eq!((quote.price, quote.change, quote.made_ms), (Some(64_250.5), Some(-1.5), 900));
        assert_eq!(Quote::read(&update(r#"{"price":"0.10"}"#)).shown, "0.10");
    }

    #[test]
    fn shows_the_start_of_anything_else_without_control_characters() {
        let quote = Quote::read(&update("{\"note\":\n\"\u{9b}2J\"}"));
        assert_eq!((quote.shown.as_str(), quote.made_ms), ("{\"note\":?\"?2J\"}", 1_000));
        assert_eq!(Quote::read(&update(&format!("\"{}\"", "x".repeat(500)))).shown.chars().count(), 61);
        for odd in ["null", "7", "[]", r#"{"price":null}"#, r#"{"price":{},"timestamp":"x"}"#] {
            assert_eq!(Quote::read(&update(odd)).price, None, "{odd}");
        }
    }

    #[test]
    fn flags_clocks_that_disagree() {
        let quote = Quote::read(&update(r#"{"price":1,"timestamp":10000000}"#));
        assert_eq!(quote.latency(10_000_003, false), Latency::Millis(3));
        assert_eq!(quote.latency(9_999_999, false), Latency::Skewed);
        assert_eq!(quote.latency(10_000_000 + 3_600_001, false), Latency::Skewed);
        assert_eq!(quote.latency(10_000_003, true), Latency::Unknown);
    }

    #[test]
    fn writes_times_of_day() {
        assert_eq!(time_of_day(1_767_225_600_000 + 45_296_789), "12:34:56.789");
        assert_eq!(time_of_day(-1), "23:59:59.999");
    }
}
