//! Requests that are answered once: polls, last values, history.

use axum::{
    Extension,
    extract::{Path, Query, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use odin_protocol::{
    channel::Channel,
    error::ErrorCode,
    message::{ClientMessage, Mode},
};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::oneshot;

use super::{
    Handover, Refusal,
    answer::Heard,
    asked::{Asked, header_text},
};
use crate::{
    config::Config,
    guest::Guest,
    identity::Identity,
    question::{Answer, From, Had, Patience, Question},
};

/// How long a poll waits that does not say how long.
const WAIT_S: u64 = 25;

/// How long any poll may wait: less than what proxies take for dead, often 60 s.
const MAX_WAIT_S: u64 = 55;

/// Updates of a history that does not say how many, and of any.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Values that say nothing of their channel but what anybody may see may be kept by whoever is between us and the client.
const PRIVATE: &str = "private, no-cache";

#[derive(Debug, Deserialize)]
struct Wait {
    wait: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Since {
    since: Option<String>,
    limit: Option<usize>,
}

/// Asks the shard.
///
/// # Errors
/// The shard has too many questions, or has left.
pub(super) async fn ask(
    handover: &Handover,
    guest: Guest,
    message: ClientMessage,
    had: Vec<Had>,
    patience: Patience,
) -> Result<Answer, Refusal> {
    let (answer, heard) = oneshot::channel();
    let bytes = handover.terms.current.config.http.answer_bytes;
    let rates = std::mem::take(&mut handover.outcome().rates);
    let question = Question { guest, message, had, patience, rates, bytes, answer };
    let full = || Refusal::of(ErrorCode::Unavailable, "the gateway has too many requests, or is leaving");
    handover.terms.questions.try_send(question).map_err(|_| full())?;
    let mut answer = heard.await.map_err(|_| full())?;
    handover.outcome().rates = std::mem::take(&mut answer.rates);
    Ok(answer)
}

pub(super) fn json(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-store")];
    (headers, body).into_response()
}

pub(super) async fn poll(Extension(handover): Extension<Handover>, request: Request) -> Response {
    told(&handover, poll_for(&handover, request).await)
}

pub(super) async fn latest(
    Extension(handover): Extension<Handover>,
    Path(channel): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    told(&handover, latest_of(&handover, &channel, &uri, &headers).await)
}

pub(super) async fn history(
    Extension(handover): Extension<Handover>,
    Path(channel): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    told(&handover, history_of(&handover, &channel, &uri, &headers).await)
}

fn told(handover: &Handover, result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(|refusal| handover.refuse(refusal))
}

async fn poll_for(handover: &Handover, request: Request) -> Result<Response, Refusal> {
    let Query(Wait { wait }) =
        Query::try_from_uri(request.uri()).map_err(|_| Refusal::bad_request("wait is a whole number of seconds"))?;
    let wait = Duration::from_secs(wait.unwrap_or(WAIT_S).min(MAX_WAIT_S));
    let guest = handover.admit_once(request.headers(), request.uri()).await?;
    let asked = Asked::read(handover, request, None).await?;
    asked.check(&handover.terms, &guest.identity)?;
    let patience = if wait.is_zero() { Patience::Now } else { Patience::UntilNews(wait) };
    let answer = ask(handover, guest, asked.question(), asked.had(), patience).await?;
    let heard = Heard::of(&answer);
    heard.refused()?;
    Ok(json(heard.body(&asked, None)))
}

async fn latest_of(handover: &Handover, channel: &str, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let config = &handover.terms.current.config;
    let guest = handover.admit_once(headers, uri).await?;
    // Whoever asks twice may be somebody else; whether the mode can be chosen is of no matter for one value.
    let asked = Asked::one(channel, None, None);
    asked.check(&handover.terms, &guest.identity)?;
    let is_public = is_public(config, channel, &guest.identity);
    let answer = ask(handover, guest, asked.message(), Vec::new(), Patience::Now).await?;
    let mut heard = Heard::of(&answer);
    heard.refused()?;
    if heard.is_in_part() && answer.frames.len() >= config.http.answer_bytes {
        return Err(Refusal::of(ErrorCode::TooWide, "the values are more than an answer may have; poll for them"));
    }
    heard.keep_updates();
    let Some(tag) = tag(&heard) else {
        return Err(Refusal::no_value());
    };
    let control = match is_public {
        true => format!("public, max-age={}", config.http.latest_max_age.as_secs()),
        false => PRIVATE.to_owned(),
    };
    let is_same = header_text(headers, &header::IF_NONE_MATCH).is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    let mut response = match is_same {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => json(heard.body(&asked, None)),
    };
    let text = |text: &str| HeaderValue::from_str(text).expect("numbers and letters");
    response.headers_mut().insert(header::ETAG, text(&tag));
    response.headers_mut().insert(header::CACHE_CONTROL, text(&control));
    // The layer for other origins adds its own.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("authorization, origin"));
    Ok(response)
}

/// Whether anybody may see the channel, and sees it as this client does: not late, where that has it at once.
fn is_public(config: &Config, channel: &str, identity: &Identity) -> bool {
    let Ok(channel) = Channel::parse(channel) else {
        return false;
    };
    let topic = |identity| config.rules.resolve(&channel, identity).ok();
    !config.auth.required && topic(&Identity::Anonymous).is_some_and(|public| topic(identity) == Some(public))
}

/// What names a value: its place in the stream; of several the last of them, and how many there are.
fn tag(heard: &Heard<'_>) -> Option<String> {
    let last = heard.updates().max_by_key(|update| update.head.seq)?;
    let (epoch, seq) = (last.head.epoch?, last.head.seq?);
    match heard.updates().count() {
        1 => Some(format!("\"{epoch}-{seq}\"")),
        count => Some(format!("\"{epoch}-{seq}-{count}\"")),
    }
}

async fn history_of(handover: &Handover, channel: &str, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let Query(Since { since, limit }) =
        Query::try_from_uri(uri).map_err(|_| Refusal::bad_request("since is a cursor or a time, limit a number"))?;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refusal::bad_request("limit is a number from 1 to 1000"));
    }
    if Channel::parse(channel).is_ok_and(|channel| channel.is_pattern()) {
        return Err(Refusal::of(ErrorCode::Unsupported, "a pattern has no history; ask for one channel"));
    }
    let is_time = |since: &str| !since.is_empty() && since.bytes().all(|byte| byte.is_ascii_digit());
    let (from, since) = match since {
        None => (From::Oldest, None),
        Some(time) if is_time(&time) => {
            (From::Time(time.parse().map_err(|_| Refusal::bad_request("since is no time"))?), None)
        }
        since => (From::Cursor, since),
    };
    let guest = handover.admit_once(headers, uri).await?;
    let patience = Patience::Past { from, updates: limit };
    let asked = Asked::one(channel, Some(Mode::All), since);
    asked.check(&handover.terms, &guest.identity)?;
    let answer = ask(handover, guest, asked.message(), asked.had(), patience).await?;
    let mut heard = Heard::of(&answer);
    heard.refused()?;
    if let Some(reason) = heard.resume_failure() {
        return Err(Refusal::gone(reason));
    }
    heard.sort();
    let more = heard.cut(limit);
    Ok(json(heard.body(&asked, Some(more))))
}
