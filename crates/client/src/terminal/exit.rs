//! Exit codes.

use std::process::ExitCode;

use odin_client::{Parting, protocol::CloseCode};

/// HTTP: who you are is not known.
const STATUS_UNAUTHORIZED: u16 = 401;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As asked: ended by the user, by `--count` or by `--seconds`; or the message is stored.
    Done = 0,
    /// Something went wrong that has no code of its own.
    Failed = 1,
    /// The command line or the message makes no sense. clap uses this code too.
    Usage = 2,
    /// No gateway could be reached, or it closed for good.
    Closed = 3,
    /// Every channel was refused, or the message.
    Refused = 4,
    /// `--seconds` were over before `--count` updates had come.
    TooFew = 5,
    /// As asked, but the gateway broke its promise on the way. It comes before `TooFew`.
    Violated = 6,
    /// The gateway did not take the token, or there was none to be had.
    NotSignedIn = 7,
}

/// The table in `--help`.
pub(crate) const TABLE: &str = "Exit codes:
  0  done: ended by the user, by --count or --seconds; or the message is stored
  1  failed: output cannot be written, NATS cannot be reached, message not stored, or nobody knows
  2  usage: command line, channel or message makes no sense
  3  no gateway within --max-attempts, or it closed for good
  4  every channel was refused, or the message
  5  --seconds were over before --count updates had come
  6  ended as with 0 or 5, but the gateway lost or repeated something without saying so
  7  not signed in: the token is not valid, expired or revoked, its user is not allowed, or there is none";

impl Exit {
    /// The end of a client that does not come back.
    pub(crate) fn after(why: &Parting) -> Exit {
        let code = why.close_code().and_then(CloseCode::from_u16);
        match (why, code) {
            (Parting::NotSignedIn(_) | Parting::Status { status: STATUS_UNAUTHORIZED, .. }, _) => Exit::NotSignedIn,
            (_, Some(CloseCode::Unauthorized | CloseCode::Forbidden | CloseCode::Revoked)) => Exit::NotSignedIn,
            (_, Some(CloseCode::AuthTimeout | CloseCode::TokenExpired)) => Exit::NotSignedIn,
            _ => Exit::Closed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
