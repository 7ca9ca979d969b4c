//! What operators want of connections.

use super::Shard;
use crate::control::Order;

impl Shard {
    /// Carries the order out on this shard.
    pub(super) fn obey(&mut self, _order: &Order) {}
}
