//! Why a request of the app came to nothing.

use std::time::Duration;

use odin_client::{PublishError, RequestError, SubscriptionError, printable};
use thiserror::Error;

/// Why a subscription was not asked for or not ended.
#[derive(Clone, Debug, PartialEq, Eq, Error, uniffi::Error)]
pub enum OdinRequestError {
    /// The channel or the cursor is not valid; nothing was asked for.
    #[error("{reason}")]
    Invalid {
        /// Which, and why.
        reason: String,
    },
    /// The client has ended.
    #[error("client is closed")]
    Closed,
}

/// Why a publication was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error, uniffi::Error)]
pub enum OdinPublishError {
    /// The channel or the data is not valid, or too big; nothing was sent.
    #[error("{reason}")]
    Invalid {
        /// Which, and why.
        reason: String,
    },
    /// The gateway did not take it: it is not stored.
    #[error("{code}: {reason}")]
    Refused {
        /// For programs: a code of the protocol, as `forbidden` or `rate_limited`.
        code: String,
        /// For people.
        reason: String,
        /// When the same may succeed, in milliseconds from now, if the gateway said that.
        retry_after_ms: Option<u64>,
    },
    /// It was sent, and no answer came: it may be stored or not. It is never sent a second time.
    #[error("no answer: it may be stored or not")]
    Unknown,
    /// As many publications are under way as may be; nothing was sent.
    #[error("too many publications under way")]
    Busy,
    /// The client has ended; nothing was sent.
    #[error("client is closed")]
    Closed,
}

/// Milliseconds, as many as fit.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<SubscriptionError> for OdinRequestError {
    fn from(error: SubscriptionError) -> OdinRequestError {
        OdinRequestError::Invalid { reason: printable(&error.to_string()).into() }
    }
}

impl From<RequestError> for OdinRequestError {
    fn from(error: RequestError) -> OdinRequestError {
        match error {
            RequestError::Invalid(error) => error.into(),
            _ => OdinRequestError::Closed,
        }
    }
}

impl From<PublishError> for OdinPublishError {
    fn from(error: PublishError) -> OdinPublishError {
        match error {
            PublishError::Refused { code, message, retry_after } => OdinPublishError::Refused {
                code: code.as_str().to_owned(),
                reason: printable(&message).into(),
                retry_after_ms: retry_after.map(millis),
            },
            PublishError::Unknown => OdinPublishError::Unknown,
            PublishError::Closed => OdinPublishError::Closed,
            error => OdinPublishError::Invalid { reason: printable(&error.to_string()).into() },
        }
    }
}
