//! What is known of the other gateways. Pure: it is told what came, and says what is missing.
//!
//! Presences of a gateway count up by one, each with what its users come to. When one is missing or the sum is wrong,
//! that gateway is asked for everything; until it comes, what is known is used. Everything is told as of a presence, so
//! one that overtakes it is found by its number, like one that was lost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    key::Key,
    words::{Boot, Bye, Held, Name, Presence, Total, USERS_PER_MESSAGE},
};

/// Gateways that are remembered; later ones are not believed until there is room.
pub(super) const MAX_PEERS: usize = 4_096;

/// Users of one gateway that are remembered.
const MAX_USERS: usize = 1_000_000;

/// The same of all gateways: some 250 MB.
const MAX_USERS_IN_ALL: usize = 4_000_000;

/// What a process can have at most; more is no count.
const MAX_CONNECTIONS: u64 = 10_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Peers {
    by_boot: HashMap<(Boot, Name), Peer>,
    /// One that was silent for so long is forgotten.
    timeout: Duration,
    /// Between two questions to the same one.
    pause: Duration,
    max_users: usize,
    max_users_in_all: usize,
}

/// One of them.
#[derive(Debug)]
struct Peer {
    heard_at: Instant,
    connections: u64,
    /// The last presence, once everything before it is known.
    n: Option<u64>,
    users: HashMap<Key, Held>,
    /// What they come to.
    total: Total,
    asked_at: Option<Instant>,
    everything: Option<Everything>,
    /// Connections that it was told to close and has not taken from its count yet.
    replaced: HashMap<Key, (u32, Instant)>,
    /// It has more users than are remembered, so its sums are not compared.
    is_cut: bool,
}

/// Parts that have come.
#[derive(Debug)]
struct Everything {
    n: u64,
    next: u32,
    of: u32,
    users: HashMap<Key, Held>,
}

/// What a message was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was taken.
    Taken,
    /// It was taken, and this gateway is to be asked for everything.
    Ask(Boot),
    /// It makes no sense, or there is no room.
    Ignored,
}

/// A gateway as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overview {
    pub(crate) gateway: Name,
    pub(crate) boot: Boot,
    pub(crate) connections: u64,
    pub(crate) users: u64,
    /// Since it was last heard.
    pub(crate) age: Duration,
}

impl Peers {
    /// Nobody is known yet.
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let (max_users, max_users_in_all) = (MAX_USERS, MAX_USERS_IN_ALL);
        Self { by_boot: HashMap::new(), timeout, pause: interval, max_users, max_users_in_all }
    }

    /// Takes what a gateway says of itself.
    pub(super) fn hear(&mut self, said: Presence, now: Instant) -> Heard {
        let is_sane = said.users.len() <= USERS_PER_MESSAGE && said.part.is_none_or(|part| part.index < part.of);
        let id = (said.boot, said.gateway.clone());
        if !is_sane || (self.by_boot.len() >= MAX_PEERS && !self.by_boot.contains_key(&id)) {
            return Heard::Ignored;
        }
        let room = self.max_users_in_all.saturating_sub(self.remembered());
        let peer = self.by_boot.entry(id).or_insert_with(|| Peer::new(now));
        peer.heard_at = now;
        peer.connections = said.connections.min(MAX_CONNECTIONS);
        let room = Room { in_all: room, of_one: self.max_users };
        if said.part.is_some() {
            peer.take_part(&said, room)
        } else {
            peer.take(&said, room)
        }
        if peer.n.is_some() || peer.is_cut || peer.asked_at.is_some_and(|at| now.duration_since(at) < self.pause) {
            return Heard::Taken;
        }
        peer.asked_at = Some(now);
        Heard::Ask(said.boot)
    }

    /// A gateway has stopped.
    pub(super) fn part_from(&mut self, bye: &Bye) -> bool {
        self.by_boot.remove(&(bye.boot, bye.gateway.clone())).is_some()
    }

    /// Forgets those that have been silent for too long, and gives their names.
    pub(super) fn drop_silent(&mut self, now: Instant) -> Vec<Name> {
        let timeout = self.timeout;
        let silent = |peer: &Peer| now.saturating_duration_since(peer.heard_at) >= timeout;
        let dropped = self.by_boot.extract_if(|_, peer| silent(peer)).map(|((_, name), _)| name).collect();
        for peer in self.by_boot.values_mut() {
            peer.replaced.retain(|_, (_, at)| now.saturating_duration_since(*at) < timeout);
        }
        dropped
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_boot.len()
    }

    /// Connections of all of them.
    pub(super) fn connections(&self) -> u64 {
        self.by_boot.values().map(|peer| peer.connections).sum()
    }

    /// Connections that a user has there.
    pub(super) fn count(&self, key: Key) -> u32 {
        self.by_boot.values().fold(0, |sum, peer| sum.saturating_add(peer.held(key).0))
    }

    /// The gateway with the user's oldest connection, and when that began.
    pub(super) fn oldest(&self, key: Key) -> Option<(Boot, i64)> {
        let held = self.by_boot.iter().map(|((boot, _), peer)| (*boot, peer.held(key)));
        let held = held.filter(|(_, held)| held.0 > 0).map(|(boot, held)| (boot, held.1));
        held.min_by_key(|(_, oldest_ms)| *oldest_ms)
    }

    /// Remembers that a gateway was told to close one connection of the user.
    pub(super) fn replaced(&mut self, boot: Boot, key: Key, now: Instant) {
        for (_, peer) in self.by_boot.iter_mut().filter(|(id, _)| id.0 == boot) {
            let (count, at) = peer.replaced.entry(key).or_insert((0, now));
            (*count, *at) = (*count + 1, now);
        }
    }

    /// The boot ids of all of them.
    pub(super) fn boots(&self) -> Vec<Boot> {
        self.by_boot.keys().map(|(boot, _)| *boot).collect()
    }

    /// All of them, by name.
    pub(super) fn overview(&self, now: Instant) -> Vec<Overview> {
        let overview = self.by_boot.iter().map(|((boot, gateway), peer)| Overview {
            gateway: gateway.clone(),
            boot: *boot,
            connections: peer.connections,
            users: peer.users.len() as u64,
            age: now.saturating_duration_since(peer.heard_at),
        });
        let mut overview: Vec<_> = overview.collect();
        overview.sort_by(|a, b| (&a.gateway, a.boot).cmp(&(&b.gateway, b.boot)));
        overview
    }

    fn remembered(&self) -> usize {
        let of_peer =
            |peer: &Peer| peer.users.len() + peer.everything.as_ref().map_or(0, |everything| everything.users.len());
        self.by_boot.values().map(of_peer).sum()
    }
}

