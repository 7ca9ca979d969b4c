//! The terminal client: command line in, exit code out.

mod args;
mod board;
mod exit;
mod identity;
mod meter;
mod note;
mod positions;
mod publish;
mod quote;
mod record;
mod screen;
mod tail;
mod tally;
mod token;
mod view;
mod watch;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use exit::Exit;
use note::note;

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "odin", &mut io::stdout());
            Ok(Exit::Done)
        }
        Command::Watch(args) => run(watch::run(args)),
        Command::Tail(args) => run(tail::run(args)),
        Command::Publish(args) => run(publish::run(args)),
        Command::Token(args) => token::run(*args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            note(format_args!("odin: {error:#}"));
            Exit::Failed.into()
        }
    }
}

/// One worker beside the main thread: output that blocks does not stop the connection and the signals.
fn run(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(command)
}

/// Whoever read our output has enough: no reason to complain.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_it = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_it)
}
