//! What the listener is told, in the order it happened.

use odin_client::{AuthFailure, Event, printable, protocol};
use thiserror::Error;

use crate::{error::millis, options::OdinMode};

/// Longest text of an exception that is passed on, in characters.
const MAX_REASON_CHARS: usize = 256;

/// Hears what happens.
#[uniffi::export(with_foreign)]
pub trait OdinListener: Send + Sync {
    /// Something happened. It is called from one thread of the client's own, never twice at once, and the next event
    /// waits until it returns: a slow listener slows the reading. It must not wait for an answer of the client, which
    /// may come after the events behind this one; it may start a task that does.
    ///
    /// # Errors
    /// Only for exceptions the listener did not catch: the next event is [`OdinEvent::ListenerFailed`].
    fn on_event(&self, event: OdinEvent) -> Result<(), OdinListenerError>;
}

/// The listener failed.
#[derive(Clone, Debug, PartialEq, Eq, Error, uniffi::Error)]
pub enum OdinListenerError {
    /// It threw.
    #[error("{reason}")]
    Failed {
        /// What, if it says so.
        reason: String,
    },
}

/// The first line of what it threw: some languages add their whole stack.
impl From<uniffi::UnexpectedUniFFICallbackError> for OdinListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> OdinListenerError {
        let line = error.reason.lines().next().unwrap_or_default();
        let line: String = line.chars().take(MAX_REASON_CHARS).collect();
        OdinListenerError::Failed { reason: clean(&line) }
    }
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OdinUpdate {
    /// The concrete channel, never a pattern.
    pub channel: String,
    /// Which subject of the channel, where the channel covers several without naming them.
    pub key: Option<String>,
    /// Sequence in the stream.
    pub seq: u64,
    /// Sequence of the publication before it, 0 if there is none; absent in a snapshot and where it is not known.
    pub prev: Option<u64>,
    /// Time of the stream, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whether this is the last stored value, sent on subscribe.
    pub is_snapshot: bool,
    /// The publisher's JSON, untouched.
    pub json: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum OdinEvent {
    /// The client has started, and connects. Later tries are announced by `Reconnecting`.
    Connecting,
    /// A gateway has said hello. Subscriptions are asked for again by themselves.
    Connected {
        /// The gateway's address, one of those of the options.
        url: String,
        /// Names the connection in the gateway's logs.
        connection_id: String,
        /// Connections made before this one.
        reconnects: u64,
    },
    /// The gateway accepted a token: the first one of the connection, or a fresh one.
    SignedIn {
        /// The user.
        user: String,
        /// When the token expires, in milliseconds since 1970 by the gateway's clock; absent: never.
        expires_at_ms: Option<i64>,
    },
    /// A token was not accepted, or there was none.
    SignInFailed {
        /// A code of the protocol, if the gateway refused it.
        code: Option<String>,
        /// For people.
        reason: String,
        /// When the client tries again on this connection, in milliseconds from now; absent: it does not.
        retry_after_ms: Option<u64>,
    },
    /// The connection is lost or could not be made; the next try comes by itself.
    Reconnecting {
        /// Tries that came to nothing since the connection was last good, from 1.
        attempt: u32,
        /// Wait before the next one.
        after_ms: u64,
        /// For people.
        reason: String,
    },
    /// The gateway closed the connection because nothing was subscribed. It comes back with the next subscription.
    Idle,
    /// Values may be old from now on. It ends with `Live`, with the connection, and with the `Subscribed` of its channel.
    Stale {
        /// As subscribed; absent: all.
        channel: Option<String>,
        /// Why, as the protocol says it.
        reason: Option<String>,
        /// Complete up to then, in milliseconds since 1970.
        since_ms: Option<i64>,
    },
    /// Values are fresh again.
    Live {
        /// As subscribed; absent: all.
        channel: Option<String>,
    },
    /// A subscription begins or goes on.
    Subscribed {
        /// As subscribed: may be a pattern.
        channel: String,
        /// The mode in force.
        mode: OdinMode,
        /// Whether everything after the position of before follows.
        recovered: bool,
        /// Whether it had begun before and does not continue: publications may then be missing without a gap.
        is_anew: bool,
        /// Why it does not, if that was asked for.
        reason: Option<String>,
    },
    /// A subscription has ended, by request or by the gateway. Nothing of it follows.
    Unsubscribed {
        /// As subscribed.
        channel: String,
    },
    /// A publication, never one that came before.
    Update {
        /// It.
        update: OdinUpdate,
    },
    /// Publications with `after < seq <= until` were not delivered.
    Gap {
        /// The concrete channel, or the subscribed pattern for all of its channels.
        channel: String,
        /// One subject of the channel; absent: all.
        key: Option<String>,
        /// Last sequence before the gap.
        after: u64,
        /// Last sequence of the gap.
        until: u64,
        /// Why, as the gateway says; absent: it did not say anything, and has broken its promise.
        reason: Option<String>,
    },
    /// The gateway sent something for the second time, which breaks its promise. It was dropped.
    Repeated {
        /// The concrete channel.
        channel: String,
        /// Its sequence.
        seq: u64,
    },
    /// The gateway is about to close the connection; another one takes over.
    Draining {
        /// Within this time.
        within_ms: Option<u64>,
        /// For people.
        message: Option<String>,
    },
    /// The operators have something to say.
    System {
        /// For people.
        message: String,
    },
    /// A request was refused.
    Error {
        /// For programs: a code of the protocol.
        code: String,
        /// For people.
        message: String,
        /// The channel it is about.
        channel: Option<String>,
        /// When the client asks again by itself, in milliseconds from now; absent: it does not.
        retry_after_ms: Option<u64>,
    },
    /// The listener threw when it was told the event before this one. That event is not told again.
    ListenerFailed {
        /// What it threw.
        reason: String,
    },
    /// The end: no event follows.
    Closed {
        /// The close code, if there was one.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

fn clean(text: &str) -> String {
    printable(text).into()
}

impl OdinEvent {
    /// What the listener is told of an event, if anything: a measured round trip and a position are not news to an app.
    pub(crate) fn of(event: &Event) -> Option<OdinEvent> {
        Some(match event {
            Event::Connected(connected) => OdinEvent::Connected {
                url: connected.url.clone(),
                connection_id: clean(&connected.status.connection_id),
                reconnects: connected.reconnects,
            },
            Event::Authenticated { sub, expires_at_ms, .. } => {
                OdinEvent::SignedIn { user: sub.clone(), expires_at_ms: *expires_at_ms }
            }
            Event::AuthFailed { why, retry_after, .. } => OdinEvent::SignInFailed {
                code: match why {
                    AuthFailure::Refused { code, .. } => Some(code.as_str().to_owned()),
                    _ => None,
                },
                reason: clean(&why.to_string()),
                retry_after_ms: retry_after.map(millis),
            },
            Event::Reconnecting { attempt, after, why } => {
                OdinEvent::Reconnecting { attempt: *attempt, after_ms: millis(*after), reason: clean(&why.to_string()) }
            }
            Event::Idle => OdinEvent::Idle,
            Event::Stale { channel, reason, since_ms } => OdinEvent::Stale {
                channel: channel.clone(),
                reason: reason.map(|reason| reason.as_str().to_owned()),
                since_ms: *since_ms,
            },
            Event::Live { channel } => OdinEvent::Live { channel: channel.clone() },
            Event::Subscribed { channel, mode, recovered, reason, is_anew, .. } => OdinEvent::Subscribed {
                channel: channel.clone(),
                mode: (*mode).into(),
                recovered: *recovered,
                is_anew: *is_anew,
                reason: reason.map(|reason| reason.as_str().to_owned()),
            },
            Event::Unsubscribed { channel } => OdinEvent::Unsubscribed { channel: channel.clone() },
            Event::Update(update) => OdinEvent::Update { update: update.into() },
            Event::Gap(gap) => OdinEvent::Gap {
                channel: gap.channel.clone(),
                key: gap.key.clone(),
                after: gap.after,
                until: gap.until,
                reason: gap.announced.map(|reason| reason.as_str().to_owned()),
            },
            Event::Repeated { channel, seq, .. } => OdinEvent::Repeated { channel: channel.clone(), seq: *seq },
            Event::Draining { within, message } => {
                OdinEvent::Draining { within_ms: within.map(millis), message: message.as_deref().map(clean) }
            }
            Event::Notice { message } => OdinEvent::System { message: clean(message) },
            Event::Error(refusal) => OdinEvent::Error {
                code: refusal.code.as_str().to_owned(),
                message: clean(&refusal.message),
                channel: refusal.channel.clone(),
                retry_after_ms: refusal.retry_after.map(millis),
            },
            Event::Closed { code, why } => OdinEvent::Closed { code: *code, reason: clean(&why.to_string()) },
            _ => return None,
        })
    }
}

impl From<&protocol::Update> for OdinUpdate {
    fn from(update: &protocol::Update) -> OdinUpdate {
        OdinUpdate {
            channel: update.channel.clone(),
            key: update.key.clone(),
            seq: update.seq,
            prev: update.prev,
            timestamp_ms: update.ts,
            is_snapshot: update.snapshot,
            json: update.data.get().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checklist 60: the text of an exception is somebody else's, and may be as long as they like.
    #[test]
    fn of_an_exception_the_first_line_is_passed_on_and_not_all_of_it() {
        let reason = |text: &str| OdinListenerError::from(uniffi::UnexpectedUniFFICallbackError::new(text)).to_string();
        assert_eq!(reason("Thrown: a\u{1b}b\n  at main\n  at start"), "Thrown: a?b");
        assert_eq!(reason(&"x".repeat(10_000)).len(), MAX_REASON_CHARS);
        assert_eq!(reason(""), "");
    }

    /// Checklist 60: what the gateway says to people is cleaned before an app shows or logs it.
    #[test]
    fn what_the_gateway_says_cannot_steer_a_terminal() {
        let event = OdinEvent::of(&Event::Notice { message: "a\u{1b}[2Jb".to_owned() });
        assert_eq!(event, Some(OdinEvent::System { message: "a?[2Jb".to_owned() }));
    }

    #[test]
    fn a_measurement_and_a_position_are_no_news() {
        assert_eq!(OdinEvent::of(&Event::RoundTrip(std::time::Duration::ZERO)), None);
        assert_eq!(OdinEvent::of(&Event::Checkpoint { cursor: "1.a".to_owned() }), None);
    }
}
