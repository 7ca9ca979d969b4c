//! Several gateways and a real NATS: what they know of each other, and what that is worth against limits.

use std::{sync::Arc, time::Duration};

use super::{
    Boot, Key, Name, Seen,
    words::{Answer, Ask, Bye, Hello, Presence, Replace, Total, USERS_PER_MESSAGE},
};
use crate::config::Overflow;
use crate::control::Order;
use crate::control::node::{Node, in_time, nats, until};
use crate::identity::{User, UserLimits};
use crate::queue::{Batch, Item};

fn nodes(config: &crate::config::Config) -> [Node; 3] {
    [1, 2, 3].map(|boot| Node::start(config, boot))
}

/// Waits until every node knows so many connections of the user on the others.
async fn all_know(nodes: &[&Node], sub: &str, counts: &[u32]) {
    for (node, count) in nodes.iter().zip(counts) {
        let key = Key::of(sub);
        until(&format!("{count} of {sub} elsewhere"), || node.cluster.peers().count(key) == *count).await;
    }
}

#[tokio::test]
async fn counts_converge_and_those_of_the_dead_are_dropped() {
    let (_nats, config) = nats(|_| {}).await;
    let [a, b, c] = nodes(&config);
    for (node, connections) in [(&a, 10), (&b, 20), (&c, 30)] {
        node.metrics.shards[0].connections.set(connections);
    }
    for node in [&a, &b, &c] {
        until("all connections", || node.cluster.connections() == 60).await;
        until("the gauges", || node.metrics.control.cluster_connections.get() == 60).await;
        assert_eq!((node.metrics.control.peers.get(), node.cluster.overview().len()), (2, 3));
    }
    let seats = [a.enter("alice").await, b.enter("alice").await, b.enter("alice").await];
    all_know(&[&a, &b, &c], "alice", &[2, 1, 3]).await;
    drop(seats);
    all_know(&[&a, &b, &c], "alice", &[0, 0, 0]).await;

    let seats = [c.enter("alice").await, c.enter("bob").await];
    all_know(&[&a, &b], "alice", &[1, 1]).await;
    c.kill();
    all_know(&[&a, &b], "alice", &[0, 0]).await;
    assert_eq!((a.cluster.connections(), b.metrics.control.peers.get()), (30, 1), "dropped, not forgotten to count");
    drop(seats);
    b.stop().await;
    until("the goodbye", || a.cluster.connections() == 10).await;
}

#[tokio::test]
async fn a_gateway_that_starts_learns_everything_in_parts() {
    let (_nats, config) = nats(|_| {}).await;
    let old = Node::start(&config, 1);
    let mut seats = Vec::new();
    for i in 0..2 * USERS_PER_MESSAGE + 7 {
        seats.push(old.enter(&i.to_string()).await.expect("no limit"));
    }
    let new = Node::start(&config, 2);
    let total = |node: &Node| node.cluster.peers().overview(std::time::Instant::now()).first().map(|peer| peer.users);
    until("everything", || total(&new) == Some(seats.len() as u64)).await;
    assert_eq!(new.cluster.peers().count(Key::of("7006")), 1);
    seats.truncate(3);
    until("the rest", || total(&new) == Some(3)).await;
    assert_eq!(new.metrics.control.gossip_ignored.get(), 0);
}

/// Checklist 43: one user with connections to many gateways.
#[tokio::test]
async fn a_user_is_refused_at_the_limit_of_all_gateways() {
    let (_nats, config) = nats(|config| config.limits.connections_per_user = Some(2)).await;
    let [a, b, c] = nodes(&config);
    let (first, second) = (a.enter("alice").await.expect("one"), b.enter("alice").await.expect("two"));
    all_know(&[&a, &b, &c], "alice", &[1, 1, 2]).await;
    for node in [&a, &b, &c] {
        assert!(node.enter("alice").await.is_none());
    }
    assert!(c.enter("bob").await.is_some());
    let limits = UserLimits { connections: Some(3), ..UserLimits::default() };
    let special = Arc::new(User { sub: "alice".to_owned(), limits, ..User::default() });
    assert!(c.cluster.enter(&special).await.is_ok(), "a limit of the user's own counts instead");
    drop((first, second));
    all_know(&[&c], "alice", &[0]).await;
    assert!(c.enter("alice").await.is_some());
}

