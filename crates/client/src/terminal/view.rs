//! The live table as lines of styled text, for a screen of any size. It draws nothing.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use odin_client::{Freshness, Staleness, Stats, printable};

use super::board::{Board, Column, Row};
use super::quote::{Latency, time_of_day};
use super::tally::millis;

/// Lines that are not rows: three of header, one of titles, one of footer.
pub(crate) const FRAME_LINES: usize = 5;
const HEADER_LINES: usize = 4;
/// Bounds of the first column's width.
const MIN_LABEL: usize = 12;
const MAX_LABEL: usize = 40;
/// Width of the price column; longer values push the others away and are cut at the edge of the screen.
const PRICE_WIDTH: usize = 18;
/// A value that old is shown dimmed.
const OLD: Duration = Duration::from_secs(60);

const KEYS: &str = "q quit  arrows scroll  s sort  r reverse  space pause";

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Dim,
    Bold,
    Good,
    Bad,
    Warning,
    /// What must not be overlooked, with colours or without.
    Alarm,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// A line of the screen.
pub(crate) type Line = Vec<Span>;

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Connecting,
    Connected,
    Waiting { until: Instant },
    Idle,
}

/// What the header and the footer say.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) link: Link,
    pub(crate) url: String,
    pub(crate) server: String,
    /// How the gateway's logs name the connection.
    pub(crate) connection: String,
    /// Who is signed in.
    pub(crate) user: Option<String>,
    pub(crate) codec: &'static str,
    pub(crate) clients: u64,
    pub(crate) freshness: Freshness,
    pub(crate) is_draining: bool,
    /// Why a subscription last began anew.
    pub(crate) anew: Option<&'static str>,
    /// The last thing worth saying.
    pub(crate) note: Option<String>,
}

/// What the user has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) sort: Column,
    pub(crate) is_reversed: bool,
    pub(crate) is_paused: bool,
    /// First row shown.
    pub(crate) top: usize,
}

/// The whole screen: exactly `height` lines, cut to `width` by whoever draws them.
pub(crate) fn lines(
    board: &Board,
    status: &Status,
    stats: &Stats,
    choice: Choice,
    height: usize,
    now: Instant,
) -> Vec<Line> {
    let rows = board.sorted(choice.sort, choice.is_reversed, now);
    let room = height.saturating_sub(FRAME_LINES);
    let top = choice.top.min(rows.len().saturating_sub(room));
    let shown = &rows[top..rows.len().min(top + room)];
    let label = rows.iter().map(|row| row.label.len()).max().unwrap_or(0).clamp(MIN_LABEL, MAX_LABEL);

    let mut lines = vec![
        connection(status, stats, now),
        figures(board, status, stats, now),
        health(status, stats),
        titles(choice, label),
    ];
    lines.extend(shown.iter().map(|row| row_line(row, status.freshness.of(&row.channel).is_some(), label, now)));
    lines.resize(height.saturating_sub(1).max(HEADER_LINES), Line::new());
    lines.push(footer(status, choice, top, shown.len(), rows.len()));
    lines.truncate(height);
    lines
}

fn span(style: Style, text: impl Into<String>) -> Span {
    Span { text: text.into(), style }
}

fn connection(status: &Status, stats: &Stats, now: Instant) -> Line {
    let (style, state) = match &status.link {
        Link::Connecting => (Style::Warning, "connecting".to_owned()),
        Link::Connected if status.is_draining => (Style::Warning, "draining".to_owned()),
        Link::Connected if status.freshness.connection().is_some() => (Style::Alarm, "STALE".to_owned()),
        Link::Connected => (Style::Good, "connected".to_owned()),
        Link::Waiting { until } => {
            let left = until.saturating_duration_since(now);
            (Style::Bad, format!("reconnecting in {:.1} s", left.as_secs_f64()))
        }
        Link::Idle => (Style::Dim, "idle".to_owned()),
    };
    let round_trip = stats.round_trip.map(|time| format!("  round trip {}", millis(time))).unwrap_or_default();
    let user = status.user.as_ref().map(|user| format!("  as {user}")).unwrap_or_default();
    let about = format!("  {}  {}  {}  {}{round_trip}", status.url, status.connection, status.server, status.codec);
    vec![span(Style::Bold, "odin  "), span(style, state), span(Style::Bold, user), span(Style::Plain, about)]
}

fn figures(board: &Board, status: &Status, stats: &Stats, now: Instant) -> Line {
    let counted = |count: u64, name: &str| {
        let style = if count == 0 { Style::Dim } else { Style::Warning };
        span(style, format!("  {count} {name}"))
    };
    vec![
        span(Style::Bold, format!("{:.0} updates/s", board.rate(now))),
        span(Style::Plain, format!("  {} rows  {} clients", board.len(), status.clients)),
        counted(stats.connections.saturating_sub(1), "reconnects"),
        span(Style::Dim, format!("  {} resumed", stats.recovered)),
        counted(stats.not_recovered, "anew"),
        counted(stats.gaps, "gaps"),
        span(Style::Dim, format!("  {} overlapped", stats.duplicates)),
        counted(stats.violations, "violations"),
    ]
}

