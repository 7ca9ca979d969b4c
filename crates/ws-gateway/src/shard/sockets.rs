//! What the sockets have to say, one connection after the other: a fault in one ends no other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use mio::Events;
use odin_protocol::close::CloseCode;

use super::{EVENTS, READ_BYTES, Shard};
use crate::metrics::CloseReason;

impl Shard {
    pub(super) fn take_events(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        loop {
            if let Err(error) = self.poll.get_mut().poll(&mut events, Some(Duration::ZERO)) {
                if error.kind() != std::io::ErrorKind::Interrupted {
                    tracing::error!(%error, "poll failed");
                }
                break;
            }
            let mut count = 0;
            for event in &events {
                count += 1;
                let slot = event.token().0;
                self.guarded(slot, |shard| {
                    if event.is_readable() || event.is_read_closed() {
                        shard.read(slot, event.is_read_closed());
                    }
                    if event.is_writable() {
                        shard.flush(slot);
                        shard.catch_up(slot);
                    }
                });
            }
            if count < EVENTS {
                break;
            }
        }
        self.events = events;
    }

    pub(super) fn take_again(&mut self) {
        let mut again = std::mem::take(&mut self.again);
        // Another one is first in each turn: there may not be time for all of them.
        if again.len() > 1 {
            again.rotate_left(1);
        }
        for slot in again {
            let slot = slot as usize;
            self.guarded(slot, |shard| {
                shard.catch_up(slot);
                shard.read(slot, false);
            });
        }
    }

    /// Serves one connection so that a fault in it, ours, ends that connection and no other.
    pub(super) fn guarded(&mut self, slot: usize, serve: impl FnOnce(&mut Self)) {
        // What the panic may have left half done is the connection's, which goes, and what is made whole below.
        if catch_unwind(AssertUnwindSafe(|| serve(self))).is_ok() {
            return;
        }
        // The panic hook has logged where.
        self.metrics.panics.add(1);
        self.scratch.resize(READ_BYTES, 0);
        if let Some(connection) = self.connections.get_mut(slot) {
            let mut goodbye = Vec::new();
            let (code, reason) = (CloseCode::InternalError.code(), CloseCode::InternalError.reason());
            connection.format.append_close(code, reason, &mut goodbye);
            // If a frame is on its way already, the client sees garbage and then the end.
            let _ = connection.write(&goodbye, &mut 0);
            self.remove(slot, CloseReason::Internal);
        }
        let behind = self.connections.iter().filter(|(_, connection)| connection.outbox.is_some()).count();
        self.metrics.behind.set(behind as u64);
    }
}
