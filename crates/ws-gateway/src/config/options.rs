//! The one table of options. A row names the key in the file; the flag and the variable follow from it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::Config;
use super::nats::{Credentials, Secret};
use super::value::Field;
use crate::rules::RuleSource;

/// The variable that names the configuration file, like the flag `--config`.
pub const CONFIG_VARIABLE: &str = "ODIN_CONFIG";

/// One option.
pub struct Opt {
    /// Key in the file, with its table: `limits.message_bytes`.
    pub key: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Smallest and largest count, bytes, or milliseconds; of no meaning for texts.
    pub(super) bounds: (u64, u64),
    pub(super) field: fn(&mut Draft) -> Field<'_>,
}

impl Opt {
    /// `limits.message_bytes` → `limits-message-bytes`.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// `limits.message_bytes` → `ODIN_LIMITS_MESSAGE_BYTES`.
    pub fn variable(&self) -> String {
        format!("ODIN_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The table in the file; empty for the outermost.
    pub fn table(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(table, _)| table)
    }

    /// The key inside its table.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// What a value looks like, for `--help`.
    pub fn value_name(&self) -> &'static str {
        (self.field)(&mut Draft::new()).value_name()
    }

    /// Whether the value must never be repeated, in an error or anywhere.
    pub fn is_secret(&self) -> bool {
        (self.field)(&mut Draft::new()).is_secret()
    }

    /// The default, as the file would say it.
    pub fn default_value(&self) -> toml::Value {
        self.show(&mut Draft::new())
    }

    pub(super) fn show(&self, draft: &mut Draft) -> toml::Value {
        (self.field)(draft).show()
    }
}

impl std::fmt::Debug for Opt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opt").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A configuration in the making: each field valid by itself, the combinations not yet checked.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// `None` for one shard for each core.
    pub(super) shards: Option<NonZeroUsize>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) creds_file: Option<PathBuf>,
    pub(super) nkey_seed: Option<Secret>,
    pub(super) rules: Vec<RuleSource>,
}

impl Draft {
    /// All defaults.
    pub(super) fn new() -> Draft {
        let mut draft = Draft::from(&Config::default());
        draft.shards = None;
        draft
    }
}

impl From<&Config> for Draft {
    fn from(config: &Config) -> Draft {
        let mut draft = Draft {
            config: config.clone(),
            shards: Some(config.shards),
            user: None,
            password: None,
            token: None,
            creds_file: None,
            nkey_seed: None,
            rules: config.rules.sources().cloned().collect(),
        };
        match config.nats.credentials.clone() {
            Credentials::None => {}
            Credentials::UserPassword { user, password } => (draft.user, draft.password) = (Some(user), Some(password)),
            Credentials::Token(token) => draft.token = Some(token),
            Credentials::CredsFile(path) => draft.creds_file = Some(path),
            Credentials::NkeySeed(seed) => draft.nkey_seed = Some(seed),
        }
        draft
    }
}

const ANY: (u64, u64) = (0, u64::MAX);
const MS: u64 = 1;
const SECOND: u64 = 1_000 * MS;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn opt(key: &'static str, bounds: (u64, u64), field: fn(&mut Draft) -> Field<'_>, help: &'static str) -> Opt {
    Opt { key, help, bounds, field }
}

