//! The client against a server that does what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastwebsockets::OpCode;
use odin_client::{Client, Event, Options, Parting, protocol::Codec};
use tokio::time::timeout;

use crate::support::{Heard, Manners, Server, connect, next, next_seq, options, soon};

#[tokio::test]
async fn subscribes_and_delivers_in_both_codecs() {
    for codec in Codec::ALL {
        let mut server = Server::start().await;
        let (client, mut events) =
            Client::connect(Options { codec, ..options(&[server.url()]) }).expect("valid options");
        client.subscribe(["price:BTC", "price:*"]).await.expect("the client lives");
        let mut peer = server.greet().await;
        assert_eq!(peer.codec(), codec);
        let asked = peer.confirm(false).await;
        assert_eq!(asked, r#"{"type":"subscribe","id":1,"channels":["price:*","price:BTC"]}"#);
        peer.update("price:BTC", 0, 5).await;
        let data = next(&mut events, "an update", |event| match event {
            Event::Update(update) => Some(update.data.get().to_owned()),
            _ => None,
        });
        assert_eq!(data.await, r#"{"price":5.5}"#);
    }
}

#[tokio::test]
async fn resumes_on_the_next_gateway_after_a_restart_close() {
    let mut one = Server::start().await;
    let mut other = Server::start().await;
    let (client, mut events) = Client::connect(options(&[one.url(), other.url()])).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = one.greet().await;
    peer.confirm(false).await;
    peer.update("price:BTC", 0, 5).await;
    assert_eq!(next_seq(&mut events).await, 5);
    peer.close(1012).await;
    assert!(matches!(peer.hear().await, Heard::Closed(Some(1012))), "the close is answered");

    let mut peer = other.greet().await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains(r#"{"channel":"price:BTC","since":"1.k3j9x2m4.5.5"}"#), "{asked}");
    peer.update("price:BTC", 0, 5).await;
    peer.update("price:BTC", 5, 6).await;
    assert_eq!(next_seq(&mut events).await, 6, "the overlap is dropped");
    let stats = client.stats();
    assert_eq!((stats.connections, stats.recovered, stats.duplicates, stats.violations), (2, 1, 1, 0));
}

#[tokio::test]
async fn comes_back_after_a_connection_that_broke() {
    let mut server = Server::start().await;
    let (_client, mut events) = connect(&server.url());
    drop(server.greet().await);
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why),
        _ => None,
    });
    assert!(matches!(why.await, Parting::Broken { .. }));
    server.greet().await;
}

#[tokio::test]
async fn ends_after_a_close_that_says_never() {
    let mut server = Server::start().await;
    let (client, mut events) = connect(&server.url());
    let mut peer = server.greet().await;
    peer.close(4403).await;
    let closed = next(&mut events, "the end", |event| match event {
        Event::Closed { code, why } => Some((code, why.to_string())),
        _ => None,
    });
    assert_eq!(closed.await, (Some(4403), "closed by the gateway: 4403 forbidden (as told)".to_owned()));
    assert!(events.recv().await.is_none(), "nothing follows");
    assert!(client.subscribe(["price:BTC"]).await.is_err());
}

#[tokio::test]
async fn sleeps_after_an_idle_close_until_something_is_subscribed() {
    let mut server = Server::start().await;
    let (client, mut events) = connect(&server.url());
    let mut peer = server.greet().await;
    peer.close(4002).await;
    next(&mut events, "idle", |event| matches!(event, Event::Idle).then_some(())).await;
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.confirm(false).await;
}

#[tokio::test]
async fn leaves_a_gateway_that_falls_silent() {
    let mut server = Server::start().await;
    let (_client, mut events) = connect(&server.url());
    let mut peer = server.accept().await;
    peer.hello(40).await;
    assert!(peer.message().await.contains(r#""type":"ping""#), "it asks first");
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, Parting::Silent { silence: Duration::from_millis(80) });
    server.greet().await;
}

#[tokio::test]
async fn leaves_a_gateway_that_never_says_hello() {
    let mut server = Server::start().await;
    let limit = Duration::from_millis(50);
    let (_client, mut events) =
        Client::connect(Options { connect_timeout: limit, ..options(&[server.url()]) }).expect("valid options");
    let _peer = server.accept().await;
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, Parting::Timeout { limit });
}

