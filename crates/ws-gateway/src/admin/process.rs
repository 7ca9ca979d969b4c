//! What operators order of this gateway alone.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::oneshot;

use super::Shared;
use super::answer::Failure;

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
    let Some(reload) = &shared.admin.reload else {
        let message = "this gateway cannot read its configuration again";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, "not_offered", message));
    };
    tracing::info!(who = "admin", order = "reload", "ordered");
    let (tell, told) = oneshot::channel();
    // Where there is no room for the question, there is no answer.
    let _ = reload.try_send(tell);
    match tokio::time::timeout(RELOAD_TIMEOUT, told).await {
        Ok(Ok(Ok(changed))) => Ok(Json(changed).into_response()),
        Ok(Ok(Err(reason))) => Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "reload_failed", reason)),
        _ => {
            let message = "another reload is under way, or the gateway is stopping";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
    }
}
