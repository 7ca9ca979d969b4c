//! What the admin listener answers: probes, metrics, statistics, and what operators order. It stands on another address
//! than the clients'. Without `admin.token` nothing can be changed, and nothing be learned of users; no secret can be
//! read in any case.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post, put};
use tokio::sync::{Notify, watch};

mod access;
mod answer;
mod cluster;
mod orders;
mod probes;
mod process;
#[cfg(test)]
mod tests;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::control::Orders;
use crate::current::Current;
use crate::metrics::{Exposition, Metrics};
use crate::reload::Reloader;
use access::Refusals;

/// Bytes of the body of a request.
const BODY_BYTES: usize = 16 * 1024;

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
pub(crate) struct Summary {
    /// Name of the stream.
    pub(crate) stream: String,
    /// Path of the WebSocket endpoint.
    pub(crate) path: String,
    /// Connections the process takes at most.
    pub(crate) max_connections: usize,
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

/// What the admin routes read and move.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// All numbers.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the gateway wants new connections.
    pub(crate) readiness: watch::Receiver<Readiness>,
    /// What of the configuration is shown.
    pub(crate) config: Summary,
    /// When the process began.
    pub(crate) started: Instant,
    /// Has the operators' token.
    pub(crate) current: watch::Receiver<Arc<Current>>,
    /// The other gateways.
    pub(crate) cluster: Arc<Cluster>,
    /// Gets orders to all of them.
    pub(crate) orders: Orders,
    /// Notified when this gateway is to leave.
    pub(crate) drain: Arc<Notify>,
    /// Has the configuration read again.
    pub(crate) reloader: Reloader,
}

#[derive(Clone, Debug)]
struct Shared {
    admin: Admin,
    exposition: Arc<Exposition>,
    refusals: Arc<Refusals>,
}

/// Those that anybody may ask who reaches the listener.
fn open_routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/livez", get(probes::live)),
        ("/readyz", get(probes::ready)),
        ("/metrics", get(probes::metrics)),
        ("/v1/stats", get(probes::stats)),
        ("/openapi.json", get(probes::openapi)),
    ]
}

/// Those that want the operators' token.
fn closed_routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/v1/cluster", get(cluster::gateways)),
        ("/v1/users/{sub}/connections", get(cluster::connections)),
        ("/v1/users/{sub}/disconnect", post(orders::disconnect)),
        ("/v1/users/{sub}/notify", post(orders::notify)),
        ("/v1/broadcast", post(orders::broadcast)),
        ("/v1/revocations", get(orders::revocations).post(orders::revoke)),
        ("/v1/revocations/{id}", delete(orders::lift)),
        ("/v1/drain", post(process::drain)),
        ("/v1/reload", post(process::reload)),
        ("/v1/log", put(process::set_log_level)),
    ]
}

/// All routes; 404 for the rest, 405 for other methods. `admin/openapi.json` describes them, and a test compares.
pub(crate) fn router(admin: Admin) -> Router {
    let exposition = Arc::new(Exposition::new(Arc::clone(&admin.metrics)));
    let shared = Shared { admin, exposition, refusals: Arc::default() };
    let mut router = Router::new();
    for (path, route) in open_routes() {
        router = router.route(path, route);
    }
    for (path, route) in closed_routes() {
        let check = middleware::from_fn_with_state(shared.clone(), access::check);
        router = router.route(path, route.route_layer(check));
    }
    router
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(shared)
}
