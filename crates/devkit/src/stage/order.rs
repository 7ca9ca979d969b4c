//! What a test may ask of the stage: one JSON object a line.

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;

/// An order that can be carried out, if its parts are there.
#[derive(Debug)]
pub(super) enum Order {
    /// SIGKILL for a gateway.
    KillGateway(usize),
    /// A gateway that ended begins anew, on the same ports.
    StartGateway(usize),
    /// SIGTERM for a gateway.
    DrainGateway(usize),
    /// SIGSTOP for a gateway.
    FreezeGateway(usize),
    /// SIGCONT for a gateway.
    ThawGateway(usize),
    /// SIGKILL for one nats-server, or for all.
    StopNats(Option<usize>),
    /// One nats-server, or all, on the same port and store.
    StartNats(Option<usize>),
    /// One message, stored and acknowledged.
    Publish { subject: String, data: Box<RawValue> },
    /// The balancer cuts WebSockets.
    BlockWebsocket(bool),
    /// The balancer forwards nothing.
    PauseTraffic(bool),
    /// The balancer cuts what exists.
    Cut,
    /// How many connections each gateway has.
    Connections,
    /// Which gateway new connections go to.
    Balance(Option<usize>),
}

/// An order as it is typed.
#[derive(serde::Deserialize)]
struct Typed {
    #[serde(default)]
    id: serde_json::Value,
    r#do: String,
    index: Option<usize>,
    on: Option<bool>,
    only: Option<usize>,
    subject: Option<String>,
    data: Option<Box<RawValue>>,
}

impl Order {
    /// The id of the order, null where none can be read, and the order.
    pub(super) fn read(line: &str) -> (serde_json::Value, anyhow::Result<Order>) {
        match serde_json::from_str::<Typed>(line) {
            Ok(mut typed) => (typed.id.take(), Order::parse(typed)),
            Err(error) => (serde_json::Value::Null, Err(error).context("not an order")),
        }
    }

    fn parse(typed: Typed) -> anyhow::Result<Order> {
        let index = typed.index.context("which? `index` is missing");
        let on = typed.on.context("`on` is missing");
        Ok(match typed.r#do.as_str() {
            "kill_gateway" => Order::KillGateway(index?),
            "start_gateway" => Order::StartGateway(index?),
            "drain_gateway" => Order::DrainGateway(index?),
            "freeze_gateway" => Order::FreezeGateway(index?),
            "thaw_gateway" => Order::ThawGateway(index?),
            "stop_nats" => Order::StopNats(typed.index),
            "start_nats" => Order::StartNats(typed.index),
            "publish" => Order::Publish {
                subject: typed.subject.context("`subject` is missing")?,
                data: typed.data.context("`data` is missing")?,
            },
            "block_websocket" => Order::BlockWebsocket(on?),
            "pause_traffic" => Order::PauseTraffic(on?),
            "cut" => Order::Cut,
            "connections" => Order::Connections,
            "balance" => Order::Balance(typed.only),
            other => bail!("unknown order {other:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_lacks_nothing_it_needs() {
        for (line, expected) in [
            (r#"{"id":1,"do":"kill_gateway"}"#, "`index` is missing"),
            (r#"{"id":1,"do":"block_websocket"}"#, "`on` is missing"),
            (r#"{"id":1,"do":"publish","subject":"x"}"#, "`data` is missing"),
            (r#"{"id":1,"do":"dance"}"#, "unknown order"),
        ] {
            let (id, order) = Order::read(line);
            assert_eq!(id, 1);
            let error = order.expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        let (id, order) = Order::read("nonsense");
        assert!(id.is_null() && order.is_err());
    }

    #[test]
    fn data_is_published_as_it_was_typed() {
        let (id, order) = Order::read(r#"{"do":"publish","id":"a","subject":"odin.x","data":{"b": 1.0,"a":1e2}}"#);
        assert_eq!(id, "a");
        let Ok(Order::Publish { subject, data }) = order else { panic!("no order to publish: {order:?}") };
        assert_eq!((subject.as_str(), data.get()), ("odin.x", r#"{"b": 1.0,"a":1e2}"#));
    }

    #[test]
    fn nobody_in_particular_is_everybody() {
        assert!(matches!(Order::read(r#"{"do":"stop_nats"}"#).1, Ok(Order::StopNats(None))));
        assert!(matches!(Order::read(r#"{"do":"balance","only":null}"#).1, Ok(Order::Balance(None))));
        assert!(matches!(Order::read(r#"{"do":"balance","only":1}"#).1, Ok(Order::Balance(Some(1)))));
    }
}
