//! The configuration that the gateway can use: every value parsed, every combination checked.
//!
//! It is built by a pure function, [`build`], from what was typed, the environment and a file: a flag beats an `ODIN_*`
//! variable, which beats the TOML file, which beats the default. All bad values are reported at once, each with where it
//! came from. The one table of [`OPTIONS`] drives the flags, the variables, the file's keys, the printed configuration
//! and the manual; what is not in the table is an error, so that a misspelt option never goes unnoticed.

mod access;
mod build;
mod check;
pub mod defaults;
mod difference;
mod nats;
mod options;
mod render;
mod streams;
mod telemetry;
mod value;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use access::{AdminAccess, ApiKey, Auth, Cluster, Http, Overflow, ServerTls};
pub use build::{ConfigError, Inputs, Problem, Source, build};
pub use difference::differences;
pub use nats::{Credentials, Nats, Secret, Tls};
pub use options::{CONFIG_VARIABLE, OPTIONS, Opt};
pub use render::{annotated_toml, by_table, markdown_table, to_json, to_toml};
pub use streams::{ControlStream, StateStream, Stream};
pub use telemetry::Telemetry;

use crate::rules::Rules;
use defaults as default;

/// Everything that can be set, valid and complete. [`Config::default`] works with a local NATS server.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where probes and metrics are served. Never the public address.
    pub admin_listen: SocketAddr,
    /// Path of the WebSocket endpoint, beginning with `/`.
    pub path: String,
    /// Threads that hold connections.
    pub shards: NonZeroUsize,
    /// How to reach NATS.
    pub nats: Nats,
    /// The stream that publications live in.
    pub stream: Stream,
    /// The stream of topics whose last value is kept for ever.
    pub state_stream: StateStream,
    /// The stream of revocations and the like.
    pub control_stream: ControlStream,
    /// How users sign in.
    pub auth: Auth,
    /// What is asked of a handshake.
    pub http: Http,
    /// Encryption of client connections.
    pub tls: ServerTls,
    /// Who may control the gateway.
    pub admin: AdminAccess,
    /// How gateways hear of each other.
    pub cluster: Cluster,
    /// What a client may do at most.
    pub limits: Limits,
    /// How dead and idle connections are found.
    pub heartbeat: Heartbeat,
    /// What a pod keeps for each feed.
    pub feeds: Feeds,
    /// Options of client sockets.
    pub sockets: Sockets,
    /// How the gateway stops.
    pub drain: Drain,
    /// What is logged and how.
    pub log: Log,
    /// What a collector is told.
    pub telemetry: Telemetry,
    /// Which channel leads to which subject.
    pub rules: Rules,
}

/// What a client, or all of them, may do at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of this process.
    pub connections: usize,
    /// Handshakes in progress, of this process.
    pub handshakes: usize,
    /// From accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Bytes of one message from a client, all its fragments together.
    pub message_bytes: usize,
    /// Fragments of one message from a client.
    pub message_fragments: u32,
    /// Subscriptions of one connection.
    pub subscriptions_per_connection: usize,
    /// Channels named in one message from a client.
    pub channels_per_message: usize,
    /// Bytes of a publication's payload; larger ones are counted and dropped.
    pub payload_bytes: usize,
    /// Subjects that a pattern may cover. Each costs the memory of its last value.
    pub pattern_subjects: usize,
    /// Invalid messages after which a connection is closed.
    pub strikes: u32,
    /// Pings of a client that are answered each second.
    pub pings_per_second: u32,
    /// Messages that a client may send each second; more are refused.
    pub messages_per_second: u32,
    /// Connections from one address (IPv6: one /64 network) to this process; `None` for no such limit.
    pub connections_per_ip: Option<u32>,
    /// New connections from one such address each second.
    pub connects_per_ip_per_second: Option<u32>,
    /// New connections of this process each second.
    pub connects_per_second: Option<u32>,
    /// Connections of one user on all gateways.
    pub connections_per_user: Option<u32>,
    /// What happens to a user with more.
    pub user_overflow: Overflow,
    /// Whether `connections_per_user` holds to the letter: each connection takes a slot in the control stream.
    pub strict_user_limit: bool,
    /// Messages that all connections of one user to this process may send each second.
    pub user_messages_per_second: Option<u32>,
    /// Channels that a client may subscribe or unsubscribe each second.
    pub channels_per_second: u32,
    /// Publications that a client may send each second.
    pub publishes_per_second: u32,
    /// Attempts of a connection to sign in, each minute.
    pub auths_per_minute: u32,
    /// Memory of the process above which no new connection is taken; `None`: 90 % of what the control group allows.
    pub memory_bytes: Option<usize>,
    /// A publication whose own time is further in the future is not believed.
    pub payload_ahead: Duration,
}

/// How dead and idle connections are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two pings to a client.
    pub interval: Duration,
    /// A client that has sent nothing at all for so long is gone.
    pub timeout: Duration,
    /// A client whose socket has taken nothing for so long, while something waited for it, does not read.
    pub not_reading_timeout: Duration,
    /// A connection without a subscription may stay for so long.
    pub idle_timeout: Duration,
}

