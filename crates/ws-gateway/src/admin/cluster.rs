//! What operators may know of all gateways.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::answer::{self, Failure};

pub(super) async fn gateways(State(shared): State<Shared>) -> Response {
    let overview = shared.admin.cluster.overview();
    let connections: u64 = overview.iter().map(|gateway| gateway.connections).sum();
    let gateways = overview.iter().enumerate().map(|(index, gateway)| {
        json!({
            "gateway": gateway.gateway.as_str(),
            "boot": gateway.boot.to_string(),
            "isSelf": index == 0,
            "connections": gateway.connections,
            "users": gateway.users,
            "ageMs": u64::try_from(gateway.age.as_millis()).unwrap_or(u64::MAX),
        })
    });
    let gateways: Vec<_> = gateways.collect();
    Json(json!({ "gateways": gateways, "connections": connections })).into_response()
}

pub(super) async fn connections(
    State(shared): State<Shared>,
    sub: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(sub) = sub.map_err(|_| Failure::invalid("the path is not UTF-8"))?;
    let found = shared.admin.cluster.connections_of(answer::user(&sub)?).await;
    let connections = found.connections.into_iter().map(|(gateway, boot, seen)| {
        let mut shown = serde_json::to_value(seen).expect("strings and numbers only");
        shown["gateway"] = gateway.as_str().into();
        shown["boot"] = boot.to_string().into();
        shown
    });
    let connections: Vec<_> = connections.collect();
    Ok(Json(json!({ "sub": sub, "connections": connections, "isComplete": found.is_complete })).into_response())
}