/// All options but the list of `rules`, which only the file can hold. Rows of one table stand together.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("listen", ANY, |d| Field::Address(&mut d.config.listen), "address where clients connect"),
    opt("admin_listen", ANY, |d| Field::Address(&mut d.config.admin_listen), "address of probes and metrics; keep it off the internet"),
    opt("path", ANY, |d| Field::Text(&mut d.config.path), "path of the WebSocket endpoint"),
    opt("shards", (1, 1_024), |d| Field::Threads(&mut d.shards), "threads that hold connections; auto for one for each core"),

    opt("nats.url", ANY, |d| Field::Urls(&mut d.config.nats.urls), "NATS servers to try, separated by commas"),
    opt("nats.name", ANY, |d| Field::Text(&mut d.config.nats.name), "name of the connection in the server's monitoring"),
    opt("nats.user", ANY, |d| Field::TextOrNone(&mut d.user), "user name; needs nats.password"),
    opt("nats.password", ANY, |d| Field::SecretOrNone(&mut d.password), "password of nats.user"),
    opt("nats.token", ANY, |d| Field::SecretOrNone(&mut d.token), "token, where the server wants one"),
    opt("nats.creds_file", ANY, |d| Field::FileOrNone(&mut d.creds_file), "file with JWT and key of a NATS user"),
    opt("nats.nkey_seed", ANY, |d| Field::SecretOrNone(&mut d.nkey_seed), "seed of an NKey, beginning with SU"),
    opt("nats.tls_required", ANY, |d| Field::Switch(&mut d.config.nats.tls.required), "refuse NATS servers without TLS"),
    opt("nats.tls_ca_file", ANY, |d| Field::FileOrNone(&mut d.config.nats.tls.ca_file), "certificates to trust, PEM"),
    opt("nats.tls_cert_file", ANY, |d| Field::FileOrNone(&mut d.config.nats.tls.cert_file), "own certificate, PEM; needs nats.tls_key_file"),
    opt("nats.tls_key_file", ANY, |d| Field::FileOrNone(&mut d.config.nats.tls.key_file), "key of nats.tls_cert_file, PEM"),
    opt("nats.connect_timeout", (100 * MS, 5 * MINUTE), |d| Field::Time(&mut d.config.nats.connect_timeout), "for one attempt to connect to one server"),
    opt("nats.request_timeout", (10 * MS, 5 * MINUTE), |d| Field::Time(&mut d.config.nats.request_timeout), "for one request"),
    opt("nats.tick_timeout", (SECOND, HOUR), |d| Field::Time(&mut d.config.nats.tick_timeout), "without a live tick for so long, the route is suspected; another server is tried if it is to blame"),
    opt("nats.ready_grace", (0, HOUR), |d| Field::Time(&mut d.config.nats.ready_grace), "how long NATS may be in trouble before the gateway is not ready any more"),

    opt("stream.name", ANY, |d| Field::Text(&mut d.config.stream.name), "name of the stream of publications"),
    opt("stream.subjects", ANY, |d| Field::List(&mut d.config.stream.subjects), "subjects that the stream stores"),
    opt("stream.live_prefix", ANY, |d| Field::Text(&mut d.config.stream.live_prefix), "first token of republished messages; outside stream.subjects"),
    opt("stream.barrier_subject", ANY, |d| Field::Text(&mut d.config.stream.barrier_subject), "subject of the leader barrier, inside stream.subjects; nothing is stored there"),
    opt("stream.tick_subject", ANY, |d| Field::Text(&mut d.config.stream.tick_subject), "subject of the tick, inside stream.subjects"),
    opt("stream.replicas", (1, 5), |d| Field::Count(&mut d.config.stream.replicas), "copies of each message, of all streams; 3 in a cluster"),
    opt("stream.max_age", (SECOND, 366 * DAY), |d| Field::Time(&mut d.config.stream.max_age), "how long a message is kept: the longest absence that is bridged"),
    opt("stream.max_bytes", (MIB, 1024 * TIB), |d| Field::Bytes(&mut d.config.stream.max_bytes), "bytes kept per replica: peak bytes per second x max_age x 1.3"),
    opt("stream.max_messages_per_subject", (1, u32::MAX as u64), |d| Field::CountOr(&mut d.config.stream.max_messages_per_subject, "unlimited"), "messages kept for each subject"),
    opt("stream.max_message_bytes", (KIB, 64 * MIB), |d| Field::Bytes(&mut d.config.stream.max_message_bytes), "largest message that the stream takes, with headers"),
    opt("stream.duplicate_window", (SECOND, DAY), |d| Field::Time(&mut d.config.stream.duplicate_window), "how long message ids are remembered; longer than a publisher retries"),

    opt("state_stream.name", ANY, |d| Field::Text(&mut d.config.state_stream.name), "name of the stream of last values"),
    opt("state_stream.subjects", ANY, |d| Field::List(&mut d.config.state_stream.subjects), "subjects of which the last value is kept for ever"),
    opt("state_stream.max_bytes", (MIB, 1024 * TIB), |d| Field::Bytes(&mut d.config.state_stream.max_bytes), "bytes kept per replica"),
    opt("control_stream.name", ANY, |d| Field::Text(&mut d.config.control_stream.name), "name of the stream of revocations"),
    opt("control_stream.subjects", ANY, |d| Field::List(&mut d.config.control_stream.subjects), "subjects of revocations"),
    opt("control_stream.max_age", (SECOND, 366 * DAY), |d| Field::Time(&mut d.config.control_stream.max_age), "how long a revocation is kept: the longest life of a token"),
    opt("control_stream.max_bytes", (MIB, 1024 * TIB), |d| Field::Bytes(&mut d.config.control_stream.max_bytes), "bytes kept per replica"),

    opt("auth.required", ANY, |d| Field::Switch(&mut d.config.auth.required), "serve nobody who has not signed in"),
    opt("auth.deadline", (100 * MS, HOUR), |d| Field::Time(&mut d.config.auth.deadline), "how long signing in may take where it is required"),
    opt("auth.algorithms", ANY, |d| Field::Items(&mut d.config.auth.algorithms), "signatures that are taken: HS256; RS256, PS256, ES256, EdDSA and their larger kin"),
    opt("auth.hs256_secret", ANY, |d| Field::SecretOrNone(&mut d.config.auth.hs256_secret), "secret of HS256, at least 32 bytes; for development"),
    opt("auth.public_key_file", ANY, |d| Field::FileOrNone(&mut d.config.auth.public_key_file), "public key of the others, PEM"),
    opt("auth.jwks_url", ANY, |d| Field::TextOrNone(&mut d.config.auth.jwks_url), "where the public keys are published (JWKS), instead of a file"),
    opt("auth.jwks_refresh", (SECOND, DAY), |d| Field::Time(&mut d.config.auth.jwks_refresh), "how often they are read again"),
    opt("auth.jwks_cooldown", (SECOND, DAY), |d| Field::Time(&mut d.config.auth.jwks_cooldown), "how often tokens with an unknown key id make them be read again"),
    opt("auth.jwks_timeout", (100 * MS, MINUTE), |d| Field::Time(&mut d.config.auth.jwks_timeout), "for reading them"),
    opt("auth.jwks_bytes", (KIB, 16 * MIB), |d| Field::Bytes(&mut d.config.auth.jwks_bytes), "largest set of keys"),
    opt("auth.issuer", ANY, |d| Field::TextOrNone(&mut d.config.auth.issuer), "the iss that tokens must have"),
    opt("auth.audience", ANY, |d| Field::TextOrNone(&mut d.config.auth.audience), "the aud that tokens must have"),
    opt("auth.leeway", (0, 10 * MINUTE), |d| Field::Time(&mut d.config.auth.leeway), "how far the clocks of others may be off"),
    opt("auth.api_keys_file", ANY, |d| Field::FileOrNone(&mut d.config.auth.api_keys_file), "TOML file with [[api_keys]]: hash, sub, and what a token could say"),
    opt("auth.callout_subject", ANY, |d| Field::TextOrNone(&mut d.config.auth.callout_subject), "NATS subject of a service that says who a token is"),
    opt("auth.callout_timeout", (10 * MS, MINUTE), |d| Field::Time(&mut d.config.auth.callout_timeout), "for one question to it"),
    opt("auth.callout_cache", (0, DAY), |d| Field::Time(&mut d.config.auth.callout_cache), "how long its answers are remembered"),
    opt("auth.query_token", ANY, |d| Field::Switch(&mut d.config.auth.query_token), "take a token from ?token=, where it may end up in logs of proxies"),
    opt("auth.expiry_warning", (0, HOUR), |d| Field::Time(&mut d.config.auth.expiry_warning), "so long before its token expires a client is warned"),

    opt("http.origins", ANY, |d| Field::Items(&mut d.config.http.origins), "pages that may connect: https://app.example, https://*.example, or * for all"),
    opt("http.allow_missing_origin", ANY, |d| Field::Switch(&mut d.config.http.allow_missing_origin), "let clients connect that say no origin, as programs do"),
    opt("http.trusted_proxies", ANY, |d| Field::Items(&mut d.config.http.trusted_proxies), "networks of proxies whose X-Forwarded-For and -Proto are believed, such as 10.0.0.0/8"),
    opt("http.proxy_protocol", ANY, |d| Field::Switch(&mut d.config.http.proxy_protocol), "those proxies begin each connection with a PROXY header, version 1 or 2"),
    opt("http.require_tls", ANY, |d| Field::Switch(&mut d.config.http.require_tls), "refuse clients that did not come by TLS, to here or to a trusted proxy"),
    opt("http.files", ANY, |d| Field::FileOrNone(&mut d.config.http.files), "folder with the files of a page, served to whoever asks"),
    opt("http.requests_per_second", (1, 60_000), |d| Field::Count32(&mut d.config.http.requests_per_second), "requests of one connection each second; more are refused with 429"),
    opt("http.keep_alive", (SECOND, HOUR), |d| Field::Time(&mut d.config.http.keep_alive), "how long a connection may stay without a request; longer than that of a proxy before it"),
    opt("http.answer_bytes", (64 * KIB, 64 * MIB), |d| Field::Bytes(&mut d.config.http.answer_bytes), "bytes of an answer to a poll or a history beyond which the rest comes with the next one"),
    opt("http.latest_max_age", (0, HOUR), |d| Field::Time(&mut d.config.http.latest_max_age), "how long anybody may keep the last value of a public channel, in whole seconds"),

    opt("tls.cert_file", ANY, |d| Field::FileOrNone(&mut d.config.tls.cert_file), "certificate chain, PEM; with it the gateway speaks TLS (wss)"),
    opt("tls.key_file", ANY, |d| Field::FileOrNone(&mut d.config.tls.key_file), "key of tls.cert_file, PEM"),

    opt("admin.token", ANY, |d| Field::SecretOrNone(&mut d.config.admin.token), "who sends it may control the gateway, at least 16 bytes; without it nobody may"),

    opt("cluster.subject", ANY, |d| Field::Text(&mut d.config.cluster.subject), "first tokens of the subjects on which gateways talk; outside all streams"),
    opt("cluster.interval", (100 * MS, MINUTE), |d| Field::Time(&mut d.config.cluster.interval), "how often each says how many clients it has"),
    opt("cluster.peer_timeout", (SECOND, HOUR), |d| Field::Time(&mut d.config.cluster.peer_timeout), "a gateway that was silent for so long is not counted"),

    opt("limits.connections", (1, 10_000_000), |d| Field::Count(&mut d.config.limits.connections), "connections of this process; each needs a file descriptor"),
    opt("limits.handshakes", (1, 1_000_000), |d| Field::Count(&mut d.config.limits.handshakes), "handshakes in progress; beyond it the oldest that has asked for nothing makes room"),
    opt("limits.handshake_timeout", (100 * MS, MINUTE), |d| Field::Time(&mut d.config.limits.handshake_timeout), "from accept to the end of the handshake"),
    opt("limits.header_bytes", (8 * KIB, MIB), |d| Field::Bytes(&mut d.config.limits.header_bytes), "bytes of a request's head"),
    opt("limits.message_bytes", (KIB, 16 * MIB), |d| Field::Bytes(&mut d.config.limits.message_bytes), "bytes of one message from a client, all fragments together"),
    opt("limits.message_fragments", (1, 1_000_000), |d| Field::Count32(&mut d.config.limits.message_fragments), "fragments of one message from a client"),
    opt("limits.subscriptions_per_connection", (1, 1_000_000), |d| Field::Count(&mut d.config.limits.subscriptions_per_connection), "subscriptions of one connection"),
    opt("limits.channels_per_message", (1, 100_000), |d| Field::Count(&mut d.config.limits.channels_per_message), "channels named in one message"),
    opt("limits.payload_bytes", (KIB, 16 * MIB), |d| Field::Bytes(&mut d.config.limits.payload_bytes), "bytes of a publication; larger ones are counted and dropped"),
    opt("limits.pattern_subjects", (1, 100_000), |d| Field::Count(&mut d.config.limits.pattern_subjects), "subjects that a pattern may cover; over more than 1,024 it is followed by a consumer"),
    opt("limits.strikes", (1, 1_000_000), |d| Field::Count32(&mut d.config.limits.strikes), "invalid messages after which a connection is closed"),
    opt("limits.messages_per_second", (1, 60_000), |d| Field::Count32(&mut d.config.limits.messages_per_second), "messages of one client that are answered each second; more are refused with an error"),
    opt("limits.pings_per_second", (1, 60_000), |d| Field::Count32(&mut d.config.limits.pings_per_second), "pings of one client that are answered each second"),
    opt("limits.connections_per_ip", (1, 10_000_000), |d| Field::Count32Or(&mut d.config.limits.connections_per_ip, "unlimited"), "connections from one address, or one IPv6 /64, to this process"),
    opt("limits.connects_per_ip_per_second", (1, 1_000_000), |d| Field::Count32Or(&mut d.config.limits.connects_per_ip_per_second, "unlimited"), "new connections from one such address each second"),
    opt("limits.connects_per_second", (1, 1_000_000), |d| Field::Count32Or(&mut d.config.limits.connects_per_second, "unlimited"), "new connections of this process each second; more get 503 and a Retry-After"),
    opt("limits.connections_per_user", (1, 1_000_000), |d| Field::Count32Or(&mut d.config.limits.connections_per_user, "unlimited"), "connections of one user to all gateways"),
    opt("limits.user_overflow", ANY, |d| Field::Overflow(&mut d.config.limits.user_overflow), "refuse a connection beyond that, or replace the user's oldest one"),
    opt("limits.strict_user_limit", ANY, |d| Field::Switch(&mut d.config.limits.strict_user_limit), "hold that limit to the letter: a write to the control stream for each connection"),
    opt("limits.user_messages_per_second", (1, 1_000_000), |d| Field::Count32Or(&mut d.config.limits.user_messages_per_second, "unlimited"), "messages of all connections of one user to this process"),
    opt("limits.channels_per_second", (1, 1_000_000), |d| Field::Count32(&mut d.config.limits.channels_per_second), "channels that one client subscribes or unsubscribes each second"),
    opt("limits.publishes_per_second", (1, 60_000), |d| Field::Count32(&mut d.config.limits.publishes_per_second), "publications of one client each second"),
    opt("limits.auths_per_minute", (1, 60_000), |d| Field::Count32(&mut d.config.limits.auths_per_minute), "attempts of one connection to sign in, each minute"),
    opt("limits.memory_bytes", (16 * MIB, TIB), |d| Field::BytesOr(&mut d.config.limits.memory_bytes, "auto"), "memory above which no new connection is taken; auto: 90 % of the control group's limit"),
    opt("limits.payload_ahead", (SECOND, 366 * DAY), |d| Field::Time(&mut d.config.limits.payload_ahead), "a publication whose timestamp is further in the future is dropped"),

    opt("heartbeat.interval", (SECOND, HOUR), |d| Field::Time(&mut d.config.heartbeat.interval), "time between two pings to a client"),
    opt("heartbeat.timeout", (SECOND, DAY), |d| Field::Time(&mut d.config.heartbeat.timeout), "a client that has sent nothing for so long is gone"),
    opt("heartbeat.not_reading_timeout", (SECOND, DAY), |d| Field::Time(&mut d.config.heartbeat.not_reading_timeout), "how long a client may take no byte of what waits for it"),
    opt("heartbeat.idle_timeout", (SECOND, 30 * DAY), |d| Field::Time(&mut d.config.heartbeat.idle_timeout), "how long a connection may stay without a subscription"),

    opt("feeds.linger", (0, DAY), |d| Field::Time(&mut d.config.feeds.linger), "how long a feed stays open after its last subscriber"),
    opt("feeds.ring_bytes", (0, GIB), |d| Field::Bytes(&mut d.config.feeds.ring_bytes), "recent publications kept for one feed"),
    opt("feeds.ring_total_bytes", (0, TIB), |d| Field::Bytes(&mut d.config.feeds.ring_total_bytes), "the same for all feeds together"),
    opt("feeds.open_timeout", (100 * MS, 5 * MINUTE), |d| Field::Time(&mut d.config.feeds.open_timeout), "how long opening a feed may take"),
    opt("feeds.direct_gets", (1, 10_000), |d| Field::Count(&mut d.config.feeds.direct_gets), "reads from the stream in flight"),
    opt("feeds.catch_up_reads", (1, 10_000), |d| Field::Count(&mut d.config.feeds.catch_up_reads), "the part of them that readers far behind and resuming clients may use"),
    opt("feeds.catch_up_bytes", (64 << 10, 64 << 30), |d| Field::Bytes(&mut d.config.feeds.catch_up_bytes), "bytes read for those and not taken yet; what does not fit is read again"),
    opt("feeds.replay_bytes", (0, 64 << 30), |d| Field::Bytes(&mut d.config.feeds.replay_bytes), "bytes that one resume may replay; who missed more gets a snapshot"),
    opt("feeds.audit_interval", (100 * MS, HOUR), |d| Field::Time(&mut d.config.feeds.audit_interval), "how often a feed with live messages is verified against the stream"),
    opt("feeds.audit_quiet_interval", (100 * MS, HOUR), |d| Field::Time(&mut d.config.feeds.audit_quiet_interval), "how often a quiet feed is, 20 % more or less"),
    opt("feeds.stale_after", (0, HOUR), |d| Field::Time(&mut d.config.feeds.stale_after), "trouble with NATS that lasts longer is told to clients"),
    opt("feeds.checkpoint_interval", (SECOND, HOUR), |d| Field::Time(&mut d.config.feeds.checkpoint_interval), "how often clients of patterns are told their position"),
    opt("feeds.turn_interval", (0, SECOND), |d| Field::Time(&mut d.config.feeds.turn_interval), "least time between two rounds of writing under load; the first after a pause is at once"),
    opt("feeds.shard_queue_bytes", (MIB, TIB), |d| Field::Bytes(&mut d.config.feeds.shard_queue_bytes), "bytes waiting for one shard before it repairs itself from the stream"),

    opt("sockets.send_buffer_bytes", (KIB, GIB), |d| Field::BytesOr(&mut d.config.sockets.send_buffer_bytes, "auto"), "SO_SNDBUF; auto leaves it to the kernel"),
    opt("sockets.receive_buffer_bytes", (KIB, GIB), |d| Field::BytesOr(&mut d.config.sockets.receive_buffer_bytes, "auto"), "SO_RCVBUF; auto leaves it to the kernel"),
    opt("sockets.notsent_lowat_bytes", (KIB, GIB), |d| Field::BytesOr(&mut d.config.sockets.notsent_lowat_bytes, "auto"), "TCP_NOTSENT_LOWAT; auto leaves it to the kernel"),
    opt("sockets.user_timeout", (SECOND, HOUR), |d| Field::Time(&mut d.config.sockets.user_timeout), "TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged"),
    opt("sockets.backlog", (1, 1_000_000), |d| Field::Count32(&mut d.config.sockets.backlog), "connections the kernel holds for each shard"),

    opt("drain.pause", (0, 10 * MINUTE), |d| Field::Time(&mut d.config.drain.pause), "not ready but serving: time for the load balancer"),
    opt("drain.window", (0, HOUR), |d| Field::Time(&mut d.config.drain.window), "connections are closed spread over this time; pause + window stay below the grace period"),

    opt("log.level", ANY, |d| Field::Text(&mut d.config.log.level), "error, warn, info, debug, trace, or directives such as info,ws_gateway=debug"),
    opt("log.format", ANY, |d| Field::Format(&mut d.config.log.format), "json or text"),

    opt("telemetry.otlp_endpoint", ANY, |d| Field::TextOrNone(&mut d.config.telemetry.otlp_endpoint), "collector that takes OTLP/HTTP, such as http://collector:4318; without it nothing is sent"),
    opt("telemetry.otlp_headers", ANY, |d| Field::SecretOrNone(&mut d.config.telemetry.otlp_headers), "headers for it, such as authorization=Bearer%20abc,x-scope=a"),
    opt("telemetry.metrics_interval", (SECOND, HOUR), |d| Field::Time(&mut d.config.telemetry.metrics_interval), "how often metrics are sent to it"),
    opt("telemetry.trace_ratio", ANY, |d| Field::Share(&mut d.config.telemetry.trace_ratio), "of the sampled traces that publishers begin, how many are continued: 0 none, 1 all"),
    opt("telemetry.spans_per_second", (1, 100_000), |d| Field::Count32(&mut d.config.telemetry.spans_per_second), "spans made each second at most, whatever publishers sample"),
];
