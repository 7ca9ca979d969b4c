//! What operators order of this gateway alone.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::answer::{self, Failure};
use crate::reload::ReloadError;
use crate::telemetry;

/// Files are read and keys are fetched.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a log level with its directives.
const LEVEL_BYTES: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: String,
}

/// Until the next reload or restart.
pub(super) async fn set_log_level(body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let Level { level } = answer::body(body)?;
    if level.is_empty() || level.len() > LEVEL_BYTES {
        return Err(Failure::invalid(format!("a level has 1 to {LEVEL_BYTES} bytes")));
    }
    telemetry::set_level(&level).map_err(|_| Failure::invalid("neither a level nor a list of directives"))?;
    tracing::info!(who = "admin", order = "log", level, "ordered");
    Ok(Json(json!({ "level": level })).into_response())
}

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
