//! The public routes: the WebSocket handshake on `path`, the protocol over HTTP below `/v1` (`docs/http.md`), and the
//! files of a page, if there is one.
//!
//! Handlers read a request, look at who asks, and know the rules. What happens then is the shard's affair in every case: a
//! handshake and an event stream hand their socket over to it, the others ask it a question (`question`).

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{HeaderMap, HeaderValue, Method, Uri, header, request},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};
use fastwebsockets::upgrade::UpgradeFut;
use odin_protocol::{close::Reconnect, message::ClientMessage};
use tokio::sync::mpsc;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    addresses::Seat,
    auth::{AuthError, Visit},
    config::{Config, Secret},
    current::Current,
    format::{Format, retry_ms},
    guest::{Guest, Shared},
    identity::Identity,
    metrics::{AuthResult, HandshakeRefusal, ShardMetrics},
    question::Question,
    shard::Rates,
};

mod answer;
mod asked;
mod client;
mod events;
mod files;
mod handshake;
mod origin;
mod place;
mod publish;
mod refusal;
mod stored;
mod token;

pub(crate) use client::{Peer, trusts};
pub(crate) use origin::OriginRule;
pub(crate) use refusal::Refusal;

/// How long a browser may remember what it may do here, in seconds. It takes two hours at most.
const PREFLIGHT_S: u64 = 7_200;

/// A client that gets a connection of the shard.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) way: Way,
    pub(crate) format: Format,
    pub(crate) guest: Guest,
}

/// What becomes of its socket.
#[derive(Debug)]
pub(crate) enum Way {
    /// hyper writes the answer, and gives the socket back.
    Socket(UpgradeFut),
    /// The shard writes the answer's head, and what follows from the message, without an end.
    Stream { head: Vec<u8>, message: Box<ClientMessage> },
}

/// What holds for the requests of one TCP connection.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) current: Arc<Current>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<ShardMetrics>,
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) peer: Peer,
    /// The gateway has no room, and says so in HTTP.
    pub(crate) is_full: bool,
}

/// What came of the requests so far.
#[derive(Debug)]
struct Outcome {
    /// The place that the connection took when it came, for whoever is agreed with.
    seat: Option<Seat>,
    agreed: Option<Agreed>,
    refused: Option<HandshakeRefusal>,
    /// What was used of what a connection may do.
    rates: Rates,
}

/// Carries what holds for a request to its handler, and the outcome back to the acceptor.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    terms: Arc<Terms>,
    outcome: Arc<Mutex<Outcome>>,
    /// The connection goes on after its requests, so that each refusal is counted by itself.
    is_http: bool,
}

impl Handover {
    pub(crate) fn new(terms: Terms, seat: Seat) -> Self {
        let outcome = Outcome { seat: Some(seat), agreed: None, refused: None, rates: Rates::default() };
        Self { terms: Arc::new(terms), outcome: Arc::new(Mutex::new(outcome)), is_http: false }
    }

