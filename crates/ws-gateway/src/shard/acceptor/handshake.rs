//! One handshake, from a socket that has been let in to a connection: one limit in time for all of it, however its
//! bytes trickle in.

use std::{cell::Cell, io::ErrorKind, net::IpAddr, pin::pin, rc::Rc, sync::Arc};

use axum::response::Response;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tower::Service;

use super::{Arrival, Asked, Handshakes, Pending, Requests, Socket, head::Opened, proxy, shed};
use crate::{
    addresses::Seat,
    config::Config,
    current::Current,
    http::{Agreed, Handover, Peer, Refusal, Terms, Way, trusts},
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

/// Shakes hands, and leaves the connection to the shard; or serves requests until the client has no more.
pub(super) async fn shake_hands(stream: TcpStream, visitor: Visitor, handshakes: Rc<Handshakes>, pending: Pending) {
    let current = visitor.current.clone();
    let config = &current.config;
    let requests = Requests::new();
    let mut meeting = pin!(async {
        let wire = visitor.wait_for(stream).await?;
        handshakes.turnstile.pass().await;
        // Large, and not made before there is something for it to do.
        Box::pin(visitor.let_in(wire, &requests, &handshakes)).await
    });
    let outcome = tokio::select! {
        // Whoever has asked is not out of time.
        biased;
        outcome = &mut meeting => outcome,
        () = requests.became_http() => {
            let _counted = pending.becomes_http();
            let outcome = tokio::select! {
                outcome = meeting => outcome,
                () = requests.are_stuck(config) => Err(HandshakeRefusal::Timeout),
            };
            return handshakes.http_ended(outcome);
        }
        () = tokio::time::sleep(config.limits.handshake_timeout) => Err(HandshakeRefusal::Timeout),
    };
    match outcome {
        Ok(arrival) => {
            pending.succeeded();
            handshakes.arrivals.push(arrival);
        }
        Err(_) if requests.are_http() => handshakes.http_ended(outcome),
        Err(refusal) => {
            // To let go of one costs as much as to take one, and those who came together run out of time together.
            handshakes.turnstile.pass().await;
            pending.refused(refusal);
        }
    }
}

impl Handshakes {
    /// A connection of requests is over, or becomes one of the shard. What was refused by a handler is counted already.
    fn http_ended(&self, outcome: Result<Arrival, HandshakeRefusal>) {
        match outcome {
            Ok(arrival) => {
                self.metrics.handshakes_ok.add(1);
                self.arrivals.push(arrival);
            }
            Err(reason @ (HandshakeRefusal::BadRequest | HandshakeRefusal::HeaderTooLarge)) => self.refused(reason),
            // It left, as all of them do some time.
            Err(_) => {}
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

    async fn let_in(
        mut self,
        wire: Wire,
        requests: &Requests,
        handshakes: &Handshakes,
    ) -> Result<Arrival, HandshakeRefusal> {
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
            questions: handshakes.questions.clone(),
            peer: Peer { ip: self.ip, is_trusted: trusts(&config.http, self.ip), is_secure },
            is_full: handshakes.is_full(config),
        };
        let _served = Served::begin(&handshakes.served);
        let handover = Handover::new(terms, self.seat);
        let (stream, tls) = match (wire, &current.tls) {
            (Wire::Plain(opened), _) => {
                let door = Door { handover, asked: self.asked, requests, handshakes, config };
                let (agreed, opened, early) = serve_http(opened, &door).await?;
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
        let door = Door { handover, asked: self.asked, requests, handshakes, config };
        let (agreed, secured, early) = serve_http(secured, &door).await?;
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
    let (head, message) = match agreed.way {
        Way::Socket(_) => (Vec::new(), None),
        Way::Stream { head, message } => (head, Some(message)),
    };
    let (format, guest) = (agreed.format, Box::new(agreed.guest));
    Ok(Arrival { socket: Socket { stream, session }, format, head, message, early, guest })
}

/// What the requests of a connection go through.
#[derive(Debug)]
struct Door<'a> {
    handover: Handover,
    asked: Asked,
    requests: &'a Requests,
    handshakes: &'a Handshakes,
    config: &'a Config,
}

/// The client gets a connection of its own: hyper is not to write anything.
#[derive(Debug, thiserror::Error)]
#[error("the shard answers")]
struct TakenOver;

impl Door<'_> {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response, TakenOver> {
        self.asked.set();
        let is_handshake = request.uri().path() == self.config.path;
        let begun = if is_handshake { Ok(()) } else { self.requests.begin(request.headers(), self.config) };
        let handover = match self.requests.are_http() {
            true => self.handover.of_request(self.handshakes.current.borrow().clone()),
            false => self.handover.clone(),
        };
        if let Err(refusal) = begun {
            return Ok(handover.refuse(refusal));
        }
        request.extensions_mut().insert(handover);
        let Ok(mut response) = self.handshakes.router.clone().call(request).await;
        self.requests.end(&mut response, self.handshakes.is_leaving());
        if self.handover.takes_over(&response) { Err(TakenOver) } else { Ok(response) }
    }
}

/// Serves HTTP until the client has a connection, was refused one, or has left. Gives the connection back with what was
/// read of it too much.
async fn serve_http<S>(stream: S, door: &Door<'_>) -> Result<(Agreed, S, Vec<u8>), HandshakeRefusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // For the first request the caller's limit is shorter.
        .header_read_timeout(door.config.http.keep_alive)
        .max_buf_size(head_bytes(door.config))
        .serve_connection(TokioIo::new(stream), service_fn(|request| door.answer(request)))
        .with_upgrades();
    let served = tokio::select! {
        served = &mut connection => served,
        () = door.handshakes.leaves() => {
            // The request that is there is answered; a connection without one ends now.
            if door.requests.are_http() {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            (&mut connection).await
        }
    };
    let mut agreed = door.handover.take();
    if let Ok(Agreed { way: Way::Stream { .. }, .. }) = agreed {
        // What ended it is that the socket goes to the shard.
        let parts = connection.into_parts().ok_or(HandshakeRefusal::Io)?;
        return Ok((agreed?, parts.io.into_inner(), parts.read_buf.into()));
    }
    if let Err(error) = served {
        return Err(if error.is_parse_too_large() {
            HandshakeRefusal::HeaderTooLarge
        } else if error.is_parse() {
            HandshakeRefusal::BadRequest
        } else {
            HandshakeRefusal::Io
        });
    }
    let Ok(Agreed { way: Way::Socket(upgrade), .. }) = &mut agreed else {
        return Err(agreed.err().unwrap_or(HandshakeRefusal::Io));
    };
    let upgraded = upgrade.await.map_err(|_| HandshakeRefusal::Io)?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| HandshakeRefusal::Io)?;
    Ok((agreed?, parts.io.into_inner(), parts.read_buf.into()))
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
