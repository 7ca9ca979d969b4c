//! Real nats-servers, gateways and faults, for odin's demo, tests, benches and chaos.
//!
//! Nothing here imitates NATS. Every [`NatsServer`] and every [`Gateway`] is a child process with its own ports and
//! its own folder, which a test may kill, freeze and restart:
//!
//! ```no_run
//! # async fn example() -> Result<(), odin_devkit::DevkitError> {
//! let mut nats = odin_devkit::NatsServer::start().await?;
//! println!("JetStream at {}", nats.url());
//! nats.kill().await; // SIGKILL, as a crash would
//! nats.restart().await?; // same port, same store
//! # Ok(())
//! # }
//! ```
//!
//! # What is cleaned up
//! Dropping a handle kills its process group and deletes its temporary folder. When the program itself is killed no
//! destructor runs; where the `setpriv` tool exists (util-linux, so practically every Linux) the kernel then kills the
//! children. Without it, as on macOS, they stay until somebody ends them.
//!
//! Unix only: signals and process groups are the point.

mod balancer;
mod binary;
mod cluster;
pub mod conformance;
mod error;
mod gateway;
mod haproxy;
mod http;
mod port;
mod process;
mod proxy;
mod script;
mod server;
mod spawner;

pub use balancer::Balancer;
pub use binary::{MINIMUM_VERSION, PINNED_WHEEL, nats_binary};
pub use cluster::{NatsCluster, NatsClusterBuilder};
pub use error::DevkitError;
pub use gateway::{Gateway, GatewayBuilder};
pub use haproxy::{Haproxy, HaproxyBuilder, HaproxyServer};
pub use process::{Process, ProcessBuilder};
pub use proxy::{Proxy, Wire};
pub use script::write_script;
pub use server::{NatsServer, NatsServerBuilder};

use std::time::Duration;

/// How long anything may take to start or to become ready before it counts as failed.
/// Wide, because a loaded CI machine is slow; nothing waits this long when all is well.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// How long a process may take to leave after SIGTERM before [`NatsServer::terminate`] kills it.
/// A gateway drains for longer: it has its own limit.
pub const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Pause between two looks at a log file, a port or a process that is still starting.
pub(crate) const POLL: Duration = Duration::from_millis(5);
