//! NATS that is late, lossy, cut off, restarted, re-created.

use std::time::Duration;

use async_nats::jetstream::stream;
use odin_devkit::NatsServer;
use odin_protocol::{
    ServerMessage,
    error::{GapReason, ResumeFailure, StaleReason},
    message::RequestId,
};
use ws_gateway::{
    config::{Credentials, Secret},
    provision::provision,
};

use crate::support::{Canary, Chains, Client, Feeder, Gateway, Wired, config, until};

/// Reads exactly these, each the next link of its chain.
async fn reads(client: &mut Client, chains: &mut Chains, sequences: &[u64]) {
    for seq in sequences {
        let update = client.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
}

#[tokio::test]
async fn fills_a_hole_in_the_live_path_before_what_follows() {
    let wired = Wired::start().await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    let mut sequences = vec![wired.publisher.price("BTC", 0).await];
    reads(&mut client, &mut chains, &sequences).await;
    wired.proxy.lose(3);
    sequences = wired.publisher.prices("BTC", 1, 3, 0).await;
    until("three losses", async || (wired.proxy.lost() == 3).then_some(())).await;
    // The next one shows what is missing.
    sequences.extend(wired.publisher.prices("BTC", 4, 5, 0).await);
    reads(&mut client, &mut chains, &sequences).await;
    assert!(client.sync(2).await.is_empty(), "none came twice");
    assert!(wired.gateway.metric("odin_gateway_chain_gaps_total").await >= 1);
    assert!(wired.gateway.metric("odin_gateway_filled_messages_total").await >= 3);
}

#[tokio::test]
async fn fills_holes_of_a_pattern_without_holding_up_other_subjects() {
    let wired = Wired::start().await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:*"]).await;
    let mut chains = Chains::default();
    for token in ["A", "B", "C"] {
        let seq = wired.publisher.price(token, 0).await;
        reads(&mut client, &mut chains, &[seq]).await;
    }
    wired.proxy.lose(2);
    wired.publisher.price("A", 1).await;
    wired.publisher.price("B", 1).await;
    until("two losses", async || (wired.proxy.lost() == 2).then_some(())).await;
    let mut expected = 2;
    for round in 2..10 {
        for token in ["A", "B", "C"] {
            wired.publisher.price(token, round).await;
            expected += 1;
        }
    }
    for _ in 0..expected {
        chains.take(&client.update().await);
    }
    assert!(client.sync(2).await.is_empty());
}

#[tokio::test]
async fn shows_no_hole_to_a_reader_of_latest_either() {
    let wired = Wired::start().await;
    let mut client = wired.client().await;
    client.subscribe(&["price:BTC"]).await;
    let mut chains = Chains::default();
    let seq = wired.publisher.price("BTC", 0).await;
    reads(&mut client, &mut chains, &[seq]).await;
    wired.proxy.lose(1);
    wired.publisher.price("BTC", 1).await;
    until("a loss", async || (wired.proxy.lost() == 1).then_some(())).await;
    let newest = wired.publisher.price("BTC", 2).await;
    loop {
        let update = client.update().await;
        chains.take(&update);
        if update.seq == newest {
            break;
        }
    }
}

#[tokio::test]
async fn drops_what_the_wire_repeats() {
    let wired = Wired::start().await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    wired.proxy.repeat();
    let sequences = wired.publisher.prices("BTC", 1, 20, 0).await;
    reads(&mut client, &mut Chains::default(), &sequences).await;
    wired.gateway.metric_becomes("odin_gateway_duplicates_dropped_total", 20).await;
    assert!(client.sync(2).await.is_empty());
}

#[tokio::test]
async fn keeps_clients_while_nats_is_away_and_sends_what_they_missed_afterwards() {
    let wired = Wired::start().await;
    let mut all = wired.client().await;
    all.subscribe_all(&["price:BTC"]).await;
    let mut latest = wired.client().await;
    latest.subscribe(&["price:ETH"]).await;
    let mut pattern = wired.client().await;
    pattern.subscribe_all(&["price:*"]).await;
    let mut chains = [Chains::default(), Chains::default(), Chains::default()];
    let [of_all, of_latest, of_pattern] = &mut chains;
    for (token, client, chains) in [("BTC", &mut all, of_all), ("ETH", &mut latest, of_latest)] {
        let seq = wired.publisher.price(token, 0).await;
        reads(client, chains, &[seq]).await;
        reads(&mut pattern, of_pattern, &[seq]).await;
    }
    wired.proxy.cut();
    wired.gateway.not_ready("nats_disconnected").await;
    assert_eq!(wired.gateway.get("/livez").await.status, 200);
    let btc = wired.publisher.prices("BTC", 1, 50, 0).await;
    let eth = wired.publisher.prices("ETH", 1, 50, 0).await;
    let new = wired.publisher.prices("NEW", 1, 5, 0).await;
    for client in [&mut all, &mut latest, &mut pattern] {
        // Served as well as possible, and not told anything that is not so.
        for message in client.sync(2).await {
            assert!(matches!(message, ServerMessage::Stale { .. }), "{message:?}");
        }
    }
    wired.proxy.mend();
    let [of_all, of_latest, of_pattern] = &mut chains;
    reads(&mut all, of_all, &btc).await;
    while latest.update().await.seq != *eth.last().expect("some") {}
    let mut missed: Vec<u64> = Vec::new();
    while missed.len() < btc.len() + eth.len() + new.len() {
        let update = pattern.update().await;
        of_pattern.take(&update);
        missed.push(update.seq);
    }
    wired.gateway.ready().await;
    let seq = wired.publisher.price("BTC", 99).await;
    reads(&mut all, of_all, &[seq]).await;
    reads(&mut pattern, of_pattern, &[seq]).await;
    let seq = wired.publisher.price("ETH", 99).await;
    let update = latest.update().await;
    assert_eq!((update.seq, update.prev), (seq, eth.last().copied()));
    let _ = of_latest;
    for client in [&mut all, &mut latest] {
        for message in client.sync(3).await {
            assert!(matches!(message, ServerMessage::Live { .. }), "{message:?}");
        }
    }
    wired.gateway.metric_becomes("odin_gateway_nats_reconnects_total", 1).await;
    wired.gateway.metric_becomes("odin_gateway_connections", 3).await;
}

#[tokio::test]
async fn survives_a_restart_of_nats_without_loss_or_repetition() {
    let mut wired = Wired::start().await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    let seq = wired.publisher.price("BTC", 0).await;
    reads(&mut client, &mut chains, &[seq]).await;
    // Publishes across the whole outage, at its own pace.
    let publisher = wired.publisher.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let rain = tokio::spawn(async move {
        let mut sequences = Vec::new();
        while stopped.try_recv().is_err() {
            sequences.push(publisher.price("BTC", sequences.len() as u64).await);
        }
        sequences
    });
    chains.take(&client.update().await);
    wired.nats.kill().await;
    wired.gateway.not_ready("nats_disconnected").await;
    wired.nats.restart().await.expect("restarted");
    until("the second connection", async || {
        (wired.gateway.metric("odin_gateway_nats_reconnects_total").await >= 1).then_some(())
    })
    .await;
    wired.gateway.ready().await;
    stop.send(()).expect("raining");
    let mut sequences = rain.await.expect("no panic");
    // A last one, so that the chain shows a hole at the end too.
    sequences.push(wired.publisher.price("BTC", 0).await);
    reads(&mut client, &mut chains, &sequences[1..]).await;
    assert!(client.sync(2).await.iter().all(|message| matches!(message, ServerMessage::Live { .. })));
}

#[tokio::test]
async fn waits_for_nats_that_is_not_there_yet() {
    let mut nats = NatsServer::start().await.expect("a nats-server");
    let mut config = config(&nats.url());
    config.feeds.open_timeout = Duration::from_millis(300);
    // What the whole connection is told is another test's matter.
    config.feeds.stale_after = Duration::from_secs(3600);
    provision(&config, false).await.expect("streams");
    let publisher = Feeder::connect(vec![nats.url()]).await;
    let seq = publisher.price("BTC", 1).await;
    nats.kill().await;
    let gateway = Gateway::start(config);
    gateway.not_ready("nats_disconnected").await;
    assert_eq!(gateway.get("/livez").await.status, 200);
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.status.epoch, None);
    client.ask(5, &["price:BTC"]).await;
    // It hears that this takes longer, once, and stays.
    match client.message().await {
        ServerMessage::Stale { channel, reason, .. } => {
            assert_eq!(channel.as_deref(), Some("price:BTC"));
            assert!(matches!(reason, Some(StaleReason::Unverified | StaleReason::BusLost)), "{reason:?}");
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(client.sync(6).await.is_empty());
    nats.restart().await.expect("restarted");
    match client.message().await {
        ServerMessage::Subscribed { id, channel, .. } => {
            assert_eq!((id, &*channel), (Some(RequestId::Number(5)), "price:BTC"));
        }
        other => panic!("unexpected {other:?}"),
    }
    let update = client.update().await;
    assert_eq!((update.seq, update.snapshot), (seq, true));
    gateway.ready().await;
    let seq = publisher.price("BTC", 2).await;
    assert_eq!(client.update().await.seq, seq);
}

#[tokio::test]
async fn opens_a_feed_late_when_nats_was_frozen() {
    let wired = Wired::start_with(|config| {
        config.feeds.open_timeout = Duration::from_millis(300);
        config.nats.request_timeout = Duration::from_millis(500);
    })
    .await;
    let seq = wired.publisher.price("BTC", 1).await;
    let mut client = wired.client().await;
    wired.nats.pause();
    client.ask(1, &["price:BTC"]).await;
    // A machine that is slow may find the whole bus silent besides, and say so.
    let of_the_channel = async |client: &mut Client| loop {
        match client.message().await {
            ServerMessage::Stale { channel: None, .. } | ServerMessage::Live { channel: None } => {}
            message => return message,
        }
    };
    assert!(matches!(of_the_channel(&mut client).await, ServerMessage::Stale { channel: Some(_), .. }));
    wired.nats.resume();
    assert!(matches!(of_the_channel(&mut client).await, ServerMessage::Subscribed { id: Some(_), .. }));
    let update = client.update().await;
    assert_eq!((update.seq, update.snapshot), (seq, true));
}

#[tokio::test]
async fn says_why_it_is_not_ready_until_the_stream_is_there() {
    let nats = NatsServer::start().await.expect("a nats-server");
    let config = config(&nats.url());
    let gateway = Gateway::start(config.clone());
    gateway.not_ready("stream_missing").await;
    let mut client = Client::connect(&gateway).await;
    client.ask(1, &["price:BTC"]).await;
    provision(&config, false).await.expect("streams");
    gateway.ready().await;
    assert!(matches!(client.message().await, ServerMessage::Subscribed { .. }));
    let publisher = Feeder::connect(vec![nats.url()]).await;
    let seq = publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
}

/// Everything but Direct Get works: subscriptions would wait for ever.
#[tokio::test]
async fn is_not_ready_where_it_may_not_read_and_says_what_may_be_wrong() {
    let users = r#"authorization { users: [
        { user: operator, password: "operator-secret" }
        { user: gateway, password: "gateway-secret", permissions: { publish: { deny: ["$JS.API.DIRECT.GET.>"] } } }
    ] }"#;
    let nats = NatsServer::builder().extra_config(users).start().await.expect("a nats-server");
    let canary = Canary::new("stream");
    let mut config = config(&nats.url());
    config.stream.name = canary.word().to_owned();
    config.nats.request_timeout = Duration::from_millis(200);
    let user = |user: &str| Credentials::UserPassword {
        user: user.to_owned(),
        password: Secret::new(format!("{user}-secret")),
    };
    config.nats.credentials = user("operator");
    provision(&config, false).await.expect("streams");
    let allowed = Gateway::start(config.clone());
    config.nats.credentials = user("gateway");
    let gateway = Gateway::start(config);
    until("a warning", async || {
        canary.lines().iter().any(|line| line.contains("WARN") && line.contains("may this user ask")).then_some(())
    })
    .await;
    gateway.not_ready("starting").await;
    allowed.ready().await;
}

