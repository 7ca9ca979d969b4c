//! What the admin listener answers: probes, metrics, statistics. It is for operators and their machines, and stands on
//! another address than the clients'. Nothing can be changed here, and no secret can be read.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;

use crate::config::Config;
use crate::metrics::{CONTENT_TYPE, Exposition, Metrics};

/// Whether the gateway wants new connections.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for this reason.
    NotReady(NotReady),
}

/// Why the gateway wants no new connections. Those it has are served as well as possible.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It has not finished starting.
    Starting,
    /// There is no connection to NATS.
    NatsDisconnected,
    /// The stream does not exist.
    StreamMissing,
    /// The stream exists but cannot be used.
    StreamMisconfigured,
    /// Nothing comes back through the stream.
    StreamSilent,
    /// The stream of revocations does not exist.
    ControlMissing,
    /// Revocations were never read.
    ControlUnread,
    /// It is stopping.
    Draining,
}

impl NotReady {
    /// The reason in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            NotReady::Starting => "starting",
            NotReady::NatsDisconnected => "nats_disconnected",
            NotReady::StreamMissing => "stream_missing",
            NotReady::StreamMisconfigured => "stream_misconfigured",
            NotReady::StreamSilent => "stream_silent",
            NotReady::ControlMissing => "control_missing",
            NotReady::ControlUnread => "control_unread",
            NotReady::Draining => "draining",
        }
    }

    /// What it means, and what to do.
    pub fn message(self) -> &'static str {
        match self {
            NotReady::Starting => "the gateway has not finished starting",
            NotReady::NatsDisconnected => "no connection to nats; it is tried again until there is one",
            NotReady::StreamMissing => "the stream does not exist; run ws-gateway provision",
            NotReady::StreamMisconfigured => "the stream has a configuration odin cannot use; run ws-gateway provision",
            NotReady::StreamSilent => "what is published does not come back through the stream; has it a leader?",
            NotReady::ControlMissing => "the control stream does not exist; run ws-gateway provision",
            NotReady::ControlUnread => "who was revoked is not known yet; has the control stream a leader?",
            NotReady::Draining => "the gateway is stopping",
        }
    }
}

/// What of the configuration the statistics show.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Name of the stream.
    pub stream: String,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// Connections the process takes at most.
    pub max_connections: usize,
}

impl From<&Config> for Summary {
    fn from(config: &Config) -> Summary {
        Summary {
            stream: config.stream.name.clone(),
            path: config.path.clone(),
            max_connections: config.limits.connections,
        }
    }
}

/// What the admin routes read.
#[derive(Clone, Debug)]
pub struct Admin {
    /// All numbers.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway wants new connections.
    pub readiness: watch::Receiver<Readiness>,
    /// What of the configuration is shown.
    pub config: Summary,
    /// When the process began.
    pub started: Instant,
}

#[derive(Clone, Debug)]
struct Shared {
    admin: Admin,
    exposition: Arc<Exposition>,
}

/// The routes of the admin listener: `/livez`, `/readyz`, `/metrics`, `/v1/stats`; 404 for the rest, 405 for other
/// methods than GET and HEAD.
pub fn router(admin: Admin) -> Router {
    let exposition = Arc::new(Exposition::new(Arc::clone(&admin.metrics)));
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/stats", get(stats))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Shared { admin, exposition })
}

/// 200 as long as this is answered at all: a lost NATS or a drain is no reason to kill the process.
async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

async fn ready(State(shared): State<Shared>) -> Response {
    let readiness = *shared.admin.readiness.borrow();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness_json(readiness))).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.exposition.render()).into_response()
}

async fn stats(State(shared): State<Shared>) -> Response {
    let Admin { metrics, readiness, config, started } = &shared.admin;
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

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found")
}

async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({ "error": code }))).into_response()
}

fn readiness_json(readiness: Readiness) -> serde_json::Value {
    match readiness {
        Readiness::Ready => json!({ "status": "ready" }),
        Readiness::NotReady(reason) => {
            json!({ "status": "not_ready", "reason": reason.as_str(), "message": reason.message() })
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    struct Answer {
        status: StatusCode,
        content_type: String,
        body: String,
    }

    impl Answer {
        fn json(&self) -> Value {
            serde_json::from_str(&self.body).expect("a json body")
        }
    }

    async fn ask(method: Method, path: &str, readiness: Readiness) -> Answer {
        let metrics = Metrics::new(2);
        metrics.shards[0].connections.set(2);
        metrics.shards[1].connections.set(3);
        let admin = Admin {
            metrics: Arc::new(metrics),
            readiness: watch::channel(readiness).1,
            config: Summary::from(&Config::default()),
            started: Instant::now(),
        };
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let response = router(admin).oneshot(request).await.expect("routes do not fail");
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Answer { status, content_type, body: String::from_utf8(body.to_vec()).expect("text") }
    }

    async fn get(path: &str) -> Answer {
        ask(Method::GET, path, Readiness::Ready).await
    }

    #[tokio::test]
    async fn is_ready_or_says_why_not() {
        let answer = get("/readyz").await;
        assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("ready")));
        for reason in [
            NotReady::Starting,
            NotReady::NatsDisconnected,
            NotReady::StreamMissing,
            NotReady::StreamMisconfigured,
            NotReady::StreamSilent,
            NotReady::Draining,
        ] {
            let answer = ask(Method::GET, "/readyz", Readiness::NotReady(reason)).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.json()["reason"], reason.as_str());
            assert_eq!(answer.json()["message"], reason.message());
        }
    }

    #[tokio::test]
    async fn is_alive_while_it_is_not_ready() {
        let answer = ask(Method::GET, "/livez", Readiness::NotReady(NotReady::NatsDisconnected)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let answer = get("/metrics").await;
        assert_eq!((answer.status, answer.content_type.as_str()), (StatusCode::OK, CONTENT_TYPE));
        assert!(answer.body.contains("\nodin_gateway_connections 5\n") && answer.body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn stats_sum_the_shards() {
        let stats = get("/v1/stats").await.json();
        assert_eq!(stats["connectedClients"], 5);
        assert_eq!(stats["shards"][1]["connections"], 3);
        assert_eq!(stats["bus"]["stream"], "ODIN");
        assert_eq!(stats["readiness"]["status"], "ready");
    }

    #[tokio::test]
    async fn everything_else_is_a_json_404() {
        for path in ["/", "/ws", "/metrics/", "/debug/pprof", "/v1/config", "/v1"] {
            let answer = get(path).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (StatusCode::NOT_FOUND, &json!("not_found")),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_can_be_changed() {
        for path in ["/livez", "/readyz", "/metrics", "/v1/stats"] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let answer = ask(method, path, Readiness::Ready).await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            }
        }
    }
}
