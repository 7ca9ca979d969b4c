//! Feeds that some get late: everything, in order, and nothing before its time.

use odin_protocol::{
    Cursor, Update,
    message::{Mode, ServerMessage},
};
use std::time::{SystemTime, UNIX_EPOCH};
use ws_gateway::{
    config::Config,
    rules::{Access, Delayed, RuleSource},
};

use crate::support::{Chains, Client, Odin, with_rules};

const DELAY_MS: i64 = 1_500;

/// Prices are for premium users; everybody else gets them late.
fn late_prices(config: &mut Config) {
    let access = Access::Tiers(vec!["premium".to_owned()]);
    let prices = RuleSource::new("price:{token}", "odin.tokens.{token}.price", access, Mode::All);
    let delayed = Some(Delayed { access: Access::Public, by: format!("{DELAY_MS}ms") });
    with_rules(config, vec![RuleSource { client_mode: true, pattern: true, delayed, ..prices }]);
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("in range")
}

fn is_due(update: &Update) {
    let age_ms = now_ms() - update.ts;
    assert!(age_ms >= DELAY_MS, "{} came {age_ms} ms after it was stored", update.seq);
}

async fn updates(client: &mut Client, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    let mut chains = Chains::default();
    for _ in 0..count {
        let update = client.update().await;
        is_due(&update);
        chains.take(&update);
        seqs.push(update.seq);
    }
    seqs
}

#[tokio::test]
async fn gives_everything_in_order_and_nothing_before_its_time() {
    let odin = Odin::start_with(late_prices).await;
    let mut exact = odin.client().await;
    let mut pattern = odin.client().await;
    exact.subscribe(&["price:BTC"]).await;
    pattern.subscribe(&["price:*"]).await;
    let btc = odin.publisher.prices("BTC", 1, 300, 0).await;
    let eth = odin.publisher.prices("ETH", 1, 300, 0).await;
    assert_eq!(updates(&mut exact, 300).await, btc);
    let mut all = [btc, eth].concat();
    all.sort_unstable();
    assert_eq!(updates(&mut pattern, 600).await, all, "in the order of the stream");
    assert!(exact.sync(1).await.is_empty());
}

#[tokio::test]
async fn begins_with_what_was_the_last_value_then() {
    let odin = Odin::start_with(late_prices).await;
    let old = odin.publisher.prices("BTC", 1, 3, 0).await;
    // The stream says when; the clock of this machine says that it is over.
    tokio::time::sleep(std::time::Duration::from_millis(DELAY_MS as u64 + 100)).await;
    let new = odin.publisher.prices("BTC", 4, 3, 0).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let snapshot = client.update().await;
    assert_eq!((snapshot.seq, snapshot.snapshot), (old[2], true));
    assert_eq!(updates(&mut client, 3).await, new);
}

/// Whoever comes back, or is slow, is not shown what is not due yet: neither by the ring nor by pages of the stream.
#[tokio::test]
async fn resumes_without_getting_ahead() {
    let odin = Odin::start_with(|config| {
        late_prices(config);
        // Nothing is kept: everything that was missed is read from the stream.
        config.feeds.ring_bytes = 0;
    })
    .await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    let first = odin.publisher.prices("BTC", 1, 5, 0).await;
    let update = client.update().await;
    is_due(&update);
    assert_eq!(update.seq, first[0]);
    let since = Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts }.to_string();
    drop(client);
    let more = odin.publisher.prices("BTC", 6, 200, 0).await;
    let mut client = odin.client().await;
    client
        .send(&odin_protocol::message::ClientMessage::Subscribe {
            id: None,
            channels: vec!["price:BTC".into()],
            since: Some(since),
        })
        .await;
    match client.message().await {
        ServerMessage::Subscribed { recovered, .. } => assert!(recovered),
        other => panic!("{other:?}"),
    }
    assert_eq!(updates(&mut client, 204).await, [&first[1..], &more[..]].concat());
}
