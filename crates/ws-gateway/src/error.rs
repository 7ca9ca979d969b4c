//! What can stop the gateway from starting or running.

use std::{io, net::SocketAddr};

use crate::auth::AuthSetupError;

/// Why [`run`](crate::run) or [`Listeners::bind`](crate::Listeners::bind) failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The admin listener cannot be watched.
    #[error("cannot serve the admin listener")]
    Admin(#[source] io::Error),
    /// The NATS credentials or certificates cannot be read.
    #[error("cannot read the NATS credentials")]
    Credentials(#[source] io::Error),
    /// Keys or API keys for signing in cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The NATS client refuses its configuration. A server that is not there is no error.
    #[error("cannot set up the connection to NATS")]
    Nats(#[source] async_nats::ConnectError),
    /// The system gives no thread or runtime.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A shard could not be set up.
    #[error("a shard cannot run")]
    Shard(#[source] io::Error),
    /// A thread panicked; the log has the place.
    #[error("a thread panicked")]
    Panic,
}
