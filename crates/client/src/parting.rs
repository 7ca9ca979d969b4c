//! The ways a connection ends or fails to begin, and whether to come back.

use std::time::Duration;

use odin_protocol::{CloseCode, ErrorCode, Reconnect};
use thiserror::Error;

/// HTTP answers after which trying again meets the same answer.
const HOPELESS_STATUS: [u16; 8] = [400, 401, 403, 404, 405, 414, 426, 431];

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Parting {
    /// The application asked for it.
    #[error("closed")]
    Asked,
    /// The gateway sent a close frame.
    #[error("closed by the gateway: {}{}", describe(*.code), parenthesis(.reason))]
    Closed {
        /// Its number; `None`: an empty frame.
        code: Option<u16>,
        /// Its text, cleaned of control characters.
        reason: String,
    },
    /// The gateway was draining and did not close in the time it gave itself.
    #[error("left a draining gateway")]
    Drained,
    /// Nothing came for twice the gateway's heartbeat.
    #[error("no sign of life for {silence:?}")]
    Silent {
        /// How long.
        silence: Duration,
    },
    /// No hello within the connect timeout.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// The connect timeout.
        limit: Duration,
    },
    /// The connection broke or could not be made.
    #[error("connection failed: {cause}")]
    Broken {
        /// The system's words.
        cause: String,
    },
    /// A write took longer than allowed.
    #[error("gateway does not read")]
    NotReading,
    /// The server answered the handshake with something else than 101.
    #[error("handshake answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, if it had one in seconds.
        retry_after: Option<Duration>,
    },
    /// The other side does not speak the protocol.
    #[error("not an odin gateway: {cause}")]
    Protocol {
        /// What it did.
        cause: String,
    },
    /// The client could not sign in.
    #[error("not signed in: {0}")]
    NotSignedIn(AuthFailure),
}

/// Why a token was of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// There was none.
    #[error("no token: {cause}")]
    NoToken {
        /// The source's words.
        cause: String,
    },
    /// The gateway did not accept it.
    #[error("{code}: {message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// What the gateway asks to wait.
        retry_after: Option<Duration>,
    },
    /// The gateway did not answer.
    #[error("no answer to the token within {limit:?}")]
    Unanswered {
        /// The connect timeout.
        limit: Duration,
    },
}

impl AuthFailure {
    /// Whether another token will not help: the user may not do this at all.
    pub fn is_final(&self) -> bool {
        matches!(self, AuthFailure::Refused { code: ErrorCode::Forbidden, .. })
    }
}

impl Parting {
    /// Whether and how fast to come back.
    pub fn reconnect(&self) -> Reconnect {
        match self {
            Parting::Asked => Reconnect::Never,
            Parting::Closed { code: Some(code), .. } => Reconnect::for_code(*code),
            Parting::Status { status, .. } if HOPELESS_STATUS.contains(status) => Reconnect::Never,
            Parting::NotSignedIn(failure) if failure.is_final() => Reconnect::Never,
            Parting::Status { .. } | Parting::Protocol { .. } | Parting::NotSignedIn(AuthFailure::Refused { .. }) => {
                Reconnect::Later
            }
            Parting::Closed { code: None, .. }
            | Parting::Drained
            | Parting::Silent { .. }
            | Parting::Timeout { .. }
            | Parting::Broken { .. }
            | Parting::NotReading
            | Parting::NotSignedIn(_) => Reconnect::Soon,
        }
    }

    /// Least time to wait, whatever the back-off draws.
    pub fn retry_after(&self) -> Duration {
        match self {
            Parting::Status { retry_after, .. } | Parting::NotSignedIn(AuthFailure::Refused { retry_after, .. }) => {
                retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        }
    }

    /// The close code, of either side.
    pub fn close_code(&self) -> Option<u16> {
        match self {
            Parting::Closed { code, .. } => *code,
            Parting::Asked => Some(CloseCode::Normal.code()),
            _ => None,
        }
    }

    /// Whether the gateway only closed because nothing was subscribed.
    pub(crate) fn is_idle(&self) -> bool {
        self.close_code() == Some(CloseCode::Idle.code())
    }
}

/// What to do next without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Connect after this time.
    Dial {
        /// The wait.
        after: Duration,
    },
    /// Connect when something is subscribed.
    Sleep,
    /// Never again.
    End,
}

fn describe(code: Option<u16>) -> String {
    match code {
        None => "no code".to_owned(),
        Some(code) => match CloseCode::from_u16(code) {
            Some(known) => format!("{code} {}", known.name()),
            None => code.to_string(),
        },
    }
}

fn parenthesis(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> Parting {
        Parting::Closed { code: Some(code), reason: String::new() }
    }

    #[test]
    fn comes_back_as_the_close_code_says() {
        for (code, reconnect) in [
            (1000, Reconnect::Never),
            (1012, Reconnect::Soon),
            (1013, Reconnect::Later),
            (4000, Reconnect::Soon),
            (4002, Reconnect::Soon),
            (4399, Reconnect::Later),
            (4401, Reconnect::Never),
            (4999, Reconnect::Never),
        ] {
            assert_eq!(closed(code).reconnect(), reconnect, "{code}");
        }
    }

    #[test]
    fn comes_back_after_a_refused_handshake_only_if_that_can_help() {
        let status = |status| Parting::Status { status, retry_after: None }.reconnect();
        assert_eq!(status(503), Reconnect::Later);
        assert_eq!(status(429), Reconnect::Later);
        assert_eq!(status(403), Reconnect::Never);
        assert_eq!(status(404), Reconnect::Never);
    }

    #[test]
    fn names_the_close_code_for_people() {
        let parting = Parting::Closed { code: Some(1012), reason: "service restart".to_owned() };
        assert_eq!(parting.to_string(), "closed by the gateway: 1012 service_restart (service restart)");
        assert_eq!(closed(4321).to_string(), "closed by the gateway: 4321");
    }
}
