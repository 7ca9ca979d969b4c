//! What a token says, for people. Nothing is verified.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use odin_client::{MAX_TOKEN_BYTES, printable};
use serde_json::{Value, json};

/// Header and claims as JSON, and remarks about them.
pub(super) fn show(token: &str, now: SystemTime) -> Result<(String, Vec<String>), String> {
    let token = token.trim();
    if token.len() > MAX_TOKEN_BYTES {
        return Err(format!("that is longer than a token, of {MAX_TOKEN_BYTES} bytes at most"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts[..] else {
        return Err("that is no token: it has three parts with dots between them".to_owned());
    };
    let (header, claims) = (decode("header", header)?, decode("claims", claims)?);
    let mut notes = vec!["not verified: anybody can write such a token".to_owned()];
    let times = [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")];
    notes.extend(times.into_iter().filter_map(|(name, what)| Some(format!("{what} {}", when(claims.get(name)?, now)))));
    let text = serde_json::to_string_pretty(&json!({"header": header, "claims": claims}));
    let text = text.map_err(|error| error.to_string())?;
    // JSON escapes some of what steers a terminal, not all
    let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
    Ok((text, notes))
}

fn decode(part: &str, text: &str) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("the token's {part} is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| format!("the token's {part} is not JSON"))
}

/// A moment of a token, in words.
fn when(value: &Value, now: SystemTime) -> String {
    let moment = value.as_f64().filter(|seconds| (0.0..253_402_300_800.0).contains(seconds));
    let Some(seconds) = moment else { return "at a time that is none".to_owned() };
    let moment = UNIX_EPOCH + Duration::from_secs_f64(seconds.trunc());
    let now = UNIX_EPOCH + Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let distance = match moment.duration_since(now) {
        Ok(left) => format!("in {}", humantime::format_duration(left)),
        Err(gone) => format!("{} ago", humantime::format_duration(gone.duration())),
    };
    format!("{}, {distance}", humantime::format_rfc3339_seconds(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2lnbmF0dXJl\n", part(r#"{"alg":"HS256"}"#), part(claims))
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    #[test]
    fn shows_header_claims_and_times() {
        let (text, notes) =
            show(&token(r#"{"sub":"user-7","exp":1767229200,"iat":1767225590.5}"#), now()).expect("a token");
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&shown["header"]["alg"], &shown["claims"]["sub"]), (&json!("HS256"), &json!("user-7")));
        assert_eq!(
            notes,
            [
                "not verified: anybody can write such a token",
                "issued 2025-12-31T23:59:50Z, 10s ago",
                "expires 2026-01-01T01:00:00Z, in 1h",
            ]
        );
    }

    /// Checklist 14: times that are none. Checklist 60: a claim must not steer the terminal.
    #[test]
    fn survives_hostile_claims() {
        for exp in ["-1", "9223372036854775808", "1e300", "\"x\"", "{}", "253402300800"] {
            let (_, notes) = show(&token(&format!(r#"{{"exp":{exp}}}"#)), now()).expect(exp);
            assert_eq!(notes[1], "expires at a time that is none", "{exp}");
        }
        let (text, _) = show(&token("{\"sub\":\"a\\u001b[2J\u{9b}2J\u{202e}\"}"), now()).expect("a token");
        assert!(text.lines().all(|line| !line.chars().any(char::is_control) && !line.contains('\u{202e}')), "{text:?}");
    }

    #[test]
    fn says_what_is_no_token_without_repeating_it() {
        let not_json = URL_SAFE_NO_PAD.encode("{");
        for text in
            ["", "odin_hidden", "a.b", "a.b.c.d", "!hidden!.e30.x", &format!("e30.{not_json}.x"), &"x".repeat(20_000)]
        {
            let refused = show(text, now()).expect_err(text);
            assert!(!refused.contains("hidden"), "{refused}");
        }
        let deep = token(&"[".repeat(9_000));
        assert!(show(&deep, now()).is_err());
    }
}
