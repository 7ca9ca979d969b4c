//! One TLS connection over a socket that does not block, whoever polls it.
//!
//! Nothing is buffered but what has to wait: a record that is not complete, a record that the socket took in part,
//! plaintext beyond what the reader has room for. Records are put together and taken apart in buffers of the thread.
//!
//! rustls wants what it has seen and not let go of at the beginning of what it is given next, whatever it is asked: so
//! the incomplete record is handed over every time.

use std::{
    cell::RefCell,
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem,
};

use rustls::{
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::Tls;

/// Plaintext in one record, the largest that TLS knows. As much is taken of a write at once, so no more than this can
/// wait in a session for a socket that blocks.
const RECORD_BYTES: usize = 16 * 1024;

/// Ciphertext that may wait for its other half: a record, or a handshake message in several of them.
const MAX_INCOMING_BYTES: usize = 64 * 1024;

/// Ciphertext that is read from a socket at once.
const READ_BYTES: usize = 16 * 1024;

/// How often that is done in one call. There are records without plaintext, and whoever sends only those must not keep
/// us here.
const READS: usize = 8;

/// Room for a record around its plaintext, and for a short message of TLS itself.
const OVERHEAD_BYTES: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers that all sessions of a thread use in turn.
#[derive(Default)]
struct Scratch {
    /// Ciphertext that came.
    incoming: Vec<u8>,
    /// Plaintext that goes, where it lies in pieces.
    plain: Vec<u8>,
    /// Ciphertext that goes. Empty, but with its capacity.
    outgoing: Vec<u8>,
}

/// See the module.
pub(crate) struct Session {
    tls: UnbufferedServerConnection,
    /// Ciphertext that rustls has not let go of.
    incoming: Vec<u8>,
    /// Plaintext that the reader had no room for, and how much of it has been read since.
    plain: Vec<u8>,
    read: usize,
    /// Ciphertext that the socket has not taken, and how much it has taken since.
    outgoing: Vec<u8>,
    sent: usize,
    /// The socket had nothing more when it was last read.
    is_dry: bool,
    /// The peer will send nothing more.
    has_ended: bool,
    /// The peer broke the rules: nothing it sends is looked at any more.
    is_broken: bool,
    /// We have said that we will send nothing more.
    has_closed: bool,
}

impl fmt::Debug for Session {
    /// Without what is buffered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Session {
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn new(tls: &Tls) -> io::Result<Self> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(tls.0.clone()).map_err(io::Error::other)?,
            incoming: Vec::new(),
            plain: Vec::new(),
            read: 0,
            outgoing: Vec::new(),
            sent: 0,
            is_dry: false,
            has_ended: false,
            is_broken: false,
            has_closed: false,
        })
    }

    /// Whether everything that was written has gone to the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Whether we have said that we will send nothing more.
    pub(crate) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether the socket will tell when there is more to read. If not, it must be asked.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_dry && self.plain.is_empty() && !self.has_ended && !self.is_broken
    }

    /// Goes on with the handshake as far as the socket allows.
    ///
    /// # Errors
    /// As [`read`](Self::read); `UnexpectedEof` when the peer has left.
    pub(super) fn shake_hands<S: Read + Write>(&mut self, socket: &mut S) -> io::Result<()> {
        loop {
            if self.is_broken {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.has_ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            self.receive(socket, &mut [])?;
        }
    }

    /// Reads plaintext; 0 bytes are the end. See [`is_drained`](Self::is_drained) about what is left.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when there is nothing to read; `Interrupted` when much came and nothing of it
    /// was for the reader; `InvalidData` when the peer broke the rules, which it is told as far as the socket takes it.
    pub(crate) fn read<S: Read + Write>(&mut self, socket: &mut S, into: &mut [u8]) -> io::Result<usize> {
        let mut done = self.read_plain(into);
        for _ in 0..READS {
            if done == into.len() || self.has_ended || self.is_broken {
                break;
            }
            match self.receive(socket, &mut into[done..]) {
                Ok(n) => done += n,
                // What came before is the caller's first.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        match done {
            0 if self.is_broken => Err(ErrorKind::InvalidData.into()),
            0 if !self.has_ended && !into.is_empty() => Err(ErrorKind::Interrupted.into()),
            done => Ok(done),
        }
    }

    fn read_plain(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.plain[self.read..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.read += n;
        if self.read == self.plain.len() {
            (self.plain, self.read) = (Vec::new(), 0);
        }
        n
    }

    /// Reads once from the socket, and decrypts what is complete.
    fn receive<S: Read + Write>(&mut self, socket: &mut S, into: &mut [u8]) -> io::Result<usize> {
        let done = SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.incoming.len();
            if kept >= MAX_INCOMING_BYTES {
                self.is_broken = true;
                return Ok(0);
            }
            scratch.incoming.resize(MAX_INCOMING_BYTES + READ_BYTES, 0);
            let came = match socket.read(&mut scratch.incoming[kept..kept + READ_BYTES]) {
                Ok(came) => came,
                Err(error) => {
                    self.is_dry = error.kind() == ErrorKind::WouldBlock;
                    return Err(error);
                }
            };
            self.is_dry = false;
            if came == 0 {
                self.has_ended = true;
                return Ok(0);
            }
            scratch.incoming[..kept].copy_from_slice(&self.incoming);
            let records = &mut scratch.incoming[..kept + came];
            let (done, used) = self.drive(records, into, |_, _| {});
            self.incoming = records[used..].to_vec();
            Ok(done)
        })?;
        match self.flush(socket) {
            // It goes on when the socket can take it, and says so.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(done),
        }
    }

    /// Lets rustls take what is complete in `records`, and say what it has to say; then, if there are keys, there may be
    /// traffic. Gives the plaintext read and the ciphertext used.
    fn drive(
        &mut self,
        records: &mut [u8],
        into: &mut [u8],
        mut send: impl FnMut(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>),
    ) -> (usize, usize) {
        let (mut done, mut used) = (0, 0);
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut records[used..]);
            let mut is_over = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        let n = record.payload.len().min(into.len() - done);
                        into[done..done + n].copy_from_slice(&record.payload[..n]);
                        done += n;
                        self.plain.extend_from_slice(&record.payload[n..]);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, 0, |room| {
                        data.encode(room).map_err(|error| match error {
                            EncodeError::InsufficientSize(least) => Some(least.required_size),
                            EncodeError::AlreadyEncoded => None,
                        })
                    });
                    is_over = self.is_broken;
                }
                // It goes from `outgoing`.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    send(traffic, &mut self.outgoing);
                    is_over = true;
                }
                Ok(_) => is_over = true,
                // Once more for the alert that says what was wrong, and not again: rustls would look at the same bytes.
                Err(_) => is_over = mem::replace(&mut self.is_broken, true),
            }
            used += discard;
            if is_over {
                return (done, used);
            }
        }
    }

    /// Encrypts as much of the pieces as fits into a record, and offers it to the socket. What was taken counts as
    /// written, though it may wait here until [`flush`](Self::flush).
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` while what was written before waits.
    pub(crate) fn write<S: Write>(&mut self, socket: &mut S, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        if self.has_closed || self.is_broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { plain, outgoing, .. } = scratch;
            let plain = gather(pieces, plain);
            self.outgoing = mem::take(outgoing);
            let is_encrypted = self.say(plain.len() + OVERHEAD_BYTES, |traffic, room| traffic.encrypt(plain, room));
            let result = if is_encrypted { self.send(socket) } else { Err(ErrorKind::BrokenPipe.into()) };
            let rest = self.outgoing[self.sent..].to_vec();
            *outgoing = mem::replace(&mut self.outgoing, rest);
            outgoing.clear();
            self.sent = 0;
            match result {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                _ => Ok(plain.len()),
            }
        })
    }

    /// Says that we will send nothing more. It may wait here until [`flush`](Self::flush).
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when it waits.
    pub(crate) fn close<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        if !mem::replace(&mut self.has_closed, true) && !self.is_broken {
            self.say(OVERHEAD_BYTES, |traffic, room| traffic.queue_close_notify(room));
        }
        self.flush(socket)
    }

    /// Appends something to what goes out. False: there are no keys, or they are used up.
    fn say(
        &mut self,
        bytes: usize,
        mut encrypt: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> bool {
        let mut is_said = false;
        let mut records = mem::take(&mut self.incoming);
        let (_, used) = self.drive(&mut records, &mut [], |mut traffic, outgoing| {
            append(outgoing, bytes, |room| {
                let written = encrypt(&mut traffic, room).map_err(|error| match error {
                    EncryptError::InsufficientSize(least) => Some(least.required_size),
                    EncryptError::EncryptExhausted => None,
                })?;
                is_said = true;
                Ok(written)
            });
        });
        records.drain(..used);
        self.incoming = records;
        is_said
    }

    /// Offers what waits to the socket.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when some of it still waits.
    pub(crate) fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        self.send(socket)?;
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// Until all of it is gone or the socket blocks, so that it will tell when it can take more.
    fn send<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            match socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The beginning of the pieces, in one.
fn gather<'a>(pieces: &'a [IoSlice<'_>], into: &'a mut Vec<u8>) -> &'a [u8] {
    if let [piece] = pieces {
        return &piece[..piece.len().min(RECORD_BYTES)];
    }
    into.clear();
    for piece in pieces {
        into.extend_from_slice(&piece[..piece.len().min(RECORD_BYTES - into.len())]);
    }
    into
}

/// Lets `write` write behind what is there: at first with room for `bytes`, and once more with as many as it asks for.
fn append(bytes: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) {
    let start = bytes.len();
    bytes.resize(start + room, 0);
    let mut written = write(&mut bytes[start..]);
    if let Err(Some(least)) = written {
        bytes.resize(start + least, 0);
        written = write(&mut bytes[start..]);
    }
    bytes.truncate(start + written.unwrap_or(0));
}

#[cfg(test)]
mod tests;