#[tokio::test]
async fn a_limit_that_is_changed_counts_from_then_on() {
    let (_nats, mut config) = nats(|_| {}).await;
    let node = Node::start(&config, 1);
    let _seats = [node.enter("alice").await, node.enter("alice").await];
    config.limits.connections_per_user = Some(2);
    node.current.send_replace(Arc::new(crate::current::Current::of(config)));
    assert!(node.enter("alice").await.is_none());
}

fn seats_of(order: &Order) -> Vec<u64> {
    match order {
        Order::Replace { sub, seats } if &**sub == "alice" => seats.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Checklist 43: the other policy.
#[tokio::test]
async fn the_oldest_connection_makes_room_wherever_it_is() {
    let (_nats, config) = nats(|config| {
        config.limits.connections_per_user = Some(2);
        config.limits.user_overflow = Overflow::Replace;
    })
    .await;
    let [a, b, c] = nodes(&config);
    let first = a.enter("alice").await.expect("one");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let second = b.enter("alice").await.expect("two");
    all_know(&[&a, &b, &c], "alice", &[1, 1, 2]).await;

    let third = c.enter("alice").await.expect("let in");
    assert_eq!(seats_of(&a.order().await), [first.number()]);
    drop(first);
    all_know(&[&a, &b, &c], "alice", &[2, 1, 1]).await;

    let fourth = b.enter("alice").await.expect("let in");
    assert_eq!(seats_of(&b.order().await), [second.number()], "the older one here, and never the one that came");
    drop((second, third, fourth));
    all_know(&[&a], "alice", &[0]).await;
    // Two at once, before anybody has heard of either.
    let _fifth = (c.enter("alice").await, c.enter("alice").await);
    all_know(&[&a], "alice", &[2]).await;
    let _sixth = (a.enter("alice").await, a.enter("alice").await);
    let mut closed = Vec::new();
    while closed.len() < 2 {
        closed.extend(c.orders().await.iter().flat_map(seats_of));
    }
    assert_eq!(closed.len(), 2, "one for each that came");
}

/// Answers what shards are asked, with one connection.
async fn answer_lists(node: &Node) {
    loop {
        node.inbox.filled().await;
        let mut batch = Batch::default();
        node.inbox.take(&mut batch);
        for item in batch.items {
            let Item::Order(order) = item else {
                continue;
            };
            if let Order::List { sub, limit, reply } = &*order {
                assert!(*limit > 0);
                let seen = Seen {
                    connection_id: format!("{sub}-1"),
                    ip: std::net::Ipv4Addr::LOCALHOST.into(),
                    since_ms: 5,
                    channels: 7,
                    token_id: Some("t".to_owned()),
                };
                let _ = reply.try_send(vec![seen]);
            }
        }
    }
}

#[tokio::test]
async fn connections_of_a_user_are_asked_of_all_gateways() {
    let (_nats, config) = nats(|_| {}).await;
    let [a, b, c] = nodes(&config);
    for node in [&a, &b, &c] {
        until("the others", || node.metrics.control.peers.get() == 2).await;
    }
    let found = tokio::select! {
        found = a.cluster.connections_of("a/b c") => found,
        () = async { tokio::join!(answer_lists(&a), answer_lists(&b), answer_lists(&c)); } => unreachable!("for ever"),
    };
    let mut boots: Vec<_> = found.connections.iter().map(|(_, boot, _)| boot.0).collect();
    boots.sort_unstable();
    assert!(found.is_complete && boots == [1, 2, 3], "{found:?}");
    assert!(found.connections.iter().all(|(_, _, seen)| seen.connection_id == "a/b c-1" && seen.channels == 7));

    // One whose shards do not answer.
    let found = tokio::select! {
        found = a.cluster.connections_of("bob") => found,
        () = async { tokio::join!(answer_lists(&a), answer_lists(&b)); } => unreachable!("for ever"),
    };
    assert!(!found.is_complete && found.connections.len() == 2, "{found:?}");
}

/// Attack: whoever may publish below `cluster.subject` sends garbage, poses as this gateway, or asks without end.
#[tokio::test]
async fn hostile_gossip_is_counted_and_changes_nothing() {
    let (nats, config) = nats(|config| config.limits.connections_per_user = Some(1)).await;
    let node = Node::start(&config, 1);
    let peer = Node::start(&config, 2);
    until("the other", || node.metrics.control.peers.get() == 1).await;
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let json = |words: &dyn erased::Words| words.text();
    let me = (Name::of("node", 1), Boot(1));
    let forged = Presence {
        gateway: me.0.clone(),
        boot: me.1,
        n: u64::MAX,
        connections: u64::MAX,
        total: Some(Total { users: u64::MAX, connections: u64::MAX }),
        part: None,
        users: [(Key::of("alice"), super::words::Held(u32::MAX, 0))].into(),
    };
    let long = "x".repeat(2_000);
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("presence", Vec::new()),
        ("presence", vec![0xff; 1_000]),
        ("presence", "[".repeat(100_000).into_bytes()),
        ("presence", vec![b' '; 600 * 1024]),
        ("presence", br#"{"gateway":"a b","boot":"00000003","n":1,"connections":1,"users":{}}"#.to_vec()),
        ("presence", br#"{"gateway":"a","boot":"3","n":1,"connections":1,"users":{}}"#.to_vec()),
        ("presence", br#"{"gateway":"a","boot":"00000003","n":-1,"connections":1,"users":{}}"#.to_vec()),
        ("presence", br#"{"gateway":"a","boot":"00000003","n":1,"connections":1,"users":{"alice":[1,1]}}"#.to_vec()),
        ("presence", json(&forged)),
        ("to.00000001.everything", json(&forged)),
        ("hello", json(&Hello { boot: me.1, to: None })),
        ("hello", br#"{"boot":"odin.tokens.BTC.price"}"#.to_vec()),
        ("bye", json(&Bye { gateway: me.0.clone(), boot: me.1 })),
        ("ask", json(&Ask { boot: me.1, id: 1, sub: "alice".into() })),
        ("ask", json(&Ask { boot: Boot(9), id: 1, sub: long.as_str().into() })),
        (
            "to.00000001.answer",
            json(&Answer { gateway: me.0.clone(), boot: Boot(9), id: 1, connections: Vec::new(), is_complete: true }),
        ),
        ("to.00000001.replace", json(&Replace { sub: long.as_str().into(), count: 1 })),
        ("whatever", b"{}".to_vec()),
    ];
    let count = attacks.len() as u64;
    for (subject, words) in attacks {
        client.publish(format!("odingossip.{subject}"), words.into()).await.expect("sent");
    }
    until("all of them to be counted", || node.metrics.control.gossip_ignored.get() == count).await;
    // A flood of questions is answered as far as it does no harm.
    for boot in 100..1_100 {
        client.publish("odingossip.hello", json(&Hello { boot: Boot(boot), to: None }).into()).await.expect("sent");
        let ask = Ask { boot: Boot(boot), id: 1, sub: "alice".into() };
        client.publish("odingossip.ask", json(&ask).into()).await.expect("sent");
    }
    let harmless = Replace { sub: "alice".into(), count: u32::MAX };
    client.publish("odingossip.to.00000001.replace", json(&harmless).into()).await.expect("sent");
    client.flush().await.expect("flushed");
    peer.metrics.shards[0].connections.set(5);
    until("what the others really have", || node.cluster.connections() == 5).await;
    let seat = in_time("a seat", node.enter("alice")).await;
    assert!(seat.is_some(), "nobody else has one");
    assert_eq!(node.metrics.control.peers.get(), 1);
}

/// Words of any kind as they travel.
mod erased {
    pub(super) trait Words {
        fn text(&self) -> Vec<u8>;
    }

    impl<T: serde::Serialize> Words for T {
        fn text(&self) -> Vec<u8> {
            serde_json::to_vec(self).expect("json")
        }
    }
}
