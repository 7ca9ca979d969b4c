//! File descriptors: each connection needs one, and the soft limit that a process begins with is often made for programs
//! that need few.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;
use ws_gateway::config::Config;

/// Beside connections and handshakes: what one shard may have that belongs to clients on their way in or out.
const OF_A_SHARD: u64 = 256;

/// Listeners, NATS, files, logs.
const OF_THE_PROCESS: u64 = 100;

/// Takes as many as the system gives, and says when those are too few for `limits.connections`.
pub(crate) fn take_all(config: &Config) {
    let allowed = match getrlimit(Resource::RLIMIT_NOFILE) {
        // Without a right of its own a process may raise the soft limit up to the hard one.
        Ok((soft, hard)) if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() => hard,
        Ok((soft, _)) => soft,
        Err(error) => {
            warn!(%error, "the limit of file descriptors is not known");
            return;
        }
    };
    let needed = needed(config);
    if allowed < needed {
        warn!(allowed, needed, "too few file descriptors for limits.connections: new ones will be reset");
    }
}

fn needed(config: &Config) -> u64 {
    let shards = config.shards.get() as u64;
    (config.limits.connections + config.limits.handshakes) as u64 + OF_A_SHARD * shards + OF_THE_PROCESS
}
