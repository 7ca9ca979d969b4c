//! Every way into odin, byte by byte, as it must pass whatever stands before the gateways.

use std::net::Ipv4Addr;

use async_nats::jetstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{LIMIT, jetstream};
use crate::witness::Witness;

/// A WebSocket handshake.
pub(crate) struct Dial<'a> {
    address: &'a str,
    from: Ipv4Addr,
    headers: &'a str,
}

impl<'a> Dial<'a> {
    pub(crate) fn to(address: &'a str) -> Dial<'a> {
        Dial { address, from: Ipv4Addr::LOCALHOST, headers: "" }
    }

    /// Another address of the loopback network: another client.
    fn from(self, from: [u8; 4]) -> Dial<'a> {
        Dial { from: from.into(), ..self }
    }

    /// Lines of the request's head.
    fn saying(self, headers: &'a str) -> Dial<'a> {
        Dial { headers, ..self }
    }

    /// The status of the answer.
    async fn status(self) -> (String, Http) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.from, 0).into()).expect("the loopback network has many addresses");
        let stream = socket.connect(self.address.parse().expect("an address")).await.expect("somebody listens");
        let mut http = Http { stream, buffer: Vec::new() };
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        http.ask("/ws", &format!("{upgrade}{}", self.headers)).await;
        let head = http.head().await;
        (head.get(9..12).expect("a status").to_owned(), http)
    }

    /// A connection that was accepted.
    pub(crate) async fn open(self) -> Http {
        let (status, http) = self.status().await;
        assert_eq!(status, "101");
        http
    }
}

/// A TCP connection that speaks HTTP, and perhaps WebSocket later.
pub(crate) struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    async fn connect(address: &str) -> Http {
        Http { stream: TcpStream::connect(address).await.expect("somebody listens"), buffer: Vec::new() }
    }

    async fn ask(&mut self, path: &str, headers: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: odin.example\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("sent");
    }

    /// Takes what came up to the end of `text`, waiting for it.
    async fn until(&mut self, text: &str) -> String {
        let search = async {
            loop {
                if let Some(at) = self.buffer.windows(text.len()).position(|bytes| bytes == text.as_bytes()) {
                    let taken: Vec<u8> = self.buffer.drain(..at + text.len()).collect();
                    return String::from_utf8_lossy(&taken).into_owned();
                }
                let read = self.stream.read_buf(&mut self.buffer).await.expect("an open connection");
                assert_ne!(read, 0, "it ended before {text:?}: {}", String::from_utf8_lossy(&self.buffer));
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("{text:?} did not come"))
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// An answer of a known length: 200, and JSON.
    async fn json(&mut self) -> serde_json::Value {
        let head = self.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
        let length: usize = length.parse().expect("a number");
        while self.buffer.len() < length {
            let read = self.stream.read_buf(&mut self.buffer);
            assert_ne!(tokio::time::timeout(LIMIT, read).await.expect("the rest").expect("open"), 0, "cut off");
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        serde_json::from_slice(&body).expect("JSON")
    }

    /// A WebSocket answers a message: both directions are open.
    pub(crate) async fn answers(&mut self) {
        let message = br#"{"type":"ping"}"#;
        // Masked with zeros: the text stays as it is.
        let mut frame = vec![0x81, 0x80 | u8::try_from(message.len()).expect("short"), 0, 0, 0, 0];
        frame.extend_from_slice(message);
        self.stream.write_all(&frame).await.expect("sent");
        self.until(r#""type":"pong""#).await;
    }
}

async fn price(context: &jetstream::Context) -> u64 {
    let stored = context.publish("odin.tokens.BTC.price", r#"{"price":1.5}"#.into()).await.expect("sent");
    stored.await.expect("stored").sequence
}

/// A WebSocket, a stream of events and polls bring a price while it is new: nothing on the way keeps it.
pub(crate) async fn carries_everything(address: &str, nats_url: &str) {
    let context = jetstream(&[nats_url.to_owned()]).await;
    let first = price(&context).await;

    let mut socket = Witness::start(address, "price:BTC").await;
    socket.beyond(first - 1).await;
    let mut events = Http::connect(address).await;
    events.ask("/v1/events?channels=price:BTC", "").await;
    assert!(events.head().await.to_ascii_lowercase().contains("content-type: text/event-stream"));
    events.until(&format!(r#""seq":{first},"#)).await;

    let mut poll = Http::connect(address).await;
    poll.ask("/v1/poll?channels=price:BTC&wait=0", "").await;
    let answer = poll.json().await;
    // On the same connection: the client's is kept, whatever happens behind the balancer.
    let cursor = answer["cursor"].as_str().expect("a cursor");
    poll.ask(&format!("/v1/poll?channels=price:BTC&wait=55&cursor={cursor}"), "").await;

    let second = price(&context).await;
    events.until(&format!(r#""seq":{second},"#)).await;
    socket.beyond(second - 1).await;
    socket.assert_unbroken();
    let answer = poll.json().await;
    assert_eq!(answer["messages"][0]["seq"], second, "{answer}");
}

/// One connection for each address of the client, as the balancer heard it; what clients say before that counts nothing.
/// The gateway behind `address` has to be the only one, with a limit of one connection for each address.
pub(crate) async fn connections_by_address(address: &str) {
    let mut first = Dial::to(address).from([127, 0, 0, 2]).open().await;
    for forged in ["", "X-Forwarded-For: 203.0.113.9\r\n", "X-Forwarded-For: 203.0.113.9, 127.0.0.1\r\n"] {
        let (status, _) = Dial::to(address).from([127, 0, 0, 2]).saying(forged).status().await;
        assert_eq!(status, "429", "{forged:?}");
    }
    let mut second = Dial::to(address).from([127, 0, 0, 3]).open().await;
    first.answers().await;
    second.answers().await;
}
