//! Why a collector did not take what was sent.

use std::time::Duration;

use http::StatusCode;

/// What became of a POST that failed. Names no address and no header: they may hold what others should not see.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No answer within [`Endpoint`](crate::Endpoint)'s time limit.
    #[error("the collector does not answer in time")]
    Timeout,
    /// It could not be sent: no connection, no TLS, broken off.
    #[error("the collector cannot be reached")]
    Request(#[source] hyper_util::client::legacy::Error),
    /// The collector refuses; a redirect counts as that.
    #[error("the collector answers {status}")]
    Status {
        /// What it said.
        status: StatusCode,
        /// How long it wants to be left alone, at most a day. A date instead of seconds is not understood.
        retry_after: Option<Duration>,
    },
    /// The answer is larger than the 64 KiB that are read.
    #[error("the collector's answer is too large")]
    TooLarge,
    /// The answer broke off.
    #[error("the collector's answer broke off")]
    Body,
}

impl ExportError {
    /// Whether the same data may be sent again: nothing has come there, or the collector asks to come back. OTLP forbids
    /// it for every other status.
    pub fn may_retry(&self) -> bool {
        match self {
            ExportError::Timeout | ExportError::Request(_) | ExportError::Body => true,
            ExportError::Status { status, .. } => matches!(status.as_u16(), 429 | 502..=504),
            ExportError::TooLarge => false,
        }
    }

    /// How long the collector wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ExportError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
