//! What a client is connected by: a WebSocket, an event stream, or one poll after the other. The same messages come by all
//! of them.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use odin_protocol::{Codec, ServerMessage, message::ClientMessage};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::socket::{Incoming, Socket};

/// How long a connect or the head of an answer may take; that of a poll waits on top of it.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a poll waits for news, in seconds.
const WAIT_S: u64 = 5;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket.
    WebSocket(Codec),
    /// Server-sent events, by a `subscribe` message with a cursor for each channel.
    Events,
    /// The same as a browser's `EventSource` does it: an address, and the last `id`.
    EventSource,
    /// Long polling; each request to another gateway.
    Poll,
}

/// A connection, for as long as it lasts.
#[derive(Debug)]
pub enum Link {
    /// A WebSocket.
    Socket(Socket),
    /// An event stream.
    Events(Events),
}

impl Link {
    /// The next message, or the end. With `at_most`, no more bytes than that are read from the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read stays in a buffer.
    pub async fn next(&mut self, at_most: usize) -> Incoming {
        match self {
            Link::Socket(socket) => socket.next(at_most).await,
            Link::Events(events) => events.next(at_most).await,
        }
    }
}

/// An event stream that is open.
#[derive(Debug)]
pub struct Events {
    stream: TcpStream,
    buffer: Vec<u8>,
    ready: VecDeque<Incoming>,
}

impl Events {
    /// Asks for a stream: by a `subscribe` message, or by an address and the last `id`.
    ///
    /// # Errors
    /// The gateway is away or refuses.
    pub async fn open(
        address: SocketAddr,
        asked: &ClientMessage,
        last_id: Option<&str>,
        is_event_source: bool,
        receive_buffer: Option<u32>,
    ) -> anyhow::Result<Events> {
        let request = if is_event_source {
            let ClientMessage::Subscribe { channels, .. } = asked else { bail!("not a subscribe") };
            let names: Vec<&str> = channels.iter().map(|request| request.channel.as_str()).collect();
            let mode = channels.first().and_then(|request| request.mode).map_or("", |mode| mode.as_str());
            let id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
            let names = names.join(",");
            format!("GET /v1/events?channels={names}&mode={mode} HTTP/1.1\r\nHost: {address}\r\n{id}\r\n").into_bytes()
        } else {
            post(address, "/v1/events", asked)
        };
        let (stream, head, buffer) = ask(address, &request, receive_buffer, LIMIT).await?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("refused: {}", head.lines().next().unwrap_or_default());
        }
        Ok(Events { stream, buffer, ready: VecDeque::new() })
    }

    async fn next(&mut self, at_most: usize) -> Incoming {
        loop {
            if let Some(incoming) = self.ready.pop_front() {
                return incoming;
            }
            while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let event = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                self.take(&event);
            }
            if self.ready.is_empty() {
                self.buffer.reserve(at_most);
                let read = (&mut self.stream).take(at_most as u64).read_buf(&mut self.buffer).await;
                if !matches!(read, Ok(1..)) {
                    return Incoming::End(None);
                }
            }
        }
    }

    /// One event: its message, then its id, which stands for everything before it.
    fn take(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if field("event") == Some("close") {
            self.ready.push_back(Incoming::End(None));
            return;
        }
        if let Some(data) = field("data") {
            self.ready.push_back(match ServerMessage::decode(Codec::Json, data.as_bytes()) {
                Ok(message) => Incoming::Message(Box::new(message)),
                Err(_) => Incoming::End(Some(1002)),
            });
        }
        if let Some(id) = field("id") {
            self.ready.push_back(Incoming::Id(id.to_owned()));
        }
    }
}

/// What a poll was answered.
#[derive(Debug, Deserialize)]
struct Body {
    cursor: String,
    messages: Vec<Box<RawValue>>,
}

/// One poll, on a connection of its own: the messages, and the cursor of the next one.
///
/// # Errors
/// The gateway is away, refuses, or what it says is not whole.
pub async fn poll(
    address: SocketAddr,
    asked: &ClientMessage,
    cursor: Option<&str>,
) -> anyhow::Result<(Vec<ServerMessage>, String)> {
    let path = match cursor {
        Some(cursor) => format!("/v1/poll?wait={WAIT_S}&cursor={cursor}"),
        None => format!("/v1/poll?wait={WAIT_S}"),
    };
    let limit = LIMIT + Duration::from_secs(WAIT_S);
    let (mut stream, head, mut body) = ask(address, &post(address, &path, asked), None, limit).await?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("refused: {}", head.lines().next().unwrap_or_default());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
    let length: usize = length.trim().parse()?;
    timeout(LIMIT, async {
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                bail!("ended within the answer");
            }
        }
        Ok(())
    })
    .await
    .context("answer")??;
    let Body { cursor, messages } = serde_json::from_slice(&body)?;
    let decoded = messages.iter().map(|message| ServerMessage::decode(Codec::Json, message.get().as_bytes()));
    Ok((decoded.collect::<Result<_, _>>().context("a message")?, cursor))
}

fn post(address: SocketAddr, path: &str, message: &ClientMessage) -> Vec<u8> {
    let body = message.encode(Codec::Json);
    let length = body.len();
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    request.extend(body);
    request
}

/// Sends a request and reads the head of its answer, and whatever came with it.
async fn ask(
    address: SocketAddr,
    request: &[u8],
    receive_buffer: Option<u32>,
    limit: Duration,
) -> anyhow::Result<(TcpStream, String, Vec<u8>)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let mut stream = timeout(LIMIT, socket.connect(address)).await.context("connect")??;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    timeout(limit, async {
        stream.write_all(request).await?;
        loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                buffer.drain(..end + 4);
                return Ok((stream, head, buffer));
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                bail!("ended before an answer");
            }
        }
    })
    .await
    .context("answer")?
}
