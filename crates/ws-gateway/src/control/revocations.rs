//! Which tokens and users are not believed any more.

use std::sync::Arc;

use crate::identity::User;

/// Tokens that were revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// The token with this id.
    Token {
        /// Its `jti`.
        id: Arc<str>,
    },
    /// All tokens of a user, or those made before a time.
    User {
        /// The user.
        sub: Arc<str>,
        /// Tokens made before, in milliseconds since 1970; `None`: all, whenever they are made.
        issued_before_ms: Option<i64>,
    },
}

/// All revocations in force, for every thread.
#[derive(Debug, Default)]
pub(crate) struct Revocations {}

impl Revocations {
    /// Whether this token is revoked.
    pub(crate) fn cover(&self, _user: &User) -> bool {
        false
    }
}

impl Revocation {
    /// Whether it means this token.
    pub(crate) fn covers(&self, user: &User) -> bool {
        match self {
            Self::Token { id } => user.token_id.as_deref() == Some(id),
            Self::User { sub, issued_before_ms } => {
                // A token that does not say when it was made may have been made before.
                let is_older = |before| user.issued_at_ms.is_none_or(|issued| issued < before);
                user.sub == **sub && issued_before_ms.is_none_or(is_older)
            }
        }
    }
}
