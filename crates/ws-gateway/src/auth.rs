//! Who a token, a key or a session belongs to.

mod api_key;
mod callout;
mod claims;
mod fault;
mod jwks;
mod keys;
mod seldom;

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

pub(crate) use api_key::faults as api_key_faults;
pub(crate) use jwks::url_fault as jwks_url_fault;

use crate::identity::User;

/// A signature that tokens may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(pub(crate) jsonwebtoken::Algorithm);

impl Algorithm {
    /// Whether who checks a signature could also have made it.
    pub(crate) fn is_secret(self) -> bool {
        use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
        matches!(self.0, HS256 | HS384 | HS512)
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Algorithm).map_err(|_| format!("unknown algorithm {text:?}"))
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

/// Checks tokens, for all shards.
#[derive(Debug)]
pub(crate) struct Authenticator {}

impl Authenticator {
    /// Whether anybody can sign in at all.
    pub(crate) fn is_offered(&self) -> bool {
        false
    }

    /// Who the token belongs to.
    ///
    /// # Errors
    /// See [`AuthError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is kept of an attempt.
    pub(crate) async fn check(&self, _token: &str, _visit: &Visit) -> Result<Arc<User>, AuthError> {
        Err(AuthError::Unavailable)
    }
}
