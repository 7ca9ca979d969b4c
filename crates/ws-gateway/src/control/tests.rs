//! Orders and revocations from an operator to the shards of every gateway, through a real stream.

use crate::clock::now_ms;
use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use tokio::sync::watch;

use super::{
    LogState, Order, Revocation, RevocationId, combine,
    node::{Node, in_time, jetstream, nats, until, user},
    record::{Record, Subjects},
};
use crate::{
    admin::{NotReady, Readiness},
    bus::direct_get,
    cluster::Key,
    config::{Config, Secret},
    current::Current,
    identity::User,
    provision::provision,
};

fn revoked(sub: &str) -> Revocation {
    Revocation::User { sub: sub.into(), issued_before_ms: None }
}

fn subject(config: &Config, id: RevocationId) -> String {
    Subjects::of(config).revocation(id)
}

/// Checklist 19: a gateway that starts knows who was revoked before it lets anybody in.
#[tokio::test]
async fn a_revocation_is_known_to_a_fresh_gateway_before_it_is_ready() {
    let (_nats, config) = nats(|_| {}).await;
    let [first, second] = [Node::ready(&config, 1).await, Node::ready(&config, 2).await];
    let token = Revocation::Token { id: "token-1".into() };
    first.orders.revoke(&revoked("alice"), None).await.expect("stored");
    first.orders.revoke(&token, Some(Duration::from_secs(60))).await.expect("stored");

    let fresh = Node::ready(&config, 3).await;
    assert!(fresh.revocations.cover(&user("alice")) && !fresh.revocations.cover(&user("bob")));
    let bearer = User { token_id: Some("token-1".to_owned()), ..(*user("bob")).clone() };
    assert!(fresh.revocations.cover(&bearer));
    let until_ms = fresh.revocations.get(token.id()).expect("in force").until_ms;
    assert!((30_000..=60_000).contains(&(until_ms - now_ms())), "{until_ms}");
    // Those that run hear of it too.
    until("revocations elsewhere", || second.revocations.cover(&user("alice"))).await;
}

/// The same where every other answer comes from a replica that has nothing, which a mirror of other subjects is.
#[tokio::test]
async fn a_replica_that_lags_hides_no_revocation() {
    let (nats, config) = nats(|_| {}).await;
    let name = config.control_stream.name.clone();
    let behind = stream::Config {
        name: "BEHIND".to_owned(),
        mirror: Some(stream::Source {
            name: name.clone(),
            filter_subject: Some("odinctl.slot.>".to_owned()),
            ..stream::Source::default()
        }),
        mirror_direct: true,
        allow_direct: true,
        ..stream::Config::default()
    };
    let context = jetstream(&nats).await;
    context.create_stream(behind).await.expect("a mirror");
    // It answers once it has something.
    context.publish("odinctl.slot.x.0", "{}".into()).await.expect("sent").await.expect("stored");
    let old = Node::ready(&config, 1).await;
    old.orders.revoke(&revoked("alice"), None).await.expect("stored");
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    in_time("the mirror to answer", async {
        let request = r#"{"seq":1,"next_by_subj":"odinctl.log.>","batch":1}"#;
        while direct_get(&client, &name, "test", request).await.is_ok() {}
    })
    .await;
    for boot in 2..20 {
        let fresh = Node::ready(&config, boot).await;
        assert!(fresh.revocations.cover(&user("alice")), "gateway {boot} does not know");
    }
    old.orders.disconnect("bob").await.expect("stored");
    in_time("an order", async {
        while !old.orders().await.iter().any(|order| matches!(order, Order::Disconnect { .. })) {}
    })
    .await;
}

/// Checklist 19: shards are told when nobody can sign in with it any more.
#[tokio::test]
async fn shards_are_told_once_everybody_who_signs_in_is_refused() {
    let (_nats, config) = nats(|_| {}).await;
    let nodes = [Node::ready(&config, 1).await, Node::ready(&config, 2).await, Node::ready(&config, 3).await];
    nodes[0].orders.revoke(&revoked("alice"), None).await.expect("stored");
    for node in &nodes {
        let order = node.order().await;
        assert!(matches!(&order, Order::Revoke(revocation) if *revocation == revoked("alice")), "{order:?}");
        assert!(node.revocations.cover(&user("alice")));
    }
}

