//! The client and the `odin` program against a real gateway that checks tokens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use odin_client::{Client, Event, Events, Options, PublishError, TokenSource, protocol::ErrorCode};
use odin_devkit::Gateway;
use serde_json::json;

use crate::{
    gateway::{Stage, publish},
    support::{Place, next, options},
    terminal::{end, odin, start, text},
};

const SECRET: &str = "what the issuer and the gateway of these tests share";

/// Rules of the tests: what is a user's own, and a room in which users talk.
const CONFIG: &str = r#"
[auth]
algorithms = ["HS256"]
hs256_secret = "what the issuer and the gateway of these tests share"
leeway = "0s"
expiry_warning = "0s"

[[rules]]
channel = "trades"
subject = "odin.users.{sub}.trades"
access = "owner"
mode = "all"

[[rules]]
channel = "chat:{room}"
subject = "odin.chat.{room}"
access = "signed_in"
mode = "all"
publish = "signed_in"
"#;

async fn gateway(stage: &Stage, place: &Place) -> Gateway {
    std::fs::write(place.path(), CONFIG).expect("written");
    stage.gateway_with(&["--config", place.path()]).await
}

/// A token as `odin token` makes it.
async fn token(sub: &str, expires_in: &str) -> String {
    let output = end(start(&["token", "--sub", sub, "--secret", SECRET, "--expires-in", expires_in])).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

async fn subscribed(events: &mut Events) -> bool {
    let pick = |event| match event {
        Event::Subscribed { recovered, .. } => Some(recovered),
        _ => None,
    };
    next(events, "subscribed", pick).await
}

async fn seq(events: &mut Events) -> u64 {
    let pick = |event| match event {
        Event::Update(update) => Some(update.seq),
        Event::Gap(gap) => panic!("{gap:?}"),
        _ => None,
    };
    next(events, "an update", pick).await
}

#[tokio::test]
async fn tokens_that_odin_makes_sign_in_and_their_user_gets_what_is_theirs() {
    let stage = Stage::start().await;
    let place = Place::new("users");
    let gateway = gateway(&stage, &place).await;
    let ada = token("ada", "1h").await;
    let url = gateway.ws_url();
    let mut tail = odin(&["tail", "--json", "--count", "1", "--events", "--url", &url, "trades"]);
    let tail = tail.env("ODIN_TOKEN", &ada).spawn().expect("the program starts");
    let publisher = stage.publisher().await;
    // It may subscribe before or after: the snapshot is an update too.
    publish(&publisher, "odin.users.ada.trades", r#"{"bought":1}"#).await;
    let output = end(tail).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""data":{"bought":1}"#), "{}", text(&output.stdout));
    let publish = ["publish", "--url", &url, "--token", &ada, "--json", "chat:lobby", r#"{"text":"hello"}"#];
    let output = end(start(&publish)).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""seq""#), "{}", text(&output.stdout));
    let output = end(start(&["tail", "--count", "1", "--url", &url, "--token", "nonsense", "trades"])).await;
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
}

#[tokio::test]
async fn stays_signed_in_over_many_short_tokens_and_misses_nothing() {
    let stage = Stage::start().await;
    let place = Place::new("refresh");
    let gateway = gateway(&stage, &place).await;
    let asked = Arc::new(AtomicU64::new(0));
    let source = {
        let asked = asked.clone();
        TokenSource::from_fn(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, std::convert::Infallible>(token("ada", "3s").await) }
        })
    };
    let options = Options { token: Some(source), ..options(&[gateway.ws_url()]) };
    let (client, mut events) = Client::connect(options).expect("valid options");
    client.subscribe(["trades"]).await.expect("the client lives");
    subscribed(&mut events).await;
    let publisher = stage.publisher().await;
    // Three tokens have expired by then; a connection that was lost would be a new one.
    while asked.load(Ordering::Relaxed) < 4 {
        let stored = publish(&publisher, "odin.users.ada.trades", "1").await;
        assert_eq!(seq(&mut events).await, stored);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let stats = client.stats();
    assert_eq!((stats.connections, stats.violations), (1, 0));
}

#[tokio::test]
async fn signs_in_again_on_the_next_gateway_and_goes_on_where_it_stopped() {
    let stage = Stage::start().await;
    let place = Place::new("again");
    let (mut first, second) = (gateway(&stage, &place).await, gateway(&stage, &place).await);
    let source = TokenSource::from_fn(|| async { Ok::<_, std::convert::Infallible>(token("ada", "1h").await) });
    let options = Options { token: Some(source), ..options(&[first.ws_url(), second.ws_url()]) };
    let (client, mut events) = Client::connect(options).expect("valid options");
    client.subscribe(["trades"]).await.expect("the client lives");
    assert!(!subscribed(&mut events).await);
    let publisher = stage.publisher().await;
    let before = publish(&publisher, "odin.users.ada.trades", "1").await;
    assert_eq!(seq(&mut events).await, before);
    first.kill().await;
    let meanwhile = publish(&publisher, "odin.users.ada.trades", "2").await;
    assert!(subscribed(&mut events).await, "recovered");
    assert_eq!(seq(&mut events).await, meanwhile);
}

#[tokio::test]
async fn publishes_through_the_gateway_what_a_rule_allows() {
    let stage = Stage::start().await;
    let place = Place::new("chat");
    let gateway = gateway(&stage, &place).await;
    let options =
        Options { token: Some(TokenSource::constant(token("ada", "1h").await)), ..options(&[gateway.ws_url()]) };
    let (client, mut events) = Client::connect(options).expect("valid options");
    client.subscribe(["chat:lobby"]).await.expect("the client lives");
    subscribed(&mut events).await;
    let data = json!({ "text": "hello" }).to_string();
    let published = client.publish("chat:lobby", &data).await.expect("stored");
    assert_eq!(seq(&mut events).await, published.seq);
    match client.publish("trades", &data).await {
        Err(PublishError::Refused { code, .. }) => assert_eq!(code, ErrorCode::Unsupported),
        other => panic!("{other:?}"),
    }
}
