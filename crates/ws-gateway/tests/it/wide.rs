//! Patterns over more subjects than Direct Get reads at once: a consumer carries them, and nobody notices.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use async_nats::jetstream;
use futures_util::TryStreamExt;
use odin_devkit::{NatsCluster, Wire};
use odin_protocol::{
    Cursor, ServerMessage,
    error::{ErrorCode, ResumeFailure},
    message::{ChannelRequest, Mode, RequestId},
};
use tokio::{sync::oneshot, task::JoinHandle};
use ws_gateway::{config::Config, provision::provision};

use crate::support::{Client, Feeder, Gateway, Odin, Proxy, config, until};

/// Two elections at once, a consumer on a node that is dead but not yet missed, and a machine with other
/// things to do.
const ELECTIONS: Duration = Duration::from_secs(120);

/// Sequences of each channel, in order.
type Sequences = HashMap<String, Vec<u64>>;

/// One price of each of these tokens, stored.
async fn round(publisher: &Feeder, tokens: impl Iterator<Item = usize>, price: u64, stored: &mut Sequences) {
    let tokens: Vec<usize> = tokens.collect();
    let message = |n: &usize| (format!("odin.tokens.T{n}.price"), format!(r#"{{"price":{price}}}"#));
    let sequences = publisher.publish_all(tokens.iter().map(message).collect()).await;
    for (n, seq) in tokens.iter().zip(sequences) {
        stored.entry(format!("price:T{n}")).or_default().push(seq);
    }
}

/// Publishes until told to stop: some old tokens, and now and then a new one.
struct Rain {
    stop: oneshot::Sender<()>,
    done: JoinHandle<(Sequences, Feeder)>,
}

impl Rain {
    fn start(publisher: &Feeder, tokens: usize, stored: Sequences) -> Self {
        Self::with_pauses(publisher, tokens, stored, Duration::ZERO)
    }

    fn with_pauses(publisher: &Feeder, tokens: usize, mut stored: Sequences, pause: Duration) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let publisher = publisher.clone();
        let done = tokio::spawn(async move {
            let mut n = 0;
            while stopped.try_recv().is_err() {
                let old = (0..20).map(|k| (n * 7919 + k * 104_729) % tokens).collect::<BTreeSet<_>>();
                round(&publisher, old.into_iter().chain([tokens + n]), n as u64, &mut stored).await;
                n += 1;
                tokio::time::sleep(pause).await;
            }
            (stored, publisher)
        });
        Self { stop, done }
    }

    /// What was stored in all; the last of it on `price:END`.
    async fn stop(self) -> Sequences {
        self.stop.send(()).expect("raining");
        let (mut stored, publisher) = self.done.await.expect("no panic");
        stored.insert("price:END".to_owned(), vec![publisher.price("END", 0).await]);
        stored
    }
}

/// What a client was sent of a pattern.
#[derive(Default)]
struct Seen {
    /// The snapshot's sequence of each channel.
    snapshot: HashMap<String, u64>,
    live: Sequences,
    /// The last sequence that was not of the snapshot.
    last: u64,
    /// The pattern was not wide from the beginning.
    has_grown: bool,
}

impl Seen {
    async fn next(&mut self, client: &mut Client) -> String {
        let update = client.update().await;
        if update.snapshot {
            assert_eq!(self.snapshot.insert(update.channel.clone(), update.seq), None, "once: {update:?}");
        } else {
            let live = self.live.entry(update.channel.clone()).or_default();
            if let Some(last) = live.last().or(self.snapshot.get(&update.channel)) {
                assert!(update.seq > *last, "once and in order, not behind {last}: {update:?}");
                // Whoever was behind and was sent a part of the stream gets some without.
                assert!(update.prev.is_none_or(|prev| prev == *last), "the next link behind {last}: {update:?}");
            }
            assert!(
                update.seq > self.last || self.has_grown,
                "the order of the stream: {update:?} behind {}",
                self.last
            );
            self.last = update.seq;
            live.push(update.seq);
        }
        update.channel
    }

    /// Reads to `price:END`, which in the order of the stream is the last.
    async fn read(mut self, client: &mut Client) -> Self {
        while self.next(client).await != "price:END" {}
        self
    }

    /// Everything came, in order, and nothing else.
    fn assert_same(&self, stored: &Sequences) {
        let channels: BTreeSet<_> = self.live.keys().chain(stored.keys()).collect();
        for channel in channels {
            assert_eq!(self.live.get(channel), stored.get(channel), "{channel}: what came, what was stored");
        }
    }

    /// Everything came, in order, from the snapshot on. A value that was replaced before it was sent has
    /// no snapshot: its chain begins with what replaced it, or with what replaced that.
    fn assert_complete(&self, stored: &Sequences) {
        let opened = self.snapshot.values().copied().max().unwrap_or(0);
        for (channel, stored) in stored {
            let live = self.live.get(channel).map_or(&[][..], Vec::as_slice);
            let mut seen: Vec<u64> = self.snapshot.get(channel).copied().into_iter().collect();
            seen.extend(live);
            let first = stored.iter().position(|seq| seen.first() == Some(seq));
            let first = first.unwrap_or_else(|| panic!("{channel} came as {seen:?}, stored {stored:?}"));
            assert!(seen == stored[first..], "{channel} came as {seen:?}, stored {stored:?}");
            let is_new = stored[0] > opened;
            assert!(first == 0 || !is_new, "{channel} came as {seen:?}, stored {stored:?}");
        }
        let known = |channel: &String| stored.contains_key(channel);
        assert!(self.snapshot.keys().all(known) && self.live.keys().all(known));
    }
}

/// A gateway whose stream has a price of each of so many tokens.
async fn with_tokens(tokens: usize, change: impl FnOnce(&mut Config)) -> (Odin, Sequences) {
    let odin = Odin::start_with(change).await;
    let mut stored = Sequences::new();
    round(&odin.publisher, 0..tokens, 0, &mut stored).await;
    (odin, stored)
}

/// Names of the stream's consumers.
async fn consumers(context: &jetstream::Context, config: &Config) -> Vec<String> {
    let stream = context.get_stream(&config.stream.name).await.expect("the stream");
    stream.consumer_names().try_collect().await.expect("a list")
}

async fn opens_completely_while_it_rains(tokens: usize) {
    let (odin, stored) = with_tokens(tokens, |_| {}).await;
    let rain = Rain::start(&odin.publisher, tokens, stored);
    let mut early = odin.client().await;
    early.subscribe_all(&["price:*"]).await;
    let mut seen = Seen::default();
    while seen.live.len() < 50 {
        seen.next(&mut early).await;
    }
    // One that finds the feed open.
    let mut late = odin.client().await;
    late.subscribe_all(&["price:*"]).await;
    let mut late_seen = Seen::default();
    while late_seen.live.len() < 50 {
        late_seen.next(&mut late).await;
        seen.next(&mut early).await;
    }
    let stored = rain.stop().await;
    let (seen, late_seen) = tokio::join!(seen.read(&mut early), late_seen.read(&mut late));
    for seen in [seen, late_seen] {
        seen.assert_complete(&stored);
    }
    assert!(early.sync(2).await.is_empty());
    assert_eq!(odin.gateway.metric("odin_gateway_wide_restarts_total").await, 0);
}

#[tokio::test]
async fn opens_a_pattern_over_1500_subjects_completely_while_it_rains() {
    opens_completely_while_it_rains(1500).await;
}

#[tokio::test]
async fn opens_a_pattern_over_3000_subjects_completely_while_it_rains() {
    opens_completely_while_it_rains(3000).await;
}

#[tokio::test]
async fn follows_a_pattern_by_one_consumer_for_everybody_and_deletes_it_with_the_feed() {
    let (odin, _) = with_tokens(1100, |config| config.feeds.linger = Duration::from_millis(100)).await;
    let context = odin.jetstream().await;
    for _ in 0..2 {
        let mut clients = [odin.client().await, odin.client().await];
        for client in &mut clients {
            client.subscribe(&["price:*"]).await;
        }
        let seq = odin.publisher.price("T7", 1).await;
        for client in &mut clients {
            while client.update().await.seq != seq {}
        }
        assert_eq!(consumers(&context, &odin.config).await.len(), 1);
        odin.gateway.metric_becomes("odin_gateway_wide_feeds", 1).await;
        drop(clients);
        odin.gateway.metric_becomes("odin_gateway_wide_feeds", 0).await;
        until("no consumer left", async || consumers(&context, &odin.config).await.is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn leaves_no_core_subscription_behind_a_wide_pattern() {
    let (odin, _) = with_tokens(1100, |_| {}).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:*"]).await;
    odin.gateway.metric_becomes("odin_gateway_wide_feeds", 1).await;
    let observer = async_nats::connect(odin.nats.url()).await.expect("a connection");
    // Nobody listens there any more: the server says so to who asks.
    until("no interest", async || {
        let asked = observer.request("live.odin.tokens.T1.price", "".into()).await;
        asked.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders).then_some(())
    })
    .await;
}

#[tokio::test]
async fn goes_on_with_another_consumer_when_somebody_deletes_it() {
    let (odin, stored) = with_tokens(1100, |_| {}).await;
    let context = odin.jetstream().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let rain = Rain::start(&odin.publisher, 1100, stored);
    let mut seen = Seen::default();
    while seen.live.len() < 50 {
        seen.next(&mut client).await;
    }
    for name in consumers(&context, &odin.config).await {
        context.delete_consumer_from_stream(name, &odin.config.stream.name).await.expect("deleted");
    }
    let gateway = &odin.gateway;
    tokio::select! {
        () = gateway.metric_reaches("odin_gateway_wide_restarts_total", 1) => {}
        never = async { loop { seen.next(&mut client).await; } } => never,
    }
    let stored = rain.stop().await;
    seen.read(&mut client).await.assert_complete(&stored);
}

#[tokio::test]
async fn goes_on_where_it_was_when_nats_was_away() {
    let (odin, stored) = with_tokens(1100, |_| {}).await;
    let proxy = Proxy::start(odin.nats.port()).await;
    let mut config = odin.config.clone();
    config.nats.urls = vec![proxy.url()];
    let gateway = Gateway::start(config);
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:*"]).await;
    let rain = Rain::start(&odin.publisher, 1100, stored);
    let mut seen = Seen::default();
    while seen.live.len() < 50 {
        seen.next(&mut client).await;
    }
    proxy.cut();
    gateway.not_ready("nats_disconnected").await;
    proxy.mend();
    let stored = rain.stop().await;
    seen.read(&mut client).await.assert_complete(&stored);
}

#[tokio::test]
async fn resumes_a_wide_pattern_on_a_gateway_that_never_saw_it() {
    let (odin, mut stored) = with_tokens(1100, |_| {}).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    stored.insert("price:BEGIN".to_owned(), vec![odin.publisher.price("BEGIN", 0).await]);
    let begin = loop {
        let update = client.update().await;
        if update.channel == "price:BEGIN" {
            break update;
        }
    };
    drop(client);
    let rain = Rain::with_pauses(&odin.publisher, 1100, Sequences::new(), Duration::from_millis(1));
    // Its values are read long after the beginning of its feed: many of them are newer, and come behind it.
    let wire = odin_devkit::Proxy::start(([127, 0, 0, 1], odin.nats.port()).into()).await.expect("a wire");
    wire.set(Wire::Delay(Duration::from_millis(30)));
    let mut config = odin.config.clone();
    config.nats.urls = vec![format!("nats://{}", wire.address())];
    let other = Gateway::start(config);
    other.ready().await;
    let mut resumed = Vec::new();
    for gateway in [&other, &odin.gateway] {
        let mut client = Client::connect(gateway).await;
        // What comes in the order of the stream is a position.
        let since = Cursor { epoch: begin.epoch, seq: begin.seq, ts_ms: begin.ts }.to_string();
        let entry = ChannelRequest { since: Some(since), mode: Some(Mode::All), ..ChannelRequest::from("price:*") };
        client.ask_with(1, vec![entry]).await;
        loop {
            match client.message().await {
                ServerMessage::Subscribed { recovered, reason, .. } => {
                    break assert_eq!((recovered, reason), (true, None));
                }
                // It takes its time.
                ServerMessage::Stale { channel: Some(_), .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        let mut seen = Seen::default();
        while seen.live.len() < 50 {
            seen.next(&mut client).await;
        }
        resumed.push((client, seen));
    }
    let stored = rain.stop().await;
    wire.set(Wire::Open);
    for (mut client, seen) in resumed {
        let seen = seen.read(&mut client).await;
        assert!(seen.snapshot.is_empty(), "none after a resume");
        seen.assert_same(&stored);
    }
}

#[tokio::test]
async fn loses_repeats_and_reorders_nothing_of_a_wide_pattern_when_nodes_are_killed() {
    const TOKENS: usize = 1100;
    let mut cluster = NatsCluster::start(3).await.expect("a cluster");
    let mut config = config(&cluster.urls()[0]);
    config.stream.replicas = 3;
    provision(&config, false).await.expect("streams");
    // A ping is something to hear while nothing else comes.
    config.heartbeat.interval = Duration::from_secs(2);
    let stream = config.stream.name.clone();
    let publisher = Feeder::connect(cluster.urls()).await;
    let mut stored = Sequences::new();
    round(&publisher, 0..TOKENS, 0, &mut stored).await;
    let leader = cluster.stream_leader(&stream).await.expect("a leader");
    // One gateway on a node that will die, one on another.
    let mut gateways = Vec::new();
    for node in [leader, (leader + 1) % 3] {
        config.nats.urls = vec![cluster.urls()[node].clone()];
        let gateway = Gateway::start(config.clone());
        gateway.ready().await;
        gateways.push(gateway);
    }
    let mut readers = Vec::new();
    for gateway in &gateways {
        let mut client = Client::connect(gateway).await;
        client.subscribe_all(&["price:*"]).await;
        readers.push(tokio::spawn(async move { Seen::default().read(&mut client).await }));
    }
    let rain = Rain::start(&publisher, TOKENS, stored);
    let flows = async |gateway: &Gateway| {
        let before = gateway.metric("odin_gateway_publications_delivered_total").await;
        let flows = async {
            while gateway.metric("odin_gateway_publications_delivered_total").await < before + 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(ELECTIONS, flows).await.expect("publications flow again");
    };
    flows(&gateways[1]).await;
    // The node of a consumer, then the leader of the stream – which may be the same.
    for kills_consumer in [true, false] {
        let mut victim = cluster.stream_leader(&stream).await.expect("a leader");
        if kills_consumer {
            let context = jetstream::new(async_nats::connect(cluster.urls()).await.expect("a connection"));
            let name = consumers(&context, &config).await.pop().expect("a consumer");
            let consumer = context.get_consumer_from_stream::<jetstream::consumer::push::Config, _, _>(name, &stream);
            let info = consumer.await.expect("found").cached_info().clone();
            let node = info.cluster.and_then(|cluster| cluster.leader).expect("it has a leader");
            victim = (0..3).find(|n| cluster.node(*n).name() == node).expect("one of ours");
        }
        cluster.node_mut(victim).kill().await;
        cluster.stream_leader(&stream).await.expect("another leader");
        for gateway in &gateways {
            // Twice, because what was on its way does not count.
            flows(gateway).await;
            flows(gateway).await;
        }
        cluster.node_mut(victim).restart().await.expect("restarted");
        cluster.wait_ready().await.expect("caught up");
    }
    let stored = rain.stop().await;
    for reader in readers {
        let seen = tokio::time::timeout(ELECTIONS, reader).await.expect("the end");
        seen.expect("no panic").assert_complete(&stored);
    }
    let mut restarts = 0;
    for gateway in &gateways {
        restarts += gateway.metric("odin_gateway_wide_restarts_total").await;
    }
    assert!(restarts >= 1, "a consumer was on the node that was killed");
}

#[tokio::test]
async fn begins_a_wide_pattern_anew_when_the_stream_is_another_one() {
    let (odin, _) = with_tokens(1100, |_| {}).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:*"]).await;
    let mut seen = Seen::default();
    while seen.snapshot.len() < 1100 {
        seen.next(&mut client).await;
    }
    let context = odin.jetstream().await;
    context.delete_stream(&odin.config.stream.name).await.expect("deleted");
    provision(&odin.config, false).await.expect("streams");
    let mut stored = Sequences::new();
    round(&odin.publisher, 0..1200, 0, &mut stored).await;
    loop {
        match client.message().await {
            ServerMessage::Subscribed { id: None, channel, reason, .. } => {
                assert_eq!((&*channel, reason), ("price:*", Some(ResumeFailure::EpochChanged)));
                break;
            }
            ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    let mut seen = Seen::default();
    while seen.snapshot.len() + seen.live.len() < 1200 {
        seen.next(&mut client).await;
    }
    stored.insert("price:END".to_owned(), vec![odin.publisher.price("END", 0).await]);
    seen.read(&mut client).await.assert_complete(&stored);
}

#[tokio::test]
async fn announces_what_a_consumer_could_not_read_in_time() {
    let (odin, mut stored) = with_tokens(1100, |config| config.stream.max_messages_per_subject = Some(3)).await;
    let proxy = Proxy::start(odin.nats.port()).await;
    let mut config = odin.config.clone();
    config.nats.urls = vec![proxy.url()];
    let gateway = Gateway::start(config);
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:*"]).await;
    let mut seen = Seen::default();
    while seen.snapshot.len() < 1100 {
        seen.next(&mut client).await;
    }
    proxy.cut();
    gateway.not_ready("nats_disconnected").await;
    for price in 1..10 {
        round(&odin.publisher, 0..2, price, &mut stored).await;
    }
    proxy.mend();
    // What came before the loss was noticed is whatever it is, but forwards.
    loop {
        match client.message().await {
            ServerMessage::Subscribed { id: None, channel, recovered, reason, .. } => {
                assert_eq!((&*channel, recovered, reason), ("price:*", false, Some(ResumeFailure::ReplayLimit)));
                break;
            }
            ServerMessage::Update(_) | ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    stored.insert("price:END".to_owned(), vec![odin.publisher.price("END", 0).await]);
    let seen = Seen::default().read(&mut client).await;
    seen.assert_complete(&stored);
    assert_eq!(seen.snapshot["price:T0"], *stored["price:T0"].last().expect("some"));
}

#[tokio::test]
async fn follows_a_pattern_by_a_consumer_once_it_has_outgrown_direct_get() {
    let (odin, stored) = with_tokens(1000, |_| {}).await;
    let proxy = Proxy::start(odin.nats.port()).await;
    let mut config = odin.config.clone();
    config.nats.urls = vec![proxy.url()];
    let gateway = Gateway::start(config);
    gateway.ready().await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe_all(&["price:*"]).await;
    let mut seen = Seen { has_grown: true, ..Seen::default() };
    let rain = Rain::start(&odin.publisher, 1000, stored);
    // The rain brings new tokens; with 1,024 nothing happens until the feed is to be verified.
    while seen.snapshot.len() + seen.live.keys().filter(|name| !seen.snapshot.contains_key(*name)).count() < 1100 {
        seen.next(&mut client).await;
    }
    proxy.cut();
    gateway.not_ready("nats_disconnected").await;
    proxy.mend();
    tokio::select! {
        () = gateway.metric_becomes("odin_gateway_wide_feeds", 1) => {}
        never = async { loop { seen.next(&mut client).await; } } => never,
    }
    let stored = rain.stop().await;
    // It has become ordered by the stream only behind what came while it changed.
    while seen.live.values().map(Vec::len).sum::<usize>() < behind(&stored, &seen) {
        seen.next(&mut client).await;
    }
    seen.assert_complete(&stored);
}

/// How much was stored behind the snapshot.
fn behind(stored: &Sequences, seen: &Seen) -> usize {
    let of = |(channel, stored): (&String, &Vec<u64>)| {
        let snapshot = seen.snapshot.get(channel).copied().unwrap_or(0);
        stored.iter().filter(|seq| **seq > snapshot).count()
    };
    stored.iter().map(of).sum()
}

/// Attack: subscribe to a pattern so wide that its values do not fit into the gateway's memory.
#[tokio::test]
async fn refuses_a_pattern_over_more_subjects_than_it_may_cover() {
    let (odin, _) = with_tokens(1101, |config| config.limits.pattern_subjects = 1100).await;
    let mut client = odin.client().await;
    for id in [3, 4] {
        client.ask(id, &["price:*"]).await;
        let error = client.error().await;
        assert_eq!((error.id, error.code), (Some(RequestId::Number(id)), ErrorCode::TooWide));
        assert_eq!(error.channel.as_deref(), Some("price:*"));
    }
    assert_eq!(odin.gateway.stats().await["subscriptions"], 0);
    odin.gateway.metric_becomes("odin_gateway_wide_feeds", 0).await;
    assert_eq!(consumers(&odin.jetstream().await, &odin.config).await, Vec::<String>::new());
}

/// Attack: publish on ever more subjects below a pattern that somebody subscribes to.
#[tokio::test]
async fn ends_a_pattern_that_outgrows_what_it_may_cover() {
    let (odin, mut stored) = with_tokens(1090, |config| config.limits.pattern_subjects = 1100).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let mut seen = Seen::default();
    while seen.snapshot.len() < 1090 {
        seen.next(&mut client).await;
    }
    round(&odin.publisher, 1090..1110, 0, &mut stored).await;
    let error = loop {
        match client.message().await {
            ServerMessage::Update(_) => {}
            ServerMessage::Error(error) => break error,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!((error.code, error.channel.as_deref()), (ErrorCode::TooWide, Some("price:*")));
    assert!(
        matches!(client.message().await, ServerMessage::Unsubscribed { id: None, channel } if channel == "price:*")
    );
    odin.gateway.metric_becomes("odin_gateway_wide_feeds", 0).await;
    client.ask(5, &["price:*"]).await;
    assert_eq!(client.error().await.code, ErrorCode::TooWide);
}