#[tokio::test]
async fn a_revocation_that_was_lifted_is_gone_everywhere_and_for_good() {
    let (_nats, config) = nats(|_| {}).await;
    let nodes = [Node::ready(&config, 1).await, Node::ready(&config, 2).await];
    let issued = nodes[0].orders.revoke(&revoked("alice"), None).await.expect("stored");
    let id: RevocationId = issued.id.parse().expect("its id");
    for node in &nodes {
        until("the revocation", || node.revocations.get(id).is_some()).await;
    }
    nodes[1].orders.lift(id).await.expect("stored");
    for node in &nodes {
        until("its end", || !node.revocations.cover(&user("alice"))).await;
    }
    assert!(!Node::ready(&config, 3).await.revocations.cover(&user("alice")));
}

#[tokio::test]
async fn many_revocations_are_looked_for_together() {
    let (nats, config) = nats(|_| {}).await;
    let context = jetstream(&nats).await;
    for i in 0..600 {
        let revocation = revoked(&i.to_string());
        let body = Record::of(&revocation, now_ms() + 60_000).body();
        context.publish(subject(&config, revocation.id()), body.into()).await.expect("sent").await.expect("stored");
    }
    let node = Node::ready(&config, 1).await;
    assert!((0..600).all(|i| node.revocations.cover(&user(&i.to_string()))));
    let orders = node.orders().await;
    assert!(orders.len() == 3 && orders.iter().all(|order| matches!(order, Order::Review)), "{orders:?}");
}

#[tokio::test]
async fn an_order_is_carried_out_once_and_never_by_a_process_that_came_later() {
    let (_nats, config) = nats(|_| {}).await;
    let old = Node::ready(&config, 1).await;
    old.orders.disconnect("alice").await.expect("stored");
    assert!(matches!(old.order().await, Order::Disconnect { sub } if &*sub == "alice"));

    let new = Node::ready(&config, 2).await;
    new.orders.notify(Some("bob"), "hello").await.expect("stored");
    new.orders.notify(None, "good night").await.expect("stored");
    for node in [&old, &new] {
        let mut notices = Vec::new();
        while notices.len() < 2 {
            for order in node.orders().await {
                let Order::Notice { sub, message } = order else {
                    panic!("{order:?}");
                };
                notices.push((sub.as_deref().map(str::to_owned), message.to_string()));
            }
        }
        let wanted = [(Some("bob".to_owned()), "hello".to_owned()), (None, "good night".to_owned())];
        assert_eq!(notices, wanted, "in the order of the stream, and without the disconnect of before");
    }
}

/// Checklist 47: the stream is deleted and created anew, so that its sequences begin again.
#[tokio::test]
async fn the_log_survives_that_its_stream_is_created_anew() {
    let (nats, config) = nats(|_| {}).await;
    let node = Node::ready(&config, 1).await;
    for i in 0..5 {
        node.orders.revoke(&revoked(&format!("old-{i}")), None).await.expect("stored");
    }
    until("the old ones", || node.revocations.cover(&user("old-4"))).await;
    jetstream(&nats).await.delete_stream(&config.control_stream.name).await.expect("deleted");
    until("the loss", || node.metrics.control.control_lost.get() == 1).await;
    assert_eq!(*node.log.borrow(), LogState::Read, "it stays ready");
    assert!(node.orders.revoke(&revoked("lost"), None).await.is_err());
    provision(&config, false).await.expect("created");
    until("the end of the loss", || node.metrics.control.control_lost.get() == 0).await;

    let issued = node.orders.revoke(&revoked("new"), None).await.expect("stored");
    assert_eq!(issued.seq, 1);
    until("the new one", || node.revocations.cover(&user("new"))).await;
    assert!(node.revocations.cover(&user("old-0")), "what was revoked stays revoked");
    node.orders.disconnect("alice").await.expect("stored");
    in_time("an order of the new stream", async {
        while !node.orders().await.iter().any(|order| matches!(order, Order::Disconnect { .. })) {}
    })
    .await;
}

/// Checklist 45: NATS goes and comes back.
#[tokio::test]
async fn what_was_ordered_while_nats_was_away_is_read_when_it_is_back() {
    let (mut nats, config) = nats(|_| {}).await;
    let node = Node::ready(&config, 1).await;
    nats.kill().await;
    until("the loss", || node.metrics.control.control_lost.get() == 1).await;
    assert!(node.orders.disconnect("alice").await.is_err());
    nats.restart().await.expect("started again");
    let context = jetstream(&nats).await;
    let body = Record::of(&revoked("alice"), now_ms() + 60_000).body();
    in_time("the stream", async {
        let subject = subject(&config, revoked("alice").id());
        while context.publish(subject.clone(), body.clone().into()).await.expect("sent").await.is_err() {}
    })
    .await;
    until("the revocation", || node.revocations.cover(&user("alice"))).await;
    until("the end of the loss", || node.metrics.control.control_lost.get() == 0).await;
}

