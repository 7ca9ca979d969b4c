//! Creates the streams that odin lives on, or verifies those that exist. Safe to run as often as one likes, by several
//! at once: nothing is ever deleted, and the epoch of a stream is written once, when it is created.

mod compare;
mod plan;

use std::fmt;
use std::io;

use async_nats::jetstream::{self, context::CreateStreamError, context::GetStreamError, stream};

pub use compare::Difference;

use crate::config::Config;

/// The oldest NATS server with everything odin needs: batched Direct Get and message TTLs.
pub const MIN_SERVER: (u64, u64) = (2, 11);
/// The NATS server that odin is tested with.
pub const ADVISED_SERVER: (u64, u64) = (2, 15);
/// Key of a stream's metadata that tells it from an earlier stream of the same name.
pub const EPOCH_KEY: &str = "odin_epoch";

/// What was found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the server that answered.
    pub server_version: String,
    /// One for each stream.
    pub streams: Vec<StreamReport>,
}

/// What was found and done about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// Its `odin_epoch`; `None` for a stream that somebody else created without one.
    pub epoch: Option<String>,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist, now it does.
    Created,
    /// It existed as wanted.
    Verified,
    /// It existed differently; this was changed.
    Updated(Vec<Difference>),
    /// It exists differently: without `--update`, or in a way that cannot be changed.
    Differs(Vec<Difference>),
}

