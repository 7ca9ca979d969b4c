//! Error codes and the other reasons a gateway gives in messages: short names, each with its meaning.
//!
//! The end of a connection has numbers instead: see [`close`](crate::close).

use crate::names::wire_names;

wire_names! {
    /// Why a request was refused: the `code` of an `error` message.
    ErrorCode {
        InvalidMessage = "invalid_message", "The message is not readable, misses a member, repeats one or has one of the wrong type.";
        UnknownType = "unknown_type", "The message has a `type` this gateway does not know.";
        MessageTooBig = "message_too_big", "The message is larger than `maxMessageBytes`.";
        InvalidChannel = "invalid_channel", "The channel name breaks the grammar.";
        UnknownChannel = "unknown_channel", "No rule of the gateway maps this channel.";
        Unsupported = "unsupported", "The gateway does not offer this option or message, or not for this channel.";
        AuthRequired = "auth_required", "The channel or request needs a signed-in user.";
        AuthFailed = "auth_failed", "The token is not valid.";
        AuthUnavailable = "auth_unavailable", "The gateway cannot check tokens at present, or not at all.";
        Forbidden = "forbidden", "The user may not do this.";
        TooManyChannels = "too_many_channels", "One message names more channels than allowed; none of them was handled.";
        TooManySubscriptions = "too_many_subscriptions", "The connection holds as many subscriptions as allowed.";
        TooWide = "too_wide", "The pattern covers more subjects than the gateway serves at once.";
        RateLimited = "rate_limited", "Too many requests in too short a time.";
        InvalidPayload = "invalid_payload", "The `data` of a `publish` is not acceptable for the channel.";
        Unavailable = "unavailable", "The stream cannot be reached at present.";
        Internal = "internal", "The gateway failed; the log has the cause.";
    }
}

impl ErrorCode {
    /// Whether the same request may succeed later without any change to it.
    ///
    /// Wait `retryAfterMs` where the error has it, else back off as for a lost connection.
    pub const fn retry(self) -> bool {
        matches!(
            self,
            ErrorCode::AuthUnavailable | ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Internal
        )
    }

    /// Whether the error is a strike: a fault of the client's program that counts towards
    /// [`CloseCode::PolicyViolation`](crate::CloseCode::PolicyViolation).
    pub const fn is_strike(self) -> bool {
        matches!(
            self,
            ErrorCode::InvalidMessage
                | ErrorCode::UnknownType
                | ErrorCode::InvalidChannel
                | ErrorCode::TooManyChannels
                | ErrorCode::RateLimited
        )
    }
}

wire_names! {
    /// Why a subscription did not continue at its `since`: the `reason` of `subscribed` with `recovered: false`.
    ResumeFailure {
        InvalidCursor = "invalid_cursor", "The cursor is not readable.";
        EpochChanged = "epoch_changed", "The cursor belongs to another stream: it was created anew or restored.";
        RolledBack = "rolled_back", "The cursor lies beyond the end of the stream, or names another publication than the stream does.";
        CursorTooOld = "cursor_too_old", "The stream no longer keeps everything after the cursor.";
        ReplayLimit = "replay_limit", "More was missed than the gateway replays.";
        Unsupported = "unsupported", "The gateway does not resume this channel.";
    }
}

wire_names! {
    /// Why publications were left out: the `reason` of `gap`.
    GapReason {
        Retention = "retention", "The stream dropped them before the client had taken them.";
        ReplayLimit = "replay_limit", "The client fell further behind than the gateway replays.";
        Removed = "removed", "They were deleted from the stream or had expired.";
        Invalid = "invalid", "They were published but are not acceptable: not JSON, or too large.";
    }
}

wire_names! {
    /// Why values may be old: the `reason` of `stale`.
    StaleReason {
        BusLost = "bus_lost", "The gateway has no connection to the stream.";
        Unverified = "unverified", "The gateway is connected but cannot prove that it has everything.";
        FeedSilent = "feed_silent", "The source of the channel was silent for longer than its rule allows.";
    }
}
