//! What may change while the gateway runs: one value, replaced as a whole, so that nobody sees half of a change.

use std::sync::Arc;

use crate::{auth::Authenticator, config::Config, tls::Tls};

/// See the module. Whoever needs several parts together takes them from one.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Arc<Config>,
    pub(crate) auth: Arc<Authenticator>,
    /// None: clients connect without TLS.
    pub(crate) tls: Option<Tls>,
}

#[cfg(test)]
impl Current {
    /// A configuration in a gateway where nobody can sign in.
    pub(crate) fn of(config: Config) -> Self {
        Self { config: Arc::new(config), auth: Arc::new(Authenticator {}), tls: None }
    }
}
