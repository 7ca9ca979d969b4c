//! A WebSocket client of a few lines that can be as rude as a test wants.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use odin_protocol::{
    Codec, ConnectionStatus, ErrorMessage, Mode, ServerMessage, Update,
    close::CloseCode,
    message::{ChannelRequest, ClientMessage, RequestId, Secret},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{Answer, Gateway, in_time};

/// The masking key of every frame. Its value is nobody's business.
const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What may come from a gateway.
#[derive(Debug)]
pub(crate) enum Received {
    Message(ServerMessage),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// The end of the TCP connection.
    End,
}

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) codec: Codec,
    /// `SO_RCVBUF`: how much may wait for a client that does not read.
    pub(crate) receive_buffer_bytes: Option<u32>,
    /// Sent in the same packet as the request.
    pub(crate) early: Vec<u8>,
}

impl Default for Dial {
    fn default() -> Self {
        Self { codec: Codec::Json, receive_buffer_bytes: None, early: Vec::new() }
    }
}

/// A connected client, over TCP or anything else. It answers pings while it reads, unless told otherwise.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) codec: Codec,
    /// What the gateway said first.
    pub(crate) status: ConnectionStatus,
    pub(crate) answers_pings: bool,
    buffer: Vec<u8>,
    /// Read, but not yet asked for.
    early: VecDeque<ServerMessage>,
}

/// A handshake of one's own making: `headers` come after the request line, each with its line end.
pub(crate) fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: odin\r\n{headers}\r\n")
}

