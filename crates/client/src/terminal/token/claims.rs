//! What a token says, put together from the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::args::{Claims, Life, Moment};

/// The claims of a token made now.
pub(super) fn build(args: Claims, now: SystemTime) -> Result<Map<String, Value>, String> {
    let at = |wait: Duration| now.checked_add(wait).ok_or_else(|| "that is too far away".to_owned()).and_then(seconds);
    let not_before = match args.not_before {
        None => None,
        Some(Moment::At(moment)) => Some(seconds(moment)?),
        Some(Moment::FromNow(wait)) => Some(at(wait)?),
    };
    let Life(life) = args.expires_in;
    let audience = match &args.audience[..] {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    };
    let list = |patterns: Vec<String>| if patterns.is_empty() { Value::Null } else { json!(patterns) };
    let claims = json!({
        "sub": args.sub,
        "name": args.name,
        "tier": args.tier,
        "admin": args.admin.then_some(true),
        "allow": list(args.allow),
        "deny": list(args.deny),
        "jti": args.jti.unwrap_or_else(|| Uuid::now_v7().to_string()),
        "iat": seconds(now)?,
        "nbf": not_before,
        "exp": life.map(at).transpose()?,
        "iss": args.issuer,
        "aud": audience,
    });
    let Value::Object(mut claims) = claims else { return Err("no claims".to_owned()) };
    claims.retain(|_, value| !value.is_null());
    claims.extend(args.claims.unwrap_or_default());
    Ok(claims)
}

/// Since 1970, as tokens count.
fn seconds(moment: SystemTime) -> Result<u64, String> {
    moment.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(|_| "that was before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::super::args::{Args, Command};
    use super::*;

    fn claims(args: &[&str]) -> Value {
        let args = ["odin", "token", "--secret", "s", "--sub", "user-7"].into_iter().chain(args.iter().copied());
        let Command::Token(token) = Args::parse_from(args).command else { panic!("not token") };
        build(token.claims, UNIX_EPOCH + Duration::from_secs(1_000)).expect("possible").into()
    }

    #[test]
    fn says_no_more_than_it_was_told() {
        let claims = claims(&["--jti", "x"]);
        assert_eq!(claims, json!({"sub": "user-7", "jti": "x", "iat": 1_000, "exp": 4_600}));
    }

    #[test]
    fn says_all_that_it_was_told() {
        let claims = claims(&[
            "--name",
            "Ada",
            "--tier",
            "premium",
            "--admin",
            "--allow",
            "price:*",
            "--deny",
            "price:X",
            "--jti",
            "x",
            "--expires-in",
            "never",
            "--not-before",
            "10s",
            "--issuer",
            "me",
            "--audience",
            "a,b",
            "--claims",
            r#"{"limits":{"subscriptions":5},"iat":7,"name":null}"#,
        ]);
        let expected = json!({
            "sub": "user-7", "name": null, "tier": "premium", "admin": true, "allow": ["price:*"],
            "deny": ["price:X"], "jti": "x", "iat": 7, "nbf": 1_010, "iss": "me", "aud": ["a", "b"],
            "limits": {"subscriptions": 5},
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn every_token_has_a_name_of_its_own() {
        assert_ne!(claims(&[])["jti"], claims(&[])["jti"]);
        assert_eq!(claims(&["--audience", "one"])["aud"], json!("one"));
    }
}
