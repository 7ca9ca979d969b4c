//! How fresh what a connection gets is, and up to where it is complete: `stale`, `live`, `checkpoint`.

use odin_protocol::error::StaleReason;

use super::Shard;

impl Shard {
    /// The stream's tick came.
    pub(super) fn on_bus_tick(&mut self, _seq: u64, _ts_ms: i64) {}

    /// The bus is gone or cannot prove that it has everything.
    pub(super) fn on_bus_stale(&mut self, _reason: StaleReason, _since_ms: i64) {}

    /// The bus is back, and what was missed came before.
    pub(super) fn on_bus_live(&mut self) {}
}
