//! Which gateway to talk to, as whom, and what to ask of it.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args as Group, ValueEnum};
use odin_client::{
    Client, Events, Options, Subscription,
    protocol::{Codec, Mode},
};

use super::sign_in::SignIn;

/// Which gateway, as whom, and how to talk to it.
#[derive(Debug, Clone, Group)]
pub(crate) struct Link {
    /// Gateways, tried in turn; several separated by commas
    #[arg(long, env = "ODIN_URL", value_delimiter = ',', default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: Vec<String>,
    /// How messages are written on the wire
    #[arg(long, value_enum, default_value_t = CodecArg::Json)]
    pub(crate) codec: CodecArg,
    #[command(flatten)]
    pub(crate) sign_in: SignIn,
    /// Trust the authorities in this PEM file for wss addresses, and no others [default: those of the system]
    #[arg(long, env = "ODIN_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Give up after so many tries in a row that came to nothing [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,
}

/// What to ask of a gateway.
#[derive(Debug, Clone, Group)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) link: Link,
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

impl Link {
    pub(crate) fn options(&self) -> Options {
        let codec = match self.codec {
            CodecArg::Json => Codec::Json,
            CodecArg::Msgpack => Codec::MsgPack,
        };
        Options {
            urls: self.url.clone(),
            codec,
            max_attempts: self.max_attempts,
            token: self.sign_in.source.clone(),
            tls_ca: self.tls_ca.clone(),
            ..Options::default()
        }
    }
}

impl Gateway {
    /// Checks what was asked for and starts to connect.
    ///
    /// # Errors
    /// A channel, cursor or URL that cannot be used. A gateway that is not there is no error.
    pub(crate) fn connect(&self, channels: &[String]) -> anyhow::Result<(Client, Events, Vec<Subscription>)> {
        let subscriptions = self.subscriptions(channels)?;
        let (client, events) = Client::connect(self.link.options())?;
        Ok((client, events, subscriptions))
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};

    #[test]
    fn reads_several_gateways() {
        let args = Args::parse_from(["odin", "watch", "price:*", "--url", "ws://a/ws,ws://b/ws"]);
        let Command::Watch(watch) = args.command else { panic!("not watch") };
        assert_eq!(watch.gateway.link.options().urls, ["ws://a/ws", "ws://b/ws"]);
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
}
