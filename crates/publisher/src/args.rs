//! What a person types: commands, flags and their environment variables.

mod nats;
mod trace;
mod value;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use odin_publisher::Template;

pub(crate) use nats::{NatsArgs, PublishArgs};
pub(crate) use trace::TraceArgs;
pub(crate) use value::{Kinds, Rate, Speed};
use value::{delimiter, duration, kinds, pair, timestamp};

/// Publishes into odin's stream: acknowledged, once, in order per subject.
#[derive(Debug, Parser)]
#[command(name = "odin-publisher", version, max_term_width = 120, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 everything published was stored; 1 could not start or read its input; 2 wrong usage; 3 something was \
refused, may or may not be stored, or (with --strict) was not understood; 130 stopped by a second signal.

Streams are not created here: run `ws-gateway provision` first.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish a simulated market: prices, volumes, quotes, signals, users.
    Simulate(Box<SimulateArgs>),
    /// Publish lines of JSON from standard input: the way for a real feed.
    #[command(after_long_help = PIPE_FORMAT)]
    Pipe(Box<PipeArgs>),
    /// Publish a CSV or NDJSON file in its own time, faster, or flat out.
    #[command(after_long_help = REPLAY_FORMAT)]
    Replay(Box<ReplayArgs>),
    /// Print a shell's completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

const PIPE_FORMAT: &str = r#"Each line is one JSON object of at most 128 KiB. Where it goes is said by one of:
  {"subject":"odin.tokens.BTC.price","data":{…}}   a subject
  {"channel":"price:BTC","data":{…}}               a channel with one subject: price:*, volume:*, watchlist:*,
                                                   prices:batch, market:*, system:health
  {"token":"BTC","data":{…}}                       short for the channel price:BTC
  --subject-template 'odin.tokens.{tokenId}.price' fields of the line, or else of its data; then nothing above is looked at

The payload is "data" as it stands. With a template and without "data" it is the whole line (see --payload).
The message id is "id", else "nonce" of the line or of its data, else a new UUIDv7; "ttlSeconds" makes it expire.
Empty lines are skipped. What cannot be understood is counted and reported with its line number.
Standard input is read only as fast as NATS takes it."#;

const REPLAY_FORMAT: &str = r#"NDJSON lines are as for `pipe` (and as `simulate --print` writes them); the time is the field --time-column of the line, or
else of its data. A CSV row becomes one JSON object: every column under its own name, or those chosen by --column, then the
constants of --set. Numbers, true and false stay what they are, an empty cell is null, all else is text. A payload without
"nonce" gets one, which is the message id.

  odin-publisher replay trades.csv --time-column ts --column tokenId=symbol --column price=close \
      --set type=price:update --set source=trade --speed 10"#;

/// What is said about it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ReportArgs {
    /// The final report: text on standard error, or one JSON object on standard output
    #[arg(long, env = "ODIN_PUBLISHER_REPORT", value_enum, default_value = "text")]
    pub(crate) report: ReportFormat,
    /// How often to log figures where there is no terminal for a live line; 0s: never
    #[arg(long, env = "ODIN_PUBLISHER_REPORT_EVERY", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) report_every: Duration,
    /// Least severe log lines to write: error, warn, info, debug, trace, or a filter as in `odin_publisher=debug`
    #[arg(long, env = "ODIN_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,
    /// Form of log lines, on standard error
    #[arg(long, env = "ODIN_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Market")]
