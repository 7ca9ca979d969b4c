//! Tokens as an issuer makes them, and configurations that believe it.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use ws_gateway::config::{Config, Secret};

/// What issuer and gateways of the tests share.
const SECRET: &str = "a secret of thirty-two bytes or more";

/// Lets users sign in with tokens of [`token`].
pub(crate) fn with_users(config: &mut Config) {
    config.auth.algorithms = vec!["HS256".parse().expect("an algorithm")];
    config.auth.hs256_secret = Some(Secret::new(SECRET));
    config.auth.leeway = std::time::Duration::ZERO;
}

/// Seconds since 1970, so many from now.
pub(crate) fn in_seconds(seconds: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("in range") + seconds
}

/// A token of this user with these claims besides; it lives for an hour unless they say otherwise.
pub(crate) fn token(sub: &str, claims: Value) -> String {
    let mut all = json!({ "sub": sub, "iat": in_seconds(-1), "exp": in_seconds(3600) });
    let members = all.as_object_mut().expect("an object");
    members.extend(claims.as_object().expect("an object").clone());
    encode(&Header::new(Algorithm::HS256), &all, &EncodingKey::from_secret(SECRET.as_bytes())).expect("encoded")
}
