//! The requests of one TCP connection: how many, how fast, how large, and what is none.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};
use ws_gateway::config::Config;

use super::support::{Events, Polled, Poller, Web, get, is_refused};
use crate::support::{Answer, Gateway, Odin, exchange_bytes, in_time};

const POLL: &str = "/v1/poll?channels=price:BTC&wait=0";
const LATEST: &str = "/v1/channels/price:BTC/latest";

fn impatient(config: &mut Config) {
    config.limits.handshake_timeout = Duration::from_secs(1);
}

async fn refused(gateway: &Gateway, reason: &str, count: u64) {
    gateway.metric_becomes(&format!("odin_gateway_handshakes_refused_total{{reason=\"{reason}\"}}"), count).await;
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let odin = Odin::start_with(impatient).await;
    odin.publisher.price("BTC", 1).await;
    let mut web = Web::connect(&odin.gateway).await;
    for _ in 0..10 {
        for target in [POLL, LATEST, "/v1/channels/price:BTC/history"] {
            let answer = web.get(target).await;
            assert_eq!((answer.status, answer.header("connection")), (200, None), "{target}");
        }
    }
    odin.gateway.metric_becomes("odin_gateway_http_connections", 1).await;
    assert_eq!(odin.gateway.metric("odin_gateway_handshakes_pending").await, 0);
    odin.gateway.metric_becomes("odin_gateway_http_questions_total", 30).await;
    assert_eq!(odin.gateway.metric("odin_gateway_connections").await, 0);
    drop(web);
    odin.gateway.metric_becomes("odin_gateway_http_connections", 0).await;
    assert_eq!(odin.gateway.metric("odin_gateway_handshakes_refused_total").await, 0, "nobody was refused");
}

#[tokio::test]
async fn a_connection_of_requests_may_become_a_stream_or_a_websocket() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    for _ in 0..2 {
        let stream = TcpStream::connect(odin.gateway.address).await.expect("a connection");
        let mut web = Web::on(stream);
        assert_eq!(web.get(LATEST).await.status, 200);
        let mut events = Events::of(web, &Events::request("price:BTC", "")).await;
        events.message().await;
        odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
        drop(events);
        odin.gateway.metric_becomes("odin_gateway_connections", 0).await;
        let mut web = Web::connect(&odin.gateway).await;
        assert_eq!(web.get(LATEST).await.status, 200);
        let (answer, _stream) = crate::door::shake_on(web.into_inner(), "/ws", "").await;
        assert_eq!(answer.status, 101, "{}", answer.head);
    }
    odin.gateway.metric_becomes("odin_gateway_connections", 0).await;
    odin.gateway.metric_becomes("odin_gateway_handshakes_ok_total", 4).await;
}

/// Once it has asked, a connection is no handshake that takes too long.
#[tokio::test]
async fn whoever_has_asked_is_not_held_to_the_time_of_a_handshake() {
    let odin = Odin::start_with(impatient).await;
    odin.publisher.price("BTC", 1).await;
    let mut web = Web::connect(&odin.gateway).await;
    assert_eq!(web.get(POLL).await.status, 200);
    // A poll of another client that lasts longer than a handshake may.
    let mut poller = Poller::new("price:ETH");
    poller.poll(&odin.gateway, 0).await;
    assert!(poller.poll(&odin.gateway, 3).await.messages.is_empty());
    assert_eq!(web.get(POLL).await.status, 200, "the connection is still there");
    refused(&odin.gateway, "timeout", 0).await;
}

/// Checklist 2: a first head that trickles in, whatever it will ask.
#[tokio::test]
async fn a_slow_first_head_is_held_to_it() {
    let gateway = Gateway::without_nats(impatient);
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    let endless = format!("GET {POLL} HTTP/1.1\r\nX: {}", "x".repeat(10_000));
    in_time("the gateway to lose patience", async {
        for byte in endless.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("all of it was taken");
    })
    .await;
    refused(&gateway, "timeout", 1).await;
    gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
}

