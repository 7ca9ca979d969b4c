//! What operators order of all gateways: written to the control stream, and read by every gateway in its order.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::cluster::{Cluster, Seen};
use crate::config::Config;
use crate::error::RunError;
use crate::{bus, queue};

mod link;
mod log;
#[cfg(test)]
pub(crate) mod node;
mod orders;
mod readiness;
mod record;
pub(crate) mod revocations;
#[cfg(test)]
mod tests;

pub(crate) use link::{Letter, Link, StoreError};
pub(crate) use log::{Log, LogState};
pub(crate) use orders::{Issued, Orders};
pub(crate) use readiness::combine;
pub(crate) use record::{MAX_MESSAGE_CHARS, Subjects};
pub(crate) use revocations::{Revocation, RevocationId, Revocations};

/// An order, as every shard gets it.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Connections that signed in with what was revoked end.
    Revoke(Revocation),
    /// Much was revoked at once: connections whose users [`Revocations::cover`] end.
    Review,
    /// All connections of this user end, and may come back.
    Disconnect {
        /// The user.
        sub: Arc<str>,
    },
    /// Certain connections of the user end: there are newer ones, here or elsewhere.
    Replace {
        /// The user.
        sub: Arc<str>,
        /// Theirs: the [numbers](crate::cluster::UserSeat::number) of the user's seats on this gateway. Each shard
        /// closes those it has, and knows nothing of the others.
        seats: Arc<[u64]>,
    },
    /// People get a `system:status` with this text: those of one user, or all.
    Notice {
        /// The user; `None` for everybody.
        sub: Option<Arc<str>>,
        /// For people.
        message: Arc<str>,
    },
    /// A question: which connections the user has. Each shard sends one answer, be it empty, by `try_send`: there is
    /// room for it. Nobody may be listening any more.
    List {
        /// The user.
        sub: Arc<str>,
        /// So many at most.
        limit: usize,
        /// Where the answer goes.
        reply: mpsc::Sender<Vec<Seen>>,
    },
}

impl Order {
    /// Has every shard carry it out.
    pub(crate) fn give(self, shards: &[queue::Sender]) {
        let order = Arc::new(self);
        for shard in shards {
            shard.push(&mut vec![queue::Item::Order(order.clone())]);
        }
    }
}

/// The control plane: connects, reads the log, talks with the other gateways and holds on to what users have, until
/// `stop` has lost its sender. Then it says goodbye.
///
/// # Errors
/// The NATS credentials cannot be read, or a URL is none. Everything else is waited for.
///
/// # Cancel safety
/// Not cancel safe: dropped early, the others hear no goodbye.
pub(crate) async fn run(
    config: Arc<Config>,
    link: Link,
    cluster: Arc<Cluster>,
    log: Log,
    mut stop: watch::Receiver<()>,
) -> Result<(), RunError> {
    // Nobody needs to hear what it says itself, and whoever speaks in its name is an impostor.
    let options = bus::options(&config.nats, "control").await?.no_echo();
    link.connect(options.connect(&config.nats.urls[..]).await.map_err(RunError::Nats)?);
    let stopped = async { while stop.changed().await.is_ok() {} };
    tokio::select! {
        () = async { tokio::join!(cluster.gossip(), cluster.hold_slots(), log.run()); } => {}
        () = stopped => {}
    }
    cluster.say_goodbye().await;
    Ok(())
}