    /// For one more request of a connection that has had one that is no handshake: what was reloaded since holds for it.
    pub(crate) fn of_request(&self, current: Arc<Current>) -> Self {
        let terms = match Arc::ptr_eq(&self.terms.current, &current) {
            true => self.terms.clone(),
            false => Arc::new(Terms { current, ..(*self.terms).clone() }),
        };
        Self { terms, outcome: self.outcome.clone(), is_http: true }
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuse(&self, refusal: Refusal) -> Response {
        if self.is_http {
            self.terms.metrics.handshakes_refused.of(refusal.reason).add(1);
        } else {
            self.outcome().refused = Some(refusal.reason);
        }
        refusal.into_response()
    }

    /// Notes that the client gets its connection. A TCP connection becomes one at most.
    fn agree(&self, mut agreed: Agreed) -> Result<(), Refusal> {
        let mut outcome = self.outcome();
        let Some(seat) = outcome.seat.take() else {
            return Err(Refusal::bad_request("a connection has one handshake"));
        };
        if !agreed.guest.seat.is_taken() {
            agreed.guest.seat = seat;
        }
        outcome.agreed = Some(agreed);
        Ok(())
    }

    /// What was agreed on: a head that is to be written by the shard is in the response.
    pub(crate) fn takes_over(&self, response: &Response) -> bool {
        match &mut self.outcome().agreed {
            Some(Agreed { way: Way::Stream { head, .. }, .. }) => {
                *head = refusal::head_of(response);
                // When its browser is to come back if it hears no more of us.
                head.extend_from_slice(format!("retry: {}\n\n", retry_ms(Reconnect::Soon)).as_bytes());
                true
            }
            _ => false,
        }
    }

    /// What was agreed on.
    ///
    /// # Errors
    /// Nothing: why the client was refused, or that it left without a word.
    pub(crate) fn take(&self) -> Result<Agreed, HandshakeRefusal> {
        let mut outcome = self.outcome();
        // It left before its request was complete: what a socket does that is closed.
        outcome.agreed.take().ok_or(outcome.refused.unwrap_or(HandshakeRefusal::Io))
    }

    fn has_room(&self) -> Result<(), Refusal> {
        if self.terms.is_full { Err(Refusal::full()) } else { Ok(()) }
    }

    /// Who asks, and a place for it. From what costs nothing to what asks others.
    async fn admit(&self, headers: &HeaderMap, uri: &Uri) -> Result<Guest, Refusal> {
        let mut guest = self.admit_once(headers, uri).await?;
        if let Identity::User(user) = &guest.identity {
            guest.user_seat = Some(self.terms.shared.cluster.enter(user).await?);
        }
        Ok(guest)
    }

    /// The same for a request that is answered and over: it is no connection of its user, or it would take the place of
    /// one.
    async fn admit_once(&self, headers: &HeaderMap, uri: &Uri) -> Result<Guest, Refusal> {
        let terms = &self.terms;
        let config = &terms.current.config;
        let ip = client::address(headers, &terms.peer, &config.http)?;
        // A peer that is no proxy took its place when it connected.
        let seat = match terms.peer.is_trusted {
            true => terms.shared.addresses.enter_from(ip, config)?,
            false => Seat::default(),
        };
        if config.http.require_tls && !client::is_secure(headers, &terms.peer) {
            return Err(Refusal::insecure());
        }
        let origin = origin::check(headers, &config.http)?;
        let identity = match token::find(headers, uri, config.auth.query_token)? {
            Some(token) => terms.sign_in(&token, ip, origin.as_deref()).await?,
            // Whether somebody must sign in is the session's business.
            None => Identity::Anonymous,
        };
        Ok(Guest { identity, ip, origin, seat, user_seat: None })
    }
}

impl Terms {
    /// Who the token belongs to.
    async fn sign_in(&self, token: &Secret, ip: IpAddr, origin: Option<&str>) -> Result<Identity, Refusal> {
        let auth = &self.current.auth;
        let checked = if auth.is_offered() {
            let visit = Visit { ip, origin: origin.map(str::to_owned) };
            auth.check(token.expose(), &visit).await.map_err(|error| (result_of(error), Refusal::from(error)))
        } else {
            Err((AuthResult::Unavailable, Refusal::no_auth()))
        };
        let result = checked.as_ref().map_or_else(|(result, _)| *result, |_| AuthResult::Ok);
        self.metrics.auths.of(result).add(1);
        Ok(Identity::User(checked.map_err(|(_, refusal)| refusal)?))
    }
}

fn result_of(error: AuthError) -> AuthResult {
    match error {
        AuthError::Failed => AuthResult::Failed,
        AuthError::Expired => AuthResult::Expired,
        AuthError::Revoked => AuthResult::Revoked,
        AuthError::Unavailable => AuthResult::Unavailable,
    }
}

/// The router of every connection. Each request carries a [`Handover`] among its extensions.
pub(crate) fn router(config: &Config) -> Router {
    let api = Router::new()
        .route("/v1/events", without_head("GET,POST", get(events::events).post(events::events)))
        .route("/v1/poll", without_head("GET,POST", get(stored::poll).post(stored::poll)))
        .route("/v1/channels/{channel}/latest", get(stored::latest))
        .route("/v1/channels/{channel}/history", without_head("GET", get(stored::history)))
        .route("/v1/channels/{channel}/publish", post(publish::publish))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(config.limits.message_bytes))
        .layer(cors());
    let router = Router::new().route(&config.path, any(handshake::handshake)).merge(api);
    match &config.http.files {
        Some(folder) => router.fallback_service(files::service(folder)),
        None => router.fallback(not_found),
    }
}

/// A route of these methods that has no `HEAD`: what it begins or waits for has no sense without the body.
fn without_head(methods: &'static str, route: MethodRouter) -> MethodRouter {
    let refuse = async move |handover| ([(header::ALLOW, methods)], method_not_allowed(handover).await);
    route.head(refuse).fallback(refuse)
}

/// What a page of another origin may do: ask, with a token in a header and without cookies.
fn cors() -> CorsLayer {
    let may_ask = |origin: &HeaderValue, request: &request::Parts| {
        let handover = request.extensions.get::<Handover>();
        handover.is_some_and(|handover| origin::may_ask(origin, &handover.terms.current.config.http))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(may_ask))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH, events::LAST_EVENT_ID])
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(PREFLIGHT_S))
}

async fn not_found(Extension(handover): Extension<Handover>) -> Response {
    handover.refuse(Refusal::not_found())
}

async fn method_not_allowed(Extension(handover): Extension<Handover>) -> Response {
    handover.refuse(Refusal::other_method())
}