/// How many users more may be remembered.
#[derive(Debug, Clone, Copy)]
struct Room {
    in_all: usize,
    of_one: usize,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            connections: 0,
            n: None,
            users: HashMap::new(),
            total: Total::default(),
            asked_at: None,
            everything: None,
            replaced: HashMap::new(),
            is_cut: false,
        }
    }

    /// What changed.
    fn take(&mut self, said: &Presence, mut room: Room) {
        match self.n {
            // Everything that came meanwhile has it already.
            Some(n) if said.n <= n => return,
            Some(n) if said.n - 1 == n => self.n = Some(said.n),
            _ => self.n = None,
        }
        for (&key, &held) in &said.users {
            self.replaced.remove(&key);
            let before = if held.0 == 0 {
                self.users.remove(&key)
            } else if self.users.contains_key(&key) || (room.in_all > 0 && self.users.len() < room.of_one) {
                let before = self.users.insert(key, held);
                room.in_all -= usize::from(before.is_none() && room.in_all > 0);
                before
            } else {
                self.is_cut = true;
                continue;
            };
            self.total.connections -= before.map_or(0, |before| u64::from(before.0));
            self.total.connections += u64::from(held.0);
        }
        self.compare(said.total);
    }

    /// A piece of everything. One that is out of order spoils the others: it will be asked for again.
    fn take_part(&mut self, said: &Presence, mut room: Room) {
        let Some(part) = said.part else {
            return;
        };
        if part.index == 0 {
            self.everything = Some(Everything { n: said.n, next: 0, of: part.of, users: HashMap::new() });
        }
        let Some(mut everything) = self.everything.take() else {
            return;
        };
        if (everything.n, everything.next, everything.of) != (said.n, part.index, part.of) {
            return;
        }
        for (&key, &held) in said.users.iter().filter(|(_, held)| held.0 > 0) {
            if room.in_all == 0 || everything.users.len() >= room.of_one {
                self.is_cut = true;
                break;
            }
            room.in_all -= usize::from(everything.users.insert(key, held).is_none());
        }
        everything.next += 1;
        if everything.next < everything.of {
            self.everything = Some(everything);
            return;
        }
        self.total.connections = everything.users.values().map(|held| u64::from(held.0)).sum();
        self.users = everything.users;
        self.n = Some(said.n);
        self.compare(said.total);
    }

    fn compare(&mut self, said: Option<Total>) {
        self.total.users = self.users.len() as u64;
        if said.is_some_and(|said| said != self.total) {
            self.n = None;
        }
    }

    /// What the user has there, without what it was told to close.
    fn held(&self, key: Key) -> Held {
        let held = self.users.get(&key).copied().unwrap_or(Held(0, 0));
        let replaced = self.replaced.get(&key).map_or(0, |(count, _)| *count);
        Held(held.0.saturating_sub(replaced), held.1)
    }
}

#[cfg(test)]
mod tests;
