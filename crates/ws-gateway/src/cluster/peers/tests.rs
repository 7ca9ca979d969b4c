//! What is believed of what gateways say, without a wire.

use super::*;
use crate::cluster::words::Part;

const PAUSE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(3);

fn peers() -> Peers {
    Peers::new(PAUSE, TIMEOUT)
}

/// What gateway `boot` says: users with their counts, and what they come to.
fn said(boot: u32, n: u64, users: &[(&str, u32)], total: (u64, u64)) -> Presence {
    Presence {
        gateway: Name::of("pod", 1),
        boot: Boot(boot),
        n,
        connections: 100,
        total: Some(Total { users: total.0, connections: total.1 }),
        part: None,
        users: users.iter().map(|(name, count)| (Key::of(name), Held(*count, 1_000 + i64::from(*count)))).collect(),
    }
}

fn part(presence: Presence, index: u32, of: u32) -> Presence {
    let total = presence.total.filter(|_| index + 1 == of);
    Presence { part: Some(Part { index, of }), total, ..presence }
}

#[test]
fn asks_a_stranger_for_everything_once_in_a_while() {
    let (mut peers, now) = (peers(), Instant::now());
    assert_eq!(peers.hear(said(1, 7, &[], (1, 2)), now), Heard::Ask(Boot(1)));
    assert_eq!(peers.hear(said(1, 8, &[], (1, 2)), now), Heard::Taken, "it was asked just now");
    assert_eq!(peers.hear(said(1, 9, &[], (1, 2)), now + PAUSE), Heard::Ask(Boot(1)));
    assert_eq!(peers.hear(part(said(1, 9, &[("a", 2)], (1, 2)), 0, 1), now + PAUSE), Heard::Taken);
    assert_eq!(peers.hear(said(1, 10, &[("a", 0)], (0, 0)), now + 3 * PAUSE), Heard::Taken);
    assert_eq!((peers.count(Key::of("a")), peers.connections(), peers.len()), (0, 100, 1));
}

#[test]
fn a_lost_presence_is_found_by_its_number_and_a_wrong_sum_by_itself() {
    let (mut peers, now) = (peers(), Instant::now());
    peers.hear(part(said(1, 1, &[("a", 2)], (1, 2)), 0, 1), now);
    assert_eq!(peers.hear(said(1, 2, &[("b", 1)], (2, 3)), now), Heard::Taken);
    assert_eq!(peers.hear(said(1, 4, &[], (2, 3)), now), Heard::Ask(Boot(1)), "3 is missing");
    assert_eq!(peers.count(Key::of("a")), 2, "what is known is used meanwhile");
    let later = now + PAUSE;
    assert_eq!(peers.hear(part(said(1, 4, &[("a", 5)], (1, 5)), 0, 1), later), Heard::Taken);
    assert_eq!((peers.count(Key::of("a")), peers.count(Key::of("b"))), (5, 0));
    assert_eq!(peers.hear(said(1, 5, &[], (1, 6)), later), Heard::Ask(Boot(1)), "the sum is wrong");
}

#[test]
fn what_everything_overtook_is_not_taken_back() {
    let (mut peers, now) = (peers(), Instant::now());
    peers.hear(part(said(1, 5, &[("a", 3)], (1, 3)), 0, 1), now);
    assert_eq!(peers.hear(said(1, 5, &[("a", 1)], (1, 1)), now), Heard::Taken);
    assert_eq!(peers.count(Key::of("a")), 3);
}

#[test]
fn parts_count_only_together_and_in_order() {
    let (mut peers, now) = (peers(), Instant::now());
    peers.hear(said(1, 1, &[], (0, 0)), now);
    let parts = |n| [part(said(1, n, &[("a", 1)], (2, 2)), 0, 2), part(said(1, n, &[("b", 1)], (2, 2)), 1, 2)];
    let [_, second] = parts(1);
    peers.hear(second.clone(), now);
    assert_eq!(peers.count(Key::of("b")), 0, "the first is missing");
    let [first, _] = parts(1);
    peers.hear(first, now);
    let [_, other] = parts(2);
    peers.hear(other, now);
    peers.hear(second, now);
    assert_eq!(peers.count(Key::of("a")) + peers.count(Key::of("b")), 0, "another everything came between");
    for part in parts(1) {
        peers.hear(part, now);
    }
    assert_eq!(peers.count(Key::of("a")) + peers.count(Key::of("b")), 2);
}

