//! Signing in, against a server that does what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use odin_client::protocol::{ClientMessage, ErrorCode, RequestId};
use odin_client::{AuthFailure, Backoff, Client, Event, Events, Options, Parting, TokenSource, protocol::Codec};

use crate::support::{Heard, Peer, Place, Server, next, next_seq, options};

/// A client with this source that wants `price:BTC`.
async fn client(server: &Server, token: TokenSource) -> (Client, Events) {
    client_with(Options { token: Some(token), ..options(&[server.url()]) }).await
}

async fn client_with(options: Options) -> (Client, Events) {
    let (client, events) = Client::connect(options).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    (client, events)
}

/// Gives `t1`, `t2`, …
fn numbered() -> TokenSource {
    let count = Arc::new(AtomicU32::new(0));
    TokenSource::from_fn(move || {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, std::convert::Infallible>(format!("t{number}")) }
    })
}

fn in_ms(ms: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("fits") + ms
}

impl Peer {
    /// Hears an `auth` and nothing else; gives its id and its token.
    pub(crate) async fn token(&mut self) -> (u64, String) {
        loop {
            match self.hear().await {
                Heard::Message(ClientMessage::Auth { id: Some(RequestId::Number(id)), token }) => {
                    return (id, token.expose().to_owned());
                }
                // the round trip may be measured at any time
                Heard::Message(ClientMessage::Ping { .. }) => {}
                other => panic!("expected a token, heard {other:?}"),
            }
        }
    }

