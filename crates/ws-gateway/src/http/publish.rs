//! Publishing by a request of its own, for clients that have no connection to do it on.

use axum::{
    Extension,
    extract::{Path, Request},
    response::Response,
};
use odin_protocol::{error::ErrorCode, message::ClientMessage};
use serde_json::value::RawValue;

use super::{
    Handover, Refusal,
    answer::Heard,
    asked::body,
    stored::{ask, json},
};
use crate::question::Patience;

pub(super) async fn publish(
    Extension(handover): Extension<Handover>,
    Path(channel): Path<String>,
    request: Request,
) -> Response {
    match publish_to(&handover, channel, request).await {
        Ok(response) => response,
        Err(refusal) => handover.refuse(refusal),
    }
}

async fn publish_to(handover: &Handover, channel: String, request: Request) -> Result<Response, Refusal> {
    let guest = handover.admit_once(request.headers(), request.uri()).await?;
    let data: Box<RawValue> = serde_json::from_slice(&body(handover, request).await?)
        .map_err(|_| Refusal::of(ErrorCode::InvalidPayload, "the body is not one JSON value"))?;
    let message = ClientMessage::Publish { id: None, channel, data };
    let answer = ask(handover, guest, message, Vec::new(), Patience::Now).await?;
    let heard = Heard::of(&answer);
    heard.refused()?;
    let published = heard.messages().find(|message| message.head.kind == "published");
    let published =
        published.ok_or_else(|| Refusal::of(ErrorCode::Unavailable, "the stream did not answer in time"))?;
    Ok(json(published.text.to_owned()))
}
