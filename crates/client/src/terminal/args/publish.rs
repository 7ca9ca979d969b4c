//! What `odin publish` is told.

use std::path::PathBuf;

use clap::{ArgMatches, Args as Group, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::gateway::Link;

#[derive(Debug, Group)]
pub(crate) struct Publish {
    /// A channel such as price:BTC; without a gateway also a subject such as odin.tokens.BTC.price
    ///
    /// Without a gateway a channel stands for the subject that it has under the default rules.
    #[arg(value_name = "SUBJECT|CHANNEL")]
    pub(crate) target: String,
    /// The message, one JSON value; - or nothing: read it from standard input
    #[arg(value_name = "JSON")]
    pub(crate) payload: Option<String>,
    #[command(flatten)]
    pub(crate) via: Via,
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

/// Through a gateway, if that was asked for: by `--gateway`, or by a `--url` on the command line. A variable that is
/// set for the other commands does not ask for it.
#[derive(Debug)]
pub(crate) struct Via {
    pub(crate) link: Option<Link>,
}

/// As typed.
#[derive(Debug, Group)]
struct TypedVia {
    /// Publish through a gateway; a --url does the same
    #[arg(long)]
    gateway: bool,
    #[command(flatten)]
    link: Link,
}

impl FromArgMatches for Via {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Via::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let has_url = is_typed("url");
        let straight = ["nats_url", "nats_creds", "id"].into_iter().find(|id| is_typed(id));
        let TypedVia { gateway, link } = TypedVia::from_arg_matches_mut(matches)?;
        if !gateway && !has_url {
            return Ok(Via { link: None });
        }
        match straight {
            None => Ok(Via { link: Some(link) }),
            Some(id) => {
                let text = format!("--{} has no meaning for a gateway\n", id.replace('_', "-"));
                Err(clap::Error::raw(ErrorKind::ArgumentConflict, text))
            }
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Via::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Group for Via {
    fn augment_args(command: Command) -> Command {
        TypedVia::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        TypedVia::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command as Odin};
    use super::*;

    fn via(args: &[&str]) -> Result<Option<Link>, String> {
        let args = ["odin", "publish", "price:BTC", "{}"].into_iter().chain(args.iter().copied());
        match Args::try_parse_from(args).map_err(|error| error.to_string())?.command {
            Odin::Publish(publish) => Ok(publish.via.link),
            _ => panic!("not publish"),
        }
    }

    #[test]
    fn goes_through_a_gateway_when_one_is_named_or_asked_for() {
        assert!(via(&[]).expect("valid").is_none());
        assert!(via(&["--nats-url", "nats://a", "--id", "x"]).expect("valid").is_none());
        assert!(via(&["--gateway"]).expect("valid").is_some());
        assert_eq!(via(&["--url", "ws://a/ws"]).expect("valid").expect("a gateway").url, ["ws://a/ws"]);
    }

    #[test]
    fn refuses_what_only_the_straight_way_knows() {
        let refused = via(&["--gateway", "--id", "x"]).expect_err("no ids there");
        assert!(refused.contains("--id has no meaning for a gateway"), "{refused}");
        assert!(via(&["--url", "ws://a/ws", "--nats-creds", "f"]).is_err());
    }
}
