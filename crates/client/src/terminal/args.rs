//! The command line.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use odin_client::{
    Client, Events, Options, Subscription,
    protocol::{Codec, Mode},
};

use super::exit;

/// Watch, print and publish odin's live data.
#[derive(Debug, Parser)]
#[command(name = "odin", version, after_help = exit::TABLE, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a live table of channels
    ///
    /// Keys: q quit, arrows, page up/down, home, end scroll, s next sort column, r reverse, space pause. Without a
    /// terminal on standard output it prints lines, as tail does.
    ///
    /// The third line says `live`, or in reverse what must not be overlooked: no connection, values that may be old
    /// (their rows say STALE), and promises the gateway broke. The second line counts: reconnects; subscriptions
    /// resumed without a loss, and those that began anew; announced gaps; updates of the overlap after a resume, which
    /// were dropped; violations.
    #[command(after_help = exit::TABLE)]
    Watch(Watch),
    /// Print updates as they come
    #[command(after_help = exit::TABLE)]
    Tail(Tail),
    /// Publish one message straight to the stream and print its acknowledgement
    #[command(after_help = exit::TABLE)]
    Publish(Publish),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Which gateway, and how to talk to it.
#[derive(Debug, Clone, Group)]
pub(crate) struct Gateway {
    /// Gateways, tried in turn; several separated by commas
    #[arg(long, env = "ODIN_URL", value_delimiter = ',', default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: Vec<String>,
    /// How messages are written on the wire
    #[arg(long, value_enum, default_value_t = CodecArg::Json)]
    pub(crate) codec: CodecArg,
    /// Ask for this delivery mode, where the gateway leaves the choice
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeArg>,
    /// Cursor to continue from, of all channels or of one; several separated by commas
    ///
    /// Everything after it follows if the stream still keeps it; else the gateway says why not, and the last values
    /// follow. A cursor is what a checkpoint or `subscribed` says; of an exact channel also
    /// 1.{epoch}.{seq}.{ts} of an update.
    #[arg(long, value_name = "[CHANNEL=]CURSOR", value_delimiter = ',')]
    pub(crate) since: Vec<String>,
    /// Give up after so many tries in a row that came to nothing [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecArg {
    /// Text
    Json,
    /// Binary
    Msgpack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// The newest value; what lies between is merged away
    Latest,
    /// Every publication, in order
    All,
}

#[derive(Debug, Group)]
pub(crate) struct Watch {
    /// Channels or patterns, such as price:BTC or 'price:*'
    #[arg(required = true, value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// No colours; so does a NO_COLOR in the environment
    #[arg(long)]
    pub(crate) no_color: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Tail {
    /// Channels or patterns, such as price:BTC or 'price:*'
    #[arg(required = true, value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// Print each update as one line of JSON, as the gateway sent it
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json, print the rest too: subscribed, gap, checkpoint, stale, live and what the gateway did wrong
    ///
    /// Each is one line with a `type`; `violation` is a gap nobody announced (`missing`) or an update that came twice
    /// (`repeated`), which is dropped.
    #[arg(long, requires = "json")]
    pub(crate) events: bool,
    /// Continue where the last run with this file ended, and keep the position in it
    ///
    /// It has a title and a line for each channel: its name and its cursor. It is replaced at most once a second and at the end,
    /// after what it covers was printed. A run that is killed, and a pattern in any case, may print again what came
    /// since the last checkpoint: `seq` tells. It counts more than --since.
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor_file: Option<PathBuf>,
    /// End after so many updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds; fractions are allowed
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Print figures, and how to continue, to standard error at the end
    #[arg(long)]
    pub(crate) stats: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Publish {
    /// A subject such as odin.tokens.BTC.price, or a channel such as price:BTC under the default rules
    #[arg(value_name = "SUBJECT|CHANNEL")]
    pub(crate) target: String,
    /// The message, one JSON value; - or nothing: read it from standard input
    #[arg(value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// NATS servers of one cluster; several separated by commas
    #[arg(long, env = "ODIN_NATS_URL", value_delimiter = ',', default_value = "nats://127.0.0.1:4222")]
    pub(crate) nats_url: Vec<String>,
    /// NATS credentials file
    #[arg(long, env = "ODIN_NATS_CREDS", value_name = "FILE")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// Message id; the stream stores one id once within its duplicate window [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Print the acknowledgement as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Gateway {
    /// Checks what was asked for and starts to connect.
    ///
    /// # Errors
    /// A channel, cursor or URL that cannot be used. A gateway that is not there is no error.
    pub(crate) fn connect(&self, channels: &[String]) -> anyhow::Result<(Client, Events, Vec<Subscription>)> {
        let subscriptions = self.subscriptions(channels)?;
        let (client, events) = Client::connect(self.options())?;
        Ok((client, events, subscriptions))
    }

    pub(crate) fn options(&self) -> Options {
        let codec = match self.codec {
            CodecArg::Json => Codec::Json,
            CodecArg::Msgpack => Codec::MsgPack,
        };
        Options { urls: self.url.clone(), codec, max_attempts: self.max_attempts, ..Options::default() }
    }

    pub(crate) fn subscriptions(&self, channels: &[String]) -> anyhow::Result<Vec<Subscription>> {
        let mode = self.mode.map(|mode| match mode {
            ModeArg::Latest => Mode::Latest,
            ModeArg::All => Mode::All,
        });
        let mut since_of = HashMap::new();
        let mut since_of_all = None;
        for since in &self.since {
            // neither a channel nor a cursor has this character
            match since.split_once('=') {
                Some((channel, cursor)) if channels.iter().any(|asked| asked == channel) => {
                    since_of.insert(channel, cursor);
                }
                Some((channel, _)) => bail!("--since for {channel:?}, which is not asked for"),
                None => since_of_all = Some(since.as_str()),
            }
        }
        let subscription = |channel: &String| {
            let subscription = Subscription { mode, ..Subscription::new(channel)? };
            match since_of.get(channel.as_str()).copied().or(since_of_all) {
                Some(cursor) => Ok(subscription.with_since(cursor)?),
                None => Ok(subscription),
            }
        };
        channels.iter().map(subscription).collect()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("must be more than 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn reads_several_gateways() {
        let args = Args::parse_from(["odin", "watch", "price:*", "--url", "ws://a/ws,ws://b/ws"]);
        let Command::Watch(watch) = args.command else { panic!("not watch") };
        assert_eq!(watch.gateway.options().urls, ["ws://a/ws", "ws://b/ws"]);
    }

    #[test]
    fn continues_each_channel_from_its_own_cursor_or_from_that_of_all() {
        let since = |since: &[&str]| {
            let args = ["odin", "tail", "price:BTC", "price:*"].into_iter().chain(since.iter().copied());
            let Command::Tail(tail) = Args::parse_from(args).command else { panic!("not tail") };
            let subscriptions = tail.gateway.subscriptions(&tail.channels);
            subscriptions.map(|all| all.into_iter().map(|one| one.since.unwrap_or_default()).collect::<Vec<_>>())
        };
        assert_eq!(since(&["--since", "a"]).expect("valid"), ["a", "a"]);
        assert_eq!(since(&["--since", "price:*=b", "--since", "a"]).expect("valid"), ["a", "b"]);
        assert_eq!(since(&["--since", "price:*=b,price:BTC=c"]).expect("valid"), ["c", "b"]);
        assert!(since(&["--since", "price:ETH=b"]).is_err());
    }

    #[test]
    fn refuses_times_that_make_no_sense() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["0", "-1", "x", "inf", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        for code in 0..=exit::Exit::Violated as u8 {
            assert!(exit::TABLE.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}
