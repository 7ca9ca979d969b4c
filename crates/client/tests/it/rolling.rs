//! Real gateways that are killed and drained under load: the client comes back on the next one, and what it delivers
//! is what the stream has.

use std::collections::BTreeMap;

use odin_client::{
    Client, Event, Events, Stats, Subscription,
    protocol::{Cursor, Mode},
};
use odin_devkit::Gateway;
use odin_publisher::Publisher;
use tokio::task::JoinHandle;

use crate::{
    gateway::{Stage, publish},
    support::{next, options},
};

/// Checkpoints as often as they come.
const ARGS: [&str; 4] = ["--feeds-checkpoint-interval", "1s", "--shards", "1"];
const TOKENS: u64 = 7;

/// What a client has been told.
#[derive(Default)]
struct Told {
    /// Sequences of each channel in the order they came, without snapshots.
    updates: BTreeMap<String, Vec<u64>>,
    /// The gateway of the present connection.
    url: String,
    /// Sequence of the last checkpoint.
    checkpoint: u64,
    /// Subscriptions confirmed on the present connection.
    confirmed: usize,
    anew: u64,
}

impl Told {
    /// Takes events in until `is_enough` says so.
    async fn until(&mut self, events: &mut Events, what: &str, is_enough: impl Fn(&Told) -> bool) {
        while !is_enough(self) {
            match next(events, what, Some).await {
                Event::Update(update) if !update.snapshot => {
                    self.updates.entry(update.channel).or_default().push(update.seq);
                }
                Event::Connected(connected) => (self.url, self.confirmed) = (connected.url, 0),
                Event::Checkpoint { cursor } => {
                    self.checkpoint = cursor.parse::<Cursor>().expect("of this version").seq;
                }
                Event::Subscribed { is_anew, .. } => {
                    self.confirmed += 1;
                    self.anew += u64::from(is_anew);
                }
                Event::Gap(gap) => panic!("{what}: {gap:?}"),
                Event::Repeated { channel, seq, .. } => panic!("{what}: {channel} {seq} came twice"),
                _ => {}
            }
        }
    }

    fn count(&self) -> usize {
        self.updates.values().map(Vec::len).sum()
    }
}

