//! Counters by a small closed set of reasons: an array, so that counting costs an index and no allocation.

use std::marker::PhantomData;

use odin_protocol::codec::Codec;
use odin_protocol::error::ResumeFailure;

use super::Counter;

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

impl Label for Codec {
    const NAME: &'static str = "codec";
    const ALL: &'static [Codec] = &Codec::ALL;

    fn index(self) -> usize {
        Codec::index(self)
    }

    fn as_str(self) -> &'static str {
        match self {
            Codec::Json => "json",
            Codec::MsgPack => "msgpack",
        }
    }
}
