//! Server-sent events: a connection of the shard that speaks HTTP (`docs/http.md`, WHATWG HTML §9.2).

use axum::{
    Extension,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    Agreed, Handover, Refusal, Way,
    asked::{Asked, header_text},
};
use crate::format::Format;

/// Where the client stands, as its browser remembers it.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn events(Extension(handover): Extension<Handover>, request: Request) -> Response {
    match accept(&handover, request).await {
        Ok(response) => response,
        Err(refusal) => handover.refuse(refusal),
    }
}

async fn accept(handover: &Handover, request: Request) -> Result<Response, Refusal> {
    handover.has_room()?;
    let guest = handover.admit(request.headers(), request.uri()).await?;
    let last_event_id = header_text(request.headers(), &LAST_EVENT_ID);
    let asked = Asked::read(handover, request, last_event_id).await?;
    asked.check(&handover.terms, &guest.identity)?;
    let way = Way::Stream { head: Vec::new(), message: Box::new(asked.message()) };
    handover.agree(Agreed { way, format: Format::Events, guest })?;
    let mut response = ().into_response();
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        // The end of the stream is the end of the connection (RFC 9112 §6.3, case 8).
        (header::CONNECTION, "close"),
        // Proxies that would rather collect it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(response)
}
