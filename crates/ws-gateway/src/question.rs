//! A request that is answered once: what a shard is asked for an HTTP client that has no connection of its own.
//!
//! The shard serves it like a connection, with the same rules, feeds and cursors; what it writes goes into memory, and
//! is the answer as soon as it is enough of one.

use std::time::Duration;

use odin_protocol::{Cursor, Epoch, message::ClientMessage};
use tokio::sync::oneshot;

use crate::{guest::Guest, shard::Rates};

/// See the module.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) guest: Guest,
    pub(crate) message: ClientMessage,
    /// What the client has had of channels that are several chains, beyond their cursors.
    pub(crate) had: Vec<Had>,
    pub(crate) patience: Patience,
    /// What the client's connection has used of what it may do. It comes back with the answer.
    pub(crate) rates: Rates,
    /// No more is written into the answer once it has so many bytes.
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Where a client stands in a channel, and sequences of its chains that are not to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Had {
    pub(crate) channel: String,
    /// The sequence of its cursor.
    pub(crate) seq: u64,
    /// The mark of a chain (see [`mark_of`]) and its last sequence.
    pub(crate) chains: Vec<(u64, u64)>,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// What there is now.
    Now,
    /// Something new, for so long.
    UntilNews(Duration),
    /// History: everything since a cursor; without one from the oldest message that is kept.
    Past {
        from: From,
        /// More updates than this are of no use.
        updates: usize,
    },
}

/// Where a history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The cursor of the channel.
    Cursor,
    /// What is kept.
    Oldest,
    /// What was stored then or later, in milliseconds since 1970.
    Time(i64),
}

/// What a shard wrote.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// WebSocket frames of a server, whole ones.
    pub(crate) frames: Vec<u8>,
    /// What it says of each subscription that began.
    pub(crate) reached: Vec<Reached>,
    /// Not every channel was answered in time.
    pub(crate) is_late: bool,
    pub(crate) rates: Rates,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) channel: String,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) is_one_chain: bool,
    /// Nothing more is owed to it.
    pub(crate) is_at_head: bool,
    /// Everything up to this sequence was sent, and that is proven.
    pub(crate) complete: u64,
    /// The newest position of the stream that is not beyond.
    pub(crate) position: Option<Cursor>,
}

/// Bits of a mark: nine characters to the base of 36. Two of 256 chains have the same one less than once in 10^9
/// cursors.
const MARK_BITS: u32 = 46;

/// A short name of a chain for cursors: FNV-1a (draft-eastlake-fnv) of channel and key, folded.
pub(crate) fn mark_of(channel: &str, key: Option<&str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let separator = key.map(|_| 0u8);
    for byte in channel.bytes().chain(separator).chain(key.unwrap_or_default().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash >> MARK_BITS) ^ (hash & ((1 << MARK_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_have_marks_of_their_own() {
        let mut marks: Vec<u64> = (0..10_000).map(|n| mark_of(&format!("price:T{n}"), None)).collect();
        marks.extend((0..10_000).map(|n| mark_of("signals:all", Some(&format!("momentum.T{n}")))));
        assert!(marks.iter().all(|mark| mark >> MARK_BITS == 0));
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), 20_000);
        assert_ne!(mark_of("a", Some("b")), mark_of("ab", None));
    }
}
