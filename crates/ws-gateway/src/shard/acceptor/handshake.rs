//! One handshake, from a socket that has been let in to a connection: one limit in time for all of it, however its
//! bytes trickle in.

use std::{cell::Cell, io::ErrorKind, net::IpAddr, pin::pin, rc::Rc, sync::Arc};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tower::Service;

use super::{Arrival, Asked, Handshakes, Pending, Socket, head::Opened, proxy, shed};
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
    pub(super) ip: IpAddr,
    pub(super) seat: Seat,
    /// What holds for this handshake, whatever is reloaded meanwhile.
    pub(super) current: Arc<Current>,
    /// To be set when its request is here.
    pub(super) asked: Asked,
}

/// What there is of a visitor when it is served.
#[derive(Debug)]
enum Wire {
    /// Bytes that are no request: TLS, or a PROXY header.
    Wrapped(TcpStream),
    /// A request, or what will never be one.
    Plain(Opened),
}

/// Shakes hands, and leaves the connection to the shard.
pub(super) async fn shake_hands(stream: TcpStream, visitor: Visitor, handshakes: Rc<Handshakes>, pending: Pending) {
    let limit = visitor.current.config.limits.handshake_timeout;
    let mut outcome = pin!(tokio::time::timeout(limit, async {
        let wire = visitor.wait_for(stream).await?;
        handshakes.turnstile.pass().await;
        // Large, and not made before there is something for it to do.
        Box::pin(visitor.let_in(wire, &handshakes)).await
    }));
    match outcome.as_mut().await.unwrap_or(Err(HandshakeRefusal::Timeout)) {
        Ok(arrival) => {
            pending.succeeded();
            handshakes.arrivals.push(arrival);
        }
        Err(refusal) => {
            // To let go of one costs as much as to take one, and those who came together run out of time together.
            handshakes.turnstile.pass().await;
            pending.refused(refusal);
        }
    }
}

impl Visitor {
    fn has_proxy_header(&self) -> bool {
        self.current.config.http.proxy_protocol && trusts(&self.current.config.http, self.ip)
    }

    /// As long as it takes until there is something to do.
    async fn wait_for(&self, stream: TcpStream) -> Result<Wire, HandshakeRefusal> {
        if self.current.tls.is_none() && !self.has_proxy_header() {
            return Ok(Wire::Plain(Opened::read(stream, head_bytes(&self.current.config)).await?));
        }
        // Not `readable()`: tokio takes an accepted socket for readable until a read has said otherwise.
        match stream.peek(&mut [0]).await {
            Ok(1..) => Ok(Wire::Wrapped(stream)),
            Ok(0) | Err(_) => Err(HandshakeRefusal::Io),
        }
    }

    async fn let_in(mut self, wire: Wire, handshakes: &Handshakes) -> Result<Arrival, HandshakeRefusal> {
        let current = self.current.clone();
        let config = &current.config;
        let mut is_secure = current.tls.is_some();
        let wire = match wire {
            Wire::Wrapped(mut stream) if self.has_proxy_header() => {
                let source = proxy::read_header(&mut stream).await?;
                is_secure |= source.is_secure;
                self.ip = source.ip.unwrap_or(self.ip);
                match handshakes.shared.addresses.enter_from(self.ip, config) {
                    Ok(taken) => self.seat = taken,
                    Err(reached) => {
                        let refusal = Refusal::from(reached);
                        if current.tls.is_none() {
                            // It is sent away like others, within the limit in time of its handshake.
                            let _ = shed::answer(stream, &refusal.to_bytes()).await;
                        }
                        return Err(refusal.reason);
                    }
                }
                if current.tls.is_none() {
                    Wire::Plain(Opened::read(stream, head_bytes(config)).await?)
                } else {
                    Wire::Wrapped(stream)
                }
            }
            wire => wire,
        };
        let terms = Terms {
            current: current.clone(),
            shared: handshakes.shared.clone(),
            metrics: handshakes.metrics.clone(),
            peer: Peer { ip: self.ip, is_trusted: trusts(&config.http, self.ip), is_secure },
            is_full: handshakes.is_full(config),
        };
        let _served = Served::begin(&handshakes.served);
        let handover = Handover::new(terms, self.seat);
        let (stream, tls) = match (wire, &current.tls) {
            (Wire::Plain(opened), _) => {
                let (agreed, opened, early) = serve_http(opened, handover, self.asked, handshakes, config).await?;
                let (stream, unread) = opened.into_parts();
                return arrival(agreed, stream, None, [early, unread].concat());
            }
            (Wire::Wrapped(stream), Some(tls)) => (stream, tls),
            (Wire::Wrapped(_), None) => unreachable!("what is not wrapped in anything is plain"),
        };
        let secured = Secured::accept(stream, tls).await.map_err(|error| {
            if error.kind() != ErrorKind::InvalidData {
                return HandshakeRefusal::Io;
            }
            handshakes.tls_failed.log(|others| tracing::warn!(others, "a client does not speak tls as we do"));
            HandshakeRefusal::Tls
        })?;
        let (agreed, secured, early) = serve_http(secured, handover, self.asked, handshakes, config).await?;
        let (stream, session) = secured.into_parts();
        arrival(agreed, stream, Some(session), early)
    }
}

/// Bytes of a request's head. hyper takes no fewer.
fn head_bytes(config: &Config) -> usize {
    config.limits.header_bytes.max(8192)
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
        .max_buf_size(head_bytes(config))
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
