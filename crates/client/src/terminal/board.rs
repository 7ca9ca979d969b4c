//! The rows of the live table: one for each channel, or key of a channel.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use odin_client::{printable, protocol::Update};

use super::meter::Meter;
use super::quote::{Latency, Quote};

/// Most rows kept; updates of further channels only count.
const MAX_ROWS: usize = 50_000;

/// The columns, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Channel,
    Price,
    Change,
    Rate,
    Age,
    Latency,
}

impl Column {
    pub(crate) const ALL: [Column; 6] =
        [Column::Channel, Column::Price, Column::Change, Column::Rate, Column::Age, Column::Latency];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::Channel => "channel",
            Column::Price => "price",
            Column::Change => "24 h",
            Column::Rate => "updates/s",
            Column::Age => "age",
            Column::Latency => "latency",
        }
    }

    pub(crate) fn next(self) -> Column {
        let at = Column::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Column::ALL[(at + 1) % Column::ALL.len()]
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The concrete channel.
    pub(crate) channel: String,
    /// Plain ASCII.
    pub(crate) label: String,
    /// Plain ASCII.
    pub(crate) shown: String,
    pub(crate) price: Option<f64>,
    pub(crate) change: Option<f64>,
    /// How the price compares with the one before.
    pub(crate) moved: Ordering,
    pub(crate) latency: Latency,
    meter: Meter,
    received: Instant,
    /// How old the value was when it came: a stored one may be old.
    age_then: Duration,
}

impl Row {
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        self.meter.rate(now)
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age_then + now.saturating_duration_since(self.received)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    rows: HashMap<String, Row>,
    total: Meter,
}

impl Board {
    pub(crate) fn new(now: Instant) -> Self {
        Board { rows: HashMap::new(), total: Meter::new(now) }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Updates per second over all rows.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        self.total.rate(now)
    }

    pub(crate) fn update(&mut self, now: Instant, now_ms: i64, update: &Update) {
        self.total.count(now);
        let name = match &update.key {
            None => update.channel.clone(),
            Some(key) => format!("{} {key}", update.channel),
        };
        let count = self.rows.len();
        let quote = Quote::read(update);
        let age_then = match update.snapshot {
            true => Duration::from_millis(u64::try_from(now_ms.saturating_sub(quote.made_ms)).unwrap_or(0)),
            false => Duration::ZERO,
        };
        let row = match self.rows.entry(name) {
            std::collections::hash_map::Entry::Occupied(row) => row.into_mut(),
            std::collections::hash_map::Entry::Vacant(_) if count >= MAX_ROWS => return,
            std::collections::hash_map::Entry::Vacant(place) => {
                let label = ascii(place.key());
                place.insert(Row {
                    channel: update.channel.clone(),
                    label,
                    shown: String::new(),
                    price: None,
                    change: None,
                    moved: Ordering::Equal,
                    latency: Latency::Unknown,
                    meter: Meter::new(now),
                    received: now,
                    age_then,
                })
            }
        };
        row.moved = match (row.price, quote.price) {
            (Some(before), Some(price)) => price.total_cmp(&before),
            _ => Ordering::Equal,
        };
        let latency = quote.latency(now_ms, update.snapshot);
        row.shown = ascii(&quote.shown);
        (row.price, row.change, row.latency) = (quote.price, quote.change, latency);
        (row.received, row.age_then) = (now, age_then);
        row.meter.count(now);
    }

    /// All rows in the order of a column, then by name. Numbers come largest first, and unknown ones last.
    pub(crate) fn sorted(&self, column: Column, is_reversed: bool, now: Instant) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        let number = |row: &Row| match column {
            Column::Channel => None,
            Column::Price => row.price,
            Column::Change => row.change,
            Column::Rate => Some(row.rate(now)),
            Column::Age => Some(row.age(now).as_secs_f64()),
            #[expect(clippy::cast_precision_loss, reason = "less than an hour in milliseconds")]
            Column::Latency => match row.latency {
                Latency::Millis(millis) => Some(millis as f64),
                Latency::Unknown | Latency::Skewed => None,
            },
        };
        rows.sort_by(|one, other| {
            let order = match (number(one), number(other)) {
                (Some(one), Some(other)) if is_reversed => one.total_cmp(&other),
                (Some(one), Some(other)) => other.total_cmp(&one),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            let by_name = one.label.cmp(&other.label);
            let by_name = if is_reversed && column == Column::Channel { by_name.reverse() } else { by_name };
            order.then(by_name)
        });
        rows
    }
}

