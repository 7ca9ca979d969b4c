//! How many connections each address has, and how fast new ones come.

use std::{net::IpAddr, sync::Arc};

/// Counts of this process, for every thread.
#[derive(Debug, Default)]
pub(crate) struct Addresses {}

/// A place that a connection takes. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Seat {}

/// Too many connections from one address, or too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many connections from this address")]
pub(crate) struct AddressLimitReached {}

impl Addresses {
    /// Takes a place for one more connection.
    ///
    /// # Errors
    /// [`AddressLimitReached`].
    pub(crate) fn enter(self: &Arc<Self>, _ip: IpAddr) -> Result<Seat, AddressLimitReached> {
        Ok(Seat {})
    }
}