pub(crate) struct SimulateArgs {
    /// Tokens, 5 to 10000: BTC, ETH, SOL … first, then T00061, T00062 …
    #[arg(long, env = "ODIN_PUBLISHER_TOKENS", default_value_t = 50, value_name = "TOKENS")]
    pub(crate) tokens: usize,
    /// Users with trades and a portfolio, 1 to 10000: user-1, user-2 …
    #[arg(long, env = "ODIN_PUBLISHER_USERS", default_value_t = 10, value_name = "USERS")]
    pub(crate) users: usize,
    /// Messages per second of all kinds together, or `max` for as fast as NATS takes them
    #[arg(long, env = "ODIN_PUBLISHER_RATE", conflicts_with = "per_token_interval", value_name = "RATE|max")]
    pub(crate) rate: Option<Rate>,
    /// Instead of --rate: mean time between two prices of a token [default: 1s]
    #[arg(long, env = "ODIN_PUBLISHER_PER_TOKEN_INTERVAL", value_parser = duration, value_name = "TIME")]
    pub(crate) per_token_interval: Option<Duration>,
    /// How much the tokens' own rates differ: sigma of a log-normal distribution, 0 to 3; at 0 they take turns
    #[arg(long, env = "ODIN_PUBLISHER_SPREAD", default_value_t = 1.0, value_name = "SIGMA")]
    pub(crate) spread: f64,
    /// What to publish: price, volume, quote, batch, market, signals, users, health, or all
    #[arg(long, env = "ODIN_PUBLISHER_KINDS", value_delimiter = ',', default_value = "all", value_parser = kinds)]
    pub(crate) kinds: Vec<Kinds>,
    /// Same seed, same market; drawn when not given
    #[arg(long, env = "ODIN_PUBLISHER_SEED", value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Use the market's own clock from here instead of the real one, as 2026-01-31T12:00:00Z: with --seed the same messages
    /// every time, ids included
    #[arg(long, env = "ODIN_PUBLISHER_START_TIME", value_parser = timestamp, value_name = "TIME")]
    pub(crate) start_time: Option<i64>,
    /// Stop after this time (on the market's own clock with --start-time)
    #[arg(long, env = "ODIN_PUBLISHER_DURATION", value_parser = duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Stop after so many messages
    #[arg(long, env = "ODIN_PUBLISHER_COUNT", value_name = "MESSAGES")]
    pub(crate) count: Option<NonZeroU64>,
    /// Write lines for `pipe` or `replay` to standard output instead of publishing
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    #[command(flatten)]
    pub(crate) trace: TraceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct LineArgs {
    /// Where a message goes: a subject with fields in braces, as odin.tokens.{tokenId}.price
    #[arg(long, env = "ODIN_PUBLISHER_SUBJECT_TEMPLATE", value_name = "TEMPLATE")]
    pub(crate) subject_template: Option<Template>,
    /// What a line's payload is: its data, the whole line, or data if there is any
    #[arg(long, env = "ODIN_PUBLISHER_PAYLOAD", value_enum, default_value = "auto")]
    pub(crate) payload: Payload,
    /// Stop at the first line that cannot be understood
    #[arg(long, env = "ODIN_PUBLISHER_STRICT")]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Payload {
    Auto,
    Data,
    Line,
}

#[derive(Debug, Args)]
pub(crate) struct PipeArgs {
    #[command(flatten)]
    pub(crate) line: LineArgs,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    #[command(flatten)]
    pub(crate) trace: TraceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Replay")]
pub(crate) struct ReplayArgs {
    /// The file; `-` is standard input
    pub(crate) file: PathBuf,
    /// Form of the file [default: by its name, .csv and .tsv are CSV]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FileFormat>,
    /// 1 in its own time, 10 ten times as fast, `max` as fast as NATS takes it
    #[arg(long, env = "ODIN_PUBLISHER_SPEED", default_value = "1", value_name = "FACTOR|max")]
    pub(crate) speed: Speed,
    /// Longest pause between two messages, after --speed
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) max_gap: Option<Duration>,
    /// Column or field with the time
    #[arg(long, default_value = "timestamp", value_name = "NAME")]
    pub(crate) time_column: String,
    /// Unit of the time; auto: RFC 3339 text, else s, ms, us or ns by its size
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) time_unit: TimeUnit,
    /// CSV: payload field from a column, may be repeated [default: all columns under their own names]
    #[arg(long = "column", value_parser = pair, value_name = "FIELD=COLUMN")]
    pub(crate) columns: Vec<(String, String)>,
    /// CSV: payload field with a constant, may be repeated
    #[arg(long = "set", value_parser = pair, value_name = "FIELD=VALUE")]
    pub(crate) constants: Vec<(String, String)>,
    /// CSV: payload field that is text even if it looks like a number, may be repeated
    #[arg(long = "text", value_name = "FIELD")]
    pub(crate) texts: Vec<String>,
    /// CSV: character between columns [default: a comma, in .tsv files a tab]
    #[arg(long, value_parser = delimiter, value_name = "CHARACTER")]
    pub(crate) delimiter: Option<u8>,
    /// CSV: there is no line of names; columns are called 1, 2, 3 …
    #[arg(long)]
    pub(crate) no_header: bool,
    #[command(flatten)]
    pub(crate) line: LineArgs,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    #[command(flatten)]
    pub(crate) trace: TraceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FileFormat {
    Csv,
    Ndjson,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum TimeUnit {
    Auto,
    S,
    Ms,
    Us,
    Ns,
    Rfc3339,
}

impl Command {
    /// What is to be said, for commands that say anything.
    pub(crate) fn report(&self) -> Option<&ReportArgs> {
        match self {
            Command::Simulate(args) => Some(&args.report),
            Command::Pipe(args) => Some(&args.report),
            Command::Replay(args) => Some(&args.report),
            Command::Completions { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_help_text() {
        fn check(command: &clap::Command) {
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{} {}", command.get_name(), flag.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn an_own_rate_and_an_interval_exclude_each_other() {
        let both = ["odin-publisher", "simulate", "--rate", "5", "--per-token-interval", "5s"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