/// Checklist 1, 2: a connection that has asked once and says nothing more, or says it byte by byte.
#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_a_while() {
    let gateway = Gateway::without_nats(|config| config.http.keep_alive = Duration::from_secs(1));
    let mut idle = Web::connect(&gateway).await;
    let mut slow = Web::connect(&gateway).await;
    for web in [&mut idle, &mut slow] {
        // Preflights are answered without a word about the end of the connection.
        assert_eq!(web.ask("OPTIONS", POLL, "Origin: https://x.example\r\n", "").await.status, 200);
    }
    gateway.metric_becomes("odin_gateway_http_connections", 2).await;
    slow.send(b"GET /v1/po").await;
    idle.ended().await;
    slow.ended().await;
    gateway.metric_becomes("odin_gateway_http_connections", 0).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let mut web = Web::connect(&odin.gateway).await;
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: odin\r\n\r\n");
    let body = r#"{"type":"subscribe","channels":["price:BTC"]}"#;
    let post = format!("POST /v1/poll?wait=0 HTTP/1.1\r\nHost: odin\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let all = [request(LATEST), post, request("/v1/channels/price:BTC/history"), request(POLL)].concat();
    web.send(all.as_bytes()).await;
    for kind in ["update", "subscribed", "update", "subscribed"] {
        let answer = web.answer(false).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["messages"][0]["type"], kind);
    }
    // A stream is the last of them: what is behind it is said to a stream.
    web.send([request(LATEST), Events::request("price:BTC", ""), request(LATEST)].concat().as_bytes()).await;
    assert_eq!(web.answer(false).await.status, 200);
    let mut events = Events::of(web, "").await;
    events.closed_with(odin_protocol::close::CloseCode::PolicyViolation).await;
}

/// Checklist 9: a second request in what a proxy takes for the body of the first.
#[tokio::test]
async fn answers_no_request_that_is_hidden_in_another() {
    let gateway = Gateway::without_nats(|_| {});
    let hidden = "GET /v1/hidden HTTP/1.1\r\nHost: odin\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let post = |headers: &str, body: &str| format!("POST /v1/poll HTTP/1.1\r\nHost: odin\r\n{headers}\r\n{body}");
    let length = format!("Content-Length: {}\r\n", chunked.len());
    let get = format!("GET {POLL} HTTP/1.1\r\nHost: odin\r\n");
    for request in [
        post(&format!("{length}Transfer-Encoding: chunked\r\n"), &chunked),
        post(&format!("Transfer-Encoding: chunked\r\n{length}"), &chunked),
        post("Transfer-Encoding: chunked\r\n", &chunked),
        post(&format!("{length}Transfer-Encoding: identity\r\n"), &chunked),
        post(&format!("{length}Transfer-Encoding: xchunked\r\n"), &chunked),
        post(&format!("{length}Transfer-Encoding: chunked, identity\r\n"), &chunked),
        post(&format!("{length}Transfer-Encoding : chunked\r\n"), &chunked),
        post(&format!("{length}Content-Length: 0\r\n"), &chunked),
        post(&format!("Content-Length: 0\r\n{length}"), &chunked),
        post("Content-Length: 0, 5\r\n", hidden),
        post("Content-Length: +5\r\n", hidden),
        post("Content-Length: -1\r\n", hidden),
        post("Content-Length: 0x5\r\n", hidden),
        post("Content-Length: 99999999999999999999999\r\n", hidden),
        format!("{get}Transfer-Encoding: chunked\r\n{length}\r\n{chunked}"),
    ] {
        let bytes = exchange_bytes(gateway.address, request.as_bytes()).await;
        let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
        assert_eq!((Answer::parse(&bytes).status, answers), (400, 1), "{request}");
    }
    refused(&gateway, "not_found", 0).await;
    refused(&gateway, "bad_request", 15).await;
    // A body where none belongs is one all the same, and no request.
    let odin = Odin::start().await;
    let request = format!("{get}Content-Length: {}\r\n\r\n{hidden}", hidden.len());
    let bytes =
        exchange_bytes(odin.gateway.address, format!("{request}{get}Connection: close\r\n\r\n").as_bytes()).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("not_found"), "{}", String::from_utf8_lossy(&bytes));
}

