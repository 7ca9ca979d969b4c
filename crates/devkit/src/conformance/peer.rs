//! The gateway's end of one connection: it says what a scenario wants, and notes what every client must keep to.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use odin_protocol::frame::{self, Decoder, Limits, Message, Opcode, Violation};
use odin_protocol::{ClientMessage, Codec, RequestId, ServerMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::behaviour::Behaviour;
use super::report::Notes;

/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// What is read of one message, so that one beyond the limit can be seen as such.
const LIMITS: Limits = Limits { message_bytes: 1024 * 1024, fragments: 256 };
/// How long a client may take to end its side after we ended ours.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);
/// Most channels that one message may name.
const MAX_CHANNELS: usize = 500;
/// Most that is kept of what a client said and no scenario asked for; a gateway ends such a client long before.
const MOST_UNHEARD: usize = 10_000;
/// A message of a type that nobody knows, in MessagePack: `{"type":"weather","sunny":true}`.
const WEATHER: &[u8] = b"\x82\xa4type\xa7weather\xa5sunny\xc3";

/// What a client did.
#[derive(Debug)]
pub(super) enum Heard {
    /// It asked for something; its `ping` messages are answered without being heard.
    Message(ClientMessage),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame with this code.
    Closed(Option<u16>),
    /// The connection is gone, or of no use any more.
    Gone,
}

/// The gateway's end of one connection. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    codec: Codec,
    decoder: Decoder,
    heard: VecDeque<Heard>,
    notes: Notes,
    is_over: bool,
    /// Nothing is answered by itself.
    pub(super) is_silent: bool,
    /// `ping` messages so far.
    pub(super) pings: usize,
    unanswered: Vec<Option<RequestId>>,
    /// What hello said; before it there is nothing to keep to.
    max_message_bytes: Option<usize>,
    /// The `auth` that is not answered yet.
    auth: Option<Option<RequestId>>,
    probes: u32,
}

impl Peer {
    /// `rest` came with the handshake.
    pub(super) fn new(stream: TcpStream, codec: Codec, mut rest: Vec<u8>, notes: Notes) -> Peer {
        let mut peer = Peer {
            stream,
            codec,
            decoder: Decoder::default(),
            heard: VecDeque::new(),
            notes,
            is_over: false,
            is_silent: false,
            pings: 0,
            unanswered: Vec::new(),
            max_message_bytes: None,
            auth: None,
            probes: 0,
        };
        peer.decode(&mut rest);
        peer
    }

    /// Says hello.
    pub(super) async fn hello(&mut self, heartbeat_ms: u64, max_message_bytes: usize, epoch: &str) -> io::Result<()> {
        if self.max_message_bytes.is_none() && !self.heard.is_empty() {
            self.notes.wrong(Behaviour::WaitsForHello, "it spoke before connection:status");
        }
        self.max_message_bytes = Some(max_message_bytes);
        // the last member is one that nobody knows
        self.say(&format!(
            r#"{{"type":"connection:status","status":"connected","connectionId":"c-1","heartbeatMs":{heartbeat_ms},"connectedClients":1,"maxMessageBytes":{max_message_bytes},"epoch":"{epoch}","server":"odin-conform","mood":{{"good":[true]}}}}"#
        ))
        .await
    }

    /// Sends a message, written as JSON, in the connection's codec. On MessagePack connections only what the protocol
    /// knows is sent.
    pub(super) async fn say(&mut self, json: &str) -> io::Result<()> {
        if self.codec.is_text() {
            return self.frame(Opcode::Text, json.as_bytes()).await;
        }
        let message = ServerMessage::decode(Codec::Json, json.as_bytes()).expect("scenarios say what can be read");
        let mut bytes = Vec::new();
        message.encode(self.codec, &mut bytes);
        self.frame(Opcode::Binary, &bytes).await
    }

    /// Sends a message of a type that nobody knows.
    pub(super) async fn say_nonsense(&mut self) -> io::Result<()> {
        if self.codec.is_text() {
            return self.frame(Opcode::Text, br#"{"type":"weather","sunny":true}"#).await;
        }
        self.frame(Opcode::Binary, WEATHER).await
    }

    async fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        frame::encode_frame(opcode, payload, &mut bytes);
        self.stream.write_all(&bytes).await
    }

