//! The WebSocket handshake (RFC 6455 §4.2).

use axum::{
    Extension,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header},
    response::{IntoResponse, Response},
};
use fastwebsockets::upgrade::{is_upgrade_request, upgrade};
use odin_protocol::{JSON_PROTOCOL, MSGPACK_PROTOCOL};

use super::{Agreed, Handover, Refusal, Way};
use crate::format::Format;

pub(super) async fn handshake(Extension(handover): Extension<Handover>, request: Request) -> Response {
    match accept(&handover, request).await {
        Ok(response) => response,
        Err(refusal) => handover.refuse(refusal),
    }
}

/// From what costs nothing to what asks others: a request that fails in two ways is told the first.
async fn accept(handover: &Handover, mut request: Request) -> Result<Response, Refusal> {
    handover.has_room()?;
    check(&request)?;
    let (format, chosen) = choose_protocol(request.headers())?;
    let guest = handover.admit(request.headers(), request.uri()).await?;
    let (response, upgrade) =
        upgrade(&mut request).map_err(|_| Refusal::bad_request("this is not a WebSocket handshake"))?;
    handover.agree(Agreed { way: Way::Socket(upgrade), format, guest })?;
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
fn choose_protocol(headers: &HeaderMap) -> Result<(Format, Option<&'static str>), Refusal> {
    let unknown = || Refusal::bad_request("none of the offered sub-protocols is known");
    let mut offered = false;
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        for name in value.to_str().map_err(|_| unknown())?.split(',').map(str::trim) {
            offered = true;
            match name {
                JSON_PROTOCOL => return Ok((Format::Json, Some(JSON_PROTOCOL))),
                MSGPACK_PROTOCOL => return Ok((Format::MsgPack, Some(MSGPACK_PROTOCOL))),
                _ => {}
            }
        }
    }
    if offered { Err(unknown()) } else { Ok((Format::Json, None)) }
}
