//! What a client may say, read strictly.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::members::{Fault, Members};
use super::{Mode, RequestId, Secret};
use crate::codec::{self, Codec, MAX_DEPTH};
use crate::error::ErrorCode;

/// Most channels of one message whatever the configuration says; bounds what a message can cost to read.
pub const MAX_CHANNELS_PER_MESSAGE: usize = 4_096;

/// Longest piece of the client's text repeated in an error message, in characters.
const MAX_ECHO_CHARS: usize = 64;

/// A message from a client.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Begin or replace subscriptions.
    Subscribe {
        /// Given back in the answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// At least one, at most [`MAX_CHANNELS_PER_MESSAGE`].
        channels: Vec<ChannelRequest>,
        /// Cursor of every channel that has none of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    /// End subscriptions.
    Unsubscribe {
        /// Given back in the answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// At least one, as typed.
        channels: Vec<String>,
    },
    /// Ask for a `pong`.
    Ping {
        /// Given back in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// Sign in, or refresh the token of a signed-in connection.
    Auth {
        /// Given back in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Never logged.
        #[serde(serialize_with = "serialize_secret")]
        token: Secret,
    },
    /// Publish to a channel.
    Publish {
        /// Given back in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// As typed.
        channel: String,
        /// One JSON value that passes [`validate_payload`](crate::validate_payload).
        data: Box<RawValue>,
    },
}

/// One entry of `subscribe`. The channel is kept as typed: whether it is valid is answered per channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelRequest {
    /// As typed.
    pub channel: String,
    /// Cursor to continue from, as typed.
    pub since: Option<String>,
    /// Asked-for delivery mode; the channel's rule decides when absent.
    pub mode: Option<Mode>,
    /// The first option that is reserved and not offered yet: `filter`, `every` or `delta`. Never encoded.
    pub unsupported: Option<&'static str>,
}

impl From<&str> for ChannelRequest {
    fn from(channel: &str) -> ChannelRequest {
        ChannelRequest { channel: channel.to_owned(), ..ChannelRequest::default() }
    }
}

/// Why a client's message was refused, ready to be sent back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// The request's id, where it could still be read.
    pub id: Option<RequestId>,
    /// Always a strike.
    pub code: ErrorCode,
    /// What is wrong; repeats at most 64 characters of the message.
    pub message: String,
}

impl ClientMessage {
    /// Reads one whole message.
    ///
    /// # Errors
    /// `invalid_message`, `unknown_type` or `too_many_channels`, with the request's id where it was readable:
    /// that is, before the first fault of syntax, and not repeated.
    pub fn decode(codec: Codec, bytes: &[u8]) -> Result<ClientMessage, DecodeError> {
        match codec {
            Codec::Json => match std::str::from_utf8(bytes) {
                Ok(text) => decode_json(text),
                Err(_) => Err(DecodeError::new(None, "message is not UTF-8")),
            },
            Codec::MsgPack => {
                let mut json = Vec::with_capacity(bytes.len() + bytes.len() / 4);
                let outcome = codec::to_json(bytes, MAX_DEPTH + 1, &mut json);
                let text = std::str::from_utf8(&json).expect("JSON is written as UTF-8");
                match outcome {
                    Ok(()) => decode_json(text),
                    Err(fault) => {
                        let (members, _) = Members::read(text, &MESSAGE_MEMBERS);
                        Err(DecodeError::new(members.id(), fault.to_string()))
                    }
                }
            }
        }
    }

    /// Writes the message.
    ///
    /// Text goes out as it is, valid or not, so that a test can say anything. In MessagePack the `data` of a
    /// `publish` that does not pass [`validate_payload`](crate::validate_payload) is written as nil.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        let to_json = |message: &ClientMessage| serde_json::to_string(message).expect("a message has string keys only");
        match codec {
            Codec::Json => to_json(self).into_bytes(),
            Codec::MsgPack => {
                let mut out = Vec::new();
                if codec::message_to_msgpack(&to_json(self), &mut out).is_err() {
                    out.clear();
                    codec::message_to_msgpack(&to_json(&self.clone().without_data()), &mut out)
                        .expect("only data can be outside MessagePack");
                }
                out
            }
        }
    }

    /// The request's id.
    pub fn id(&self) -> Option<&RequestId> {
        match self {
            ClientMessage::Subscribe { id, .. }
            | ClientMessage::Unsubscribe { id, .. }
            | ClientMessage::Ping { id }
            | ClientMessage::Auth { id, .. }
            | ClientMessage::Publish { id, .. } => id.as_ref(),
        }
    }

    /// The message's `type`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            ClientMessage::Subscribe { .. } => "subscribe",
            ClientMessage::Unsubscribe { .. } => "unsubscribe",
            ClientMessage::Ping { .. } => "ping",
            ClientMessage::Auth { .. } => "auth",
            ClientMessage::Publish { .. } => "publish",
        }
    }

    fn without_data(mut self) -> ClientMessage {
        if let ClientMessage::Publish { data, .. } = &mut self {
            *data = RawValue::NULL.to_owned();
        }
        self
    }
}

