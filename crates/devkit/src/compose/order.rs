//! What a person or a script may ask of a cluster: a word and a number, one order a line.

use anyhow::{Context as _, bail, ensure};

/// An order that can be carried out, if there is such a part. Numbers begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// SIGKILL of a gateway.
    Kill(usize),
    /// SIGTERM: it leaves within its drain window.
    Drain(usize),
    /// A gateway that ended, or is about to, on the same address.
    Start(usize),
    /// Each gateway in turn: drain, start, wait until the balancer sends it clients.
    Roll,
    /// SIGKILL of a nats-server.
    StopNats(usize),
    /// A nats-server that ended, on the same port and store.
    StartNats(usize),
    /// The end.
    Quit,
}

impl Order {
    pub(super) fn read(line: &str) -> anyhow::Result<Order> {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let number = words.next();
        ensure!(words.next().is_none(), "one order a line");
        let part = || number.context("which one?")?.parse().context("not a number");
        let order = match word {
            "kill" => Order::Kill(part()?),
            "drain" => Order::Drain(part()?),
            "start" => Order::Start(part()?),
            "stop-nats" => Order::StopNats(part()?),
            "start-nats" => Order::StartNats(part()?),
            "roll" | "quit" if number.is_some() => bail!("{word} is for all of them"),
            "roll" => Order::Roll,
            "quit" => Order::Quit,
            _ => bail!("unknown order"),
        };
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_all_it_needs_and_no_more() {
        assert_eq!(Order::read(" kill  2 ").expect("an order"), Order::Kill(2));
        assert_eq!(Order::read("start-nats 3").expect("an order"), Order::StartNats(3));
        assert_eq!(Order::read("roll").expect("an order"), Order::Roll);
        for (line, expected) in [
            ("kill", "which one?"),
            ("kill one", "not a number"),
            ("kill -1", "not a number"),
            ("kill 1 2", "one order a line"),
            ("roll 1", "roll is for all of them"),
            ("dance", "unknown order"),
        ] {
            let error = Order::read(line).expect_err(line).to_string();
            assert_eq!(error, expected, "{line}");
        }
    }
}
