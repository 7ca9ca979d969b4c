//! What can stop the gateway from starting or running.

use std::{error::Error, io, net::SocketAddr};

use crate::{auth::AuthSetupError, tls::TlsError};

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
    /// The certificate or its key cannot be used.
    #[error("cannot speak TLS")]
    Tls(#[from] TlsError),
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
    /// There is no way to the collector: no certificates to trust, or a variable of OpenTelemetry that asks too much.
    #[error("cannot set up telemetry")]
    Telemetry(#[source] Box<dyn Error + Send + Sync>),
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

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
