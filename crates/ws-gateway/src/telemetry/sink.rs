//! Where lines go, without waiting for it: a thread writes them, and whoever logs only puts them in its queue. A shard
//! must not stand still because a disk is full or whoever collects logs has stopped reading. What the queue has no room
//! for is lost, and counted in a line of its own when there is room again.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait, of some 1 KiB at most: a burst at the level of single connections.
const LINES: usize = 4096;

/// How long the end of the process waits for lines that were logged before it.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Between two looks whether there is room for the mark behind them.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// See the module. Clones lead to the same place.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    /// The same, since the process began.
    all_lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before it has been written when this is dropped.
    Mark(#[expect(dead_code, reason = "to be dropped")] SyncSender<()>),
}

impl Sink {
    /// `say_lost` makes the line that says how many were lost.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        to: impl Write + Send + 'static,
        say_lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, entries) = sync_channel(LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let losses = lost.clone();
        thread::Builder::new().name("odin-log".to_owned()).spawn(move || write(to, &entries, &losses, say_lost))?;
        Ok(Self { queue, lost, all_lost: Arc::default() })
    }

    /// Lines that were lost since the process began.
    pub(super) fn all_lost(&self) -> u64 {
        self.all_lost.load(Ordering::Relaxed)
    }

    /// Waits until everything logged before has been written, for a second at most.
    pub(super) fn flush(&self) {
        let (mark, reached) = sync_channel(1);
        let deadline = Instant::now() + FLUSH_LIMIT;
        let mut entry = Entry::Mark(mark);
        while let Err(error) = self.queue.try_send(entry) {
            match error {
                TrySendError::Full(back) if Instant::now() < deadline => entry = back,
                _ => return,
            }
            thread::sleep(FLUSH_LOOK);
        }
        // It is dropped, not sent.
        let _ = reached.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Writes lines for as long as anybody can log.
fn write(mut to: impl Write, entries: &Receiver<Entry>, lost: &AtomicU64, say_lost: impl Fn(u64) -> String) {
    for entry in entries {
        if let Entry::Line(line) = entry {
            // A log that cannot be written is nothing that could be logged.
            let _ = to.write_all(&line);
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = to.write_all(say_lost(count).as_bytes());
        }
    }
}

impl Write for Sink {
    /// Takes a whole line, which is how events are written.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.all_lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Sink {
    type Writer = Sink;

    fn make_writer(&self) -> Sink {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Writes a line for each permission.
    struct Slow {
        may_write: mpsc::Receiver<()>,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.may_write.recv().map_err(io::Error::other)?;
            self.lines.lock().expect("no panic").push(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Checklist 55: whoever collects the log does not read.
    #[test]
    fn nobody_waits_for_a_log_that_nobody_reads_and_what_is_lost_is_counted() {
        let (permit, may_write) = mpsc::channel();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let slow = Slow { may_write, lines: lines.clone() };
        let mut sink = Sink::start(slow, |count| format!("{count} lost")).expect("a thread");
        let all = 2 * LINES;
        for n in 0..all {
            assert_eq!(sink.write(format!("line {n}").as_bytes()).expect("never fails"), format!("line {n}").len());
        }
        let lost = sink.lost.load(Ordering::Relaxed) as usize;
        // One may be in the writer's hands.
        assert!((LINES - 1..=LINES).contains(&lost), "{lost}");
        // All that are left, and the line about the others.
        for _ in 0..=all - lost {
            permit.send(()).expect("it waits");
        }
        sink.flush();
        let lines = lines.lock().expect("no panic").clone();
        assert_eq!((lines.len(), &*lines[0], &*lines[1]), (all - lost + 1, "line 0", &*format!("{lost} lost")));
        assert_eq!(lines[2], "line 1");
    }

    /// Checklist 55: a disk that is full.
    #[test]
    fn a_log_that_cannot_be_written_harms_nobody() {
        let (permit, may_write) = mpsc::channel();
        drop(permit);
        let slow = Slow { may_write, lines: Arc::default() };
        let mut sink = Sink::start(slow, |count| format!("{count} lost")).expect("a thread");
        for _ in 0..10 {
            sink.write_all(b"line").expect("never fails");
        }
        sink.flush();
    }
}