/// Attack: whoever may write to the control stream writes garbage, or something on a subject of somebody else.
#[tokio::test]
async fn garbage_in_the_control_stream_is_counted_and_read_over() {
    let (nats, config) = nats(|_| {}).await;
    let node = Node::ready(&config, 1).await;
    let context = jetstream(&nats).await;
    let body = Record::of(&revoked("alice"), i64::MAX).body();
    let messages = [
        (subject(&config, RevocationId::User(Key::of("bob"))), body.clone()),
        (subject(&config, RevocationId::Token(Key::of("alice"))), body.clone()),
        (subject(&config, revoked("alice").id()), br#"{"type":"disconnect","sub":"alice"}"#.to_vec()),
        ("odinctl.log.once.x".to_owned(), body),
        ("odinctl.log.once.y".to_owned(), vec![0xff; 60_000]),
        ("odinctl.log.reboot".to_owned(), b"{}".to_vec()),
    ];
    let count = messages.len() as u64;
    for (subject, body) in messages {
        context.publish(subject, body.into()).await.expect("sent").await.expect("stored");
    }
    node.orders.notify(None, "still here").await.expect("stored");
    assert!(matches!(node.order().await, Order::Notice { .. }));
    assert_eq!(node.metrics.control.control_ignored.get(), count);
    assert!(!node.revocations.cover(&user("alice")) && !node.revocations.cover(&user("bob")));
}

/// Attack: a live message that the stream never stored.
#[tokio::test]
async fn what_only_looks_like_a_message_of_the_stream_is_not_obeyed() {
    let (nats, config) = nats(|_| {}).await;
    let node = Node::ready(&config, 1).await;
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let body = Record::Disconnect { sub: "alice".into() }.body();
    client.publish("live.odinctl.log.once.z", body.into()).await.expect("sent");
    client.flush().await.expect("flushed");
    node.orders.notify(None, "the next one").await.expect("stored");
    assert!(matches!(node.order().await, Order::Notice { .. }));
}

#[tokio::test]
async fn says_why_it_cannot_know_who_is_revoked() {
    let (nats, config) = nats(|_| {}).await;
    jetstream(&nats).await.delete_stream(&config.control_stream.name).await.expect("deleted");
    let mut node = Node::start(&config, 1);
    let missing = node.log.wait_for(|state| *state == LogState::Unread(NotReady::ControlMissing));
    in_time("the reason", missing).await.expect("it goes on");
    provision(&config, false).await.expect("created");
    node.is_read().await;
}

#[tokio::test]
async fn is_ready_when_the_bus_is_and_revocations_are_known_where_they_matter() {
    let (bus, bus_says) = watch::channel(Readiness::NotReady(NotReady::Starting));
    let (log, log_says) = watch::channel(LogState::Unread(NotReady::ControlUnread));
    let mut config = Config::default();
    config.auth.hs256_secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    let (current, currents) = watch::channel(Arc::new(Current::of(config)));
    let (all, mut word) = watch::channel(Readiness::NotReady(NotReady::Starting));
    let task = tokio::spawn(combine(bus_says, log_says, currents, all.clone()));
    let mut becomes = async |wanted| {
        in_time("the word", word.wait_for(|word| *word == wanted)).await.expect("it goes on");
    };
    bus.send_replace(Readiness::Ready);
    becomes(Readiness::NotReady(NotReady::ControlUnread)).await;
    log.send_replace(LogState::Unread(NotReady::ControlMissing));
    becomes(Readiness::NotReady(NotReady::ControlMissing)).await;
    current.send_replace(Arc::new(Current::of(Config::default())));
    becomes(Readiness::Ready).await;
    bus.send_replace(Readiness::NotReady(NotReady::StreamSilent));
    becomes(Readiness::NotReady(NotReady::StreamSilent)).await;
    log.send_replace(LogState::Read);
    bus.send_replace(Readiness::Ready);
    becomes(Readiness::Ready).await;
    all.send_replace(Readiness::NotReady(NotReady::Draining));
    bus.send_replace(Readiness::NotReady(NotReady::NatsDisconnected));
    drop(bus);
    in_time("the end", task).await.expect("no panic");
    assert_eq!(*word.borrow(), Readiness::NotReady(NotReady::Draining), "the word of a drain stands");
}
