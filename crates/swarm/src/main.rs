//! `odin-swarm`: see the crate's page.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use odin_swarm::{args::Args, fleet};

/// A bar did not hold.
const NOT_GOOD: u8 = 1;
/// The run could not be made. Clap has the same code for options it does not understand.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let code = if args.part.is_some() { part(&args) } else { whole(&args) };
    code.unwrap_or_else(|error| {
        eprintln!("odin-swarm: {error:#}");
        ExitCode::from(FAILED)
    })
}

fn part(args: &Args) -> anyhow::Result<ExitCode> {
    let share = fleet::part(args)?;
    println!("{}", serde_json::to_string(&share)?);
    Ok(ExitCode::SUCCESS)
}

fn whole(args: &Args) -> anyhow::Result<ExitCode> {
    let report = fleet::whole(args)?;
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !args.quiet && report.figures.get("drops").is_some_and(|drops| *drops > 0.0) {
        eprintln!("back after:\n{}", report.curve());
    }
    print!("{}", report.table());
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(NOT_GOOD) })
}
