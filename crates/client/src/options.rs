//! What a client is told at its start, and what it makes of it: nothing is checked twice later.

use std::path::PathBuf;
use std::time::Duration;

use odin_protocol::{Channel, ChannelError, Codec, Cursor, CursorError, Mode};
use thiserror::Error;

use crate::{
    address::Address,
    backoff::{Backoff, DEFAULT_BASE, DEFAULT_CAP},
    tls::Trust,
    token::TokenSource,
};

/// TCP, HTTP and the first message together may take this long.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that lived this long was a good one: the next wait is short again.
pub const DEFAULT_STABLE_AFTER: Duration = Duration::from_secs(30);
/// Time between two measurements of the round trip.
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(10);
/// Largest message taken, in bytes: four times what a gateway may send, so only nonsense is larger.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Events that wait for the application before the socket is no longer read.
pub const DEFAULT_EVENT_QUEUE: usize = 1_024;
/// A write that takes longer means that the connection is dead.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A source of tokens that takes longer has failed.
pub const DEFAULT_TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Fastest pace of pings: a gateway answers ten in a second.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(200);

/// How to connect. `Default` connects to `ws://127.0.0.1:8080/ws`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Gateways, `ws://host[:port][/path]` or `wss://…`; at least one. After a connection is lost or refused the next one of
    /// them is tried, after the last one the first again.
    pub urls: Vec<String>,
    /// How messages are written.
    pub codec: Codec,
    /// Limit for TCP, TLS, HTTP and the gateway's first message together, and for the answer to a token; more than zero.
    pub connect_timeout: Duration,
    /// Waits between tries to connect.
    pub backoff: Backoff,
    /// After this time a connection counts as good, and the waits begin at the shortest again.
    pub stable_after: Duration,
    /// Give up after so many tries in a row that came to nothing; `None`: never.
    pub max_attempts: Option<u32>,
    /// Time between two pings that measure the round trip, at least 200 ms; `None`: only when the gateway is silent.
    pub ping_interval: Option<Duration>,
    /// Largest message taken, assembled, in bytes; more than 262,144.
    pub max_message_bytes: usize,
    /// Events that may wait for the application, at least 1. When it is full the socket is not read: the gateway's
    /// rules for slow readers apply, see [`Events`](crate::Events).
    pub event_queue: usize,
    /// A write that takes longer than this ends the connection; more than zero.
    pub write_timeout: Duration,
    /// Where tokens come from: the client signs in before it asks for anything, and refreshes in time. `None`: it
    /// does not sign in.
    pub token: Option<TokenSource>,
    /// A source of tokens that takes longer than this has failed; more than zero.
    pub token_timeout: Duration,
    /// PEM file with the certificates of the authorities to trust for `wss`, and no others; read once, at the start.
    /// `None`: those that the system trusts.
    pub tls_ca: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            urls: vec!["ws://127.0.0.1:8080/ws".to_owned()],
            codec: Codec::Json,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            backoff: Backoff::new(DEFAULT_BASE, DEFAULT_CAP),
            stable_after: DEFAULT_STABLE_AFTER,
            max_attempts: None,
            ping_interval: Some(DEFAULT_PING_INTERVAL),
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            event_queue: DEFAULT_EVENT_QUEUE,
            write_timeout: DEFAULT_WRITE_TIMEOUT,
            token: None,
            token_timeout: DEFAULT_TOKEN_TIMEOUT,
            tls_ca: None,
        }
    }
}

/// Options that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Nowhere to connect to.
    #[error("no gateway url given")]
    NoUrl,
    /// Not a gateway's address.
    #[error("invalid gateway url {url:?}: {reason}")]
    Url {
        /// As given.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// `wss` is asked for and cannot be had.
    #[error("cannot use tls: {cause}")]
    Tls {
        /// Why not.
        cause: String,
    },
    /// A figure outside its bounds.
    #[error("{name} must be {bounds}")]
    OutOfBounds {
        /// The option.
        name: &'static str,
        /// What is allowed, with unit.
        bounds: &'static str,
    },
}

