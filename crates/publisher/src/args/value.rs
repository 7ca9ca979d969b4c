//! What may stand behind a flag, and how it is read.

use std::time::Duration;

use odin_publisher::market::Kind;

/// Messages per second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Rate {
    Max,
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text {
            "max" => Ok(Rate::Max),
            _ => positive(text).map(Rate::PerSecond).ok_or_else(|| "expected messages per second, or max".to_owned()),
        }
    }
}

/// How much faster than it was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Speed {
    Max,
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        match text {
            "max" => Ok(Speed::Max),
            _ => positive(text.trim_end_matches('x'))
                .map(Speed::Times)
                .ok_or_else(|| "expected a factor above 0, or max".to_owned()),
        }
    }
}

/// One entry of `--kinds`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kinds {
    All,
    One(Kind),
}

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}, expected a time as 500ms, 5s or 2min"))
}

/// Milliseconds since 1970.
pub(super) fn timestamp(text: &str) -> Result<i64, String> {
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|error| format!("{error}, expected a time as 2026-01-31T12:00:00Z"))?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| "before 1970".to_owned())?;
    i64::try_from(since.as_millis()).map_err(|_| "too far in the future".to_owned())
}

pub(super) fn kinds(text: &str) -> Result<Kinds, String> {
    match text {
        "all" => Ok(Kinds::All),
        _ => text.parse().map(Kinds::One).map_err(|error: odin_publisher::market::MarketError| error.to_string()),
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected a pair as name=value".to_owned()),
    }
}

pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [one] if one.is_ascii() => Ok(*one),
        _ if text == "\\t" => Ok(b'\t'),
        _ => Err("expected one ASCII character".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates_speeds_and_times() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("0.2".parse(), Ok(Rate::PerSecond(0.2)));
        assert_eq!("10x".parse(), Ok(Speed::Times(10.0)));
        for bad in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(bad.parse::<Rate>().is_err() && bad.parse::<Speed>().is_err(), "{bad}");
        }
        assert_eq!(timestamp("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(delimiter("\\t"), Ok(b'\t'));
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
