//! Messages: what a client may say and what a gateway answers.
//!
//! A gateway reads strictly and says what is wrong; a client reads leniently, so that it survives a newer
//! gateway: unknown members are skipped and an unknown type is [`ServerMessage::Unknown`].

mod client;
mod members;
mod server;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use client::{ChannelRequest, ClientMessage, DecodeError, MAX_CHANNELS_PER_MESSAGE};
pub use server::{ConnectionStatus, ErrorMessage, ServerMessage, ServerMessageError, SystemState, Update};

use crate::MAX_SAFE_INTEGER;

/// Longest text of a request id, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 64;

/// The client's own name for a request, given back in every answer to it as it came.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum RequestId {
    /// At most 2^53 - 1.
    Number(u64),
    /// At most [`MAX_REQUEST_ID_BYTES`].
    Text(Box<str>),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Number(number) => write!(f, "{number}"),
            RequestId::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            RequestId::Number(number) => to.serialize_u64(*number),
            RequestId::Text(text) => to.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RequestId, D::Error> {
        struct Id;

        impl de::Visitor<'_> for Id {
            type Value = RequestId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer from 0 to 2^53 - 1 or a string of at most 64 bytes")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RequestId, E> {
                if number > MAX_SAFE_INTEGER {
                    return Err(E::custom("request id above 2^53 - 1"));
                }
                Ok(RequestId::Number(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RequestId, E> {
                if text.len() > MAX_REQUEST_ID_BYTES {
                    return Err(E::custom("request id longer than 64 bytes"));
                }
                Ok(RequestId::Text(text.into()))
            }
        }

        from.deserialize_any(Id)
    }
}

/// What a subscription delivers to a client that falls behind.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The newest value; what lies between is merged away.
    Latest,
    /// Every publication, in order.
    All,
}

impl Mode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Latest => "latest",
            Mode::All => "all",
        }
    }
}

/// A text that never reaches a log by accident: `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
