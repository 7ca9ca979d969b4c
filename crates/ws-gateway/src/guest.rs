//! What a gateway knows of whoever is on a connection.

use std::{net::IpAddr, sync::Arc};

use crate::{addresses::Seat, cluster::UserSeat, identity::Identity};

/// See the module. Dropped, the places it took are free again.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) identity: Identity,
    /// The client's address, as far as it can be known.
    pub(crate) ip: IpAddr,
    /// The page it comes from.
    pub(crate) origin: Option<Box<str>>,
    /// Counts the connection for its address.
    pub(crate) seat: Seat,
    /// Counts it for its user.
    pub(crate) user_seat: Option<UserSeat>,
}

/// What all shards share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) addresses: Arc<crate::addresses::Addresses>,
    pub(crate) cluster: Arc<crate::cluster::Cluster>,
    pub(crate) revocations: Arc<crate::control::Revocations>,
    pub(crate) memory: Arc<crate::memory::Memory>,
}