    pub(super) async fn ping(&mut self, payload: &[u8]) -> io::Result<()> {
        self.frame(Opcode::Ping, payload).await
    }

    /// Answers the `auth` that is under way.
    pub(super) async fn authenticate(&mut self, life: Option<Duration>) -> io::Result<()> {
        let id = self.auth.take().flatten();
        let expires = life.map(|life| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            format!(r#","expiresAt":{}"#, (now + life).as_millis())
        });
        let expires = expires.unwrap_or_default();
        self.say(&format!(r#"{{"type":"authenticated"{},"sub":"user-7"{expires}}}"#, with_id(id.as_ref()))).await
    }

    /// Refuses the `auth` that is under way.
    pub(super) async fn refuse_auth(&mut self, code: &str, retry_after_ms: Option<u64>) -> io::Result<()> {
        let id = self.auth.take().flatten();
        self.error(id.as_ref(), code, None, retry_after_ms).await
    }

    /// Says that a request, or one channel of it, was refused.
    pub(super) async fn error(
        &mut self,
        id: Option<&RequestId>,
        code: &str,
        channel: Option<&str>,
        retry_after_ms: Option<u64>,
    ) -> io::Result<()> {
        let channel = channel.map_or_else(String::new, |channel| format!(r#","channel":"{channel}""#));
        let retry = retry_after_ms.map_or_else(String::new, |ms| format!(r#","retryAfterMs":{ms}"#));
        let id = with_id(id);
        self.say(&format!(
            r#"{{"type":"error"{id},"code":"{code}","message":"as the scenario wants"{channel}{retry}}}"#
        ))
        .await
    }

    /// The next thing the client does; `None` when it does nothing for `limit`.
    pub(super) async fn hear(&mut self, limit: Duration) -> Option<Heard> {
        let deadline = Instant::now() + limit;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            if self.is_over {
                return Some(Heard::Gone);
            }
            let read = tokio::time::timeout_at(deadline, self.stream.read(&mut piece)).await.ok()?;
            match read {
                Ok(0) | Err(_) => self.is_over = true,
                Ok(length) => {
                    self.decode(&mut piece[..length]);
                    for id in std::mem::take(&mut self.unanswered) {
                        let pong = format!(r#"{{"type":"pong"{},"ts":1767225600000}}"#, with_id(id.as_ref()));
                        if !self.is_silent && self.say(&pong).await.is_err() {
                            self.is_over = true;
                        }
                    }
                }
            }
        }
    }

    /// Everything the client does until it has answered a ping: what it said before is in the order it came.
    pub(super) async fn settle(&mut self, limit: Duration) -> Vec<Heard> {
        self.probes += 1;
        let probe = format!("probe {}", self.probes).into_bytes();
        let mut all = Vec::new();
        if self.ping(&probe).await.is_err() {
            all.push(Heard::Gone);
            return all;
        }
        let deadline = Instant::now() + limit;
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now())).await {
                None => {
                    self.notes.wrong(Behaviour::AnswersPings, format!("no pong within {limit:?}"));
                    return all;
                }
                Some(Heard::Pong(payload)) if payload == probe => {
                    self.notes.shown(Behaviour::AnswersPings);
                    return all;
                }
                Some(gone @ Heard::Gone) => {
                    all.push(gone);
                    return all;
                }
                Some(heard) => all.push(heard),
            }
        }
    }

    /// Closes with this code and waits for the client's close frame; gives the moment at which the client could know.
    pub(super) async fn close(mut self, code: u16) -> Instant {
        let mut bytes = Vec::new();
        frame::encode_close(code, "as the scenario wants", &mut bytes);
        let at = Instant::now();
        if self.stream.write_all(&bytes).await.is_ok() {
            let answered = timeout(GOODBYE_LIMIT, async {
                loop {
                    match self.hear(GOODBYE_LIMIT).await {
                        Some(Heard::Closed(_)) => return true,
                        Some(Heard::Gone) | None => return false,
                        Some(_) => {}
                    }
                }
            });
            if answered.await == Ok(true) {
                self.notes.shown(Behaviour::AnswersClose);
            } else {
                self.notes.not_shown(Behaviour::AnswersClose, format!("no close frame came for {code}"));
            }
        }
        self.cut().await;
        at
    }

    /// Answers the client's close frame.
    pub(super) async fn bye(mut self) {
        let mut bytes = Vec::new();
        frame::encode_close(1000, "", &mut bytes);
        // a client that has gone already needs no answer
        let _ = self.stream.write_all(&bytes).await;
        self.cut().await;
    }

    /// Ends the connection without a close frame, so that everything said before arrives; gives the moment at which
    /// the client could know.
    pub(super) async fn cut(mut self) -> Instant {
        let at = Instant::now();
        if self.stream.shutdown().await.is_ok() {
            // What we leave unread would become a reset, which takes along what the client has not read.
            let mut piece = [0; 4096];
            let drain = async { while matches!(self.stream.read(&mut piece).await, Ok(1..)) {} };
            let _ = timeout(GOODBYE_LIMIT, drain).await;
        }
        at
    }

    fn decode(&mut self, input: &mut [u8]) {
        let mut whole = Vec::new();
        let mut decoder = std::mem::take(&mut self.decoder);
        let mut messages = decoder.read(input, &LIMITS);
        while let Some(message) = messages.next() {
            whole.push(message.map(Owned::from));
        }
        drop(messages);
        self.decoder = decoder;
        for message in whole {
            self.take(message);
        }
    }

    fn take(&mut self, message: Result<Owned, Violation>) {
        if self.heard.len() >= MOST_UNHEARD {
            self.notes.wrong(Behaviour::ValidMessages, format!("{MOST_UNHEARD} messages at once"));
            self.is_over = true;
        }
        match message {
            Err(violation) => {
                self.notes.wrong(Behaviour::MasksFrames, violation.to_string());
                self.is_over = true;
            }
            Ok(Owned::Data { is_text, bytes }) => self.take_message(is_text, &bytes),
            // of a client's own pings nothing is expected
            Ok(Owned::Ping) => {}
            Ok(Owned::Pong(payload)) => self.heard.push_back(Heard::Pong(payload)),
            Ok(Owned::Close(code)) => {
                self.heard.push_back(Heard::Closed(code));
                self.is_over = true;
            }
        }
    }

    fn take_message(&mut self, is_text: bool, bytes: &[u8]) {
        self.notes.shown(Behaviour::MasksFrames);
        if is_text != self.codec.is_text() {
            self.notes.wrong(Behaviour::ValidMessages, "a frame of the other sub-protocol");
            return;
        }
        if let Some(most) = self.max_message_bytes.filter(|most| bytes.len() > *most) {
            let why = format!("a message of {} bytes, maxMessageBytes is {most}", bytes.len());
            self.notes.wrong(Behaviour::KeepsToMessageSize, why);
        }
        let message = match ClientMessage::decode(self.codec, bytes) {
            Ok(message) => message,
            Err(error) => {
                self.notes.wrong(Behaviour::ValidMessages, format!("{}: {error}", error.code));
                return;
            }
        };
        self.notes.shown(Behaviour::ValidMessages);
        match &message {
            ClientMessage::Ping { id } => {
                self.pings += 1;
                self.unanswered.push(id.clone());
                return;
            }
            ClientMessage::Subscribe { channels, .. } if channels.len() > MAX_CHANNELS => {
                let why = format!("{} channels in one message", channels.len());
                self.notes.wrong(Behaviour::SplitsSubscribe, why);
            }
            ClientMessage::Auth { id, .. } => {
                if self.auth.is_some() {
                    self.notes.wrong(Behaviour::OneAuthAtATime, "a second auth before the first was answered");
                }
                self.auth = Some(id.clone());
            }
            _ => {}
        }
        self.heard.push_back(Heard::Message(message));
    }
}

/// A message that has left the buffer it was decoded in.
enum Owned {
    Data { is_text: bool, bytes: Vec<u8> },
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Owned {
        match message {
            Message::Text(text) => Owned::Data { is_text: true, bytes: text.as_bytes().to_vec() },
            Message::Binary(bytes) => Owned::Data { is_text: false, bytes: bytes.to_vec() },
            Message::Ping(_) => Owned::Ping,
            Message::Pong(payload) => Owned::Pong(payload.to_vec()),
            Message::Close(close) => Owned::Close(close.map(|(code, _)| code)),
        }
    }
}

/// The member `id` of an answer.
pub(super) fn with_id(id: Option<&RequestId>) -> String {
    id.map_or_else(String::new, |id| format!(r#","id":{}"#, serde_json::to_string(id).expect("an id is JSON")))
}
