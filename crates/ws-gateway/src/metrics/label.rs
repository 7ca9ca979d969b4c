//! Counters by a small closed set of reasons: an array, so that counting costs an index and no allocation.

use std::marker::PhantomData;

use odin_protocol::error::{ErrorCode, ResumeFailure};

use super::Counter;
use crate::format::Format;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Name of the label.
    const NAME: &'static str;
    /// All values; a value's index is its position here.
    const ALL: &'static [Self];

    /// Position in [`Label::ALL`].
    fn index(self) -> usize;

    /// The label's value as metrics show it.
    fn as_str(self) -> &'static str;
}

/// One [`Counter`] for each value of a label.
#[derive(Debug)]
pub struct Labelled<L> {
    counters: Box<[Counter]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Labelled<L> {
    /// The counter of one value.
    #[inline]
    pub fn of(&self, label: L) -> &Counter {
        &self.counters[label.index()]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(Counter::get).sum()
    }
}

impl<L: Label> Default for Labelled<L> {
    fn default() -> Self {
        Labelled { counters: L::ALL.iter().map(|_| Counter::default()).collect(), label: PhantomData }
    }
}

/// Declares an enum that is a [`Label`], from one list of values and texts.
macro_rules! label {
    ($(#[$meta:meta])* $type:ident, $name:literal, { $($(#[$doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$doc])* $value,)+ }

        impl $type {
            /// The text that metrics and logs show.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$value => $text,)+ }
            }
        }

        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [$type] = &[$($type::$value,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                $type::as_str(self)
            }
        }
    };
}

label! {
    /// Why a connection ended.
    CloseReason, "reason", {
        /// The client said goodbye.
        Normal = "normal",
        /// The client's page or application went away.
        GoingAway = "going_away",
        /// The client broke RFC 6455.
        ProtocolError = "protocol_error",
        /// A text was not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// A message was too big.
        TooBig = "too_big",
        /// Too many invalid messages, or a kind of message that is not taken.
        Policy = "policy",
        /// The gateway is stopping.
        Drain = "drain",
        /// The client did not answer pings.
        HeartbeatTimeout = "heartbeat_timeout",
        /// The client did not read.
        NotReading = "not_reading",
        /// No subscription for too long.
        Idle = "idle",
        /// The socket failed.
        IoError = "io_error",
        /// The connection was cut without goodbye.
        PeerGone = "peer_gone",
        /// A fault of the gateway.
        Internal = "internal",
        /// Too many messages.
        RateLimited = "rate_limited",
        /// Nobody signed in where somebody must.
        AuthTimeout = "auth_timeout",
        /// The token was not valid.
        Unauthorized = "unauthorized",
        /// The user may not connect.
        Forbidden = "forbidden",
        /// The token expired.
        TokenExpired = "token_expired",
        /// The token or the user was revoked.
        Revoked = "revoked",
        /// An operator ended the user's connections.
        Disconnected = "disconnected",
        /// The user has a newer connection and no room for both.
        Replaced = "replaced",
        /// The user has as many connections as allowed.
        UserLimit = "user_limit",
    }
}

label! {
    /// Why a handshake did not become a connection.
    HandshakeRefusal, "reason", {
        /// It was not complete in time.
        Timeout = "timeout",
        /// It was no WebSocket handshake.
        BadRequest = "bad_request",
        /// The path is another one.
        NotFound = "not_found",
        /// There are too many connections already.
        Capacity = "capacity",
        /// The request's head was too large.
        HeaderTooLarge = "header_too_large",
        /// The socket failed or was closed.
        Io = "io",
        /// New connections came too fast.
        Rate = "rate",
        /// The process has too little memory left.
        Memory = "memory",
        /// Too many connections from the address, or too fast.
        Address = "address",
        /// The user has as many connections as allowed.
        UserLimit = "user_limit",
        /// The page may not connect.
        Origin = "origin",
        /// The client did not come by TLS.
        Insecure = "insecure",
        /// TLS was not agreed on.
        Tls = "tls",
        /// The proxy's header was missing or wrong.
        Proxy = "proxy",
        /// The token was not valid.
        Unauthorized = "unauthorized",
        /// Nobody could say whether it is.
        AuthUnavailable = "auth_unavailable",
        /// A fault of the gateway.
        Internal = "internal",
    }
}

label! {
    /// What became of a resume.
    ResumeResult, "result", {
        /// Everything missed is being sent.
        Recovered = "recovered",
        /// The cursor could not be read.
        InvalidCursor = "invalid_cursor",
        /// The stream is another one.
        EpochChanged = "epoch_changed",
        /// The stream went back behind the cursor.
        RolledBack = "rolled_back",
        /// The stream no longer keeps what was missed.
        CursorTooOld = "cursor_too_old",
        /// Too much was missed.
        ReplayLimit = "replay_limit",
        /// Not offered here.
        Unsupported = "unsupported",
    }
}

label! {
    /// What became of an attempt to sign in.
    AuthResult, "result", {
        /// The user is known.
        Ok = "ok",
        /// The token is not valid.
        Failed = "failed",
        /// It was valid once.
        Expired = "expired",
        /// It was revoked.
        Revoked = "revoked",
        /// Nobody could say whether it is valid.
        Unavailable = "unavailable",
    }
}

label! {
    /// Whether something succeeded.
    Outcome, "result", {
        /// It did.
        Ok = "ok",
        /// It did not; what was there before stays.
        Failed = "failed",
    }
}

impl Label for ErrorCode {
    const NAME: &'static str = "code";
    const ALL: &'static [ErrorCode] = ErrorCode::ALL;

    fn index(self) -> usize {
        // Declared in the order of ALL; `Unknown`, the last, is never sent.
        (self as usize).min(Self::ALL.len() - 1)
    }

    fn as_str(self) -> &'static str {
        ErrorCode::as_str(self)
    }
}

impl From<Option<ResumeFailure>> for ResumeResult {
    fn from(failure: Option<ResumeFailure>) -> Self {
        match failure {
            None => ResumeResult::Recovered,
            Some(ResumeFailure::InvalidCursor) => ResumeResult::InvalidCursor,
            Some(ResumeFailure::EpochChanged) => ResumeResult::EpochChanged,
            Some(ResumeFailure::RolledBack) => ResumeResult::RolledBack,
            Some(ResumeFailure::CursorTooOld) => ResumeResult::CursorTooOld,
            Some(ResumeFailure::ReplayLimit) => ResumeResult::ReplayLimit,
            Some(_) => ResumeResult::Unsupported,
        }
    }
}

impl Label for Format {
    const NAME: &'static str = "format";
    const ALL: &'static [Format] = &Format::ALL;

    fn index(self) -> usize {
        Format::index(self)
    }

    fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::MsgPack => "msgpack",
            Format::Events => "events",
        }
    }
}