    pub(crate) async fn authenticated(&mut self, id: u64, life_ms: i64) {
        let expires = in_ms(life_ms);
        self.say(&format!(r#"{{"type":"authenticated","id":{id},"sub":"user-7","expiresAt":{expires}}}"#)).await;
    }

    pub(crate) async fn refuse(&mut self, id: u64, code: &str, rest: &str) {
        self.say(&format!(r#"{{"type":"error","id":{id},"code":"{code}","message":"because"{rest}}}"#)).await;
    }

    /// Takes the token, whatever it is, and confirms the subscription; gives the token.
    async fn let_in(&mut self) -> String {
        let (id, token) = self.token().await;
        self.authenticated(id, 3_600_000).await;
        self.confirm(false).await;
        token
    }
}

async fn failure(events: &mut Events) -> (AuthFailure, Option<Duration>) {
    next(events, "a failure", |event| match event {
        Event::AuthFailed { why, retry_after, .. } => Some((why, retry_after)),
        _ => None,
    })
    .await
}

async fn reconnecting(events: &mut Events) -> Parting {
    next(events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why),
        _ => None,
    })
    .await
}

/// Checklist 18: the token is the first message, and nothing is asked for before it is accepted.
#[tokio::test]
async fn signs_in_before_it_subscribes_in_both_codecs() {
    for codec in Codec::ALL {
        let mut server = Server::start().await;
        let token = Some(TokenSource::constant("secret"));
        let (_client, mut events) = client_with(Options { codec, token, ..options(&[server.url()]) }).await;
        let mut peer = server.greet().await;
        let (id, token) = peer.token().await;
        assert_eq!((id, token.as_str()), (1, "secret"));
        peer.authenticated(id, 3_600_000).await;
        peer.confirm(false).await;
        let sub = next(&mut events, "signed in", |event| match event {
            Event::Authenticated { sub, is_refresh: false, .. } => Some(sub),
            Event::Subscribed { .. } => panic!("too early"),
            _ => None,
        });
        assert_eq!(sub.await, "user-7");
    }
}

/// Checklist 15: a refresh in band keeps the subscriptions.
#[tokio::test]
async fn refreshes_on_the_same_connection_when_told_that_the_token_expires() {
    let mut server = Server::start().await;
    let (client, mut events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    assert_eq!(peer.let_in().await, "t1");
    peer.update("price:BTC", 0, 5).await;
    peer.say(r#"{"type":"system:status","status":"token_expiring","expiresInMs":60000}"#).await;
    let (id, token) = peer.token().await;
    assert_eq!(token, "t2");
    peer.update("price:BTC", 5, 6).await;
    peer.authenticated(id, 3_600_000).await;
    peer.update("price:BTC", 6, 7).await;
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (5, 6));
    let refreshed = next(&mut events, "a refresh", |event| match event {
        Event::Authenticated { is_refresh, .. } => Some(is_refresh),
        _ => None,
    });
    assert!(refreshed.await);
    assert_eq!(next_seq(&mut events).await, 7);
    assert_eq!((client.stats().connections, client.stats().violations), (1, 0));
}

#[tokio::test]
async fn refreshes_before_its_token_expires_without_being_told() {
    let mut server = Server::start().await;
    let (_client, _events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.authenticated(id, 2_000).await;
    peer.confirm(false).await;
    assert_eq!(peer.token().await.1, "t2");
}

/// A slow application must not cost the connection its token.
#[tokio::test]
async fn refreshes_while_the_application_is_slow() {
    let mut server = Server::start().await;
    let options = Options { token: Some(numbered()), event_queue: 1, ..options(&[server.url()]) };
    let (_client, mut events) = client_with(options).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    let taking = tokio::spawn(async move {
        while events.recv().await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    peer.authenticated(id, 2_000).await;
    peer.confirm(false).await;
    for seq in 1..=500 {
        peer.update("price:BTC", seq - 1, seq).await;
    }
    assert_eq!(peer.token().await.1, "t2");
    taking.abort();
}

/// While the application takes nothing the socket is not read: that must not be held against the gateway.
#[tokio::test]
async fn a_slow_application_does_not_make_the_gateway_look_silent() {
    let mut server = Server::start().await;
    let connect_timeout = Duration::from_secs(1);
    let options = Options { token: Some(numbered()), event_queue: 1, connect_timeout, ..options(&[server.url()]) };
    let (client, mut events) = client_with(options).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    for number in 0..3 {
        peer.say(&format!(r#"{{"type":"system:status","status":"notice","message":"{number}"}}"#)).await;
    }
    peer.authenticated(id, 3_600_000).await;
    // commands wake the client while it reads nothing
    for _ in 0..4 {
        tokio::time::sleep(connect_timeout / 2).await;
        client.subscribe(["price:BTC"]).await.expect("the client lives");
    }
    next(&mut events, "signed in", |event| matches!(event, Event::Authenticated { .. }).then_some(())).await;
    peer.confirm(false).await;
    assert_eq!(client.stats().connections, 1);
}

#[tokio::test]
async fn comes_back_with_a_fresh_token_when_the_old_one_has_expired() {
    let place = Place::new("token");
    std::fs::write(place.path(), "old\n").expect("writable");
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, TokenSource::file(place.path())).await;
    let mut peer = server.greet().await;
    assert_eq!(peer.let_in().await, "old");
    peer.update("price:BTC", 0, 5).await;
    assert_eq!(next_seq(&mut events).await, 5);
    std::fs::write(place.path(), "new\n").expect("writable");
    peer.close(4003).await;
    let mut peer = server.greet().await;
    let (id, token) = peer.token().await;
    assert_eq!(token, "new");
    peer.authenticated(id, 3_600_000).await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains(r#""since":"1.k3j9x2m4.5.5""#), "it goes on: {asked}");
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_replaced_once_and_then_it_leaves_and_comes_back() {
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    for expected in ["t1", "t2"] {
        let (id, token) = peer.token().await;
        assert_eq!(token, expected);
        peer.refuse(id, "auth_failed", "").await;
    }
    let (why, retry_after) = failure(&mut events).await;
    assert!(matches!(why, AuthFailure::Refused { code: ErrorCode::AuthFailed, .. }), "{why}");
    assert_eq!(retry_after, Some(Duration::ZERO));
    assert!(matches!(peer.hear().await, Heard::Closed(Some(1000))));
    let why = reconnecting(&mut events).await;
    assert_eq!(why.to_string(), "not signed in: auth_failed: because");
    assert_eq!(server.greet().await.let_in().await, "t3");
}

#[tokio::test]
async fn waits_for_a_gateway_that_cannot_check_tokens_at_present() {
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.refuse(id, "auth_unavailable", r#","retryAfterMs":30"#).await;
    assert!(failure(&mut events).await.1.expect("a retry") >= Duration::from_millis(30));
    assert_eq!(peer.let_in().await, "t2", "on the same connection");
}

#[tokio::test]
async fn ends_when_the_user_is_forbidden() {
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.refuse(id, "forbidden", "").await;
    let why = next(&mut events, "the end", |event| match event {
        Event::Closed { code: None, why } => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(why.await, "not signed in: forbidden: because");
}

#[tokio::test]
async fn comes_back_once_after_unauthorized() {
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, numbered()).await;
    for expected in ["t1", "t2"] {
        let mut peer = server.greet().await;
        assert_eq!(peer.token().await.1, expected);
        peer.close(4401).await;
    }
    next(&mut events, "the end", |event| matches!(event, Event::Closed { code: Some(4401), .. }).then_some(())).await;
}

/// Checklist 19: who is revoked does not come back by itself.
#[tokio::test]
async fn ends_when_the_token_is_revoked() {
    let mut server = Server::start().await;
    let (_client, mut events) = client(&server, numbered()).await;
    let mut peer = server.greet().await;
    peer.let_in().await;
    peer.close(4440).await;
    next(&mut events, "the end", |event| matches!(event, Event::Closed { code: Some(4440), .. }).then_some(())).await;
}

#[tokio::test]
async fn does_not_connect_without_a_token_and_asks_again() {
    let mut server = Server::start().await;
    let count = AtomicU32::new(0);
    let source = TokenSource::from_fn(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { if number == 0 { Err("identity provider is away") } else { Ok("second".to_owned()) } }
    });
    let (_client, mut events) = client(&server, source).await;
    let why = reconnecting(&mut events).await;
    assert_eq!(why.to_string(), "not signed in: no token: identity provider is away");
    assert_eq!(server.greet().await.let_in().await, "second", "the first connection of all");
}

#[tokio::test]
async fn a_source_that_hangs_has_failed_and_does_not_keep_the_client_from_ending() {
    let server = Server::start().await;
    let hangs = || TokenSource::from_fn(std::future::pending::<Result<String, String>>);
    let token_timeout = Duration::from_millis(20);
    let options = Options { token: Some(hangs()), token_timeout, ..options(&[server.url()]) };
    let (_client, mut events) = client_with(options).await;
    let why = reconnecting(&mut events).await;
    assert!(why.to_string().ends_with("no answer of its source within 20ms"), "{why}");

    let (client, _events) = client(&server, hangs()).await;
    crate::support::soon("the end", client.close()).await;
}

#[tokio::test]
async fn leaves_a_gateway_that_does_not_answer_the_token() {
    let mut server = Server::start().await;
    let limit = Duration::from_secs(1);
    let options = Options { token: Some(numbered()), connect_timeout: limit, ..options(&[server.url()]) };
    let (_client, mut events) = client_with(options).await;
    let mut peer = server.greet().await;
    peer.token().await;
    assert_eq!(reconnecting(&mut events).await, Parting::NotSignedIn(AuthFailure::Unanswered { limit }));
    server.greet().await;
}

/// Checklist 20: a refresh may take a channel away; the others go on.
#[tokio::test]
async fn a_channel_that_a_refresh_takes_away_is_told_and_not_asked_for_again() {
    let mut server = Server::start().await;
    let (client, mut events) = client(&server, numbered()).await;
    client.subscribe(["watchlist:X"]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.let_in().await;
    peer.say(r#"{"type":"error","code":"forbidden","message":"tier","channel":"watchlist:X"}"#).await;
    peer.say(r#"{"type":"unsubscribed","channel":"watchlist:X"}"#).await;
    let code = next(&mut events, "a refusal", |event| match event {
        Event::Error(refusal) => Some((refusal.code, refusal.channel)),
        _ => None,
    });
    assert_eq!(code.await, (ErrorCode::Forbidden, Some("watchlist:X".to_owned())));
    next(&mut events, "its end", |event| matches!(event, Event::Unsubscribed { .. }).then_some(())).await;
    peer.close(1012).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.authenticated(id, 3_600_000).await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains("price:BTC") && !asked.contains("watchlist"), "{asked}");
}

/// A gateway that is asked by many clients at once says when to come back: none of them may come earlier.
#[tokio::test]
async fn does_not_hurry_after_a_refusal() {
    let mut server = Server::start().await;
    let backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(50));
    let token = Some(TokenSource::constant("bad"));
    let (_client, mut events) = client_with(Options { backoff, token, ..options(&[server.url()]) }).await;
    let mut peer = server.greet().await;
    let (id, _) = peer.token().await;
    peer.refuse(id, "auth_failed", r#","retryAfterMs":7000"#).await;
    let after = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { after, .. } => Some(after),
        _ => None,
    });
    assert!(after.await >= Duration::from_secs(7));
}
