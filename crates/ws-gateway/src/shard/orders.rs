//! What operators want of connections: some end, some are told something.

use odin_protocol::{
    close::CloseCode,
    message::{ServerMessage, SystemState},
};

use super::Shard;
use crate::{control::Order, identity::User, metrics::CloseReason};

impl Shard {
    /// Carries the order out on this shard.
    pub(super) fn obey(&mut self, order: &Order) {
        match order {
            Order::Revoke(revocation) => {
                self.close_users(CloseCode::Revoked, CloseReason::Revoked, |user| revocation.covers(user));
            }
            Order::Disconnect { sub } => {
                let is_meant = |user: &User| user.sub == **sub;
                self.close_users(CloseCode::Disconnected, CloseReason::Disconnected, is_meant);
            }
            Order::Replace { .. } => {}
            Order::Notice { sub, message } => self.notify(sub.as_deref(), message),
        }
    }

    fn close_users(&mut self, code: CloseCode, reason: CloseReason, is_meant: impl Fn(&User) -> bool) {
        for slot in self.slots_of(is_meant) {
            self.close(slot, code, reason);
            self.catch_up(slot);
        }
    }

    fn notify(&mut self, sub: Option<&str>, message: &str) {
        let slots = match sub {
            Some(sub) => self.slots_of(|user| user.sub == sub),
            None => self.connections.iter().map(|(slot, _)| slot).collect(),
        };
        let notice = ServerMessage::System {
            status: SystemState::Notice,
            reconnect_in_ms: None,
            expires_in_ms: None,
            message: Some(message.to_owned()),
        };
        for slot in slots {
            if self.connections.get(slot).is_some_and(|connection| connection.closing.is_none()) {
                self.answer(slot, &notice);
                self.catch_up(slot);
            }
        }
    }

    /// The connections of signed-in users that are meant and are not closing.
    fn slots_of(&self, is_meant: impl Fn(&User) -> bool) -> Vec<usize> {
        let open = self.connections.iter().filter(|(_, connection)| connection.closing.is_none());
        open.filter(|(_, connection)| connection.guest.identity.user().is_some_and(|user| is_meant(user)))
            .map(|(slot, _)| slot)
            .collect()
    }
}
