//! What is stale at present: the whole connection, or some of its channels.
//!
//! A connection begins live, and what it said of its channels ends with it. While there is none, everything is as old
//! as its end.

use std::collections::BTreeMap;

use odin_protocol::{Channel, StaleReason};

use crate::event::Event;

/// Why values may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Staleness {
    /// There is no connection.
    Away,
    /// The gateway says so.
    Told {
        /// Why, if it said that.
        reason: Option<StaleReason>,
        /// Complete up to then, in milliseconds since 1970.
        since_ms: Option<i64>,
    },
}

/// Keeps account of what is stale, from the events of one client. It holds at most an entry for each subscription.
///
/// ```
/// use odin_client::{Event, Freshness, Staleness};
///
/// let mut freshness = Freshness::default();
/// assert_eq!(freshness.connection(), Some(Staleness::Away));
/// freshness.observe(&Event::Live { channel: None });
/// # assert_eq!(freshness.connection(), Some(Staleness::Away));
/// assert_eq!(freshness.of("price:BTC"), Some(Staleness::Away));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    is_connected: bool,
    connection: Option<Staleness>,
    channels: BTreeMap<Channel, Staleness>,
}

impl Freshness {
    /// Takes an event in. All of a client's events must be shown to it, in their order.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Connected(_) => *self = Freshness { is_connected: true, ..Freshness::default() },
            Event::Reconnecting { .. } | Event::Idle | Event::Closed { .. } => *self = Freshness::default(),
            Event::Stale { channel, reason, since_ms } => {
                let stale = Staleness::Told { reason: *reason, since_ms: *since_ms };
                match channel {
                    None => self.connection = Some(stale),
                    Some(name) => {
                        if let Ok(channel) = Channel::parse(name) {
                            self.channels.insert(channel, stale);
                        }
                    }
                }
            }
            Event::Live { channel: None } => self.connection = None,
            Event::Live { channel: Some(channel) }
            | Event::Subscribed { channel, .. }
            | Event::Unsubscribed { channel } => {
                self.channels.remove(channel.as_str());
            }
            _ => {}
        }
    }

    /// Whether everything is stale, and why.
    pub fn connection(&self) -> Option<Staleness> {
        if self.is_connected { self.connection } else { Some(Staleness::Away) }
    }

    /// Whether a concrete channel is stale: with the whole connection, by itself or under a pattern.
    pub fn of(&self, channel: &str) -> Option<Staleness> {
        if let Some(stale) = self.connection() {
            return Some(stale);
        }
        if self.channels.is_empty() {
            return None;
        }
        if let Some(stale) = self.channels.get(channel) {
            return Some(*stale);
        }
        let channel = Channel::parse(channel).ok()?;
        self.channels.iter().find(|(name, _)| name.is_pattern() && name.matches(&channel)).map(|(_, stale)| *stale)
    }

    /// The subscriptions that are stale by themselves, as subscribed.
    pub fn channels(&self) -> impl Iterator<Item = (&Channel, Staleness)> {
        self.channels.iter().map(|(channel, stale)| (channel, *stale))
    }
}

#[cfg(test)]
mod tests {
    use odin_protocol::ConnectionStatus;

    use super::*;
    use crate::{event::Connected, parting::Parting};

    fn connected() -> Event {
        let status = ConnectionStatus {
            status: ConnectionStatus::CONNECTED.into(),
            connection_id: "1".to_owned(),
            heartbeat_ms: 25_000,
            idle_timeout_ms: None,
            connected_clients: 1,
            max_message_bytes: 65_536,
            epoch: None,
            server: None,
        };
        Event::Connected(Connected { url: "ws://a/".to_owned(), status, reconnects: 0 })
    }

    fn stale(channel: Option<&str>) -> Event {
        let reason = Some(StaleReason::BusLost);
        Event::Stale { channel: channel.map(str::to_owned), reason, since_ms: Some(5) }
    }

    fn live(channel: Option<&str>) -> Event {
        Event::Live { channel: channel.map(str::to_owned) }
    }

    fn after(events: &[Event]) -> Freshness {
        let mut freshness = Freshness::default();
        freshness.observe(&connected());
        events.iter().for_each(|event| freshness.observe(event));
        freshness
    }

    #[test]
    fn connection_and_channels_are_stale_apart() {
        let told = Staleness::Told { reason: Some(StaleReason::BusLost), since_ms: Some(5) };
        let freshness = after(&[stale(Some("price:BTC")), stale(None), live(Some("price:BTC"))]);
        assert_eq!((freshness.connection(), freshness.of("price:BTC")), (Some(told), Some(told)));
        let freshness = after(&[stale(Some("price:BTC")), stale(None), live(None)]);
        assert_eq!((freshness.connection(), freshness.of("price:BTC")), (None, Some(told)));
        assert_eq!(freshness.of("price:ETH"), None);
        assert_eq!(freshness.channels().count(), 1);
    }

    #[test]
    fn a_stale_pattern_makes_its_channels_stale() {
        let freshness = after(&[stale(Some("price:*"))]);
        assert!(freshness.of("price:BTC").is_some());
        assert_eq!(freshness.of("volume:BTC"), None);
        assert_eq!(freshness.of("no name"), None);
    }

    #[test]
    fn a_subscription_that_begins_is_live_and_so_is_a_connection() {
        let subscribed = Event::Subscribed {
            channel: "price:BTC".to_owned(),
            mode: odin_protocol::Mode::All,
            recovered: true,
            reason: None,
            is_anew: false,
            cursor: None,
        };
        assert_eq!(after(&[stale(Some("price:BTC")), subscribed]).of("price:BTC"), None);
        let lost = Event::Reconnecting { attempt: 1, after: std::time::Duration::ZERO, why: Parting::Drained };
        let mut freshness = after(&[stale(Some("price:BTC")), stale(None), lost]);
        assert_eq!(freshness.of("price:BTC"), Some(Staleness::Away));
        freshness.observe(&connected());
        assert_eq!((freshness.connection(), freshness.of("price:BTC")), (None, None));
    }
}
