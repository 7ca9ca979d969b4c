//! What a client is told that does not get a connection: a status, a code for programs, a text for people, and when to
//! come back. Neither says anything of tokens, keys or other clients.

use std::borrow::Cow;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use odin_protocol::{error::ErrorCode, message::ErrorMessage};
use serde::Serialize;

use crate::{addresses::AddressLimitReached, auth::AuthError, cluster::UserLimitReached, metrics::HandshakeRefusal};

/// When to come back. Drawn anew each time, so that those who were refused together do not return together.
#[derive(Debug, Clone, Copy)]
enum Retry {
    /// What is short comes back within a second or so.
    Soon,
    /// Somebody has to leave first.
    Later,
}

impl Retry {
    fn draw_s(self) -> u64 {
        match self {
            Retry::Soon => rand::random_range(1..=3),
            Retry::Later => rand::random_range(5..=15),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it is counted as.
    pub(crate) reason: HandshakeRefusal,
    status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    limit: Option<u64>,
    retry_after_s: Option<u64>,
}

/// The body: `{"error":{…}}`.
#[derive(Debug, Serialize)]
struct Body<'a> {
    error: BodyError<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BodyError<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Refusal {
    const fn new(reason: HandshakeRefusal, status: StatusCode, code: &'static str, message: &'static str) -> Self {
        let (code, message) = (Cow::Borrowed(code), Cow::Borrowed(message));
        Self { reason, status, code, message, limit: None, retry_after_s: None }
    }

    fn retry(self, retry: Retry) -> Self {
        Self { retry_after_s: Some(retry.draw_s()), ..self }
    }

    /// 400, with what is wrong with the request.
    pub(crate) const fn bad_request(message: &'static str) -> Self {
        Self::new(HandshakeRefusal::BadRequest, StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404
    pub(crate) const fn not_found() -> Self {
        let message = "there is nothing at this path";
        Self::new(HandshakeRefusal::NotFound, StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405
    pub(crate) const fn method_not_allowed() -> Self {
        let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "the handshake is a GET");
        Self::new(HandshakeRefusal::BadRequest, status, "method_not_allowed", message)
    }

    /// 405, of a request that is no handshake.
    pub(crate) const fn other_method() -> Self {
        let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "the path has other methods");
        // The router knows which ones, and says so.
        Self::new(HandshakeRefusal::NotFound, status, "method_not_allowed", message)
    }

    /// 413
    pub(crate) const fn too_large() -> Self {
        let (status, message) = (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than a message may be");
        Self::new(HandshakeRefusal::BadRequest, status, "message_too_big", message)
    }

    /// 408
    pub(crate) const fn too_slow() -> Self {
        let (status, message) = (StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        Self::new(HandshakeRefusal::Timeout, status, "request_timeout", message)
    }

    /// 404: there is a channel, and nothing in it.
    pub(crate) const fn no_value() -> Self {
        let message = "nothing was published to this channel yet";
        Self::new(HandshakeRefusal::NotFound, StatusCode::NOT_FOUND, "no_value", message)
    }

    /// 410: the cursor is of no use, for one of the reasons of a resume.
    pub(crate) fn gone(reason: &str) -> Self {
        let message = "the cursor is of no use; ask without one";
        let refusal = Self::new(HandshakeRefusal::BadRequest, StatusCode::GONE, "", message);
        Self { code: Cow::Owned(reason.to_owned()), ..refusal }
    }

    /// What the protocol answers, as HTTP says it.
    pub(crate) fn of(code: ErrorCode, message: &str) -> Self {
        Self::of_error(&ErrorMessage::new(None, code, message))
    }

    /// The same with everything the protocol says.
    pub(crate) fn of_error(error: &ErrorMessage) -> Self {
        let (status, reason) = status_of(error.code);
        let refusal = Self::new(reason, status, error.code.as_str(), "");
        let retry_s = error.retry_after_ms.map(|ms| ms.div_ceil(1000));
        let refusal = match retry_s {
            None if error.code.retry() => refusal.retry(Retry::Soon),
            retry_after_s => Self { retry_after_s, ..refusal },
        };
        Self { message: Cow::Owned(error.message.clone()), limit: error.limit, ..refusal }
    }

    /// 426, with what is missing.
    pub(crate) const fn upgrade_required(message: &'static str) -> Self {
        Self::new(HandshakeRefusal::BadRequest, StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
    }

    const fn forbidden(reason: HandshakeRefusal, code: &'static str, message: &'static str) -> Self {
        Self::new(reason, StatusCode::FORBIDDEN, code, message)
    }

    /// 403: the page may not connect.
    pub(crate) const fn origin() -> Self {
        Self::forbidden(HandshakeRefusal::Origin, "origin_not_allowed", "this origin may not connect")
    }

    /// 403: whoever says no origin may not connect.
    pub(crate) const fn origin_missing() -> Self {
        Self::forbidden(HandshakeRefusal::Origin, "origin_not_allowed", "the handshake needs an Origin")
    }

    /// 403: the client did not come by TLS.
    pub(crate) const fn insecure() -> Self {
        Self::forbidden(HandshakeRefusal::Insecure, "insecure_transport", "connect by TLS (wss)")
    }

    const fn unauthorized(reason: HandshakeRefusal, code: &'static str, message: &'static str) -> Self {
        Self::new(reason, StatusCode::UNAUTHORIZED, code, message)
    }

    /// 401: there is a token, and nobody could ever check it.
    pub(crate) const fn no_auth() -> Self {
        let message = "this gateway has no authentication";
        Self::unauthorized(HandshakeRefusal::AuthUnavailable, "auth_unavailable", message)
    }

    const fn overloaded(reason: HandshakeRefusal, message: &'static str) -> Self {
        Self::new(reason, StatusCode::SERVICE_UNAVAILABLE, "try_again_later", message)
    }

    /// 503: the gateway holds as many connections as it may.
    pub(crate) fn full() -> Self {
        Self::overloaded(HandshakeRefusal::Capacity, "no room for another connection").retry(Retry::Later)
    }

    /// 503: a connection more could cost all of them.
    pub(crate) fn memory() -> Self {
        Self::overloaded(HandshakeRefusal::Memory, "no memory for another connection").retry(Retry::Later)
    }

    /// 503: more connections come than the gateway lets in.
    pub(crate) fn too_fast() -> Self {
        Self::overloaded(HandshakeRefusal::Rate, "too many new connections").retry(Retry::Soon)
    }

    /// The whole answer as HTTP/1.1 has it, for whoever is refused before a request was read.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        use std::io::Write;

        let body = self.body();
        let mut bytes = Vec::with_capacity(512);
        let reason = self.status.canonical_reason().unwrap_or_default();
        let written = (|| {
            write!(bytes, "HTTP/1.1 {} {reason}\r\n", self.status.as_u16())?;
            for (name, value) in self.headers() {
                write!(bytes, "{name}: ")?;
                bytes.extend_from_slice(value.as_bytes());
                write!(bytes, "\r\n")?;
            }
            write!(bytes, "content-length: {}\r\n\r\n", body.len())
        })();
        written.expect("a vector takes everything");
        bytes.extend_from_slice(&body);
        bytes
    }

    fn body(&self) -> Vec<u8> {
        let error = BodyError {
            code: &self.code,
            message: &self.message,
            limit: self.limit,
            retry_after_ms: self.retry_after_s.map(|seconds| seconds * 1000),
        };
        serde_json::to_vec(&Body { error }).expect("texts and numbers")
    }

    /// All of them but the body's length. A connection has one request.
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let connection = if self.status == StatusCode::UPGRADE_REQUIRED { "upgrade, close" } else { "close" };
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CONNECTION, HeaderValue::from_static(connection)),
            // RFC 9111 §4.2.2: of some of them a cache could make up how long they are good.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if let Some(seconds) = self.retry_after_s {
            headers.push((header::RETRY_AFTER, seconds.into()));
        }
        match self.status {
            // RFC 9110 §15.5.6
            StatusCode::METHOD_NOT_ALLOWED if self.reason == HandshakeRefusal::BadRequest => {
                headers.push((header::ALLOW, HeaderValue::from_static("GET")));
            }
            // RFC 6455 §4.4, RFC 9110 §15.5.22
            StatusCode::UPGRADE_REQUIRED => headers.extend([
                (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
                (header::UPGRADE, HeaderValue::from_static("websocket")),
            ]),
            // RFC 9110 §15.5.2, RFC 6750 §3: nothing is wrong with a token that is not there.
            StatusCode::UNAUTHORIZED => {
                let challenge = match &*self.code {
                    "auth_failed" => "Bearer error=\"invalid_token\"",
                    _ => "Bearer",
                };
                headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
            }
            _ => {}
        }
        headers
    }
}

impl From<AddressLimitReached> for Refusal {
    fn from(reached: AddressLimitReached) -> Self {
        let (limit, code, message, retry) = match reached {
            AddressLimitReached::Connections { limit } => {
                (limit, "too_many_connections", "the address has as many connections as allowed", Retry::Later)
            }
            AddressLimitReached::Rate { limit } => {
                (limit, "rate_limited", "the address connects too often", Retry::Soon)
            }
        };
        let refusal = Self::new(HandshakeRefusal::Address, StatusCode::TOO_MANY_REQUESTS, code, message);
        Self { limit: Some(limit.into()), ..refusal }.retry(retry)
    }
}

impl From<UserLimitReached> for Refusal {
    fn from(reached: UserLimitReached) -> Self {
        let message = "the user has as many connections as allowed";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let refusal = Self::new(HandshakeRefusal::UserLimit, status, "too_many_connections", message);
        Self { limit: Some(reached.limit.into()), ..refusal }.retry(Retry::Later)
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let failed = |message| Self::unauthorized(HandshakeRefusal::Unauthorized, "auth_failed", message);
        match error {
            AuthError::Failed => failed("the token is not valid"),
            AuthError::Expired => failed("the token has expired"),
            AuthError::Revoked => failed("the token was revoked"),
            AuthError::Unavailable => {
                let (reason, status) = (HandshakeRefusal::AuthUnavailable, StatusCode::SERVICE_UNAVAILABLE);
                Self::new(reason, status, "auth_unavailable", "tokens cannot be checked at present").retry(Retry::Soon)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        for (name, value) in self.headers() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// `docs/http.md`, Errors.
fn status_of(code: ErrorCode) -> (StatusCode, HandshakeRefusal) {
    match code {
        ErrorCode::AuthRequired | ErrorCode::AuthFailed => (StatusCode::UNAUTHORIZED, HandshakeRefusal::Unauthorized),
        ErrorCode::Forbidden => (StatusCode::FORBIDDEN, HandshakeRefusal::BadRequest),
        ErrorCode::UnknownChannel => (StatusCode::NOT_FOUND, HandshakeRefusal::NotFound),
        ErrorCode::MessageTooBig => (StatusCode::PAYLOAD_TOO_LARGE, HandshakeRefusal::BadRequest),
        ErrorCode::InvalidPayload => (StatusCode::UNPROCESSABLE_ENTITY, HandshakeRefusal::BadRequest),
        ErrorCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, HandshakeRefusal::Rate),
        ErrorCode::TooManyConnections => (StatusCode::TOO_MANY_REQUESTS, HandshakeRefusal::UserLimit),
        ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, HandshakeRefusal::Capacity),
        ErrorCode::AuthUnavailable => (StatusCode::SERVICE_UNAVAILABLE, HandshakeRefusal::AuthUnavailable),
        ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, HandshakeRefusal::Internal),
        _ => (StatusCode::BAD_REQUEST, HandshakeRefusal::BadRequest),
    }
}

/// The head of a response as HTTP/1.1 has it, for a body without an end.
pub(super) fn head_of(response: &Response) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let reason = response.status().canonical_reason().unwrap_or_default();
    head.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", response.status().as_u16()).as_bytes());
    // The router says that nothing follows, which is not so.
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::metrics::Label;

    #[tokio::test]
    async fn says_the_same_with_and_without_a_request() {
        let refusal = Refusal::from(AddressLimitReached::Connections { limit: 7 });
        let bytes = String::from_utf8(refusal.to_bytes()).expect("text");
        let (head, body) = bytes.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let response = refusal.into_response();
        assert_eq!(response.status(), 429);
        for (name, value) in response.headers() {
            assert!(head.contains(&format!("{name}: {}", value.to_str().expect("text"))), "{head}");
        }
        assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), body);
        let body: serde_json::Value = serde_json::from_str(body).expect("json");
        assert_eq!(body["error"]["code"], "too_many_connections");
        assert_eq!(body["error"]["limit"], 7);
        assert!(body["error"]["retryAfterMs"].as_u64().is_some_and(|ms| (5000..=15_000).contains(&ms)));
    }

    #[test]
    fn says_of_a_token_what_its_owner_may_know() {
        for (error, text) in
            [(AuthError::Failed, "not valid"), (AuthError::Expired, "expired"), (AuthError::Revoked, "revoked")]
        {
            let answer = String::from_utf8(Refusal::from(error).to_bytes()).expect("text");
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
            assert!(answer.contains("www-authenticate: Bearer error=\"invalid_token\"\r\n"), "{answer}");
            assert!(answer.contains("\"code\":\"auth_failed\"") && answer.contains(text), "{answer}");
            assert!(!answer.contains("retry"), "{answer}");
        }
        let answer = String::from_utf8(Refusal::from(AuthError::Unavailable).to_bytes()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "), "{answer}");
        assert!(answer.contains("\"code\":\"auth_unavailable\""), "{answer}");
        let answer = String::from_utf8(Refusal::from(UserLimitReached { limit: 3 }).to_bytes()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("\"limit\":3"), "{answer}");
    }

    #[test]
    fn the_manual_has_every_refusal_and_every_reason() {
        let manual = include_str!("../../../../docs/operations/front-door.md");
        let refusals = [
            Refusal::bad_request(""),
            Refusal::no_auth(),
            Refusal::origin(),
            Refusal::origin_missing(),
            Refusal::insecure(),
            Refusal::not_found(),
            Refusal::method_not_allowed(),
            Refusal::upgrade_required(""),
            Refusal::full(),
            Refusal::memory(),
            Refusal::too_fast(),
            AddressLimitReached::Connections { limit: 1 }.into(),
            AddressLimitReached::Rate { limit: 1 }.into(),
            UserLimitReached { limit: 1 }.into(),
            AuthError::Failed.into(),
            AuthError::Unavailable.into(),
        ];
        for refusal in refusals {
            let seconds = refusal.retry_after_s.map(|seconds| if seconds > 3 { "5 to 15 s" } else { "1 to 3 s" });
            let row = format!("\n| {} | `{}` | {}", refusal.status.as_u16(), refusal.code, seconds.unwrap_or("| "));
            assert!(manual.contains(&row), "{row}");
        }
        for reason in HandshakeRefusal::all() {
            assert!(manual.contains(&format!("\n| `{}` | ", reason.as_str())), "{reason:?}");
        }
    }

    #[test]
    fn does_not_call_everybody_back_at_once() {
        let mut drawn: Vec<_> = (0..200).map(|_| Refusal::full().retry_after_s).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() > 3, "{drawn:?}");
    }
}
