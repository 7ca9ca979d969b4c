//! Who may control the gateway: whoever sends the operators' token.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Shared;
use super::answer::Failure;
use crate::config::Secret;

/// Between two log lines about refused requests.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Requests refused since the log last said so.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<(Option<Instant>, u64)>);

impl Refusals {
    fn note(&self) {
        let (logged_at, unlogged) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *unlogged += 1;
        if logged_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            tracing::warn!(requests = *unlogged, "requests without the admin token were refused");
            (*logged_at, *unlogged) = (Some(Instant::now()), 0);
        }
    }
}

/// Lets those through who send `Authorization: Bearer` and the token.
pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let token = shared.admin.current.borrow().config.admin.token.clone();
    let Some(token) = token else {
        let message = "this gateway has no admin.token, so nobody may control it";
        return Failure::new(StatusCode::FORBIDDEN, "admin_disabled", message).into_response();
    };
    if !given(request.headers()).is_some_and(|given| is_same(given, &token)) {
        shared.admin.metrics.control.admin_refused.count();
        shared.refusals.note();
        let message = "send the admin token: Authorization: Bearer <token>";
        let mut response = Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    next.run(request).await
}

/// The token of the request, if it has exactly one.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = one.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Takes as long whatever is the same: hashes are compared, and all of them.
fn is_same(given: &[u8], token: &Secret) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token.expose()));
    black_box(given.iter().zip(token).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| (header::AUTHORIZATION, value.parse().expect("a value")));
        values.collect()
    }

    #[test]
    fn takes_one_bearer_token_and_nothing_else() {
        assert_eq!(given(&headers(&["Bearer secret"])), Some(&b"secret"[..]));
        assert_eq!(given(&headers(&["bearer  secret"])), Some(&b" secret"[..]));
        for values in [&[][..], &["secret"], &["Basic secret"], &["Bearer"], &["Bearer secret", "Bearer secret"]] {
            assert_eq!(given(&headers(values)), None, "{values:?}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        let token = Secret::new("0123456789abcdef");
        assert!(is_same(b"0123456789abcdef", &token));
        for other in ["", "0123456789abcde", "0123456789abcdef ", "0123456789ABCDEF", "***"] {
            assert!(!is_same(other.as_bytes(), &token), "{other}");
        }
    }
}