impl Report {
    /// Whether all streams are now as wanted.
    pub fn is_good(&self) -> bool {
        !self.streams.iter().any(|stream| matches!(stream.outcome, Outcome::Differs(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nats-server {}", self.server_version)?;
        if version(&self.server_version).is_some_and(|version| version < ADVISED_SERVER) {
            writeln!(f, "  advice: odin is tested with {}.{}", ADVISED_SERVER.0, ADVISED_SERVER.1)?;
        }
        for StreamReport { name, epoch, outcome } in &self.streams {
            let (word, differences) = match outcome {
                Outcome::Created => ("created", &[][..]),
                Outcome::Verified => ("as wanted", &[][..]),
                Outcome::Updated(differences) => ("updated", &differences[..]),
                Outcome::Differs(differences) => ("differs", &differences[..]),
            };
            writeln!(f, "stream {name}: {word}")?;
            for difference in differences {
                writeln!(f, "  {difference}")?;
            }
            if epoch.is_none() {
                writeln!(f, "  advice: it has no {EPOCH_KEY}; only its creation time tells it from an earlier one")?;
            }
        }
        Ok(())
    }
}

/// Why the streams could be neither created nor verified.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The credentials file cannot be used.
    #[error("cannot use the nats credentials")]
    Credentials(#[source] io::Error),
    /// No server answered.
    #[error("cannot connect to nats")]
    Connect(#[source] async_nats::ConnectError),
    /// The server is too old, or its version is no version.
    #[error("nats-server {found} is too old: odin needs {}.{} or newer", MIN_SERVER.0, MIN_SERVER.1)]
    ServerTooOld {
        /// As the server says it.
        found: String,
    },
    /// The server has no JetStream, or not for this account.
    #[error("jetstream is not available: start nats-server with jetstream, and enable it for the account")]
    NoJetStream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Reading a stream's configuration failed.
    #[error("cannot read stream {name}")]
    Read {
        /// The stream.
        name: String,
        /// What the server said.
        #[source]
        source: GetStreamError,
    },
    /// Creating a stream failed.
    #[error("cannot create stream {name}")]
    Create {
        /// The stream.
        name: String,
        /// What the server said.
        #[source]
        source: CreateStreamError,
    },
    /// Changing a stream failed; those before it are done.
    #[error("cannot update stream {name}")]
    Update {
        /// The stream.
        name: String,
        /// What the server said.
        #[source]
        source: CreateStreamError,
    },
}

/// Creates or verifies the streams of this configuration; with `update`, changes what differs and can be changed.
///
/// # Errors
/// When the server cannot be reached, is too old, has no JetStream, or refuses. A stream that differs is no error but an
/// [`Outcome`].
///
/// # Cancel safety
/// Not cancelled half-way through one stream's change, but possibly between two streams; run it again.
pub async fn provision(config: &Config, update: bool) -> Result<Report, ProvisionError> {
    let options = config.nats.connect_options().await.map_err(ProvisionError::Credentials)?;
    let client = options.connect(&config.nats.urls[..]).await.map_err(ProvisionError::Connect)?;
    let server_version = client.server_info().version;
    if version(&server_version).is_none_or(|version| version < MIN_SERVER) {
        return Err(ProvisionError::ServerTooOld { found: server_version });
    }
    let mut context = jetstream::new(client);
    context.set_timeout(config.nats.request_timeout);
    context.query_account().await.map_err(|error| ProvisionError::NoJetStream(Box::new(error)))?;

    let mut streams = Vec::new();
    for wanted in plan::streams(config) {
        streams.push(one(&context, wanted, update).await?);
    }
    Ok(Report { server_version, streams })
}

async fn one(
    context: &jetstream::Context,
    wanted: stream::Config,
    update: bool,
) -> Result<StreamReport, ProvisionError> {
    let name = wanted.name.clone();
    let found = match find(context, &name).await? {
        Some(found) => found,
        None => {
            let mut new = wanted.clone();
            new.metadata.insert(EPOCH_KEY.to_owned(), uuid::Uuid::now_v7().to_string());
            match context.create_stream(new).await {
                Ok(stream) => {
                    let epoch = epoch(&stream.cached_info().config);
                    return Ok(StreamReport { name, epoch, outcome: Outcome::Created });
                }
                // Another one was faster: its epoch differs from ours, and counts.
                Err(source) => match find(context, &name).await? {
                    Some(found) => found,
                    None => return Err(ProvisionError::Create { name, source }),
                },
            }
        }
    };

    let epoch = epoch(&found);
    let differences = compare::differences(&wanted, &found);
    let fixed = differences.iter().any(|difference| !difference.can_be_updated);
    let outcome = if differences.is_empty() {
        Outcome::Verified
    } else if !update || fixed {
        Outcome::Differs(differences)
    } else {
        let changed = compare::merged(&wanted, found);
        match context.update_stream(changed).await {
            Ok(_) => Outcome::Updated(differences),
            Err(source) => return Err(ProvisionError::Update { name, source }),
        }
    };
    Ok(StreamReport { name, epoch, outcome })
}

/// The stream's configuration, if there is one.
async fn find(context: &jetstream::Context, name: &str) -> Result<Option<stream::Config>, ProvisionError> {
    use async_nats::jetstream::ErrorCode;
    use async_nats::jetstream::context::GetStreamErrorKind;
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(ProvisionError::Read { name: name.to_owned(), source: error }),
        },
    }
}

fn epoch(config: &stream::Config) -> Option<String> {
    config.metadata.get(EPOCH_KEY).cloned()
}

/// Major and minor of `2.15.1` or `2.16.0-beta.1`.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(version("2.15.1"), Some((2, 15)));
        assert_eq!(version("v2.11.0-RC.1"), Some((2, 11)));
        assert_eq!(version("2"), None);
        assert!(version("2.9.25").is_some_and(|version| version < MIN_SERVER));
        assert!(version("3.0.0").is_some_and(|version| version > ADVISED_SERVER));
    }

    #[test]
    fn the_report_says_what_differs() {
        let differs = Outcome::Differs(vec![Difference {
            field: "num_replicas",
            wanted: "3".to_owned(),
            found: "1".to_owned(),
            can_be_updated: true,
        }]);
        let stream = StreamReport { name: "ODIN".to_owned(), epoch: None, outcome: differs };
        let report = Report { server_version: "2.11.4".to_owned(), streams: vec![stream] };
        assert!(!report.is_good());
        assert_eq!(
            report.to_string(),
            "nats-server 2.11.4\n  advice: odin is tested with 2.15\nstream ODIN: differs\n  num_replicas: wanted 3, \
             found 1\n  advice: it has no odin_epoch; only its creation time tells it from an earlier one\n"
        );
    }
}
