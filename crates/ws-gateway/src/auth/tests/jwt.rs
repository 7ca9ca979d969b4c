//! JSON Web Tokens, mostly forged ones.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Alg, EncodingKey};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::parts::{IssuerKey, KeyServer, Says, claims, hs256, now_s, sign, unsigned};
use super::*;

/// Where the public keys are in a file, which lasts as long as the second value.
fn with_public_keys(names: &[&str], keys: &[&IssuerKey]) -> (Config, NamedTempFile) {
    let mut file = NamedTempFile::new().expect("a file");
    for key in keys {
        writeln!(file, "a key\n{}", key.public_pem).expect("written");
    }
    let mut config = Config::default();
    config.auth.algorithms = algorithms(names);
    config.auth.public_key_file = Some(file.path().to_owned());
    (config, file)
}

fn signed(alg: Alg, key: &EncodingKey, claims: &Value) -> String {
    sign(&json!({"alg": format!("{alg:?}")}), claims, key, alg)
}

#[tokio::test]
async fn every_algorithm_is_checked_with_its_key() {
    let (rsa, p256, p384, ed) = (IssuerKey::rsa(), IssuerKey::p256(), IssuerKey::p384(), IssuerKey::ed25519());
    let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let (config, _file) = with_public_keys(&names, &[rsa, &p256, &p384, &ed]);
    let auth = authenticator(&config);
    for name in names {
        let alg: Alg = name.parse().expect("known");
        let key = match name {
            "ES256" => &p256,
            "ES384" => &p384,
            "EdDSA" => &ed,
            _ => rsa,
        };
        assert_eq!(auth.sub(&signed(alg, &key.private, &claims(name))).await.as_deref(), Ok(name));
        // A file has no ids, so whatever a token calls its key is right.
        let header = json!({"alg": name, "kid": "2026-07"});
        assert_eq!(auth.sub(&sign(&header, &claims(name), &key.private, alg)).await.as_deref(), Ok(name));
    }
    let mut config = with_secret();
    config.auth.algorithms = algorithms(&["HS256", "HS384", "HS512"]);
    let auth = authenticator(&config);
    for alg in [Alg::HS256, Alg::HS384, Alg::HS512] {
        let token = signed(alg, &EncodingKey::from_secret(SECRET.as_bytes()), &claims("a"));
        assert_eq!(auth.sub(&token).await.as_deref(), Ok("a"), "{alg:?}");
    }
}

/// Checklist 13: `alg: none`, in every spelling, with and without a signature.
#[tokio::test]
async fn a_token_that_wants_no_signature_is_refused() {
    let (config, _file) = with_public_keys(&["RS256"], &[IssuerKey::rsa()]);
    let auths = [authenticator(&config), authenticator(&with_secret())];
    let claims = claims("admin").to_string();
    for alg in ["none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256", "RS256\u{0}"] {
        let message = unsigned(&json!({ "alg": alg }).to_string(), &claims);
        let (_, good_signature) =
            hs256(&json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two");
        for signature in ["", "AA", &good_signature] {
            for auth in &auths {
                assert_eq!(auth.sub(&format!("{message}.{signature}")).await, failed(), "{alg:?} {signature:?}");
            }
        }
    }
    for header in ["{}", "{\"alg\":null}", "{\"alg\":[\"RS256\"]}", "{\"alg\":0}"] {
        for auth in &auths {
            assert_eq!(auth.sub(&format!("{}.AA", unsigned(header, &claims))).await, failed(), "{header}");
        }
    }
}

/// Checklist 13: HS256 signed with the text or the bytes of the RSA public key.
#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let rsa = IssuerKey::rsa();
    let (public_only, _file) = with_public_keys(&["RS256"], &[rsa]);
    let mut both = public_only.clone();
    both.auth.algorithms = algorithms(&["RS256", "HS256"]);
    both.auth.hs256_secret = Some(Secret::new(SECRET));
    let mut careless = public_only.clone();
    careless.auth.algorithms = algorithms(&["RS256", "HS256"]);
    for config in [&public_only, &both, &careless] {
        let auth = authenticator(config);
        assert!(auth.sub(&rsa.token(None, &claims("a"))).await.is_ok());
        let der: Vec<u8> = rsa
            .public_pem
            .lines()
            .filter(|line| !line.starts_with('-'))
            .flat_map(|line| base64::engine::general_purpose::STANDARD.decode(line).expect("base64"))
            .collect();
        let jwk = rsa.jwk(None);
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().expect("a text")).expect("base64");
        for secret in [rsa.public_pem.as_bytes(), rsa.public_pem.trim().as_bytes(), &der, &modulus, b""] {
            let token = signed(Alg::HS256, &EncodingKey::from_secret(secret), &claims("admin"));
            assert_eq!(auth.sub(&token).await, failed());
        }
    }
}

