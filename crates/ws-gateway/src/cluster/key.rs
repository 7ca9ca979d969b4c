//! The short name of a user or a token among gateways: of one size and one alphabet, whatever it stands for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// The first half of the SHA-256 of a text; 32 hex digits where it is written. Nobody finds two texts with one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 16]);

/// What was read is no key. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of 32 hex digits")]
pub(crate) struct KeyError;

impl Key {
    /// The key of a text.
    pub(crate) fn of(text: &str) -> Self {
        let digest = Sha256::digest(text);
        let (first, _) = digest.split_first_chunk().expect("thirty-two bytes");
        Self(*first)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        // One spelling each, so that a key is also the end of one subject only.
        if digits.len() != 32 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(KeyError);
        }
        let mut key = [0; 16];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| KeyError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| KeyError)?;
        }
        Ok(Self(key))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let key = Key::of("alice");
        assert_eq!(key.to_string(), "2bd806c97f0e00af1a1fc3328fa763a9");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_ne!(key, Key::of("Alice"));
    }

    #[test]
    fn nothing_else_is_a_key() {
        let long = "2bd806c97f0e00af1a1fc3328fa763a90";
        for text in ["", "2bd8", long, "2BD806C97F0E00AF1A1FC3328FA763A9", "+bd806c97f0e00af1a1fc3328fa763a9", "é"] {
            assert_eq!(text.parse::<Key>(), Err(KeyError), "{text}");
        }
    }
}
