//! A strict limit on real servers.

use std::{collections::HashSet, sync::Arc, time::Instant};

use odin_devkit::NatsCluster;

use super::*;
use crate::config::Config;
use crate::control::node::{Node, in_time, jetstream, nats, provisioned, until};

fn strict(config: &mut Config) {
    // Fifty at once take their time where other tests run too.
    config.nats.request_timeout = Duration::from_secs(10);
    config.limits.strict_user_limit = true;
    config.limits.connections_per_user = Some(5);
}

/// 50 claims at once for 5 slots, from three gateways, three times over.
async fn claim_all(config: &Config) {
    let nodes = [1, 2, 3].map(|boot| Arc::new(Node::start(config, boot)));
    for node in &nodes {
        until("a connection", || node.cluster.link.connected().is_some()).await;
    }
    for round in 0..3 {
        let claims = (0..50).map(|i| {
            let node = nodes[i % 3].clone();
            tokio::spawn(async move { node.enter("alice").await })
        });
        let claims: Vec<_> = claims.collect();
        let mut seats = Vec::new();
        for claim in claims {
            seats.extend(claim.await.expect("no panic"));
        }
        assert_eq!(seats.len(), 5, "in round {round}");
        assert!(nodes[0].enter("bob").await.is_some(), "another user has slots of his own");
        drop(seats);
        // What was given back can be taken at once, wherever.
        let freed = || nodes.iter().all(|node| node.cluster.slots.lock().freed.is_empty());
        until("the slots to be given back", freed).await;
        let mut taken = Vec::new();
        in_time("five slots again", async {
            while taken.len() < 5 {
                taken.extend(nodes[taken.len() % 3].enter("alice").await);
            }
        })
        .await;
        drop(taken);
        until("the slots to be given back", freed).await;
        let slots = &nodes[0].cluster.slots;
        in_time("empty slots", async {
            while slots.taken(Key::of("alice")).await.is_ok_and(|taken| !taken.is_empty()) {}
        })
        .await;
    }
}

/// Checklist 43: one user with many connections at once, and a limit that holds to the letter.
#[tokio::test]
async fn slots_hold_to_the_letter() {
    let (_nats, config) = nats(strict).await;
    claim_all(&config).await;
}

/// The same where every message is agreed on by three servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_hold_to_the_letter_in_a_cluster() {
    let nats = NatsCluster::start(3).await.expect("a cluster");
    nats.wait_ready().await.expect("ready");
    let config = provisioned(nats.urls(), |config| {
        strict(config);
        config.stream.replicas = 3;
    })
    .await;
    claim_all(&config).await;
}

#[tokio::test]
async fn nobody_comes_in_where_the_leader_cannot_be_asked() {
    let (mut nats, config) = nats(strict).await;
    let node = Node::ready(&config, 1).await;
    let seat = node.enter("alice").await.expect("a slot");
    nats.kill().await;
    assert!(node.enter("alice").await.is_none());
    drop(seat);
    let never = Node::start(
        &Config {
            nats: crate::config::Nats { urls: vec!["nats://127.0.0.1:1".into()], ..config.nats.clone() },
            ..config.clone()
        },
        2,
    );
    assert!(never.enter("alice").await.is_none());
    assert!(node.metrics.control.slot_errors.get() > 0);
}

#[tokio::test]
async fn a_claim_that_nobody_waits_for_any_more_is_given_back() {
    let (_nats, config) = nats(strict).await;
    let node = Node::ready(&config, 1).await;
    for _ in 0..20 {
        let mut entering = Box::pin(node.enter("alice"));
        // Begun, and dropped.
        assert!(futures_util::poll!(&mut entering).is_pending());
    }
    let mut seats = Vec::new();
    in_time("all five slots", async {
        while seats.len() < 5 {
            seats.extend(node.enter("alice").await);
        }
    })
    .await;
}

/// The only lease there is.
fn lease(slots: &Slots) -> (u64, Slot) {
    let state = slots.lock();
    let (seat, lease) = state.held.iter().next().expect("a lease");
    (*seat, lease.slot.clone())
}

async fn refresh_now(slots: &Slots) {
    for lease in slots.lock().held.values_mut() {
        lease.due_at = Instant::now();
    }
    slots.refresh_due().await;
}

#[tokio::test]
async fn a_refresh_finds_its_slot_again_or_closes_the_connection() {
    let (nats, config) = nats(strict).await;
    let node = Node::ready(&config, 1).await;
    let slots = &node.cluster.slots;
    let seat = node.enter("alice").await.expect("a slot");
    let first = lease(slots).1.seq;
    refresh_now(slots).await;
    let second = lease(slots).1.seq;
    assert!(second > first);

    // Stored, and the answer lost.
    slots.lock().held.values_mut().for_each(|lease| lease.slot.seq = first);
    refresh_now(slots).await;
    let third = lease(slots).1;
    assert!(third.seq > second);

    // Expired, and nobody has taken it.
    let stream = jetstream(&nats).await.get_stream(&config.control_stream.name).await.expect("the stream");
    stream.delete_message(third.seq).await.expect("deleted");
    refresh_now(slots).await;
    let fourth = lease(slots).1;
    assert!(fourth.seq > third.seq);
    assert_eq!(slots.taken(Key::of("alice")).await.expect("read").len(), 1);

    // Taken by another.
    let body = r#"{"holder":{"gateway":"other","boot":"00000009","mark":1}}"#;
    jetstream(&nats).await.publish(fourth.subject, body.into()).await.expect("sent").await.expect("stored");
    refresh_now(slots).await;
    let order = node.order().await;
    assert!(
        matches!(&order, Order::Replace { sub, seats } if &**sub == "alice" && **seats == [seat.number()]),
        "{order:?}"
    );
    assert!(slots.lock().held.is_empty());
    drop(seat);
    assert!(slots.lock().freed.is_empty(), "it is not ours to give back");
}

#[tokio::test]
async fn what_is_given_back_while_it_is_refreshed_is_free_afterwards() {
    let (_nats, config) = nats(strict).await;
    let node = Node::ready(&config, 1).await;
    let slots = &node.cluster.slots;
    let seat = node.enter("alice").await.expect("a slot");
    let (number, slot) = lease(slots);
    slots.lock().held.values_mut().for_each(|lease| lease.is_being_refreshed = true);
    drop(seat);
    let refreshed = slots.refresh(slot).await;
    slots.on_refreshed(number, refreshed);
    in_time("an empty slot", async {
        while slots.taken(Key::of("alice")).await.is_ok_and(|taken| taken.values().any(|(_, is_free)| !is_free)) {}
    })
    .await;
    assert!(slots.lock().held.is_empty());
}

/// Attack: a slot says nothing that a gateway wrote. It counts as free, so that nobody is locked out.
#[tokio::test]
async fn garbage_in_a_slot_does_not_take_it() {
    let (nats, config) = nats(strict).await;
    let node = Node::ready(&config, 1).await;
    let context = jetstream(&nats).await;
    let prefix = node.cluster.slots.subjects.slots(Key::of("alice"));
    for number in 0..5 {
        context.publish(format!("{prefix}{number}"), "garbage".into()).await.expect("sent").await.expect("stored");
    }
    let mut seats = Vec::new();
    for _ in 0..6 {
        seats.extend(node.enter("alice").await);
    }
    assert_eq!(seats.len(), 5);
    let subjects: HashSet<_> =
        node.cluster.slots.lock().held.values().map(|lease| lease.slot.subject.clone()).collect();
    assert_eq!(subjects.len(), 5);
}
