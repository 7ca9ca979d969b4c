//! Another configuration while the gateway runs: read and checked as a whole first; when anything is wrong with it, or
//! with the keys and certificates it names, the old one stays.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    config::{Config, ConfigError, Log, Telemetry, differences},
    current::Current,
    error::with_causes,
    metrics::{ControlMetrics, Outcome},
    telemetry,
};

/// Requests that may wait; they come from people.
const WAITING: usize = 8;

/// What a request is answered: what changed, or why nothing did.
pub(crate) type Answer = oneshot::Sender<Result<Value, String>>;

/// Why nothing was reloaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// What is wrong with the new configuration, all of it. The old one stays.
    #[error("{0}")]
    Invalid(String),
    /// The gateway does not run, or not any more.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Asks for a reload.
#[derive(Debug, Clone)]
pub struct Reloader(pub(crate) mpsc::Sender<Answer>);

/// How a gateway reads its configuration again. Given to [`run_reloadable`](crate::run_reloadable).
pub struct Reload {
    read: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
    asked: mpsc::Receiver<Answer>,
    reloader: Reloader,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reloader {
    /// Reads the configuration again and gives what changed: `changed`, and `needsRestart` for what only counts after
    /// a restart.
    ///
    /// # Errors
    /// See [`ReloadError`].
    ///
    /// # Cancel safety
    /// Cancel safe: the reload goes on, and nobody hears of it.
    pub async fn reload(&self) -> Result<Value, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| ReloadError::Stopping)?;
        answered.await.map_err(|_| ReloadError::Stopping)?.map_err(ReloadError::Invalid)
    }
}

impl Reload {
    /// `read` gives the configuration as it is now in files and environment.
    pub fn new(read: impl Fn() -> Result<Config, ConfigError> + Send + 'static) -> Self {
        let (ask, asked) = mpsc::channel(WAITING);
        Self { read: Box::new(read), asked, reloader: Reloader(ask) }
    }

    /// Always the same configuration.
    pub(crate) fn never(config: &Config) -> Self {
        let config = config.clone();
        Self::new(move || Ok(config.clone()))
    }

    /// To ask with.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Answers requests for ever. `make` turns a configuration into what is used.
    pub(crate) async fn serve(mut self, current: watch::Sender<Arc<Current>>, metrics: Arc<ControlMetrics>) {
        while let Some(answer) = self.asked.recv().await {
            let result = (self.read)().map_err(|error| error.to_string()).and_then(|read| {
                let before = current.borrow().clone();
                let (config, change) = merge(&before.config, read);
                let next = before.successor(config).map_err(|error| with_causes(&error))?;
                telemetry::set_level(&next.config.log.level).map_err(|error| with_causes(&error))?;
                current.send_replace(Arc::new(next));
                Ok(change)
            });
            match &result {
                Ok(change) => {
                    metrics.reloads.of(Outcome::Ok).count();
                    tracing::info!(%change, "configuration reloaded");
                }
                Err(error) => {
                    metrics.reloads.of(Outcome::Failed).count();
                    tracing::error!(%error, "the configuration was not reloaded; the old one stays");
                }
            }
            // Whoever asked may have gone.
            let _ = answer.send(result);
        }
    }
}

/// The configuration with everything of `new` that can be changed now, and what that is.
fn merge(old: &Config, new: Config) -> (Config, Value) {
    let merged = Config {
        auth: new.auth.clone(),
        http: new.http.clone(),
        tls: new.tls.clone(),
        admin: new.admin.clone(),
        limits: new.limits.clone(),
        heartbeat: new.heartbeat.clone(),
        drain: new.drain.clone(),
        telemetry: Telemetry {
            trace_ratio: new.telemetry.trace_ratio,
            spans_per_second: new.telemetry.spans_per_second,
            ..old.telemetry.clone()
        },
        rules: new.rules.clone(),
        log: Log { level: new.log.level.clone(), ..old.log.clone() },
        ..old.clone()
    };
    let change = json!({
        "changed": differences(old, &merged),
        "needsRestart": differences(&merged, &new),
    });
    (merged, change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_only_a_restart_can_change_and_says_so() {
        let old = Config::default();
        let mut new = old.clone();
        new.limits.strikes = 3;
        new.stream.name = "OTHER".to_owned();
        let (merged, change) = merge(&old, new);
        assert_eq!((merged.limits.strikes, merged.stream.name.as_str()), (3, "ODIN"));
        assert_eq!(change, json!({ "changed": ["limits.strikes"], "needsRestart": ["stream.name"] }));
    }
}
