//! The control plane's connection to NATS, for every thread, and how one message is stored.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client, HeaderMap, Request, header};
use serde::Deserialize;

use crate::bus::is_connected;

/// The subject's last message is another one than was expected.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// The same in a cluster, while somebody else's message to the subject is on its way.
const WRONG_LAST_SEQUENCE_IN_FLIGHT: u64 = 10_164;

/// See the module. It is made while the gateway starts, so there may be none yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link(Arc<OnceLock<Client>>);

/// A message for a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
    /// The stream forgets it after so long, in whole seconds, rounded up.
    pub(crate) life: Option<Duration>,
    /// It is stored only if the subject's last message has this sequence; 0: if there is none.
    pub(crate) expected: Option<u64>,
}

/// Why a message was not stored, or nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is no connection to NATS.
    #[error("no connection to nats")]
    Disconnected,
    /// No leader, or no stream, or the answer got lost: it may have been stored.
    #[error("the control stream does not answer")]
    NoAnswer,
    /// The subject has another last message than was expected.
    #[error("the subject was written by somebody else")]
    Conflict,
    /// The server does not want it.
    #[error("the control stream refuses it: {0}")]
    Refused(String),
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<Refusal>,
}

/// What the server says when it does not do something.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

impl Link {
    /// Makes the connection known. There is one for each process: a second one is not taken.
    pub(crate) fn connect(&self, client: Client) {
        let _ = self.0.set(client);
    }

    /// The client, connected or not.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.0.get()
    }

    /// The client, if it is connected: what is sent by one that is not waits until nobody wants it any more.
    pub(crate) fn connected(&self) -> Option<&Client> {
        self.client().filter(|client| is_connected(client))
    }

    /// Stores a message, and gives its sequence.
    ///
    /// # Errors
    /// See [`StoreError`].
    ///
    /// # Cancel safety
    /// Cancel safe, but nobody knows then whether it was stored.
    pub(crate) async fn store(&self, letter: Letter, timeout: Duration) -> Result<u64, StoreError> {
        let client = self.connected().ok_or(StoreError::Disconnected)?;
        let mut headers = HeaderMap::new();
        if let Some(life) = letter.life {
            let seconds = life.as_millis().div_ceil(1_000).max(1);
            headers.insert(header::NATS_MESSAGE_TTL, format!("{seconds}s").as_str());
        }
        if let Some(expected) = letter.expected {
            headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        }
        let request = Request::new().headers(headers).payload(letter.payload.into()).timeout(Some(timeout));
        let answer = client.send_request(letter.subject, request).await.map_err(|_| StoreError::NoAnswer)?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Ack { seq, error: None }) if seq > 0 => Ok(seq),
            Ok(Ack { error: Some(error), .. }) => Err(match error.err_code {
                WRONG_LAST_SEQUENCE | WRONG_LAST_SEQUENCE_IN_FLIGHT => StoreError::Conflict,
                _ => StoreError::Refused(error.description),
            }),
            // Whoever answered is no stream.
            _ => Err(StoreError::NoAnswer),
        }
    }
}