#[test]
fn the_silent_and_those_who_say_goodbye_are_not_counted() {
    let (mut peers, now) = (peers(), Instant::now());
    for boot in 1..=3 {
        peers.hear(part(said(boot, 1, &[("a", 1)], (1, 1)), 0, 1), now);
    }
    assert_eq!(peers.count(Key::of("a")), 3);
    assert!(peers.part_from(&Bye { gateway: Name::of("pod", 1), boot: Boot(1) }));
    assert!(!peers.part_from(&Bye { gateway: Name::of("other", 1), boot: Boot(2) }));
    peers.hear(said(3, 2, &[], (1, 1)), now + TIMEOUT / 2);
    assert_eq!(peers.drop_silent(now + TIMEOUT), [Name::of("pod", 1)]);
    assert_eq!((peers.count(Key::of("a")), peers.connections()), (1, 100));
    assert_eq!(peers.boots(), [Boot(3)]);
}

#[test]
fn a_process_that_came_back_is_another_one() {
    let (mut peers, now) = (peers(), Instant::now());
    peers.hear(part(said(1, 900, &[("a", 1)], (1, 1)), 0, 1), now);
    assert_eq!(peers.hear(said(2, 1, &[], (0, 0)), now), Heard::Ask(Boot(2)), "its numbers begin anew");
    peers.drop_silent(now + TIMEOUT);
    assert_eq!(peers.count(Key::of("a")), 0, "what the old one had is gone when it is silent");
}

#[test]
fn knows_who_has_the_oldest_and_what_is_to_be_closed() {
    let (mut peers, now) = (peers(), Instant::now());
    peers.hear(part(said(1, 1, &[("a", 2)], (1, 2)), 0, 1), now);
    peers.hear(part(said(2, 1, &[("a", 1)], (1, 1)), 0, 1), now);
    assert_eq!(peers.oldest(Key::of("a")), Some((Boot(2), 1_001)));
    peers.replaced(Boot(2), Key::of("a"), now);
    assert_eq!(peers.oldest(Key::of("a")), Some((Boot(1), 1_002)));
    assert_eq!(peers.count(Key::of("a")), 2);
    peers.hear(said(2, 2, &[("a", 1)], (1, 1)), now);
    assert_eq!(peers.count(Key::of("a")), 3, "what a gateway says itself counts again");
}

/// Attack: gossip of gateways that do not exist, with users that do not exist.
#[test]
fn remembers_no_more_than_there_is_room_for() {
    let (mut peers, now) = (peers(), Instant::now());
    for boot in 0..5_000 {
        peers.hear(said(boot, 1, &[], (0, 0)), now);
    }
    assert_eq!(peers.len(), MAX_PEERS);
    assert_eq!(peers.hear(said(5_000, 1, &[], (0, 0)), now), Heard::Ignored);
    assert_eq!(peers.hear(said(1, 2, &[], (0, 0)), now), Heard::Taken, "those who are known go on");

    let mut peers = Peers { max_users: 3, max_users_in_all: 4, ..Peers::new(PAUSE, TIMEOUT) };
    let names: Vec<String> = (0..9).map(|i| i.to_string()).collect();
    let users: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    peers.hear(said(1, 1, &users, (9, 9)), now);
    peers.hear(part(said(2, 1, &users, (9, 9)), 0, 1), now);
    peers.hear(said(3, 1, &users, (9, 9)), now);
    assert_eq!(peers.remembered(), 4);
    assert_eq!(peers.hear(said(2, 5, &users, (9, 9)), now + 5 * PAUSE), Heard::Taken, "it is not asked in vain");
    let said = Presence { connections: u64::MAX, ..said(4, 1, &[], (0, 0)) };
    peers.hear(said, now);
    assert!(peers.connections() <= 4 * MAX_CONNECTIONS);
}

/// Attack: messages that are well formed and make no sense.
#[test]
fn ignores_what_makes_no_sense() {
    let (mut peers, now) = (peers(), Instant::now());
    assert_eq!(peers.hear(part(said(1, 1, &[], (0, 0)), 3, 2), now), Heard::Ignored);
    assert_eq!(peers.hear(part(said(1, 1, &[], (0, 0)), 0, 0), now), Heard::Ignored);
    let names: Vec<String> = (0..=USERS_PER_MESSAGE).map(|i| i.to_string()).collect();
    let users: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(peers.hear(said(1, 1, &users, (1, 1)), now), Heard::Ignored);
    assert_eq!(peers.len(), 0);
    assert_eq!(peers.hear(said(1, u64::MAX, &[("a", u32::MAX)], (u64::MAX, u64::MAX)), now), Heard::Ask(Boot(1)));
    assert_eq!(peers.hear(part(said(1, u64::MAX, &[("a", u32::MAX)], (1, 1)), 0, 1), now), Heard::Taken);
    assert_eq!(peers.hear(said(1, 0, &[], (0, 0)), now + PAUSE), Heard::Ask(Boot(1)), "it never adds up");
}
