//! One handshake, from a socket that has been let in to a connection: one limit in time for all of it, however its
//! bytes trickle in.

use std::{cell::Cell, io::ErrorKind, net::IpAddr, rc::Rc, sync::Arc};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tower::Service;

use super::{Arrival, Asked, Handshakes, Pending, Socket, proxy, shed};
use crate::{
    addresses::Seat,
    config::Config,
    current::Current,
    http::{Agreed, Handover, Peer, Refusal, Terms, trusts},
    metrics::HandshakeRefusal,
    tls::{Secured, Session},
};

/// Somebody at the door.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) stream: TcpStream,
    pub(super) ip: IpAddr,
    pub(super) seat: Seat,
    /// What holds for this handshake, whatever is reloaded meanwhile.
    pub(super) current: Arc<Current>,
    /// To be set when its request is here.
    pub(super) asked: Asked,
}

/// Shakes hands, and leaves the connection to the shard.
pub(super) async fn shake_hands(visitor: Visitor, handshakes: Rc<Handshakes>, pending: Pending) {
    let limit = visitor.current.config.limits.handshake_timeout;
    let outcome = tokio::time::timeout(limit, async {
        // Not `readable()`: tokio takes an accepted socket for readable until a read has said otherwise.
        if visitor.stream.peek(&mut [0]).await.map_err(|_| HandshakeRefusal::Io)? == 0 {
            return Err(HandshakeRefusal::Io);
        }
        Box::pin(let_in(visitor, &handshakes)).await
    });
    match outcome.await.unwrap_or(Err(HandshakeRefusal::Timeout)) {
        Ok(arrival) => {
            pending.succeeded();
            handshakes.arrivals.push(arrival);
        }
        Err(refusal) => pending.refused(refusal),
    }
}

async fn let_in(visitor: Visitor, handshakes: &Handshakes) -> Result<Arrival, HandshakeRefusal> {
    let Visitor { mut stream, mut ip, mut seat, current, asked } = visitor;
    let config = &current.config;
    let mut is_secure = current.tls.is_some();
    if config.http.proxy_protocol && trusts(&config.http, ip) {
        let source = proxy::read_header(&mut stream).await?;
        is_secure |= source.is_secure;
        ip = source.ip.unwrap_or(ip);
        match handshakes.shared.addresses.enter_from(ip, config) {
            Ok(taken) => seat = taken,
            Err(reached) => {
                let refusal = Refusal::from(reached);
                if current.tls.is_none() {
                    // It is sent away like others, within the limit in time of its handshake.
                    let _ = shed::answer(stream, &refusal.to_bytes()).await;
                }
                return Err(refusal.reason);
            }
        }
    }
    let terms = Terms {
        current: current.clone(),
        shared: handshakes.shared.clone(),
        metrics: handshakes.metrics.clone(),
        peer: Peer { ip, is_trusted: trusts(&config.http, ip), is_secure },
        is_full: handshakes.is_full(config),
    };
    let _served = Served::begin(&handshakes.served);
    let handover = Handover::new(terms, seat);
    let Some(tls) = &current.tls else {
        let (agreed, stream, early) = serve_http(stream, handover, asked, handshakes, config).await?;
        return arrival(agreed, stream, None, early);
    };
    let secured = Secured::accept(stream, tls).await.map_err(|error| {
        if error.kind() != ErrorKind::InvalidData {
            return HandshakeRefusal::Io;
        }
        handshakes.tls_failed.log(|others| tracing::warn!(others, "a client does not speak tls as we do"));
        HandshakeRefusal::Tls
    })?;
    let (agreed, secured, early) = serve_http(secured, handover, asked, handshakes, config).await?;
    let (stream, session) = secured.into_parts();
    arrival(agreed, stream, Some(session), early)
}

fn arrival(
    agreed: Agreed,
    stream: TcpStream,
    session: Option<Box<Session>>,
    early: Vec<u8>,
) -> Result<Arrival, HandshakeRefusal> {
    let stream = stream.into_std().map_err(|_| HandshakeRefusal::Io)?;
    Ok(Arrival { socket: Socket { stream, session }, codec: agreed.codec, early, guest: Box::new(agreed.guest) })
}

/// Serves HTTP until the client has been upgraded, refused or has left. Gives the connection back with what was read of
/// it too much.
async fn serve_http<S>(
    stream: S,
    handover: Handover,
    asked: Asked,
    handshakes: &Handshakes,
    config: &Config,
) -> Result<(Agreed, S, Vec<u8>), HandshakeRefusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        asked.set();
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
    let mut agreed = handover.take()?;
    let upgrade = agreed.upgrade.take().ok_or(HandshakeRefusal::Io)?;
    let upgraded = upgrade.await.map_err(|_| HandshakeRefusal::Io)?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| HandshakeRefusal::Io)?;
    Ok((agreed, parts.io.into_inner(), parts.read_buf.into()))
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
