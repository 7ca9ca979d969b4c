//! One publication on its way out: encoded once for each codec, shared by everybody who gets it.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use odin_protocol::{
    Cursor, Epoch,
    codec::{UpdateHead, encode_update},
    error::GapReason,
    message::ServerMessage,
};

use crate::{format::Format, traces::Trace};

/// What became of a stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// The publisher's JSON, valid and within the size limit.
    Value(Bytes),
    /// There is nothing to show for this sequence, and subscribers are told so with a `gap`.
    Void(GapReason),
}

/// A sequence of one subject as a feed delivers it.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) subject: Arc<str>,
    pub(crate) channel: Arc<str>,
    pub(crate) key: Option<Box<str>>,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
    /// The previous sequence of the subject in this feed; 0 for the first, None if not known.
    pub(crate) prev: Option<u64>,
    pub(crate) ts_ms: i64,
    /// When the gateway had it.
    pub(crate) received: Instant,
    pub(crate) body: Body,
    /// Only if its publisher began a trace that is continued.
    pub(crate) trace: Option<Box<Trace>>,
    live: [OnceLock<Bytes>; Format::ALL.len()],
    snapshot: [OnceLock<Bytes>; Format::ALL.len()],
}

impl Publication {
    pub(crate) fn new(
        subject: Arc<str>,
        (channel, key): (Arc<str>, Option<Box<str>>),
        epoch: Epoch,
        (prev, seq): (Option<u64>, u64),
        ts_ms: i64,
        body: Body,
    ) -> Self {
        Self {
            subject,
            channel,
            key,
            epoch,
            seq,
            prev,
            ts_ms,
            received: Instant::now(),
            body,
            trace: None,
            live: Default::default(),
            snapshot: Default::default(),
        }
    }

    /// The same void, from `after` on: several in a row announced as one.
    pub(crate) fn spanning_from(&self, after: u64) -> Self {
        Self::new(
            self.subject.clone(),
            (self.channel.clone(), self.key.clone()),
            self.epoch,
            (Some(after), self.seq),
            self.ts_ms,
            self.body.clone(),
        )
    }

    /// The complete frame for live subscribers.
    pub(crate) fn frame(&self, format: Format) -> &Bytes {
        self.live[format.index()].get_or_init(|| self.encode(format, false))
    }

    /// The frame that opens a subscription: the last value, without `prev`.
    pub(crate) fn snapshot_frame(&self, format: Format) -> Bytes {
        self.snapshot[format.index()].get_or_init(|| self.encode(format, true)).clone()
    }

    /// Bytes this publication keeps alive, for the bounds of queues and rings.
    pub(crate) fn size(&self) -> usize {
        let payload = match &self.body {
            Body::Value(json) => json.len(),
            Body::Void(_) => 0,
        };
        // Payload, its JSON frame, and the struct with its names.
        2 * payload + self.channel.len() + 448
    }

    fn encode(&self, format: Format, snapshot: bool) -> Bytes {
        let codec = format.codec();
        let mut message = Vec::with_capacity(256);
        match &self.body {
            Body::Value(json) => {
                message.reserve(json.len());
                let head = UpdateHead {
                    channel: &self.channel,
                    key: self.key.as_deref(),
                    seq: self.seq,
                    prev: self.prev.filter(|_| !snapshot),
                    ts_ms: self.ts_ms,
                    epoch: self.epoch,
                    snapshot,
                };
                if encode_update(codec, &head, json, &mut message).is_err() {
                    // Validated on arrival, so this is a codec that cannot carry it: say so.
                    message.clear();
                    self.encode_void(format, GapReason::Invalid, &mut message);
                }
            }
            Body::Void(reason) => self.encode_void(format, *reason, &mut message),
        }
        format.frame(&message)
    }

    /// Its place in the stream.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq, ts_ms: self.ts_ms }
    }

    fn encode_void(&self, format: Format, reason: GapReason, out: &mut Vec<u8>) {
        ServerMessage::Gap {
            channel: self.channel.to_string(),
            key: self.key.as_deref().map(str::to_owned),
            after: self.prev.unwrap_or(0),
            until: self.seq,
            reason,
        }
        .encode(format.codec(), out);
    }
}
