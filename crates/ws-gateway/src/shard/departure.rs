//! A drain on one shard: everybody is told a moment of their own and closed at it, so that the
//! other gateways see arrivals spread over the window.

use odin_protocol::{
    close::CloseCode,
    message::{ServerMessage, SystemState},
};
use rand::seq::SliceRandom;

use super::{Shard, TICK, TICKS_PER_S};
use crate::metrics::CloseReason;

/// How long after the window the last may take to leave before the shard ends without them.
const PATIENCE_S: u64 = 5;

/// Who leaves in which order.
#[derive(Debug)]
pub(crate) struct Departures {
    order: Vec<u32>,
    next: usize,
    began: u64,
    window: u64,
}

impl Departures {
    /// A connection whose handshake ended after the drain began leaves last.
    pub(crate) fn add(&mut self, slot: u32) {
        self.order.push(slot);
    }

    pub(crate) fn is_over(&self, ticks: u64) -> bool {
        ticks > self.began + self.window + PATIENCE_S * TICKS_PER_S
    }

    /// The tick at which the one at `index` leaves.
    fn moment(&self, index: usize) -> u64 {
        self.window * index as u64 / self.order.len().max(1) as u64
    }
}

impl Shard {
    pub(super) fn start_departures(&mut self) {
        let mut order: Vec<u32> = self.connections.iter().map(|(slot, _)| slot as u32).collect();
        order.shuffle(&mut rand::rng());
        let departures = Departures {
            order,
            next: 0,
            began: self.ticks,
            window: self.config.drain.window.as_millis() as u64 / TICK.as_millis() as u64,
        };
        for (index, &slot) in departures.order.iter().enumerate() {
            let notice = ServerMessage::System {
                status: SystemState::Draining,
                reconnect_in_ms: Some(departures.moment(index) * TICK.as_millis() as u64),
                expires_in_ms: None,
                message: None,
            };
            let format = self.connections[slot as usize].format;
            if self.connections[slot as usize].closing.is_none() {
                format.append(&notice, &mut self.outbox(slot as usize).answers);
                self.catch_up(slot as usize);
            }
        }
        self.departures = Some(departures);
    }

    /// Closes those whose moment has come.
    pub(super) fn depart(&mut self) {
        let Some(mut departures) = self.departures.take() else {
            return;
        };
        while departures.next < departures.order.len()
            && departures.began + departures.moment(departures.next) <= self.ticks
        {
            let slot = departures.order[departures.next] as usize;
            departures.next += 1;
            if self.connections.get(slot).is_some_and(|c| c.closing.is_none()) {
                self.close(slot, CloseCode::ServiceRestart, CloseReason::Drain);
                self.catch_up(slot);
            }
        }
        self.departures = Some(departures);
    }
}
