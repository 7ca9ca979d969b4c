//! What operators order of all gateways: read from the control stream, in its order, by every gateway.

use std::sync::Arc;

pub(crate) mod revocations;

pub(crate) use revocations::{Revocation, Revocations};

/// An order, as every shard gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Connections that signed in with what was revoked end.
    Revoke(Revocation),
    /// All connections of this user end, and may come back.
    Disconnect {
        /// The user.
        sub: Arc<str>,
    },
    /// The user's oldest connections on this gateway end, so many of them: there are newer ones elsewhere.
    Replace {
        /// The user.
        sub: Arc<str>,
        /// How many.
        count: u32,
    },
    /// People get a `system:status` with this text: those of one user, or all.
    Notice {
        /// The user; `None` for everybody.
        sub: Option<Arc<str>>,
        /// For people.
        message: Arc<str>,
    },
}