#[tokio::test]
async fn answers_pings_with_their_payload() {
    let mut server = Server::start().await;
    let (_client, _events) = connect(&server.url());
    let mut peer = server.greet().await;
    peer.frame(true, OpCode::Ping, b"are you there").await;
    assert!(matches!(peer.hear().await, Heard::Pong(payload) if payload == b"are you there"));
}

#[tokio::test]
async fn measures_the_round_trip() {
    let mut server = Server::start().await;
    let ping_interval = Some(Duration::from_secs(3_600));
    let (client, mut events) =
        Client::connect(Options { ping_interval, ..options(&[server.url()]) }).expect("valid options");
    let mut peer = server.greet().await;
    assert_eq!(peer.message().await, r#"{"type":"ping","id":1}"#);
    peer.say(r#"{"type":"pong","id":1,"ts":1}"#).await;
    next(&mut events, "a round trip", |event| matches!(event, Event::RoundTrip(_)).then_some(())).await;
    assert!(client.stats().round_trip.is_some());
}

#[tokio::test]
async fn puts_fragments_together_and_takes_a_ping_between_them() {
    let mut server = Server::start().await;
    let (client, mut events) = connect(&server.url());
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    let message = br#"{"type":"update","channel":"price:BTC","seq":7,"prev":0,"ts":1,"epoch":"k3j9x2m4","data":1}"#;
    let (one, rest) = message.split_at(10);
    let (two, three) = rest.split_at(20);
    peer.frame(false, OpCode::Text, one).await;
    peer.frame(true, OpCode::Ping, b"x").await;
    peer.frame(false, OpCode::Continuation, two).await;
    peer.frame(true, OpCode::Continuation, three).await;
    assert_eq!(next_seq(&mut events).await, 7);
}

/// Attack: many small fragments that add up without bound.
#[tokio::test]
async fn refuses_fragments_that_add_up_to_too_much() {
    let mut server = Server::start().await;
    let (_client, mut events) =
        Client::connect(Options { max_message_bytes: 300_000, ..options(&[server.url()]) }).expect("valid options");
    let mut peer = server.greet().await;
    peer.frame(false, OpCode::Text, &[b' '; 100_000]).await;
    peer.frame(false, OpCode::Continuation, &[b' '; 100_000]).await;
    peer.frame(false, OpCode::Continuation, &[b' '; 100_001]).await;
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(why.await, "not an odin gateway: message too big");
    assert!(matches!(peer.hear().await, Heard::Closed(Some(1002))));
}

#[tokio::test]
async fn leaves_a_server_that_talks_nonsense() {
    let mut server = Server::start().await;
    let (_client, mut events) = connect(&server.url());
    let mut peer = server.greet().await;
    peer.frame(true, OpCode::Text, b"good morning").await;
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why),
        _ => None,
    });
    assert!(matches!(why.await, Parting::Protocol { .. }));
}

#[tokio::test]
async fn waits_as_long_as_a_full_gateway_asks() {
    let server = Server::with(Manners::Refuse { status: 503, retry_after: "7" }).await;
    let (_client, mut events) = connect(&server.url());
    let after = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { after, why: Parting::Status { status: 503, .. }, .. } => Some(after),
        _ => None,
    });
    assert!(after.await >= Duration::from_secs(7));
}

