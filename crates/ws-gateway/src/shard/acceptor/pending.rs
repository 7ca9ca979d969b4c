//! A handshake under way, counted: that it began, that it ended, and how. One that ends by a panic is counted too, and
//! is nobody else's business: a handshake is a task of its own.

use std::{sync::Arc, time::Instant};

use crate::metrics::{HandshakeRefusal, ShardMetrics};

/// See the module. Dropped, the handshake is over.
#[derive(Debug)]
pub(super) struct Pending {
    metrics: Arc<ShardMetrics>,
    began: Instant,
}

impl Pending {
    pub(super) fn begin(metrics: Arc<ShardMetrics>) -> Self {
        metrics.handshakes_pending.add(1);
        Self { metrics, began: Instant::now() }
    }

    /// It became a connection.
    pub(super) fn succeeded(self) {
        self.metrics.handshakes_ok.add(1);
        self.metrics.handshake_duration.observe(self.began.elapsed());
    }

    /// It became a connection of requests.
    pub(super) fn becomes_http(self) -> HttpConnection {
        self.metrics.http_connections.add(1);
        HttpConnection(self.metrics.clone())
    }

    /// It did not.
    pub(super) fn refused(self, reason: HandshakeRefusal) {
        self.metrics.handshakes_refused.of(reason).add(1);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.metrics.handshakes_pending.sub(1);
        if std::thread::panicking() {
            self.metrics.handshakes_refused.of(HandshakeRefusal::Internal).add(1);
            self.metrics.panics.add(1);
        }
    }
}

/// A connection of requests, counted as long as it is there.
#[derive(Debug)]
pub(super) struct HttpConnection(Arc<ShardMetrics>);

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.0.http_connections.sub(1);
        if std::thread::panicking() {
            self.0.panics.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Checklist 58: a panic in one task. Only that one dies, and it is counted.
    #[tokio::test]
    async fn a_panic_ends_one_handshake_and_is_counted() {
        let metrics = Arc::<ShardMetrics>::default();
        LocalSet::new()
            .run_until(async {
                let (pending, other) = (Pending::begin(metrics.clone()), Pending::begin(metrics.clone()));
                let ended = spawn_local(async move {
                    let _pending = pending;
                    tokio::task::yield_now().await;
                    panic!("on purpose");
                });
                assert!(ended.await.expect_err("a panic").is_panic());
                assert_eq!(metrics.handshakes_pending.get(), 1);
                spawn_local(async move { other.succeeded() }).await.expect("no panic");
            })
            .await;
        assert_eq!(metrics.handshakes_pending.get(), 0);
        assert_eq!(metrics.handshakes_ok.get(), 1);
        assert_eq!(metrics.handshakes_refused.of(HandshakeRefusal::Internal).get(), 1);
        assert_eq!(metrics.handshakes_refused.total(), 1);
        assert_eq!(metrics.panics.get(), 1);
    }
}
