//! Listeners written in Rust, which can do what a foreign one can and panic too.

use std::sync::{Arc, Mutex};

use odin_client_ffi::{DEFAULT_EVENT_QUEUE, OdinClient, OdinEvent, OdinListener, OdinListenerError, OdinOptions};
use tokio::sync::mpsc;

use crate::support::{Stage, publish_to, soon};

const SUBJECT: &str = "odin.tokens.BTC.price";

fn options(url: String, event_queue: u32) -> OdinOptions {
    OdinOptions { urls: vec![url], codec: None, token_source: None, ca_file: None, max_attempts: None, event_queue }
}

/// Takes an event when the test does: between them nothing waits.
struct Slow {
    told: mpsc::Sender<OdinEvent>,
}

impl OdinListener for Slow {
    fn on_event(&self, event: OdinEvent) -> Result<(), OdinListenerError> {
        // after the test nobody listens
        let _ = self.told.blocking_send(event);
        Ok(())
    }
}

/// Checklist 32: who does not read gets the newest value and not what lies between, and nothing is kept for them.
#[tokio::test]
async fn a_slow_listener_slows_the_reading_and_the_gateway_merges() {
    /// 24 MB: more than the queue and the sockets of both sides hold.
    const UPDATES: usize = 500;
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publisher = stage.publisher().await;
    let (told, mut events) = mpsc::channel(1);
    let client = OdinClient::connect(options(gateway.ws_url(), 1), Arc::new(Slow { told })).expect("valid options");
    client.subscribe("price:BTC".to_owned(), None, None).await.expect("the client lives");
    while !matches!(soon("subscribed", events.recv()).await, Some(OdinEvent::Subscribed { .. })) {}
    let padding = "x".repeat(48 * 1_024);
    let mut newest = 0;
    for price in 0..UPDATES {
        newest = publish_to(&publisher, SUBJECT, &format!(r#"{{"price":{price},"padding":"{padding}"}}"#)).await;
    }
    let mut count = 0;
    loop {
        match soon("the newest value", events.recv()).await.expect("the client lives") {
            OdinEvent::Update { update } => {
                count += 1;
                if update.seq == newest {
                    break;
                }
            }
            event @ (OdinEvent::Gap { .. } | OdinEvent::Reconnecting { .. }) => panic!("{event:?}"),
            _ => {}
        }
    }
    assert!(count < UPDATES, "all {count} were kept for a listener that did not take them");
    drop(events);
    client.close().await;
}

/// Panics at every update.
struct Panicking {
    told: mpsc::Sender<OdinEvent>,
    threads: Mutex<Vec<std::thread::ThreadId>>,
}

impl OdinListener for Panicking {
    fn on_event(&self, event: OdinEvent) -> Result<(), OdinListenerError> {
        let mut threads = self.threads.lock().expect("nobody panics with it");
        threads.push(std::thread::current().id());
        threads.dedup();
        let is_one = threads.len() == 1;
        drop(threads);
        assert!(is_one && !matches!(event, OdinEvent::Update { .. }), "as the test wants");
        let _ = self.told.blocking_send(event);
        Ok(())
    }
}

/// Checklist 58: a panic ends nothing but the call it is in, and is announced.
#[tokio::test]
async fn a_panic_of_the_listener_stays_in_its_call() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let publisher = stage.publisher().await;
    let (told, mut events) = mpsc::channel(64);
    let listener = Arc::new(Panicking { told, threads: Mutex::default() });
    let client = OdinClient::connect(options(gateway.ws_url(), DEFAULT_EVENT_QUEUE), listener).expect("valid options");
    client.subscribe("price:BTC".to_owned(), None, None).await.expect("the client lives");
    while !matches!(soon("subscribed", events.recv()).await, Some(OdinEvent::Subscribed { .. })) {}
    for _ in 0..2 {
        publish_to(&publisher, SUBJECT, r#"{"price":1}"#).await;
        let failed = soon("the failure", events.recv()).await;
        assert_eq!(failed, Some(OdinEvent::ListenerFailed { reason: "the listener panicked".to_owned() }));
    }
    client.close().await;
    while !matches!(soon("closed", events.recv()).await, Some(OdinEvent::Closed { code: Some(1000), .. })) {}
    assert_eq!(soon("the end", events.recv()).await, None, "the listener is let go of");
}