#[tokio::test]
async fn gives_up_on_a_handshake_that_is_refused_for_good() {
    let server = Server::with(Manners::Refuse { status: 403, retry_after: "1" }).await;
    let (_client, mut events) = connect(&server.url());
    let why = next(&mut events, "the end", |event| match event {
        Event::Closed { code: None, why } => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(why.await, "handshake answered with status 403");
}

#[tokio::test]
async fn refuses_a_server_of_another_protocol() {
    let server = Server::with(Manners::WrongProtocol).await;
    let (_client, mut events) = connect(&server.url());
    let why = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { why, .. } => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(why.await, "not an odin gateway: answer names another sub-protocol");
}

#[tokio::test]
async fn tries_the_next_address_when_nobody_listens() {
    let nobody = Server::start().await.stop();
    let mut server = Server::start().await;
    let (_client, mut events) = Client::connect(options(&[nobody, server.url()])).expect("valid options");
    server.greet().await;
    let attempts = next(&mut events, "reconnecting", |event| match event {
        Event::Reconnecting { attempt, .. } => Some(attempt),
        _ => None,
    });
    assert_eq!(attempts.await, 1);
    let url = next(&mut events, "connected", |event| match event {
        Event::Connected(connected) => Some(connected.url),
        _ => None,
    });
    assert_eq!(url.await, server.url());
}

#[tokio::test]
async fn gives_up_after_the_allowed_tries() {
    let nobody = Server::start().await.stop();
    let (_client, mut events) =
        Client::connect(Options { max_attempts: Some(3), ..options(&[nobody]) }).expect("valid options");
    let mut tries = 0;
    next(&mut events, "the end", |event| match event {
        Event::Reconnecting { .. } => {
            tries += 1;
            None
        }
        Event::Closed { code: None, .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(tries, 2);
}

#[tokio::test]
async fn says_goodbye_when_closed() {
    let mut server = Server::start().await;
    let (client, mut events) = connect(&server.url());
    let mut peer = server.greet().await;
    next(&mut events, "connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    let (heard, ()) = tokio::join!(
        async {
            let heard = peer.hear().await;
            peer.close(1000).await;
            heard
        },
        client.close()
    );
    assert!(matches!(heard, Heard::Closed(Some(1000))), "{heard:?}");
    next(&mut events, "the end", |event| matches!(event, Event::Closed { code: Some(1000), .. }).then_some(())).await;
}

#[tokio::test]
async fn closes_at_once_while_it_waits_to_come_back() {
    let server = Server::with(Manners::Refuse { status: 503, retry_after: "600" }).await;
    let (client, mut events) = connect(&server.url());
    next(&mut events, "reconnecting", |event| matches!(event, Event::Reconnecting { .. }).then_some(())).await;
    soon("the end", client.close()).await;
}

#[tokio::test]
async fn ends_when_nobody_wants_the_events() {
    let mut server = Server::start().await;
    let (_client, mut events) = connect(&server.url());
    let mut peer = server.greet().await;
    next(&mut events, "connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    drop(events);
    assert!(matches!(peer.hear().await, Heard::Closed(Some(1000))));
}

#[tokio::test]
async fn goes_on_without_handles() {
    let mut server = Server::start().await;
    let (client, mut events) = connect(&server.url());
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    drop(client);
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    peer.update("price:BTC", 0, 5).await;
    assert_eq!(next_seq(&mut events).await, 5);
}

/// A client whose application is slow must not become a memory of its own: the socket is left unread, and all of it
/// comes in order once the application goes on.
#[tokio::test]
async fn does_not_read_faster_than_the_application_takes() {
    const UPDATES: u64 = 2_000;
    let mut server = Server::start().await;
    let (client, mut events) =
        Client::connect(Options { event_queue: 4, ..options(&[server.url()]) }).expect("valid options");
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    let mut peer = server.greet().await;
    peer.confirm(false).await;

    let sent = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&sent);
    // 128 MB: more than all buffers between the two can hold
    let filler = "x".repeat(64 * 1_024);
    let script = tokio::spawn(async move {
        for seq in 1..=UPDATES {
            let prev = seq - 1;
            peer.say(&format!(
                r#"{{"type":"update","channel":"price:BTC","seq":{seq},"prev":{prev},"ts":1,"epoch":"k3j9x2m4","data":"{filler}"}}"#
            ))
            .await;
            progress.store(seq, Ordering::Relaxed);
        }
        peer
    });
    // blocked: no progress between two looks; a server that is never blocked gets to the end
    let blocked = async {
        let mut before = u64::MAX;
        loop {
            let _ = timeout(Duration::from_millis(200), std::future::pending::<()>()).await;
            let now = sent.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    let stuck_at = soon("a blocked server", blocked).await;
    assert!(stuck_at < UPDATES, "everything was read although nobody took it");
    assert!(client.stats().messages < 50, "{:?}", client.stats());
    for expected in 1..=UPDATES {
        assert_eq!(next_seq(&mut events).await, expected);
    }
    drop(soon("the end of the script", script).await.expect("no panic"));
}

#[tokio::test]
async fn commands_are_heard_while_the_application_is_slow() {
    let mut server = Server::start().await;
    let (client, _events) =
        Client::connect(Options { event_queue: 1, ..options(&[server.url()]) }).expect("valid options");
    let mut peer = server.greet().await;
    client.subscribe(["price:BTC"]).await.expect("the client lives");
    peer.confirm(false).await;
    client.unsubscribe(["price:BTC"]).await.expect("the client lives");
    assert_eq!(peer.message().await, r#"{"type":"unsubscribe","id":2,"channels":["price:BTC"]}"#);
}