/// A masked frame. `first` is FIN, reserved bits and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        longer => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(longer as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::dial(gateway.address, Dial::default()).await
    }

    /// Connects and reads `connection:status`.
    pub(crate) async fn dial(address: SocketAddr, dial: Dial) -> Self {
        let protocol = dial.codec.protocol();
        let mut bytes = request(
            "GET /ws HTTP/1.1",
            &format!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n"
            ),
        )
        .into_bytes();
        bytes.extend_from_slice(&dial.early);
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(size) = dial.receive_buffer_bytes {
            socket.set_recv_buffer_size(size).expect("a size the system takes");
        }
        let stream = in_time("a connection", socket.connect(address)).await.expect("a connection");
        Self::shake_hands(stream, &bytes, dial.codec).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends this request and takes the answer for a handshake.
    pub(crate) async fn shake_hands(mut stream: S, request: &[u8], codec: Codec) -> Self {
        stream.write_all(request).await.expect("sent");
        stream.flush().await.expect("sent");
        let mut buffer = Vec::new();
        let end = in_time("the handshake", async {
            loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    return end + 4;
                }
                assert_ne!(stream.read_buf(&mut buffer).await.expect("readable"), 0, "refused: {buffer:?}");
            }
        })
        .await;
        let answer = Answer::parse(&buffer[..end]);
        assert_eq!(answer.status, 101, "{}", answer.head);
        // RFC 6455 §1.3 has this key and its answer.
        assert!(answer.head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{}", answer.head);
        buffer.drain(..end);
        let mut client = Self {
            stream,
            codec,
            status: ConnectionStatus {
                status: "".into(),
                connection_id: String::new(),
                heartbeat_ms: 0,
                idle_timeout_ms: None,
                connected_clients: 0,
                max_message_bytes: 0,
                epoch: None,
                server: None,
            },
            answers_pings: true,
            buffer,
            early: VecDeque::new(),
        };
        match client.message().await {
            ServerMessage::Status(status) => client.status = status,
            other => panic!("connection:status comes first, not {other:?}"),
        }
        client
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        in_time("the gateway to read", self.stream.write_all(bytes)).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// One frame with FIN in the connection's codec.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_raw(&frame(0x81, text.as_bytes())).await;
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        let opcode = if self.codec.is_text() { 0x81 } else { 0x82 };
        self.send_raw(&frame(opcode, &message.encode(self.codec))).await;
    }

    /// Signs in, and gives what the gateway answers.
    pub(crate) async fn auth(&mut self, token: &str) -> ServerMessage {
        let token = Secret::new(token);
        self.send(&ClientMessage::Auth { id: Some(RequestId::Number(900)), token }).await;
        self.message().await
    }

    /// Signs in as somebody who is known.
    pub(crate) async fn sign_in(&mut self, token: &str) {
        match self.auth(token).await {
            ServerMessage::Authenticated { id: Some(RequestId::Number(900)), .. } => {}
            other => panic!("not signed in: {other:?}"),
        }
    }

    pub(crate) async fn ping(&mut self, id: u64) {
        self.send(&ClientMessage::Ping { id: Some(RequestId::Number(id)) }).await;
    }

    /// Asks for a pong and reads up to it: whatever was asked before has been answered by then.
    pub(crate) async fn sync(&mut self, id: u64) -> Vec<ServerMessage> {
        self.ping(id).await;
        let mut before = Vec::new();
        loop {
            match self.message().await {
                ServerMessage::Pong { id: Some(RequestId::Number(answered)), .. } if answered == id => return before,
                other => before.push(other),
            }
        }
    }

    /// Asks for channels by name without waiting for the answers.
    pub(crate) async fn ask(&mut self, id: u64, channels: &[&str]) {
        let channels = channels.iter().map(|channel| ChannelRequest::from(*channel)).collect();
        self.ask_with(id, channels).await;
    }

    pub(crate) async fn ask_with(&mut self, id: u64, channels: Vec<ChannelRequest>) {
        self.send(&ClientMessage::Subscribe { id: Some(RequestId::Number(id)), channels, since: None }).await;
    }

    /// Subscribes and reads up to the last `subscribed`. Snapshots read on the way are kept for later.
    pub(crate) async fn subscribe(&mut self, channels: &[&str]) {
        self.subscribe_in(channels, None).await;
    }

    /// The same with every publication instead of the newest.
    pub(crate) async fn subscribe_all(&mut self, channels: &[&str]) {
        self.subscribe_in(channels, Some(Mode::All)).await;
    }

    async fn subscribe_in(&mut self, channels: &[&str], mode: Option<Mode>) {
        let entry = |channel: &&str| ChannelRequest { mode, ..ChannelRequest::from(*channel) };
        self.ask_with(1, channels.iter().map(entry).collect()).await;
        let mut waiting = channels.len();
        let mut kept = VecDeque::new();
        while waiting > 0 {
            match self.message().await {
                ServerMessage::Subscribed { id, recovered, .. } => {
                    assert_eq!(id, Some(RequestId::Number(1)));
                    assert!(!recovered, "nothing to recover without since");
                    waiting -= 1;
                }
                ServerMessage::Error(error) => panic!("refused: {error:?}"),
                other => kept.push_back(other),
            }
        }
        kept.append(&mut self.early);
        self.early = kept;
    }

    pub(crate) async fn unsubscribe(&mut self, id: u64, channels: &[&str]) {
        self.send(&ClientMessage::Unsubscribe {
            id: Some(RequestId::Number(id)),
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
        })
        .await;
    }

    /// Whatever comes next.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            if let Some(message) = self.early.pop_front() {
                return Received::Message(message);
            }
            if let Some((opcode, payload)) = self.take_frame() {
                return match opcode {
                    0x1 | 0x2 => {
                        assert_eq!(opcode == 0x1, self.codec.is_text(), "the frame type of the sub-protocol");
                        let message = ServerMessage::decode(self.codec, &payload);
                        Received::Message(
                            message.unwrap_or_else(|_| panic!("readable: {:?}", String::from_utf8_lossy(&payload))),
                        )
                    }
                    0x8 => {
                        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                        let reason = payload.get(2..).unwrap_or_default().to_vec();
                        Received::Close(code, String::from_utf8(reason).expect("a reason in UTF-8"))
                    }
                    0x9 => Received::Ping(payload),
                    // The gateway may send pongs that nobody asked for, of spaces; they mean nothing (RFC 6455 §5.5.3).
                    0xA if !payload.is_empty() && payload.iter().all(|byte| *byte == b' ') => continue,
                    0xA => Received::Pong(payload),
                    other => panic!("a server does not send opcode {other}"),
                };
            }
            let read = in_time("the gateway to say something", self.stream.read_buf(&mut self.buffer));
            match read.await {
                Ok(0) | Err(_) => {
                    return Received::End;
                }
                Ok(_) => {}
            }
        }
    }

    /// Takes a whole frame out of the buffer: FIN, no mask, no reserved bits, the shortest length.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.buffer.first()?, self.buffer.get(1)?);
        assert_eq!(first & 0xF0, 0x80, "a server does not fragment, nor set reserved bits");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (head, length) = match second {
            126 => {
                let length = u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?);
                assert!(length > 125, "the shortest form");
                (4, usize::from(length))
            }
            127 => {
                let length = u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?);
                assert!(length > 0xFFFF, "the shortest form");
                (10, length as usize)
            }
            short => (2, usize::from(short)),
        };
        let payload = self.buffer.get(head..head + length)?.to_vec();
        self.buffer.drain(..head + length);
        Some((first & 0xF, payload))
    }

    /// The next message; pings are answered on the way.
    pub(crate) async fn message(&mut self) -> ServerMessage {
        loop {
            match self.next().await {
                // Where the stream stands is not what these tests are about.
                Received::Message(ServerMessage::Checkpoint { .. }) => {}
                Received::Message(message) => return message,
                Received::Ping(payload) if self.answers_pings => self.send_raw(&frame(0x8A, &payload)).await,
                Received::Ping(_) | Received::Pong(_) => {}
                other => panic!("expected a message, not {other:?}"),
            }
        }
    }

    /// The next update. `stale` and `live` may come before it.
    pub(crate) async fn update(&mut self) -> Update {
        loop {
            match self.message().await {
                ServerMessage::Update(update) => return update,
                ServerMessage::Stale { .. } | ServerMessage::Live { .. } => {}
                other => panic!("expected an update, not {other:?}"),
            }
        }
    }

    /// The next error.
    pub(crate) async fn error(&mut self) -> ErrorMessage {
        match self.message().await {
            ServerMessage::Error(error) => error,
            other => panic!("expected an error, not {other:?}"),
        }
    }

    /// Reads to the close frame and behind it the end, whatever comes before.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let closed = loop {
            match self.next().await {
                Received::Close(code, reason) => break (code.expect("a code"), reason),
                Received::End => panic!("ended without a close frame"),
                _ => {}
            }
        };
        match self.next().await {
            Received::End => closed,
            other => panic!("nothing comes after a close frame: {other:?}"),
        }
    }

    /// The same for one of odin's codes.
    pub(crate) async fn closed_with(&mut self, code: CloseCode) {
        assert_eq!(self.closed().await, (code.code(), code.reason().to_owned()));
    }
}

/// What a client knows of its chains, and the proof that none of them is broken.
#[derive(Debug, Default)]
pub(crate) struct Chains(HashMap<(String, Option<String>), u64>);

impl Chains {
    /// Takes the next update of a connection that is not slow.
    ///
    /// # Panics
    /// When it is not the next link of its chain.
    pub(crate) fn take(&mut self, update: &Update) {
        let chain = (update.channel.clone(), update.key.clone());
        let last = self.0.insert(chain, update.seq);
        match (last, update.snapshot) {
            (_, true) => assert_eq!(update.prev, None, "a snapshot begins a chain: {update:?}"),
            (Some(last), false) => assert_eq!(update.prev, Some(last), "the next link: {update:?}"),
            (None, false) => assert!(update.prev.is_some(), "a live update names the one before: {update:?}"),
        }
        assert!(last.is_none_or(|last| update.seq > last), "forwards: {update:?}");
    }

    /// Notes that a gap covers everything up to here.
    pub(crate) fn skip(&mut self, channel: &str, until: u64) {
        self.0.insert((channel.to_owned(), None), until);
    }
}
