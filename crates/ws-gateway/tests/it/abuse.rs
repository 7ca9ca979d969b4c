//! Attacks, one test for each. Each is refused, counted, and disturbs nobody else.

use odin_protocol::frame::Violation;
use ws_gateway::config::Config;

use crate::support::{Answer, Client, Gateway, exchange, request};

mod frames;
mod handshake;
mod host;
mod messages;

/// A gateway under attack and somebody who must not notice.
struct Scene {
    gateway: Gateway,
    bystander: Client,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let gateway = Gateway::without_nats(change);
        let bystander = Client::connect(&gateway).await;
        Self { gateway, bystander }
    }

    /// Waits until so many handshakes were refused for this reason.
    async fn refuses(&self, reason: &str, count: u64) {
        let name = format!("odin_gateway_handshakes_refused_total{{reason=\"{reason}\"}}");
        self.gateway.metric_becomes(&name, count).await;
    }

    /// Sends a request and expects this status, and the end of the connection.
    async fn is_refused(&self, status: u16, line: &str, headers: &str) -> Answer {
        let answer = exchange(self.gateway.address, &request(line, headers)).await;
        assert_eq!(answer.status, status, "{line} {headers}");
        answer
    }

    /// Sends these bytes on a connection of their own and expects to be closed with this.
    async fn is_closed(&self, bytes: &[u8], code: u16, reason: &str) {
        let mut client = Client::connect(&self.gateway).await;
        client.send_raw(bytes).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
    }

    async fn violates(&self, bytes: &[u8], violation: Violation) {
        self.is_closed(bytes, violation.close_code(), violation.name()).await;
    }

    /// Nobody noticed, and nobody is left.
    async fn leaves_all_unharmed(mut self) {
        let noticed = self.bystander.sync(1).await;
        assert!(noticed.is_empty(), "the bystander got {noticed:?}");
        self.gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
        self.gateway.metric_becomes("odin_gateway_connections", 1).await;
    }
}
