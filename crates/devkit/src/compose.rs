//! `odin-devkit cluster`: the topology of docker-compose.yml as processes: a NATS cluster, gateways, the real HAProxy with
//! the deployed configuration, the simulator and the page.
//!
//! Standard output says where everything is, then answers orders, one line each. Orders are taken where standard input is
//! no terminal; its end is the end of orders, not of the cluster.

mod order;
mod topology;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::fleet::LOOK_INTERVAL;
use crate::lines::lines;
use crate::stop::StopSignals;
use order::Order;
use topology::Topology;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of gateways
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    gateways: u8,
    /// Number of nats-servers, each with a copy of the streams
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    nats: u8,
    /// Number of simulated tokens, at least 5
    #[arg(long, value_name = "N", default_value_t = 20)]
    tokens: u32,
    /// Updates a second of all kinds together; by default a price of each token about once a second, and the rest
    #[arg(long, value_name = "RATE")]
    rate: Option<u32>,
    /// Port of the balancer; 0, or a port that is taken: any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the balancer's figures; 0, or a port that is taken: any free one
    #[arg(long, value_name = "PORT", default_value_t = 8404)]
    stats_port: u16,
    /// Ports of the gateways for clients: this one and those after it; 0: any free ones
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    gateway_port: u16,
    /// Ports of their admin listeners: this one and those after it; 0: any free ones
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    admin_port: u16,
    /// Ports of the nats-servers: this one and those after it; 0: any free ones
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    nats_port: u16,
    /// Program of the gateway; that beside this program by default
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Program of HAProxy; the one on the PATH by default
    #[arg(long, value_name = "FILE")]
    haproxy: Option<PathBuf>,
    /// Configuration of HAProxy
    #[arg(long, value_name = "FILE", default_value = "deploy/haproxy/haproxy.cfg")]
    haproxy_config: PathBuf,
    /// Folder with the built page
    #[arg(long, value_name = "FOLDER", default_value = "clients/web/dist")]
    page: PathBuf,
    /// Keep the logs here instead of in a temporary folder
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// Take orders from a terminal too: `kill 1`, `drain 1`, `start 1`, `roll`, `stop-nats 2`, `start-nats 2`, `quit`
    #[arg(long)]
    orders: bool,
    /// End by itself after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// More options of the gateways and of `ws-gateway provision`, after `--`
    #[arg(last = true, value_name = "GATEWAY OPTIONS")]
    more: Vec<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = StopSignals::catch().context("cannot catch signals")?;
    let takes_orders = args.orders || !std::io::stdin().is_terminal();
    let mut typed = takes_orders.then(lines);
    // Dropping a half-started cluster kills what runs of it.
    let mut topology = tokio::select! {
        topology = Topology::start(&args) => topology?,
        () = stop.received() => return Ok(()),
    };
    say(match takes_orders {
        true => "ready, for orders too: kill N, drain N, start N, roll, stop-nats N, start-nats N, quit",
        false => "ready, Ctrl-C stops",
    })?;
    let end = tokio::time::Instant::now() + Duration::from_secs(args.seconds.unwrap_or(0));
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        let line = tokio::select! {
            line = next(&mut typed) => line,
            () = stop.received() => break,
            () = tokio::time::sleep_until(end), if args.seconds.is_some() => break,
            _ = look.tick() => {
                topology.notice_deaths()?;
                continue;
            }
        };
        let order = match line {
            None => {
                typed = None;
                continue;
            }
            Some(Err(reason)) => bail!("cannot read orders: {reason}"),
            Some(Ok(line)) if line.trim().is_empty() => continue,
            Some(Ok(line)) => line,
        };
        let answer = tokio::select! {
            answer = obey(&mut topology, &order) => answer,
            () = stop.received() => break,
        };
        match answer {
            Ok(true) => break,
            Ok(false) => say(&format!("done: {order}"))?,
            Err(error) => say(&format!("failed: {order}: {error:#}"))?,
        }
    }
    topology.stop().await;
    Ok(())
}

/// The next line, or for ever nothing where no more orders come.
async fn next(
    typed: &mut Option<tokio::sync::mpsc::Receiver<Result<String, String>>>,
) -> Option<Result<String, String>> {
    match typed {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Does what a line says; true when it says to end.
async fn obey(topology: &mut Topology, line: &str) -> anyhow::Result<bool> {
    match Order::read(line)? {
        Order::Quit => return Ok(true),
        order => topology.perform(order).await?,
    }
    Ok(false)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads the answers")
}
