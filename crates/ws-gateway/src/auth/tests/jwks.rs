//! Keys at a URL: rotation, an endpoint in trouble, and tokens that try to make it be read.

use jsonwebtoken::Algorithm as Alg;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::parts::{IssuerKey, KeyServer, Says, claims, sign};
use super::*;
use crate::{
    auth::jwks::{Reader, Trust},
    metrics::Outcome,
};

/// Longer than any test: what happens then does not happen.
const NEVER: Duration = Duration::from_secs(3_600);

/// Where ES256 keys are published, and read again only when a token asks for it.
fn published(url: &str) -> Config {
    let mut config = Config::default();
    config.auth.algorithms = algorithms(&["ES256"]);
    config.auth.jwks_url = Some(url.to_owned());
    config.auth.jwks_refresh = NEVER;
    config.auth.jwks_cooldown = NEVER;
    config
}

fn reads(auth: &Authenticator, outcome: Outcome) -> u64 {
    auth.metrics().jwks_reads.of(outcome).get()
}

/// Checklist 16: after a rotation the new key works at once, the old one until it is removed.
#[tokio::test]
async fn keys_rotate_without_a_token_lost() {
    let (old, new) = (IssuerKey::p256(), IssuerKey::p256());
    let server = KeyServer::start(Says::Keys(vec![old.jwk(Some("old"))])).await;
    let mut config = published(&server.url());
    config.auth.jwks_cooldown = Duration::from_millis(1);
    let auth = authenticator(&config);
    assert_eq!(auth.sub(&old.token(Some("old"), &claims("a"))).await.as_deref(), Ok("a"));
    assert_eq!(auth.sub(&new.token(Some("new"), &claims("a"))).await, failed());
    server.say(Says::Keys(vec![old.jwk(Some("old")), new.jwk(Some("new"))]));
    tokio::time::sleep(config.auth.jwks_cooldown).await;
    assert_eq!(auth.sub(&new.token(Some("new"), &claims("b"))).await.as_deref(), Ok("b"));
    assert_eq!(auth.sub(&old.token(Some("old"), &claims("a"))).await.as_deref(), Ok("a"));
    server.say(Says::Keys(vec![new.jwk(Some("new"))]));
    tokio::time::sleep(config.auth.jwks_cooldown).await;
    assert_eq!(auth.sub(&new.token(Some("newer"), &claims("b"))).await, failed());
    assert_eq!(auth.sub(&old.token(Some("old"), &claims("a"))).await, failed(), "it was removed");
    assert!(auth.sub(&new.token(Some("new"), &claims("b"))).await.is_ok());
}

