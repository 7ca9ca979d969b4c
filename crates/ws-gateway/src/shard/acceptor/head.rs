//! The head of a request while it comes: kept as the bytes that have come and nothing else, and handed to hyper when
//! there is something to do. Thousands of heads that trickle in would otherwise hold the buffers of as many HTTP
//! connections, and have them looked at again with every byte.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::metrics::HandshakeRefusal;

/// Read at once: the head of any browser.
const PIECE_BYTES: usize = 4096;

/// As many as hyper takes.
const MAX_HEADERS: usize = 100;

/// A socket of which some has been read.
#[derive(Debug)]
pub(super) struct Opened {
    head: Vec<u8>,
    stream: TcpStream,
}

impl Opened {
    /// Reads until there is a whole head, or something that never becomes one, or so many bytes.
    ///
    /// # Errors
    /// The client left, or the socket failed.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was read is lost.
    pub(super) async fn read(stream: TcpStream, limit_bytes: usize) -> Result<Self, HandshakeRefusal> {
        let mut head = Vec::new();
        loop {
            stream.readable().await.map_err(|_| HandshakeRefusal::Io)?;
            let mut piece = [0; PIECE_BYTES];
            let came = match stream.try_read(&mut piece) {
                Ok(0) => return Err(HandshakeRefusal::Io),
                Ok(came) => &piece[..came],
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => return Err(HandshakeRefusal::Io),
            };
            head.extend_from_slice(came);
            // A line has to end before there is anything new to see.
            let has_news = head.len() == came.len() || came.contains(&b'\n');
            if head.len() >= limit_bytes || (has_news && !is_partial(&head)) {
                return Ok(Self { head, stream });
            }
        }
    }

    /// The socket, and what was read of it and by nobody else.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.head)
    }
}

/// Whether more bytes may make a request of it.
fn is_partial(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    httparse::Request::new(&mut headers).parse(head).is_ok_and(|status| status.is_partial())
}

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let count = self.head.len().min(into.remaining());
        into.put_slice(&self.head[..count]);
        self.head.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opened {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_can_still_become_a_request_and_for_nothing_else() {
        for partial in ["G", "GET /ws HTTP/1.1\r\n", "GET /ws HTTP/1.1\r\nHost: odin\r\n", "GET /ws HTTP/1.1\r\nHost"] {
            assert!(is_partial(partial.as_bytes()), "{partial:?}");
        }
        for over in
            ["GET /ws HTTP/1.1\r\n\r\n", "GET /ws HTTP/1.1\n\n", "hello\r\n", "\x16\x03\x01", "GET / HTTP/9.9\r\n"]
        {
            assert!(!is_partial(over.as_bytes()), "{over:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(!is_partial(many.as_bytes()));
    }
}
