//! From no socket to one on which everything has been asked for.

use std::{io, net::SocketAddr};

use mio::{Interest, Token, net::TcpStream};
use odin_client::Parting;
use odin_protocol::{
    Codec,
    frame::Opcode,
    message::{ClientMessage, RequestId},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Due, POLL_WAIT_S, Swarm};
use crate::{
    client::Phase,
    frame, http,
    ledger::{CHANNELS_PER_MESSAGE, Sub},
    plan::Way,
    tally::count,
};

impl Swarm {
    /// Begins a connect.
    pub(super) fn connect(&mut self, at: usize, now: u64) {
        let client = &mut self.clients[at];
        if client.phase != Phase::Away {
            return;
        }
        self.tally.tried += 1;
        let target = &self.plan.targets[client.target as usize % self.plan.targets.len()];
        let source = self.plan.source(at as u32, target).map(|ip| SocketAddr::new(ip, 0));
        let opened = open(target.address, source, self.plan.receive_buffer).and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(at), both)?;
            Ok(stream)
        });
        (client.began_us, client.step_us, client.heard_us) = (now, now, now);
        (client.closed, client.has_pinged, client.pending, client.renewing) = (None, false, 0, None);
        client.phase = Phase::Connecting;
        match opened {
            Ok(stream) => client.stream = Some(stream),
            Err(error) => {
                let parting = self.parting_of(at, error.kind());
                self.part(at, parting);
            }
        }
    }

    /// TCP is there, or the socket takes more.
    pub(super) fn writable(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(stream) = &client.stream else { return };
        if client.phase == Phase::Connecting {
            if let Ok(Some(error)) | Err(error) = stream.take_error() {
                let parting = self.parting_of(at, error.kind());
                return self.part(at, parting);
            }
            if stream.peer_addr().is_err() {
                // Not connected yet: epoll says so once before the begin.
                return;
            }
            let now = self.clock.now_us();
            self.tally.connect_us.note(now - client.step_us);
            client.step_us = now;
            client.phase = Phase::Asked;
            self.ask(at);
        }
        self.flush(at);
    }

    /// The handshake, or the request.
    pub(super) fn ask(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let target = &self.plan.targets[client.target as usize % self.plan.targets.len()];
        let token = self.plan.tokens.as_ref().map(|tokens| tokens.of(client.number));
        let token = token.as_ref().map(|token| token.expose());
        let resumes = self.plan.resume;
        if !resumes {
            client.ledger.forget();
        }
        client.is_resuming = resumes;
        match client.way {
            Way::Socket(codec) => http::upgrade(&target.path, &target.host, codec, &mut client.outbox),
            Way::Events => {
                let mode = self.plan.mode(client.number);
                let (messages, count) = client.ledger.subscribe(&self.news.names, mode, resumes, |_| true);
                client.pending = count.min(CHANNELS_PER_MESSAGE as u32);
                // A stream has one request: what does not fit into it is not asked for.
                let body = messages[0].encode(Codec::Json);
                http::post("/v1/events", &target.host, token, &body, &mut client.outbox);
            }
            Way::Poll => {
                let mode = self.plan.mode(client.number);
                let (messages, _) = client.ledger.subscribe(&self.news.names, mode, false, |_| true);
                if !resumes && client.phase == Phase::Asked {
                    client.place = None;
                }
                client.pending = 1;
                let cursor = client.place.as_ref().map(|place| format!("&cursor={place}")).unwrap_or_default();
                let path = format!("/v1/poll?wait={POLL_WAIT_S}{cursor}");
                http::post(&path, &target.host, token, &messages[0].encode(Codec::Json), &mut client.outbox);
            }
        }
    }

    /// The next poll, on the connection there is.
    pub(super) fn poll_again(&mut self, at: usize) {
        let client = &self.clients[at];
        if client.phase == Phase::Live && client.way == Way::Poll && client.pending == 0 {
            self.clients[at].step_us = self.clock.now_us();
            self.ask(at);
            self.flush(at);
        }
    }

    /// A WebSocket was greeted: it signs in, or subscribes.
    pub(super) fn greeted(&mut self, at: usize) {
        let client = &mut self.clients[at];
        match &self.plan.tokens {
            Some(tokens) => {
                let token = tokens.of(client.number);
                client.phase = Phase::SigningIn;
                self.say(at, &ClientMessage::Auth { id: Some(RequestId::Number(1)), token });
            }
            None => self.subscribe(at),
        }
    }

    /// Asks for everything.
    pub(super) fn subscribe(&mut self, at: usize) {
        self.clients[at].phase = Phase::Subscribing;
        self.subscribe_to(at, |_| true);
        if self.clients[at].pending == 0 {
            self.ready(at);
        }
    }

    /// Asks again for what was refused for a time.
    pub(super) fn retry(&mut self, at: usize) {
        if matches!(self.clients[at].phase, Phase::Live | Phase::Subscribing) {
            self.subscribe_to(at, |sub| sub.is_refused);
        }
    }

    /// Asks for what `wants` picks.
    pub(super) fn subscribe_to(&mut self, at: usize, wants: impl Fn(&Sub) -> bool) {
        let client = &mut self.clients[at];
        let mode = self.plan.mode(client.number);
        let (messages, count) = client.ledger.subscribe(&self.news.names, mode, self.plan.resume, wants);
        client.pending += count;
        messages.iter().for_each(|message| self.say(at, message));
    }

    /// Everything is answered.
    pub(super) fn ready(&mut self, at: usize) {
        let now = self.clock.now_us();
        let client = &mut self.clients[at];
        if client.phase == Phase::Live {
            return;
        }
        client.phase = Phase::Live;
        client.live_us = now;
        self.live += 1;
        self.tally.ready_us.note(now - client.began_us);
        if client.lost_us > 0 {
            self.tally.note_back(now - client.lost_us);
            client.lost_us = 0;
        }
        if client.is_slow && !client.is_stop_due {
            client.is_stop_due = true;
            // Not all at once.
            let wait = super::micros(self.plan.slow.every.mul_f64(rand::RngExt::random::<f64>(&mut self.random)));
            self.remind(now + wait, at as u32, Due::Stop);
        }
    }

    /// Sends a message on a WebSocket.
    pub(super) fn say(&mut self, at: usize, message: &ClientMessage) {
        let Way::Socket(codec) = self.clients[at].way else { return };
        let opcode = if codec.is_text() { Opcode::Text } else { Opcode::Binary };
        self.send(at, opcode, &message.encode(codec));
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, at: usize, opcode: Opcode, payload: &[u8]) {
        frame::put(opcode, payload, &mut self.clients[at].outbox);
        self.flush(at);
    }

    /// Hands over what waits.
    pub(super) fn flush(&mut self, at: usize) {
        match self.clients[at].flush() {
            Ok(sent) => self.tally.bytes_out += sent as u64,
            // What the gateway said before it left is read first; the end is found by reading.
            Err(_) => self.clients[at].outbox = Vec::new(),
        }
    }

    pub(super) fn ping(&mut self, at: usize) {
        self.clients[at].has_pinged = true;
        self.say(at, &ClientMessage::Ping { id: None });
    }

    /// What a failure of the system means. Counted where there was no connection yet.
    pub(super) fn parting_of(&mut self, at: usize, kind: io::ErrorKind) -> Parting {
        let client = &self.clients[at];
        match client.closed {
            Some(code) => Parting::Closed { code: Some(code), reason: String::new() },
            None => {
                let cause = format!("{kind:?}");
                if matches!(client.phase, Phase::Connecting | Phase::Asked | Phase::Greeting) {
                    count(&mut self.tally.failed, &cause);
                }
                Parting::Broken { cause }
            }
        }
    }
}

/// A socket that connects.
fn open(address: SocketAddr, source: Option<SocketAddr>, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // EINPROGRESS, which has no kind of its own.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
