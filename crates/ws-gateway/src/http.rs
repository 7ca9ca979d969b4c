//! The public routes. There is one: the WebSocket handshake (RFC 6455 §4.2), on `path`.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension, Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header},
    response::{IntoResponse, Response},
    routing::any,
};
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use odin_protocol::{JSON_PROTOCOL, MSGPACK_PROTOCOL, codec::Codec};

use crate::{
    addresses::Seat,
    auth::{AuthError, Visit},
    cluster::UserSeat,
    config::{Config, Secret},
    current::Current,
    guest::{Guest, Shared},
    identity::Identity,
    metrics::{AuthResult, HandshakeRefusal, ShardMetrics},
};

mod client;
mod origin;
mod refusal;
mod token;

pub(crate) use client::{Peer, trusts};
pub(crate) use origin::OriginRule;
pub(crate) use refusal::Refusal;

/// A handshake that was agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// Taken by whoever waits for it.
    pub(crate) upgrade: Option<UpgradeFut>,
    pub(crate) codec: Codec,
    pub(crate) guest: Guest,
}

#[derive(Debug)]
enum State {
    /// No request has been answered yet. The seat is for whoever asks.
    Open(Seat),
    Agreed(Box<Agreed>),
    Refused(HandshakeRefusal),
}

/// What holds for a handshake.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) current: Arc<Current>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<ShardMetrics>,
    pub(crate) peer: Peer,
    /// The gateway has no room, and says so in HTTP.
    pub(crate) is_full: bool,
}

/// Carries what holds for a handshake to its handler, and the outcome back to the acceptor.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    terms: Arc<Terms>,
    state: Arc<Mutex<State>>,
}

impl Handover {
    pub(crate) fn new(terms: Terms, seat: Seat) -> Self {
        Self { terms: Arc::new(terms), state: Arc::new(Mutex::new(State::Open(seat))) }
    }

    fn put(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        self.put(State::Refused(refusal.reason));
        refusal.into_response()
    }

    /// What was agreed on.
    ///
    /// # Errors
    /// Nothing: why the client was refused, or that it left without a word.
    pub(crate) fn take(&self) -> Result<Agreed, HandshakeRefusal> {
        // It left before its request was complete: what a socket does that is closed.
        match self.put(State::Refused(HandshakeRefusal::Io)) {
            State::Agreed(agreed) => Ok(*agreed),
            State::Refused(refusal) => Err(refusal),
            State::Open(_) => Err(HandshakeRefusal::Io),
        }
    }
}

/// The router of every connection. Each request carries a [`Handover`] among its extensions.
pub(crate) fn router(config: &Config) -> Router {
    Router::new().route(&config.path, any(handshake)).fallback(not_found)
}

async fn not_found(Extension(handover): Extension<Handover>) -> Response {
    handover.refuse(Refusal::not_found())
}

async fn handshake(Extension(handover): Extension<Handover>, request: Request) -> Response {
    match accept(&handover, request).await {
        Ok(response) => response,
        Err(refusal) => handover.refuse(refusal),
    }
}

/// From what costs nothing to what asks others: a request that fails in two ways is told the first.
async fn accept(handover: &Handover, mut request: Request) -> Result<Response, Refusal> {
    let terms = &handover.terms;
    let config = &terms.current.config;
    if terms.is_full {
        return Err(Refusal::full());
    }
    check(&request)?;
    let ip = client::address(request.headers(), &terms.peer, &config.http)?;
    // A peer that is no proxy took its place when it connected.
    let seat = if terms.peer.is_trusted { Some(terms.shared.addresses.enter_from(ip, config)?) } else { None };
    if config.http.require_tls && !client::is_secure(request.headers(), &terms.peer) {
        return Err(Refusal::insecure());
    }
    let origin = origin::check(request.headers(), &config.http)?;
    let (codec, chosen) = choose_protocol(request.headers())?;
    let token = token::find(request.headers(), request.uri(), config.auth.query_token)?;
    let (identity, user_seat) = match token {
        Some(token) => terms.sign_in(&token, ip, origin.as_deref()).await?,
        // Whether somebody must sign in with the first message is the session's business.
        None => (Identity::Anonymous, None),
    };
    let State::Open(place) = handover.put(State::Refused(HandshakeRefusal::BadRequest)) else {
        return Err(Refusal::bad_request("a connection has one handshake"));
    };
    let (response, upgrade) =
        upgrade(&mut request).map_err(|_| Refusal::bad_request("this is not a WebSocket handshake"))?;
    let guest = Guest { identity, ip, origin, seat: seat.unwrap_or(place), user_seat };
    handover.put(State::Agreed(Box::new(Agreed { upgrade: Some(upgrade), codec, guest })));
    let mut response = response.into_response();
    if let Some(name) = chosen {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok(response)
}

impl Terms {
    /// Who the token belongs to, and a place for one more connection of that user.
    async fn sign_in(
        &self,
        token: &Secret,
        ip: IpAddr,
        origin: Option<&str>,
    ) -> Result<(Identity, Option<UserSeat>), Refusal> {
        let auth = &self.current.auth;
        let checked = if auth.is_offered() {
            let visit = Visit { ip, origin: origin.map(str::to_owned) };
            auth.check(token.expose(), &visit).await.map_err(|error| (result_of(error), Refusal::from(error)))
        } else {
            Err((AuthResult::Unavailable, Refusal::no_auth()))
        };
        let result = checked.as_ref().map_or_else(|(result, _)| *result, |_| AuthResult::Ok);
        self.metrics.auths.of(result).add(1);
        let user = checked.map_err(|(_, refusal)| refusal)?;
        let seat = self.shared.cluster.enter(&user).await?;
        Ok((Identity::User(user), Some(seat)))
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

/// The conditions of RFC 6455 §4.2.1, and no body, which could smuggle a second request.
fn check(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refusal::method_not_allowed());
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::bad_request("the handshake needs HTTP/1.1"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::bad_request("the handshake has no body"));
    }
    if !is_upgrade_request(request) {
        return Err(Refusal::upgrade_required("this is a WebSocket endpoint"));
    }
    match only(headers, &header::SEC_WEBSOCKET_VERSION) {
        Some("13") => {}
        _ => return Err(Refusal::upgrade_required("the handshake needs Sec-WebSocket-Version 13")),
    }
    match only(headers, &header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_nonce(key) => Ok(()),
        _ => Err(Refusal::bad_request("the handshake needs one Sec-WebSocket-Key of 16 bytes")),
    }
}

/// The value of a header that must be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first.trim())
}

/// 16 bytes in base64: 22 characters and two of padding.
fn is_nonce(key: &str) -> bool {
    key.len() == 24
        && key.ends_with("==")
        && key[..22].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// The first sub-protocol of the client's list that we speak; JSON when it offers none at all.
fn choose_protocol(headers: &HeaderMap) -> Result<(Codec, Option<&'static str>), Refusal> {
    let unknown = || Refusal::bad_request("none of the offered sub-protocols is known");
    let mut offered = false;
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        for name in value.to_str().map_err(|_| unknown())?.split(',').map(str::trim) {
            offered = true;
            match name {
                JSON_PROTOCOL => return Ok((Codec::Json, Some(JSON_PROTOCOL))),
                MSGPACK_PROTOCOL => return Ok((Codec::MsgPack, Some(MSGPACK_PROTOCOL))),
                _ => {}
            }
        }
    }
    if offered { Err(unknown()) } else { Ok((Codec::Json, None)) }
}
