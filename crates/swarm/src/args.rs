//! What a person types.

use std::{path::PathBuf, time::Duration};

use odin_protocol::{Mode, Secret};

use crate::{bar::Bar, channels::Spread, watch::Watched};

/// What `--help` says after the options.
const AFTER_HELP: &str = "\
Exit codes: 0 the run ended and every --fail-on held; 1 one of them did not; 2 the options are wrong or the run could not \
be made.

Names for --fail-on are those of the report: counts (lost, twice, reordered, gaps, stray, behind, silent, drops, refused, \
failed, errors, faults, not_recovered, recovered, away, ended, epochs, merged, stale, deliveries, connected, live), shares in percent \
(success_pct, drops_pct), and times in milliseconds (connect, handshake, ready, latency, stream, slow, back, each with \
_p50, _p95, _p99, _p999 or _max, as latency_p99). A bar says what is bad: 'lost>0,latency_p99>500,success_pct<99'.

Signals: SIGINT and SIGTERM end the run early, with a report.";

/// Clients of odin by the ten thousand: load, and the proof that nothing was lost under it.
#[derive(Debug, clap::Parser)]
#[command(name = "odin-swarm", version, after_help = AFTER_HELP)]
pub struct Args {
    /// Where to connect: ws://host:port/path, one or several; clients begin with one each and go on to the next after a
    /// failure. Event streams and polls use /v1 of the same host
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    pub url: Vec<String>,
    /// Clients, of all processes together
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    /// New connections each second at the beginning
    #[arg(long, value_name = "N", default_value_t = 1000.0, conflicts_with = "ramp")]
    pub connect_rate: f64,
    /// Spread the first connects over this time instead
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ramp: Option<Duration>,
    /// Channels of each client; {n} stands for a number
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',', default_value = "price:T{n}")]
    pub channels: Vec<String>,
    /// Numbers go from 0 up to this, without it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tokens: u32,
    /// Numbers of each client
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub per_client: u32,
    /// How numbers are spread over clients
    #[arg(long, value_enum, default_value_t)]
    pub spread: Spread,
    /// How messages of WebSockets are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// How clients connect; mix: WebSockets, and as many others as --events and --polls say
    #[arg(long, value_enum, default_value_t)]
    pub transport: Transport,
    /// Event streams of a mix; a twentieth of the clients by default
    #[arg(long, value_name = "N")]
    pub events: Option<u32>,
    /// Polling clients of a mix; a twentieth by default
    #[arg(long, value_name = "N")]
    pub polls: Option<u32>,
    /// Mode of the subscriptions; rule: as the gateway's rules have it
    #[arg(long, value_enum, default_value_t)]
    pub mode: Modes,
    /// Go on where the connection was lost; without it every connection begins with a snapshot
    #[arg(long)]
    pub resume: bool,
    /// So many of a hundred clients stop reading now and then
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub slow: f64,
    /// How long one does not read
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    pub slow_for: Duration,
    /// How long it reads then
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    pub slow_every: Duration,
    /// So often each second one client, of all, disconnects and comes back, or ends a subscription and begins it anew
    #[arg(long, value_name = "PER SECOND", default_value_t = 0.0)]
    pub churn: f64,
    /// Length of the run, connects included
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// How long clients may then take to come to the newest value
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "3s")]
    pub settle: Duration,
    /// Sign in with this token, all of them
    #[arg(long, env = "ODIN_SWARM_TOKEN", hide_env_values = true, value_parser = secret, conflicts_with = "secret")]
    pub token: Option<Secret>,
    /// Sign in with tokens made with this HS256 secret
    #[arg(long, env = "ODIN_SWARM_SECRET", hide_env_values = true, value_parser = secret)]
    pub secret: Option<Secret>,
    /// Users of those tokens, swarm-0 and on; each client is one of them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub users: u32,
    /// Their tier
    #[arg(long, value_name = "TIER", default_value = "premium")]
    pub tier: String,
    /// Begin at this moment, in seconds since 1970: for several programs at once
    #[arg(long, value_name = "SECONDS")]
    pub start_at: Option<f64>,
    /// Processes, each with its share of the clients. A process has as many as it may open files, less 100
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub processes: u32,
    /// Clients of one source address, where the target is on this machine: it has 28,000 ports
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub per_address: u32,
    /// SO_RCVBUF of the clients' sockets, in bytes: small, so that the kernel does not read for those who stop
    #[arg(long, value_name = "BYTES")]
    pub receive_buffer: Option<usize>,
    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// What is not good enough: 'lost>0,latency_p99>500'
    #[arg(long, value_name = "BARS", value_delimiter = ',')]
    pub fail_on: Vec<Bar>,
    /// Server processes whose CPU, memory, files and threads are noted each second
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',')]
    pub watch: Vec<Watched>,
    /// Where random choices come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Say nothing while it runs
    #[arg(long)]
    pub quiet: bool,
    /// This process is one of several
    #[arg(long, hide = true, value_name = "AT/OF")]
    pub part: Option<Part>,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    #[default]
    Json,
    Msgpack,
    Mix,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Transport {
    #[default]
    Ws,
    Events,
    Poll,
    Mix,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Modes {
    #[default]
    Rule,
    Latest,
    All,
    Mix,
}

impl Modes {
    /// What the client with this number asks for.
    pub fn of(self, client: u32) -> Option<Mode> {
        match self {
            Modes::Rule => None,
            Modes::Latest => Some(Mode::Latest),
            Modes::All => Some(Mode::All),
            Modes::Mix if (client / 2).is_multiple_of(2) => Some(Mode::All),
            Modes::Mix => Some(Mode::Latest),
        }
    }
}

/// Which one of several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub at: u32,
    /// How many there are.
    pub of: u32,
}

impl std::str::FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Part, Self::Err> {
        let (at, of) = text.split_once('/').ok_or("not AT/OF")?;
        let part = Part { at: at.parse().map_err(|_| "no number")?, of: of.parse().map_err(|_| "no number")? };
        if part.at < part.of { Ok(part) } else { Err("beyond the last") }
    }
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