/// Checklist 13: an algorithm that would fit the key, but is not configured.
#[tokio::test]
async fn only_configured_algorithms_count() {
    let rsa = IssuerKey::rsa();
    let (config, _file) = with_public_keys(&["RS256"], &[rsa]);
    let auth = authenticator(&config);
    for alg in [Alg::RS384, Alg::RS512, Alg::PS256, Alg::PS384, Alg::PS512] {
        assert_eq!(auth.sub(&signed(alg, &rsa.private, &claims("a"))).await, failed(), "{alg:?}");
    }
    // Signed in one way, called another.
    let token = sign(&json!({"alg": "RS256"}), &claims("a"), &rsa.private, Alg::PS256);
    assert_eq!(auth.sub(&token).await, failed());
    let auth = authenticator(&with_secret());
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    assert_eq!(auth.sub(&signed(Alg::HS512, &secret, &claims("a"))).await, failed());
    assert_eq!(auth.sub(&rsa.token(None, &claims("a"))).await, failed());
}

/// Checklist 13: keys, certificates and addresses inside of the token.
#[tokio::test]
async fn what_a_token_brings_along_is_not_even_read() {
    let (honest, forger) = (IssuerKey::p256(), IssuerKey::p256());
    let forgers_server = KeyServer::start(Says::Keys(vec![forger.jwk(Some("k1"))])).await;
    let server = KeyServer::start(Says::Keys(vec![honest.jwk(Some("k1"))])).await;
    let (config, _file) = with_public_keys(&["ES256"], &[&honest]);
    let mut published = config.clone();
    published.auth.public_key_file = None;
    published.auth.jwks_url = Some(server.url());
    for config in [&config, &published] {
        let auth = authenticator(config);
        for (name, value) in [
            ("jwk", forger.jwk(Some("k1"))),
            ("jku", forgers_server.url().into()),
            ("x5u", forgers_server.url().into()),
            ("x5c", json!([forger.public_pem])),
            ("jwk", json!({"kty": "oct", "k": "AAAA"})),
            ("jwk", json!(7)),
        ] {
            for id in [None, Some("k1"), Some("k2")] {
                let mut header = json!({"alg": "ES256"});
                header[name] = value.clone();
                if let Some(id) = id {
                    header["kid"] = id.into();
                }
                let forged = sign(&header, &claims("admin"), &forger.private, Alg::ES256);
                assert_eq!(auth.sub(&forged).await, failed(), "{name} {id:?}");
                if id != Some("k2") {
                    let good = sign(&header, &claims("a"), &honest.private, Alg::ES256);
                    assert_eq!(auth.sub(&good).await.as_deref(), Ok("a"), "{name} does no harm either");
                }
            }
        }
    }
    assert_eq!(forgers_server.asked(), 0);
}

/// Checklist 13: extensions that must be understood, which none is.
#[tokio::test]
async fn a_critical_header_is_refused_whatever_it_says() {
    let auth = authenticator(&with_secret());
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for critical in [json!([]), json!(["exp"]), json!(["b64"]), json!(null), json!("x"), json!({})] {
        let header = json!({"alg": "HS256", "crit": critical, "b64": false});
        assert_eq!(auth.sub(&sign(&header, &claims("a"), &secret, Alg::HS256)).await, failed(), "{critical}");
    }
}

/// Checklist 13: headers that two readers would read differently.
#[tokio::test]
async fn an_ambiguous_header_is_refused() {
    let auth = authenticator(&with_secret());
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let deep = format!("{{\"alg\":\"HS256\",\"kid\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000));
    for header in [
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"none\",\"\\u0061lg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}",
        "{\"alg\":\"HS256\",\"kid\":7}",
        "{\"alg\":\"HS256\",\"kid\":{\"$ne\":null}}",
        "[\"HS256\"]",
        "[\"HS256\",null]",
        "\"HS256\"",
        "{\"alg\":\"HS256\"}{}",
        "{\"alg\":\"HS256\"",
        "",
        &deep,
    ] {
        let message = unsigned(header, &claims("a").to_string());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Alg::HS256).expect("a secret");
        let header = &header[..header.len().min(80)];
        assert_eq!(auth.sub(&format!("{message}.{signature}")).await, failed(), "{header}");
    }
    let long = json!({"alg": "HS256", "kid": "k".repeat(257)});
    assert_eq!(auth.sub(&sign(&long, &claims("a"), &secret, Alg::HS256)).await, failed());
}

/// Checklist 13: a token changed after it was signed, or not quite one.
#[tokio::test]
async fn a_token_is_taken_as_a_whole_or_not_at_all() {
    let auth = authenticator(&with_secret());
    let good = hs256(&claims("a"));
    assert_eq!(auth.sub(&good).await.as_deref(), Ok("a"));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!("three parts") };
    let others = URL_SAFE_NO_PAD.encode(claims("admin").to_string());
    for bad in [
        format!("{header}.{others}.{signature}"),
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!(".{body}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}=="),
        format!("{header}=.{body}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\u{0}"),
        format!("Bearer {good}"),
        format!("{header}.{body}.{signature}.{signature}"),
        good.replace('.', "\u{2024}"),
        good.to_uppercase(),
        format!("{header}.{body}.{}", &signature[..signature.len() - 1]),
        "..".to_owned(),
        ".".to_owned(),
        String::new(),
    ] {
        assert_eq!(auth.sub(&bad).await, failed(), "{bad:?}");
    }
}

