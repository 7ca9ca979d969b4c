//! What operators order of this gateway alone.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::answer::Failure;
use crate::reload::ReloadError;

/// Files are read and keys are fetched.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The same as SIGTERM. Asked again, the answer is the same.
pub(super) async fn drain(State(shared): State<Shared>) -> Response {
    tracing::info!(who = "admin", order = "drain", "ordered");
    shared.admin.drain.notify_one();
    (StatusCode::ACCEPTED, Json(json!({ "status": "draining" }))).into_response()
}

/// The same as SIGHUP.
pub(super) async fn reload(State(shared): State<Shared>) -> Result<Response, Failure> {
    tracing::info!(who = "admin", order = "reload", "ordered");
    match tokio::time::timeout(RELOAD_TIMEOUT, shared.admin.reloader.reload()).await {
        Ok(Ok(changed)) => Ok(Json(changed).into_response()),
        Ok(Err(ReloadError::Invalid(reason))) => {
            Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "reload_failed", reason))
        }
        Ok(Err(ReloadError::Stopping)) | Err(_) => {
            let message = "another reload is under way, or the gateway is stopping";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
    }
}
