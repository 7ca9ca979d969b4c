use odin_client::{
    Connected, Event,
    protocol::{ConnectionStatus, Epoch, StaleReason, Update},
};
use serde_json::value::RawValue;

use super::*;

fn board(now: Instant, rows: usize) -> Board {
    let mut board = Board::new(now);
    for row in 0..rows {
        let data = format!(r#"{{"price":{row}.50,"priceChange24h":-1.234,"timestamp":995}}"#);
        let update = Update {
            channel: format!("price:T{row:02}"),
            key: None,
            seq: 5,
            prev: None,
            ts: 1_000,
            epoch: Epoch::from_hash(1),
            snapshot: false,
            data: RawValue::from_string(data).expect("JSON"),
        };
        board.update(now, 1_000, &update);
    }
    board
}

fn status() -> Status {
    Status {
        link: Link::Connected,
        url: "ws://a/ws".to_owned(),
        server: "odin/0.1.0".to_owned(),
        connection: "3f-1a2b".to_owned(),
        user: None,
        codec: "json",
        clients: 3,
        freshness: connected(),
        is_draining: false,
        anew: None,
        note: None,
    }
}

fn connected() -> Freshness {
    let status = ConnectionStatus {
        status: ConnectionStatus::CONNECTED.into(),
        connection_id: "3f-1a2b".to_owned(),
        heartbeat_ms: 25_000,
        idle_timeout_ms: None,
        connected_clients: 3,
        max_message_bytes: 65_536,
        epoch: None,
        server: None,
    };
    let mut freshness = Freshness::default();
    freshness.observe(&Event::Connected(Connected { url: "ws://a/ws".to_owned(), status, reconnects: 0 }));
    freshness
}

fn stale(channel: Option<&str>) -> Freshness {
    let mut freshness = connected();
    let (channel, reason) = (channel.map(str::to_owned), Some(StaleReason::BusLost));
    freshness.observe(&Event::Stale { channel, reason, since_ms: Some(1_000) });
    freshness
}

const CHOICE: Choice = Choice { sort: Column::Channel, is_reversed: false, is_paused: false, top: 0 };

fn text(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect()).collect()
}

#[test]
fn says_who_is_signed_in() {
    let now = Instant::now();
    let status = Status { user: Some("user-7".to_owned()), ..status() };
    let lines = text(&lines(&board(now, 1), &status, &Stats::default(), CHOICE, 8, now));
    assert_eq!(lines[0], "odin  connected  as user-7  ws://a/ws  3f-1a2b  odin/0.1.0  json");
}

#[test]
fn lines_up_titles_and_rows() {
    let now = Instant::now();
    let lines = text(&lines(&board(now, 2), &status(), &Stats::default(), CHOICE, 8, now));
    assert_eq!(lines[0], "odin  connected  ws://a/ws  3f-1a2b  odin/0.1.0  json");
    assert_eq!(lines[2], "live");
    assert_eq!(lines[3], "channel v                 price       24 h   updates/s       age    latency");
    assert_eq!(lines[4], "price:T00                  0.50    -1.23 %         1.1     0.0 s       5 ms");
    assert_eq!(lines[7], format!("1-2 of 2  {KEYS}"));
}

#[test]
fn fills_a_screen_of_any_height_exactly() {
    let now = Instant::now();
    let board = board(now, 30);
    for height in 0..50 {
        let lines = lines(&board, &status(), &Stats::default(), CHOICE, height, now);
        assert_eq!(lines.len(), height, "height {height}");
    }
}

#[test]
fn does_not_scroll_beyond_the_last_row() {
    let now = Instant::now();
    let choice = Choice { top: 1_000, ..CHOICE };
    let lines = text(&lines(&board(now, 30), &status(), &Stats::default(), choice, 14, now));
    assert!(lines[4].starts_with("price:T21"), "{}", lines[4]);
    assert!(lines[13].starts_with("22-30 of 30"), "{}", lines[13]);
}

#[test]
fn says_how_the_connection_stands() {
    let now = Instant::now();
    let first = |status: Status| text(&[connection(&status, &Stats::default(), now)])[0].clone();
    let until = now + Duration::from_millis(1_500);
    assert!(first(Status { link: Link::Waiting { until }, ..status() }).contains("reconnecting in 1.5 s"));
    assert!(first(Status { freshness: stale(None), ..status() }).contains("STALE"));
    assert!(first(Status { is_draining: true, ..status() }).contains("draining"));
}

#[test]
fn a_stale_row_and_a_stale_connection_cannot_be_overlooked() {
    let now = Instant::now();
    let shown = |freshness| {
        let status = Status { freshness, ..status() };
        text(&lines(&board(now, 2), &status, &Stats::default(), CHOICE, 8, now))
    };
    let rows = |shown: &[String]| [4, 5].map(|at: usize| shown[at].contains("STALE"));
    let one = shown(stale(Some("price:T01")));
    assert_eq!(rows(&one), [false, true]);
    assert!(one[2].starts_with("STALE: price:T01: "), "{}", one[2]);
    let all = shown(stale(None));
    assert_eq!(rows(&all), [true, true]);
    assert!(all[2].starts_with("ALL VALUES MAY BE OLD: "), "{}", all[2]);
    assert!(all[2].ends_with("complete up to 00:00:01.000"), "{}", all[2]);
    let away = shown(Freshness::default());
    assert_eq!(rows(&away), [true, true]);
    assert!(away[2].starts_with("NOT CONNECTED"), "{}", away[2]);
    let live = shown(connected());
    assert_eq!((rows(&live), live[2].as_str()), ([false, false], "live"));
}

#[test]
fn says_what_became_of_resumes_and_promises() {
    let mut stats = Stats::default();
    (stats.connections, stats.recovered, stats.not_recovered) = (3, 4, 1);
    (stats.gaps, stats.duplicates, stats.violations, stats.repeats) = (2, 7, 3, 1);
    let now = Instant::now();
    let status = Status { anew: Some("too old."), ..status() };
    let lines = text(&lines(&board(now, 1), &status, &stats, CHOICE, 8, now));
    assert!(lines[1].ends_with("2 reconnects  4 resumed  1 anew  2 gaps  7 overlapped  3 violations"), "{}", lines[1]);
    assert_eq!(lines[2], "VIOLATED: 2 lost, 1 repeated without a word  began anew: too old.");
}

#[test]
fn writes_ages_short() {
    for (seconds, shown) in [(0.31, "0.3 s"), (12.9, "12 s"), (180.0, "3 min"), (9_000.0, "2 h"), (200_000.0, "2 d")] {
        assert_eq!(short(Duration::from_secs_f64(seconds)), shown);
    }
}