/// Checklist 16: a key that was removed is forgotten by the clock alone.
#[tokio::test]
async fn keys_are_read_again_when_no_token_asks_for_it() {
    let (old, new) = (IssuerKey::p256(), IssuerKey::p256());
    let server = KeyServer::start(Says::Keys(vec![old.jwk(Some("k"))])).await;
    let mut config = published(&server.url());
    config.auth.jwks_refresh = Duration::from_millis(20);
    let auth = authenticator(&config);
    let token = old.token(Some("k"), &claims("a"));
    assert!(auth.sub(&token).await.is_ok());
    server.say(Says::Keys(vec![new.jwk(Some("k"))]));
    in_time("the new key", async {
        while auth.sub(&token).await.is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert!(auth.sub(&new.token(Some("k"), &claims("a"))).await.is_ok());
    assert!(auth.metrics().jwks_read_at_ms.get() > 0);
}

/// Checklist 16: ten thousand unknown key ids, among them paths and SQL: one reading in a cooldown.
/// Checklist 13: unknown `kid`, `kid` with a path or SQL.
#[tokio::test]
async fn tokens_with_unknown_keys_cause_one_reading_in_a_cooldown() {
    let key = IssuerKey::p256();
    let server = KeyServer::start(Says::Keys(vec![key.jwk(Some("k"))])).await;
    let auth = Arc::new(authenticator(&published(&server.url())));
    assert!(auth.sub(&key.token(Some("k"), &claims("a"))).await.is_ok());
    assert_eq!(server.asked(), 1);
    let hostile =
        ["../../../../etc/passwd", "k'; DROP TABLE users; --", "http://evil.example/", "", "k\u{0}", "K", "%6b"];
    for wave in 0..100_usize {
        let mut attempts = tokio::task::JoinSet::new();
        for number in wave * 100..(wave + 1) * 100 {
            let id = hostile.get(number).map_or_else(|| format!("unknown-{number}"), |id| (*id).to_owned());
            // The signature is not looked at without a key.
            let header = json!({"alg": "ES256", "kid": id});
            let token = format!("{}.AAAA", super::parts::unsigned(&header.to_string(), &claims("a").to_string()));
            let auth = auth.clone();
            attempts.spawn(async move { auth.sub(&token).await });
        }
        while let Some(attempt) = in_time("an attempt", attempts.join_next()).await {
            assert_eq!(attempt.expect("no panic"), failed());
        }
    }
    assert_eq!(server.asked(), 2, "the first, and one for all of them");
    assert!(auth.sub(&key.token(Some("k"), &claims("a"))).await.is_ok());
}

/// Checklist 16: an endpoint that is down, slow, endless or talks nonsense: the last good set stays in use, each failure
/// is counted, and whether an unknown key is a new one cannot be said.
#[tokio::test]
async fn with_the_endpoint_in_trouble_the_last_good_keys_stay() {
    let (key, other) = (IssuerKey::p256(), IssuerKey::p256());
    let keys = Says::Keys(vec![key.jwk(Some("k"))]);
    let elsewhere = KeyServer::start(keys.clone()).await;
    let server = KeyServer::start(keys.clone()).await;
    let mut config = published(&server.url());
    config.auth.jwks_cooldown = Duration::from_millis(1);
    config.auth.jwks_timeout = Duration::from_millis(300);
    config.auth.jwks_bytes = 64 * 1024;
    let auth = authenticator(&config);
    let (known, unknown) = (key.token(Some("k"), &claims("a")), key.token(Some("x"), &claims("a")));
    assert!(auth.sub(&known).await.is_ok());
    let mut symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "x"});
    symmetric["alg"] = "HS256".into();
    for trouble in [
        Says::Status("500 Internal Server Error", String::new()),
        Says::Status("404 Not Found", String::new()),
        Says::Status("204 No Content", String::new()),
        Says::Status("302 Found", format!("location: {}\r\n", elsewhere.url())),
        Says::Status("301 Moved Permanently", format!("location: {}\r\n", elsewhere.url())),
        Says::Nothing,
        Says::Endless,
        Says::Half,
        Says::Text(String::new()),
        Says::Text("<html>".to_owned()),
        Says::Text("{}".to_owned()),
        Says::Text("[]".to_owned()),
        Says::Text("{\"keys\":{}}".to_owned()),
        Says::Text(format!("{{\"keys\":{}1{}}}", "[".repeat(9_000), "]".repeat(9_000))),
        Says::Text(json!({"keys": vec![other.jwk(Some("x")); 200]}).to_string()),
        Says::Text(format!("{}{}", json!({"keys": [other.jwk(Some("x"))]}), " ".repeat(64 * 1024))),
        Says::Keys(vec![]),
        Says::Keys(vec![symmetric, json!({"kty": "EC"}), json!(7)]),
    ] {
        let (failures, said) = (reads(&auth, Outcome::Failed), format!("{trouble:?}"));
        server.say(trouble);
        in_time("a reading that fails", async {
            // The clock may have read just before.
            while reads(&auth, Outcome::Failed) == failures {
                tokio::time::sleep(LOOK).await;
                assert_ne!(auth.sub(&unknown).await.as_deref(), Ok("a"));
            }
        })
        .await;
        assert_eq!(auth.sub(&unknown).await, unavailable(), "{said:.200}");
        assert!(auth.sub(&known).await.is_ok(), "{said:.200}");
        server.say(keys.clone());
        until_current(&auth, &unknown).await;
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
}

/// Until the endpoint has been read again with success.
async fn until_current(auth: &Authenticator, unknown: &str) {
    in_time("a good reading", async {
        while auth.sub(unknown).await != failed() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// Checklist 16: nobody answers at the start: tokens cannot be checked until somebody does, and then they are.
#[tokio::test]
async fn before_the_first_reading_nobody_can_say() {
    let key = IssuerKey::p256();
    let server = KeyServer::start(Says::Status("503 Service Unavailable", String::new())).await;
    let mut config = published(&server.url());
    config.auth.jwks_cooldown = Duration::from_millis(1);
    let auth = authenticator(&config);
    let token = key.token(Some("k"), &claims("a"));
    for token in [&token, &key.token(None, &claims("a")), &key.token(Some("x"), &claims("a"))] {
        assert_eq!(auth.sub(token).await, unavailable());
    }
    server.say(Says::Keys(vec![key.jwk(Some("k"))]));
    in_time("the first keys", async {
        while auth.sub(&token).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    // The same where nothing listens at all.
    let address = server.address;
    drop(server);
    let auth = authenticator(&published(&format!("http://{address}/jwks.json")));
    assert_eq!(auth.sub(&token).await, unavailable());
}

/// Checklist 13: a good signature by a key that is not for this.
#[tokio::test]
async fn a_key_is_used_only_for_what_it_is_meant_for() {
    let rsa = IssuerKey::rsa();
    let (p256, ed) = (IssuerKey::p256(), IssuerKey::ed25519());
    let but = |key: &IssuerKey, name: &str, value: Value| {
        let mut jwk = key.jwk(Some(&format!("{name}-{value}")));
        jwk[name] = value.clone();
        (jwk, format!("{name}-{value}"))
    };
    let refused = [
        but(rsa, "use", "enc".into()),
        but(rsa, "use", "".into()),
        but(rsa, "key_ops", json!(["sign"])),
        but(rsa, "key_ops", json!([])),
        but(rsa, "alg", "RS512".into()),
        but(rsa, "alg", "PS256".into()),
        but(rsa, "alg", "RSA-OAEP".into()),
        but(rsa, "alg", "ES256".into()),
        but(rsa, "alg", "HS256".into()),
        but(rsa, "kty", "EC".into()),
        but(rsa, "kty", "rsa".into()),
        but(rsa, "e", "AQ".into()),
        but(rsa, "n", "AQAB".into()),
    ];
    let taken = [
        but(rsa, "use", "sig".into()),
        but(rsa, "key_ops", json!(["sign", "verify"])),
        but(rsa, "alg", "RS256".into()),
        but(rsa, "x5c", json!([1])),
    ];
    let mut keys: Vec<Value> = refused.iter().chain(&taken).map(|(jwk, _)| jwk.clone()).collect();
    keys.extend([p256.jwk(Some("ec")), ed.jwk(Some("ed"))]);
    let server = KeyServer::start(Says::Keys(keys)).await;
    let mut config = published(&server.url());
    config.auth.algorithms = algorithms(&["RS256", "ES256", "EdDSA"]);
    let auth = authenticator(&config);
    for (_, id) in &refused {
        assert_eq!(auth.sub(&rsa.token(Some(id), &claims("a"))).await, failed(), "{id}");
    }
    for (_, id) in &taken {
        assert_eq!(auth.sub(&rsa.token(Some(id), &claims("a"))).await.as_deref(), Ok("a"), "{id}");
    }
    // A token that says one kind of signature and names a key of another.
    for (alg, signer, alg_of_signer, id) in [
        ("RS256", rsa, Alg::RS256, "ec"),
        ("ES256", &p256, Alg::ES256, "ed"),
        ("EdDSA", &ed, Alg::EdDSA, "ec"),
        ("EdDSA", &ed, Alg::EdDSA, "alg-\"RS256\""),
    ] {
        let token = sign(&json!({"alg": alg, "kid": id}), &claims("a"), &signer.private, alg_of_signer);
        assert_eq!(auth.sub(&token).await, failed(), "{alg} {id}");
    }
    // Without an id, whatever fits.
    for key in [rsa, &p256, &ed] {
        assert_eq!(auth.sub(&key.token(None, &claims("a"))).await.as_deref(), Ok("a"));
    }
}

#[tokio::test]
async fn keys_are_read_by_tls_from_whom_the_system_trusts() {
    let key = IssuerKey::p256();
    let pair = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|parameters| parameters.self_signed(&pair))
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(pair.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private))
        .expect("a good configuration");
    let server = KeyServer::start_tls(Says::Keys(vec![key.jwk(Some("k"))]), TlsAcceptor::from(Arc::new(tls))).await;
    let url: http::Uri = format!("https://localhost:{}/", server.address.port()).parse().expect("a URL");
    let auth = Config::default().auth;
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(certificate.der().clone()).expect("a certificate");
    assert!(in_time("keys", Reader::new(url.clone(), &auth, Trust::of(trusted)).read()).await.is_ok());
    let stranger = Trust::of(rustls::RootCertStore::empty());
    assert!(in_time("a refusal", Reader::new(url, &auth, stranger).read()).await.is_err());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_keys_and_asks_nobody() {
    let key = IssuerKey::p256();
    let server = KeyServer::start(Says::Keys(vec![key.jwk(Some("k"))])).await;
    let mut config = published(&server.url());
    let mut auth = authenticator(&config);
    let token = key.token(Some("k"), &claims("a"));
    assert!(auth.sub(&token).await.is_ok());
    // Used up, so that the cooldown shows.
    assert_eq!(auth.sub(&key.token(Some("x"), &claims("a"))).await, failed());
    server.say(Says::Status("500 Internal Server Error", String::new()));
    for cooldown in [NEVER, NEVER, NEVER / 2] {
        config.auth.jwks_cooldown = cooldown;
        auth = auth.successor(&config).expect("a good configuration");
        assert!(auth.sub(&token).await.is_ok());
        assert_eq!(auth.sub(&key.token(Some("x"), &claims("a"))).await, failed());
    }
    assert_eq!(server.asked(), 2);
    let other = KeyServer::start(Says::Keys(vec![IssuerKey::p256().jwk(Some("k"))])).await;
    config.auth.jwks_url = Some(other.url());
    let auth = auth.successor(&config).expect("a good configuration");
    assert_eq!(auth.sub(&token).await, failed(), "another URL, other keys");
    assert_eq!((server.asked(), other.asked()), (2, 1));
}

#[tokio::test]
async fn a_reload_after_the_time_has_come_reads_again() {
    let key = IssuerKey::p256();
    let server = KeyServer::start(Says::Keys(vec![key.jwk(Some("k"))])).await;
    let mut config = published(&server.url());
    let auth = authenticator(&config);
    assert!(auth.sub(&key.token(Some("k"), &claims("a"))).await.is_ok());
    config.auth.jwks_refresh = Duration::from_millis(1);
    let _auth = auth.successor(&config).expect("a good configuration");
    in_time("another reading", server.asked_at_least(2)).await;
}

#[tokio::test]
async fn nothing_is_read_any_more_once_the_authenticator_is_gone() {
    let server = KeyServer::start(Says::Keys(vec![IssuerKey::p256().jwk(Some("k"))])).await;
    let mut config = published(&server.url());
    config.auth.jwks_refresh = Duration::from_millis(1);
    let metrics: Arc<ControlMetrics> = Arc::default();
    let auth = Authenticator::without_nats(&config, Arc::default(), metrics.clone()).expect("a good configuration");
    in_time("readings", server.asked_at_least(3)).await;
    drop(auth);
    // The task holds them too, as long as there is one.
    until("the end of the task", || Arc::strong_count(&metrics) == 1).await;
}

/// As in the gateway: the keys are read on one thread, tokens are checked on others, each with its own runtime.
#[tokio::test]
async fn every_thread_may_ask_and_wait() {
    let (old, new) = (IssuerKey::p256(), IssuerKey::p256());
    let server = KeyServer::start(Says::Keys(vec![old.jwk(Some("old"))])).await;
    let auth = Arc::new(authenticator(&published(&server.url())));
    assert!(auth.sub(&old.token(Some("old"), &claims("a"))).await.is_ok());
    server.say(Says::Keys(vec![new.jwk(Some("new"))]));
    let mut shards = Vec::new();
    for _ in 0..4 {
        let (auth, token) = (auth.clone(), new.token(Some("new"), &claims("b")));
        let (tell, heard) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let shard = tokio::task::LocalSet::new();
            let _ = tell.send(shard.block_on(&runtime, auth.sub(&token)));
        });
        shards.push(heard);
    }
    for heard in shards {
        assert_eq!(in_time("an answer", heard).await.expect("no panic").as_deref(), Ok("b"));
    }
    assert_eq!(server.asked(), 2, "one reading for all of them");
}
