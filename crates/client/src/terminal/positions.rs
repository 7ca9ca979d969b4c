//! Where each channel can be continued by another run: worked out from what was printed, and kept in a file.
//!
//! The client itself is ahead of what was printed by the events in its queue. So the same rules are applied once more
//! here, to the events in the order in which they were printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use odin_client::{
    Event, Subscription,
    cursor_map::CursorMap,
    protocol::{Channel, cursor::MAX_CURSOR_BYTES},
};

/// First line of the file, so that no other file is taken for one.
const TITLE: &str = "# odin cursors 1";
/// Shortest time between two writes of the file.
const PACE: Duration = Duration::from_secs(1);
/// Most channels listed for a person.
const MAX_LISTED: usize = 20;
/// Largest file read, in bytes; ten thousand channels need less.
const MAX_FILE_BYTES: u64 = 4 * 1_024 * 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Positions {
    book: CursorMap,
    channels: Vec<Channel>,
    file: Option<PathBuf>,
    /// What the file had, also of channels that are not asked for now.
    kept: BTreeMap<Channel, String>,
    is_dirty: bool,
    saved: Instant,
}

impl Positions {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read or is none of ours. One that is missing is empty.
    pub(crate) fn open(file: Option<PathBuf>, now: Instant) -> anyhow::Result<Positions> {
        let kept = match &file {
            Some(path) => read(path).with_context(|| format!("cannot use cursor file {}", path.display()))?,
            None => BTreeMap::new(),
        };
        Ok(Positions { book: CursorMap::default(), channels: Vec::new(), file, kept, is_dirty: false, saved: now })
    }

    /// Lets each subscription continue where the file says, else where it was told to.
    pub(crate) fn continue_from(&mut self, subscriptions: Vec<Subscription>) -> Vec<Subscription> {
        self.channels = subscriptions.iter().map(|subscription| subscription.channel.clone()).collect();
        let position = |subscription: Subscription| {
            let since = self.kept.get(&subscription.channel).cloned().or(subscription.since);
            Subscription { since, ..subscription }
        };
        subscriptions.into_iter().map(position).collect()
    }

    /// Takes an event in, after it was printed.
    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Update(update) => {
                self.book.update(&update.head());
            }
            Event::Subscribed { channel, mode, recovered, reason, cursor, .. } => {
                let Ok(channel) = Channel::parse(channel) else { return };
                self.book.begin(&channel, *mode, *recovered, *reason, cursor.clone());
            }
            Event::Unsubscribed { channel } => {
                let Ok(channel) = Channel::parse(channel) else { return };
                self.book.end(&channel);
            }
            Event::Gap(gap) => {
                let Ok(channel) = Channel::parse(&gap.channel) else { return };
                self.book.gap(&channel, gap.key.as_deref(), gap.until);
            }
            Event::Checkpoint { cursor } => {
                self.book.checkpoint(cursor);
            }
            Event::Reconnecting { .. } | Event::Idle => self.book.disconnect(),
            _ => return,
        }
        self.is_dirty = true;
    }

    /// Whether the file should be written: what was printed must have left the program before.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.file.is_some() && self.is_dirty && now.saturating_duration_since(self.saved) >= PACE
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn save(&mut self, now: Instant) -> anyhow::Result<()> {
        let Some(path) = self.file.clone().filter(|_| self.is_dirty) else { return Ok(()) };
        let reached: Vec<_> = self.reached().map(|(channel, cursor)| (channel.clone(), cursor)).collect();
        self.kept.extend(reached);
        let lines: String = self.kept.iter().map(|(channel, cursor)| format!("{channel} {cursor}\n")).collect();
        write(&path, &format!("{TITLE}\n{lines}"))
            .with_context(|| format!("cannot write cursor file {}", path.display()))?;
        (self.is_dirty, self.saved) = (false, now);
        Ok(())
    }

    /// A line for each channel that can be continued, as arguments of another run.
    pub(crate) fn summary(&self) -> String {
        let mut lines: Vec<String> =
            self.reached().take(MAX_LISTED).map(|(channel, cursor)| format!("--since {channel}={cursor}")).collect();
        match self.reached().count() {
            0 => lines.push("no position is known".to_owned()),
            all if all > MAX_LISTED => lines.push(format!("and {} more: use --cursor-file", all - MAX_LISTED)),
            _ => {}
        }
        format!("continue    {}", lines.join("\n            "))
    }

    fn reached(&self) -> impl Iterator<Item = (&Channel, String)> {
        // what goes into a line of the file must come out of it again
        let known = |channel| self.book.since(channel).filter(|cursor| is_cursor(cursor));
        self.channels.iter().filter_map(move |channel| Some((channel, known(channel)?)))
    }
}

