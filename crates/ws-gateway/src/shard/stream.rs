//! The socket of an established connection, plain or with TLS. It never blocks, and is registered for edges: whoever
//! reads or writes goes on until it says that there is nothing more, or no room.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
};

use mio::net::TcpStream;

use super::pipe::Pipe;
use crate::tls::Session;

/// A socket as the handshake leaves it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) session: Option<Box<Session>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(TcpStream, Box<Session>),
    /// The memory that the answer to a question is written to.
    Pipe(Box<Pipe>),
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        let stream = TcpStream::from_std(socket.stream);
        match socket.session {
            None => Stream::Plain(stream),
            Some(session) => Stream::Tls(stream, session),
        }
    }
}

impl Stream {
    /// What events are watched on. Of memory there are none.
    pub(crate) fn source(&mut self) -> Option<&mut TcpStream> {
        match self {
            Stream::Plain(socket) | Stream::Tls(socket, _) => Some(socket),
            Stream::Pipe(_) => None,
        }
    }

    /// Reads; 0 bytes are the end.
    ///
    /// # Errors
    /// Those of the socket. `Interrupted` says that there is more to ask for, and that others should come first.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => loop {
                match socket.read(into) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Stream::Tls(socket, session) => session.read(socket, into),
            Stream::Pipe(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes. With TLS some of what was taken may wait for [`flush`](Self::flush), a record at most.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(socket, session) => session.write(socket, &[IoSlice::new(bytes)]),
            Stream::Pipe(pipe) => pipe.write(&[IoSlice::new(bytes)]),
        }
    }

    /// The same for several pieces.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write_vectored(pieces),
            Stream::Tls(socket, session) => session.write(socket, pieces),
            Stream::Pipe(pipe) => pipe.write(pieces),
        }
    }

    /// Whether a read of `n` bytes with room for `room` has taken all there is, so that an event will tell of more.
    pub(crate) fn is_drained(&self, n: usize, room: usize) -> bool {
        match self {
            Stream::Plain(_) => n < room,
            Stream::Pipe(_) => true,
            Stream::Tls(_, session) => session.is_drained(),
        }
    }

    /// Whether the socket has taken everything that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Stream::Plain(_) | Stream::Pipe(_) => true,
            Stream::Tls(_, session) => session.is_flushed(),
        }
    }

    /// Offers the socket what it did not take before.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` is none.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) | Stream::Pipe(_) => Ok(()),
            Stream::Tls(socket, session) => {
                let was_flushed = session.is_flushed();
                match session.flush(socket) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                    // It ends when its last record has gone.
                    Ok(()) if session.has_closed() && !was_flushed => socket.shutdown(Shutdown::Write),
                    result => result,
                }
            }
        }
    }

    /// Ends our side, behind what was written.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.shutdown(Shutdown::Write),
            Stream::Pipe(_) => Ok(()),
            Stream::Tls(socket, session) => match session.close(socket) {
                Ok(()) => socket.shutdown(Shutdown::Write),
                // `flush` does it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Stream::Tls(socket, session) = self {
            // Without it the peer cannot tell an end from a cut. A socket that is gone or full misses it.
            let _ = session.close(socket);
        }
    }
}
