//! Publishing through a gateway, against a server that does what the test says.

use std::time::Duration;

use odin_client::{
    Client, Events, MAX_PUBLISHES, Options, PublishError,
    protocol::{ClientMessage, Codec, ErrorCode, RequestId},
};
use tokio::task::JoinSet;

use crate::support::{Heard, Peer, Server, connect, options, soon};

const HELLO: &str = r#"{"text":"hello"}"#;

async fn connected(server: &mut Server) -> (Client, Events, Peer) {
    let (client, events) = connect(&server.url());
    let peer = server.greet().await;
    (client, events, peer)
}

impl Peer {
    /// Hears a `publish`; gives its id.
    async fn publication(&mut self) -> u64 {
        match self.hear().await {
            Heard::Message(ClientMessage::Publish { id: Some(RequestId::Number(id)), channel, data }) => {
                assert_eq!((channel.as_str(), data.get()), ("chat:lobby", HELLO));
                id
            }
            other => panic!("expected a publish, heard {other:?}"),
        }
    }

    async fn stored(&mut self, id: u64, seq: u64) {
        self.say(&format!(r#"{{"type":"published","id":{id},"channel":"chat:lobby","seq":{seq},"epoch":"k3j9x2m4"}}"#))
            .await;
    }
}

#[tokio::test]
async fn gives_the_sequence_in_both_codecs() {
    for codec in Codec::ALL {
        let mut server = Server::start().await;
        let (client, _events) = Client::connect(Options { codec, ..options(&[server.url()]) }).expect("valid options");
        let mut peer = server.greet().await;
        let (published, ()) = tokio::join!(client.publish("chat:lobby", HELLO), async {
            let id = peer.publication().await;
            peer.stored(id, 2211).await;
        });
        let published = published.expect("stored");
        assert_eq!((published.channel.as_str(), published.seq), ("chat:lobby", 2211));
        assert_eq!(client.stats().published, 1);
    }
}

#[tokio::test]
async fn gives_the_reason_of_a_refusal() {
    let mut server = Server::start().await;
    let (client, _events, mut peer) = connected(&mut server).await;
    let (outcome, ()) = tokio::join!(client.publish("chat:lobby", HELLO), async {
        let id = peer.publication().await;
        peer.say(&format!(r#"{{"type":"error","id":{id},"code":"forbidden","message":"no","channel":"chat:lobby"}}"#))
            .await;
    });
    assert!(matches!(outcome, Err(PublishError::Refused { code: ErrorCode::Forbidden, .. })), "{outcome:?}");
}

#[tokio::test]
async fn says_that_it_does_not_know_when_the_connection_breaks_and_does_not_repeat_it() {
    let mut server = Server::start().await;
    let (client, _events, mut peer) = connected(&mut server).await;
    let (outcome, mut next) = tokio::join!(client.publish("chat:lobby", HELLO), async {
        peer.publication().await;
        drop(peer);
        server.greet().await
    });
    assert_eq!(outcome, Err(PublishError::Unknown));
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    next.confirm(false).await;
}

#[tokio::test]
async fn waits_for_a_connection() {
    let mut server = Server::start().await;
    let (client, _events) = connect(&server.url());
    let publishing = tokio::spawn(async move { client.publish("chat:lobby", HELLO).await });
    let mut peer = server.accept().await;
    peer.hello(25_000).await;
    let id = peer.publication().await;
    peer.stored(id, 1).await;
    assert_eq!(soon("an answer", publishing).await.expect("no panic").expect("stored").seq, 1);
}

#[tokio::test]
async fn has_so_many_under_way_and_no_more() {
    let mut server = Server::start().await;
    let (client, _events, mut peer) = connected(&mut server).await;
    let mut publishing = JoinSet::new();
    for _ in 0..MAX_PUBLISHES + 1 {
        let client = client.clone();
        publishing.spawn(async move { client.publish("chat:lobby", HELLO).await });
    }
    let mut ids = Vec::new();
    for _ in 0..MAX_PUBLISHES {
        ids.push(peer.publication().await);
    }
    // a request made now comes before the last publication
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    peer.confirm(false).await;
    peer.stored(ids[0], 1).await;
    let last = peer.publication().await;
    for id in ids.into_iter().skip(1).chain([last]) {
        peer.stored(id, id).await;
    }
    while let Some(outcome) = soon("an answer", publishing.join_next()).await {
        outcome.expect("no panic").expect("stored");
    }
}

#[tokio::test]
async fn refuses_what_can_never_be_published() {
    let mut server = Server::start().await;
    let (client, _events, mut peer) = connected(&mut server).await;
    let outcome = |channel: &'static str, json: &'static str| {
        let client = client.clone();
        async move { client.publish(channel, json).await.expect_err(channel) }
    };
    assert!(matches!(outcome("chat:>", HELLO).await, PublishError::Invalid(_)));
    assert_eq!(outcome("chat:*", HELLO).await.to_string(), "chat:* is a pattern");
    for json in ["", "{", "1 2", "NaN", "1e400", r#""\ud800""#] {
        assert!(matches!(outcome("chat:lobby", json).await, PublishError::Payload(_)), "{json}");
    }
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    peer.confirm(false).await;
}

#[tokio::test]
async fn nothing_is_published_when_the_caller_gives_up_before_it_was_sent() {
    let mut server = Server::start().await;
    let (client, _events) = connect(&server.url());
    let mut peer = server.accept().await;
    let gives_up = tokio::time::timeout(Duration::from_millis(50), client.publish("chat:lobby", HELLO));
    assert!(gives_up.await.is_err());
    peer.hello(25_000).await;
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    peer.confirm(false).await;
}

#[tokio::test]
async fn the_end_of_the_client_is_told_to_whoever_waits() {
    let mut server = Server::start().await;
    let (client, _events, mut peer) = connected(&mut server).await;
    let other = client.clone();
    let publishing = tokio::spawn(async move { other.publish("chat:lobby", HELLO).await });
    peer.publication().await;
    let closing = tokio::spawn(async move {
        client.close().await;
        client
    });
    assert!(matches!(peer.hear().await, Heard::Closed(Some(1000))));
    drop(peer);
    assert_eq!(soon("an answer", publishing).await.expect("no panic"), Err(PublishError::Unknown));
    let client = soon("the end", closing).await.expect("no panic");
    assert_eq!(client.publish("chat:lobby", HELLO).await, Err(PublishError::Closed));
}
