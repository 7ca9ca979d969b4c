//! Coming back, against a server that does what the test says: what is asked for, what is dropped, what is reported.

use odin_client::{Client, Event, Events, Gap, Subscription, protocol::ResumeFailure};

use crate::support::{Heard, Peer, Server, connect, next, next_seq, options};

async fn subscribed(server: &mut Server, channel: &str) -> (Client, Events, Peer) {
    let (client, events) = connect(&server.url());
    client.subscribe([channel]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    (client, events, peer)
}

async fn checkpoint(peer: &mut Peer, events: &mut Events, cursor: &str) {
    peer.say(&format!(r#"{{"type":"checkpoint","cursor":"{cursor}"}}"#)).await;
    next(events, "a checkpoint", |event| match event {
        Event::Checkpoint { cursor: told } => (told == cursor).then_some(()),
        _ => None,
    })
    .await;
}

/// The answer to a `subscribed` of the next connection.
async fn is_anew(events: &mut Events) -> (bool, Option<ResumeFailure>) {
    next(events, "subscribed", |event| match event {
        Event::Subscribed { is_anew, reason, .. } => Some((is_anew, reason)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_quiet_channel_comes_back_to_the_checkpoint() {
    let mut server = Server::start().await;
    let (_client, mut events, mut peer) = subscribed(&mut server, "price:BTC").await;
    peer.update("price:BTC", 0, 5).await;
    checkpoint(&mut peer, &mut events, "1.k3j9x2m4.2210.2210").await;
    drop(peer);
    let asked = server.greet().await.confirm(true).await;
    assert!(asked.contains(r#"{"channel":"price:BTC","since":"1.k3j9x2m4.2210.2210"}"#), "{asked}");
}

#[tokio::test]
async fn a_pattern_comes_back_to_the_checkpoint_and_drops_the_overlap() {
    let mut server = Server::start().await;
    let (client, mut events, mut peer) = subscribed(&mut server, "price:*").await;
    peer.update("price:BTC", 0, 5).await;
    checkpoint(&mut peer, &mut events, "1.k3j9x2m4.5.5").await;
    peer.update("price:ETH", 0, 7).await;
    peer.update("price:BTC", 5, 8).await;
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (7, 8));
    drop(peer);
    let mut peer = server.greet().await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains(r#"{"channel":"price:*","since":"1.k3j9x2m4.5.5"}"#), "{asked}");
    for (channel, prev, seq) in [("price:ETH", 0, 7), ("price:BTC", 5, 8), ("price:BTC", 8, 9), ("price:ETH", 7, 10)] {
        peer.update(channel, prev, seq).await;
    }
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (9, 10));
    let stats = client.stats();
    assert_eq!((stats.recovered, stats.duplicates, stats.violations), (1, 2, 0));
}

#[tokio::test]
async fn a_resume_that_lost_something_is_found_out() {
    let mut server = Server::start().await;
    let (client, mut events, mut peer) = subscribed(&mut server, "price:BTC").await;
    peer.update("price:BTC", 0, 5).await;
    assert_eq!(next_seq(&mut events).await, 5);
    drop(peer);
    let mut peer = server.greet().await;
    peer.confirm(true).await;
    // 6 and 7 were missed, the gateway says it continues, and begins with 8
    peer.update("price:BTC", 7, 8).await;
    let gap = next(&mut events, "a gap", |event| match event {
        Event::Gap(gap) => Some(gap),
        _ => None,
    });
    let Gap { after, until, announced, .. } = gap.await;
    assert_eq!((after, until, announced), (5, 7, None));
    assert_eq!(next_seq(&mut events).await, 8);
    peer.update("price:BTC", 7, 8).await;
    let seq = next(&mut events, "a repetition", |event| match event {
        Event::Repeated { seq, .. } => Some(seq),
        _ => None,
    });
    assert_eq!(seq.await, 8);
    let stats = client.stats();
    assert_eq!((stats.violations, stats.repeats, stats.gaps), (2, 1, 0));
}

#[tokio::test]
async fn the_application_is_told_when_a_subscription_does_not_continue() {
    let mut server = Server::start().await;
    let (client, mut events, mut peer) = subscribed(&mut server, "price:BTC").await;
    assert_eq!(is_anew(&mut events).await, (false, None), "the first time");
    peer.update("price:BTC", 0, 5).await;
    peer.say(r#"{"type":"subscribed","channel":"price:BTC","mode":"all","recovered":false}"#).await;
    assert_eq!(is_anew(&mut events).await, (true, None), "the gateway began anew by itself");
    peer.update("price:BTC", 8, 9).await;
    assert_eq!(next_seq(&mut events).await, 9);
    drop(peer);
    let mut peer = server.greet().await;
    let Heard::Message(_) = peer.hear().await else { panic!("no subscribe") };
    peer.say(r#"{"type":"subscribed","id":2,"channel":"price:BTC","mode":"all","recovered":false,"reason":"cursor_too_old"}"#).await;
    assert_eq!(is_anew(&mut events).await, (true, Some(ResumeFailure::CursorTooOld)));
    peer.update("price:BTC", 70, 90).await;
    assert_eq!(next_seq(&mut events).await, 90);
    let stats = client.stats();
    assert_eq!((stats.not_recovered, stats.recovered, stats.violations), (2, 0, 0));
}

#[tokio::test]
async fn another_program_continues_from_a_cursor() {
    let mut server = Server::start().await;
    let (client, mut events) = Client::connect(options(&[server.url()])).expect("valid options");
    let since = Subscription::new("signals:all").and_then(|all| all.with_since("2.of-tomorrow")).expect("valid");
    client.subscribe_with([since]).await.expect("the client lives");
    // broken before the answer: asked for again
    drop(server.greet().await);
    let mut peer = server.greet().await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains(r#"{"channel":"signals:all","since":"2.of-tomorrow"}"#), "{asked}");
    peer.update("signals:all", 70, 71).await;
    assert_eq!(next_seq(&mut events).await, 71, "nothing to compare with");
    assert_eq!(client.stats().violations, 0);
}

#[tokio::test]
async fn stays_with_a_draining_gateway_until_it_closes_and_loses_nothing() {
    let mut one = Server::start().await;
    let mut other = Server::start().await;
    let (client, mut events) = Client::connect(options(&[one.url(), other.url()])).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = one.greet().await;
    peer.confirm(false).await;
    peer.say(r#"{"type":"system:status","status":"draining","reconnectInMs":30000}"#).await;
    peer.update("price:BTC", 0, 5).await;
    assert_eq!(next_seq(&mut events).await, 5);
    peer.close(1012).await;
    let mut peer = other.greet().await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains("1.k3j9x2m4.5.5"), "{asked}");
    peer.update("price:BTC", 5, 6).await;
    assert_eq!(next_seq(&mut events).await, 6);
    assert_eq!(client.stats().violations, 0);
}
