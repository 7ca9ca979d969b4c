//! What operators want of connections: some end, some are told something.

use odin_protocol::{
    close::CloseCode,
    message::{ServerMessage, SystemState},
};

use super::Shard;
use crate::{clock::now_ms, cluster::Seen, control::Order, identity::User, metrics::CloseReason};

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
            Order::Review => {
                let shared = self.shared.clone();
                self.close_users(CloseCode::Revoked, CloseReason::Revoked, |user| shared.revocations.cover(user));
            }
            Order::Replace { sub, seats } => self.replace(sub, seats),
            Order::List { sub, limit, reply } => {
                // Nobody may be listening any more.
                let _ = reply.try_send(self.seen(sub, *limit));
            }
            Order::Notice { sub, message } => self.notify(sub.as_deref(), message),
        }
    }

    /// Closes the connections that have these seats.
    fn replace(&mut self, sub: &str, seats: &[u64]) {
        for slot in self.slots_of(|user| user.sub == sub) {
            let seat = self.connections[slot].guest.user_seat.as_ref();
            if seat.is_some_and(|seat| seats.contains(&seat.number())) {
                self.close(slot, CloseCode::Replaced, CloseReason::Replaced);
                self.catch_up(slot);
            }
        }
    }

    /// The user's connections, as operators see them.
    fn seen(&self, sub: &str, limit: usize) -> Vec<Seen> {
        let (lived_s, now_ms) = (self.lived_s(), now_ms());
        let seen = |slot: usize| {
            let connection = &self.connections[slot];
            Seen {
                connection_id: self.connection_id(connection.serial),
                ip: connection.guest.ip,
                since_ms: now_ms - i64::from(lived_s.saturating_sub(connection.opened_s)) * 1000,
                channels: u32::try_from(connection.subscriptions.len()).unwrap_or(u32::MAX),
                token_id: connection.guest.identity.user().and_then(|user| user.token_id.clone()),
            }
        };
        self.slots_of(|user| user.sub == sub).into_iter().take(limit).map(seen).collect()
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
