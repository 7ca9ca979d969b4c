//! What an app says at the start: addresses, codec, where tokens come from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use odin_client::{Options, TokenSource, protocol};
use thiserror::Error;

/// Events that wait for the listener before the socket is no longer read, if the app does not say otherwise.
pub const DEFAULT_EVENT_QUEUE: u32 = 256;
/// Most events an app may let wait: a phone has little memory.
pub const MAX_EVENT_QUEUE: u32 = 65_536;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum OdinCodec {
    /// JSON in text frames.
    Json,
    /// MessagePack in binary frames: somewhat fewer bytes.
    MsgPack,
}

/// What a subscription delivers when the app does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum OdinMode {
    /// The newest value; what lies between is merged away.
    Latest,
    /// Every publication, in order.
    All,
}

/// How to connect. Everything but `urls` has a default.
#[derive(Clone, uniffi::Record)]
pub struct OdinOptions {
    /// Gateways, `wss://host[:port][/path]` or `ws://…`; at least one. After a connection is lost the next one of them is
    /// tried, after the last one the first again.
    pub urls: Vec<String>,
    /// How messages are written; without it JSON.
    #[uniffi(default = None)]
    pub codec: Option<OdinCodec>,
    /// Where tokens come from; without it the client does not sign in.
    #[uniffi(default = None)]
    pub token_source: Option<Arc<dyn OdinTokenSource>>,
    /// PEM file with the certificates of the authorities to trust for `wss`, and no others; read once, at the start.
    /// Without it those of the system, which iOS does not hand out: an app for iOS brings its own.
    #[uniffi(default = None)]
    pub ca_file: Option<String>,
    /// Give up after so many tries in a row that came to nothing; without it never.
    #[uniffi(default = None)]
    pub max_attempts: Option<u32>,
    /// Events that may wait for the listener, from 1 to 65,536. When it is full the socket is not read, and the gateway
    /// merges or waits as the mode says.
    #[uniffi(default = 256)]
    pub event_queue: u32,
}

impl fmt::Debug for OdinOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OdinOptions")
            .field("urls", &self.urls)
            .field("codec", &self.codec)
            .field("token_source", &self.token_source.as_ref().map(|_| "OdinTokenSource(..)"))
            .field("ca_file", &self.ca_file)
            .field("max_attempts", &self.max_attempts)
            .field("event_queue", &self.event_queue)
            .finish()
    }
}

/// Gives a token whenever the client needs one: for every connection, and in time before one expires.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait OdinTokenSource: Send + Sync {
    /// A token that is valid now. It is sent once and not kept. After 30 seconds, or when the connection ends, it is
    /// no longer waited for.
    ///
    /// # Errors
    /// [`OdinTokenError`]: the client says Reconnecting, or SignInFailed while it is connected, and asks again later.
    async fn token(&self) -> Result<String, OdinTokenError>;
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Error, uniffi::Error)]
pub enum OdinTokenError {
    /// The source's own words. They reach events and logs and must not hold a secret.
    #[error("{reason}")]
    Failed {
        /// For people.
        reason: String,
    },
}

/// An exception the source did not declare. Its text is dropped: nobody knows what it holds.
impl From<uniffi::UnexpectedUniFFICallbackError> for OdinTokenError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> OdinTokenError {
        OdinTokenError::Failed { reason: "the token source failed unexpectedly".to_owned() }
    }
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, Error, uniffi::Error)]
pub enum OdinConnectError {
    /// Options that cannot work.
    #[error("{reason}")]
    InvalidOptions {
        /// Which one, and why.
        reason: String,
    },
    /// The system gave no thread or no socket set.
    #[error("cannot start: {reason}")]
    System {
        /// The system's words.
        reason: String,
    },
}

impl From<OdinMode> for protocol::Mode {
    fn from(mode: OdinMode) -> protocol::Mode {
        match mode {
            OdinMode::Latest => protocol::Mode::Latest,
            OdinMode::All => protocol::Mode::All,
        }
    }
}

impl From<protocol::Mode> for OdinMode {
    fn from(mode: protocol::Mode) -> OdinMode {
        match mode {
            protocol::Mode::Latest => OdinMode::Latest,
            protocol::Mode::All => OdinMode::All,
        }
    }
}

/// Only the length of the queue is checked here: the client checks the rest.
impl TryFrom<OdinOptions> for Options {
    type Error = OdinConnectError;

    fn try_from(options: OdinOptions) -> Result<Options, OdinConnectError> {
        if !(1..=MAX_EVENT_QUEUE).contains(&options.event_queue) {
            let reason = format!("event queue must be from 1 to {MAX_EVENT_QUEUE} events");
            return Err(OdinConnectError::InvalidOptions { reason });
        }
        Ok(Options {
            urls: options.urls,
            codec: match options.codec {
                Some(OdinCodec::MsgPack) => protocol::Codec::MsgPack,
                Some(OdinCodec::Json) | None => protocol::Codec::Json,
            },
            token: options.token_source.map(ask),
            tls_ca: options.ca_file.map(PathBuf::from),
            max_attempts: options.max_attempts,
            event_queue: usize::try_from(options.event_queue).expect("checked above"),
            ..Options::default()
        })
    }
}

fn ask(source: Arc<dyn OdinTokenSource>) -> TokenSource {
    TokenSource::from_fn(move || {
        let source = Arc::clone(&source);
        async move { source.token().await }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Vault;

    #[async_trait::async_trait]
    impl OdinTokenSource for Vault {
        async fn token(&self) -> Result<String, OdinTokenError> {
            Ok("secret".to_owned())
        }
    }

    fn options() -> OdinOptions {
        OdinOptions {
            urls: vec!["ws://127.0.0.1:1/ws".to_owned()],
            codec: None,
            token_source: None,
            ca_file: None,
            max_attempts: None,
            event_queue: DEFAULT_EVENT_QUEUE,
        }
    }

    #[test]
    fn a_queue_has_a_bound() {
        for event_queue in [0, MAX_EVENT_QUEUE + 1, u32::MAX] {
            let refused = Options::try_from(OdinOptions { event_queue, ..options() }).expect_err("out of bounds");
            assert_eq!(refused.to_string(), "event queue must be from 1 to 65536 events");
        }
        assert_eq!(Options::try_from(options()).expect("valid").event_queue, 256);
    }

    /// Checklist 17: a token must not reach a log by way of `Debug`.
    #[test]
    fn debug_shows_no_token() {
        let options = OdinOptions { token_source: Some(Arc::new(Vault)), ..options() };
        let shown = format!("{options:?} {:?}", Options::try_from(options.clone()));
        assert!(shown.contains("OdinTokenSource(..)") && !shown.contains("secret"), "{shown}");
    }

    /// Checklist 17: the text of a foreign exception may hold one.
    #[test]
    fn an_exception_that_was_not_declared_is_not_repeated() {
        let error = OdinTokenError::from(uniffi::UnexpectedUniFFICallbackError::new("secret"));
        assert_eq!(error.to_string(), "the token source failed unexpectedly");
    }
}