fn is_cursor(text: &str) -> bool {
    (1..=MAX_CURSOR_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read(path: &Path) -> anyhow::Result<BTreeMap<Channel, String>> {
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => bail!("larger than {MAX_FILE_BYTES} bytes"),
        _ => std::fs::read_to_string(path)?,
    };
    let mut kept = BTreeMap::new();
    let mut lines = (1..).zip(text.lines());
    if lines.next().is_some_and(|(_, title)| title != TITLE) {
        bail!("it does not begin with {TITLE:?}");
    }
    for (number, line) in lines {
        let parts = line.split_once(' ').filter(|(_, cursor)| is_cursor(cursor));
        let Some((Ok(channel), cursor)) = parts.map(|(channel, cursor)| (Channel::parse(channel), cursor)) else {
            bail!("line {number} is not a channel and a cursor");
        };
        kept.insert(channel, cursor.to_owned());
    }
    Ok(kept)
}

/// Replaces the file by a new one beside it, so that a crash leaves the old or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| std::fs::rename(&beside, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use odin_client::protocol::Mode;

    use super::super::board::tests::update;
    use super::*;

    /// A path of its own that is removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            Place(std::env::temp_dir().join(format!("odin-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn subscribed(channel: &str, cursor: &str) -> Event {
        Event::Subscribed {
            channel: channel.to_owned(),
            mode: Mode::All,
            recovered: false,
            reason: None,
            is_anew: false,
            cursor: Some(cursor.to_owned()),
        }
    }

    fn open(place: &Place, channels: &[&str]) -> (Positions, Vec<Option<String>>) {
        let mut positions = Positions::open(Some(place.0.clone()), Instant::now()).expect("usable");
        let wanted = channels.iter().map(|channel| Subscription::new(channel).expect("valid")).collect();
        let since = positions.continue_from(wanted).into_iter().map(|subscription| subscription.since).collect();
        (positions, since)
    }

    #[test]
    fn another_run_continues_after_the_last_update_or_checkpoint() {
        let place = Place::new("continues");
        let (mut positions, since) = open(&place, &["price:BTC", "price:*"]);
        assert_eq!(since, [None, None]);
        positions.observe(&subscribed("price:BTC", "2x"));
        positions.observe(&subscribed("price:*", "2y"));
        positions.observe(&Event::Update(update("price:BTC", "1")));
        positions.save(Instant::now()).expect("writable");
        let (_, since) = open(&place, &["price:BTC", "price:*", "price:ETH"]);
        let newest = update("price:BTC", "1");
        let newest = format!("1.{}.{}.{}", newest.epoch, newest.seq, newest.ts);
        assert_eq!(since, [Some(newest.as_str()), Some("2y"), None].map(|since| since.map(str::to_owned)));
        positions.observe(&Event::Checkpoint { cursor: "2z".to_owned() });
        positions.save(Instant::now()).expect("writable");
        let (_, since) = open(&place, &["price:*"]);
        assert_eq!(since, [Some("2z".to_owned())]);
    }

    #[test]
    fn keeps_the_positions_of_channels_that_are_not_asked_for() {
        let place = Place::new("keeps");
        let (mut positions, _) = open(&place, &["price:BTC"]);
        positions.observe(&subscribed("price:BTC", "a"));
        positions.save(Instant::now()).expect("writable");
        let (mut positions, _) = open(&place, &["price:ETH"]);
        positions.observe(&subscribed("price:ETH", "b"));
        positions.save(Instant::now()).expect("writable");
        assert_eq!(std::fs::read_to_string(&place.0).expect("written"), format!("{TITLE}\nprice:BTC a\nprice:ETH b\n"));
    }

    #[test]
    fn writes_no_more_often_than_its_pace_and_only_news() {
        let place = Place::new("pace");
        let (mut positions, _) = open(&place, &["price:BTC"]);
        let now = Instant::now();
        assert!(!positions.is_due(now + 2 * PACE), "no news");
        positions.observe(&subscribed("price:BTC", "a"));
        positions.save(now).expect("writable");
        positions.observe(&Event::Checkpoint { cursor: "b".to_owned() });
        assert!(!positions.is_due(now + PACE / 2));
        assert!(positions.is_due(now + PACE));
    }

    #[test]
    fn refuses_a_file_that_is_something_else_and_leaves_it_alone() {
        let place = Place::new("other");
        let lines = ["price:BTC", "price:BTC ", "price:BTC a b", "price: a", "price:BTC \u{1b}[2J"];
        let ours = lines.map(|line| (format!("{TITLE}\n{line}\n"), "line 2 is not"));
        for (text, cause) in ours.into_iter().chain([("price:BTC a\n".to_owned(), "does not begin with")]) {
            std::fs::write(&place.0, &text).expect("writable");
            let error = Positions::open(Some(place.0.clone()), Instant::now()).expect_err(&text);
            assert!(format!("{error:#}").contains(cause), "{error:#}");
            assert_eq!(std::fs::read_to_string(&place.0).expect("there"), text);
        }
    }

    #[test]
    fn says_how_to_continue() {
        let mut positions = Positions::open(None, Instant::now()).expect("no file");
        positions.continue_from(vec![Subscription::new("price:BTC").expect("valid")]);
        assert_eq!(positions.summary(), "continue    no position is known");
        positions.observe(&subscribed("price:BTC", "1.k3j9x2m4.1.1"));
        assert_eq!(positions.summary(), "continue    --since price:BTC=1.k3j9x2m4.1.1");
    }
}