#[tokio::test]
async fn is_not_ready_with_a_stream_that_it_cannot_use() {
    let nats = NatsServer::start().await.expect("a nats-server");
    let config = config(&nats.url());
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.expect("a connection"));
    // Without republish and Direct Get.
    let useless = stream::Config {
        name: config.stream.name.clone(),
        subjects: config.stream.subjects.clone(),
        ..stream::Config::default()
    };
    context.create_stream(useless).await.expect("created");
    let gateway = Gateway::start(config);
    gateway.not_ready("stream_misconfigured").await;
}

#[tokio::test]
async fn begins_every_subscription_anew_when_the_stream_is_another_one() {
    let odin = crate::support::Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC", "price:ETH"]).await;
    let mut pattern = odin.client().await;
    pattern.subscribe(&["price:*"]).await;
    odin.publisher.prices("BTC", 1, 20, 0).await;
    let mut old = None;
    for _ in 0..20 {
        old = Some(client.update().await.epoch);
        pattern.update().await;
    }
    let context = odin.jetstream().await;
    context.delete_stream(&odin.config.stream.name).await.expect("deleted");
    provision(&odin.config, false).await.expect("streams");
    let seq = odin.publisher.price("BTC", 100).await;
    assert!(seq <= 20, "sequences begin again");
    let mut begun = Vec::new();
    let mut snapshots = Vec::new();
    while begun.len() < 2 || snapshots.is_empty() {
        match client.message().await {
            ServerMessage::Subscribed { id, channel, recovered, reason, .. } => {
                assert_eq!((id, recovered, reason), (None, false, Some(ResumeFailure::EpochChanged)));
                begun.push(channel);
            }
            ServerMessage::Update(update) => {
                assert!(begun.contains(&update.channel), "subscribed comes first");
                assert!(update.snapshot);
                snapshots.push(update);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    begun.sort();
    assert_eq!(begun, ["price:BTC", "price:ETH"]);
    assert_eq!((snapshots.len(), snapshots[0].seq), (1, seq));
    assert_ne!(Some(snapshots[0].epoch), old);
    match pattern.message().await {
        ServerMessage::Subscribed { id: None, channel, reason: Some(ResumeFailure::EpochChanged), .. } => {
            assert_eq!(channel, "price:*");
        }
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(pattern.update().await.seq, seq);
    // And on it goes, in the new epoch.
    let next = odin.publisher.price("BTC", 101).await;
    for client in [&mut client, &mut pattern] {
        let update = client.update().await;
        assert_eq!((update.seq, update.prev, update.epoch), (next, Some(seq), snapshots[0].epoch));
    }
    odin.gateway.metric_becomes("odin_gateway_epoch_changes_total", 1).await;
}

#[tokio::test]
async fn announces_what_the_stream_dropped_while_nats_was_away() {
    let wired = Wired::start_with(|config| config.stream.max_messages_per_subject = Some(3)).await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let first = wired.publisher.price("BTC", 0).await;
    assert_eq!(client.update().await.seq, first);
    wired.proxy.cut();
    wired.gateway.not_ready("nats_disconnected").await;
    let sequences = wired.publisher.prices("BTC", 1, 10, 0).await;
    wired.proxy.mend();
    let mut last = first;
    let mut announced = Vec::new();
    while last != *sequences.last().expect("some") {
        match client.message().await {
            ServerMessage::Gap { channel, after, until, reason, .. } => {
                assert_eq!((&*channel, after), ("price:BTC", last));
                assert!(matches!(reason, GapReason::Retention | GapReason::Removed), "{reason:?}");
                announced.push((after, until));
                last = until;
            }
            ServerMessage::Update(update) => {
                assert!(update.prev.is_some_and(|prev| prev <= last), "{update:?} after {last}");
                last = update.seq;
            }
            ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    let kept = &sequences[sequences.len() - 3..];
    assert!(announced.iter().any(|(after, until)| *after <= first && *until == kept[0] - 1), "{announced:?}");
}
