//! What a gateway answers, read leniently.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{DecodeError, Mode, RequestId};
use crate::codec::{self, Codec, MsgPackError, UpdateHead, encode_update};
use crate::cursor::Epoch;
use crate::error::{ErrorCode, GapReason, ResumeFailure, StaleReason};
use crate::names::wire_names;

/// Deepest nesting a client reads of a gateway's MessagePack: a payload inside a message.
const MAX_SERVER_DEPTH: usize = codec::MAX_DEPTH + 1;

/// A message from a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ServerMessage {
    /// The first message of every connection.
    #[serde(rename = "connection:status")]
    Status(ConnectionStatus),
    /// A subscription begins; comes before its snapshot.
    Subscribed {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// As subscribed: may be a pattern.
        channel: String,
        /// The mode in force.
        mode: Mode,
        /// Whether everything after `since` follows. False without `since`.
        recovered: bool,
        /// Why not, if `since` was given and could not be used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<ResumeFailure>,
        /// Where the subscription begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// A subscription has ended; nothing of it follows.
    Unsubscribed {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// As subscribed.
        channel: String,
    },
    /// A publication.
    Update(Update),
    /// Publications that were left out: `after < seq <= until`.
    Gap {
        /// The concrete channel, or the subscribed pattern for all of its channels.
        channel: String,
        /// One chain of the channel; absent for all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Last sequence before the gap.
        after: u64,
        /// Last sequence of the gap.
        until: u64,
        /// Why.
        reason: GapReason,
    },
    /// Values may be old from now on.
    Stale {
        /// As subscribed; absent for the whole connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<StaleReason>,
        /// Since when, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<i64>,
    },
    /// Values are fresh again, and everything missed was sent before this message.
    Live {
        /// As subscribed; absent for the whole connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    /// Everything of all subscriptions up to this position has been sent.
    Checkpoint {
        /// To be given back as `since`.
        cursor: String,
    },
    /// Something about the gateway that concerns every connection.
    #[serde(rename = "system:status")]
    System {
        /// What it is about.
        status: SystemState,
        /// When the connection will be closed at the latest, and come back after that, in milliseconds from now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_in_ms: Option<u64>,
        /// When the token expires, in milliseconds from now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The answer to `ping`.
    Pong {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// The gateway's clock, in milliseconds since 1970.
        ts: i64,
    },
    /// The answer to `auth` when the token was accepted.
    Authenticated {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// The user.
        sub: String,
        /// When the token expires, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<i64>,
    },
    /// The answer to `publish` when the stream has stored it.
    Published {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// As in the request.
        channel: String,
        /// Its sequence.
        seq: u64,
        /// The stream the sequence belongs to.
        epoch: Epoch,
    },
    /// A request was refused.
    Error(ErrorMessage),
    /// A message of a newer gateway; to be ignored. Never sent.
    #[serde(other)]
    Unknown,
}

/// What a connection is told first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Always `connected`.
    pub status: Cow<'static, str>,
    /// Names the connection in the gateway's logs.
    pub connection_id: String,
    /// Time between two WebSocket pings, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a connection may be without a subscription, in milliseconds; absent if for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// Connections of this gateway or of the cluster, this one included.
    pub connected_clients: u64,
    /// Largest message the gateway reads, in bytes.
    pub max_message_bytes: u64,
    /// The stream's identity; absent while the gateway does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Program and version, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

impl ConnectionStatus {
    /// The value of [`ConnectionStatus::status`].
    pub const CONNECTED: &'static str = "connected";
}

/// A publication as a client gets it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    /// The concrete channel, never a pattern.
    pub channel: String,
    /// Which subject of the channel, where the channel covers several without naming them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Sequence in the stream.
    pub seq: u64,
    /// Previous sequence of the same subject, 0 if none; absent in a snapshot and where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<u64>,
    /// Stream time, in milliseconds since 1970.
    pub ts: i64,
    /// The stream the sequences belong to.
    pub epoch: Epoch,
    /// Whether this is the last stored value, sent on subscribe.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// The publisher's JSON.
    pub data: Box<RawValue>,
}

impl Update {
    /// Everything but the data, borrowed.
    pub fn head(&self) -> UpdateHead<'_> {
        UpdateHead {
            channel: &self.channel,
            key: self.key.as_deref(),
            seq: self.seq,
            prev: self.prev,
            ts_ms: self.ts,
            epoch: self.epoch,
            snapshot: self.snapshot,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorMessage {
    /// The request's, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The channel it is about, as typed; long ones are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The limit that was hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// When the same request may succeed, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorMessage {
    /// An error about a request as a whole.
    pub fn new(id: Option<RequestId>, code: ErrorCode, message: impl Into<String>) -> ErrorMessage {
        let message = message.into();
        ErrorMessage { id, code, message, channel: None, limit: None, retry_after_ms: None }
    }
}

impl From<DecodeError> for ErrorMessage {
    fn from(error: DecodeError) -> ErrorMessage {
        ErrorMessage::new(error.id, error.code, error.message)
    }
}

wire_names! {
    /// What a `system:status` is about.
    SystemState {
        Draining = "draining", "The gateway is about to close this connection with 1012.";
        TokenExpiring = "token_expiring", "The token expires soon: send `auth` with a fresh one.";
        Notice = "notice", "A message from the operators to people.";
    }
}

/// Why bytes are not a message of a gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerMessageError {
    /// Not MessagePack that JSON can say.
    #[error("unreadable MessagePack message: {0}")]
    MsgPack(#[from] MsgPackError),
    /// Not JSON, or a member that is missing or of the wrong type.
    #[error("unreadable message: {0}")]
    Json(#[from] serde_json::Error),
}

impl ServerMessage {
    /// Appends the message to `out`.
    ///
    /// In MessagePack the data of an [`Update`] that does not pass [`crate::validate_payload`] is written as nil.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        if let ServerMessage::Update(update) = self {
            let head = update.head();
            if encode_update(codec, &head, update.data.get().as_bytes(), out).is_err() {
                encode_update(codec, &head, b"null", out).expect("null is a payload");
            }
            return;
        }
        match codec {
            Codec::Json => {
                serde_json::to_writer(out, self).expect("a message has string keys and memory takes it");
            }
            Codec::MsgPack => {
                let json = serde_json::to_string(self).expect("a message has string keys only");
                codec::message_to_msgpack(&json, out).expect("a message is JSON and flat");
            }
        }
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Bytes that are not a message, or a known message without a member it must have. A message of an
    /// unknown type is [`ServerMessage::Unknown`].
    pub fn decode(codec: Codec, bytes: &[u8]) -> Result<ServerMessage, ServerMessageError> {
        match codec {
            Codec::Json => decode_json(bytes),
            Codec::MsgPack => {
                let mut json = Vec::with_capacity(bytes.len() * 2);
                codec::to_json(bytes, MAX_SERVER_DEPTH, &mut json)?;
                decode_json(&json)
            }
        }
    }
}

fn decode_json(bytes: &[u8]) -> Result<ServerMessage, ServerMessageError> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        name: Cow<'a, str>,
    }

    // Nearly every message is an update, and its raw data cannot pass through the tagged enum's buffer.
    let is_update =
        bytes.starts_with(br#"{"type":"update","#) || serde_json::from_slice::<Kind<'_>>(bytes)?.name == "update";
    if is_update {
        return Ok(ServerMessage::Update(serde_json::from_slice(bytes)?));
    }
    Ok(serde_json::from_slice(bytes)?)
}