impl DecodeError {
    fn new(id: Option<RequestId>, message: impl Into<String>) -> DecodeError {
        DecodeError { id, code: ErrorCode::InvalidMessage, message: message.into() }
    }
}

fn decode_json(text: &str) -> Result<ClientMessage, DecodeError> {
    let (members, outcome) = Members::read(text, &MESSAGE_MEMBERS);
    let id = members.id();
    outcome
        .and_then(|()| members.check())
        .and_then(|()| members.message())
        .map_err(|Fault { code, message }| DecodeError { id, code, message })
}

const MESSAGE_MEMBERS: [&str; 7] = ["type", "id", "channels", "since", "token", "channel", "data"];
const REQUEST_MEMBERS: [&str; 6] = ["channel", "since", "mode", "filter", "every", "delta"];
const RESERVED_OPTIONS: [&str; 3] = ["filter", "every", "delta"];

impl<'a> Members<'a, 7> {
    /// The id alone, if it is one and stands there once.
    fn id(&self) -> Option<RequestId> {
        if self.repeated == Some("id") {
            return None;
        }
        self.checked_id().ok().flatten()
    }

    fn checked_id(&self) -> Result<Option<RequestId>, Fault> {
        self.optional("id", "an integer from 0 to 2^53 - 1 or a string of at most 64 bytes")
    }

    fn message(&self) -> Result<ClientMessage, Fault> {
        let name: String = self.required("type", "a string")?;
        let id = self.checked_id()?;
        Ok(match name.as_str() {
            "subscribe" => {
                let channels = self.list("a list of channels")?;
                let channels = channels.into_iter().enumerate().map(channel_request);
                ClientMessage::Subscribe {
                    id,
                    channels: channels.collect::<Result<_, _>>()?,
                    since: self.optional("since", "a string")?,
                }
            }
            "unsubscribe" => {
                let channels = self.list("a list of channel names")?;
                let channels = channels.into_iter().enumerate().map(|(at, raw)| {
                    serde_json::from_str(raw.get()).map_err(|_| Fault::from(format!("channels[{at}] is not a string")))
                });
                ClientMessage::Unsubscribe { id, channels: channels.collect::<Result<_, _>>()? }
            }
            "ping" => ClientMessage::Ping { id },
            "auth" => ClientMessage::Auth { id, token: Secret::new(self.required::<String>("token", "a string")?) },
            "publish" => {
                let channel = self.required("channel", "a string")?;
                let data = self.values[6].ok_or("member \"data\" is missing")?;
                ClientMessage::Publish { id, channel, data: data.to_owned() }
            }
            other => return Err(unknown_type(other)),
        })
    }

    fn list(&self, expected: &str) -> Result<Vec<&'a RawValue>, Fault> {
        let list: Vec<&RawValue> = self.required("channels", expected)?;
        match list.len() {
            0 => Err("member \"channels\" is empty".into()),
            1..=MAX_CHANNELS_PER_MESSAGE => Ok(list),
            len => Err(Fault {
                code: ErrorCode::TooManyChannels,
                message: format!("{len} channels in one message, {MAX_CHANNELS_PER_MESSAGE} allowed"),
            }),
        }
    }
}

fn unknown_type(name: &str) -> Fault {
    let shown: String = name.chars().take(MAX_ECHO_CHARS).collect();
    Fault { code: ErrorCode::UnknownType, message: format!("unknown message type {shown:?}") }
}

fn channel_request((at, raw): (usize, &RawValue)) -> Result<ChannelRequest, Fault> {
    if let Ok(channel) = serde_json::from_str::<String>(raw.get()) {
        return Ok(ChannelRequest { channel, ..ChannelRequest::default() });
    }
    let (members, outcome) = Members::read(raw.get(), &REQUEST_MEMBERS);
    if outcome.is_err() {
        return Err(format!("channels[{at}] is neither a string nor an object").into());
    }
    let request = members.check().and_then(|()| {
        Ok(ChannelRequest {
            channel: members.required("channel", "a string")?,
            since: members.optional("since", "a string")?,
            mode: members.optional("mode", "\"latest\" or \"all\"")?,
            unsupported: RESERVED_OPTIONS.into_iter().find(|name| members.raw(name).is_some()),
        })
    });
    request.map_err(|fault| Fault { message: format!("channels[{at}]: {}", fault.message), ..fault })
}

impl Serialize for ChannelRequest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.since.is_none() && self.mode.is_none() {
            return to.serialize_str(&self.channel);
        }
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("channel", &self.channel)?;
        if let Some(since) = &self.since {
            map.serialize_entry("since", since)?;
        }
        if let Some(mode) = &self.mode {
            map.serialize_entry("mode", mode)?;
        }
        map.end()
    }
}

fn serialize_secret<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}
