//! The public routes. There is one: the WebSocket handshake (RFC 6455 §4.2), on `path`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Extension, Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header},
    response::{IntoResponse, Response},
    routing::any,
};
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use odin_protocol::{JSON_PROTOCOL, MSGPACK_PROTOCOL, codec::Codec};

use crate::{config::Config, current::Current, metrics::HandshakeRefusal};

mod origin;
mod refusal;

pub(crate) use origin::OriginRule;
pub(crate) use refusal::Refusal;

/// A handshake that was agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) upgrade: UpgradeFut,
    pub(crate) codec: Codec,
    /// What the browser said the page is.
    pub(crate) origin: Option<Box<str>>,
}

#[derive(Debug)]
enum State {
    /// No request has been answered yet.
    Open,
    Agreed(Agreed),
    Refused(HandshakeRefusal),
}

/// Carries what holds for a handshake to its handler, and the outcome back to the acceptor.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    state: Arc<Mutex<State>>,
    current: Arc<Current>,
    is_full: bool,
}

impl Handover {
    /// `is_full`: the gateway has no room, and says so in HTTP.
    pub(crate) fn new(current: Arc<Current>, is_full: bool) -> Self {
        Self { state: Arc::new(Mutex::new(State::Open)), current, is_full }
    }

    fn put(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Open) {
            State::Agreed(agreed) => Ok(agreed),
            State::Refused(refusal) => Err(refusal),
            // It left before its request was complete.
            State::Open => Err(HandshakeRefusal::Io),
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
    match accept(&handover, request) {
        Ok(response) => response,
        Err(refusal) => handover.refuse(refusal),
    }
}

fn accept(handover: &Handover, mut request: Request) -> Result<Response, Refusal> {
    if handover.is_full {
        return Err(Refusal::full());
    }
    check(&request)?;
    let origin = origin::check(request.headers(), &handover.current.config.http)?;
    let (codec, chosen) = choose_protocol(request.headers())?;
    let (response, upgrade) =
        upgrade(&mut request).map_err(|_| Refusal::bad_request("this is not a WebSocket handshake"))?;
    handover.put(State::Agreed(Agreed { upgrade, codec, origin }));
    let mut response = response.into_response();
    if let Some(name) = chosen {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok(response)
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
