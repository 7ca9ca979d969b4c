//! What a client tells the application, in the order it happened.

use std::time::Duration;

use odin_protocol::{ConnectionStatus, ErrorCode, GapReason, Mode, ResumeFailure, StaleReason, Update};

use crate::parting::{AuthFailure, Parting};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A gateway has said hello. Subscriptions are asked for again by themselves.
    Connected(Connected),
    /// The gateway accepted a token: the first one of a connection, or a fresh one. Subscriptions are asked for after
    /// the first.
    Authenticated {
        /// The user.
        sub: String,
        /// When the token expires, in milliseconds since 1970 by the gateway's clock; `None`: never.
        expires_at_ms: Option<i64>,
        /// Whether the connection was signed in before.
        is_refresh: bool,
    },
    /// A token was not accepted, or there was none.
    AuthFailed {
        /// What happened.
        why: AuthFailure,
        /// When the client tries again by itself on this connection. `None`: it does not, and what follows is
        /// [`Event::Reconnecting`] or [`Event::Closed`], at the latest when the token in force has expired.
        retry_after: Option<Duration>,
        /// Whether the connection is signed in all the same, with the token of before.
        is_refresh: bool,
    },
    /// The connection is lost or could not be made; the next try comes by itself.
    Reconnecting {
        /// Tries that came to nothing since the connection was last good, from 1.
        attempt: u32,
        /// Wait before the next one.
        after: Duration,
        /// What happened.
        why: Parting,
    },
    /// The gateway closed the connection because nothing was subscribed. It comes back with the next subscription.
    Idle,
    /// A subscription begins or goes on.
    Subscribed {
        /// As subscribed: may be a pattern.
        channel: String,
        /// The mode in force.
        mode: Mode,
        /// Whether everything after the position of before follows.
        recovered: bool,
        /// Why not, if that was asked for.
        reason: Option<ResumeFailure>,
        /// Whether it had begun before and does not continue, by the reason above or because the gateway began it
        /// anew by itself. In mode `all` publications may then be missing without a gap.
        is_anew: bool,
        /// The position to come back to, as of now: see [`Event::Checkpoint`].
        cursor: Option<String>,
    },
    /// A subscription has ended, by request or by the gateway. Nothing of it follows.
    Unsubscribed {
        /// As subscribed.
        channel: String,
    },
    /// A publication, never one that came before.
    Update(Update),
    /// Publications are missing.
    Gap(Gap),
    /// The gateway sent something for the second time, or after saying that it would not come. It was dropped.
    Repeated {
        /// The concrete channel.
        channel: String,
        /// The chain of the channel.
        key: Option<String>,
        /// Its sequence.
        seq: u64,
    },
    /// Everything up to this position has been delivered before this event, of every subscription confirmed on this
    /// connection: a program that keeps it can continue from here another time, see
    /// [`Subscription::with_since`](crate::Subscription::with_since). A [`CursorMap`](crate::cursor_map::CursorMap)
    /// works out the position of each subscription from the events.
    Checkpoint {
        /// As the gateway wrote it.
        cursor: String,
    },
    /// Values may be old from now on; what is missed meanwhile comes before [`Event::Live`]. It ends with the
    /// connection too, and with the [`Event::Subscribed`] of its channel: [`Freshness`](crate::Freshness) keeps
    /// account.
    Stale {
        /// As subscribed; `None`: all.
        channel: Option<String>,
        /// Why.
        reason: Option<StaleReason>,
        /// Complete up to then, in milliseconds since 1970.
        since_ms: Option<i64>,
    },
    /// Values are fresh again.
    Live {
        /// As in [`Event::Stale`].
        channel: Option<String>,
    },
    /// The gateway is about to close the connection; another one takes over.
    Draining {
        /// Within this time.
        within: Option<Duration>,
        /// For people.
        message: Option<String>,
    },
    /// The operators have something to say.
    Notice {
        /// For people.
        message: String,
    },
    /// A ping was answered.
    RoundTrip(Duration),
    /// A request was refused.
    Error(Refusal),
    /// The end: no event follows.
    Closed {
        /// The close code, if there was one.
        code: Option<u16>,
        /// What happened.
        why: Parting,
    },
}

/// A new connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The gateway's address, one of those of the options.
    pub url: String,
    /// What it said.
    pub status: ConnectionStatus,
    /// Connections made before this one.
    pub reconnects: u64,
}

/// Publications with `after < seq <= until` were not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The concrete channel, or the subscribed pattern for all of its channels.
    pub channel: String,
    /// One chain of the channel; `None` for all of them.
    pub key: Option<String>,
    /// Last sequence before the gap.
    pub after: u64,
    /// Last sequence of the gap.
    pub until: u64,
    /// Why, as the gateway says; `None`: it did not say anything, and has broken its promise.
    pub announced: Option<GapReason>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The channel it is about.
    pub channel: Option<String>,
    /// When the client asks again by itself; `None`: it does not.
    pub retry_after: Option<Duration>,
}
