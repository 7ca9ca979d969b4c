//! The HTTP side of the examination: read a request, and answer it as a scenario wants.
//!
//! Written by hand so that it can refuse, stall and lie; it is bounded, but no model for a server.

use std::io;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use odin_protocol::Codec;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::behaviour::Behaviour;
use super::peer::Peer;
use super::report::Notes;

/// Longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// How long it may take to come.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// RFC 6455, section 1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client that has asked for a connection and waits for the answer.
#[derive(Debug)]
pub(super) struct Arrival {
    stream: TcpStream,
    /// When TCP had connected it.
    pub(super) at: Instant,
    path: String,
    key: Option<String>,
    offered: Option<String>,
    /// What came behind the head.
    rest: Vec<u8>,
}

impl Arrival {
    /// Reads the head of a request; `None` when none comes.
    pub(super) async fn read(mut stream: TcpStream, at: Instant) -> Option<Arrival> {
        let mut bytes = Vec::new();
        let read = async {
            loop {
                if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                    return Some(end + 4);
                }
                if bytes.len() > HEAD_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let end = timeout(HEAD_LIMIT, read).await.ok()??;
        let rest = bytes.split_off(end);
        let head = String::from_utf8(bytes).ok()?;
        let mut lines = head.lines();
        let path = lines.next()?.strip_prefix("GET ")?.split(' ').next()?;
        let path = path.split('?').next()?.to_owned();
        let mut arrival = Arrival { stream, at, path, key: None, offered: None, rest };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "sec-websocket-key" => arrival.key = Some(value.trim().to_owned()),
                "sec-websocket-protocol" => {
                    let offered = arrival.offered.get_or_insert_default();
                    offered.push(',');
                    offered.push_str(value);
                }
                _ => {}
            }
        }
        Some(arrival)
    }

    /// The path without slashes around it.
    pub(super) fn path(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// Lets the client in, with the first sub-protocol that is known.
    pub(super) async fn open(mut self, notes: Notes) -> io::Result<Peer> {
        let offered =
            self.offered.as_deref().map(|list| list.split(',').map(str::trim).filter(|name| !name.is_empty()));
        let codec = match offered {
            None => {
                notes.not_shown(Behaviour::OffersProtocol, "no Sec-WebSocket-Protocol");
                None
            }
            Some(names) => match Codec::negotiate(names) {
                Some(codec) => {
                    notes.shown(Behaviour::OffersProtocol);
                    Some(codec)
                }
                None => {
                    notes.wrong(Behaviour::OffersProtocol, "no known name in Sec-WebSocket-Protocol");
                    self.refuse("400 Bad Request", "").await?;
                    return Err(io::Error::other("the client offers no protocol of odin"));
                }
            },
        };
        let Some(key) = &self.key else {
            notes.wrong(Behaviour::MasksFrames, "a handshake without Sec-WebSocket-Key");
            self.refuse("400 Bad Request", "").await?;
            return Err(io::Error::other("the client does not ask for a WebSocket"));
        };
        let accept = STANDARD.encode(Sha1::digest(format!("{key}{ACCEPT_GUID}")));
        let protocol =
            codec.map_or_else(String::new, |codec| format!("Sec-WebSocket-Protocol: {}\r\n", codec.protocol()));
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        );
        self.stream.write_all(head.as_bytes()).await?;
        Ok(Peer::new(self.stream, codec.unwrap_or(Codec::Json), self.rest, notes))
    }

    /// Answers with another status than 101; `headers` are whole lines.
    pub(super) async fn refuse(&mut self, status: &str, headers: &str) -> io::Result<()> {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n");
        self.stream.write_all(answer.as_bytes()).await?;
        self.stream.shutdown().await
    }
}
