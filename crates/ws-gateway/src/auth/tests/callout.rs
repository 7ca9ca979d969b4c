//! The session service, on a real nats-server.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt as _, StreamExt as _};
use odin_devkit::NatsServer;
use serde_json::{Value, json};

use super::parts::{SessionService, claims, hs256, now_s};
use super::*;
use crate::{identity::ChannelSet, metrics::Outcome};

const SUBJECT: &str = "sessions.check";

fn asking() -> Config {
    let mut config = Config::default();
    config.auth.callout_subject = Some(SUBJECT.to_owned());
    config.auth.callout_timeout = Duration::from_secs(5);
    config
}

struct World {
    nats: NatsServer,
    client: async_nats::Client,
}

impl World {
    async fn start() -> Self {
        let nats = NatsServer::start().await.expect("a nats-server");
        let client = async_nats::connect(nats.url()).await.expect("a connection");
        Self { nats, client }
    }

    fn authenticator(&self, config: &Config) -> Arc<Authenticator> {
        let (revocations, metrics) = (Arc::default(), Arc::default());
        Arc::new(Authenticator::new(config, link(&self.client), revocations, metrics).expect("good"))
    }

    async fn service(&self, answer: impl Fn(&Value) -> Option<String> + Send + 'static) -> SessionService {
        SessionService::start(&self.nats.url(), SUBJECT, answer).await
    }
}

fn link(client: &async_nats::Client) -> Link {
    let link = Link::default();
    link.connect(client.clone());
    link
}

fn callouts(auth: &Authenticator, outcome: Outcome) -> u64 {
    auth.metrics().callouts.of(outcome).get()
}

/// The token is the id of the user.
fn vouch(question: &Value) -> Option<String> {
    Some(json!({"sub": question["token"]}).to_string())
}

#[tokio::test]
async fn the_session_service_says_who_a_session_is() {
    let world = World::start().await;
    let service = world
        .service(|_| {
            let claims = json!({
                "sub": "user-7", "name": "Ana", "tier": "premium", "allow": ["price:*"], "exp": now_s() + 60,
                "limits": {"subscriptions": 5}, "anything": {"else": 1},
            });
            Some(claims.to_string())
        })
        .await;
    let auth = world.authenticator(&asking());
    let user = in_time("an answer", auth.check("session \"1\"\u{7f}é", &visit())).await.expect("known");
    assert_eq!((user.sub.as_str(), user.tier.as_deref(), user.is_admin), ("user-7", Some("premium"), false));
    assert_eq!(user.allow, Some(ChannelSet::parse(&["price:*"]).expect("valid")));
    assert_eq!(user.limits.subscriptions, Some(5));
    let nowhere = Visit { ip: "2001:db8::7".parse().expect("an address"), origin: None };
    assert!(in_time("an answer", auth.check("session-2", &nowhere)).await.is_ok());
    let expected = [
        json!({"token": "session \"1\"\u{7f}é", "ip": "192.0.2.7", "origin": "https://app.example"}),
        json!({"token": "session-2", "ip": "2001:db8::7", "origin": null}),
    ];
    assert_eq!(service.questions(), expected);
    assert_eq!((callouts(&auth, Outcome::Ok), callouts(&auth, Outcome::Failed)), (2, 0));
}

#[tokio::test]
async fn a_refusal_is_told_as_what_it_is_and_remembered() {
    let world = World::start().await;
    let service = world
        .service(|question| {
            Some(match question["token"].as_str() {
                Some("ended") => json!({"sub": "a", "exp": now_s() - 600}).to_string(),
                Some("fine") => json!({"sub": "a", "error": null}).to_string(),
                Some(why) => json!({ "error": why }).to_string(),
                None => unreachable!("tokens are texts"),
            })
        })
        .await;
    let auth = world.authenticator(&asking());
    for _ in 0..3 {
        assert_eq!(auth.sub("denied").await, failed());
        assert_eq!(auth.sub("expired").await, Err(AuthError::Expired));
        assert_eq!(auth.sub("ended").await, Err(AuthError::Expired));
        assert_eq!(auth.sub("revoked").await, Err(AuthError::Revoked));
        assert_eq!(auth.sub("fine").await.as_deref(), Ok("a"));
    }
    assert_eq!(service.questions().len(), 5);
    assert_eq!((callouts(&auth, Outcome::Ok), callouts(&auth, Outcome::Failed)), (5, 0));
    assert_eq!(auth.sub("database down").await, unavailable());
    assert_eq!(callouts(&auth, Outcome::Failed), 1);
}

