//! What this process has to do: its share of what was typed, checked.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use odin_protocol::{Codec, Mode};

use crate::{
    args::{Args, Format, Modes, Part, Transport},
    channels::Choice,
    token::Tokens,
};

/// Files of a process that are no clients.
pub const OTHER_FILES: u64 = 100;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No address of a gateway.
    #[error("invalid address {url:?}: {reason}")]
    Url {
        /// As typed.
        url: String,
        /// Why.
        reason: String,
    },
    /// A name that is no channel.
    #[error("invalid channel {template:?}: {reason}")]
    Channel {
        /// As typed.
        template: String,
        /// Why.
        reason: odin_protocol::ChannelError,
    },
    /// Something else that cannot be.
    #[error("{0}")]
    Option(String),
}

/// A gateway or balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// As the `Host` header has it.
    pub host: String,
    /// Of the WebSocket endpoint.
    pub path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target, PlanError> {
        let fault = |reason: &str| PlanError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| fault("only ws:// is spoken, TLS is for the terminator"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let with_port = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let addresses = with_port.to_socket_addrs().map_err(|error| fault(&error.to_string()))?;
        let address = addresses.into_iter().next().ok_or_else(|| fault("no such host"))?;
        let path = if path.is_empty() || path == "/" { "/ws" } else { path };
        Ok(Target { address, host: host.to_owned(), path: path.to_owned() })
    }
}

/// How one client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A WebSocket.
    Socket(Codec),
    /// An event stream.
    Events,
    /// One poll after the other.
    Poll,
}

/// Those who stop reading.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// Percent of the clients.
    pub percent: f64,
    /// How long they do not read.
    pub pause: Duration,
    /// How long they read in between.
    pub every: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Plan {
    /// Where to connect.
    pub targets: Vec<Target>,
    /// Clients of this process.
    pub clients: u32,
    /// The number of the first one among those of all processes.
    pub first: u32,
    /// Time between the first connects of two clients of this process.
    pub pace: Duration,
    /// Who subscribes to what.
    pub choice: Choice,
    /// See [`Args::resume`].
    pub resume: bool,
    /// Those who stop reading.
    pub slow: Slow,
    /// Clients of this process that churn each second.
    pub churn: f64,
    /// Length of the run.
    pub duration: Duration,
    /// Time for the last values.
    pub settle: Duration,
    /// How clients sign in.
    pub tokens: Option<Tokens>,
    /// When to begin, in seconds since 1970.
    pub start_at: Option<f64>,
    /// Where choices come from.
    pub seed: u64,
    /// Say how it goes.
    pub is_talkative: bool,
    /// `SO_RCVBUF`.
    pub receive_buffer: Option<usize>,
    part: Part,
    per_address: u32,
    format: Format,
    transport: Transport,
    modes: Modes,
    events: u32,
    polls: u32,
}

