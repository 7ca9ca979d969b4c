//! One client: a socket, what it waits for, and its ledger.

use std::io::{self, Write as _};

use mio::net::TcpStream;
use odin_client::Backoff;

use crate::{ledger::Ledger, plan::Way};

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No socket: not begun yet, or waiting to come back.
    Away,
    /// TCP is on its way.
    Connecting,
    /// The handshake was sent, or the request of a stream or of the first poll.
    Asked,
    /// A WebSocket that waits for hello.
    Greeting,
    /// Waits for `authenticated`.
    SigningIn,
    /// Waits for the answers to its subscriptions.
    Subscribing,
    /// Everything is answered.
    Live,
    /// May not come back.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// Its number among those of all processes.
    pub number: u32,
    /// How it is connected.
    pub way: Way,
    /// See there.
    pub phase: Phase,
    /// Its socket.
    pub stream: Option<TcpStream>,
    /// What has come of an incomplete message.
    pub inbox: Vec<u8>,
    /// What the socket has not taken yet.
    pub outbox: Vec<u8>,
    /// See there.
    pub ledger: Ledger,
    /// How long it waits before it comes back.
    pub backoff: Backoff,
    /// The cursor of the next poll.
    pub place: Option<Box<str>>,
    /// Which target is next.
    pub target: u32,
    /// Answers that are due; of one who polls, whether it has asked.
    pub pending: u32,
    /// When the present step began: the connect, then the handshake.
    pub step_us: u64,
    /// When this connect began.
    pub began_us: u64,
    /// When it was live.
    pub live_us: u64,
    /// When the last connection was lost; 0 if it was not lost.
    pub lost_us: u64,
    /// When something came.
    pub heard_us: u64,
    /// The gateway's heartbeat.
    pub heartbeat_us: u64,
    /// The code of the gateway's close frame.
    pub closed: Option<u16>,
    /// The channel that is ended and begun anew.
    pub renewing: Option<u32>,
    /// It stops reading now and then.
    pub is_slow: bool,
    /// It will be told to stop, or to read again.
    pub is_stop_due: bool,
    /// It does not read now.
    pub is_stopped: bool,
    /// It has asked for a sign of life.
    pub has_pinged: bool,
    /// The position given with the last subscribe counted: what is answered is a resume.
    pub is_resuming: bool,
}

impl Client {
    /// One that has not begun.
    pub fn new(number: u32, way: Way, ledger: Ledger, is_slow: bool) -> Client {
        Client {
            number,
            way,
            phase: Phase::Away,
            stream: None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            ledger,
            backoff: Backoff::default(),
            place: None,
            target: number,
            pending: 0,
            step_us: 0,
            began_us: 0,
            live_us: 0,
            lost_us: 0,
            heard_us: 0,
            heartbeat_us: 25_000_000,
            closed: None,
            renewing: None,
            is_slow,
            is_stop_due: false,
            is_stopped: false,
            has_pinged: false,
            is_resuming: false,
        }
    }

    /// Hands the outbox to the socket, and says how much it took.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn flush(&mut self) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let mut sent = 0;
        while sent < self.outbox.len() {
            match stream.write(&self.outbox[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.drain(..sent);
        if self.outbox.is_empty() {
            // Most clients never send again: their memory is of use to others.
            self.outbox = Vec::new();
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Sub;

    #[test]
    fn a_client_with_ten_channels_takes_less_than_two_kilobytes() {
        assert!(size_of::<Client>() + 10 * size_of::<Sub>() < 2048, "{}", size_of::<Client>());
    }
}
