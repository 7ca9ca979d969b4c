//! What came, decoded once for all clients of this process that get the same bytes.

use odin_protocol::{Codec, Epoch, ServerMessage};
use serde::Deserialize;

use crate::channels::Names;

/// Publications remembered. A gateway writes one to all its subscribers before the next, so a few would do.
const SLOTS: usize = 1024;

/// Bytes of a message that decide about its slot: its head, where publications differ.
const KEY_BYTES: usize = 96;

/// What an update says but for its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its channel.
    pub channel: u32,
    /// Its key, where the channel has several chains.
    pub key: Option<u32>,
    /// Its sequence.
    pub seq: u64,
    /// That of the one before it.
    pub prev: Option<u64>,
    /// When the stream stored it, in milliseconds since 1970.
    pub ts_ms: i64,
    /// The stream.
    pub epoch: Epoch,
    /// Whether it is the last value, sent because a subscription begins.
    pub snapshot: bool,
    /// When its publisher made it, in microseconds since 1970; 0 if it does not say.
    pub made_us: u64,
}

/// What came.
#[derive(Debug)]
pub enum Heard {
    /// An update.
    Update(Head),
    /// Anything else.
    Other(Box<ServerMessage>),
}

#[derive(Debug)]
struct Slot {
    codec: Codec,
    bytes: Vec<u8>,
    head: Head,
}

/// See the module.
#[derive(Debug)]
pub struct News {
    slots: Vec<Option<Slot>>,
    /// Names of channels and keys.
    pub names: Names,
    /// Messages that had to be decoded.
    pub decoded: u64,
}

impl News {
    /// With the names that are known already.
    pub fn new(names: Names) -> News {
        News { slots: (0..SLOTS).map(|_| None).collect(), names, decoded: 0 }
    }

    /// Reads a message. `None`: it is none, or has more names than we keep.
    pub fn read(&mut self, codec: Codec, bytes: &[u8]) -> Option<Heard> {
        let at = slot_of(codec, bytes);
        if let Some(slot) = &self.slots[at]
            && slot.codec == codec
            && slot.bytes == bytes
        {
            return Some(Heard::Update(slot.head));
        }
        self.decoded += 1;
        let update = match ServerMessage::decode(codec, bytes).ok()? {
            ServerMessage::Update(update) => update,
            other => return Some(Heard::Other(Box::new(other))),
        };
        let key = match &update.key {
            Some(key) => Some(self.names.number(key)?),
            None => None,
        };
        let head = Head {
            channel: self.names.number(&update.channel)?,
            key,
            seq: update.seq,
            prev: update.prev,
            ts_ms: update.ts,
            epoch: update.epoch,
            snapshot: update.snapshot,
            made_us: made_us(update.data.get()),
        };
        self.slots[at] = Some(Slot { codec, bytes: bytes.to_vec(), head });
        Some(Heard::Update(head))
    }
}

/// A hash of the head, eight bytes at a time.
fn slot_of(codec: Codec, bytes: &[u8]) -> usize {
    let head = &bytes[..bytes.len().min(KEY_BYTES)];
    let (words, rest) = head.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let hash = words.iter().fold(codec.index() as u64, |hash, word| mix(hash, u64::from_ne_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    // The high bits are the well-mixed ones.
    (hash >> 54) as usize % SLOTS
}

/// When the publisher made it: `sentUs`, else `timestamp`, which has milliseconds.
fn made_us(data: &str) -> u64 {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Stamp {
        sent_us: Option<u64>,
        timestamp: Option<u64>,
    }
    // A payload of another shape has no time: that is its publisher's affair.
    let stamp: Stamp = serde_json::from_str(data).unwrap_or_default();
    stamp.sent_us.or(stamp.timestamp.map(|ms| ms.saturating_mul(1000))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use odin_protocol::{UpdateHead, encode_update};

    use super::*;

    fn update(codec: Codec, seq: u64, data: &str) -> Vec<u8> {
        let epoch = "k3j9x2m4".parse().expect("an epoch");
        let head =
            UpdateHead { channel: "price:T1", key: None, seq, prev: Some(seq - 1), ts_ms: 5, epoch, snapshot: false };
        let mut out = Vec::new();
        encode_update(codec, &head, data.as_bytes(), &mut out).expect("JSON");
        out
    }

    #[test]
    fn decodes_a_publication_once_for_each_codec() {
        let mut news = News::new(Names::default());
        for _ in 0..10 {
            for codec in Codec::ALL {
                let Some(Heard::Update(head)) = news.read(codec, &update(codec, 7, r#"{"sentUs":9,"timestamp":1}"#))
                else {
                    panic!("an update")
                };
                assert_eq!(
                    (head.seq, head.prev, head.made_us, news.names.name(head.channel)),
                    (7, Some(6), 9, "price:T1")
                );
            }
        }
        assert_eq!(news.decoded, 2);
    }

    #[test]
    fn does_not_take_one_publication_for_another() {
        let mut news = News::new(Names::default());
        for seq in 1..5000 {
            let Some(Heard::Update(head)) = news.read(Codec::Json, &update(Codec::Json, seq, r#"{"timestamp":3}"#))
            else {
                panic!("an update")
            };
            assert_eq!((head.seq, head.made_us), (seq, 3000));
        }
    }

    /// Checklist 35, the other way round: what is no message is none.
    #[test]
    fn nonsense_is_no_message() {
        let mut news = News::new(Names::default());
        assert!(news.read(Codec::Json, b"{\"type\":\"update\"}").is_none());
        assert!(news.read(Codec::MsgPack, &[0xdd, 255, 255, 255, 255]).is_none());
        assert!(matches!(news.read(Codec::Json, br#"{"type":"live"}"#), Some(Heard::Other(_))));
    }
}