impl Plan {
    /// The share of this process.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(args: &Args) -> Result<Plan, PlanError> {
        let targets = args.url.iter().map(|url| Target::parse(url)).collect::<Result<Vec<_>, _>>()?;
        let (numbers, per_client, spread) = (args.tokens, args.per_client, args.spread);
        let choice = Choice { templates: args.channels.clone(), numbers, per_client, spread };
        choice.check().map_err(|(template, reason)| PlanError::Channel { template, reason })?;
        let sane = [("connect-rate", args.connect_rate), ("slow", args.slow), ("churn", args.churn)];
        if let Some((name, _)) = sane.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            return Err(PlanError::Option(format!("--{name} is no amount")));
        }
        if args.connect_rate == 0.0 {
            return Err(PlanError::Option("--connect-rate 0 never begins".to_owned()));
        }
        let part = args.part.unwrap_or(Part { at: 0, of: 1 });
        let share = |at: u32| args.clients / part.of + u32::from(at < args.clients % part.of);
        let tokens = Tokens::new(args).map_err(PlanError::Option)?;
        let pace = match args.ramp {
            Some(ramp) => ramp / args.clients,
            None => Duration::from_secs_f64(1.0 / args.connect_rate),
        };
        Ok(Plan {
            targets,
            clients: share(part.at),
            first: (0..part.at).map(share).sum(),
            pace: pace * part.of,
            choice,
            resume: args.resume,
            slow: Slow { percent: args.slow, pause: args.slow_for, every: args.slow_every },
            churn: args.churn / f64::from(part.of),
            duration: args.duration,
            settle: args.settle,
            tokens,
            start_at: args.start_at,
            seed: args.seed,
            is_talkative: !args.quiet && args.part.is_none(),
            receive_buffer: args.receive_buffer,
            part,
            per_address: args.per_address,
            format: args.format,
            transport: args.transport,
            modes: args.mode,
            events: args.events.unwrap_or(args.clients / 20),
            polls: args.polls.unwrap_or(args.clients / 20),
        })
    }

    /// How a client is connected, by its number among all.
    pub fn way(&self, client: u32) -> Way {
        let codec = match self.format {
            Format::Msgpack => Codec::MsgPack,
            Format::Mix if client % 2 == 1 => Codec::MsgPack,
            Format::Json | Format::Mix => Codec::Json,
        };
        match self.transport {
            Transport::Ws => Way::Socket(codec),
            Transport::Events => Way::Events,
            Transport::Poll => Way::Poll,
            Transport::Mix if client < self.events => Way::Events,
            Transport::Mix if client - self.events < self.polls => Way::Poll,
            Transport::Mix => Way::Socket(codec),
        }
    }

    /// What it asks for.
    pub fn mode(&self, client: u32) -> Option<Mode> {
        self.modes.of(client)
    }

    /// Whether it stops reading now and then: spread evenly over all.
    pub fn is_slow(&self, client: u32) -> bool {
        let up_to = |client: u32| (f64::from(client) * self.slow.percent / 100.0).floor();
        up_to(client + 1) > up_to(client)
    }

    /// The address it comes from, where the target is on this machine: `at` is its number in this process.
    pub fn source(&self, at: u32, target: &Target) -> Option<IpAddr> {
        let IpAddr::V4(address) = target.address.ip() else { return None };
        if !address.is_loopback() {
            return None;
        }
        // 127.0.x.y: x is the process, from 1, so that nobody comes from the address of a server.
        let block = at / self.per_address;
        Some(IpAddr::V4(Ipv4Addr::new(127, 0, (self.part.at + 1) as u8, (block % 254 + 1) as u8)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn plan(more: &[&str]) -> Result<Plan, PlanError> {
        Plan::new(&Args::parse_from(["odin-swarm", "--url", "ws://127.0.0.1:8080/ws"].iter().chain(more)))
    }

    #[test]
    fn processes_share_all_clients_and_the_rates() {
        let plans = [0, 1, 2].map(|at| plan(&["--clients", "1000", "--churn", "30", "--part", &format!("{at}/3")]));
        let plans = plans.map(|plan| plan.expect("a plan"));
        assert_eq!(plans.each_ref().map(|plan| (plan.first, plan.clients)), [(0, 334), (334, 333), (667, 333)]);
        assert!(plans.iter().all(|plan| plan.churn == 10.0 && plan.pace == Duration::from_millis(3)));
    }

    #[test]
    fn nobody_shares_a_source_address_with_more_than_it_has_ports_for() {
        let plan = plan(&["--per-address", "100", "--part", "1/2"]).expect("a plan");
        let source = |at| plan.source(at, &plan.targets[0]).expect("loopback").to_string();
        assert_eq!([source(0), source(99), source(100)], ["127.0.2.1", "127.0.2.1", "127.0.2.2"]);
    }

    #[test]
    fn a_mix_has_everything_in_it() {
        let plan =
            plan(&["--clients", "400", "--transport", "mix", "--format", "mix", "--slow", "10"]).expect("a plan");
        let count = |way: Way| (0..400).filter(|client| plan.way(*client) == way).count();
        assert_eq!((count(Way::Events), count(Way::Poll)), (20, 20));
        assert_eq!((count(Way::Socket(Codec::Json)), count(Way::Socket(Codec::MsgPack))), (180, 180));
        assert_eq!((0..400).filter(|client| plan.is_slow(*client)).count(), 40);
    }

    #[test]
    fn says_which_option_is_wrong() {
        let say = |more: &[&str]| plan(more).expect_err("wrong").to_string();
        assert!(say(&["--url", "wss://a.example/ws"]).contains("wss://a.example/ws"));
        assert!(say(&["--channels", "price:>"]).contains("price:>"));
        assert!(say(&["--connect-rate", "0"]).contains("--connect-rate"));
    }
}
