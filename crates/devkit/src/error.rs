//! Why something could not be started, found or stopped.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// What went wrong; the text names the process or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevkitError {
    /// No usable nats-server was found and none could be installed.
    #[error("cannot install nats-server into {}: {reason}", folder.display())]
    Install {
        /// Where it should have gone.
        folder: PathBuf,
        /// What the failing step said.
        reason: String,
    },
    /// The file named by an environment variable or an argument cannot be used.
    #[error("{} is not usable: {reason}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The operating system refused a file, a port or a process.
    #[error("cannot {action}")]
    Io {
        /// What was attempted, as "start n0" or "write /x/nats.conf".
        action: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A process ended while something was expected of it.
    #[error("{name} ended ({status}) while waiting for {waiting_for}\n{log}")]
    Exited {
        /// Name of the process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What was expected.
        waiting_for: String,
        /// The last lines it wrote.
        log: String,
    },
    /// A process runs but did not do what was expected in time.
    #[error("{name} was not done with {waiting_for} within {limit:?}\n{log}")]
    Timeout {
        /// Name of the process.
        name: String,
        /// What was expected.
        waiting_for: String,
        /// How long was waited.
        limit: Duration,
        /// The last lines it wrote.
        log: String,
    },
    /// A signal could not be delivered.
    #[error("cannot signal {name}: {reason}")]
    Signal {
        /// Name of the process.
        name: String,
        /// The system's answer.
        reason: String,
    },
    /// No free port was found below the ephemeral range.
    #[error("no free port between {from} and {to}")]
    NoPort {
        /// First port tried.
        from: u16,
        /// End of the range, exclusive.
        to: u16,
    },
    /// A name that is no scenario's.
    #[error("no scenario is called {name:?}")]
    Scenario {
        /// As given.
        name: String,
    },
    /// A nats-server that runs did not answer as it should.
    #[error("nats at {url}: {reason}")]
    Nats {
        /// Where it listens.
        url: String,
        /// What it or the client said.
        reason: String,
    },
}

impl DevkitError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> DevkitError {
        let action = action.into();
        move |source| DevkitError::Io { action, source }
    }
}
