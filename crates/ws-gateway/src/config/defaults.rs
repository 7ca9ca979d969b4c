//! Every default, with its reason. They suit a laptop with a local NATS server and are safe on the internet; what a
//! large installation changes is said where it matters.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::LogFormat;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Clients come from everywhere.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// Probes and metrics are for this host only until somebody says otherwise.
pub const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// The usual path of a WebSocket endpoint.
pub const PATH: &str = "/ws";

/// One shard for each core the process may use; one where that is not known.
pub fn shards() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A NATS server on this machine.
pub const NATS_URL: &str = "nats://127.0.0.1:4222";
/// Name of the connection in the server's monitoring.
pub const NATS_NAME: &str = "ws-gateway";
/// Long enough for a TLS handshake across regions, short enough to try the next server soon.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A healthy server answers in milliseconds; an election of a leader takes 4 to 9 s and is retried, not waited for.
pub const NATS_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Name of the stream of publications.
pub const STREAM_NAME: &str = "ODIN";
/// All publications of odin.
pub const STREAM_SUBJECT: &str = "odin.>";
/// Outside the stream's subjects, or the server would refuse the cycle.
pub const LIVE_PREFIX: &str = "live";
/// Within the stream's subjects, so that its leader answers; nothing is ever stored there.
pub const BARRIER_SUBJECT: &str = "odin.sys.barrier";
/// Within the stream's subjects.
pub const TICK_SUBJECT: &str = "odin.sys.tick";
/// What a single server can do. A cluster wants 3.
pub const STREAM_REPLICAS: usize = 1;
/// A client that was away for an hour still continues where it stopped.
pub const STREAM_MAX_AGE: Duration = Duration::from_secs(HOUR);
/// Fits into the JetStream limits of a laptop. For production: peak bytes per second × `max_age` × 1.3.
pub const STREAM_MAX_BYTES: usize = GIB;
/// A price has 200 bytes; the largest batch update fits.
pub const STREAM_MAX_MESSAGE_BYTES: usize = 64 * KIB;
/// Longer than a publisher retries, in all.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(MINUTE);
/// Name of the stream of last values.
pub const STATE_STREAM_NAME: &str = "ODIN_LAST";
/// Apart from the publications' subjects.
pub const STATE_STREAM_SUBJECT: &str = "odinlast.>";
/// 64 MiB hold some 200,000 subjects.
pub const STATE_STREAM_MAX_BYTES: usize = 64 * MIB;
/// Name of the control stream.
pub const CONTROL_STREAM_NAME: &str = "ODIN_CTL";
/// Apart from the publications' subjects.
pub const CONTROL_STREAM_SUBJECT: &str = "odinctl.>";
/// A revocation is kept as long as the longest-lived token: a day.
pub const CONTROL_STREAM_MAX_AGE: Duration = Duration::from_secs(24 * HOUR);
/// 64 MiB hold some 200,000 revocations.
pub const CONTROL_STREAM_MAX_BYTES: usize = 64 * MIB;

/// Below the 20,000 file descriptors that hosts commonly allow, with room for NATS, logs and handshakes.
pub const CONNECTIONS: usize = 19_000;
/// Bounds what a storm of connects costs; a good client needs its place for two round trips.
pub const HANDSHAKES: usize = 1_024;
/// A good client needs two round trips.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for large cookies, not for an attack.
pub const HEADER_BYTES: usize = 16 * KIB;
/// The largest `subscribe` that [`CHANNELS_PER_MESSAGE`] allows fits.
pub const MESSAGE_BYTES: usize = 64 * KIB;
/// No sane client cuts 64 KiB into more pieces.
pub const MESSAGE_FRAGMENTS: u32 = 256;
/// A screen full of charts has a hundred.
pub const SUBSCRIPTIONS_PER_CONNECTION: usize = 1_000;
/// Bounds the work one message can ask for.
pub const CHANNELS_PER_MESSAGE: usize = 500;
/// As much as the stream takes.
pub const PAYLOAD_BYTES: usize = 64 * KIB;
/// A snapshot of so many prices is 15 MB on the wire, and the gateway keeps each once: more than a screen can show.
pub const PATTERN_SUBJECTS: usize = 65_536;
/// A mistake is answered; ten are an attack or a bug that needs to be seen.
pub const STRIKES: u32 = 10;
/// An application that measures latency sends one each second.
pub const PINGS_PER_SECOND: u32 = 10;
/// A person clicking through a page sends five; a client that subscribes one channel at a time is told so.
pub const MESSAGES_PER_SECOND: u32 = 100;

/// Below the 30 s after which the strictest proxies close a silent connection.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
/// Two pings and the time for an answer.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(MINUTE);
/// A phone in a tunnel comes back sooner; before [`USER_TIMEOUT`], so that the reason is known.
pub const NOT_READING_TIMEOUT: Duration = Duration::from_secs(MINUTE);
/// Somebody who does not subscribe for so long has forgotten that he is connected.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * MINUTE);

/// Three ticks: one may be late.
pub const TICK_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than the election of a leader, which every gateway sees: nobody gains by a fleet that is not ready.
pub const READY_GRACE: Duration = Duration::from_secs(10);

