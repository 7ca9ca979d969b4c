//! The client against a real gateway and a real nats-server.

use std::path::PathBuf;

use odin_client::{
    Client, Event, Events, Options, Subscription,
    protocol::{Codec, ErrorCode, Mode, Update},
};
use odin_devkit::{Gateway, NatsServer};
use odin_publisher::Publisher;
use tokio::process::Command;

use crate::support::{next, options, soon};

const BTC: &str = "odin.tokens.BTC.price";

/// The gateway of this build: beside the folder of the tests.
fn gateway_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
    let binary = profile.join(format!("ws-gateway{}", std::env::consts::EXE_SUFFIX));
    assert!(
        binary.is_file(),
        "{} is missing: build it first, with `cargo build -p ws-gateway` in the same profile",
        binary.display()
    );
    binary
}

/// A nats-server with odin's streams; gateways and publishers as needed.
pub(crate) struct Stage {
    nats: NatsServer,
}

impl Stage {
    pub(crate) async fn start() -> Stage {
        let binary = gateway_binary();
        let nats = NatsServer::start().await.expect("nats-server starts");
        let mut provision = Command::new(binary);
        provision.args(["provision", "--nats-url", &nats.url()]);
        let output = soon("provisioning", provision.output()).await.expect("the program starts");
        assert!(output.status.success(), "no stream: {}", String::from_utf8_lossy(&output.stderr));
        Stage { nats }
    }

    async fn gateway(&self) -> Gateway {
        self.gateway_with(&[]).await
    }

    pub(crate) async fn gateway_with(&self, args: &[&str]) -> Gateway {
        Gateway::start(&gateway_binary(), self.nats.url(), args).await.expect("the gateway starts")
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        let options = odin_publisher::Options { urls: vec![self.nats.url()], ..odin_publisher::Options::default() };
        Publisher::connect(options).await.expect("nats is there")
    }
}

/// Publishes and gives the sequence.
pub(crate) async fn publish(publisher: &Publisher, subject: &str, payload: &str) -> u64 {
    let ack = publisher.publish(subject, payload.to_owned()).await.expect("accepted");
    ack.await.expect("stored").sequence
}

async fn update(events: &mut Events) -> Update {
    next(events, "an update", |event| match event {
        Event::Update(update) => Some(update),
        _ => None,
    })
    .await
}

async fn subscribed(events: &mut Events) {
    next(events, "subscribed", |event| matches!(event, Event::Subscribed { .. }).then_some(())).await;
}