/// Checklist 13: a token that costs more to look at than it should.
#[tokio::test]
async fn a_token_of_more_than_8_kib_is_refused() {
    let auth = authenticator(&with_secret());
    let with_padding = |bytes: usize| {
        let mut claims = claims("a");
        claims["padding"] = "x".repeat(bytes).into();
        hs256(&claims)
    };
    let (fits, too_long) = (with_padding(5_900), with_padding(6_200));
    assert!(fits.len() <= MAX_TOKEN_BYTES && too_long.len() > MAX_TOKEN_BYTES);
    assert!(auth.sub(&fits).await.is_ok());
    assert_eq!(auth.sub(&too_long).await, failed());
    assert_eq!(auth.sub(&"a".repeat(1 << 20)).await, failed());
}

/// Checklist 14: what is wrong is not told, but for a token that was right once.
#[tokio::test]
async fn only_a_token_that_was_right_once_is_called_expired() {
    let mut config = with_secret();
    config.auth.issuer = Some("https://id.example".to_owned());
    config.auth.audience = Some("odin".to_owned());
    let auth = authenticator(&config);
    let old = json!({"sub": "a", "iss": "https://id.example", "aud": ["odin"], "exp": now_s() - 3_600});
    assert_eq!(auth.sub(&hs256(&old)).await, Err(AuthError::Expired));
    let forged = sign(&json!({"alg": "HS256"}), &old, &EncodingKey::from_secret(b"another"), Alg::HS256);
    assert_eq!(auth.sub(&forged).await, failed());
    for (name, value) in [("iss", json!("https://evil.example")), ("aud", json!("other")), ("sub", json!(""))] {
        let mut claims = old.clone();
        claims[name] = value;
        assert_eq!(auth.sub(&hs256(&claims)).await, failed(), "{name}");
    }
    let mut late = old.clone();
    late["exp"] = (now_s() + 600).into();
    assert!(auth.sub(&hs256(&late)).await.is_ok());
    late["nbf"] = (now_s() + 300).into();
    assert_eq!(auth.sub(&hs256(&late)).await, failed());
}

#[tokio::test]
async fn two_keys_in_a_file_are_both_good_during_a_rotation() {
    let (old, new, other) = (IssuerKey::p256(), IssuerKey::p256(), IssuerKey::p256());
    let (config, _file) = with_public_keys(&["ES256"], &[&old, &new]);
    let auth = authenticator(&config);
    assert!(auth.sub(&old.token(None, &claims("a"))).await.is_ok());
    assert!(auth.sub(&new.token(Some("new"), &claims("a"))).await.is_ok());
    assert_eq!(auth.sub(&other.token(None, &claims("a"))).await, failed());
}

#[tokio::test]
async fn who_has_no_way_to_check_tokens_says_so() {
    let auth = authenticator(&Config::default());
    assert!(!auth.is_offered());
    assert_eq!(auth.sub(&hs256(&claims("a"))).await, unavailable());
    assert!(authenticator(&with_secret()).is_offered());
    assert!(!Authenticator::closed().is_offered());
    assert_eq!(Authenticator::closed().sub("x").await, unavailable());
}

/// The log says what was wrong with a token, and nothing of the token.
#[test]
fn the_log_knows_why_and_not_what() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic inside").extend_from_slice(line);
            Ok(line.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let ear = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || ear.clone())
        .finish();
    tracing::subscriber::with_default(log, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let auth = authenticator(&with_secret());
            let mut spied = claims("canary-sub");
            spied["name"] = "canary-name".into();
            let secret = EncodingKey::from_secret(b"canary-secret");
            let header = json!({"alg": "HS256", "kid": "canary-kid"});
            let forged = sign(&header, &spied, &secret, Alg::HS256);
            spied["exp"] = "canary-exp".into();
            for token in [forged, hs256(&spied), "canary-opaque".to_owned(), format!("{}.", unsigned("canary", "{}"))] {
                assert!(auth.sub(&token).await.is_err());
                let text = format!("{auth:?}");
                assert!(!text.contains(SECRET) && !text.contains("canary"), "{text}");
            }
        });
    });
    let text = String::from_utf8(lines.0.lock().expect("no panic inside").clone()).expect("text");
    assert_eq!(text.matches("token refused").count(), 4, "{text}");
    assert!(text.contains("signature is not that of the key") && !text.contains("canary"), "{text}");
    assert!(!text.contains("eyJ"), "no part of a token: {text}");
}
