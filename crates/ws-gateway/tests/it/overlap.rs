//! A pattern and channels of it on one connection: whatever is subscribed in which order, everything comes once.

use std::{collections::HashMap, time::Duration};

use odin_protocol::{
    Codec, Cursor, ServerMessage, Update,
    error::{GapReason, ResumeFailure},
    message::{ChannelRequest, Mode},
};
use tokio::{sync::oneshot, task::JoinHandle};
use ws_gateway::{
    config::Config,
    provision::provision,
    rules::{Access, RuleSource},
};

use crate::support::{Chains, Client, Dial, Feeder, Gateway, Odin, frame, with_rules};

/// Two kinds of channels with patterns: `price` in mode `latest`, which a client may change, and `orders` in mode `all`.
const KINDS: [&str; 2] = ["price", "orders"];

/// How often a client goes back and forth between a channel and its pattern.
const ROUNDS: u64 = 30;

fn rules(config: &mut Config) {
    let orders = RuleSource::new("orders:{token}", "odin.books.{token}.orders", Access::Public, Mode::All);
    let orders = RuleSource { pattern: true, ..orders };
    with_rules(config, vec![orders]);
    config.limits.messages_per_second = 10_000;
}

fn subject(kind: &str, token: &str) -> String {
    match kind {
        "price" => format!("odin.tokens.{token}.price"),
        _ => format!("odin.books.{token}.orders"),
    }
}

fn channel(kind: &str, token: &str) -> String {
    format!("{kind}:{token}")
}

