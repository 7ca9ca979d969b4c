//! HTTP clients of a few lines: one that asks once, one that keeps its connection, one that polls, and one that reads
//! server-sent events as strictly as the page says that they are written.

use std::net::SocketAddr;

use odin_protocol::{Codec, Cursor, Mode, ServerMessage, Update, close::CloseCode};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{Answer, Gateway, exchange, in_time};

/// The header that brings a token.
pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The position behind an update.
pub(super) fn cursor_of(update: &Update) -> String {
    Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts }.to_string()
}

fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    format!("{method} {target} HTTP/1.1\r\nHost: odin\r\n{length}{headers}\r\n{body}")
}

/// Asks on a connection of its own. `headers` have their line ends.
pub(super) async fn ask(gateway: &Gateway, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let headers = format!("Connection: close\r\n{headers}");
    exchange(gateway.address, &request(method, target, &headers, body)).await
}

pub(super) async fn get(gateway: &Gateway, target: &str) -> Answer {
    get_with(gateway, target, "").await
}

pub(super) async fn get_with(gateway: &Gateway, target: &str, headers: &str) -> Answer {
    ask(gateway, "GET", target, headers, "").await
}

pub(super) async fn post(gateway: &Gateway, target: &str, headers: &str, body: &str) -> Answer {
    ask(gateway, "POST", target, headers, body).await
}

/// Expects a refusal with this status and code, in the shape that all of them have.
pub(super) fn is_refused(answer: &Answer, status: u16, code: &str) {
    let said = (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(said, (status, code.to_owned()), "{}", answer.body);
    let retry_after = answer.header("retry-after").map(|seconds| seconds.parse::<u64>().expect("seconds"));
    assert_eq!(answer.json()["error"]["retryAfterMs"].as_u64(), retry_after.map(|s| s * 1000), "{}", answer.body);
    assert_eq!(retry_after.is_some(), [429, 503].contains(&status), "{}", answer.head);
}

/// A connection that is used again.
#[derive(Debug)]
pub(super) struct Web<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

impl Web {
    pub(super) async fn connect(gateway: &Gateway) -> Self {
        Self::on(in_time("a connection", TcpStream::connect(gateway.address)).await.expect("a connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Web<S> {
    pub(super) fn on(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The connection, with nothing read of it that was not asked for.
    pub(super) fn into_inner(self) -> S {
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
        self.stream
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        in_time("the gateway to read", self.stream.write_all(bytes)).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    pub(super) async fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        self.send(request(method, target, headers, body).as_bytes()).await;
        self.answer(method == "HEAD").await
    }

    pub(super) async fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, "", "").await
    }

    /// Reads one answer, and nothing behind it.
    pub(super) async fn answer(&mut self, has_no_body: bool) -> Answer {
        loop {
            if let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = Answer::parse(&self.buffer[..head + 4]);
                let has_no_body = has_no_body || answer.status == 304;
                let length = answer
                    .header("content-length")
                    .filter(|_| !has_no_body)
                    .map_or(0, |length| length.parse().expect("a length"));
                if self.buffer.len() >= head + 4 + length {
                    let whole: Vec<u8> = self.buffer.drain(..head + 4 + length).collect();
                    return Answer::parse(&whole);
                }
            }
            let read = in_time("an answer", self.stream.read_buf(&mut self.buffer)).await.expect("readable");
            assert_ne!(read, 0, "ended without an answer: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Waits for the end of the connection; nothing comes before it.
    pub(super) async fn ended(&mut self) {
        let read = in_time("the end", self.stream.read_buf(&mut self.buffer)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{:?}", String::from_utf8_lossy(&self.buffer));
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
    }
}

/// Whether a position is before another one of the same stream.
fn is_before(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<Cursor>(), other.parse::<Cursor>()) else {
        return false;
    };
    one.epoch == other.epoch && one.seq < other.seq
}

/// The body of an answer, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    cursor: String,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    more: Option<bool>,
}

/// What a poll or a history was answered.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) cursor: String,
    pub(super) messages: Vec<ServerMessage>,
    pub(super) more: Option<bool>,
}

impl Polled {
    /// # Panics
    /// When it is not 200, or not of the shape that the page describes.
    pub(super) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body: Body<'_> = serde_json::from_str(&answer.body).expect("cursor and messages");
        let read = |message: &&RawValue| ServerMessage::decode(Codec::Json, message.get().as_bytes()).expect("known");
        Self { cursor: body.cursor, messages: body.messages.iter().map(read).collect(), more: body.more }
    }

    pub(super) fn updates(&self) -> Vec<&Update> {
        let messages = self.messages.iter();
        messages
            .filter_map(|message| if let ServerMessage::Update(update) = message { Some(update) } else { None })
            .collect()
    }

    pub(super) fn seqs(&self) -> Vec<u64> {
        self.updates().iter().map(|update| update.seq).collect()
    }
}

/// Somebody who polls: what is asked for, and the cursor of the last answer.
#[derive(Debug)]
pub(super) struct Poller {
    /// Channels and options, as in the query.
    asks: String,
    headers: String,
    pub(super) cursor: String,
}

impl Poller {
    pub(super) fn new(asks: &str) -> Self {
        Self { asks: asks.to_owned(), headers: String::new(), cursor: String::new() }
    }

    pub(super) fn with_token(self, token: &str) -> Self {
        Self { headers: bearer(token), ..self }
    }

    /// Asks for what came since the last time, and waits for so many seconds.
    pub(super) async fn poll(&mut self, gateway: &Gateway, wait: u32) -> Polled {
        self.poll_at(gateway.address, wait).await
    }

    pub(super) async fn poll_at(&mut self, address: SocketAddr, wait: u32) -> Polled {
        let target = format!("/v1/poll?channels={}&wait={wait}&cursor={}", self.asks, self.cursor);
        let headers = format!("Connection: close\r\n{}", self.headers);
        let polled = Polled::of(&exchange(address, &request("GET", &target, &headers, "")).await);
        self.cursor.clone_from(&polled.cursor);
        polled
    }
}

/// One event, with all of its fields.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) is_comment: bool,
    pub(super) retry: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) data: Option<String>,
}

