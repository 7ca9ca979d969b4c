//! Refusals: at once, by cause, and nothing is stored.

use std::time::Duration;

use async_nats::jetstream::stream;
use odin_devkit::NatsServer;
use odin_publisher::{ConnectError, Options, PublishError, Publisher, StreamError, Subject};

use crate::support::{World, message, odin_stream, soon};

/// The error a message ends with.
async fn refusal(publisher: &Publisher, message: odin_publisher::Message) -> PublishError {
    let answer = soon("the answer", publisher.publish_all([message])).await.remove(0);
    answer.expect_err("a refusal")
}

#[tokio::test]
async fn a_subject_without_a_stream() {
    let world = World::start().await;
    let publisher = world.publisher().await;
    let error = refusal(&publisher, message("elsewhere.a", "1")).await;
    assert_eq!(error, PublishError::NoStream { subject: Subject::parse("elsewhere.a").unwrap() });
    assert_eq!(publisher.stats().retried, 0, "refused at once");
    assert_eq!(publisher.stats().refused.no_stream, 1);
    let asked = publisher.check_stream(&Subject::parse("elsewhere.a").unwrap()).await.unwrap_err();
    assert!(matches!(asked, StreamError::NoStream { .. }));
    let stream = publisher.check_stream(&Subject::parse("odin.a").unwrap()).await.unwrap();
    assert_eq!((stream.name.as_str(), stream.duplicate_window), ("ODIN", Duration::from_secs(60)));
}

#[tokio::test]
async fn many_subjects_without_a_stream_are_all_refused() {
    let world = World::start().await;
    let publisher = world.publisher().await;
    let messages = (0..200).map(|number| message(&format!("elsewhere.t{number}"), "x"));
    let answers = soon("all answers", publisher.publish_all(messages)).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(PublishError::NoStream { .. }))));
}

#[tokio::test]
async fn a_subject_or_id_or_time_to_live_that_is_none() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    for subject in ["", "odin.*", "odin.a b", "odin..a", "$JS.API.STREAM.PURGE.ODIN"] {
        let error = publisher.publish(subject, "1").await.unwrap_err();
        assert!(matches!(error, PublishError::Subject(_)), "{subject}: {error}");
    }
    for id in ["", "a b", "a\r\nNats-Rollup: all", &"x".repeat(129)] {
        let error = publisher.publish_message(message("odin.a", "1").with_id(id)).await.unwrap_err();
        assert!(matches!(error, PublishError::MessageId { .. }), "{id}: {error}");
    }
    for ttl in [Duration::ZERO, Duration::from_millis(900), Duration::from_millis(1_500)] {
        let error = publisher.publish_message(message("odin.a", "1").with_ttl(ttl)).await.unwrap_err();
        assert!(matches!(error, PublishError::TimeToLive { .. }), "{ttl:?}: {error}");
    }
    assert_eq!(publisher.stats().refused.invalid, 12);
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_message_larger_than_the_publisher_the_server_or_the_stream_allows() {
    let server = NatsServer::builder().extra_config("max_payload: 32KB").start().await.unwrap();
    let world = World::on(server, stream::Config { max_message_size: 1_024, ..odin_stream() }).await;
    let publisher = Publisher::connect(Options { max_message_bytes: 40_000, ..world.options() }).await.unwrap();
    for (bytes, limit) in [
        (39_950, "this publisher allows 40000 bytes"),
        (35_000, "the server allows 32768 bytes"),
        (2_000, "message size exceeds maximum allowed"),
    ] {
        let error = refusal(&publisher, message("odin.a", "x".repeat(bytes))).await;
        assert_eq!(error.cause(), "too_large", "{error}");
        assert!(error.to_string().contains(limit), "{error}");
    }
    publisher.publish("odin.a", "x".repeat(900)).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_message_behind_another_one() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let first = publisher.publish_message(message("odin.a", "1").expect_last_sequence(0)).await.unwrap().await.unwrap();
    let error = refusal(&publisher, message("odin.a", "2").expect_last_sequence(0)).await;
    assert_eq!(error.cause(), "wrong_last_sequence");
    assert!(error.to_string().contains(&format!("wrong last sequence: {}", first.sequence)), "{error}");
    let next = message("odin.a", "3").expect_last_sequence(first.sequence);
    publisher.publish_message(next).await.unwrap().await.unwrap();
    assert_eq!(world.stored().await.len(), 2);
}

#[tokio::test]
async fn a_message_the_stream_has_no_room_for_or_no_rule() {
    let config = stream::Config {
        max_messages: 1,
        discard: stream::DiscardPolicy::New,
        allow_message_ttl: false,
        ..odin_stream()
    };
    let world = World::with(config).await;
    let publisher = world.publisher().await;
    let error = refusal(&publisher, message("odin.a", "1").with_ttl(Duration::from_secs(5))).await;
    assert!(matches!(error, PublishError::Rejected { code: 10166, .. }), "{error}");
    publisher.publish("odin.a", "1").await.unwrap().await.unwrap();
    let error = refusal(&publisher, message("odin.a", "2")).await;
    assert!(matches!(error, PublishError::Rejected { code: 10077, .. }), "{error}");
    assert_eq!(publisher.stats().refused.rejected, 2);
}

#[tokio::test]
async fn a_subject_the_user_may_not_publish_on() {
    let users = r#"authorization { users: [
        { user: admin, password: admin }
        { user: feed, password: feed, permissions: { publish: { deny: ["odin.secret.>"] } } }
    ] }"#;
    let server = NatsServer::builder().extra_config(users).start().await.unwrap();
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into());
    let client = admin.connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client).create_stream(odin_stream()).await.unwrap();
    let auth = |password: &str| odin_publisher::Auth::UserPassword { user: "feed".into(), password: password.into() };
    let options = Options { urls: vec![server.url()], auth: auth("feed"), ..Options::default() };
    let publisher = Publisher::connect(options.clone()).await.unwrap();
    let error = refusal(&publisher, message("odin.secret.a", "1")).await;
    assert_eq!(error.cause(), "forbidden");
    assert_eq!(publisher.stats().retried, 0, "refused at once");
    publisher.publish("odin.open.a", "1").await.unwrap().await.unwrap();

    let wrong = Publisher::connect(Options { auth: auth("hunter2"), ..options }).await.unwrap_err();
    assert!(matches!(wrong, ConnectError::Nats { .. }));
    assert!(!format!("{wrong:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_time_to_live_reaches_the_stream() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let message = message("odin.a", "1").with_ttl(Duration::from_secs(60));
    publisher.publish_message(message).await.unwrap().await.unwrap();
    let stored = world.stored().await;
    assert_eq!(stored[0].headers.get("Nats-TTL").unwrap().as_str(), "60");
    assert_eq!(uuid::Uuid::parse_str(&stored[0].id).unwrap().get_version_num(), 7);
    assert_eq!(stored[0].sequence, 1);
}
