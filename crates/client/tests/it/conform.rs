//! The client before the examination that clients of any language take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use odin_client::{Backoff, Client, Event, Events, Options, TokenSource, protocol::Codec};
use odin_devkit::conformance::{Behaviour, Conformance, Options as Examination, Report, Told, Verdict};
use serde::Deserialize;
use tokio::sync::mpsc;

/// Shorter waits than by default: the examination is told, and is over sooner.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(1);

/// What a scenario needs of a client.
#[derive(Deserialize)]
struct Scenario {
    name: String,
    url: String,
    subscribe: Vec<String>,
    tokens: bool,
    publish: usize,
}

fn examination() -> Examination {
    Examination { backoff_base: BASE, backoff_cap: CAP, has_adapter: true, ..Examination::default() }
}

fn options(url: &str, codec: Codec) -> Options {
    Options { urls: vec![url.to_owned()], codec, backoff: Backoff::new(BASE, CAP), ..Options::default() }
}

/// A source that gives another token each time.
fn tokens() -> TokenSource {
    let count = Arc::new(AtomicU32::new(0));
    TokenSource::from_fn(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, std::convert::Infallible>(format!("token-{number}")) }
    })
}

/// What the application is told, for the report; `None` where the examination does not ask.
fn told(event: Event) -> Option<Told> {
    match event {
        Event::Update(update) => Some(Told::Update { channel: update.channel, seq: update.seq }),
        Event::Gap(gap) => Some(Told::Gap { channel: gap.channel }),
        Event::Subscribed { channel, is_anew: true, .. } => Some(Told::Loss { channel }),
        Event::Stale { .. } => Some(Told::Stale),
        Event::Live { .. } => Some(Told::Live),
        Event::Closed { .. } => Some(Told::Closed),
        _ => None,
    }
}

/// The application of one scenario.
async fn take_part(scenario: Scenario, codec: Codec, tell: mpsc::Sender<(String, Told)>) {
    let options = Options { token: scenario.tokens.then(tokens), ..options(&scenario.url, codec) };
    let (client, events) = Client::connect(options).expect("valid options");
    client.subscribe(&scenario.subscribe).await.expect("the client lives");
    for number in 0..scenario.publish {
        let client = client.clone();
        // what becomes of them is for the examination to see
        tokio::spawn(async move { client.publish("chat:lobby", &format!(r#"{{"number":{number}}}"#)).await.ok() });
    }
    report(events, &scenario.name, &tell).await;
}

async fn report(mut events: Events, name: &str, tell: &mpsc::Sender<(String, Told)>) {
    while let Some(event) = events.recv().await {
        if let Some(told) = told(event)
            && tell.send((name.to_owned(), told)).await.is_err()
        {
            return;
        }
    }
}

/// Waits until all scenarios have ended.
async fn examine(mut conformance: Conformance, mut told: mpsc::Receiver<(String, Told)>) -> Report {
    let all = async {
        loop {
            tokio::select! {
                ended = conformance.ended() => match ended {
                    Some(outcome) => assert_eq!(outcome.hitch, None, "{}", outcome.scenario),
                    None => return,
                },
                Some((name, told)) = told.recv() => conformance.tell(Some(&name), told),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(180), all).await.expect("scenarios end");
    conformance.report()
}

async fn pass(codec: Codec) {
    let conformance = Conformance::start(examination()).await.expect("a port");
    let (tell, told) = mpsc::channel(64);
    for scenario in conformance.scenarios() {
        let scenario: Scenario = serde_json::from_value(scenario).expect("as documented");
        tokio::spawn(take_part(scenario, codec, tell.clone()));
    }
    let report = examine(conformance, told).await;
    let is_complete = report.rows().iter().all(|(_, verdict)| *verdict == Verdict::Shown);
    assert!(is_complete && report.rows().len() == Behaviour::ALL.len(), "{report}");
}

#[tokio::test]
async fn does_all_that_the_protocol_asks_of_a_client() {
    pass(Codec::Json).await;
}

#[tokio::test]
async fn does_the_same_in_message_pack() {
    pass(Codec::MsgPack).await;
}

#[tokio::test]
async fn goes_through_all_scenarios_of_the_default_path_in_one_life() {
    let conformance = Conformance::start(examination()).await.expect("a port");
    let (tell, told) = mpsc::channel(64);
    let (client, events) =
        Client::connect(options(&format!("{}/ws", conformance.url()), Codec::Json)).expect("valid options");
    client.subscribe(["signals:all", "price:*"]).await.expect("the client lives");
    tokio::spawn(async move { report(events, "ws", &tell).await });
    let report = examine(conformance, told).await;
    assert!(report.passed(), "{report}");
}
