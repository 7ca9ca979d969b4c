//! What one client was told, in order: the material of the proof.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use odin_protocol::{Mode, ResumeFailure, error::GapReason};
use serde::Serialize;

/// One chain: a channel, and the key where the channel has several subjects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Chain {
    /// The concrete channel.
    pub channel: String,
    /// The update's key.
    pub key: Option<String>,
}

/// Something a client saw.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "saw", rename_all = "snake_case")]
pub enum Record {
    /// A new connection.
    Connected {
        /// Which gateway.
        gateway: usize,
    },
    /// The end of one.
    Parted,
    /// A subscription began.
    Subscribed {
        /// As subscribed.
        channel: String,
        /// The mode in force.
        #[serde(skip)]
        mode: Mode,
        /// Whether a cursor was given.
        resumes: bool,
        /// What became of it.
        recovered: bool,
        /// Why not.
        #[serde(skip)]
        reason: Option<ResumeFailure>,
    },
    /// A publication.
    Update {
        /// Its chain.
        chain: Chain,
        /// Its sequence.
        seq: u64,
        /// The one before, as the gateway says.
        prev: Option<u64>,
        /// The stream.
        epoch: String,
        /// Whether it is the last value at the beginning of a subscription.
        snapshot: bool,
        /// The number in its payload, which no other publication has.
        number: u64,
    },
    /// An announced gap.
    Gap {
        /// Channel or pattern.
        channel: String,
        /// One chain of it.
        key: Option<String>,
        /// Last sequence before.
        after: u64,
        /// Last sequence of it.
        until: u64,
        /// Why.
        #[serde(skip)]
        reason: GapReason,
    },
    /// Values may be old, or are fresh again; or a position was told.
    Note {
        /// What.
        text: String,
    },
}

/// The records of one client: what has not been checked yet, and a copy of all on disk.
#[derive(Clone, Debug)]
pub struct History(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    fresh: Vec<Record>,
    copy: BufWriter<File>,
    began: std::time::Instant,
}

impl History {
    /// A history that is copied to `path`, a line of JSON for each record.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> std::io::Result<History> {
        let copy = BufWriter::new(File::create(path)?);
        Ok(History(Arc::new(Mutex::new(Pages { fresh: Vec::new(), copy, began: std::time::Instant::now() }))))
    }

    /// Appends.
    pub fn note(&self, record: Record) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = pages.began.elapsed().as_millis() as u64;
        let line = serde_json::json!({ "at": at_ms, "what": record });
        // A full disk spoils the copy, not the proof.
        let _ = writeln!(pages.copy, "{line}");
        pages.fresh.push(record);
    }

    /// Takes what came since the last call.
    pub fn take(&self) -> Vec<Record> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pages.copy.flush();
        std::mem::take(&mut pages.fresh)
    }
}
