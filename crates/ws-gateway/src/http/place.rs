//! Where a polling client stands: a cursor for each channel, and what it has had beyond them.
//!
//! The position of a channel that is several chains (a pattern, or updates with `key`) is a proven one, and may be
//! seconds old. What came since then would come again with each poll, so its place also says the last sequence of every
//! chain since: `cursor!mark.distance!mark.distance`, both to the base of 36. Any gateway can read it, and none has to
//! remember anything.

use std::fmt::{self, Write};

use odin_protocol::Cursor;

/// Chains that a place names; what is beyond them comes again.
pub(super) const MAX_CHAINS: usize = 256;

/// Longest place that is read, in bytes: a cursor, and each chain with eleven digits for its mark and distance, or a few
/// more.
const MAX_BYTES: usize = 64 + MAX_CHAINS * 24;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// As the client wrote it; whether it is one is told with the answer.
    pub(super) cursor: String,
    /// Marks of chains and their last sequences, all of them beyond the cursor.
    pub(super) chains: Vec<(u64, u64)>,
}

impl Place {
    /// Reads a place, or any cursor. What cannot be read is a cursor that is none.
    pub(super) fn parse(text: &str) -> Self {
        let (cursor, rest) = text.split_once('!').unwrap_or((text, ""));
        let unreadable = || Self { cursor: text.chars().take(64).collect(), chains: Vec::new() };
        if rest.is_empty() {
            return Self { cursor: cursor.to_owned(), chains: Vec::new() };
        }
        let Ok(Cursor { seq, .. }) = cursor.parse() else {
            return unreadable();
        };
        let chain = |entry: &str| {
            let (mark, distance) = entry.split_once('.')?;
            let distance = u64::from_str_radix(distance, 36).ok()?;
            Some((u64::from_str_radix(mark, 36).ok()?, seq.checked_add(distance)?))
        };
        let chains: Option<Vec<_>> = rest.split('!').map(chain).collect();
        match chains.filter(|chains| chains.len() <= MAX_CHAINS && text.len() <= MAX_BYTES) {
            Some(chains) => Self { cursor: cursor.to_owned(), chains },
            None => unreadable(),
        }
    }

    /// The place at a cursor, with the chains that are beyond it; the newest ones if there are too many.
    pub(super) fn new(cursor: Cursor, chains: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut chains: Vec<_> = chains.into_iter().filter(|(_, seq)| *seq > cursor.seq).collect();
        chains.sort_unstable_by_key(|(_, seq)| std::cmp::Reverse(*seq));
        chains.truncate(MAX_CHAINS);
        Self { cursor: cursor.to_string(), chains }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cursor)?;
        let base = self.cursor.parse().map_or(0, |cursor: Cursor| cursor.seq);
        for (mark, seq) in &self.chains {
            f.write_char('!')?;
            base36(*mark, f)?;
            f.write_char('.')?;
            base36(seq.saturating_sub(base), f)?;
        }
        Ok(())
    }
}

fn base36(mut number: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // 36^13 > 2^64
    let mut digits = [0u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    f.write_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURSOR: &str = "1.k3j9x2m4.1042.1767225600000";

    #[test]
    fn a_cursor_is_a_place() {
        assert_eq!(Place::parse(CURSOR), Place { cursor: CURSOR.to_owned(), chains: vec![] });
        assert_eq!(Place::parse("whatever"), Place { cursor: "whatever".to_owned(), chains: vec![] });
    }

    #[test]
    fn names_the_newest_chains_beyond_its_cursor() {
        let cursor: Cursor = CURSOR.parse().expect("a cursor");
        let place = Place::new(cursor, (0..1_000).map(|n| (n, 1_000 + n)));
        assert_eq!(place.chains.len(), MAX_CHAINS);
        assert!(place.chains.iter().all(|(_, seq)| *seq >= 2_000 - MAX_CHAINS as u64));
        let few = Place::new(cursor, [(7, 1_042), (8, 1_043)]);
        assert_eq!(few.to_string(), format!("{CURSOR}!8.1"));
    }

    /// A place that was written by somebody else: it is a cursor that is none, whatever it says.
    #[test]
    fn what_cannot_be_read_is_no_place() {
        let long = format!("{CURSOR}{}", "!1.1".repeat(MAX_CHAINS + 1));
        for text in [
            "x!1.1",
            &format!("{CURSOR}!"),
            &format!("{CURSOR}!1"),
            &format!("{CURSOR}!1.-1"),
            &format!("{CURSOR}!1.zzzzzzzzzzzzzzzz"),
            &format!("{CURSOR}!1.1!"),
            &long,
        ] {
            let place = Place::parse(text);
            assert!(place.chains.is_empty(), "{text}");
            assert!(place.cursor.len() <= 64, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(chains in proptest::collection::vec((0u64..1 << 46, 1u64..1 << 40), 0..64)) {
            let cursor: Cursor = CURSOR.parse().expect("a cursor");
            let place = Place::new(cursor, chains.into_iter().map(|(mark, distance)| (mark, cursor.seq + distance)));
            prop_assert_eq!(Place::parse(&place.to_string()), place);
        }

        #[test]
        fn reads_anything(text in ".{0,200}") {
            Place::parse(&text);
        }
    }
}
