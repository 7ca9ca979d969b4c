//! From a listening socket to connections that have shaken hands.
//!
//! A socket is handed to hyper only when its request has begun to arrive, so that thousands of
//! silent ones cost a small task each and a storm of good ones is served one after the other out of
//! the same few buffers. What comes out is the bare socket: hyper's state is gone by then.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use fastwebsockets::upgrade::UpgradeFut;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use odin_protocol::codec::Codec;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{JoinHandle, spawn_local},
};
use tower::Service;

use crate::{
    config::Config,
    current::Current,
    guest::{Guest, Shared},
    http,
    identity::Identity,
    metrics::{HandshakeRefusal, ShardMetrics},
};

/// How long the accept loop rests when the process is out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that has shaken hands.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: std::net::TcpStream,
    pub(super) codec: Codec,
    /// Bytes the client sent right behind its request.
    pub(super) early: Vec<u8>,
    pub(super) guest: Box<Guest>,
}

/// Where handshakes leave their connections for the shard.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    waiting: RefCell<Vec<Arrival>>,
    filled: Notify,
}

impl Arrivals {
    /// Waits until somebody arrived.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn take(&self) -> Vec<Arrival> {
        self.waiting.take()
    }

    fn push(&self, arrival: Arrival) {
        self.waiting.borrow_mut().push(arrival);
        self.filled.notify_one();
    }
}

/// The accept loop. Dropped, it stops accepting; handshakes that have begun go on.
#[derive(Debug)]
pub(super) struct Acceptor(JoinHandle<()>);

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Acceptor {
    /// Must be called in a `LocalSet`.
    ///
    /// # Errors
    /// The listener cannot be watched.
    pub(super) fn spawn(
        listener: std::net::TcpListener,
        current: watch::Receiver<Arc<Current>>,
        shared: Arc<Shared>,
        metrics: Arc<ShardMetrics>,
        arrivals: Rc<Arrivals>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let config = current.borrow().config.clone();
        let handshakes = Rc::new(Handshakes {
            router: http::router(&config),
            share: config.limits.connections.div_ceil(config.shards.get()) as u64,
            pending: (config.limits.handshakes.div_ceil(config.shards.get())) as u64,
            config,
            current,
            shared,
            metrics,
            arrivals,
        });
        Ok(Self(spawn_local(accept(listener, handshakes))))
    }
}

#[derive(Debug)]
struct Handshakes {
    config: Arc<Config>,
    #[expect(dead_code, reason = "the door is being built")]
    current: watch::Receiver<Arc<Current>>,
    shared: Arc<Shared>,
    metrics: Arc<ShardMetrics>,
    arrivals: Rc<Arrivals>,
    router: axum::Router,
    /// Connections this shard may hold.
    share: u64,
    /// Handshakes it may have under way.
    pending: u64,
}

async fn accept(listener: TcpListener, handshakes: Rc<Handshakes>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = &handshakes.metrics;
                if metrics.handshakes_pending.get() >= handshakes.pending {
                    // Dropped unread, which resets it: the cheapest answer there is.
                    metrics.handshakes_refused.of(HandshakeRefusal::Capacity).add(1);
                    continue;
                }
                metrics.handshakes_pending.add(1);
                spawn_local(shake_hands(stream, handshakes.clone()));
            }
            Err(error) => {
                // EMFILE and the like: accepting again at once would only spin.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn shake_hands(stream: TcpStream, handshakes: Rc<Handshakes>) {
    let limit = handshakes.config.limits.handshake_timeout;
    let metrics = &handshakes.metrics;
    // One limit for the whole handshake, however its bytes trickle in.
    let outcome = tokio::time::timeout(limit, async {
        // Not `readable()`: tokio takes an accepted socket for readable until a read has said otherwise.
        if stream.peek(&mut [0]).await.map_err(|_| HandshakeRefusal::Io)? == 0 {
            return Err(HandshakeRefusal::Io);
        }
        Box::pin(serve_http(stream, &handshakes)).await
    });
    match outcome.await.unwrap_or(Err(HandshakeRefusal::Timeout)) {
        Ok(arrival) => {
            metrics.handshakes_ok.add(1);
            handshakes.arrivals.push(arrival);
        }
        Err(refusal) => metrics.handshakes_refused.of(refusal).add(1),
    }
    metrics.handshakes_pending.sub(1);
}

/// Serves HTTP until the client has been upgraded, refused or has left.
async fn serve_http(stream: TcpStream, handshakes: &Handshakes) -> Result<Arrival, HandshakeRefusal> {
    let config = &handshakes.config;
    let ip = stream.peer_addr().map_err(|_| HandshakeRefusal::Io)?.ip();
    let seat = handshakes.shared.addresses.enter(ip, &config.limits).map_err(|_| HandshakeRefusal::Address)?;
    let is_full = handshakes.metrics.connections.get() >= handshakes.share;
    let handover = http::Handover::new(is_full);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(handover.clone());
        handshakes.router.clone().call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        // The caller's limit is for the whole handshake; a second one would only race with it.
        .header_read_timeout(None)
        .max_buf_size(config.limits.header_bytes.max(8192))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        return Err(if error.is_parse_too_large() {
            HandshakeRefusal::HeaderTooLarge
        } else if error.is_parse() {
            HandshakeRefusal::BadRequest
        } else {
            HandshakeRefusal::Io
        });
    }
    let (upgrade, codec) = handover.take()?;
    let (stream, early) = reclaim(upgrade).await.ok_or(HandshakeRefusal::Io)?;
    let guest = Guest { identity: Identity::Anonymous, ip, origin: None, seat, user_seat: None };
    Ok(Arrival { stream, codec, early, guest: Box::new(guest) })
}

/// Takes the socket back from hyper, with what it had read too much.
async fn reclaim(upgrade: UpgradeFut) -> Option<(std::net::TcpStream, Vec<u8>)> {
    let upgraded = upgrade.await.ok()?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let stream = parts.io.into_inner().into_std().ok()?;
    Some((stream, parts.read_buf.into()))
}
