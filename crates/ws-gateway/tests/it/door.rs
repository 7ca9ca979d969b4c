//! Who comes in: pages, proxies, tokens, TLS, and what those are told who do not.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{Answer, Gateway, in_time, request};

mod forwarded;
mod memory;
mod origin;
mod proxy;
pub(crate) mod tls;
mod token;

/// The headers of a good handshake.
const GOOD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The answer to a handshake with these headers more.
async fn shake(gateway: &Gateway, headers: &str) -> Answer {
    shake_at(gateway, "/ws", headers).await
}

/// The same at another path, or with a query.
async fn shake_at(gateway: &Gateway, path: &str, headers: &str) -> Answer {
    let stream = in_time("a connection", TcpStream::connect(gateway.address)).await.expect("a connection");
    shake_on(stream, path, headers).await.0
}

/// Connects from this address of the loopback network.
pub(crate) async fn connect_from(source: [u8; 4], gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((source, 0))).expect("all of 127.0.0.0/8 is this host's");
    in_time("a connection", socket.connect(gateway.address)).await.expect("a connection")
}

/// The same on this connection, which is given back.
pub(crate) async fn shake_on<S>(mut stream: S, path: &str, headers: &str) -> (Answer, S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = request(&format!("GET {path} HTTP/1.1"), &format!("{GOOD}{headers}"));
    stream.write_all(text.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut bytes = Vec::new();
    in_time("an answer", async {
        // Refused, it ends; else it goes on behind the head.
        let has_head = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
        while !(bytes.starts_with(b"HTTP/1.1 101") && has_head(&bytes))
            && let Ok(n) = stream.read_buf(&mut bytes).await
            && n > 0
        {}
    })
    .await;
    (Answer::parse(&bytes), stream)
}

/// Waits until so many handshakes were refused for this reason.
async fn refuses(gateway: &Gateway, reason: &str, count: u64) {
    gateway.metric_becomes(&format!("odin_gateway_handshakes_refused_total{{reason=\"{reason}\"}}"), count).await;
}
