//! Which troubles with NATS are noticed, what is done about them, and what probes are told.

use std::time::Duration;

use odin_devkit::{NatsCluster, NatsServer, Wire};
use odin_protocol::{Mode, ServerMessage, error::StaleReason, message::ChannelRequest};
use ws_gateway::{config::Config, provision::provision};

use crate::support::{Chains, Client, Feeder, Gateway, Odin, Received, Wired, config, until};

/// Suspects and asks sooner than a real gateway does.
fn quick(config: &mut Config) {
    config.nats.tick_timeout = Duration::from_secs(1);
    config.nats.request_timeout = Duration::from_millis(500);
    config.nats.connect_timeout = Duration::from_secs(1);
    config.feeds.stale_after = Duration::ZERO;
    config.feeds.audit_interval = Duration::from_millis(200);
    config.feeds.audit_quiet_interval = Duration::from_millis(200);
}

/// Reads what is missing; `stale` and `live` of the connection may come in between.
async fn reads(client: &mut Client, chains: &mut Chains, sequences: &[u64]) {
    for seq in sequences {
        let update = client.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
}

/// The next message, which must say that the whole connection is stale.
async fn is_stale(client: &mut Client, expected: StaleReason) {
    match client.message().await {
        ServerMessage::Stale { channel: None, reason, .. } => assert_eq!(reason, Some(expected)),
        other => panic!("expected stale, not {other:?}"),
    }
}

async fn is_live(client: &mut Client) {
    match client.message().await {
        ServerMessage::Live { channel: None } => {}
        other => panic!("expected live, not {other:?}"),
    }
}

/// The connections of a gateway to NATS.
const CONNECTIONS: usize = 4;

/// Two ways to one server.
struct TwoWays {
    config: Config,
    ways: [odin_devkit::Proxy; 2],
    publisher: Feeder,
    _nats: NatsServer,
}

impl TwoWays {
    async fn start() -> Self {
        let nats = NatsServer::start().await.expect("a nats-server");
        let upstream = ([127, 0, 0, 1], nats.port()).into();
        let mut ways = Vec::new();
        for _ in 0..2 {
            ways.push(odin_devkit::Proxy::start(upstream).await.expect("a wire"));
        }
        let ways: [_; 2] = ways.try_into().expect("two");
        let mut config = config(&nats.url());
        provision(&config, false).await.expect("streams");
        config.nats.urls = ways.iter().map(|way| format!("nats://{}", way.address())).collect();
        quick(&mut config);
        let publisher = Feeder::connect(vec![nats.url()]).await;
        Self { config, ways, publisher, _nats: nats }
    }

    fn connections(&self) -> (usize, usize) {
        (self.ways[0].connections(), self.ways[1].connections())
    }

    /// A gateway with all connections on the first of them.
    async fn gateway_on_the_first(&self) -> Gateway {
        self.ways[1].set(Wire::Cut);
        let gateway = Gateway::start(self.config.clone());
        gateway.ready().await;
        until("all of them", async || (self.connections() == (CONNECTIONS, 0)).then_some(())).await;
        self.ways[1].set(Wire::Open);
        gateway
    }

    /// A gateway with connections on each. They choose at random, so several may be started.
    async fn gateway_on_both(&self) -> Gateway {
        loop {
            let mut gateway = Gateway::start(self.config.clone());
            gateway.ready().await;
            until("all of them", async || {
                let (first, second) = self.connections();
                (first + second == CONNECTIONS).then_some(())
            })
            .await;
            if self.connections().0 > 0 && self.connections().1 > 0 {
                return gateway;
            }
            gateway.begin_stop();
            gateway.ended().await;
            until("its connections to end", async || (self.connections() == (0, 0)).then_some(())).await;
        }
    }
}

/// A wire that carries nothing any more, and says nothing of it.
#[tokio::test]
async fn leaves_a_wire_that_has_fallen_silent_and_sends_what_was_missed_before_live() {
    let odin = TwoWays::start().await;
    let gateway = odin.gateway_on_the_first().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    let first = odin.publisher.price("BTC", 0).await;
    reads(&mut client, &mut chains, &[first]).await;
    odin.ways[0].set(Wire::Blackhole);
    let missed = odin.publisher.prices("BTC", 1, 100, 100).await;
    match client.message().await {
        ServerMessage::Stale {
            channel: None, reason: Some(StaleReason::Unverified | StaleReason::BusLost), ..
        } => {}
        other => panic!("unexpected {other:?}"),
    }
    for seq in &missed {
        match client.message().await {
            ServerMessage::Update(update) => {
                assert_eq!(update.seq, *seq);
                chains.take(&update);
            }
            other => panic!("{other:?} before everything missed was sent"),
        }
    }
    is_live(&mut client).await;
    gateway.ready().await;
    until("all to have moved", async || (odin.connections() == (0, CONNECTIONS)).then_some(())).await;
    // Reads go on as well.
    let mut other = Client::connect(&gateway).await;
    other.subscribe(&["price:BTC"]).await;
    assert_eq!(other.update().await.seq, *missed.last().expect("some"));
}

/// Some of the connections are on a wire that falls silent; they move, and the others stay.
#[tokio::test]
async fn leaves_a_silent_wire_with_the_connections_that_are_on_it() {
    let odin = TwoWays::start().await;
    let gateway = odin.gateway_on_both().await;
    odin.ways[0].set(Wire::Blackhole);
    until("them to move", async || (odin.connections() == (0, CONNECTIONS)).then_some(())).await;
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:BTC"]).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
}

/// The connection is in order and the stream goes on, but not to here: only the tick tells.
#[tokio::test]
async fn leaves_a_server_to_which_no_tick_comes_although_there_are_some() {
    let wired = Wired::start_with(quick).await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    wired.proxy.mute(true);
    is_stale(&mut client, StaleReason::Unverified).await;
    wired.gateway.metric_reaches("odin_gateway_route_changes_total", 1).await;
    wired.gateway.metric_reaches("odin_gateway_nats_reconnects_total", 1).await;
    wired.proxy.mute(false);
    is_live(&mut client).await;
    wired.gateway.ready().await;
    let seq = wired.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
}

/// A connection proves nothing, and answers prove only the past: without the tick nobody is told live.
#[tokio::test]
async fn is_neither_live_nor_ready_before_a_tick_has_come_back() {
    let wired = Wired::start_with(|config| {
        quick(config);
        // Time enough to see what is said meanwhile.
        config.nats.tick_timeout = Duration::from_secs(3600);
    })
    .await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    wired.proxy.cut();
    is_stale(&mut client, StaleReason::BusLost).await;
    wired.proxy.mute(true);
    wired.proxy.mend();
    wired.gateway.metric_becomes("odin_gateway_nats_connected", 1).await;
    wired.gateway.not_ready("stream_silent").await;
    // Several audits have come back, and what was published has come live.
    let audits = wired.gateway.metric("odin_gateway_audits_total").await;
    wired.gateway.metric_reaches("odin_gateway_audits_total", audits + 3).await;
    let seq = wired.publisher.price("BTC", 1).await;
    match client.message().await {
        ServerMessage::Update(update) => assert_eq!(update.seq, seq),
        other => panic!("{other:?} although no tick came"),
    }
    assert!(client.sync(2).await.is_empty());
    assert_eq!(wired.gateway.get("/readyz").await.status, 503);
    wired.proxy.mute(false);
    is_live(&mut client).await;
    wired.gateway.ready().await;
}

/// Without a quorum the stream stands still, and no other server helps.
#[tokio::test]
async fn stays_where_it_is_while_the_stream_has_no_quorum() {
    let mut cluster = NatsCluster::start(3).await.expect("a cluster");
    let mut config = config(&cluster.urls()[0]);
    config.stream.replicas = 3;
    config.nats.tick_timeout = Duration::from_secs(1);
    provision(&config, false).await.expect("streams");
    let gateway = Gateway::start(config.clone());
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:BTC"]).await;
    let publisher = Feeder::connect(vec![cluster.urls()[0].clone()]).await;
    let first = publisher.price("BTC", 0).await;
    assert_eq!(client.update().await.seq, first);
    cluster.node_mut(1).pause();
    cluster.node_mut(2).pause();
    is_stale(&mut client, StaleReason::Unverified).await;
    gateway.not_ready("stream_silent").await;
    assert_eq!(gateway.get("/livez").await.status, 200);
    // It has asked, and has been answered, several times.
    let asked = gateway.metric("odin_gateway_direct_gets_total").await;
    gateway.metric_reaches("odin_gateway_direct_gets_total", asked + 6).await;
    assert_eq!(gateway.metric("odin_gateway_route_changes_total").await, 0);
    assert_eq!(gateway.metric("odin_gateway_nats_reconnects_total").await, 0);
    cluster.node_mut(1).resume();
    cluster.node_mut(2).resume();
    cluster.wait_ready().await.expect("a quorum");
    is_live(&mut client).await;
    gateway.ready().await;
    let seq = publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq);
}

