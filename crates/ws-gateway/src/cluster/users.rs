//! The users of this gateway: how many connections each has, and since when. Touched when somebody comes or goes.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    key::Key,
    words::{Held, Total},
};

/// See the module. As many entries as there are signed-in connections.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<Key, Places>,
    /// Those of whom the other gateways have not heard yet.
    changed: HashSet<Key>,
    total: Total,
    last_seat: u64,
}

/// Those of one user.
#[derive(Debug, Default)]
struct Places {
    /// By seat.
    list: Vec<Place>,
    /// Those that are counted.
    staying: u32,
}

/// One connection's. Seats are numbered in the order in which they were taken, so the first is the oldest.
#[derive(Debug, Clone, Copy)]
struct Place {
    seat: u64,
    since_ms: i64,
    /// It was told to leave, and is not counted any more.
    is_leaving: bool,
}

impl Users {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No arithmetic in there can panic half-way, and a count that is off by one is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place if with `others`, which the user has elsewhere, there are fewer than `limit`. Gives the number of
    /// the seat, and how many connections the user has now on this gateway.
    pub(super) fn enter(&self, key: Key, since_ms: i64, others: u32, limit: Option<u32>) -> Option<(u64, u32)> {
        let state = &mut *self.lock();
        let here = state.by_key.get(&key).map_or(0, |places| places.staying);
        if limit.is_some_and(|limit| here.saturating_add(others) >= limit) {
            return None;
        }
        let is_new = here == 0;
        state.last_seat += 1;
        let places = state.by_key.entry(key).or_default();
        // Most users have one connection.
        places.list.reserve_exact(usize::from(places.list.is_empty()));
        places.list.push(Place { seat: state.last_seat, since_ms, is_leaving: false });
        places.staying += 1;
        state.changed.insert(key);
        state.total.users += u64::from(is_new);
        state.total.connections += 1;
        Some((state.last_seat, here + 1))
    }

    /// Gives a place back.
    pub(super) fn leave(&self, key: Key, seat: u64) {
        let state = &mut *self.lock();
        let Some(places) = state.by_key.get_mut(&key) else {
            return;
        };
        let Ok(at) = places.list.binary_search_by_key(&seat, |place| place.seat) else {
            return;
        };
        if !places.list.remove(at).is_leaving {
            places.staying -= 1;
            state.total.connections -= 1;
            state.total.users -= u64::from(places.staying == 0);
            state.changed.insert(key);
        }
        if places.list.is_empty() {
            state.by_key.remove(&key);
        }
    }

    /// When the user's oldest connection began; `seat` does not count.
    pub(super) fn oldest_but(&self, key: Key, seat: u64) -> Option<i64> {
        let state = self.lock();
        let mut places = state.by_key.get(&key)?.list.iter();
        places.find(|place| !place.is_leaving && place.seat != seat).map(|place| place.since_ms)
    }

    /// Stops counting the user's oldest connections, so many of them but never `except`, and gives their seats: they
    /// are to be closed.
    pub(super) fn dismiss(&self, key: Key, number: u32, except: Option<u64>) -> Vec<u64> {
        let state = &mut *self.lock();
        let Some(places) = state.by_key.get_mut(&key) else {
            return Vec::new();
        };
        let leaving = places.list.iter_mut().filter(|place| !place.is_leaving && Some(place.seat) != except);
        let seats: Vec<u64> = leaving
            .take(number as usize)
            .map(|place| {
                place.is_leaving = true;
                place.seat
            })
            .collect();
        if !seats.is_empty() {
            places.staying -= u32::try_from(seats.len()).expect("as many as were asked for, a u32");
            state.total.connections -= seats.len() as u64;
            state.total.users -= u64::from(places.staying == 0);
            state.changed.insert(key);
        }
        seats
    }

    /// The users that changed since this was last asked, each with what it has now, and what all come to.
    pub(super) fn changes(&self) -> (Vec<(Key, Held)>, Total) {
        let state = &mut *self.lock();
        let changed = mem::take(&mut state.changed);
        (changed.into_iter().map(|key| (key, state.held(key))).collect(), state.total)
    }

    /// All users, and what they come to. Changes that were not asked for are in it, and are told again.
    pub(super) fn all(&self) -> (Vec<(Key, Held)>, Total) {
        let state = self.lock();
        let held = state.by_key.keys().map(|&key| (key, state.held(key)));
        (held.filter(|(_, held)| held.0 > 0).collect(), state.total)
    }

    /// What all come to.
    pub(super) fn total(&self) -> Total {
        self.lock().total
    }
}

impl State {
    fn held(&self, key: Key) -> Held {
        let Some(places) = self.by_key.get(&key) else {
            return Held(0, 0);
        };
        let oldest = places.list.iter().find(|place| !place.is_leaving);
        Held(places.staying, oldest.map_or(0, |place| place.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(users: &Users, name: &str, since_ms: i64) -> u64 {
        users.enter(Key::of(name), since_ms, 0, None).expect("no limit").0
    }

    #[test]
    fn tells_each_change_once_with_all_there_is() {
        let users = Users::default();
        let (first, _second) = (enter(&users, "a", 10), enter(&users, "a", 20));
        assert_eq!(users.changes(), (vec![(Key::of("a"), Held(2, 10))], Total { users: 1, connections: 2 }));
        assert_eq!(users.changes(), (vec![], Total { users: 1, connections: 2 }));
        users.leave(Key::of("a"), first);
        assert_eq!(users.changes(), (vec![(Key::of("a"), Held(1, 20))], Total { users: 1, connections: 1 }));
    }

    #[test]
    fn whoever_came_and_went_between_two_looks_is_told_as_gone() {
        let users = Users::default();
        let seat = enter(&users, "a", 10);
        users.leave(Key::of("a"), seat);
        assert_eq!(users.changes(), (vec![(Key::of("a"), Held(0, 0))], Total::default()));
        users.leave(Key::of("a"), seat);
        assert_eq!(users.total(), Total::default(), "leaving twice is leaving once");
    }

    #[test]
    fn a_limit_counts_those_elsewhere() {
        let users = Users::default();
        let key = Key::of("a");
        assert!(users.enter(key, 0, 2, Some(3)).is_some());
        assert!(users.enter(key, 0, 2, Some(3)).is_none());
        assert!(users.enter(key, 0, 0, Some(0)).is_none());
        assert!(users.enter(key, 0, u32::MAX, Some(u32::MAX)).is_none());
        assert!(users.enter(Key::of("b"), 0, 0, Some(1)).is_some());
    }

    #[test]
    fn the_dismissed_are_the_oldest_and_not_counted_again() {
        let users = Users::default();
        let key = Key::of("a");
        let seats = [enter(&users, "a", 10), enter(&users, "a", 20), enter(&users, "a", 30)];
        assert_eq!(users.oldest_but(key, seats[2]), Some(10));
        assert_eq!(users.dismiss(key, 1, Some(seats[2])), [seats[0]]);
        assert_eq!(users.oldest_but(key, seats[2]), Some(20));
        assert_eq!(users.total(), Total { users: 1, connections: 2 });
        assert_eq!(users.dismiss(key, 9, Some(seats[2])), [seats[1]], "never the one that is spared");
        seats.into_iter().for_each(|seat| users.leave(key, seat));
        assert_eq!((users.total(), users.lock().by_key.len()), (Total::default(), 0));
        assert_eq!(users.all(), (vec![], Total::default()));
    }
}