#[tokio::test]
async fn gets_the_last_value_and_then_each_update_in_both_codecs() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publisher = stage.publisher().await;
    let mut last = publish(&publisher, BTC, r#"{"price":1.50,"note":"größer"}"#).await;
    for codec in Codec::ALL {
        let (client, mut events) =
            Client::connect(Options { codec, ..options(&[gateway.ws_url()]) }).expect("valid options");
        client.subscribe(["price:BTC"]).await.expect("the client lives");
        let snapshot = update(&mut events).await;
        assert!(snapshot.snapshot);
        assert_eq!((snapshot.channel.as_str(), snapshot.seq, snapshot.prev), ("price:BTC", last, None));
        for price in 2..5 {
            let seq = publish(&publisher, BTC, &format!(r#"{{"price":{price}}}"#)).await;
            let live = update(&mut events).await;
            assert_eq!((live.seq, live.prev, live.snapshot), (seq, Some(last), false));
            assert_eq!(live.data.get(), format!(r#"{{"price":{price}}}"#));
            last = seq;
        }
        assert_eq!(client.stats().violations, 0);
        client.close().await;
    }
}

#[tokio::test]
async fn a_pattern_delivers_every_channel_by_its_name() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publisher = stage.publisher().await;
    publish(&publisher, BTC, r#"{"price":1}"#).await;
    let (client, mut events) = Client::connect(options(&[gateway.ws_url()])).expect("valid options");
    client.subscribe(["price:*"]).await.expect("the client lives");
    assert_eq!(update(&mut events).await.channel, "price:BTC");
    publish(&publisher, "odin.tokens.ETH.price", r#"{"price":2}"#).await;
    let new = update(&mut events).await;
    assert_eq!((new.channel.as_str(), new.prev), ("price:ETH", Some(0)));
}

#[tokio::test]
async fn nothing_is_missing_and_nothing_twice_in_mode_all() {
    const UPDATES: usize = 2_000;
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publisher = stage.publisher().await;
    let (client, mut events) = Client::connect(options(&[gateway.ws_url()])).expect("valid options");
    let every = Subscription::new("price:BTC").expect("valid").with_mode(Mode::All);
    client.subscribe_with([every]).await.expect("the client lives");
    subscribed(&mut events).await;
    let publishing = tokio::spawn(async move {
        let mut acks = Vec::new();
        for price in 0..UPDATES {
            acks.push(publisher.publish(BTC, format!(r#"{{"price":{price}}}"#)).await.expect("accepted"));
        }
        let mut sequences = Vec::new();
        for ack in acks {
            sequences.push(ack.await.expect("stored").sequence);
        }
        sequences
    });
    let mut got = Vec::new();
    while got.len() < UPDATES {
        got.push(update(&mut events).await.seq);
    }
    assert_eq!(got, publishing.await.expect("no panic"));
    let stats = client.stats();
    assert_eq!((stats.violations, stats.gaps, stats.duplicates), (0, 0, 0));
}

#[tokio::test]
async fn ends_at_the_newest_value_on_another_gateway_after_a_crash() {
    let stage = Stage::start().await;
    let mut one = stage.gateway().await;
    let other = stage.gateway().await;
    let publisher = stage.publisher().await;
    publish(&publisher, BTC, r#"{"price":1}"#).await;
    let (client, mut events) = Client::connect(options(&[one.ws_url(), other.ws_url()])).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    update(&mut events).await;
    one.kill().await;
    let newest = publish(&publisher, BTC, r#"{"price":2}"#).await;
    let url = next(&mut events, "the other gateway", |event| match event {
        Event::Connected(connected) => Some(connected.url),
        _ => None,
    });
    assert_eq!(url.await, other.ws_url());
    assert_eq!(update(&mut events).await.seq, newest);
}

#[tokio::test]
async fn a_draining_gateway_says_so_and_asks_to_come_back() {
    let stage = Stage::start().await;
    let mut one = stage.gateway_with(&["--drain-pause", "0s", "--drain-window", "1s"]).await;
    let other = stage.gateway().await;
    let (client, mut events) = Client::connect(options(&[one.ws_url(), other.ws_url()])).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    subscribed(&mut events).await;
    let (status, ()) = tokio::join!(one.terminate(), async {
        next(&mut events, "draining", |event| matches!(event, Event::Draining { .. }).then_some(())).await;
        let code = next(&mut events, "a close", |event| match event {
            Event::Reconnecting { why, .. } => Some(why.close_code()),
            _ => None,
        });
        assert_eq!(code.await, Some(1012));
    });
    assert!(status.expect("it ended").success());
    subscribed(&mut events).await;
}

#[tokio::test]
async fn a_channel_for_signed_in_users_is_refused_and_the_others_go_on() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let (client, mut events) = Client::connect(options(&[gateway.ws_url()])).expect("valid options");
    client.subscribe(["signals:all", "price:BTC"]).await.expect("the client lives");
    let (mut refused, mut is_subscribed) = (None, false);
    next(&mut events, "both answers", |event| {
        match event {
            Event::Error(refusal) => refused = Some(refusal),
            Event::Subscribed { channel, .. } => is_subscribed = channel == "price:BTC",
            _ => {}
        }
        (refused.is_some() && is_subscribed).then_some(())
    })
    .await;
    let refused = refused.expect("just seen");
    assert_eq!(refused.channel.as_deref(), Some("signals:all"));
    assert!(matches!(refused.code, ErrorCode::AuthRequired | ErrorCode::AuthUnavailable), "{refused:?}");
}

#[cfg(feature = "terminal")]
#[tokio::test]
async fn what_odin_publishes_odin_tail_prints() {
    use crate::terminal::{end, odin};

    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publish = |id: &str| {
        let args = ["publish", "--json", "--id", id, "price:BTC", r#"{"price":64250.5}"#];
        odin(&args).env("ODIN_NATS_URL", stage.nats.url()).spawn().expect("the program starts")
    };
    let ack = |output: std::process::Output| -> serde_json::Value {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("an acknowledgement")
    };
    let first = ack(end(publish("n1")).await);
    assert_eq!((&first["subject"], &first["duplicate"]), (&BTC.into(), &false.into()));
    let again = ack(end(publish("n1")).await);
    assert_eq!((&again["seq"], &again["duplicate"]), (&first["seq"], &true.into()));

    let args = ["tail", "--json", "--count", "1", "--seconds", "20", "price:BTC"];
    let tail = odin(&args).env("ODIN_URL", gateway.ws_url()).spawn().expect("the program starts");
    let line = ack(end(tail).await);
    assert_eq!((&line["seq"], &line["snapshot"]), (&first["seq"], &true.into()));
    assert_eq!(line["data"]["price"], 64_250.5);
}
