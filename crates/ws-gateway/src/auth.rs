//! Who a token, a key or a session belongs to.
//!
//! The form of a token says which way it is checked: an API key, a JSON Web Token, or else a question to the session
//! service. One that fails on its way is not tried on another. Whatever is wrong with a token, its owner hears the same;
//! what it was stands in the log at `debug`, without the token.

mod api_key;
mod callout;
mod claims;
mod fault;
mod jwks;
mod jwt;
mod keys;
mod setup;

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use api_key::ApiKeys;
use callout::Callout;
use fault::Fault;
use jwks::Jwks;
use jwt::{Jwt, PublicKeys};

pub(crate) use api_key::faults as api_key_faults;
pub(crate) use jwks::url_fault as jwks_url_fault;
pub use setup::AuthSetupError;

use crate::clock::now_ms;
use crate::{
    config::Config,
    control::{Link, Revocations},
    identity::User,
    metrics::ControlMetrics,
};

/// Longest token, in bytes. The largest that issuers make fits into a request's head with room to spare.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A signature that tokens may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(pub(crate) jsonwebtoken::Algorithm);

impl Algorithm {
    /// Whether who checks a signature could also have made it.
    pub(crate) fn is_secret(self) -> bool {
        use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
        matches!(self.0, HS256 | HS384 | HS512)
    }

    /// How long such a secret must be: as long as the hash (RFC 7518 §3.2).
    pub(crate) fn min_secret_bytes(self) -> usize {
        match self.0 {
            jsonwebtoken::Algorithm::HS512 => 64,
            jsonwebtoken::Algorithm::HS384 => 48,
            _ => 32,
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Algorithm).map_err(|_| "unknown algorithm".to_owned())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Where a token comes from, for the session service and the log.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// The client's address, as far as it can be known.
    pub(crate) ip: IpAddr,
    /// What the browser said the page is.
    pub(crate) origin: Option<String>,
}

/// Why somebody was not let in. Says nothing of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// There is no such key, session or signature, or the token is not for this gateway.
    #[error("the token is not valid")]
    Failed,
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
    /// It, or its user, was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Nobody can say at present, or nobody ever could.
    #[error("tokens cannot be checked at present")]
    Unavailable,
}

/// Checks tokens, for all shards. What it does in the background ends when it is dropped.
pub(crate) struct Authenticator {
    is_offered: bool,
    api_keys: Option<ApiKeys>,
    jwt: Option<Jwt>,
    callout: Option<Callout>,
    leeway: Duration,
    surroundings: Surroundings,
}

/// What stays the same when the configuration changes.
#[derive(Clone, Default)]
struct Surroundings {
    /// How the session service is asked.
    link: Link,
    revocations: Arc<Revocations>,
    metrics: Arc<ControlMetrics>,
}

impl Authenticator {
    /// Reads the files that the configuration names, and begins to read the keys at its URL.
    ///
    /// # Errors
    /// Everything that is wrong; nothing runs then. A URL where nobody answers is no error: keys are read when somebody
    /// does.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which must last as long as this value.
    pub(crate) fn new(
        config: &Config,
        link: Link,
        revocations: Arc<Revocations>,
        metrics: Arc<ControlMetrics>,
    ) -> Result<Self, AuthSetupError> {
        Self::build(config, Surroundings { link, revocations, metrics }, None)
    }

    /// The same where no session service can be asked.
    #[cfg(test)]
    pub(crate) fn without_nats(
        config: &Config,
        revocations: Arc<Revocations>,
        metrics: Arc<ControlMetrics>,
    ) -> Result<Self, AuthSetupError> {
        Self::build(config, Surroundings { link: Link::default(), revocations, metrics }, None)
    }

    /// Nobody can sign in.
    #[cfg(test)]
    pub(crate) fn closed() -> Self {
        Self {
            is_offered: false,
            api_keys: None,
            jwt: None,
            callout: None,
            leeway: Duration::ZERO,
            surroundings: Surroundings::default(),
        }
    }

    /// For a changed configuration. All files are read again; public keys at the same URL and the answers of the same
    /// session service are taken over, so that a reload asks nobody anything.
    ///
    /// # Errors
    /// As [`new`](Self::new); this one goes on as it is.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(crate) fn successor(&self, config: &Config) -> Result<Self, AuthSetupError> {
        Self::build(config, self.surroundings.clone(), Some(self))
    }

    fn build(config: &Config, surroundings: Surroundings, old: Option<&Self>) -> Result<Self, AuthSetupError> {
        let auth = &config.auth;
        let setup = setup::read(auth)?;
        let mut jwt = setup.jwt;
        if let (Some(jwt), Some(reader)) = (&mut jwt, setup.reader) {
            let old = old.and_then(|old| match old.jwt.as_ref()?.public.as_ref()? {
                PublicKeys::Published(jwks) => Some(&**jwks),
                PublicKeys::Fixed(_) => None,
            });
            jwt.public = Some(PublicKeys::Published(Jwks::start(auth, reader, surroundings.metrics.clone(), old)));
        }
        let old_callout = old.and_then(|old| old.callout.as_ref());
        let callout = Callout::new(auth, &surroundings.link, &surroundings.metrics, old_callout);
        Ok(Self {
            is_offered: auth.is_offered(),
            api_keys: setup.api_keys,
            jwt,
            callout,
            leeway: auth.leeway,
            surroundings,
        })
    }

    /// Whether anybody can sign in at all.
    pub(crate) fn is_offered(&self) -> bool {
        self.is_offered
    }

    /// Who the token belongs to. It is neither expired nor revoked; a clock may be off by `auth.leeway`.
    ///
    /// # Errors
    /// See [`AuthError`].
    ///
    /// # Cancel safety
    /// Cancel safe: what others wait for too goes on by itself.
    pub(crate) async fn check(&self, token: &str, visit: &Visit) -> Result<Arc<User>, AuthError> {
        if !self.is_offered {
            return Err(AuthError::Unavailable);
        }
        let user = self.identify(token, visit).await.map_err(|fault| {
            tracing::debug!(%fault, "token refused");
            AuthError::from(fault)
        })?;
        // Answers of the session service are remembered, and time goes on.
        if claims::has_expired(&user, self.leeway, now_ms()) {
            return Err(AuthError::Expired);
        }
        if self.surroundings.revocations.cover(&user) {
            return Err(AuthError::Revoked);
        }
        Ok(user)
    }

    async fn identify(&self, token: &str, visit: &Visit) -> Result<Arc<User>, Fault> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(Fault::Size);
        }
        if let Some(keys) = self.api_keys.as_ref().filter(|_| api_key::looks_like_one(token)) {
            return keys.check(token);
        }
        if let Some(jwt) = self.jwt.as_ref().filter(|_| jwt::looks_like_one(token)) {
            return jwt.check(token, now_ms()).await.map(Arc::new);
        }
        match &self.callout {
            Some(callout) => callout.check(token, visit).await,
            None => Err(Fault::Kind),
        }
    }
}

impl fmt::Debug for Authenticator {
    /// Without anything that tokens are checked with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("api_keys", &self.api_keys)
            .field("jwt", &self.jwt.as_ref().map(|jwt| &jwt.algorithms))
            .field("callout", &self.callout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