impl Event {
    /// # Panics
    /// When a line is not one that the gateway writes, or is there twice.
    fn parse(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.split('\n') {
            if line == ":" {
                event.is_comment = true;
                continue;
            }
            let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?} in {block:?}"));
            let is_first = match field {
                "retry" => event.retry.replace(value.parse().expect("milliseconds")).is_none(),
                "id" => event.id.replace(value.to_owned()).is_none(),
                "event" => event.name.replace(value.to_owned()).is_none(),
                "data" => event.data.replace(value.to_owned()).is_none(),
                _ => panic!("unknown field {field:?} in {block:?}"),
            };
            assert!(is_first, "{field} is there twice: {block:?}");
        }
        event
    }
}

/// A reader of server-sent events.
#[derive(Debug)]
pub(super) struct Events<S = TcpStream> {
    pub(super) stream: S,
    buffer: Vec<u8>,
    /// Of the response.
    pub(super) head: Answer,
    /// What a browser would send when it comes back.
    pub(super) last_id: String,
    /// When it would, in milliseconds.
    pub(super) retry: u64,
}

impl Events {
    /// Opens a stream of these channels and options.
    pub(super) async fn open(gateway: &Gateway, asks: &str) -> Self {
        Self::open_with(gateway, asks, "").await
    }

    pub(super) async fn open_with(gateway: &Gateway, asks: &str, headers: &str) -> Self {
        Self::dial(gateway.address, &Self::request(asks, headers), None).await
    }

    /// Comes back as a browser does.
    pub(super) async fn resume(gateway: &Gateway, asks: &str, last_id: &str) -> Self {
        Self::open_with(gateway, asks, &format!("Last-Event-ID: {last_id}\r\n")).await
    }

    pub(super) async fn post(gateway: &Gateway, headers: &str, body: &Value) -> Self {
        let text = request("POST", "/v1/events", headers, &body.to_string());
        Self::dial(gateway.address, &text, None).await
    }

    pub(super) fn request(asks: &str, headers: &str) -> String {
        request("GET", &format!("/v1/events?channels={asks}"), headers, "")
    }

