//! Once: whatever the server does, a message is stored once under its id, or said to be unknown.

use std::time::Duration;

use odin_publisher::{Options, Publisher};

use crate::support::{World, message, soon, until};

#[tokio::test]
async fn a_message_retried_at_a_frozen_server_is_stored_once() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    publisher.publish("odin.warm", "0").await.unwrap().await.unwrap();
    world.freeze().await;
    let ack = publisher.publish_message(message("odin.a", "1").with_id("one")).await.unwrap();
    let careful = publisher.publish_message(message("odin.b", "2").expect_last_sequence(0)).await.unwrap();
    until("three retries", || publisher.stats().retried >= 3).await;
    world.server.resume();
    let published = soon("the answer", ack).await.unwrap();
    assert!(published.attempts >= 2, "{published:?}");
    // an own earlier attempt is no foreign message
    soon("the answer", careful).await.unwrap();
    publisher.close(Duration::from_secs(10)).await;
    let stored = world.stored().await;
    let ids: Vec<&str> = stored.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.iter().filter(|id| **id == "one").count(), 1, "{ids:?}");
    assert_eq!(stored.len(), 3, "{ids:?}");
}

#[tokio::test]
async fn a_given_id_published_twice_is_a_duplicate_with_the_first_sequence() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let answers = publisher
        .publish_all([message("odin.a", "1").with_id("same"), message("odin.a", "2").with_id("same")])
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    assert_eq!(answers[0].sequence, answers[1].sequence);
    assert_eq!((answers[0].duplicate, answers[1].duplicate), (false, true));
    assert_eq!(publisher.stats().duplicates, 1);
    assert_eq!(world.stored().await.len(), 1);
}

#[tokio::test]
async fn what_was_in_flight_when_the_server_died_is_stored_once_after_it_is_back() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    world.freeze().await;
    let mut acks = Vec::new();
    for number in 0..50 {
        let message = message(&format!("odin.t{number}"), "x").with_id(format!("id-{number}"));
        acks.push(publisher.publish_message(message).await.unwrap());
    }
    world.server.kill().await;
    world.server.restart().await.unwrap();
    for ack in acks {
        soon("an answer", ack).await.unwrap();
    }
    let client = async_nats::connect(world.server.url()).await.unwrap();
    world.stream = async_nats::jetstream::new(client).get_stream("ODIN").await.unwrap();
    let mut ids: Vec<String> = world.stored().await.into_iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 50);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn past_the_window_a_message_without_an_answer_is_unknown() {
    let world = World::start().await;
    let options = Options {
        ack_timeout: Duration::from_millis(100),
        retry_window: Duration::from_millis(400),
        ..world.defaults()
    };
    let publisher = Publisher::connect(options).await.unwrap();
    publisher.publish("odin.warm", "0").await.unwrap().await.unwrap();
    world.freeze().await;
    let ack = publisher.publish("odin.a", "1").await.unwrap();
    let error = soon("the answer", ack).await.unwrap_err();
    world.server.resume();
    assert_eq!(error.cause(), "unknown");
    assert!(error.to_string().contains("may or may not be stored"), "{error}");
    assert_eq!(publisher.stats().unknown, 1);
    // the subject is not blocked by it
    soon("the next", publisher.publish("odin.a", "2").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn without_a_connection_a_message_is_certainly_not_stored() {
    let mut world = World::start().await;
    let options = Options { retry_window: Duration::from_millis(400), ..world.options() };
    let publisher = Publisher::connect(options).await.unwrap();
    publisher.publish("odin.warm", "0").await.unwrap().await.unwrap();
    world.server.kill().await;
    // the client notices the end of the connection a moment later
    soon("a refusal for want of a connection", async {
        while publisher.publish("odin.a", "1").await.unwrap().await.unwrap_err().cause() != "unavailable" {}
    })
    .await;
}

#[tokio::test]
async fn closing_answers_everything() {
    let world = World::start().await;
    let publisher = world.publisher().await;
    publisher.publish("odin.warm", "0").await.unwrap().await.unwrap();
    world.freeze().await;
    let sent = publisher.publish("odin.a", "1").await.unwrap();
    let behind = publisher.publish("odin.a", "2").await.unwrap();
    until("a retry", || publisher.stats().retried >= 1).await;
    let stats = publisher.close(Duration::from_millis(10)).await;
    world.server.resume();
    assert_eq!(sent.await.unwrap_err().cause(), "unknown");
    assert_eq!(behind.await.unwrap_err().cause(), "closed");
    assert_eq!((stats.in_flight, stats.unknown), (0, 1));
    assert_eq!(publisher.publish("odin.b", "3").await.unwrap_err().cause(), "closed");
    assert_eq!(publisher.try_publish(message("odin.b", "3")).unwrap_err().cause(), "closed");
    publisher.flush().await;
    publisher.close(Duration::ZERO).await;
}

#[tokio::test]
async fn what_was_accepted_is_published_even_if_the_publisher_is_dropped() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let mut acks = Vec::new();
    for number in 0..100 {
        acks.push(publisher.publish("odin.a", number.to_string()).await.unwrap());
    }
    drop(publisher);
    for ack in acks {
        soon("an answer", ack).await.unwrap();
    }
    assert_eq!(world.stored().await.len(), 100);
}

#[tokio::test]
async fn a_flush_ends_when_everything_before_it_is_stored() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    for number in 0..500 {
        // the answers are of no interest here
        drop(publisher.publish(&format!("odin.t{}", number % 7), "x").await.unwrap());
    }
    soon("the flush", publisher.flush()).await;
    assert_eq!(world.stored().await.len(), 500);
    assert_eq!(publisher.stats().acked, 500);
}
