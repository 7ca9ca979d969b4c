//! Close codes: a number for every way to part, whose range says whether to come back.

/// Whether and how fast a client comes back after a close.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reconnect {
    /// Not by itself: someone has to change something first.
    Never,
    /// With the first step of the back-off: the gateway is well, or another one is.
    Soon,
    /// With a later step of the back-off: coming back at once would meet the same answer.
    Later,
}

impl Reconnect {
    /// The name used in the documentation and the vectors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reconnect::Never => "never",
            Reconnect::Soon => "soon",
            Reconnect::Later => "later",
        }
    }

    /// What any close code asks for, known or not. 1005 and 1006 are what libraries report for a
    /// connection that ended without a code.
    pub fn for_code(code: u16) -> Reconnect {
        match (CloseCode::from_u16(code), code) {
            (Some(known), _) => known.reconnect(),
            (None, 1005 | 1006) => Reconnect::Soon,
            (None, 4000..=4399) => Reconnect::Later,
            (None, 4400..=4999) => Reconnect::Never,
            (None, _) => Reconnect::Later,
        }
    }
}

macro_rules! close_codes {
    ($($variant:ident = $code:literal, $name:literal, $reason:literal, $reconnect:ident, $meaning:literal;)+) => {
        /// Why a connection was closed.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum CloseCode {
            $(#[doc = $meaning] $variant = $code,)+
        }

        impl CloseCode {
            /// Every code of this version, in ascending order.
            pub const ALL: &[CloseCode] = &[$(CloseCode::$variant,)+];

            /// The number in the close frame.
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The snake_case name: metric label and log field.
            pub const fn name(self) -> &'static str {
                match self { $(CloseCode::$variant => $name,)+ }
            }

            /// The reason text in the close frame, at most 123 bytes.
            pub const fn reason(self) -> &'static str {
                match self { $(CloseCode::$variant => $reason,)+ }
            }

            /// Whether the client comes back.
            pub const fn reconnect(self) -> Reconnect {
                match self { $(CloseCode::$variant => Reconnect::$reconnect,)+ }
            }

            /// What happened, in one or two sentences.
            pub const fn meaning(self) -> &'static str {
                match self { $(CloseCode::$variant => $meaning,)+ }
            }

            /// The code of a number, if this version knows it.
            pub const fn from_u16(code: u16) -> Option<CloseCode> {
                match code { $($code => Some(CloseCode::$variant),)+ _ => None }
            }
        }
    };
}

close_codes! {
    Normal = 1000, "normal", "bye", Never, "The client asked for the end.";
    GoingAway = 1001, "going_away", "going away", Soon, "The gateway stops at once, without a drain.";
    ProtocolError = 1002, "protocol_error", "protocol error", Never, "A frame broke RFC 6455.";
    UnsupportedData = 1003, "unsupported_data", "wrong frame type for this sub-protocol", Never, "A binary frame on a JSON connection or a text frame on a MessagePack one.";
    InvalidPayload = 1007, "invalid_payload", "invalid UTF-8", Never, "A text frame is not UTF-8.";
    PolicyViolation = 1008, "policy_violation", "policy violation", Never, "The client broke a rule that has no number of its own, or had more strikes than allowed.";
    MessageTooBig = 1009, "message_too_big", "message too big", Never, "A message is larger than `maxMessageBytes`.";
    InternalError = 1011, "internal_error", "internal error", Later, "The gateway failed; the log has the cause.";
    ServiceRestart = 1012, "service_restart", "service restart", Soon, "The gateway drains. Other gateways are ready: resume there.";
    TryAgainLater = 1013, "try_again_later", "try again later", Later, "The gateway is at a limit of its own.";
    HeartbeatTimeout = 4000, "heartbeat_timeout", "heartbeat timeout", Soon, "Nothing came from the client for the heartbeat limit.";
    NotReading = 4001, "not_reading", "client does not read", Later, "The client took no bytes for the write limit.";
    Idle = 4002, "idle", "no subscription", Soon, "The connection had no subscription for the idle limit. Come back when there is something to subscribe.";
    TokenExpired = 4003, "token_expired", "token expired", Soon, "The token expired and was not refreshed. Come back with a fresh one.";
    AuthTimeout = 4008, "auth_timeout", "authentication deadline passed", Later, "No `auth` message came before the deadline.";
    Unauthorized = 4401, "unauthorized", "unauthorized", Never, "The token is not valid.";
    Forbidden = 4403, "forbidden", "forbidden", Never, "The user may not connect.";
    Replaced = 4409, "replaced", "replaced by a newer connection", Never, "The user opened more connections than allowed and this one was the oldest.";
    RateLimited = 4429, "rate_limited", "rate limited", Never, "The client went on after `rate_limited` errors.";
    Revoked = 4440, "revoked", "access revoked", Never, "The token or the user was revoked.";
}
