//! `odin-chaos`: see the crate's page.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use odin_chaos::{
    arena::Programs,
    attack, door,
    fault::Fault,
    load::Shape,
    report::Report,
    rolling::{curve, rolling},
    run::{self, run},
    storm,
};

/// Breaks NATS, gateways, wires, readers and publishers under load, and proves from every client's history that
/// nothing was lost, repeated or reordered.
#[derive(Debug, clap::Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Inject faults one after the other
    Run {
        #[command(flatten)]
        shared: Shared,
        /// Faults of a round; all by default
        #[arg(long, value_delimiter = ',')]
        faults: Vec<Fault>,
        /// Rounds, each with every fault in another order
        #[arg(long, default_value_t = 1)]
        rounds: u32,
    },
    /// Restart all gateways over and over
    Rolling {
        #[command(flatten)]
        shared: Shared,
        /// How often
        #[arg(long, default_value_t = 20)]
        times: u32,
    },
    /// Many clients dropped and resumed at once
    Storm(storm::Args),
    /// Slow handshakes and a flood of connects, beside clients who must not notice
    Door(door::Args),
    /// The attacker of `door`, a process of its own
    #[command(hide = true)]
    Attack(attack::Args),
}

#[derive(Debug, clap::Args)]
struct Shared {
    /// Where all choices come from; drawn and printed when it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Gateways
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Messages each second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Price channels
    #[arg(long, default_value_t = 40)]
    tokens: u32,
    /// Time in which a gateway sends its clients away
    #[arg(long, default_value_t = 3000)]
    drain_window_ms: u64,
    /// More clients of exact channels
    #[arg(long, default_value_t = 0)]
    crowd: u32,
    /// Histories, logs and configuration go here and stay; otherwise they stay only when a promise was broken
    #[arg(long)]
    history: Option<PathBuf>,
    /// Write the table here, in Markdown
    #[arg(long)]
    report: Option<PathBuf>,
    /// Folder of ws-gateway and odin-publisher; that of this program by default
    #[arg(long)]
    programs: Option<PathBuf>,
}

impl Shared {
    fn options(&self, folder: PathBuf) -> anyhow::Result<run::Options> {
        let us = std::env::current_exe().context("the path of this program")?;
        let programs = self.programs.clone().or_else(|| us.parent().map(PathBuf::from)).context("a folder")?;
        Ok(run::Options {
            seed: self.seed.unwrap_or_else(rand::random),
            faults: Fault::ALL.to_vec(),
            rounds: 1,
            gateways: self.gateways,
            shape: Shape { tokens: self.tokens, kinds: 4, rate: self.rate, padding: 100 },
            folder,
            programs: Programs::in_folder(&programs)?,
            drain_window: Duration::from_millis(self.drain_window_ms),
            crowd: self.crowd,
        })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match args.command {
            Command::Run { shared, faults, rounds } => {
                let faults = if faults.is_empty() { Fault::ALL.to_vec() } else { faults };
                prove(&shared, async |options| run(run::Options { faults, rounds, ..options }).await).await
            }
            Command::Rolling { shared, times } => prove(&shared, async |options| rolling(options, times).await).await,
            Command::Storm(args) => storm::storm(args).await,
            Command::Door(args) => door::door(args).await,
            Command::Attack(args) => attack::attack(args).await,
        }
    })
}

async fn prove(
    shared: &Shared,
    work: impl AsyncFnOnce(run::Options) -> anyhow::Result<Report>,
) -> anyhow::Result<ExitCode> {
    let folder = match &shared.history {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("odin-chaos-{:08x}", rand::random::<u32>())),
    };
    std::fs::create_dir_all(&folder).context("a folder for histories")?;
    let options = shared.options(folder.clone())?;
    let seed = options.seed;
    eprintln!("seed {seed}, histories in {}", folder.display());
    let report = work(options).await?;
    let table = report.table();
    println!("{table}");
    if !report.moves.is_empty() {
        println!("clients that moved, over the time since their gateway was told to leave:");
        println!("{}", curve(&report.moves, Duration::from_millis(shared.drain_window_ms + 500), 14));
    }
    if let Some(path) = &shared.report {
        std::fs::write(path, &table).with_context(|| format!("write {}", path.display()))?;
    }
    let total = report.total();
    println!("seed {seed}: {} injections", total.injections);
    if total.is_violated() {
        println!("VIOLATED: histories in {}", folder.display());
        return Ok(ExitCode::FAILURE);
    }
    println!("every promise was kept");
    if shared.history.is_none() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(ExitCode::SUCCESS)
}
