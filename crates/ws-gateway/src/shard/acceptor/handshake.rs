//! One handshake, from a socket that has been let in to a connection: one limit in time for all of it, however its
//! bytes trickle in.

use std::{cell::Cell, net::IpAddr, rc::Rc, sync::Arc};

use fastwebsockets::upgrade::UpgradeFut;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::{Arrival, Handshakes, Pending};
use crate::{
    addresses::Seat,
    current::Current,
    http::{Agreed, Handover, Peer, Terms, trusts},
    metrics::HandshakeRefusal,
};

/// Somebody at the door.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) stream: TcpStream,
    pub(super) ip: IpAddr,
    pub(super) seat: Seat,
    /// What holds for this handshake, whatever is reloaded meanwhile.
    pub(super) current: Arc<Current>,
}

/// Shakes hands, and leaves the connection to the shard.
pub(super) async fn shake_hands(visitor: Visitor, handshakes: Rc<Handshakes>, pending: Pending) {
    let limit = visitor.current.config.limits.handshake_timeout;
    let outcome = tokio::time::timeout(limit, async {
        // Not `readable()`: tokio takes an accepted socket for readable until a read has said otherwise.
        if visitor.stream.peek(&mut [0]).await.map_err(|_| HandshakeRefusal::Io)? == 0 {
            return Err(HandshakeRefusal::Io);
        }
        Box::pin(serve_http(visitor, &handshakes)).await
    });
    match outcome.await.unwrap_or(Err(HandshakeRefusal::Timeout)) {
        Ok(arrival) => {
            pending.succeeded();
            handshakes.arrivals.push(arrival);
        }
        Err(refusal) => pending.refused(refusal),
    }
}

/// Serves HTTP until the client has been upgraded, refused or has left.
async fn serve_http(visitor: Visitor, handshakes: &Handshakes) -> Result<Arrival, HandshakeRefusal> {
    let Visitor { stream, ip, seat, current } = visitor;
    let config = &current.config;
    let terms = Terms {
        current: current.clone(),
        shared: handshakes.shared.clone(),
        metrics: handshakes.metrics.clone(),
        peer: Peer { ip, is_trusted: trusts(&config.http, ip), is_secure: false },
        is_full: handshakes.is_full(config),
    };
    let handover = Handover::new(terms, seat);
    let _served = Served::begin(&handshakes.served);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(handover.clone());
        handshakes.router.clone().call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        // The caller's limit is for the whole handshake; a second one would only race with it.
        .header_read_timeout(None)
        .max_buf_size(config.limits.header_bytes.max(8192))
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
    let Agreed { upgrade, codec, guest } = handover.take()?;
    let (stream, early) = reclaim(upgrade).await.ok_or(HandshakeRefusal::Io)?;
    Ok(Arrival { stream, codec, early, guest: Box::new(guest) })
}

/// Takes the socket back from hyper, with what it had read too much.
async fn reclaim(upgrade: UpgradeFut) -> Option<(std::net::TcpStream, Vec<u8>)> {
    let upgraded = upgrade.await.ok()?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let stream = parts.io.into_inner().into_std().ok()?;
    Some((stream, parts.read_buf.into()))
}

/// A place among those whose request is being served.
#[derive(Debug)]
struct Served<'a>(&'a Cell<usize>);

impl<'a> Served<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