impl Options {
    /// Checks the figures, reads the addresses, and the certificates to trust if they are needed.
    pub(crate) fn check(&self) -> Result<Vec<Address>, OptionsError> {
        let bound = |holds: bool, name, bounds| {
            if holds { Ok(()) } else { Err(OptionsError::OutOfBounds { name, bounds }) }
        };
        bound(!self.connect_timeout.is_zero(), "connect timeout", "more than 0 s")?;
        bound(!self.write_timeout.is_zero(), "write timeout", "more than 0 s")?;
        bound(!self.token_timeout.is_zero(), "token timeout", "more than 0 s")?;
        bound(self.event_queue > 0, "event queue", "at least 1 event")?;
        bound(self.max_message_bytes > 262_144, "largest message", "more than 262144 bytes")?;
        let pace = self.ping_interval.unwrap_or(DEFAULT_PING_INTERVAL);
        bound(pace >= MIN_PING_INTERVAL, "ping interval", "at least 200 ms")?;
        if self.urls.is_empty() {
            return Err(OptionsError::NoUrl);
        }
        let mut addresses: Vec<Address> = self.urls.iter().map(|url| Address::parse(url)).collect::<Result<_, _>>()?;
        if addresses.iter().any(|address| address.is_secure) {
            let trust = Trust::load(self.tls_ca.as_deref())?;
            for (address, url) in addresses.iter_mut().zip(&self.urls).filter(|(address, _)| address.is_secure) {
                let reason = "no certificate can have such a name";
                let tls = trust.for_host(&address.host).ok_or(OptionsError::Url { url: url.clone(), reason })?;
                address.tls = Some(tls);
            }
        }
        Ok(addresses)
    }
}

/// A channel to subscribe to, with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Name or pattern.
    pub channel: Channel,
    /// Asked-for mode, where the gateway leaves the choice.
    pub mode: Option<Mode>,
    /// Cursor of an earlier connection or program to continue from; only for the first `subscribe`, afterwards the
    /// client keeps its own.
    pub since: Option<String>,
}

/// A subscription that cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The name breaks the grammar.
    #[error("invalid channel {channel:?}")]
    Channel {
        /// As given, cut to 128 characters.
        channel: String,
        /// Which rule.
        source: ChannelError,
    },
    /// The cursor cannot be one.
    #[error("invalid cursor for {channel}")]
    Since {
        /// Whose.
        channel: Channel,
        /// Why not.
        source: CursorError,
    },
}

impl Subscription {
    /// A subscription from now on, in the channel's own mode.
    ///
    /// # Errors
    /// [`SubscriptionError::Channel`].
    pub fn new(channel: &str) -> Result<Subscription, SubscriptionError> {
        let invalid = |source| SubscriptionError::Channel {
            channel: channel.chars().take(odin_protocol::channel::MAX_CHANNEL_BYTES).collect(),
            source,
        };
        let channel = Channel::parse(channel).map_err(invalid)?;
        Ok(Subscription { channel, mode: None, since: None })
    }

    /// The same in this mode.
    #[must_use]
    pub fn with_mode(self, mode: Mode) -> Subscription {
        Subscription { mode: Some(mode), ..self }
    }

    /// The same from a cursor on. Its form is the gateway's affair; only one that can never be sent is refused.
    ///
    /// # Errors
    /// [`SubscriptionError::Since`].
    pub fn with_since(self, cursor: impl Into<String>) -> Result<Subscription, SubscriptionError> {
        let cursor = cursor.into();
        match cursor.parse::<Cursor>() {
            Err(source @ CursorError::TooLong) => Err(SubscriptionError::Since { channel: self.channel, source }),
            _ => Ok(Subscription { since: Some(cursor), ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let addresses = Options::default().check().expect("valid");
        assert_eq!(addresses[0].host, "127.0.0.1");
        assert_eq!(addresses[0].port, 8_080);
        assert_eq!(addresses[0].target, "/ws");
    }

    #[test]
    fn names_what_is_out_of_bounds() {
        let defaults = Options::default;
        for (options, name) in [
            (Options { connect_timeout: Duration::ZERO, ..defaults() }, "connect timeout"),
            (Options { event_queue: 0, ..defaults() }, "event queue"),
            (Options { max_message_bytes: 1_000, ..defaults() }, "largest message"),
            (Options { ping_interval: Some(Duration::from_millis(1)), ..defaults() }, "ping interval"),
        ] {
            assert!(options.check().expect_err(name).to_string().starts_with(name));
        }
        let nowhere = Options { urls: vec![], ..defaults() };
        assert_eq!(nowhere.check().expect_err("no url"), OptionsError::NoUrl);
    }

    #[test]
    fn refuses_channels_outside_the_grammar() {
        assert!(Subscription::new("price:>").is_err());
        let subscription = Subscription::new("price:BTC").expect("valid");
        assert!(subscription.clone().with_since("x".repeat(65)).is_err());
        assert!(subscription.with_since("2.a-form-of-tomorrow").is_ok());
    }
}
