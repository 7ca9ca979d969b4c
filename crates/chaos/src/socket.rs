//! A WebSocket of a few lines: what a client needs to speak the protocol, and nothing of odin's own client.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use odin_protocol::{Codec, ServerMessage, message::ClientMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long a connect or a handshake may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Any key will do: nothing between us and the gateway caches.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What came.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message(Box<ServerMessage>),
    /// A position of everything that came before, as event streams have it.
    Id(String),
    /// The end, with the close code if there was one.
    End(Option<u16>),
}

/// A connection to a gateway.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    codec: Codec,
    buffer: Vec<u8>,
    closed: Option<u16>,
}

impl Socket {
    /// Connects and shakes hands. `receive_buffer` is `SO_RCVBUF`, where a reader shall be found slow soon.
    ///
    /// # Errors
    /// The gateway is away or refuses.
    pub async fn connect(address: SocketAddr, codec: Codec, receive_buffer: Option<u32>) -> anyhow::Result<Socket> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        Self::shake_hands(socket, address, codec).await
    }

    /// The same as somebody with another address.
    ///
    /// # Errors
    /// The gateway is away or refuses, or the address is not one of this machine.
    pub async fn connect_from(source: IpAddr, address: SocketAddr, codec: Codec) -> anyhow::Result<Socket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        Self::shake_hands(socket, address, codec).await
    }

    async fn shake_hands(socket: TcpSocket, address: SocketAddr, codec: Codec) -> anyhow::Result<Socket> {
        let mut stream = timeout(LIMIT, socket.connect(address)).await.context("connect")??;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            codec.protocol()
        );
        let mut buffer = Vec::with_capacity(4096);
        timeout(LIMIT, async {
            stream.write_all(request.as_bytes()).await?;
            loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    if !buffer.starts_with(b"HTTP/1.1 101") {
                        bail!("refused: {}", String::from_utf8_lossy(&buffer[..end.min(100)]));
                    }
                    buffer.drain(..end + 4);
                    return Ok(());
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    bail!("ended during the handshake");
                }
            }
        })
        .await
        .context("handshake")??;
        Ok(Socket { stream, codec, buffer, closed: None })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, message: &ClientMessage) -> std::io::Result<()> {
        let opcode = if self.codec.is_text() { 0x81 } else { 0x82 };
        self.send_frame(opcode, &message.encode(self.codec)).await
    }

    async fn send_frame(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(short @ 0..=125) => frame.push(0x80 | short as u8),
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend(long.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame).await
    }

    /// The next message, or the end. With `at_most`, no more bytes than that are read from the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read stays in the buffer. A pong may be lost.
    pub async fn next(&mut self, at_most: usize) -> Incoming {
        loop {
            match self.frame() {
                Some((0x1 | 0x2, payload)) => {
                    if let Ok(message) = ServerMessage::decode(self.codec, &payload) {
                        return Incoming::Message(Box::new(message));
                    }
                    return Incoming::End(Some(1002));
                }
                Some((0x8, payload)) => {
                    self.closed = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    // The answer RFC 6455 §5.5.1 asks for; the gateway ends the connection.
                    let _ = self.send_frame(0x88, &payload).await;
                }
                Some((0x9, payload)) => {
                    let _ = self.send_frame(0x8A, &payload).await;
                }
                Some(_) => {}
                None => {
                    self.buffer.reserve(at_most);
                    let read = (&mut self.stream).take(at_most as u64).read_buf(&mut self.buffer).await;
                    if !matches!(read, Ok(1..)) {
                        return Incoming::End(self.closed);
                    }
                }
            }
        }
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.buffer.first()?, self.buffer.get(1)?);
        let (head, length) = match second & 0x7F {
            126 => (4, usize::from(u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.buffer.get(head..head + length)?.to_vec();
        self.buffer.drain(..head + length);
        Some((first & 0xF, payload))
    }
}
