//! `odin-devkit`: real NATS servers, all of odin on one machine, and an examination of clients, from the command line.

mod compose;
mod conform;
mod demo;
mod fleet;
mod lines;
mod nats;
mod programs;
mod stage;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Starts real NATS servers, and a whole odin, on this machine, and examines clients.
#[derive(Debug, Parser)]
#[command(name = "odin-devkit", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a nats-server with JetStream, or a cluster of them, until Ctrl-C; the data is deleted then.
    Nats(nats::Args),
    /// Runs NATS, two gateways, the price simulator and the terminal client until Ctrl-C.
    Demo(demo::Args),
    /// Runs what docker-compose.yml does without Docker: a NATS cluster, gateways behind the real HAProxy, the simulator
    /// and the page, until Ctrl-C; takes orders to break and roll them.
    Cluster(compose::Args),
    /// Runs NATS, gateways and a balancer for tests in any language: one line of JSON says where, then it takes orders.
    Stage(stage::Args),
    /// Plays a gateway to a client of any language, and reports whether it keeps to the protocol.
    Conform(conform::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,odin_devkit=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();

    let result = match args.command {
        Command::Nats(args) => nats::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Cluster(args) => compose::run(args).await,
        Command::Stage(args) => stage::run(args).await,
        Command::Conform(args) => conform::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("odin-devkit: {error:#}");
            ExitCode::FAILURE
        }
    }
}
