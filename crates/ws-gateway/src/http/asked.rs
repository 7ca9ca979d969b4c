//! What an event stream or a poll is asked for: channels, and where to go on, out of a query or a body.

use std::collections::HashSet;

use axum::{
    body::HttpBody,
    extract::{FromRequest, Query, Request},
    http::{HeaderMap, Method, Uri, header},
};
use bytes::Bytes;
use odin_protocol::{
    Cursor,
    codec::Codec,
    message::{ChannelRequest, ClientMessage, ErrorMessage, Mode},
};
use serde::Deserialize;

use super::{Handover, Refusal, Terms, place::Place};
use crate::{
    identity::Identity,
    question::Had,
    shard::{are_few, topic},
};

/// For the whole body of a request to come.
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// The parameters that are read; others are of no meaning here.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    channels: Option<String>,
    cursor: Option<String>,
    mode: Option<Mode>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    /// In the order in which they were asked for.
    pub(super) channels: Vec<ChannelRequest>,
    /// Where the client stands in each of them, if it has been there.
    pub(super) places: Vec<Option<Place>>,
}

impl Asked {
    /// Reads a request: its query if it is a `GET`, else its body. `last_event_id` beats every other cursor.
    ///
    /// # Errors
    /// There is no channel, a parameter is wrong, or the body is no `subscribe` message.
    pub(super) async fn read(
        handover: &Handover,
        request: Request,
        last_event_id: Option<String>,
    ) -> Result<Self, Refusal> {
        let parameters = parameters(request.uri())?;
        let mut channels = if request.method() == Method::POST {
            if parameters.channels.is_some() || parameters.mode.is_some() {
                return Err(Refusal::bad_request("channels and mode are in the body or in the query, not in both"));
            }
            subscribe_message(&body(handover, request).await?)?
        } else {
            let named = parameters.channels.unwrap_or_default();
            let named = named.split(',').filter(|name| !name.is_empty());
            let request = |name: &str| ChannelRequest { mode: parameters.mode, ..ChannelRequest::from(name) };
            named.map(request).collect()
        };
        if channels.is_empty() {
            return Err(Refusal::bad_request("there are no channels"));
        }
        let cursors = last_event_id.filter(|id| !id.is_empty()).or(parameters.cursor);
        if let Some(cursors) = cursors {
            let cursors: Vec<&str> = cursors.split(',').collect();
            if cursors.len() != 1 && cursors.len() != channels.len() {
                return Err(Refusal::bad_request("as many cursors as channels, or one for all of them"));
            }
            for (channel, cursor) in channels.iter_mut().zip(cursors.iter().cycle()) {
                channel.since = Some((*cursor).to_owned()).filter(|cursor| !cursor.is_empty());
            }
        }
        let places: Vec<_> = channels.iter().map(|channel| channel.since.as_deref().map(Place::parse)).collect();
        for (channel, place) in channels.iter_mut().zip(&places) {
            channel.since = place.as_ref().map(|place| place.cursor.clone());
        }
        Ok(Self { channels, places })
    }

    /// Only one channel, from its beginning.
    pub(super) fn one(channel: &str, mode: Option<Mode>, since: Option<String>) -> Self {
        let places = vec![since.as_deref().map(Place::parse)];
        Self { channels: vec![ChannelRequest { mode, since, ..ChannelRequest::from(channel) }], places }
    }

    /// The message that asks for it.
    pub(super) fn message(&self) -> ClientMessage {
        ClientMessage::Subscribe { id: None, channels: self.channels.clone(), since: None }
    }

    /// The same for a question: each channel once.
    pub(super) fn question(&self) -> ClientMessage {
        let mut known = HashSet::new();
        let channels = self.channels.iter().filter(|request| known.insert(&*request.channel)).cloned().collect();
        ClientMessage::Subscribe { id: None, channels, since: None }
    }

    /// What the client has had beyond its cursors.
    pub(super) fn had(&self) -> Vec<Had> {
        let both = self.channels.iter().zip(&self.places);
        let had = both.filter_map(|(request, place)| {
            let place = place.as_ref()?;
            let cursor: Cursor = place.cursor.parse().ok()?;
            Some(Had { channel: request.channel.clone(), seq: cursor.seq, chains: place.chains.clone() })
        });
        had.collect()
    }

    /// Refuses a request of which no channel can be had: the client gets the reason as an HTTP status. What a feed
    /// refuses later is told with the answer.
    ///
    /// # Errors
    /// That of the first channel.
    pub(super) fn check(&self, terms: &Terms, identity: &Identity) -> Result<(), Refusal> {
        let config = &terms.current.config;
        let check = || {
            are_few(config, self.channels.len())?;
            let mut refused = None;
            for request in &self.channels {
                match topic(config, identity, request) {
                    Ok(_) => return Ok(()),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            refused.map_or(Ok(()), Err)
        };
        check().map_err(|error: ErrorMessage| {
            terms.metrics.errors_sent.of(error.code).add(1);
            Refusal::of_error(&error)
        })
    }
}

fn parameters(uri: &Uri) -> Result<Parameters, Refusal> {
    let query: Query<Parameters> = Query::try_from_uri(uri).map_err(|_| {
        Refusal::bad_request("the query is not readable, or a parameter is there twice or has no value")
    })?;
    Ok(query.0)
}

/// The whole body, if it comes in time.
///
/// # Errors
/// It is too large, or it does not come.
pub(super) async fn body(handover: &Handover, request: Request) -> Result<Bytes, Refusal> {
    let limit = handover.terms.current.config.limits.message_bytes as u64;
    if request.body().size_hint().lower() > limit {
        // So it says; nobody waits for it.
        return Err(Refusal::too_large());
    }
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::too_large())
        }
        Ok(Err(_)) => Err(Refusal::bad_request("the body is not complete")),
        Err(_) => Err(Refusal::too_slow()),
    }
}

fn subscribe_message(body: &[u8]) -> Result<Vec<ChannelRequest>, Refusal> {
    let message = ClientMessage::decode(Codec::Json, body)
        .map_err(|error| Refusal::of_error(&ErrorMessage::new(error.id, error.code, error.message)))?;
    let ClientMessage::Subscribe { mut channels, since, .. } = message else {
        return Err(Refusal::bad_request("the body is not a subscribe message"));
    };
    for channel in &mut channels {
        channel.since = channel.since.take().or_else(|| since.clone());
    }
    Ok(channels)
}

/// The value of a header that comes once, as text.
pub(super) fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
