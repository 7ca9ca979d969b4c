//! Counters by a small closed set of reasons: an array, so that counting costs an index and no allocation.

use std::marker::PhantomData;

use odin_protocol::{
    error::{ErrorCode, ResumeFailure},
    message::Mode,
};

use super::{Counter, Labels, Reading, Value};
use crate::format::Format;

/// A closed set of values of a label, or of several labels.
pub trait Label: Copy + 'static {
    /// How many values there are.
    const COUNT: usize;

    /// All values; a value's index is its position here.
    fn all() -> Vec<Self>;

    /// Position in [`Label::all`].
    fn index(self) -> usize;

    /// Names and values as metrics show them.
    fn labels(self) -> Labels;
}

/// Two labels: each value of the first with each of the second.
impl<A: Label, B: Label> Label for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| (a, b))).collect()
    }

    #[inline]
    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn labels(self) -> Labels {
        [self.0.labels(), self.1.labels()].concat()
    }
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

    /// All of them.
    pub fn read(&self) -> Reading {
        let number = |label: L| (label.labels(), Value::Number(self.of(label).get()));
        Reading(L::all().into_iter().map(number).collect())
    }
}

impl<L: Label> Default for Labelled<L> {
    fn default() -> Self {
        Labelled { counters: L::all().iter().map(|_| Counter::default()).collect(), label: PhantomData }
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
            const COUNT: usize = [$($type::$value,)+].len();

            fn all() -> Vec<$type> {
                vec![$($type::$value,)+]
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }

            fn labels(self) -> Labels {
                vec![($name, self.as_str())]
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
        /// The process has too few file descriptors left.
        Descriptors = "descriptors",
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

label! {
    /// What a channel's rule promises: the mode it has where the client does not choose.
    Class, "class", {
        /// Slow readers skip to the newest value.
        Latest = "latest",
        /// Everybody gets everything.
        All = "all",
    }
}

label! {
    /// What became of a message of the stream on its way to the shards.
    Fate, "outcome", {
        /// Handed over, its gap included where it had nothing to show.
        Delivered = "delivered",
        /// The feed's filter left it out.
        Filtered = "filtered",
        /// It had come before.
        Duplicate = "duplicate",
        /// No channel belongs to its subject, or nobody knows the stream.
        Dropped = "dropped",
    }
}

label! {
    /// What became of a publication that a subscription was owed.
    Settlement, "outcome", {
        /// Written to the socket.
        Delivered = "delivered",
        /// Replaced by a newer value, for a slow reader.
        Merged = "merged",
        /// Left out because the connection had had it, by another subscription or another connection.
        Filtered = "filtered",
        /// Read again from the stream, for a slow reader, or announced as a gap.
        Replayed = "replayed",
        /// The subscription or the connection ended first.
        Left = "left",
    }
}

label! {
    /// A stretch of the way of a publication.
    Hop, "hop", {
        /// From the publisher's own timestamp to the stream's.
        PublisherToStream = "publisher_to_stream",
        /// From the stream's to the gateway.
        StreamToGateway = "stream_to_gateway",
        /// From there into sockets.
        GatewayToSocket = "gateway_to_socket",
    }
}

impl From<Mode> for Class {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Latest => Class::Latest,
            Mode::All => Class::All,
        }
    }
}

impl Label for ErrorCode {
    const COUNT: usize = Self::ALL.len();

    fn all() -> Vec<ErrorCode> {
        ErrorCode::ALL.to_vec()
    }

    fn index(self) -> usize {
        // Declared in the order of ALL; `Unknown`, the last, is never sent.
        (self as usize).min(Self::ALL.len() - 1)
    }

    fn labels(self) -> Labels {
        vec![("code", self.as_str())]
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
    const COUNT: usize = Self::ALL.len();

    fn all() -> Vec<Format> {
        Format::ALL.to_vec()
    }

    #[inline]
    fn index(self) -> usize {
        Format::index(self)
    }

    fn labels(self) -> Labels {
        let value = match self {
            Format::Json => "json",
            Format::MsgPack => "msgpack",
            Format::Events => "events",
        };
        vec![("format", value)]
    }
}
