//! What a publisher needs to know: where NATS is, who it is there, how long to wait and how much to hold.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::trace::Traces;

/// How long to wait for an acknowledgement before the same id is sent again.
/// Longer than a graceful leader change (0.2 s), shorter than an election after a crash (4-9 s): retries cost nothing.
const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one message is tried. With the last acknowledgement's wait this must stay within the duplicate window.
const DEFAULT_RETRY_WINDOW: Duration = Duration::from_secs(45);
/// The duplicate window of odin's stream.
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(60);
/// First pause before a retry; doubles up to the longest, and is drawn between half and the whole of it.
const DEFAULT_BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause before a retry.
const DEFAULT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Messages accepted and not yet answered: enough to keep a replicated stream busy, 16 ms worth at 250,000 per second.
const DEFAULT_MAX_IN_FLIGHT: usize = 4_096;
/// Bytes accepted and not yet answered.
const DEFAULT_MAX_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// Largest message, payload and headers, in bytes: odin's stream takes 64 KiB.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How long a connection may take to come up.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to connect and publish. `Default` is right for odin's stream on `nats://127.0.0.1:4222`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Servers of one cluster, `nats://host:port` or `tls://host:port`; others are discovered. At least one.
    pub urls: Vec<String>,
    /// Who the publisher is.
    pub auth: Auth,
    /// Encryption and certificates.
    pub tls: Tls,
    /// The name shown in the server's connection list.
    pub name: String,
    /// How long a connection may take to come up; more than zero.
    pub connect_timeout: Duration,
    /// Wait for one acknowledgement; more than zero.
    pub ack_timeout: Duration,
    /// How long one message is tried, from the moment it is the first of its subject.
    pub retry_window: Duration,
    /// How long the stream remembers ids; at least `retry_window` + `ack_timeout`.
    pub duplicate_window: Duration,
    /// First pause before a retry; more than zero.
    pub backoff: Duration,
    /// Longest pause before a retry; at least `backoff`.
    pub backoff_max: Duration,
    /// Messages accepted and not yet answered, 1 to 1,000,000.
    pub max_in_flight: usize,
    /// Their bytes: payload, subject and id; 1 to 4 GiB. A message larger than this is in flight alone.
    pub max_in_flight_bytes: usize,
    /// Largest message, payload and headers, in bytes; the server's own limit holds as well.
    pub max_message_bytes: usize,
    /// Spans of publications; none without.
    pub traces: Option<Traces>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            auth: Auth::None,
            tls: Tls::default(),
            name: "odin-publisher".to_owned(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            ack_timeout: DEFAULT_ACK_TIMEOUT,
            retry_window: DEFAULT_RETRY_WINDOW,
            duplicate_window: DEFAULT_DUPLICATE_WINDOW,
            backoff: DEFAULT_BACKOFF,
            backoff_max: DEFAULT_BACKOFF_MAX,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            max_in_flight_bytes: DEFAULT_MAX_IN_FLIGHT_BYTES,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            traces: None,
        }
    }
}

/// Who the publisher is to NATS. `Debug` shows the kind, never the secret.
#[derive(Clone, Default)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The user's name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A shared token.
    Token(String),
    /// A `.creds` file: a JWT and its nkey seed.
    CredentialsFile(PathBuf),
    /// An nkey seed (`SU…`).
    NkeySeed(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::UserPassword { user, .. } => write!(f, "UserPassword({user}, ***)"),
            Auth::Token(_) => f.write_str("Token(***)"),
            Auth::CredentialsFile(path) => write!(f, "CredentialsFile({})", path.display()),
            Auth::NkeySeed(_) => f.write_str("NkeySeed(***)"),
        }
    }
}

/// Encryption of the connection.
#[derive(Clone, Default, Debug)]
pub struct Tls {
    /// Refuse a server that does not encrypt.
    pub required: bool,
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Options that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OptionsError {
    /// Nowhere to connect to.
    #[error("no NATS url given")]
    NoUrl,
    /// Not a NATS url; a password in it is not shown.
    #[error("invalid NATS url {url:?}: {reason}")]
    Url {
        /// The url without what stands before `@`.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The last retry could come after the stream has forgotten the id.
    #[error(
        "retry window {retry_window:?} + ack timeout {ack_timeout:?} is longer than the stream's duplicate window \
         {duplicate_window:?}: a late retry could be stored twice"
    )]
    Window {
        /// As given.
        retry_window: Duration,
        /// As given.
        ack_timeout: Duration,
        /// As given.
        duplicate_window: Duration,
    },
    /// A figure outside its bounds.
    #[error("{name} is {value}, it must be {bounds}")]
    OutOfBounds {
        /// The option.
        name: &'static str,
        /// Its value with unit.
        value: String,
        /// What is allowed, with unit.
        bounds: &'static str,
    },
}

impl Options {
    /// Checks that the figures can work together.
    ///
    /// # Errors
    /// The first [`OptionsError`].
    pub fn validate(&self) -> Result<(), OptionsError> {
        if self.urls.is_empty() {
            return Err(OptionsError::NoUrl);
        }
        for (name, value) in [
            ("ack timeout", self.ack_timeout),
            ("connect timeout", self.connect_timeout),
            ("first backoff", self.backoff),
        ] {
            if value.is_zero() {
                return Err(OptionsError::OutOfBounds { name, value: "0 s".into(), bounds: "more than 0 s" });
            }
        }
        if self.backoff_max < self.backoff {
            return Err(OptionsError::OutOfBounds {
                name: "longest backoff",
                value: format!("{:?}", self.backoff_max),
                bounds: "at least the first backoff",
            });
        }
        if !(1..=1_000_000).contains(&self.max_in_flight) {
            return Err(OptionsError::OutOfBounds {
                name: "messages in flight",
                value: format!("{} messages", self.max_in_flight),
                bounds: "1 to 1000000 messages",
            });
        }
        if self.max_in_flight_bytes == 0 || u32::try_from(self.max_in_flight_bytes).is_err() {
            return Err(OptionsError::OutOfBounds {
                name: "bytes in flight",
                value: format!("{} bytes", self.max_in_flight_bytes),
                bounds: "1 to 4294967295 bytes",
            });
        }
        if self.retry_window.saturating_add(self.ack_timeout) > self.duplicate_window {
            return Err(OptionsError::Window {
                retry_window: self.retry_window,
                ack_timeout: self.ack_timeout,
                duplicate_window: self.duplicate_window,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Options::default().validate().unwrap();
    }

    #[test]
    fn refuses_retries_beyond_the_duplicate_window() {
        let options = Options { retry_window: Duration::from_secs(58), ..Options::default() };
        let refused = options.validate().unwrap_err();
        assert!(matches!(refused, OptionsError::Window { .. }), "{refused}");
    }

    #[test]
    fn names_what_is_out_of_bounds() {
        for (options, name) in [
            (Options { ack_timeout: Duration::ZERO, ..Options::default() }, "ack timeout"),
            (Options { max_in_flight: 0, ..Options::default() }, "messages in flight"),
            (Options { max_in_flight_bytes: 0, ..Options::default() }, "bytes in flight"),
            (Options { backoff_max: Duration::from_millis(1), ..Options::default() }, "longest backoff"),
        ] {
            assert!(options.validate().unwrap_err().to_string().starts_with(name), "{name}");
        }
        assert_eq!(Options { urls: vec![], ..Options::default() }.validate(), Err(OptionsError::NoUrl));
    }

    #[test]
    fn shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Auth::UserPassword { user: "u".into(), password: "hunter2".into() },
            Auth::Token("hunter2".into()),
            Auth::NkeySeed("hunter2".into())
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
