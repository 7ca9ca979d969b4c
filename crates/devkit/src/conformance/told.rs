//! What the client's application got, as a test adapter tells us.
//!
//! Some of the protocol happens between a client and its application: an overlap is dropped, a gap is told. That cannot
//! be seen on the wire, so a small program beside the client says it, one JSON object a line:
//!
//! | `got` | more members | when |
//! |---|---|---|
//! | `update` | `channel`, `seq` | the application was given an update |
//! | `gap` | `channel` | it was told that publications are missing, announced or not |
//! | `loss` | `channel` | it was told that a subscription could not continue and may miss some |
//! | `stale`, `live` | | it was told |
//! | `closed` | | the client has ended and does not come back |

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Most that is kept for one scenario; then the oldest goes.
const MOST: usize = 16_384;

/// One thing the application got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// An update.
    Update {
        /// The concrete channel.
        channel: String,
        /// Its sequence.
        seq: u64,
    },
    /// Publications are missing.
    Gap {
        /// The concrete channel, or the pattern.
        channel: String,
    },
    /// A subscription began anew and some may be missing.
    Loss {
        /// As subscribed.
        channel: String,
    },
    /// Values may be old.
    Stale,
    /// Values are fresh again.
    Live,
    /// The client has ended.
    Closed,
}

/// A line of an adapter.
#[derive(serde::Deserialize)]
struct Line {
    scenario: Option<String>,
    got: String,
    channel: Option<String>,
    seq: Option<u64>,
}

impl Told {
    /// Reads a line: the scenario it is about, if it names one, and what was got.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(line: &str) -> Result<(Option<String>, Told), String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let channel = line.channel.ok_or("`channel` is missing");
        let told = match line.got.as_str() {
            "update" => Told::Update { channel: channel?, seq: line.seq.ok_or("`seq` is missing")? },
            "gap" => Told::Gap { channel: channel? },
            "loss" => Told::Loss { channel: channel? },
            "stale" => Told::Stale,
            "live" => Told::Live,
            "closed" => Told::Closed,
            other => return Err(format!("got what? {other:?} is not known")),
        };
        Ok((line.scenario, told))
    }
}

/// What was told of one scenario and not looked at yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: Mutex<VecDeque<Told>>,
    news: Notify,
}

impl Ear {
    pub(super) fn tell(&self, told: Told) {
        let mut waiting = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.pop_front();
        }
        waiting.push_back(told);
        drop(waiting);
        self.0.news.notify_one();
    }

    /// The next thing told.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn hear(&self) -> Told {
        loop {
            let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match told {
                Some(told) => return told,
                None => self.0.news.notified().await,
            }
        }
    }

    /// Forgets what was told before.
    pub(super) fn forget(&self) {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lacks_nothing_it_needs() {
        let update = Told::read(r#"{"scenario":"order","got":"update","channel":"price:BTC","seq":7,"more":1}"#);
        assert_eq!(update, Ok((Some("order".to_owned()), Told::Update { channel: "price:BTC".to_owned(), seq: 7 })));
        assert_eq!(Told::read(r#"{"got":"closed"}"#), Ok((None, Told::Closed)));
        for line in ["", "{}", r#"{"got":"update","seq":1}"#, r#"{"got":"update","channel":"a"}"#, r#"{"got":"rain"}"#]
        {
            assert!(Told::read(line).is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn keeps_the_newest_of_too_much() {
        let ear = Ear::default();
        for seq in 0..=MOST as u64 {
            ear.tell(Told::Update { channel: "a".to_owned(), seq });
        }
        assert_eq!(ear.hear().await, Told::Update { channel: "a".to_owned(), seq: 1 });
        ear.forget();
        ear.tell(Told::Live);
        assert_eq!(ear.hear().await, Told::Live);
    }
}