/// Checklist 13: nobody comes in because the service that should say no says nothing, or nonsense.
#[tokio::test]
async fn without_a_usable_answer_nobody_comes_in_and_nothing_is_remembered() {
    let world = World::start().await;
    let mut config = asking();
    let auth = world.authenticator(&config);
    assert_eq!(auth.sub("nobody listens").await, unavailable());
    let answers = [
        "",
        "null",
        "true",
        "[]",
        "[\"user-7\"]",
        "{}",
        "{\"sub\":\"\"}",
        "{\"sub\":7}",
        "{\"sub\":\"a\",\"exp\":\"tomorrow\"}",
        "{\"sub\":\"a\",\"exp\":1e10}",
        "{\"sub\":\"a\",\"allow\":null}",
        "{\"sub\":\"a\",\"allow\":\"*\"}",
        "{\"sub\":\"a\",\"sub\":\"admin\"}",
        "{\"sub\":\"a\",\"error\":\"\"}",
        "{\"sub\":\"a\",\"error\":false}",
        "{\"error\":{\"code\":\"denied\"}}",
        "{\"sub\":\"a\"} ok",
        "\u{feff}{\"sub\":\"a\"}",
        &format!("{{\"sub\":\"a\",\"x\":\"{}\"}}", "x".repeat(16 * 1024)),
        "<html>502</html>",
    ]
    .map(str::to_owned);
    let turn = Arc::new(AtomicUsize::new(0));
    let (count, mine) = (answers.len(), turn.clone());
    let service = world.service(move |_| answers.get(mine.fetch_add(1, Ordering::Relaxed)).cloned()).await;
    for number in 1..=count {
        assert_eq!(auth.sub("the same token").await, unavailable(), "answer {number}");
        assert_eq!(service.questions().len(), number, "asked anew");
    }
    assert_eq!((callouts(&auth, Outcome::Ok), callouts(&auth, Outcome::Failed)), (0, 1 + count as u64));
    // Beyond the list the service is silent.
    config.auth.callout_timeout = Duration::from_millis(50);
    let auth = world.authenticator(&config);
    assert_eq!(auth.sub("the same token").await, unavailable());
    assert_eq!(service.questions().len(), count + 1);
    drop(service);
    let _service = world.service(vouch).await;
    config.auth.callout_timeout = Duration::from_secs(5);
    let auth = world.authenticator(&config);
    assert_eq!(auth.sub("the same token").await.as_deref(), Ok("the same token"));
}

/// Checklist 13: NATS itself is away.
#[tokio::test]
async fn without_nats_nobody_can_say() {
    let client = async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        // Port 1 is nobody's.
        .connect("nats://127.0.0.1:1")
        .await
        .expect("it goes on trying");
    let mut config = asking();
    config.auth.callout_timeout = Duration::from_millis(50);
    let auth = Authenticator::new(&config, link(&client), Arc::default(), Arc::default()).expect("good");
    assert_eq!(auth.sub("a").await, unavailable());
    assert_eq!(callouts(&auth, Outcome::Failed), 1);
}

#[tokio::test]
async fn a_storm_of_reconnects_asks_once_for_each_session() {
    let world = World::start().await;
    let service = world.service(vouch).await;
    let auth = world.authenticator(&asking());
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..2_000 {
        let auth = auth.clone();
        attempts.spawn(async move { auth.sub(&format!("user-{}", number % 20)).await });
    }
    while let Some(attempt) = in_time("an attempt", attempts.join_next()).await {
        assert!(attempt.expect("no panic").is_ok());
    }
    assert_eq!(service.questions().len(), 20);
}

