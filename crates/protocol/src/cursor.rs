//! A position in the stream: what a client hands back to continue on any gateway.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest cursor a gateway reads, in bytes. Version 1 needs at most 53.
pub const MAX_CURSOR_BYTES: usize = 64;
/// Length of an epoch, in bytes.
pub const EPOCH_BYTES: usize = 8;

/// The identity of the stream, eight characters of `0-9 a-z`.
///
/// Sequences of two epochs have nothing to do with each other.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch([u8; EPOCH_BYTES]);

/// A publication's place in the stream. Its text form is the cursor of the wire protocol.
///
/// ```
/// use odin_protocol::Cursor;
///
/// let cursor: Cursor = "1.k3j9x2m4.1042.1767225600000".parse()?;
/// assert_eq!((cursor.seq, cursor.ts_ms), (1_042, 1_767_225_600_000));
/// assert_eq!(cursor.to_string(), "1.k3j9x2m4.1042.1767225600000");
/// # Ok::<(), odin_protocol::CursorError>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    /// The stream the sequence belongs to.
    pub epoch: Epoch,
    /// Everything up to this sequence was delivered; 0 is the beginning of the stream.
    pub seq: u64,
    /// Stream time of that sequence, in milliseconds since 1970: tells a re-used number apart.
    pub ts_ms: i64,
}

/// Why a text is not a cursor or epoch. It never repeats the text.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// More than [`MAX_CURSOR_BYTES`].
    #[error("cursor longer than {MAX_CURSOR_BYTES} bytes")]
    TooLong,
    /// Written by another version of the protocol.
    #[error("cursor of an unknown version")]
    Version,
    /// Not the four parts, or a number that is not canonical decimal.
    #[error("cursor with a part missing or malformed")]
    Malformed,
    /// Not eight characters of `0-9 a-z`.
    #[error("epoch that is not {EPOCH_BYTES} characters of 0-9 and a-z")]
    Epoch,
}

impl Epoch {
    /// The epoch of a hash of whatever makes the stream unique. Different hashes may give the same epoch
    /// only if they agree modulo 36^8.
    pub fn from_hash(hash: u64) -> Epoch {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut rest = hash;
        let mut text = [b'0'; EPOCH_BYTES];
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        Epoch(text)
    }

    /// The eight characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is made of ASCII only")
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Epoch, CursorError> {
        let bytes = <[u8; EPOCH_BYTES]>::try_from(text.as_bytes()).map_err(|_| CursorError::Epoch)?;
        let is_digit = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        if bytes.iter().all(is_digit) { Ok(Epoch(bytes)) } else { Err(CursorError::Epoch) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Epoch, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Epoch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an epoch")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Epoch, E> {
                text.parse().map_err(E::custom)
            }
        }

        from.deserialize_str(Text)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}.{}", self.epoch, self.seq, self.ts_ms)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        if text.len() > MAX_CURSOR_BYTES {
            return Err(CursorError::TooLong);
        }
        let mut parts = text.split('.');
        let version = parts.next().unwrap_or_default();
        if version != "1" {
            return Err(CursorError::Version);
        }
        let (Some(epoch), Some(seq), Some(ts_ms), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError::Malformed);
        };
        let cursor = Cursor {
            epoch: epoch.parse()?,
            seq: seq.parse().map_err(|_| CursorError::Malformed)?,
            ts_ms: ts_ms.parse().map_err(|_| CursorError::Malformed)?,
        };
        // One position has one text: `+7`, `007` and `-0` are refused.
        if cursor.to_string() == text { Ok(cursor) } else { Err(CursorError::Malformed) }
    }
}