/// Publishes `count` prices of a few tokens, not faster than the test can follow, and gives what was stored.
fn rain(publisher: Publisher, count: u64) -> JoinHandle<BTreeMap<String, Vec<u64>>> {
    tokio::spawn(async move {
        let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for price in 0..count {
            let token = price % TOKENS;
            let seq =
                publish(&publisher, &format!("odin.tokens.T{token}.price"), &format!(r#"{{"price":{price}}}"#)).await;
            stored.entry(format!("price:T{token}")).or_default().push(seq);
        }
        stored
    })
}

/// Several gateways, and a client of all of them in mode `all` that has begun.
async fn begun(stage: &Stage, gateways: usize, channels: &[&str], args: &[&str]) -> (Vec<Gateway>, Client, Events) {
    let mut running = Vec::new();
    for _ in 0..gateways {
        running.push(stage.gateway_with(args).await);
    }
    let urls: Vec<String> = running.iter().map(Gateway::ws_url).collect();
    let (client, mut events) = Client::connect(options(&urls)).expect("valid options");
    let wanted = channels.iter().map(|channel| Subscription::new(channel).expect("valid").with_mode(Mode::All));
    client.subscribe_with(wanted).await.expect("the client lives");
    let mut left = channels.len();
    next(&mut events, "subscribed", |event| {
        left -= usize::from(matches!(event, Event::Subscribed { .. }));
        (left == 0).then_some(())
    })
    .await;
    (running, client, events)
}

fn assert_kept_its_promise(stats: Stats) {
    assert_eq!((stats.violations, stats.repeats, stats.gaps, stats.not_recovered), (0, 0, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn an_exact_channel_loses_nothing_when_gateways_are_killed() {
    const UPDATES: u64 = 2_100;
    let stage = Stage::start().await;
    let channels = ["price:T0", "price:T1", "price:T2", "price:T3", "price:T4", "price:T5", "price:T6"];
    let (mut gateways, client, mut events) = begun(&stage, 4, &channels, &ARGS).await;
    let raining = rain(stage.publisher().await, UPDATES);
    let all = channels.len();
    let mut told = Told { confirmed: all, ..Told::default() };
    for round in 1..=3 {
        let some = (UPDATES / 8) as usize * round;
        told.until(&mut events, "some updates", |told| told.count() >= some && told.confirmed == all).await;
        gateways[round - 1].kill().await;
        // What still comes of it is no sign of life of the next one.
        told.confirmed = 0;
    }
    let is_all = |told: &Told| told.count() as u64 >= UPDATES && told.confirmed == all;
    told.until(&mut events, "all updates", is_all).await;
    assert_eq!(told.updates, raining.await.expect("no panic"));
    let stats = client.stats();
    assert_kept_its_promise(stats);
    assert_eq!((told.anew, stats.connections), (0, 4));
    assert_eq!((stats.recovered, stats.duplicates), (3 * channels.len() as u64, 0), "without overlap");
}

#[tokio::test]
async fn a_pattern_loses_nothing_and_repeats_nothing_when_gateways_are_killed() {
    const UPDATES: u64 = 2_100;
    let stage = Stage::start().await;
    let (mut gateways, client, mut events) = begun(&stage, 4, &["price:*", "price:T3"], &ARGS).await;
    let raining = rain(stage.publisher().await, UPDATES);
    let all = 2;
    let mut told = Told { confirmed: all, ..Told::default() };
    for round in 1..=3 {
        let some = (UPDATES / 8) as usize * round;
        told.until(&mut events, "some updates", |told| told.count() >= some && told.confirmed == all).await;
        gateways[round - 1].kill().await;
        // What still comes of it is no sign of life of the next one.
        told.confirmed = 0;
    }
    let is_all = |told: &Told| told.count() as u64 >= UPDATES && told.confirmed == all;
    told.until(&mut events, "all updates", is_all).await;
    assert_eq!(told.updates, raining.await.expect("no panic"));
    let stats = client.stats();
    assert_kept_its_promise(stats);
    assert_eq!((told.anew, stats.connections, stats.recovered), (0, 4, 6));
}

#[tokio::test]
async fn a_pattern_comes_back_to_its_checkpoint() {
    let stage = Stage::start().await;
    let (mut gateways, client, mut events) = begun(&stage, 2, &["price:*"], &ARGS).await;
    let publisher = stage.publisher().await;
    let first = publish(&publisher, "odin.tokens.T1.price", r#"{"price":1}"#).await;
    let mut told = Told::default();
    told.until(&mut events, "an update", |told| told.count() == 1).await;
    // a pattern with traffic is verified often, one without now and then
    while told.checkpoint < first {
        publish(&publisher, "odin.tokens.T2.price", r#"{"price":0}"#).await;
        let more = told.count() + 1;
        told.until(&mut events, "another update", |told| told.count() >= more).await;
    }
    gateways[0].kill().await;
    let second = publish(&publisher, "odin.tokens.T1.price", r#"{"price":2}"#).await;
    let both = |told: &Told| told.updates["price:T1"].len() >= 2;
    told.until(&mut events, "the other update", both).await;
    assert_eq!(told.updates["price:T1"], [first, second]);
    let stats = client.stats();
    assert_kept_its_promise(stats);
    assert_eq!((told.anew, stats.recovered), (0, 1));
}

#[tokio::test]
async fn a_drain_loses_nothing() {
    const UPDATES: u64 = 1_400;
    let stage = Stage::start().await;
    let args = [&ARGS[..], &["--drain-pause", "0s", "--drain-window", "1s"]].concat();
    let (mut gateways, client, mut events) = begun(&stage, 3, &["price:*"], &args).await;
    let raining = rain(stage.publisher().await, UPDATES);
    let mut told = Told::default();
    for round in 1..=2 {
        let some = (UPDATES / 4) as usize * round;
        told.until(&mut events, "some updates", |told| told.count() >= some).await;
        let gateway = &mut gateways[round - 1];
        let url = gateway.ws_url();
        let (status, ()) =
            tokio::join!(gateway.terminate(), told.until(&mut events, "another gateway", |told| told.url != url));
        assert!(status.expect("it ended").success());
    }
    told.until(&mut events, "all updates", |told| told.count() as u64 >= UPDATES).await;
    assert_eq!(told.updates, raining.await.expect("no panic"));
    assert_kept_its_promise(client.stats());
}

#[cfg(feature = "terminal")]
#[tokio::test]
async fn one_run_of_tail_continues_where_the_other_ended_on_another_gateway() {
    use crate::{
        support::Place,
        terminal::{end, odin},
    };

    let stage = Stage::start().await;
    let gateways = [stage.gateway_with(&ARGS).await, stage.gateway_with(&ARGS).await];
    let publisher = stage.publisher().await;
    let place = Place::new("two-gateways");
    let tail = |gateway: &Gateway, count: &str| {
        let args = ["tail", "--json", "--mode", "all", "--count", count, "--seconds", "20"];
        let mut tail = odin(&args);
        tail.args(["--cursor-file", place.path(), "price:T0"]).env("ODIN_URL", gateway.ws_url());
        tail.spawn().expect("the program starts")
    };
    let sequences = |output: std::process::Output| -> Vec<u64> {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let line = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).expect("JSON")["seq"].as_u64();
        output.stdout.trim_ascii_end().split(|byte| *byte == b'\n').map(|text| line(text).expect("a number")).collect()
    };
    let first = publish(&publisher, "odin.tokens.T0.price", r#"{"price":0}"#).await;
    assert_eq!(sequences(end(tail(&gateways[0], "1")).await), [first]);
    let mut missed = Vec::new();
    for price in 1..=50 {
        missed.push(publish(&publisher, "odin.tokens.T0.price", &format!(r#"{{"price":{price}}}"#)).await);
    }
    assert_eq!(sequences(end(tail(&gateways[1], "30")).await), missed[..30]);
    assert_eq!(sequences(end(tail(&gateways[0], "20")).await), missed[30..]);
}
