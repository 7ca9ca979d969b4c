//! The `odin-publisher` program: simulated, piped or replayed data into odin's stream.

mod args;
mod feed;
mod outcome;
mod pipe;
mod replay;
mod report;
mod session;
mod simulate;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, LogFormat, ReportArgs};
use report::LogWriter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Could not start, or could not read its input.
const FAILED: u8 = 1;
/// Something was refused, is unknown, or (strictly) was not understood.
const NOT_CLEAN: u8 = 3;
/// A second signal came.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Cli::command(), "odin-publisher", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let format = command.report().map(start_log).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = stop_on_signals()?;
        match &command {
            Command::Simulate(args) => simulate::run(args, stop).await,
            Command::Pipe(args) => pipe::run(args, stop).await.map(Some),
            Command::Replay(args) => replay::run(args, stop).await.map(Some),
            Command::Completions { .. } => Ok(None),
        }
    });
    // the thread that waits for standard input may wait for ever
    runtime.shutdown_background();
    let (Some(report), Some(format)) = (report?, format) else {
        return Ok(ExitCode::SUCCESS);
    };
    report.print(format);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(NOT_CLEAN) })
}

fn start_log(args: &ReportArgs) -> anyhow::Result<args::ReportFormat> {
    // the NATS client says nothing about ordinary reconnects that we do not say better
    let filter = EnvFilter::try_new(format!("async_nats=error,{}", args.log_level))
        .map_err(|error| anyhow::anyhow!("invalid log level {:?}: {error}", args.log_level))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(args.report)
}

/// Cancelled by the first SIGINT or SIGTERM; the second ends the process.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
