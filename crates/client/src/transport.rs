//! The WebSocket: handshake, whole messages in, frames out. It knows nothing of what is said.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket, WebSocketError, WebSocketRead, WebSocketWrite};
use futures_util::{Stream, stream};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use odin_protocol::Codec;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};

use crate::{address::Address, parting::Parting, text::printable};

/// RFC 6455, section 1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Frames of one message; a gateway sends one.
const MAX_FRAGMENTS: u32 = 4_096;

type Socket = TokioIo<Upgraded>;

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole message in the codec's kind of frame.
    Message(BytesMut),
    /// To be answered with the same bytes.
    Ping(BytesMut),
    /// A sign of life: a pong, or a part of a message.
    Life,
    /// The other side closes.
    Closed { code: Option<u16>, reason: String },
}

/// Connects, with TLS where the address asks for it, and shakes hands.
///
/// # Cancel safety
/// Dropping the future closes what was opened.
pub(crate) async fn dial(
    address: &Address,
    codec: Codec,
    max_message_bytes: usize,
) -> Result<(Reader, Writer), Parting> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(broken)?;
    // requests are small and waited for
    stream.set_nodelay(true).map_err(broken)?;
    let upgraded = match &address.tls {
        None => shake_hands(stream, address, codec).await?,
        Some(tls) => shake_hands(tls.secure(stream).await.map_err(broken)?, address, codec).await?,
    };

    let mut socket = WebSocket::after_handshake(TokioIo::new(upgraded), Role::Client);
    // answered by the task, so that reading never waits for a write
    socket.set_auto_pong(false);
    socket.set_auto_close(false);
    // its limit is for one frame, and exclusive
    socket.set_max_message_size(max_message_bytes + 1);
    let (read, write) = socket.split(tokio::io::split);
    let reader = Reader { read, partial: None, fragments: 0, is_text: codec.is_text(), max_message_bytes };
    Ok((reader, Writer { write, is_text: codec.is_text() }))
}

async fn shake_hands<S>(stream: S, address: &Address, codec: Codec) -> Result<Upgraded, Parting>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let key = fastwebsockets::handshake::generate_key();
    let request = Request::get(&address.target)
        .header(header::HOST, &address.authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, codec.protocol())
        .header(header::USER_AGENT, concat!("odin-client/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| Parting::Broken { cause: error.to_string() })?;

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let retry_after = retry_after(response.headers());
            return Err(Parting::Status { status: status.as_u16(), retry_after });
        }
        check(response.headers(), &key, codec)?;
        hyper::upgrade::on(&mut response).await.map_err(broken)
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection.with_upgrades());
    tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        ended = &mut connection => match ended {
            // the connection has been handed over
            Ok(()) => exchange.await,
            Err(error) => Err(broken(error)),
        },
    }
}

/// RFC 6455, section 4.1: what a client must check.
fn check(headers: &HeaderMap, key: &str, codec: Codec) -> Result<(), Parting> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let upgrades = text(header::CONNECTION).split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{ACCEPT_GUID}")));
    let cause = if !upgrades || !text(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        "answer is not an upgrade to websocket"
    } else if text(header::SEC_WEBSOCKET_ACCEPT) != accept {
        "answer does not fit the handshake's key"
    } else if text(header::SEC_WEBSOCKET_PROTOCOL) != codec.protocol() {
        "answer names another sub-protocol"
    } else if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        "answer names an extension that was not offered"
    } else {
        return Ok(());
    };
    Err(Parting::Protocol { cause: cause.to_owned() })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// The words of an error and of what caused it.
fn broken(error: impl std::error::Error) -> Parting {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !cause.contains(&inner_text) {
            cause.push_str(": ");
            cause.push_str(&inner_text);
        }
        source = inner.source();
    }
    Parting::Broken { cause }
}

/// The reading half.
pub(crate) struct Reader {
    read: WebSocketRead<ReadHalf<Socket>>,
    /// The parts of a message so far, and how many.
    partial: Option<BytesMut>,
    fragments: u32,
    is_text: bool,
    max_message_bytes: usize,
}