/// What a person must know before trusting a row: the worst first.
fn health(status: &Status, stats: &Stats) -> Line {
    let mut line = Line::new();
    let mut say = |style, text: String| {
        let space = if line.is_empty() { "" } else { "  " };
        line.push(span(Style::Plain, space));
        line.push(span(style, text));
    };
    if stats.violations > 0 {
        let lost = stats.violations - stats.repeats;
        say(Style::Alarm, format!("VIOLATED: {lost} lost, {} repeated without a word", stats.repeats));
    }
    match status.freshness.connection() {
        Some(Staleness::Away) => say(Style::Alarm, "NOT CONNECTED: all values may be old".to_owned()),
        Some(stale) => say(Style::Alarm, format!("ALL VALUES MAY BE OLD: {}", why(stale))),
        None => {
            let mut channels = status.freshness.channels();
            if let Some((first, stale)) = channels.next() {
                let more = match channels.count() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                say(Style::Alarm, format!("STALE: {first}{more}: {}", why(stale)));
            }
        }
    }
    if let Some(why) = status.anew {
        say(Style::Warning, format!("began anew: {why}"));
    }
    if line.is_empty() {
        line.push(span(Style::Dim, "live"));
    }
    line
}

fn why(stale: Staleness) -> String {
    let Staleness::Told { reason, since_ms } = stale else { return "not connected".to_owned() };
    let why = reason.map_or("the gateway does not say why", |reason| reason.meaning());
    let since = since_ms.map(|since| format!(" complete up to {}", time_of_day(since))).unwrap_or_default();
    printable(&format!("{why}{since}")).into_owned()
}

fn titles(choice: Choice, label: usize) -> Line {
    Column::ALL
        .into_iter()
        .map(|column| {
            let is_sorted = column == choice.sort;
            let arrow = if !is_sorted {
                ""
            } else if choice.is_reversed {
                " ^"
            } else {
                " v"
            };
            let title = format!("{}{arrow}", column.title());
            let style = if is_sorted { Style::Bold } else { Style::Dim };
            span(style, padded(column, &title, label))
        })
        .collect()
}

/// A cell with the space before it.
fn padded(column: Column, text: &str, label: usize) -> String {
    match column {
        Column::Channel => format!("{text:<label$}"),
        Column::Price => format!(" {text:>PRICE_WIDTH$}"),
        Column::Change => format!(" {text:>10}"),
        Column::Rate => format!(" {text:>11}"),
        Column::Age => format!(" {text:>9}"),
        Column::Latency => format!(" {text:>10}"),
    }
}

fn row_line(row: &Row, is_stale: bool, label: usize, now: Instant) -> Line {
    let age = row.age(now);
    let value_style = match row.moved {
        _ if is_stale || age > OLD => Style::Dim,
        Ordering::Greater => Style::Good,
        Ordering::Less => Style::Bad,
        Ordering::Equal => Style::Plain,
    };
    let (change_style, change) = match row.change {
        None => (Style::Dim, "-".to_owned()),
        Some(change) if change > 0.0 => (Style::Good, format!("{change:+.2} %")),
        Some(change) if change < 0.0 => (Style::Bad, format!("{change:+.2} %")),
        Some(_) => (Style::Plain, "0.00 %".to_owned()),
    };
    let (latency_style, latency) = match row.latency {
        Latency::Unknown => (Style::Dim, "-".to_owned()),
        Latency::Millis(millis) => (Style::Plain, format!("{millis} ms")),
        Latency::Skewed => (Style::Warning, "clock skew".to_owned()),
    };
    let name: String = row.label.chars().take(label).collect();
    // a row without a price has text, which reads from the left
    let value = match row.price {
        Some(_) => padded(Column::Price, &row.shown, label),
        None => format!(" {:<PRICE_WIDTH$}", row.shown.chars().take(PRICE_WIDTH).collect::<String>()),
    };
    vec![
        span(Style::Plain, padded(Column::Channel, &name, label)),
        span(value_style, value),
        span(change_style, padded(Column::Change, &change, label)),
        span(Style::Plain, padded(Column::Rate, &format!("{:.1}", row.rate(now)), label)),
        // a stale row says so where its age would look harmless
        match is_stale {
            true => span(Style::Alarm, padded(Column::Age, "STALE", label)),
            false => span(if age > OLD { Style::Dim } else { Style::Plain }, padded(Column::Age, &short(age), label)),
        },
        span(latency_style, padded(Column::Latency, &latency, label)),
    ]
}

fn footer(status: &Status, choice: Choice, top: usize, shown: usize, rows: usize) -> Line {
    let first = if shown == 0 { 0 } else { top + 1 };
    let mut line = vec![span(Style::Dim, format!("{first}-{} of {rows}  {KEYS}", top + shown))];
    if choice.is_paused {
        line.insert(0, span(Style::Warning, "paused  "));
    }
    if let Some(note) = &status.note {
        line.push(span(Style::Warning, format!("  {note}")));
    }
    line
}

/// `0.3 s`, `12 s`, `3 min`, `5 h`, `2 d`.
fn short(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