/// What a pod keeps and asks for, for its feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feeds {
    /// How long a feed stays open after its last subscriber has left.
    pub linger: Duration,
    /// Recent publications kept for one feed, in bytes.
    pub ring_bytes: usize,
    /// The same for all feeds together.
    pub ring_total_bytes: usize,
    /// How long the opening of a feed may take before its subscribers hear that it is unavailable.
    pub open_timeout: Duration,
    /// Direct Get requests in flight.
    pub direct_gets: usize,
    /// Reads for readers that catch up and clients that resume, in flight; part of `direct_gets`.
    pub catch_up_reads: usize,
    /// What those reads brought and readers have not taken yet, in bytes; more is read again.
    pub catch_up_bytes: usize,
    /// What one resume may replay, in bytes.
    pub replay_bytes: usize,
    /// A feed with live messages is verified against the stream at least so often.
    pub audit_interval: Duration,
    /// A quiet feed is verified about so often, 20 % more or less.
    pub audit_quiet_interval: Duration,
    /// Trouble with the bus that lasts longer is told to clients.
    pub stale_after: Duration,
    /// Clients of patterns are told their position so often.
    pub checkpoint_interval: Duration,
    /// Bytes waiting in the queue from the bus to one shard.
    pub shard_queue_bytes: usize,
    /// Least time between two rounds of writing under load.
    pub turn_interval: Duration,
}

/// Options of client sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// `SO_SNDBUF`; `None` leaves it to the kernel.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF`; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// `TCP_NOTSENT_LOWAT`; `None` leaves it to the kernel.
    pub notsent_lowat_bytes: Option<usize>,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged.
    pub user_timeout: Duration,
    /// Connections the kernel holds ready to accept, for each shard.
    pub backlog: u32,
}

/// How the gateway stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Not ready, but still serving: time for the load balancer to notice.
    pub pause: Duration,
    /// Then the connections are closed at moments spread over this window.
    pub window: Duration,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as `info,ws_gateway=debug`.
    pub level: String,
    /// One of two shapes.
    pub format: LogFormat,
}

/// The shape of log lines.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// For a person at a terminal.
    Text,
}

impl LogFormat {
    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let stream = Stream::default();
        let rules = Rules::new(Rules::default_sources(), &stream);
        Config {
            listen: default::LISTEN,
            admin_listen: default::ADMIN_LISTEN,
            path: default::PATH.to_owned(),
            shards: default::shards(),
            nats: Nats::default(),
            stream,
            state_stream: StateStream::default(),
            control_stream: ControlStream::default(),
            auth: Auth::default(),
            http: Http::default(),
            tls: ServerTls::default(),
            admin: AdminAccess::default(),
            cluster: Cluster::default(),
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            feeds: Feeds::default(),
            sockets: Sockets::default(),
            drain: Drain::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
            rules: rules.expect("the default rules are checked by a test"),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: default::CONNECTIONS,
            handshakes: default::HANDSHAKES,
            handshake_timeout: default::HANDSHAKE_TIMEOUT,
            header_bytes: default::HEADER_BYTES,
            message_bytes: default::MESSAGE_BYTES,
            message_fragments: default::MESSAGE_FRAGMENTS,
            subscriptions_per_connection: default::SUBSCRIPTIONS_PER_CONNECTION,
            channels_per_message: default::CHANNELS_PER_MESSAGE,
            payload_bytes: default::PAYLOAD_BYTES,
            pattern_subjects: default::PATTERN_SUBJECTS,
            strikes: default::STRIKES,
            pings_per_second: default::PINGS_PER_SECOND,
            messages_per_second: default::MESSAGES_PER_SECOND,
            connections_per_ip: None,
            connects_per_ip_per_second: None,
            connects_per_second: None,
            connections_per_user: None,
            user_overflow: Overflow::Refuse,
            strict_user_limit: false,
            user_messages_per_second: None,
            channels_per_second: default::CHANNELS_PER_SECOND,
            publishes_per_second: default::PUBLISHES_PER_SECOND,
            auths_per_minute: default::AUTHS_PER_MINUTE,
            memory_bytes: None,
            payload_ahead: default::PAYLOAD_AHEAD,
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat {
            interval: default::HEARTBEAT_INTERVAL,
            timeout: default::HEARTBEAT_TIMEOUT,
            not_reading_timeout: default::NOT_READING_TIMEOUT,
            idle_timeout: default::IDLE_TIMEOUT,
        }
    }
}

impl Default for Feeds {
    fn default() -> Feeds {
        Feeds {
            linger: default::FEED_LINGER,
            ring_bytes: default::RING_BYTES,
            ring_total_bytes: default::RING_TOTAL_BYTES,
            open_timeout: default::FEED_OPEN_TIMEOUT,
            direct_gets: default::DIRECT_GETS,
            catch_up_reads: default::CATCH_UP_READS,
            catch_up_bytes: default::CATCH_UP_BYTES,
            replay_bytes: default::REPLAY_BYTES,
            audit_interval: default::AUDIT_INTERVAL,
            audit_quiet_interval: default::AUDIT_QUIET_INTERVAL,
            stale_after: default::STALE_AFTER,
            checkpoint_interval: default::CHECKPOINT_INTERVAL,
            shard_queue_bytes: default::SHARD_QUEUE_BYTES,
            turn_interval: default::TURN_INTERVAL,
        }
    }
}

impl Default for Sockets {
    fn default() -> Sockets {
        Sockets {
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            notsent_lowat_bytes: Some(default::NOTSENT_LOWAT_BYTES),
            user_timeout: default::USER_TIMEOUT,
            backlog: default::BACKLOG,
        }
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { pause: default::DRAIN_PAUSE, window: default::DRAIN_WINDOW }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: default::LOG_LEVEL.to_owned(), format: default::LOG_FORMAT }
    }
}