impl Reader {
    /// Everything that comes, until the connection ends. Reading happens only while the stream is polled.
    ///
    /// # Cancel safety
    /// Polling may stop and go on at any time: a half-read frame stays in the stream.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Received, Parting>> {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(received) => Some((Ok(received), Some(reader))),
                Err(why) => Some((Err(why), None)),
            }
        })
    }

    /// # Cancel safety
    /// None: the library loses what it has read of a frame.
    async fn next(&mut self) -> Result<Received, Parting> {
        let mut send_nothing = |_: Frame<'_>| std::future::ready(Ok::<(), std::io::Error>(()));
        let frame = self.read.read_frame(&mut send_nothing).await.map_err(unreadable)?;
        let Frame { fin, opcode, payload, .. } = frame;
        let payload = match payload {
            Payload::Bytes(bytes) => bytes,
            other => BytesMut::from(&*other),
        };
        match opcode {
            OpCode::Ping => Ok(Received::Ping(payload)),
            OpCode::Pong => Ok(Received::Life),
            OpCode::Close => close(&payload),
            OpCode::Text | OpCode::Binary if (opcode == OpCode::Text) != self.is_text => {
                Err(protocol("frame of the other sub-protocol"))
            }
            OpCode::Text | OpCode::Binary => {
                if self.partial.is_some() {
                    return Err(protocol("message inside another one"));
                }
                self.assemble(BytesMut::new(), payload, fin)
            }
            OpCode::Continuation => match self.partial.take() {
                Some(partial) => self.assemble(partial, payload, fin),
                None => Err(protocol("continuation of nothing")),
            },
        }
    }

    fn assemble(&mut self, mut partial: BytesMut, payload: BytesMut, fin: bool) -> Result<Received, Parting> {
        self.fragments += 1;
        if partial.len() + payload.len() > self.max_message_bytes || self.fragments > MAX_FRAGMENTS {
            return Err(protocol("message too big"));
        }
        if partial.is_empty() {
            partial = payload;
        } else {
            partial.extend_from_slice(&payload);
        }
        if fin {
            self.fragments = 0;
            return Ok(Received::Message(partial));
        }
        self.partial = Some(partial);
        Ok(Received::Life)
    }
}

fn close(payload: &[u8]) -> Result<Received, Parting> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Received::Closed { code: None, reason: String::new() }),
            _ => Err(protocol("close frame of one byte")),
        };
    };
    let reason = printable(&String::from_utf8_lossy(reason)).into_owned();
    Ok(Received::Closed { code: Some(u16::from_be_bytes(*code)), reason })
}

fn protocol(cause: &str) -> Parting {
    Parting::Protocol { cause: cause.to_owned() }
}

fn unreadable(error: WebSocketError) -> Parting {
    match error {
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
            Parting::Broken { cause: "ended without a close frame".to_owned() }
        }
        WebSocketError::IoError(error) => broken(error),
        WebSocketError::FrameTooLarge => protocol("message too big"),
        other => protocol(&other.to_string().to_lowercase()),
    }
}

/// The writing half.
pub(crate) struct Writer {
    write: WebSocketWrite<WriteHalf<Socket>>,
    is_text: bool,
}

impl Writer {
    /// Sends one message.
    pub(crate) async fn message(&mut self, bytes: Vec<u8>, limit: Duration) -> Result<(), Parting> {
        let payload = Payload::Owned(bytes);
        let frame = if self.is_text { Frame::text(payload) } else { Frame::binary(payload) };
        self.frame(frame, limit).await
    }

    pub(crate) async fn pong(&mut self, payload: BytesMut, limit: Duration) -> Result<(), Parting> {
        self.frame(Frame::pong(Payload::Bytes(payload)), limit).await
    }

    pub(crate) async fn close(&mut self, code: u16, limit: Duration) -> Result<(), Parting> {
        self.frame(Frame::close(code, b""), limit).await
    }

    /// # Cancel safety
    /// None: after a timeout half a frame may have been sent, so the connection is of no use any more.
    async fn frame(&mut self, frame: Frame<'_>, limit: Duration) -> Result<(), Parting> {
        let write = async {
            self.write.write_frame(frame).await?;
            // TLS keeps what the socket does not take at once
            self.write.flush().await
        };
        match timeout(limit, write).await {
            Err(_) => Err(Parting::NotReading),
            Ok(Err(error)) => Err(unreadable(error)),
            Ok(Ok(())) => Ok(()),
        }
    }
}
