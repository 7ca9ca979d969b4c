//! `odin-devkit conform`: what a client in any language does, compared with `docs/protocol.md`.
//!
//! Standard output has one line of JSON that says where the scenarios are and what each needs of a client, one for each
//! scenario that has ended, and at the end the report: a table, or one more line of JSON. Standard input takes what the
//! application got; see [`Told`].

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use odin_devkit::conformance::{Conformance, Options, Told};
use serde_json::json;

use crate::lines::lines;
use crate::stop::StopSignals;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port to listen on, of 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The report as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// An adapter tells on standard input what the application got
    #[arg(long)]
    adapter: bool,
    /// Play only these scenarios, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Do not play these scenarios, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    skip: Vec<String>,
    /// Longest first wait of the client's back-off, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    backoff_base_ms: u64,
    /// Longest wait of all of the client's back-off, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    backoff_cap_ms: u64,
    /// How long the client may take for what it has to do at once, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    patience: u64,
    /// End after this many seconds, whatever was seen by then
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = StopSignals::catch().context("cannot catch signals")?;
    let options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], args.port)),
        backoff_base: Duration::from_millis(args.backoff_base_ms),
        backoff_cap: Duration::from_millis(args.backoff_cap_ms),
        patience: Duration::from_secs(args.patience),
        has_adapter: args.adapter,
        only: args.only,
        skip: args.skip,
    };
    let mut conformance = Conformance::start(options).await?;
    say(
        &json!({ "url": conformance.url(), "walk": format!("{}/ws", conformance.url()), "scenarios": conformance.scenarios() }),
    )?;
    let mut typed = lines();
    let mut is_told = true;
    let mut limit = std::pin::pin!(tokio::time::sleep(Duration::from_secs(args.limit)));
    loop {
        tokio::select! {
            ended = conformance.ended() => match ended {
                Some(outcome) => say(&json!({ "ended": outcome.scenario, "hitch": outcome.hitch }))?,
                None => break,
            },
            line = typed.recv(), if is_told => match line {
                Some(Ok(line)) if line.is_empty() => {}
                Some(Ok(line)) => match Told::read(&line) {
                    Ok((scenario, told)) => conformance.tell(scenario.as_deref(), told),
                    Err(reason) => bail!("cannot understand {line:?}: {reason}"),
                },
                Some(Err(reason)) => bail!("cannot read what was got: {reason}"),
                // Whoever tells nothing may still be watched.
                None => is_told = false,
            },
            () = stop.received() => break,
            () = &mut limit => break,
        }
    }
    let report = conformance.report();
    if args.json {
        say(&report.to_json())?
    } else {
        println!("{report}")
    }
    if !report.passed() {
        bail!("the client does not do all that the protocol demands");
    }
    Ok(())
}

fn say(line: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads the report")
}
