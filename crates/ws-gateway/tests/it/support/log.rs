//! Reads along what the whole process logs, for words that must not be there.

use std::{
    io,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing_subscriber::fmt::MakeWriter;

static CANARIES: Mutex<Vec<(String, Vec<String>)>> = Mutex::new(Vec::new());
static LINES: AtomicU64 = AtomicU64::new(0);
static LISTENING: OnceLock<()> = OnceLock::new();

/// A word that no log line may contain.
#[derive(Debug)]
pub(crate) struct Canary {
    word: String,
}

impl Canary {
    /// Starts reading the log of this process at its finest level; once is enough.
    pub(crate) fn listen() {
        LISTENING.get_or_init(|| {
            let filter = "ws_gateway=trace,odin_telemetry=trace";
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Ear).init();
        });
    }

    /// A word of its own, beginning with `name`.
    pub(crate) fn new(name: &str) -> Self {
        let word = format!("canary{name}{:08x}", rand::random::<u32>());
        CANARIES.lock().expect("no panic inside").push((word.clone(), Vec::new()));
        Self { word }
    }

    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    /// # Panics
    /// When the word was logged, or nothing was logged at all.
    pub(crate) fn was_not_logged(&self) {
        assert!(LINES.load(Ordering::Relaxed) > 0, "nothing was logged, so nothing is proved");
        let lines = self.lines();
        assert!(lines.is_empty(), "logged: {lines:#?}");
    }

    /// The lines with this word.
    pub(crate) fn lines(&self) -> Vec<String> {
        let canaries = CANARIES.lock().expect("no panic inside");
        let (_, lines) = canaries.iter().find(|(word, _)| *word == self.word).expect("registered");
        lines.clone()
    }
}

#[derive(Debug, Clone, Copy)]
struct Ear;

impl io::Write for Ear {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(line);
        for (word, lines) in CANARIES.lock().expect("no panic inside").iter_mut() {
            if text.contains(&**word) {
                lines.push(text.clone().into_owned());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Ear {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
