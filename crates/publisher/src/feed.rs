//! Input that has been read and understood, or not: from a reading thread over a bounded channel to the publisher.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use odin_publisher::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::outcome::Origin;
use crate::report::End;
use crate::session::Session;

/// Longest line, in bytes: twice what the stream takes.
pub(crate) const MAX_LINE_BYTES: usize = 128 * 1024;
/// Records read ahead; then reading waits, and with it whoever writes to our standard input.
const READ_AHEAD: usize = 256;
/// Bad lines said one by one; of the others every thousandth.
const SAID: u64 = 20;

/// One line or row.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its number, from 1.
    pub(crate) line: u64,
    /// Bytes of the input up to its end.
    pub(crate) end: u64,
    /// What it says, or why it cannot be understood.
    pub(crate) entry: Result<Entry, String>,
}

/// A message and when it was.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// Microseconds since 1970, if it is needed.
    pub(crate) at_us: Option<i64>,
}

/// How far apart messages are published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// So many times faster than their times say.
    pub(crate) speed: f64,
    /// Longest pause between two of them.
    pub(crate) max_gap: Option<Duration>,
}

/// A channel on which reading stops when nobody takes the records.
pub(crate) type Records = mpsc::Receiver<io::Result<Record>>;

/// Reads on a thread of its own, as standard input cannot be read otherwise without blocking: `read` gives records to its
/// argument until that says `false`, because nobody wants more.
pub(crate) fn spawn<F>(read: F) -> io::Result<Records>
where
    F: FnOnce(&mut dyn FnMut(io::Result<Record>) -> bool) + Send + 'static,
{
    let (sender, records) = mpsc::channel(READ_AHEAD);
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || read(&mut |record| sender.blocking_send(record).is_ok()))?;
    Ok(records)
}

/// Reads lines; `parse` makes entries of them. Empty lines are skipped, lines over the limit are bad.
pub(crate) fn read_lines(
    input: impl Read,
    mut parse: impl FnMut(&[u8]) -> Result<Entry, String>,
    give: &mut dyn FnMut(io::Result<Record>) -> bool,
) {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let (mut line, mut end) = (0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let entry = match read_line(&mut input, &mut text) {
            Ok(0) => return,
            Ok(bytes) => {
                line += 1;
                end += bytes;
                if bytes > MAX_LINE_BYTES as u64 + 2 {
                    Err(format!("line has {bytes} bytes, at most {MAX_LINE_BYTES} bytes are allowed"))
                } else if text.trim_ascii().is_empty() {
                    continue;
                } else {
                    parse(text.trim_ascii())
                }
            }
            Err(error) => {
                give(Err(error));
                return;
            }
        };
        if !give(Ok(Record { line, end, entry })) {
            return;
        }
    }
}

/// Reads one line, of which at most the limit is kept; gives its whole length, 0 at the end.
fn read_line(input: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<u64> {
    let limit = MAX_LINE_BYTES as u64 + 2;
    let mut bytes = input.by_ref().take(limit).read_until(b'\n', text)? as u64;
    if bytes == limit && text.last() != Some(&b'\n') {
        bytes += input.skip_until(b'\n')? as u64;
    }
    Ok(bytes)
}

/// Publishes records until they end, a signal comes, or (`strict`) one cannot be understood. Gives why, and how many could
/// not be understood.
pub(crate) async fn pump(
    session: &Session,
    mut records: Records,
    pace: Option<Pace>,
    strict: bool,
) -> anyhow::Result<(End, u64)> {
    let mut bad_lines = 0;
    let mut clock = pace.map(Clock::new);
    loop {
        let Some(record) = session.stop.run_until_cancelled(records.recv()).await else {
            return Ok((End::Signal, bad_lines));
        };
        let Some(record) = record else {
            return Ok((End::Input, bad_lines));
        };
        let Record { line, end, entry } = record?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(reason) => {
                bad_lines += 1;
                if strict || bad_lines <= SAID || bad_lines % 1_000 == 0 {
                    tracing::error!(line, reason, bad_lines, "line not understood");
                }
                if strict {
                    return Ok((End::BadLine, bad_lines));
                }
                continue;
            }
        };
        let publish = async {
            if let Some(clock) = &mut clock
                && let Some(at_us) = entry.at_us
            {
                sleep_until(clock.due(at_us)).await;
            }
            session.publisher.publish_message(entry.message).await
        };
        // dropping it half-way accepts nothing
        let Some(outcome) = session.stop.run_until_cancelled(publish).await else {
            return Ok((End::Signal, bad_lines));
        };
        session.outcomes.add(Origin::Line(line), outcome).await;
        session.progress.reached(end);
    }
}

/// Turns the times of messages into times to publish them.
#[derive(Debug)]
struct Clock {
    pace: Pace,
    last: Option<(i64, Instant)>,
}

impl Clock {
    fn new(pace: Pace) -> Clock {
        Clock { pace, last: None }
    }

    /// When a message of this time is due: a step back in time counts as none.
    fn due(&mut self, at_us: i64) -> Instant {
        let (last_us, last) = *self.last.get_or_insert_with(|| (at_us, Instant::now()));
        let gap_us = u64::try_from(at_us.saturating_sub(last_us)).unwrap_or_default();
        let gap = Duration::try_from_secs_f64(gap_us as f64 / 1e6 / self.pace.speed).unwrap_or(Duration::MAX);
        let gap = self.pace.max_gap.map_or(gap, |max| gap.min(max));
        let due = last.checked_add(gap).unwrap_or(last + Duration::from_secs(86_400 * 365));
        self.last = Some((at_us.max(last_us), due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<(u64, u64, Result<(), String>)> {
        let mut found = Vec::new();
        let parse = |text: &[u8]| Err(String::from_utf8_lossy(&text[..text.len().min(8)]).into_owned());
        read_lines(input, parse, &mut |record| {
            let record = record.unwrap();
            found.push((record.line, record.end, record.entry.map(drop)));
            true
        });
        found
    }

    #[test]
    fn counts_lines_and_bytes_and_skips_empty_ones() {
        let found = lines(b"a\r\n\n  \nb\nlast");
        assert_eq!(found, [(1, 3, Err("a".into())), (4, 9, Err("b".into())), (5, 13, Err("last".into()))]);
    }

    #[test]
    fn a_line_without_end_is_bad_and_the_next_one_is_read() {
        let mut input = vec![b'x'; 3 * MAX_LINE_BYTES];
        input.extend_from_slice(b"\nnext\n");
        let found = lines(&input);
        assert_eq!(found.len(), 2);
        assert!(found[0].2.as_ref().unwrap_err().contains("393217 bytes"), "{:?}", found[0]);
        assert_eq!(found[1], (2, 393_222, Err("next".into())));
    }

    #[test]
    fn stops_reading_when_nobody_wants_more() {
        let mut count = 0;
        read_lines(&b"a\nb\nc\n"[..], |_| Err(String::new()), &mut |_| {
            count += 1;
            count < 2
        });
        assert_eq!(count, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_gaps_between_messages_at_its_speed() {
        let begin = Instant::now();
        let mut clock = Clock::new(Pace { speed: 2.0, max_gap: Some(Duration::from_secs(10)) });
        assert_eq!(clock.due(5_000_000), begin);
        assert_eq!(clock.due(7_000_000), begin + Duration::from_secs(1));
        assert_eq!(clock.due(6_000_000), begin + Duration::from_secs(1), "a step back");
        assert_eq!(clock.due(9_000_000), begin + Duration::from_secs(2));
        assert_eq!(clock.due(9_000_000_000), begin + Duration::from_secs(12), "at most the longest gap");
    }
}