/// The text with one column for each character.
fn ascii(text: &str) -> String {
    printable(text).chars().map(|char| if char.is_ascii() { char } else { '?' }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use odin_client::protocol::Epoch;
    use serde_json::value::RawValue;

    use super::*;

    pub(crate) fn update(channel: &str, data: &str) -> Update {
        Update {
            channel: channel.to_owned(),
            key: None,
            seq: 5,
            prev: None,
            ts: 1_000,
            epoch: Epoch::from_hash(1),
            snapshot: false,
            data: RawValue::from_string(data.to_owned()).expect("JSON"),
        }
    }

    fn board(now: Instant) -> Board {
        let mut board = Board::new(now);
        for (channel, data) in [
            ("price:BTC", r#"{"price":5,"priceChange24h":-1,"timestamp":900}"#),
            ("price:ETH", r#"{"price":10,"priceChange24h":2,"timestamp":990}"#),
            ("news:x", r#""hello""#),
        ] {
            board.update(now, 1_000, &update(channel, data));
        }
        board
    }

    fn labels(rows: &[&Row]) -> Vec<String> {
        rows.iter().map(|row| row.label.clone()).collect()
    }

    #[test]
    fn sorts_by_every_column_both_ways_with_the_unknown_last() {
        let now = Instant::now();
        let board = board(now);
        let order = |column, is_reversed| labels(&board.sorted(column, is_reversed, now)).join(" ");
        assert_eq!(order(Column::Channel, false), "news:x price:BTC price:ETH");
        assert_eq!(order(Column::Channel, true), "price:ETH price:BTC news:x");
        assert_eq!(order(Column::Price, false), "price:ETH price:BTC news:x");
        assert_eq!(order(Column::Price, true), "price:BTC price:ETH news:x");
        assert_eq!(order(Column::Change, false), "price:ETH price:BTC news:x");
        assert_eq!(order(Column::Latency, false), "price:BTC price:ETH news:x");
    }

    #[test]
    fn walks_through_all_columns() {
        let mut column = Column::Channel;
        for expected in Column::ALL {
            assert_eq!(column, expected);
            column = column.next();
        }
        assert_eq!(column, Column::Channel);
    }

    #[test]
    fn remembers_how_a_price_moved() {
        let now = Instant::now();
        let mut board = board(now);
        board.update(now, 1_000, &update("price:BTC", r#"{"price":4}"#));
        let rows = board.sorted(Column::Channel, false, now);
        assert_eq!((rows[1].moved, rows[1].shown.as_str()), (Ordering::Less, "4"));
        assert_eq!(board.len(), 3);
    }

    #[test]
    fn a_stored_value_is_as_old_as_it_says() {
        let now = Instant::now();
        let mut board = Board::new(now);
        let snapshot = Update { snapshot: true, ..update("price:BTC", r#"{"price":4,"timestamp":1000}"#) };
        board.update(now, 61_000, &snapshot);
        let row = board.sorted(Column::Channel, false, now)[0];
        assert_eq!(row.age(now + Duration::from_secs(1)), Duration::from_secs(61));
        assert_eq!(row.latency, Latency::Unknown);
    }

    #[test]
    fn shows_no_character_that_could_steer_the_terminal() {
        let now = Instant::now();
        let mut board = Board::new(now);
        board.update(now, 0, &Update { key: Some("a\u{1b}[2Jß".to_owned()), ..update("signals:all", "1") });
        assert_eq!(board.sorted(Column::Channel, false, now)[0].label, "signals:all a?[2J?");
    }
}