    /// Sends a request that is answered by a stream; `receive_buffer_bytes` as in [`Dial`](crate::support::Dial).
    pub(super) async fn dial(address: SocketAddr, request: &str, receive_buffer_bytes: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(size) = receive_buffer_bytes {
            socket.set_recv_buffer_size(size).expect("a size the system takes");
        }
        Self::on(in_time("a connection", socket.connect(address)).await.expect("a connection"), request).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Events<S> {
    /// Sends the request on this connection, and reads up to the first event, which says when to come back.
    pub(super) async fn on(stream: S, request: &str) -> Self {
        Self::of(Web::on(stream), request).await
    }

    /// The same on a connection that has been used, and may have read what comes.
    pub(super) async fn of(web: Web<S>, request: &str) -> Self {
        let Web { mut stream, mut buffer } = web;
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        let end = in_time("the head of a stream", async {
            loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    return end + 4;
                }
                let read = stream.read_buf(&mut buffer).await.expect("readable");
                assert_ne!(read, 0, "refused: {}", String::from_utf8_lossy(&buffer));
            }
        })
        .await;
        let head = Answer::parse(&buffer[..end]);
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&buffer));
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        buffer.drain(..end);
        let mut events = Self { stream, buffer, head, last_id: String::new(), retry: 0 };
        let first = events.next().await.expect("a stream begins with a wait");
        assert_eq!(first, Event { retry: first.retry, ..Event::default() });
        assert!(first.retry.is_some_and(|ms| (500..=3_000).contains(&ms)), "{first:?}");
        events
    }

    /// The next event; none at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let event = Event::parse(std::str::from_utf8(&block[..end]).expect("UTF-8"));
                self.retry = event.retry.unwrap_or(self.retry);
                if let Some(id) = &event.id {
                    assert!(!is_before(id, &self.last_id), "{id} after {}", self.last_id);
                    self.last_id.clone_from(id);
                }
                return Some(event);
            }
            let read = in_time("the gateway to say something", self.stream.read_buf(&mut self.buffer)).await;
            if matches!(read, Ok(0) | Err(_)) {
                assert!(self.buffer.is_empty(), "half an event: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        }
    }

    /// The next message that is no checkpoint.
    pub(super) async fn message(&mut self) -> ServerMessage {
        loop {
            let event = self.next().await.expect("a message");
            assert_eq!(event.name, None, "{event:?}");
            let Some(data) = &event.data else {
                continue;
            };
            match ServerMessage::decode(Codec::Json, data.as_bytes()).expect("a message") {
                ServerMessage::Checkpoint { cursor } => assert_eq!(event.id, Some(cursor), "its id is the position"),
                message => return message,
            }
        }
    }

    /// Reads up to the last `subscribed`, which is not one of a resume.
    pub(super) async fn begun(&mut self, channels: usize, mode: Mode) {
        match self.message().await {
            ServerMessage::Status(_) => {}
            other => panic!("connection:status comes first, not {other:?}"),
        }
        for _ in 0..channels {
            match self.message().await {
                ServerMessage::Subscribed { recovered: false, reason: None, mode: said, .. } if said == mode => {}
                other => panic!("expected the beginning of a subscription, not {other:?}"),
            }
        }
    }

    /// Reads up to the last `subscribed` of a resume that was granted.
    pub(super) async fn resumed(&mut self, channels: usize) {
        let mut granted = 0;
        while granted < channels {
            match self.message().await {
                ServerMessage::Subscribed { recovered: true, .. } => granted += 1,
                ServerMessage::Status(_) | ServerMessage::Authenticated { .. } => {}
                other => panic!("expected a resume, not {other:?}"),
            }
        }
    }

    /// The next update. `stale` and `live` may come before it.
    pub(super) async fn update(&mut self) -> Update {
        loop {
            match self.message().await {
                ServerMessage::Update(update) => return update,
                ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
                other => panic!("expected an update, not {other:?}"),
            }
        }
    }

    /// Reads to the end, the last event before which says this.
    pub(super) async fn closed_with(&mut self, code: CloseCode) {
        let last = loop {
            let event = self.next().await.expect("a close");
            if event.name.is_some() {
                break event;
            }
        };
        assert_eq!(last.name.as_deref(), Some("close"));
        let data: Value = serde_json::from_str(&last.data.expect("a code")).expect("json");
        let expected = serde_json::json!({ "code": code.code(), "name": code.name(), "reason": code.reason() });
        assert_eq!(data, expected);
        assert!(last.retry.is_some(), "it says when to come back");
        assert_eq!(self.next().await, None, "nothing comes behind a close");
    }
}
