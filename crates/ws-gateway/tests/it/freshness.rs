//! Up to where what a client has is complete, how it learns that it may be old, and that nothing stays lost.

use std::time::Duration;

use odin_devkit::NatsCluster;
use odin_protocol::{
    Cursor, Mode, ServerMessage,
    error::StaleReason,
    message::{ChannelRequest, RequestId},
};
use ws_gateway::{config::Config, provision::provision, rules::Rules};

use crate::support::{Chains, Client, Feeder, Gateway, Odin, Received, Wired, config, until, with_rules};

fn often(config: &mut Config) {
    config.feeds.audit_interval = Duration::from_millis(200);
    config.feeds.audit_quiet_interval = Duration::from_millis(200);
    config.feeds.checkpoint_interval = Duration::from_secs(1);
}

#[tokio::test]
async fn finds_what_was_lost_without_a_sign_although_nothing_follows() {
    let wired = Wired::start_with(often).await;
    let mut exact = wired.client().await;
    exact.subscribe_all(&["price:BTC"]).await;
    let mut pattern = wired.client().await;
    pattern.subscribe_all(&["price:*"]).await;
    let first = wired.publisher.price("BTC", 0).await;
    for client in [&mut exact, &mut pattern] {
        assert_eq!(client.update().await.seq, first);
    }
    // Both feeds lose theirs, and nobody publishes again: no chain shows it.
    wired.proxy.lose(6);
    let lost = wired.publisher.prices("BTC", 1, 3, 0).await;
    until("six losses", async || (wired.proxy.lost() == 6).then_some(())).await;
    for client in [&mut exact, &mut pattern] {
        for seq in &lost {
            assert_eq!(client.update().await.seq, *seq);
        }
        assert!(client.sync(9).await.is_empty(), "none came twice");
    }
    assert!(wired.gateway.metric("odin_gateway_audit_repairs_total").await >= 2);
}