/// Checklist 4: heads that are too large.
#[tokio::test]
async fn refuses_heads_that_are_too_large_first_and_later() {
    let gateway = Gateway::without_nats(|_| {});
    let long = format!("/v1/poll?channels={}", "price:BTC,".repeat(7_000));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (target, headers) in
        [(&*long, ""), (POLL, &*many), (POLL, &format!("Authorization: Bearer {}\r\n", "x".repeat(20_000)))]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: odin\r\n{headers}\r\n");
        let bytes = exchange_bytes(gateway.address, request.as_bytes()).await;
        // The gateway may leave before it has read everything, and the answer be lost.
        assert!(bytes.is_empty() || [414, 431].contains(&Answer::parse(&bytes).status), "{:?}", Answer::parse(&bytes));
        let mut web = Web::connect(&gateway).await;
        assert_eq!(web.ask("OPTIONS", POLL, "Origin: https://x.example\r\n", "").await.status, 200);
        let mut stream = web.into_inner();
        // It may be gone before it has all of it.
        let _ = stream.write_all(request.as_bytes()).await;
        gateway.metric_becomes("odin_gateway_http_connections", 0).await;
    }
    refused(&gateway, "header_too_large", 6).await;
}

/// Attack: requests without number.
#[tokio::test]
async fn a_connection_has_so_many_requests_in_a_second() {
    let odin = Odin::start_with(|config| config.http.requests_per_second = 5).await;
    let mut web = Web::connect(&odin.gateway).await;
    let mut answered = 0;
    let answer = loop {
        let answer = web.get(POLL).await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 200, "no limit");
    };
    is_refused(&answer, 429, "rate_limited");
    assert_eq!(answer.json()["error"]["limit"], 5);
    assert!(answered >= 5);
    web.ended().await;
    refused(&odin.gateway, "rate", 1).await;
    assert_eq!(get(&odin.gateway, POLL).await.status, 200, "another connection");
}

/// Checklist 39: channels without number, a few hundred in each request.
#[tokio::test]
async fn a_connection_has_so_many_channels_in_a_second() {
    let odin = Odin::start_with(|config| {
        config.limits.channels_per_second = 100;
        config.http.requests_per_second = 1_000;
    })
    .await;
    let many = (0..60).map(|n| format!("price:T{n}")).collect::<Vec<_>>().join(",");
    let mut web = Web::connect(&odin.gateway).await;
    let target = format!("/v1/poll?channels={many}&wait=0");
    assert_eq!(Polled::of(&web.get(&target).await).messages.len(), 60);
    let answer = web.get(&target).await;
    is_refused(&answer, 429, "rate_limited");
    assert_eq!(answer.json()["error"]["limit"], 100);
}

/// Checklist 32: a client that asks and does not take the answers.
#[tokio::test]
async fn whoever_takes_no_answer_is_closed_and_its_requests_wait_until_then() {
    let odin = Odin::start_with(|config| {
        config.http.keep_alive = Duration::from_secs(1);
        config.heartbeat.not_reading_timeout = Duration::from_secs(1);
        config.http.requests_per_second = 60_000;
        config.sockets.send_buffer_bytes = Some(16 * 1024);
    })
    .await;
    odin.publisher.prices("BTC", 1, 500, 1_000).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size the system takes");
    let mut stream = socket.connect(odin.gateway.address).await.expect("a connection");
    let request = "GET /v1/channels/price:BTC/history?limit=1000 HTTP/1.1\r\nHost: odin\r\n\r\n";
    stream.write_all(request.repeat(50).as_bytes()).await.expect("sent");
    odin.gateway.metric_becomes("odin_gateway_http_connections", 1).await;
    odin.gateway.metric_reaches("odin_gateway_http_questions_total", 1).await;
    odin.gateway.metric_becomes("odin_gateway_http_connections", 0).await;
    assert!(odin.gateway.metric("odin_gateway_http_questions_total").await < 40, "answers that nobody took");
    drop(stream);
}