async fn publish(odin: &Odin, kind: &str, token: &str) -> u64 {
    odin.publisher.publish(&subject(kind, token), r#"{"n":1}"#).await
}

/// Publishes one after the other and expects each as the next message, the next link of its chain.
async fn comes_once(odin: &Odin, client: &mut Client, chains: &mut Chains, kind: &str, tokens: &[&str]) {
    for token in tokens {
        let seq = publish(odin, kind, token).await;
        let update = client.update().await;
        assert_eq!((update.channel.clone(), update.seq, update.snapshot), (channel(kind, token), seq, false));
        chains.take(&update);
    }
    assert!(client.sync(90).await.is_empty(), "and no second time");
}

async fn unsubscribe(client: &mut Client, channel: &str) {
    client.unsubscribe(80, &[channel]).await;
    match client.message().await {
        ServerMessage::Unsubscribed { channel: answered, .. } => assert_eq!(answered, channel),
        other => panic!("expected unsubscribed, not {other:?}"),
    }
}

/// Publications of one subject until it is told to stop; then their sequences.
struct Rain {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<u64>>,
}

impl Rain {
    fn of(publisher: &Feeder, kind: &str, token: &str) -> Self {
        let (publisher, subject) = (publisher.clone(), subject(kind, token));
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut sequences = Vec::new();
            while stopped.try_recv().is_err() {
                sequences.push(publisher.publish(&subject, r#"{"n":1}"#).await);
            }
            sequences
        });
        Self { stop, task }
    }

    async fn end(self) -> Vec<u64> {
        self.stop.send(()).expect("raining");
        self.task.await.expect("no panic")
    }
}

/// What came of the channels that stay subscribed; panics at what came twice, too late, or after an unannounced hole.
#[derive(Default)]
struct Reader {
    of: Vec<String>,
    last: HashMap<String, u64>,
    seen: HashMap<String, Vec<u64>>,
    gaps: Vec<(String, u64, u64)>,
    /// Whether links may be missing because newer values replace older ones.
    merges: bool,
}

impl Reader {
    fn of(channels: &[&str]) -> Self {
        Self { of: channels.iter().map(|channel| (*channel).to_owned()).collect(), ..Self::default() }
    }

    fn take(&mut self, update: &Update) {
        if !self.of.contains(&update.channel) {
            return;
        }
        let last = self.last.insert(update.channel.clone(), update.seq);
        assert!(last.is_none_or(|last| update.seq > last), "{update:?} after {last:?}");
        if let (Some(last), Some(prev), false) = (last, update.prev, self.merges) {
            assert!(prev <= last, "a hole before {update:?} after {last}");
        }
        self.seen.entry(update.channel.clone()).or_default().push(update.seq);
    }

    fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Update(update) => self.take(&update),
            ServerMessage::Gap { channel, after, until, reason: GapReason::ReplayLimit, .. } => {
                assert!(after < until, "a gap has a length");
                self.last.entry(channel.clone()).and_modify(|last| *last = until.max(*last));
                self.gaps.push((channel, after, until));
            }
            ServerMessage::Subscribed { .. } | ServerMessage::Unsubscribed { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn read_to(&mut self, client: &mut Client, channel: &str, seq: u64) {
        while self.last.get(channel).is_none_or(|last| *last < seq) {
            self.hear(client.message().await);
        }
        for message in client.sync(91).await {
            self.hear(message);
        }
    }

    /// Every one of these came, or – where that may be – was announced as a gap.
    fn has_all(&self, channel: &str, sequences: &[u64]) {
        for seq in sequences {
            let is_gap = self.gaps.iter().any(|(of, after, until)| of == channel && after < seq && seq <= until);
            assert!(self.seen[channel].contains(seq) || is_gap, "{seq} vanished; gaps {:?}", self.gaps);
        }
    }
}

#[tokio::test]
async fn sends_everything_once_whatever_the_order_of_subscribing() {
    let odin = Odin::start_with(rules).await;
    for kind in KINDS {
        let (btc, star) = (channel(kind, "BTC"), channel(kind, "*"));
        let mut last = publish(&odin, kind, "BTC").await;
        let orders: [&[&[&str]]; 4] =
            [&[&[&btc], &[&star]], &[&[&star], &[&btc]], &[&[&btc, &star]], &[&[&star, &btc]]];
        for steps in orders {
            // The first of a kind opens the feeds, the others find them open.
            let mut client = odin.client().await;
            for step in steps {
                client.subscribe(step).await;
            }
            let mut chains = Chains::default();
            let mut snapshots = Vec::new();
            for message in client.sync(2).await {
                match message {
                    ServerMessage::Update(update) => {
                        chains.take(&update);
                        snapshots.push((update.channel, update.seq, update.snapshot));
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
            snapshots.retain(|(channel, ..)| *channel == btc);
            assert_eq!(snapshots, [(btc.clone(), last, true)], "one snapshot: {steps:?}");
            comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "ETH", "BTC", "NEW", "BTC"]).await;
            last = publish(&odin, kind, "BTC").await;
            assert_eq!(client.update().await.seq, last);
        }
    }
}

#[tokio::test]
async fn goes_on_with_the_channel_when_the_pattern_is_unsubscribed_and_the_other_way_round() {
    let odin = Odin::start_with(rules).await;
    for kind in KINDS {
        let (btc, star) = (channel(kind, "BTC"), channel(kind, "*"));
        let mut client = odin.client().await;
        let mut chains = Chains::default();
        client.subscribe(&[&btc, &star]).await;
        assert_eq!(odin.gateway.stats().await["subscriptions"], 2);
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "ETH", "BTC"]).await;
        unsubscribe(&mut client, &star).await;
        assert!(client.sync(3).await.is_empty(), "nothing it had before");
        publish(&odin, kind, "ETH").await;
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "BTC"]).await;
        client.subscribe(&[&star]).await;
        // ETH is news to it again, BTC is not.
        let update = client.update().await;
        assert_eq!((update.channel.clone(), update.snapshot), (channel(kind, "ETH"), true));
        chains.take(&update);
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "ETH"]).await;
        unsubscribe(&mut client, &btc).await;
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "ETH", "BTC"]).await;
        client.subscribe(&[&btc]).await;
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC"]).await;
        unsubscribe(&mut client, &btc).await;
        unsubscribe(&mut client, &star).await;
        publish(&odin, kind, "BTC").await;
        publish(&odin, kind, "ETH").await;
        // A witness has had both, so they are not on their way any more.
        let mut witness = odin.client().await;
        witness.subscribe(&[&star]).await;
        witness.update().await;
        witness.update().await;
        assert!(client.sync(4).await.is_empty());
        drop((client, witness));
        odin.gateway.metric_becomes("odin_gateway_subscriptions", 0).await;
    }
}

