//! What is done about a message of the log.

use super::{
    super::{
        Order, Revocation, RevocationId,
        record::{ORDER_LIFE, Place, Record},
    },
    Log, LogState,
};
use crate::bus::Stored;
use crate::clock::now_ms;

/// More revocations than this at once, and shards look through their connections once instead of once for each.
const REVIEW: usize = 16;

/// Orders that were carried out and are remembered. There are fewer within their life, or an operator runs wild.
const MAX_DONE: usize = 65_536;

impl Log {
    /// Does what a message says, or counts it.
    pub(super) fn apply(&mut self, message: &Stored) {
        // A marker says that what stood there has expired, which everybody knows without it.
        let Some(body) = &message.payload else {
            return;
        };
        let place = self.subjects.place(&message.subject);
        let is_taken = match (place, Record::parse(body)) {
            (Some(Place::Revocation(id)), Some(record)) => self.apply_revocation(id, record),
            (Some(Place::Once(id)), Some(record)) => self.carry_out(id, record, message.ts_ms),
            _ => false,
        };
        if !is_taken {
            self.metrics.control_ignored.count();
            tracing::warn!(subject = %message.subject, seq = message.seq, "no order: ignored");
        }
    }

    /// Whether it makes sense.
    fn apply_revocation(&mut self, id: RevocationId, record: Record) -> bool {
        let (revocation, until_ms) = match record {
            Record::RevokeToken { jti, until_ms } => (Revocation::Token { id: jti.into() }, until_ms),
            Record::RevokeUser { sub, issued_before_ms, until_ms } => {
                (Revocation::User { sub: sub.into(), issued_before_ms }, until_ms)
            }
            Record::Lift => {
                if self.revocations.lift(id) {
                    self.metrics.orders.count();
                    tracing::info!(%id, "a revocation was lifted");
                }
                return true;
            }
            Record::Disconnect { .. } | Record::Notice { .. } => return false,
        };
        // It would stand in the way of another one's, which could never be found.
        if revocation.id() != id {
            return false;
        }
        if self.revocations.put(revocation.clone(), until_ms) {
            self.metrics.orders.count();
            self.revoked.push(Order::Revoke(revocation));
        }
        true
    }

    /// Tells shards what was revoked, now that whoever signs in is refused.
    pub(super) fn give_revoked(&mut self) {
        if self.revoked.len() > REVIEW {
            tracing::info!(revocations = self.revoked.len(), "revocations were read");
            self.revoked.clear();
            Order::Review.give(&self.shards);
        }
        for order in self.revoked.drain(..) {
            if let Order::Revoke(revocation) = &order {
                tracing::info!(id = %revocation.id(), "revoked");
            }
            order.give(&self.shards);
        }
    }

    /// Whether it makes sense; carried out or not.
    fn carry_out(&mut self, id: Box<str>, record: Record, ts_ms: i64) -> bool {
        let (what, order) = match record {
            Record::Disconnect { sub } => ("disconnect", Order::Disconnect { sub: sub.into() }),
            Record::Notice { sub, message } => {
                ("notice", Order::Notice { sub: sub.map(Into::into), message: message.into() })
            }
            _ => return false,
        };
        let is_past = *self.state.borrow() != LogState::Read && ts_ms < self.started_ms;
        if is_past || self.done.contains_key(&id) {
            return true;
        }
        tracing::info!(%id, what, "carrying out an order");
        self.metrics.orders.count();
        order.give(&self.shards);
        if self.done.len() < MAX_DONE {
            let life_ms = i64::try_from(ORDER_LIFE.as_millis()).unwrap_or(i64::MAX);
            self.done.insert(id, now_ms().saturating_add(2 * life_ms));
        }
        true
    }
}