#[tokio::test]
async fn repairs_nothing_while_nothing_is_lost() {
    let odin = Odin::start_with(often).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let publisher = odin.publisher.clone();
    let rain = tokio::spawn(async move {
        let message = |n: u64| (format!("odin.tokens.T{}.price", n % 20), format!(r#"{{"n":{n}}}"#));
        publisher.publish_all((0..3000).map(message).collect()).await
    });
    for _ in 0..3000 {
        client.update().await;
    }
    rain.await.expect("no panic");
    let audits = odin.gateway.metric("odin_gateway_audits_total").await;
    odin.gateway.metric_reaches("odin_gateway_audits_total", audits + 3).await;
    assert_eq!(odin.gateway.metric("odin_gateway_audit_repairs_total").await, 0);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn tells_its_position_to_clients_of_patterns() {
    let odin = Odin::start_with(often).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let mut last = 0;
    let mut positions = Vec::new();
    while positions.len() < 3 {
        last = odin.publisher.price("BTC", 1).await;
        match client.next().await {
            Received::Message(ServerMessage::Checkpoint { cursor }) => positions.push(cursor),
            Received::Message(_) | Received::Ping(_) | Received::Pong(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    let parsed: Vec<Cursor> = positions.iter().map(|text| text.parse().expect("a cursor")).collect();
    assert!(parsed.windows(2).all(|two| two[0].seq <= two[1].seq), "forwards: {parsed:?}");
    assert!(parsed[0].seq < parsed[2].seq && parsed[2].seq <= last + 10);
    // Each is a position that any gateway takes.
    let other = odin.another_gateway().await;
    for position in positions {
        let mut client = Client::connect(&other).await;
        let request =
            ChannelRequest { mode: Some(Mode::All), since: Some(position), ..ChannelRequest::from("price:*") };
        client.ask_with(1, vec![request]).await;
        match client.message().await {
            ServerMessage::Subscribed { id: Some(RequestId::Number(1)), recovered, reason, .. } => {
                assert!(recovered, "{reason:?}");
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Whoever subscribes in its first second and leaves can come back, to any gateway.
#[tokio::test]
async fn knows_a_position_as_soon_as_it_is_ready() {
    let odin = Odin::start().await;
    has_a_position(&odin.gateway).await;
    for _ in 0..3 {
        has_a_position(&odin.another_gateway().await).await;
    }
}

async fn has_a_position(gateway: &Gateway) {
    let mut client = Client::connect(gateway).await;
    client.ask_with(1, vec![ChannelRequest { mode: Some(Mode::All), ..ChannelRequest::from("price:*") }]).await;
    match client.message().await {
        ServerMessage::Subscribed { cursor: Some(cursor), .. } => assert!(cursor.parse::<Cursor>().is_ok()),
        other => panic!("a subscription with its position, not {other:?}"),
    }
}

#[tokio::test]
async fn tells_its_position_with_the_ping_to_clients_of_quiet_channels() {
    let odin = Odin::start_with(|config| {
        often(config);
        config.heartbeat.interval = Duration::from_secs(1);
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    loop {
        match client.next().await {
            Received::Message(ServerMessage::Checkpoint { cursor }) => {
                let cursor: Cursor = cursor.parse().expect("a cursor");
                assert!(cursor.seq > 0);
                return;
            }
            Received::Ping(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn says_stale_when_nats_is_gone_and_live_behind_everything_missed() {
    let wired = Wired::start_with(|config| {
        often(config);
        config.feeds.stale_after = Duration::ZERO;
    })
    .await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    wired.publisher.price("BTC", 0).await;
    chains.take(&client.update().await);
    wired.proxy.cut();
    match client.message().await {
        ServerMessage::Stale { channel: None, reason, since } => {
            assert_eq!(reason, Some(StaleReason::BusLost));
            assert!(since.is_some_and(|since| since > 1_700_000_000_000));
        }
        other => panic!("unexpected {other:?}"),
    }
    // Whoever comes meanwhile is told at once.
    let mut late = wired.client().await;
    match late.message().await {
        ServerMessage::Stale { channel: None, reason: Some(StaleReason::BusLost), .. } => {}
        other => panic!("unexpected {other:?}"),
    }
    let missed = wired.publisher.prices("BTC", 1, 500, 200).await;
    wired.proxy.mend();
    for seq in &missed {
        match client.message().await {
            ServerMessage::Update(update) => {
                assert_eq!(update.seq, *seq);
                chains.take(&update);
            }
            other => panic!("{other:?} before everything missed was sent"),
        }
    }
    for client in [&mut client, &mut late] {
        match client.message().await {
            ServerMessage::Live { channel: None } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    let seq = wired.publisher.price("BTC", 9).await;
    assert_eq!(client.update().await.seq, seq);
}

#[tokio::test]
async fn says_nothing_of_a_trouble_that_is_soon_over() {
    let wired = Wired::start_with(|config| {
        often(config);
        config.feeds.stale_after = Duration::from_secs(3600);
    })
    .await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    wired.proxy.cut();
    wired.gateway.not_ready("nats_disconnected").await;
    let missed = wired.publisher.prices("BTC", 1, 5, 0).await;
    wired.proxy.mend();
    wired.gateway.ready().await;
    for seq in missed {
        match client.message().await {
            ServerMessage::Update(update) => assert_eq!(update.seq, seq),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(client.sync(2).await.is_empty());
}

#[tokio::test]
async fn says_that_a_feed_is_silent_and_that_it_speaks_again() {
    let odin = Odin::start_with(|config| {
        let mut rule = Rules::default_sources().into_iter().find(|rule| rule.channel == "price:{token}").expect("one");
        rule.max_silence = Some("1s".to_owned());
        with_rules(config, vec![rule]);
    })
    .await;
    let first = odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC", "volume:BTC"]).await;
    assert_eq!(client.update().await.seq, first);
    let is_silent = |message: ServerMessage| match message {
        ServerMessage::Stale { channel, reason, since } => {
            assert_eq!((channel.as_deref(), reason), (Some("price:BTC"), Some(StaleReason::FeedSilent)));
            assert!(since.is_some());
        }
        other => panic!("unexpected {other:?}"),
    };
    is_silent(client.message().await);
    // Once is enough; and whoever comes now is told with the answer.
    let mut late = odin.client().await;
    late.subscribe(&["price:BTC"]).await;
    is_silent(late.message().await);
    assert_eq!(late.update().await.seq, first);
    let seq = odin.publisher.price("BTC", 2).await;
    for client in [&mut client, &mut late] {
        match client.message().await {
            ServerMessage::Update(update) => assert_eq!(update.seq, seq),
            other => panic!("unexpected {other:?}"),
        }
        match client.message().await {
            ServerMessage::Live { channel } => assert_eq!(channel.as_deref(), Some("price:BTC")),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn stays_ready_through_trouble_shorter_than_the_grace() {
    let wired = Wired::start_with(|config| config.nats.ready_grace = Duration::from_secs(3600)).await;
    wired.proxy.cut();
    wired.gateway.metric_becomes("odin_gateway_nats_connected", 0).await;
    assert_eq!(wired.gateway.get("/readyz").await.status, 200);
    wired.proxy.mend();
    wired.gateway.metric_becomes("odin_gateway_nats_connected", 1).await;
    assert_eq!(wired.gateway.get("/readyz").await.status, 200);
}

/// A node of NATS that is frozen keeps its sockets open and says nothing.
#[tokio::test]
async fn leaves_a_node_that_has_gone_deaf_for_another_one() {
    let mut cluster = NatsCluster::start(3).await.expect("a cluster");
    let mut config = config(&cluster.urls()[0]);
    config.nats.urls = cluster.urls().to_vec();
    config.stream.replicas = 3;
    often(&mut config);
    config.feeds.stale_after = Duration::ZERO;
    provision(&config, false).await.expect("streams");
    let leader = cluster.stream_leader(&config.stream.name).await.expect("a leader");
    // First on a follower, so that the stream goes on while that one is frozen.
    let frozen = (leader + 1) % 3;
    let mut urls = vec![cluster.urls()[frozen].clone()];
    urls.extend(cluster.urls().iter().filter(|url| **url != urls[0]).cloned().collect::<Vec<_>>());
    let others = urls.split_off(1);
    config.nats.urls = urls;
    let gateway = Gateway::start(config);
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:BTC"]).await;
    let publisher = Feeder::connect(others).await;
    let first = publisher.price("BTC", 0).await;
    let mut chains = Chains::default();
    let update = client.update().await;
    assert_eq!(update.seq, first);
    chains.take(&update);
    cluster.node_mut(frozen).pause();
    let missed = publisher.prices("BTC", 1, 200, 100).await;
    for seq in &missed {
        let update = client.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
    assert!(gateway.metric("odin_gateway_nats_reconnects_total").await >= 1);
    until("live again", async || (gateway.metric("odin_gateway_stale").await == 0).then_some(())).await;
    cluster.node_mut(frozen).resume();
}
