//! How a gateway leaves: not ready, a pause for the load balancer, then the shards let everybody go.

use tokio::sync::watch;

use crate::{
    admin::{NotReady, Readiness},
    config::Config,
};

/// Where the gateway stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// New connections are welcome.
    Serving,
    /// No new connections; those that are here leave within the drain window.
    Draining,
}

/// Says "not ready", gives the load balancer time to see it, then tells the shards.
///
/// # Cancel safety
/// Not cancel safe: dropped early, the shards are not told.
pub(crate) async fn begin(config: &Config, readiness: &watch::Sender<Readiness>, stage: &watch::Sender<Stage>) {
    readiness.send_replace(Readiness::NotReady(NotReady::Draining));
    tracing::info!(pause = ?config.drain.pause, window = ?config.drain.window, "draining");
    tokio::time::sleep(config.drain.pause).await;
    stage.send_replace(Stage::Draining);
}