#[tokio::test]
async fn an_answer_is_for_that_client_and_for_so_long() {
    let world = World::start().await;
    let service = world
        .service(|question| {
            let is_short = question["token"] == "short";
            let exp = if is_short { now_s() + 1 } else { now_s() + 600 };
            Some(json!({"sub": "a", "exp": exp}).to_string())
        })
        .await;
    let mut config = asking();
    config.auth.leeway = Duration::ZERO;
    let auth = world.authenticator(&config);
    assert!(auth.sub("long").await.is_ok());
    let elsewhere = Visit { ip: Ipv4Addr::new(192, 0, 2, 8).into(), ..visit() };
    assert!(auth.check("long", &elsewhere).await.is_ok(), "the service may decide by the address");
    assert_eq!(service.questions().len(), 2);
    // It answers for a second and less; in that time it may be asked once or twice.
    in_time("the end of the answer", async {
        loop {
            let _in_that_second = auth.sub("short").await;
            if service.questions().len() >= 4 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    config.auth.callout_cache = Duration::ZERO;
    let auth = world.authenticator(&config);
    let before = service.questions().len();
    for _ in 0..3 {
        assert!(auth.sub("long").await.is_ok());
    }
    assert_eq!(service.questions().len(), before + 3);
}

/// Checklist 13: more questions than the service, or the gateway, should have at once.
#[tokio::test]
async fn more_than_256_questions_at_once_are_not_asked() {
    let world = World::start().await;
    let service =
        world.service(|question| (question["token"] == "patient").then(|| "{\"sub\":\"a\"}".to_owned())).await;
    let mut config = asking();
    config.auth.callout_timeout = Duration::from_secs(600);
    let auth = world.authenticator(&config);
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..256 {
        let auth = auth.clone();
        waiting.spawn(async move { auth.check(&format!("silence-{number}"), &visit()).await });
    }
    in_time("the questions", service.asked_at_least(256)).await;
    assert_eq!(auth.sub("patient").await, unavailable());
    assert_eq!(service.questions().len(), 256);
    // Known sessions come in nevertheless, and who waits already is not disturbed.
    assert_eq!(waiting.len(), 256);
}

#[tokio::test]
async fn one_who_leaves_does_not_take_the_question_with_him() {
    let world = World::start().await;
    // The service takes the question and answers when it is told to.
    let mut questions = world.client.subscribe(SUBJECT).await.expect("a subscription");
    let auth = world.authenticator(&asking());
    let first = tokio::spawn({
        let auth = auth.clone();
        async move { auth.check("a", &visit()).await.map(|_| ()) }
    });
    let question = in_time("the question", questions.next()).await.expect("a message");
    let second = tokio::spawn({
        let auth = auth.clone();
        async move { auth.sub("a").await }
    });
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    let reply = question.reply.expect("a request");
    world.client.publish(reply, "{\"sub\":\"a\"}".into()).await.expect("a connection");
    assert_eq!(in_time("the answer", second).await.expect("no panic").as_deref(), Ok("a"));
    assert_eq!(auth.sub("a").await.as_deref(), Ok("a"), "it is remembered");
    assert!(questions.next().now_or_never().is_none(), "asked once");
}

/// What another way is for is not told to the service.
#[tokio::test]
async fn jwts_and_api_keys_are_not_shown_to_the_session_service() {
    let world = World::start().await;
    let service = world.service(vouch).await;
    let mut config = asking();
    let secret = with_secret().auth;
    (config.auth.algorithms, config.auth.hs256_secret) = (secret.algorithms, secret.hs256_secret);
    let file = tempfile::NamedTempFile::new().expect("a file");
    config.auth.api_keys_file = Some(file.path().to_owned());
    let auth = world.authenticator(&config);
    let good = hs256(&claims("jwt"));
    let (message, _) = good.rsplit_once('.').expect("three parts");
    assert_eq!(auth.sub(&good).await.as_deref(), Ok("jwt"));
    for token in [&format!("{message}.AAAA"), &format!("{message}."), "odin_unknown", ""] {
        assert_eq!(auth.sub(token).await, failed(), "{token}");
    }
    assert_eq!(service.questions().len(), 0);
    for token in ["opaque", "a.b", "a.b.c.d.e", "a.b.c d", "Odin_x"] {
        assert_eq!(auth.sub(token).await.as_deref(), Ok(token));
    }
    assert_eq!(service.questions().len(), 5);
    // Where there are no other ways, everything is.
    let auth = world.authenticator(&asking());
    assert_eq!(auth.sub("odin_x").await.as_deref(), Ok("odin_x"));
    assert_eq!(service.questions().len(), 6);
}

#[tokio::test]
async fn a_reload_keeps_the_answers_of_the_same_service() {
    let world = World::start().await;
    let service = world.service(vouch).await;
    let mut config = asking();
    let auth = world.authenticator(&config);
    assert!(auth.sub("a").await.is_ok());
    let auth = auth.successor(&config).expect("good");
    assert!(auth.sub("a").await.is_ok());
    assert_eq!(service.questions().len(), 1);
    config.auth.callout_cache = Duration::from_secs(5);
    let auth = auth.successor(&config).expect("good");
    assert!(auth.sub("a").await.is_ok());
    assert_eq!(service.questions().len(), 2);
    config.auth.callout_subject = None;
    assert_eq!(auth.successor(&config).expect("good").sub("a").await, unavailable());
}
