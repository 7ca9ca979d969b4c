//! What everybody may ask who reaches the listener: probes, metrics, statistics, and the description of the routes.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Admin, Readiness, Shared};
use crate::metrics::CONTENT_TYPE;

/// The routes as OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// 200 as long as this is answered at all: a lost NATS or a drain is no reason to kill the process.
pub(super) async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let readiness = *shared.admin.readiness.borrow();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness_json(readiness))).into_response()
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.exposition.render()).into_response()
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn stats(State(shared): State<Shared>) -> Response {
    let Admin { metrics, readiness, config, started, .. } = &shared.admin;
    let shards = metrics.shards.iter().map(|shard| {
        json!({
            "connections": shard.connections.get(),
            "subscriptions": shard.subscriptions.get(),
            "feeds": shard.feeds.get(),
            "behind": shard.behind.get(),
            "queueBytes": shard.queue_bytes.get(),
        })
    });
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": started.elapsed().as_secs(),
        "readiness": readiness_json(*readiness.borrow()),
        "connectedClients": metrics.connected_clients(),
        "maxConnections": config.max_connections,
        "subscriptions": metrics.sum(|shard| shard.subscriptions.get()),
        "path": config.path,
        "shards": shards.collect::<Vec<_>>(),
        "bus": {
            "stream": config.stream,
            "connected": metrics.bus.connected.get() == 1,
            "reconnects": metrics.bus.reconnects.get(),
            "feeds": metrics.bus.feeds.get(),
            "liveReceived": metrics.bus.live_received.get(),
            "delivered": metrics.bus.delivered.get(),
            "chainGaps": metrics.bus.chain_gaps.get(),
        },
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn readiness_json(readiness: Readiness) -> serde_json::Value {
    match readiness {
        Readiness::Ready => json!({ "status": "ready" }),
        Readiness::NotReady(reason) => {
            json!({ "status": "not_ready", "reason": reason.as_str(), "message": reason.message() })
        }
    }
}