/// Every suspicion asks for an audit of everything, and there may be thousands in one instant.
#[tokio::test]
async fn audits_a_feed_once_at_a_time_however_often_trouble_is_suspected() {
    let odin = Odin::start_with(|config| {
        config.feeds.audit_interval = Duration::from_secs(3600);
        config.feeds.audit_quiet_interval = Duration::from_secs(3600);
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let before = odin.gateway.metric("odin_gateway_audits_total").await;
    let nats = async_nats::connect(odin.nats.url()).await.expect("a connection");
    let advisory = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", odin.config.stream.name);
    for _ in 0..5000 {
        nats.publish(advisory.clone(), "{}".into()).await.expect("published");
    }
    nats.flush().await.expect("flushed");
    odin.gateway.metric_reaches("odin_gateway_audits_total", before + 1).await;
    // It goes on serving, and has had many turns to take them all when this is done.
    for n in 0..50 {
        let token = format!("T{n}");
        client.subscribe_all(&[&format!("volume:{token}")]).await;
        let seq = odin.publisher.price(&token, n).await;
        assert_eq!(client.update().await.seq, seq);
    }
    let audits = odin.gateway.metric("odin_gateway_audits_total").await - before;
    assert!(audits < 1000, "{audits} audits for 5000 suspicions");
}

/// Questions that nobody can answer must not pile up until the sequencer waits with them.
#[tokio::test]
async fn goes_on_deciding_while_thousands_of_feeds_wait_for_nats() {
    let wired = Wired::start_with(|config| config.feeds.open_timeout = Duration::from_millis(200)).await;
    wired.proxy.cut();
    wired.gateway.not_ready("nats_disconnected").await;
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = wired.client().await;
        let names: Vec<String> = (0..500).map(|m| format!("price:T{n}-{m}")).collect();
        client.ask(1, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        clients.push(client);
    }
    // Each is told of each that it takes longer, so the bus has taken all of them.
    for client in &mut clients {
        let mut told = 0;
        while told < 500 {
            match client.message().await {
                ServerMessage::Stale { channel, .. } => told += u32::from(channel.is_some()),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    wired.proxy.mend();
    for client in &mut clients {
        let mut begun = 0;
        while begun < 500 {
            match client.message().await {
                ServerMessage::Subscribed { .. } => begun += 1,
                ServerMessage::Live { .. } | ServerMessage::Stale { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// A gateway that was stopped finds silence everywhere, and it was its own.
#[tokio::test]
async fn blames_nobody_when_it_was_stopped_itself() {
    let odin = Odin::start().await;
    let args = ["--shards", "1", "--feeds-stale-after", "0s", "--drain-pause", "0s", "--drain-window", "0s"];
    let binary = env!("CARGO_BIN_EXE_ws-gateway");
    let gateway = odin_devkit::Gateway::start(binary.as_ref(), odin.nats.url(), args).await.expect("a gateway");
    let address = gateway.listen().parse().expect("an address");
    let mut client = Client::dial(address, crate::support::Dial::default()).await;
    client.subscribe_all(&["price:BTC"]).await;
    let mut chains = Chains::default();
    let first = odin.publisher.price("BTC", 0).await;
    reads(&mut client, &mut chains, &[first]).await;
    gateway.process().pause();
    let missed = odin.publisher.prices("BTC", 1, 50, 0).await;
    // The fault itself: longer than the tick may be missing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    gateway.process().resume();
    for seq in &missed {
        match client.message().await {
            ServerMessage::Update(update) => {
                assert_eq!(update.seq, *seq);
                chains.take(&update);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(client.sync(2).await.is_empty());
    let (_, metrics) = gateway.admin_get("/metrics").await.expect("metrics");
    assert!(metrics.contains("\nodin_gateway_route_changes_total 0\n"), "{metrics}");
    assert!(metrics.contains("\nodin_gateway_stale 0\n"));
}

#[tokio::test]
async fn is_not_ready_while_nats_is_frozen() {
    let odin = Odin::start_with(quick).await;
    odin.nats.pause();
    odin.gateway.not_ready("nats_disconnected").await;
    assert_eq!(odin.gateway.get("/livez").await.status, 200);
    odin.nats.resume();
    odin.gateway.ready().await;
}

#[tokio::test]
async fn is_not_ready_without_its_stream_and_ready_as_soon_as_it_is_back() {
    let odin = Odin::start_with(quick).await;
    let context = odin.jetstream().await;
    context.delete_stream(&odin.config.stream.name).await.expect("deleted");
    odin.gateway.not_ready("stream_missing").await;
    assert_eq!(odin.gateway.metric("odin_gateway_route_changes_total").await, 0, "no server has what is not there");
    provision(&odin.config, false).await.expect("streams");
    odin.gateway.ready().await;
}

/// A position given while values may be old would be one that was never reached.
#[tokio::test]
async fn tells_no_position_while_stale() {
    let wired = Wired::start_with(|config| {
        quick(config);
        config.heartbeat.interval = Duration::from_secs(1);
        config.feeds.checkpoint_interval = Duration::from_secs(1);
    })
    .await;
    let mut client = wired.client().await;
    client.subscribe_all(&["price:*"]).await;
    let mut is_stale = false;
    let mut pings = 0;
    wired.proxy.cut();
    while pings < 3 {
        match client.next().await {
            Received::Message(ServerMessage::Checkpoint { .. }) => assert!(!is_stale, "a position while stale"),
            Received::Message(ServerMessage::Stale { .. }) => is_stale = true,
            Received::Ping(_) => pings += u32::from(is_stale),
            other => panic!("unexpected {other:?}"),
        }
    }
    wired.proxy.mend();
    let mut is_live = false;
    loop {
        match client.next().await {
            Received::Message(ServerMessage::Checkpoint { .. }) => break,
            Received::Message(ServerMessage::Live { .. }) => is_live = true,
            Received::Ping(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(is_live, "a position before live");
}

#[tokio::test]
async fn tells_the_position_of_a_quiet_channel_with_every_ping() {
    let odin = Odin::start_with(|config| {
        config.heartbeat.interval = Duration::from_secs(4);
        config.feeds.checkpoint_interval = Duration::from_secs(1);
        config.feeds.audit_quiet_interval = Duration::from_secs(2);
    })
    .await;
    let mut client = odin.client().await;
    client.ask_with(1, vec![ChannelRequest { mode: Some(Mode::All), ..ChannelRequest::from("price:BTC") }]).await;
    let (mut pings, mut positions) = (0, 0);
    while positions < 3 {
        match client.next().await {
            Received::Message(ServerMessage::Checkpoint { .. }) => positions += 1,
            Received::Message(ServerMessage::Subscribed { .. }) => {}
            Received::Ping(_) => pings += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    // The first may come before the first audit.
    assert!(pings <= 4, "{positions} positions with {pings} pings");
}
