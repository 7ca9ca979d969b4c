//! The command line.

mod gateway;
mod publish;
mod sign_in;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand};
use clap_complete::Shell;

use super::exit;
pub(crate) use gateway::{CodecArg, Gateway, Link};
pub(crate) use publish::Publish;
pub(crate) use token::{Claims, Key, Life, Moment, Token, TokenCommand};

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
    /// Publish one message and print its acknowledgement
    ///
    /// Straight to the stream of a NATS server; with --gateway or --url through a gateway, as the signed-in user and
    /// where the gateway allows it.
    #[command(after_help = exit::TABLE)]
    Publish(Publish),
    /// Make a token for development, or show what one says
    ///
    /// It prints the token and nothing else. Claims that no option names, such as limits, are given as JSON.
    Token(Box<Token>),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
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
    fn refuses_times_that_make_no_sense() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["0", "-1", "x", "inf", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        for code in 0..=exit::Exit::NotSignedIn as u8 {
            assert!(exit::TABLE.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}
