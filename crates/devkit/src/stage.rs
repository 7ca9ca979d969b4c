//! `odin-devkit stage`: a real odin for tests in any language, which take it apart by orders.
//!
//! Standard output is for the program that started us: one line that says where everything is, then one line for each
//! order, in the order they came. It ends with its input, so that nothing is left behind by a test that crashed.

mod cast;
mod order;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::fleet::LOOK_INTERVAL;
use crate::lines::lines;
use crate::stop::StopSignals;
use cast::Cast;
use order::Order;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Program of the gateway; that beside this program by default
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Number of gateways
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    gateways: u8,
    /// Number of nats-servers; several are a cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    nats: u8,
    /// Publish a simulated market with so many updates a second, by the odin-publisher beside this program
    #[arg(long, value_name = "RATE")]
    simulate: Option<u32>,
    /// Tokens of the simulated market, at least 5
    #[arg(long, value_name = "N", default_value_t = 20)]
    tokens: u32,
    /// Keep the logs here instead of in a temporary folder
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// More options of the gateways and of `ws-gateway provision`, after `--`
    #[arg(last = true, value_name = "GATEWAY OPTIONS")]
    more: Vec<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = StopSignals::catch().context("cannot catch signals")?;
    let mut typed = lines();
    // Dropping a half-started stage kills what runs of it, and so does its end.
    let mut cast = tokio::select! {
        cast = Cast::start(&args) => cast?,
        () = stop.received() => return Ok(()),
    };
    say(&cast.addresses())?;
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        let line = tokio::select! {
            line = typed.recv() => line,
            () = stop.received() => None,
            _ = look.tick() => {
                cast.notice_deaths();
                continue;
            }
        };
        match line {
            None => return Ok(()),
            Some(Err(reason)) => bail!("cannot read orders: {reason}"),
            Some(Ok(line)) if line.is_empty() => {}
            Some(Ok(line)) => {
                let answer = tokio::select! {
                    answer = obey(&mut cast, &line) => answer,
                    () = stop.received() => return Ok(()),
                };
                say(&answer)?;
            }
        }
    }
}

/// Does what a line says and gives the line that answers it.
async fn obey(cast: &mut Cast, line: &str) -> serde_json::Value {
    let (id, order) = Order::read(line);
    let done = match order {
        Ok(order) => cast.perform(order).await,
        Err(error) => Err(error),
    };
    let mut answer = json!({ "id": id, "ok": done.is_ok() });
    match done {
        Ok(more) => more.into_iter().for_each(|(name, value)| answer[name] = value),
        Err(error) => answer["error"] = format!("{error:#}").into(),
    }
    answer
}

fn say(line: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads the answers")
}
