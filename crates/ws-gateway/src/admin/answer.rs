//! How a request is read, and what it is answered when it is not done.

use std::borrow::Cow;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::MAX_SUB_BYTES;
use crate::control::StoreError;

/// Why a request is not done. Repeats nothing of it.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The request makes no sense.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(error)).into_response()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{error}; repeat the request"))
    }
}

pub(super) async fn not_found() -> Failure {
    Failure::not_found("no such path")
}

pub(super) async fn method_not_allowed() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path knows other methods")
}

/// The body of a request, as JSON of a certain shape.
///
/// # Errors
/// It is too large, or has another shape.
pub(super) fn body<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Failure> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("more than {} bytes", super::BODY_BYTES))
        }
        _ => Failure::invalid("the body cannot be read"),
    })?;
    // Where it is wrong, not what is there.
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::invalid(format!("not the body that is expected, as of line {line}, column {column}"))
    })
}

/// The id of a user.
///
/// # Errors
/// Nobody can be called that.
pub(super) fn user(sub: &str) -> Result<&str, Failure> {
    if sub.is_empty() || sub.len() > MAX_SUB_BYTES {
        return Err(Failure::invalid(format!("the id of a user or token has 1 to {MAX_SUB_BYTES} bytes")));
    }
    Ok(sub)
}