/// Covers a reload of the page and most reconnects.
pub const FEED_LINGER: Duration = Duration::from_secs(10);
/// Some 500 prices: minutes of one token, a second of a busy pattern.
pub const RING_BYTES: usize = 256 * KIB;
/// A thousand full rings.
pub const RING_TOTAL_BYTES: usize = 256 * MIB;
/// Opening takes milliseconds; longer means that the stream has no leader.
pub const FEED_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Keeps a storm of joins from burying the stream's replicas.
pub const DIRECT_GETS: usize = 64;
/// A quarter of them: repairs of live feeds never wait for those who catch up.
pub const CATCH_UP_READS: usize = 16;
/// A few pages, each shared by everybody who is in the same stretch; whoever comes later has his read again.
pub const CATCH_UP_BYTES: usize = 128 * KIB;
/// An hour of a busy channel; whoever missed more is better served with a snapshot.
pub const REPLAY_BYTES: usize = 64 * MIB;
/// The longest that a message lost without a sign can be missing.
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(2);
/// The same for feeds in which nothing happens.
pub const AUDIT_QUIET_INTERVAL: Duration = Duration::from_secs(20);
/// A restart of a NATS node is over sooner and nobody's business.
pub const STALE_AFTER: Duration = Duration::from_secs(2);
/// What a pattern's client gets twice when it comes back is at most so long ago.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// Some seconds of the highest rate; a shard that is further behind repairs itself from the stream.
pub const SHARD_QUEUE_BYTES: usize = 64 * MIB;
/// What comes within it goes to a socket in one write, and a write is nearly all that a delivery costs.
pub const TURN_INTERVAL: Duration = Duration::from_millis(2);

/// Enough to fill a fast line between two turns; of a slow reader's data, seconds wait in the kernel and not minutes.
pub const NOTSENT_LOWAT_BYTES: usize = 32 * KIB;
/// Longer than every limit of our own, so that connections end for a reason we know.
pub const USER_TIMEOUT: Duration = Duration::from_secs(90);
/// Takes a storm of connects; the kernel's `somaxconn` may be lower and then counts.
pub const BACKLOG: u32 = 4_096;

/// Load balancers look every one or two seconds.
pub const DRAIN_PAUSE: Duration = Duration::from_secs(2);
/// Spreads the reconnects. `pause` and `window` together must stay below the pod's grace period, or those still
/// connected are killed.
pub const DRAIN_WINDOW: Duration = Duration::from_secs(30);

/// Lifecycle, and whatever is wrong.
pub const LOG_LEVEL: &str = "info";
/// For the machines that collect logs; a person at a terminal asks for `text`.
pub const LOG_FORMAT: LogFormat = LogFormat::Json;

/// Two round trips and the time to fetch a token.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(10);
/// Keys rotate within days; a new one works within minutes even if no token asked for it.
pub const JWKS_REFRESH: Duration = Duration::from_secs(5 * MINUTE);
/// However many tokens name keys that do not exist.
pub const JWKS_COOLDOWN: Duration = Duration::from_secs(30);
/// An endpoint that needs longer is down: the last good set is used.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// A hundred keys.
pub const JWKS_BYTES: usize = 256 * KIB;
/// What clocks under NTP are off at most, and then some.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(30);
/// A service with its sessions in a database answers in milliseconds.
pub const CALLOUT_TIMEOUT: Duration = Duration::from_secs(2);
/// A storm of reconnects asks once for each session; a session that ended is noticed as late as this.
pub const CALLOUT_CACHE: Duration = Duration::from_secs(30);
/// Enough to fetch a fresh token, with retries.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(MINUTE);

/// Twice the channels of the largest message in a second is a program that runs wild.
pub const CHANNELS_PER_SECOND: u32 = 1_000;
/// A person types; a program that publishes more is a publisher and speaks NATS.
pub const PUBLISHES_PER_SECOND: u32 = 10;
/// A token is refreshed once in minutes.
pub const AUTHS_PER_MINUTE: u32 = 10;
/// A clock that is further ahead is broken; what it stamps would look fresh for a day.
pub const PAYLOAD_AHEAD: Duration = Duration::from_secs(24 * HOUR);

/// Apart from every stream: gossip is not worth storing.
pub const CLUSTER_SUBJECT: &str = "odingossip";
/// What a limit can be overshot by is what happens within it.
pub const CLUSTER_INTERVAL: Duration = Duration::from_secs(1);
/// Three of them: one may be lost.
pub const CLUSTER_PEER_TIMEOUT: Duration = Duration::from_secs(3);

/// A page asks for its files, and then once in a while; a client that polls waits for each answer.
pub const REQUESTS_PER_SECOND: u32 = 50;
/// A little more than load balancers have (60 s), so that it is they who end a connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// What a browser takes in one piece without a pause.
pub const ANSWER_BYTES: usize = MIB;
/// A second is not noticed, and spares the gateway every further client of a cache.
pub const LATEST_MAX_AGE: Duration = Duration::from_secs(1);

/// A collector that needs longer is down; what it was to get is dropped or sent again.
pub const OTLP_TIMEOUT: Duration = Duration::from_secs(10);
/// As often as a scraper comes.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(15);
/// Publishers decide what is traced; [`SPANS_PER_SECOND`] is what holds a flood back.
pub const TRACE_RATIO: f64 = 1.0;
/// Some 30 traced publications a second on two shards: enough to see where time goes, too few to cost any.
pub const SPANS_PER_SECOND: u32 = 100;
