//! From a listening socket to connections that have shaken hands.
//!
//! Whether there is room is decided before anything of a connection is read; whoever finds none is sent away without a
//! handshake (`shed`). A socket is handed to hyper only when its request has begun to arrive, so that thousands of
//! silent ones cost a small task each and a storm of good ones is served one after the other out of the same few
//! buffers. What comes out is the bare socket: hyper's state is gone by then.
//!
//! Limits are read anew for each connection, so that a reload holds from the next one on.

use std::{
    cell::{Cell, RefCell},
    io::ErrorKind,
    net::IpAddr,
    os::fd::AsRawFd,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use odin_protocol::message::ClientMessage;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_local},
};

use super::Socket;
use crate::{
    addresses::Seat,
    config::Config,
    current::Current,
    format::Format,
    guest::{Guest, Shared},
    http::{self, Refusal},
    metrics::{HandshakeRefusal, ShardMetrics, max_files},
    question::Question,
    seldom::Seldom,
};

mod handshake;
mod head;
mod line;
mod pending;
mod proxy;
mod requests;
mod shed;
mod turnstile;

use super::mailbox::Mailbox;
use handshake::{Visitor, shake_hands};
use line::{Asked, Line};
use pending::Pending;
use requests::Requests;
use shed::Shed;
pub(super) use turnstile::Turnstile;

/// File descriptors that no client gets: for probes, metrics, NATS and files. Of few a quarter.
const SPARE: u64 = 64;

/// How long the accept loop rests when the process is out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that has shaken hands.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) format: Format,
    /// What is written first: the head of an HTTP response, or nothing.
    pub(super) head: Vec<u8>,
    /// What the client has asked for with its request.
    pub(super) message: Option<Box<ClientMessage>>,
    /// Bytes the client sent right behind its request.
    pub(super) early: Vec<u8>,
    pub(super) guest: Box<Guest>,
}

/// The accept loop. Dropped, it stops accepting; handshakes and requests that have begun go on, and are the last of their
/// connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    task: JoinHandle<()>,
    /// Dropped, it says to all connections that they are not to be used again.
    _stays: watch::Sender<()>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Acceptor {
    /// Must be called in a `LocalSet`.
    ///
    /// # Errors
    /// The listener cannot be watched.
    pub(super) fn spawn(
        listener: std::net::TcpListener,
        (current, shared, questions): (watch::Receiver<Arc<Current>>, Arc<Shared>, mpsc::Sender<Question>),
        metrics: Arc<ShardMetrics>,
        (arrivals, turnstile): (Mailbox<Arrival>, Turnstile),
    ) -> std::io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let router = http::router(&current.borrow().config);
        let (_stays, stays) = watch::channel(());
        let handshakes = Rc::new(Handshakes {
            current,
            shared,
            metrics,
            questions,
            stays,
            arrivals,
            turnstile,
            router,
            served: Rc::default(),
            line: RefCell::default(),
            shed: Shed::default(),
            spare_from: spare_from(max_files()),
            cannot_accept: Seldom::default(),
            tls_failed: Seldom::default(),
        });
        Ok(Self { task: spawn_local(accept(listener, handshakes)), _stays })
    }
}

/// What all handshakes of a shard share.
#[derive(Debug)]
struct Handshakes {
    current: watch::Receiver<Arc<Current>>,
    shared: Arc<Shared>,
    metrics: Arc<ShardMetrics>,
    questions: mpsc::Sender<Question>,
    /// Closed: no connection is to be used again.
    stays: watch::Receiver<()>,
    arrivals: Mailbox<Arrival>,
    turnstile: Turnstile,
    router: axum::Router,
    /// Handshakes whose request is being served: they have a place already.
    served: Rc<Cell<usize>>,
    /// Those that can be pushed out.
    line: RefCell<Line>,
    shed: Shed,
    /// The first descriptor that is spared, if their number is known.
    spare_from: Option<u64>,
    cannot_accept: Seldom,
    tls_failed: Seldom,
}

async fn accept(listener: TcpListener, handshakes: Rc<Handshakes>) {
    loop {
        handshakes.turnstile.pass().await;
        match listener.accept().await {
            Ok((stream, address)) => handshakes.admit(stream, address.ip().to_canonical()),
            // It left before it was accepted.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                // EMFILE and the like: accepting again at once would only spin.
                handshakes.cannot_accept.log(|others| tracing::warn!(%error, others, "cannot accept"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Handshakes {
    /// Begins a handshake, or sends the connection away.
    fn admit(self: &Rc<Self>, stream: TcpStream, ip: IpAddr) {
        let current = self.current.borrow().clone();
        let config = &current.config;
        if self.is_spared(&stream) {
            self.refused(HandshakeRefusal::Descriptors);
            self.cannot_accept
                .log(|others| tracing::warn!(others, "cannot accept: no file descriptor left for clients"));
            return shed::reset(stream);
        }
        let seat = match self.seat(config, ip) {
            Ok(seat) => seat,
            Err(refusal) => {
                self.refused(refusal.reason);
                if current.tls.is_some() {
                    return shed::reset(stream);
                }
                return self.shed.send_away(stream, &refusal, config.limits.handshake_timeout, &self.turnstile);
            }
        };
        if self.metrics.handshakes_pending.get() >= share(config.limits.handshakes, config) as u64 {
            self.refused(HandshakeRefusal::Capacity);
            if !self.line.borrow_mut().push_out() {
                return shed::reset(stream);
            }
        }
        let (pending, asked) = (Pending::begin(self.metrics.clone()), Asked::default());
        let visitor = Visitor { ip, seat, current, asked: asked.clone() };
        let task = spawn_local(shake_hands(stream, visitor, self.clone(), pending));
        self.line.borrow_mut().push(task.abort_handle(), asked);
    }

    /// A place for one more connection. An address beyond its own limits is refused first, so that it takes nothing of
    /// what all have together.
    fn seat(&self, config: &Config, ip: IpAddr) -> Result<Seat, Refusal> {
        let seat = self.shared.addresses.enter_from(ip, config)?;
        if !self.shared.addresses.may_connect(&config.limits) {
            return Err(Refusal::too_fast());
        }
        if self.shared.memory.is_short() {
            return Err(Refusal::memory());
        }
        if self.is_full(config) {
            return Err(Refusal::full());
        }
        Ok(seat)
    }

    /// Whether the shard has its share of connections, with those on their way. Silent ones take no place.
    fn is_full(&self, config: &Config) -> bool {
        let connections = self.metrics.connections.get() as usize + self.arrivals.len() + self.served.get();
        connections >= share(config.limits.connections, config)
    }

    /// The kernel gives the lowest descriptor that is free (`man 2 accept`, `man 2 open`), so a high one says that there
    /// are few left.
    fn is_spared(&self, stream: &TcpStream) -> bool {
        self.spare_from.is_some_and(|from| stream.as_raw_fd() as u64 >= from)
    }

    fn is_leaving(&self) -> bool {
        self.stays.has_changed().is_err()
    }

    /// Waits until no connection is to be used again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn leaves(&self) {
        let mut stays = self.stays.clone();
        while stays.changed().await.is_ok() {}
    }

    fn refused(&self, reason: HandshakeRefusal) {
        self.metrics.handshakes_refused.of(reason).add(1);
    }
}

fn spare_from(files: u64) -> Option<u64> {
    Some(files - SPARE.min(files / 4)).filter(|_| files > 0)
}

/// What one shard may have of what the process may have.
fn share(limit: usize, config: &Config) -> usize {
    limit.div_ceil(config.shards.get())
}
