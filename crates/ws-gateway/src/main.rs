//! The `ws-gateway` program: read what was typed, set up logging, run, tell the exit code.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::generate;
use tracing::{error, info};
use ws_gateway::args::{self, Action, Args, Format};
use ws_gateway::config::{self, Config, ConfigError};
use ws_gateway::health::{self, Question};
use ws_gateway::{Listeners, Reload, provision, telemetry};

mod descriptors;
mod hangup;
mod stop;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a wrong command line or configuration, as `clap` has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let action = args.action;
    if let Action::Completions(shell) = action {
        generate(shell, &mut args::command(), "ws-gateway", &mut io::stdout());
        return ExitCode::SUCCESS;
    }
    let read = move || {
        let inputs = args.inputs(std::env::vars_os()).map_err(|problem| ConfigError { problems: vec![problem] })?;
        config::build(&inputs)
    };
    let config = match read() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    let result = match action {
        Action::Serve => serve(config, Reload::new(read)),
        Action::CheckConfig => print("the configuration is valid\n"),
        Action::PrintConfig(Format::Toml) => print(&config::to_toml(&config)),
        Action::PrintConfig(Format::Json) => print(&format!("{:#}\n", config::to_json(&config))),
        Action::Provision { update } => create_streams(&config, update),
        Action::Health { address, question } => ask(address.unwrap_or(config.admin_listen), question),
        Action::Completions(_) => unreachable!("done above"),
    };
    let code = result.unwrap_or_else(|error| {
        if tracing::dispatcher::has_been_set() {
            error!(error = format!("{error:#}"), "failed");
        } else {
            eprintln!("ws-gateway: {error:#}");
        }
        ExitCode::FAILURE
    });
    telemetry::flush();
    code
}

fn serve(config: Config, reload: Reload) -> anyhow::Result<ExitCode> {
    telemetry::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listeners = Listeners::bind(&config)?;
        info!(version = env!("CARGO_PKG_VERSION"), "starting");
        for (table, options) in config::by_table(&config) {
            info!(table, %options, "configuration");
        }
        descriptors::take_all(&config);
        let stop = stop::signal()?;
        hangup::reload_on(reload.reloader())?;
        ws_gateway::run_reloadable(config, listeners, reload, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn create_streams(config: &Config, update: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(provision::provision(config, update)).context("cannot provision")?;
    print(&report.to_string())?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(address: SocketAddr, question: Question) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(health::ask(address, question))?;
    print(&format!("{answer}\n"))
}

/// To standard output. Whoever closes it early, like `head`, has seen enough.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
