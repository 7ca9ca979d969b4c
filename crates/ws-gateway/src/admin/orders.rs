//! What operators order of all gateways. An order is answered when the control stream has stored it; every gateway reads
//! it there.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::answer::{self, Failure};
use crate::control::{Issued, MAX_MESSAGE_CHARS, Revocation, RevocationId};

/// Revocations on one page.
const PAGE: usize = 1_000;

type Body = Result<Bytes, BytesRejection>;

/// The part of the path in braces.
type Named = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Revoke {
    jti: Option<Box<str>>,
    sub: Option<Box<str>>,
    issued_before: Option<Moment>,
    #[serde(default, with = "humantime_text")]
    expires_in: Option<Duration>,
}

/// RFC 3339, or milliseconds since 1970.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Ms(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageRequest {
    after: Option<String>,
}

pub(super) async fn disconnect(State(shared): State<Shared>, sub: Named) -> Result<Response, Failure> {
    let sub = named(sub)?;
    let issued = shared.admin.orders.disconnect(answer::user(&sub)?).await?;
    Ok(done("disconnect", &issued))
}

pub(super) async fn notify(State(shared): State<Shared>, sub: Named, body: Body) -> Result<Response, Failure> {
    let sub = named(sub)?;
    let issued = shared.admin.orders.notify(Some(answer::user(&sub)?), &message(body)?).await?;
    Ok(done("notify", &issued))
}

pub(super) async fn broadcast(State(shared): State<Shared>, body: Body) -> Result<Response, Failure> {
    let issued = shared.admin.orders.notify(None, &message(body)?).await?;
    Ok(done("broadcast", &issued))
}

pub(super) async fn revoke(State(shared): State<Shared>, body: Body) -> Result<Response, Failure> {
    let Revoke { jti, sub, issued_before, expires_in } = answer::body(body)?;
    let revocation = match (jti, sub, issued_before) {
        (Some(id), None, None) => Revocation::Token { id: id.into() },
        (None, Some(sub), before) => {
            let issued_before_ms = before.map(Moment::milliseconds).transpose()?;
            Revocation::User { sub: sub.into(), issued_before_ms }
        }
        (Some(_), None, Some(_)) => return Err(Failure::invalid("issuedBefore is for a sub, not for a jti")),
        _ => return Err(Failure::invalid("either jti or sub")),
    };
    answer::user(match &revocation {
        Revocation::Token { id } => id,
        Revocation::User { sub, .. } => sub,
    })?;
    let longest = shared.admin.orders.longest_life();
    if expires_in.is_some_and(|life| life < Duration::from_secs(1) || life > longest) {
        let longest = humantime::format_duration(longest);
        return Err(Failure::invalid(format!("expiresIn is from 1s to {longest}, which is control_stream.max_age")));
    }
    let issued = shared.admin.orders.revoke(&revocation, expires_in).await?;
    Ok(done("revoke", &issued))
}

pub(super) async fn lift(State(shared): State<Shared>, id: Named) -> Result<Response, Failure> {
    let unknown = || Failure::not_found("no such revocation");
    let id: RevocationId = named(id)?.parse().map_err(|()| unknown())?;
    shared.admin.orders.revocations().get(id).ok_or_else(unknown)?;
    let issued = shared.admin.orders.lift(id).await?;
    Ok(done("lift", &issued))
}

pub(super) async fn revocations(
    State(shared): State<Shared>,
    page: Result<Query<PageRequest>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(PageRequest { after }) = page.map_err(|_| Failure::invalid("the query knows only after"))?;
    let after = after.map(|after| after.parse::<RevocationId>()).transpose();
    let after = after.map_err(|()| Failure::invalid("after is the id of a revocation"))?;
    let (found, count) = shared.admin.orders.revocations().list(after, PAGE);
    let next = if found.len() == PAGE { found.last().map(|(id, _)| id.to_string()) } else { None };
    let shown = found.iter().map(|(id, in_force)| {
        let mut shown = json!({ "id": id.to_string(), "untilMs": in_force.until_ms });
        match &in_force.revocation {
            Revocation::Token { id } => shown["jti"] = Value::from(&**id),
            Revocation::User { sub, issued_before_ms } => {
                shown["sub"] = Value::from(&**sub);
                if let Some(before) = issued_before_ms {
                    shown["issuedBeforeMs"] = Value::from(*before);
                }
            }
        }
        shown
    });
    let shown: Vec<_> = shown.collect();
    Ok(Json(json!({ "revocations": shown, "count": count, "next": next })).into_response())
}

impl Moment {
    fn milliseconds(self) -> Result<i64, Failure> {
        match self {
            Self::Ms(ms) => Ok(ms),
            Self::Text(text) => {
                let parsed = async_nats::datetime::parse_rfc3339(&text).ok();
                let ms = parsed.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
                ms.ok_or_else(|| Failure::invalid("issuedBefore is RFC 3339 or milliseconds since 1970"))
            }
        }
    }
}

fn named(path: Named) -> Result<String, Failure> {
    path.map(|Path(name)| name).map_err(|_| Failure::invalid("the path is not UTF-8"))
}

fn message(body: Body) -> Result<String, Failure> {
    let Message { message } = answer::body(body)?;
    if message.is_empty() || message.chars().count() > MAX_MESSAGE_CHARS {
        return Err(Failure::invalid(format!("message has 1 to {MAX_MESSAGE_CHARS} characters")));
    }
    Ok(message)
}

fn done(order: &'static str, Issued { id, seq }: &Issued) -> Response {
    tracing::info!(who = "admin", order, %id, seq, "ordered");
    Json(json!({ "id": id, "seq": seq })).into_response()
}

/// `90m`, as times in the configuration.
mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| humantime::parse_duration(&text).map_err(D::Error::custom)).transpose()
    }
}
