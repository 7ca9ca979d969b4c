//! Anything at all as a token, as claims, as a set of keys: no panic, and nobody comes in.

use std::sync::LazyLock;

use futures_util::FutureExt as _;
use jsonwebtoken::{Algorithm as Alg, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::parts::{claims, hs256, now_s, sign, unsigned};
use super::*;
use crate::auth::keys::KeySet;

static AUTH: LazyLock<Authenticator> = LazyLock::new(|| {
    let mut config = with_secret();
    let no_key = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let (name, tier, admin, allow, deny, limits) = (None, None, false, None, None, None);
    let (hash, sub) = (no_key.to_owned(), "nobody".to_owned());
    config.auth.api_keys.push(crate::config::ApiKey { hash, sub, name, tier, admin, allow, deny, limits });
    authenticator(&config)
});

/// Nothing is waited for: no endpoint, no service.
fn check(token: &str) -> Result<Arc<User>, AuthError> {
    AUTH.check(token, &visit()).now_or_never().expect("at once")
}

/// JSON of any shape.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[a-z]{1,8}(:[A-Z*]{1,4})?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{0,12}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Claims with names that mean something and values that may not.
fn any_claims() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "sub", "name", "tier", "admin", "allow", "deny", "limits", "exp", "nbf", "iat", "iss", "aud", "jti", "x",
    ]);
    let value = prop_oneof![
        3 => any_json(),
        1 => (0_u64..10_000_000_000).prop_map(Value::from),
        1 => Just(Value::from(now_s() + 600)),
        1 => "[ -~]{0,140}".prop_map(Value::from),
    ];
    prop::collection::vec((name, value), 0..10)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nobody_comes_in_with_any_text(token in ".{0,200}") {
        prop_assert!(check(&token).is_err());
        let key = format!("odin_{token}");
        prop_assert!(check(&key).is_err());
    }

    #[test]
    fn nobody_comes_in_with_three_parts_of_anything(
        header in prop::collection::vec(any::<u8>(), 0..80),
        claims in prop::collection::vec(any::<u8>(), 0..80),
        signature in "[A-Za-z0-9_-]{0,90}",
    ) {
        let message = unsigned(&String::from_utf8_lossy(&header), &String::from_utf8_lossy(&claims));
        let token = format!("{message}.{signature}");
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn nobody_comes_in_with_any_header_and_a_signature_of_his_own(header in any_json(), name in any_json()) {
        let forged = EncodingKey::from_secret(b"not the secret");
        for header in [header.clone(), json!({"alg": "HS256", "kid": name, "jwk": header})] {
            prop_assert!(check(&sign(&header, &claims("admin"), &forged, Alg::HS256)).is_err());
        }
    }

    #[test]
    fn a_token_with_one_byte_changed_is_another_token(place in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let good = hs256(&claims("a"));
        let place = place.index(good.len());
        prop_assume!(good.as_bytes()[place] != byte);
        let mut changed = good.into_bytes();
        changed[place] = byte;
        prop_assert!(check(std::str::from_utf8(&changed).expect("ASCII")).is_err());
    }

    #[test]
    fn whoever_the_issuer_vouches_for_has_a_name_and_an_end(claims in any_claims()) {
        if let Ok(user) = check(&hs256(&claims)) {
            prop_assert!(!user.sub.is_empty() && user.sub.len() <= 128 && !user.sub.chars().any(char::is_control));
            prop_assert!(user.expires_at_ms.is_some_and(|end| end > 0));
            prop_assert_eq!(user.allow.is_some(), claims.get("allow").is_some());
            prop_assert_eq!(user.is_admin, claims.get("admin") == Some(&Value::Bool(true)));
        }
    }

    #[test]
    fn any_set_of_keys_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in prop::sample::select(vec!["RSA", "EC", "OKP", "oct", ""]),
        curve in prop::sample::select(vec!["P-256", "P-384", "P-521", "Ed25519", ""]),
        parts in prop::collection::vec(prop_oneof!["[A-Za-z0-9_-]{0,90}", "A{43}", "[A-Za-z0-9_-]{342}"], 4),
        other in any_json(),
    ) {
        let _ = KeySet::from_jwks(&bytes);
        let _ = KeySet::from_pem(&String::from_utf8_lossy(&bytes));
        let jwk = json!({
            "kty": kind, "crv": curve, "n": parts[0], "e": parts[1], "x": parts[2], "y": parts[3], "kid": other,
        });
        let _ = KeySet::from_jwks(json!({"keys": [jwk, other]}).to_string().as_bytes());
        let _ = KeySet::from_jwks(other.to_string().as_bytes());
    }
}
