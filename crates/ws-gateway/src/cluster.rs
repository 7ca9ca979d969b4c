//! The other gateways: how many connections they have, and of whom. Heard by gossip, so it is true a second later.

use std::sync::Arc;

use crate::identity::User;

/// What is known of all gateways, for every thread.
#[derive(Debug, Default)]
pub(crate) struct Cluster {}

/// A place that a user's connection takes. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct UserSeat {}

/// The user has as many connections as allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user has {limit} connections")]
pub(crate) struct UserLimitReached {
    /// As many.
    pub(crate) limit: u32,
}

impl Cluster {
    /// Connections of all gateways, this one included.
    pub(crate) fn connections(&self) -> u64 {
        0
    }

    /// Takes a place for one more connection of the user. At the limit it is refused, or the user's oldest
    /// connection is told to leave, as configured.
    ///
    /// # Errors
    /// [`UserLimitReached`].
    ///
    /// # Cancel safety
    /// Cancel safe: no place is kept.
    pub(crate) async fn enter(self: &Arc<Self>, _user: &Arc<User>) -> Result<UserSeat, UserLimitReached> {
        Ok(UserSeat {})
    }
}