#[tokio::test]
async fn shows_the_value_of_a_pattern_that_is_gone_before_it_could() {
    let odin = Odin::start_with(rules).await;
    for kind in KINDS {
        let (btc, star) = (channel(kind, "BTC"), channel(kind, "*"));
        let last = publish(&odin, kind, "BTC").await;
        let mut witness = odin.client().await;
        witness.subscribe(&[&btc, &star]).await;
        witness.update().await;
        let mut client = odin.client().await;
        // In one packet, so that nothing is written in between.
        let mut bytes = Vec::new();
        for (verb, channel) in [("subscribe", &star), ("subscribe", &btc), ("unsubscribe", &star)] {
            bytes.extend(frame(0x81, format!(r#"{{"type":"{verb}","channels":["{channel}"]}}"#).as_bytes()));
        }
        client.send_raw(&bytes).await;
        let mut snapshots = client.sync(2).await;
        snapshots.retain(|message| matches!(message, ServerMessage::Update(_)));
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        let mut chains = Chains::default();
        let ServerMessage::Update(update) = &snapshots[0] else { unreachable!() };
        assert_eq!((update.seq, update.snapshot), (last, true));
        chains.take(update);
        comes_once(&odin, &mut client, &mut chains, kind, &["BTC"]).await;
    }
}

/// Changes between the two, back and forth, never without one of them.
async fn churn(client: &mut Client, reader: &mut Reader, (btc, star): (&str, &str), mode: Mode) {
    let ask = |channel: &str| vec![ChannelRequest { mode: Some(mode), ..ChannelRequest::from(channel) }];
    client.ask_with(1, ask(btc)).await;
    for round in 0..ROUNDS {
        client.ask_with(2, ask(star)).await;
        match round % 3 {
            0 => client.unsubscribe(3, &[star]).await,
            1 => {
                read_until_answered(client, reader, star).await;
                client.unsubscribe(4, &[btc]).await;
                client.ask_with(5, ask(btc)).await;
                read_until_answered(client, reader, btc).await;
                client.unsubscribe(6, &[star]).await;
            }
            _ => {
                read_until_answered(client, reader, star).await;
                for _ in 0..5 {
                    reader.hear(client.message().await);
                }
                client.unsubscribe(7, &[star]).await;
            }
        }
        for message in client.sync(8).await {
            reader.hear(message);
        }
    }
}

async fn read_until_answered(client: &mut Client, reader: &mut Reader, asked: &str) {
    loop {
        let message = client.message().await;
        let is_it = matches!(&message, ServerMessage::Subscribed { channel, .. } if channel == asked);
        reader.hear(message);
        if is_it {
            return;
        }
    }
}

#[tokio::test]
async fn keeps_chains_whole_while_patterns_come_and_go_in_the_rain() {
    // Feeds that stay open, and feeds that are opened anew each time.
    for linger in [Duration::from_secs(10), Duration::ZERO] {
        let odin = Odin::start_with(|config| {
            rules(config);
            config.feeds.linger = linger;
        })
        .await;
        for (kind, mode) in [("price", Mode::Latest), ("price", Mode::All), ("orders", Mode::All)] {
            let (btc, star) = (channel(kind, "BTC"), channel(kind, "*"));
            publish(&odin, kind, "BTC").await;
            let rain = Rain::of(&odin.publisher, kind, "BTC");
            let other = Rain::of(&odin.publisher, kind, "ETH");
            let mut bystander = odin.client().await;
            bystander.subscribe_all(&[&btc]).await;
            let mut clients = Vec::new();
            for codec in Codec::ALL {
                let mut client = Client::dial(odin.gateway.address, Dial { codec, ..Dial::default() }).await;
                let mut reader = Reader { merges: mode == Mode::Latest, ..Reader::of(&[&btc]) };
                churn(&mut client, &mut reader, (&btc, &star), mode).await;
                clients.push((client, reader));
            }
            let sequences = rain.end().await;
            other.end().await;
            let newest = *sequences.last().expect("some");
            for (client, reader) in &mut clients {
                reader.read_to(client, &btc, newest).await;
                let first = reader.seen[&btc][0];
                let owed: Vec<u64> = sequences.iter().copied().filter(|seq| *seq >= first).collect();
                if mode == Mode::All {
                    reader.has_all(&btc, &owed);
                }
                assert_eq!(reader.last[&btc], newest);
            }
            let mut chains = Chains::default();
            let mut last = 0;
            while last < newest {
                let update = bystander.update().await;
                assert_eq!(update.snapshot, last == 0, "whoever has only the channel is not disturbed");
                chains.take(&update);
                last = update.seq;
            }
        }
    }
}

#[tokio::test]
async fn leaves_nothing_behind_when_it_goes_while_covered() {
    let odin = Odin::start_with(|config| {
        rules(config);
        config.feeds.linger = Duration::ZERO;
    })
    .await;
    for polite in [true, false] {
        for names in [["price:BTC", "price:ETH", "price:*"], ["orders:*", "orders:BTC", "orders:ETH"]] {
            let mut client = odin.client().await;
            let mut chains = Chains::default();
            client.subscribe(&names).await;
            while !client.sync(2).await.is_empty() {}
            let kind = names[0].split(':').next().expect("a kind");
            comes_once(&odin, &mut client, &mut chains, kind, &["BTC", "ETH"]).await;
            odin.gateway.metric_becomes("odin_gateway_shard_feeds", 3).await;
            if polite {
                client.send_raw(&frame(0x88, &[0x03, 0xE8])).await;
                client.closed().await;
            }
            drop(client);
            for gauge in [
                "odin_gateway_connections",
                "odin_gateway_subscriptions",
                "odin_gateway_shard_feeds",
                "odin_gateway_feeds",
                "odin_gateway_connections_behind",
                "odin_gateway_ring_bytes",
            ] {
                odin.gateway.metric_becomes(gauge, 0).await;
            }
        }
    }
}

#[tokio::test]
async fn begins_anew_while_covered_when_the_stream_is_another_one() {
    let odin = Odin::start_with(rules).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC", "price:*"]).await;
    let mut chains = Chains::default();
    comes_once(&odin, &mut client, &mut chains, "price", &["BTC"; 20]).await;
    odin.jetstream().await.delete_stream(&odin.config.stream.name).await.expect("deleted");
    provision(&odin.config, false).await.expect("streams");
    let seq = publish(&odin, "price", "BTC").await;
    assert!(seq <= 20, "sequences begin again");
    let mut begun = Vec::new();
    let update = loop {
        match client.message().await {
            ServerMessage::Subscribed { id: None, channel, reason, .. } => {
                assert_eq!(reason, Some(ResumeFailure::EpochChanged));
                begun.push(channel);
            }
            ServerMessage::Update(update) => break update,
            ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    };
    assert!(begun.contains(&"price:*".to_owned()), "{begun:?}");
    assert_eq!((update.seq, &*update.channel, update.snapshot), (seq, "price:BTC", true));
    let mut chains = Chains::default();
    chains.take(&update);
    comes_once(&odin, &mut client, &mut chains, "price", &["BTC", "ETH", "BTC"]).await;
    // The old sequences, which were higher, hold nothing back.
    unsubscribe(&mut client, "price:*").await;
    publish(&odin, "price", "ETH").await;
    comes_once(&odin, &mut client, &mut chains, "price", &["BTC", "BTC"]).await;
    client.subscribe(&["price:*"]).await;
    chains.take(&client.update().await);
    comes_once(&odin, &mut client, &mut chains, "price", &["BTC", "ETH"]).await;
    odin.gateway.is_balanced().await;
}

/// Publications while somebody sleeps, padded so that the buffers take only a part.
async fn publish_past_the_sleeper(odin: &Odin, kind: &str, tokens: &[&str]) -> Vec<Vec<u64>> {
    let padding = "x".repeat(1000);
    let message = |n: usize| (subject(kind, tokens[n % tokens.len()]), format!(r#"{{"n":{n},"p":"{padding}"}}"#));
    let sequences = odin.publisher.publish_all((0..1000).map(message).collect()).await;
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 1).await;
    (0..tokens.len()).map(|at| sequences.iter().copied().skip(at).step_by(tokens.len()).collect()).collect()
}

async fn sleeper(gateway: &Gateway) -> Client {
    Client::dial(gateway.address, Dial { receive_buffer_bytes: Some(4096), ..Dial::default() }).await
}

fn big_rings(config: &mut Config) {
    rules(config);
    config.sockets.send_buffer_bytes = Some(16 * 1024);
    config.sockets.notsent_lowat_bytes = Some(16 * 1024);
    config.feeds.ring_bytes = 64 << 20;
}

#[tokio::test]
async fn gives_a_slow_reader_of_all_everything_under_any_pattern() {
    // A pattern that would merge carries a channel that must not be merged.
    for pattern_mode in [Mode::All, Mode::Latest] {
        for pattern_first in [false, true] {
            for leaves_pattern in [false, true] {
                let odin = Odin::start_with(big_rings).await;
                let mut slow = sleeper(&odin.gateway).await;
                let pattern = ChannelRequest { mode: Some(pattern_mode), ..ChannelRequest::from("price:*") };
                let own = ChannelRequest { mode: Some(Mode::All), ..ChannelRequest::from("price:BTC") };
                let mut both = vec![own, pattern];
                if pattern_first {
                    both.reverse();
                }
                for one in both {
                    slow.ask_with(1, vec![one]).await;
                    assert!(matches!(slow.message().await, ServerMessage::Subscribed { .. }));
                }
                let sequences = publish_past_the_sleeper(&odin, "price", &["BTC", "ETH"]).await;
                if leaves_pattern {
                    slow.unsubscribe(2, &["price:*"]).await;
                }
                let mut reader = Reader::of(&["price:BTC"]);
                reader.read_to(&mut slow, "price:BTC", *sequences[0].last().expect("many")).await;
                assert_eq!(reader.seen["price:BTC"], sequences[0], "{pattern_mode:?} {pattern_first} {leaves_pattern}");
                let seq = publish(&odin, "price", "BTC").await;
                reader.read_to(&mut slow, "price:BTC", seq).await;
                assert!(reader.gaps.is_empty());
                odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
            }
        }
    }
}

#[tokio::test]
async fn announces_what_the_snapshot_of_a_pattern_leaves_out_for_a_slow_reader_of_all() {
    let odin = Odin::start_with(big_rings).await;
    let mut slow = sleeper(&odin.gateway).await;
    slow.subscribe(&["orders:BTC"]).await;
    let sequences = publish_past_the_sleeper(&odin, "orders", &["BTC"]).await;
    slow.ask(2, &["orders:*"]).await;
    let mut reader = Reader::of(&["orders:BTC"]);
    read_until_answered(&mut slow, &mut reader, "orders:*").await;
    reader.read_to(&mut slow, "orders:BTC", *sequences[0].last().expect("many")).await;
    reader.has_all("orders:BTC", &sequences[0]);
    let mut chains = Chains::default();
    comes_once(&odin, &mut slow, &mut chains, "orders", &["BTC", "ETH", "BTC"]).await;
    odin.gateway.is_balanced().await;
}

/// What of a channel was had, its pattern does not bring again, even if that is resumed from further back.
#[tokio::test]
async fn goes_on_where_the_channel_stood_although_its_pattern_stood_before() {
    let odin = Odin::start_with(rules).await;
    let mut had = odin.client().await;
    had.subscribe(&["orders:BTC"]).await;
    had.subscribe(&["orders:*"]).await;
    let mut cursors = Vec::new();
    for _ in 0..4 {
        publish(&odin, "orders", "BTC").await;
        let Update { epoch, seq, ts, .. } = had.update().await;
        cursors.push(Cursor { epoch, seq, ts_ms: ts });
    }
    let other = publish(&odin, "orders", "ETH").await;
    had.update().await;
    for order in [["orders:*", "orders:BTC"], ["orders:BTC", "orders:*"]] {
        let mut client = odin.client().await;
        let since = |name: &str| cursors[if name == "orders:*" { 0 } else { 2 }].to_string();
        let request = |name: &str| ChannelRequest { since: Some(since(name)), ..ChannelRequest::from(name) };
        client.ask_with(1, order.iter().map(|name| request(name)).collect()).await;
        let messages = client.sync(90).await;
        let seqs: Vec<u64> = messages
            .iter()
            .filter_map(|message| if let ServerMessage::Update(update) = message { Some(update.seq) } else { None })
            .collect();
        assert_eq!(seqs, [cursors[3].seq, other], "{order:?}: {messages:?}");
    }
    odin.gateway.is_balanced().await;
}

/// A channel that comes back has to be read from the stream, and its pattern takes over before it was: what it still
/// had to read is the pattern's, and nothing keeps the connection from being at the head.
#[tokio::test]
async fn is_at_the_head_again_although_its_pattern_came_before_the_channel_was_read() {
    let odin = Odin::start_with(big_rings).await;
    let mut client = odin.client().await;
    client.subscribe(&["orders:BTC"]).await;
    let first = publish(&odin, "orders", "BTC").await;
    let update = client.update().await;
    drop(client);
    let padding = "x".repeat(1000);
    let message = |n: usize| (subject("orders", "BTC"), format!(r#"{{"n":{n},"p":"{padding}"}}"#));
    let missed = odin.publisher.publish_all((0..1000).map(message).collect()).await;
    let since = Cursor { epoch: update.epoch, seq: first, ts_ms: update.ts }.to_string();
    let request = |channel: &str| ChannelRequest { since: Some(since.clone()), ..ChannelRequest::from(channel) };
    for pattern in [request("orders:*"), ChannelRequest::from("orders:*")] {
        // Its rings are empty.
        let other = odin.another_gateway().await;
        let mut slow = sleeper(&other).await;
        slow.ask_with(1, vec![request("orders:BTC")]).await;
        other.metric_becomes("odin_gateway_connections_behind", 1).await;
        slow.ask_with(2, vec![pattern]).await;
        other.metric_becomes("odin_gateway_subscriptions", 2).await;
        let mut reader = Reader::of(&["orders:BTC"]);
        read_until_answered(&mut slow, &mut reader, "orders:*").await;
        reader.read_to(&mut slow, "orders:BTC", *missed.last().expect("many")).await;
        reader.has_all("orders:BTC", &missed);
        other.metric_becomes("odin_gateway_connections_behind", 0).await;
        comes_once(&odin, &mut slow, &mut Chains::default(), "orders", &["BTC"]).await;
        other.is_balanced().await;
    }
}

#[tokio::test]
async fn gives_a_slow_reader_of_latest_the_newest_when_its_pattern_goes() {
    let odin = Odin::start_with(big_rings).await;
    for leaves_pattern in [false, true] {
        let mut slow = sleeper(&odin.gateway).await;
        slow.subscribe(&["price:BTC", "price:*"]).await;
        let sequences = publish_past_the_sleeper(&odin, "price", &["BTC", "ETH"]).await;
        if leaves_pattern {
            slow.unsubscribe(2, &["price:*"]).await;
        }
        let mut reader = Reader { merges: true, ..Reader::of(&["price:BTC"]) };
        reader.read_to(&mut slow, "price:BTC", *sequences[0].last().expect("many")).await;
        assert!(reader.seen["price:BTC"].len() < 450, "merged");
        let seq = publish(&odin, "price", "BTC").await;
        reader.read_to(&mut slow, "price:BTC", seq).await;
        odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    }
}

#[tokio::test]
async fn serves_two_patterns_in_two_codecs() {
    let odin = Odin::start_with(rules).await;
    let mut clients = Vec::new();
    for codec in [Codec::Json, Codec::MsgPack, Codec::Json, Codec::MsgPack] {
        let mut client = Client::dial(odin.gateway.address, Dial { codec, ..Dial::default() }).await;
        client.subscribe(&["price:BTC", "orders:*", "price:*", "orders:BTC"]).await;
        clients.push((client, Chains::default()));
    }
    let everybody = async |clients: &mut Vec<(Client, Chains)>| {
        for kind in ["price", "orders", "orders", "price"] {
            let seq = publish(&odin, kind, "BTC").await;
            for (client, chains) in clients.iter_mut() {
                let update = client.update().await;
                assert_eq!((update.seq, update.channel.clone()), (seq, channel(kind, "BTC")));
                chains.take(&update);
            }
        }
        for (client, _) in clients.iter_mut() {
            assert!(client.sync(2).await.is_empty());
        }
    };
    everybody(&mut clients).await;
    // Each leaves another part of it.
    for ((client, _), gone) in clients.iter_mut().zip(["price:*", "orders:*", "price:BTC", "orders:BTC"]) {
        unsubscribe(client, gone).await;
    }
    everybody(&mut clients).await;
    odin.gateway.is_balanced().await;
}
