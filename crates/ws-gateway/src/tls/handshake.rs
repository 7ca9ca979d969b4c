//! A socket of tokio's that speaks TLS: for the handshakes of TLS and HTTP. The shard has its own way.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::{Session, Tls};

/// See the module.
#[derive(Debug)]
pub(crate) struct Secured {
    socket: TcpStream,
    session: Box<Session>,
}

impl Secured {
    /// Shakes hands.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the client left, `InvalidData` when it does not speak TLS as we do.
    ///
    /// # Cancel safety
    /// Not cancel safe: the socket is closed.
    pub(crate) async fn accept(socket: TcpStream, tls: &Tls) -> io::Result<Self> {
        let mut session = Box::new(Session::new(tls)?);
        loop {
            match session.shake_hands(&mut Now(&socket)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(|()| Self { socket, session }),
            }
            let interest = if session.is_flushed() { Interest::READABLE } else { Interest::WRITABLE };
            socket.ready(interest).await?;
            match session.flush(&mut Now(&socket)) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// The socket, and what is to be known to go on with it.
    pub(crate) fn into_parts(self) -> (TcpStream, Box<Session>) {
        (self.socket, self.session)
    }
}

/// A socket that is asked at once, and says so when it is not ready.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = &mut *self;
        loop {
            match session.read(&mut Now(socket), into.initialize_unfilled()) {
                Ok(n) => {
                    into.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    // Others first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, session } = &mut *self;
        until_written(socket, cx, |socket| session.write(socket, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = &mut *self;
        until_written(socket, cx, |socket| session.flush(socket))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = &mut *self;
        ready!(until_written(socket, cx, |socket| session.close(socket)))?;
        Pin::new(socket).poll_shutdown(cx)
    }
}

/// Tries again whenever the socket can be written to.
fn until_written<T>(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut(&mut Now<'_>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match write(&mut Now(socket)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
            result => return Poll::Ready(result),
        }
    }
}
