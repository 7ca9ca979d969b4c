//! What gateways say to each other. Every text from the wire is either one of these or dropped.
//!
//! Below `cluster.subject`: `presence`, `hello`, `ask` and `bye` are for everybody; `to.<boot>.everything`,
//! `to.<boot>.answer` and `to.<boot>.replace` are for one gateway. Nobody ever answers to a subject that a message names.
//! Members that are not known are passed over, so that gateways of two releases understand each other.

use std::{collections::HashMap, fmt, net::IpAddr, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::key::Key;

/// Users named in one message, so that it stays below 256 KiB.
pub(super) const USERS_PER_MESSAGE: usize = 3_500;

/// Larger ones are not read.
pub(super) const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// Longest id of a user in a question.
pub(crate) const MAX_SUB_BYTES: usize = 1024;

/// The name of a gateway, for people: host and port. Letters, digits, `-`, `_` and `.`, at most 80 of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "String")]
pub(crate) struct Name(Arc<str>);

const MAX_NAME_BYTES: usize = 80;

impl Name {
    /// That of a gateway on this host which clients reach by this port.
    pub(crate) fn here(port: u16) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
        Self::of(host.as_deref().unwrap_or("gateway"), port)
    }

    /// What is not allowed becomes `-`.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let host = host.trim().chars().take(MAX_NAME_BYTES - 10);
        let host: String = host.map(|c| if is_allowed(c) { c } else { '-' }).collect();
        Self(format!("{host}-{port}").into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for Name {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(is_allowed) {
            return Err("no name of a gateway");
        }
        Ok(Self(text.into()))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// One life of a gateway's process; 8 hex digits where it is written, as in the ids of its connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "String")]
pub(crate) struct Boot(pub(crate) u32);

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Boot {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let boot = is_hex.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        boot.map(Self).ok_or("no boot id of 8 hex digits")
    }
}

impl TryFrom<Box<str>> for Boot {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Boot> for String {
    fn from(boot: Boot) -> Self {
        boot.to_string()
    }
}

/// How many connections a user has, and when the oldest began, in milliseconds since 1970. None: no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held(pub(super) u32, pub(super) i64);

/// What a gateway has. As a `presence` it names the users that changed since the one before it, with all that they have
/// now; as `everything`, cut into parts, it names all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Presence {
    pub(super) gateway: Name,
    pub(super) boot: Boot,
    /// Presences count up by one; everything carries the number of the last one before it.
    pub(super) n: u64,
    /// Of everybody, signed in or not.
    pub(super) connections: u64,
    /// What the users' numbers come to with this message; a part that is not the last has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<Total>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Part>,
    pub(super) users: HashMap<Key, Held>,
}

/// Tells whether what was heard comes to what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) users: u64,
    pub(super) connections: u64,
}

/// Which piece of everything, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) index: u32,
    pub(super) of: u32,
}

/// Somebody wants to know everything: of one gateway, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) boot: Boot,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Boot>,
}

/// A gateway has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bye {
    pub(super) gateway: Name,
    pub(super) boot: Boot,
}

/// Which connections a user has. Answered to the gateway that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) boot: Boot,
    pub(super) id: u64,
    pub(super) sub: Box<str>,
}

/// Those of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) gateway: Name,
    pub(super) boot: Boot,
    pub(super) id: u64,
    pub(super) connections: Vec<Seen>,
    /// Whether these are all of them.
    #[serde(rename = "isComplete")]
    pub(super) is_complete: bool,
}

/// The user's oldest connections are to end, so many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replace {
    pub(super) sub: Box<str>,
    pub(super) count: u32,
}

/// A connection, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    /// As its client was told.
    pub(crate) connection_id: String,
    /// The client's address, as far as it is known.
    pub(crate) ip: IpAddr,
    /// When it was opened, in milliseconds since 1970.
    pub(crate) since_ms: i64,
    /// Channels it is subscribed to.
    pub(crate) channels: u32,
    /// The `jti` of the token it signed in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_message_stays_below_256_kib() {
        let users = (0..USERS_PER_MESSAGE).map(|i| (Key::of(&i.to_string()), Held(u32::MAX, i64::MIN)));
        let presence = Presence {
            gateway: Name::of(&"x".repeat(200), u16::MAX),
            boot: Boot(u32::MAX),
            n: u64::MAX,
            connections: u64::MAX,
            total: Some(Total { users: u64::MAX, connections: u64::MAX }),
            part: Some(Part { index: u32::MAX, of: u32::MAX }),
            users: users.collect(),
        };
        let text = serde_json::to_vec(&presence).expect("json");
        assert!(text.len() < 256 * 1024, "{} bytes", text.len());
        assert_eq!(serde_json::from_slice::<Presence>(&text).expect("its own words"), presence);
    }

    #[test]
    fn names_are_fit_for_logs_and_subjects() {
        assert_eq!(Name::of("pod 1\n", 8080).as_str(), "pod-1-8080");
        for text in ["", "a b", "a\n", "é", &"x".repeat(81)] {
            assert!(Name::try_from(Box::<str>::from(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_boot_id_has_eight_hex_digits() {
        assert_eq!("0000002a".parse::<Boot>().map(|boot| boot.to_string()).as_deref(), Ok("0000002a"));
        for text in ["", "2a", "0000002a0", "+000002a", "*"] {
            assert!(text.parse::<Boot>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_newer_release_adds_is_passed_over() {
        let text = r#"{"boot":"0000002a","mood":"good"}"#;
        assert_eq!(serde_json::from_str::<Hello>(text).expect("hello"), Hello { boot: Boot(42), to: None });
    }
}
