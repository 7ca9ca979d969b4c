//! Bounds: so many messages and bytes in flight, then callers wait or hear it.

use futures_util::FutureExt;
use odin_publisher::{Options, PublishError, Publisher};

use crate::support::{World, message, soon};

#[tokio::test]
async fn full_in_messages_callers_wait_or_are_told() {
    let world = World::start().await;
    let publisher = Publisher::connect(Options { max_in_flight: 3, ..world.options() }).await.unwrap();
    publisher.publish("odin.warm", "0").await.unwrap().await.unwrap();
    world.freeze().await;
    let mut acks = Vec::new();
    for number in 0..3 {
        acks.push(publisher.try_publish(message(&format!("odin.t{number}"), "x")).unwrap());
    }
    let full = publisher.try_publish(message("odin.more", "x")).unwrap_err();
    assert!(matches!(full, PublishError::Full { max_messages: 3, .. }), "{full}");
    let mut waiting = Box::pin(publisher.publish("odin.more", "x"));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(publisher.stats().in_flight, 3);
    world.server.resume();
    let more = soon("room", waiting).await.unwrap();
    soon("the answer", more).await.unwrap();
    for ack in acks {
        soon("an answer", ack).await.unwrap();
    }
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.acked, stats.in_flight, stats.in_flight_bytes), (5, 5, 0, 0));
    assert!(stats.is_clean(), "being full is no refusal");
}

#[tokio::test]
async fn full_in_bytes_callers_wait_or_are_told_but_a_large_one_goes_alone() {
    let world = World::start().await;
    let publisher = Publisher::connect(Options { max_in_flight_bytes: 1_000, ..world.options() }).await.unwrap();
    // larger than all the room there is
    publisher.publish("odin.large", "x".repeat(5_000)).await.unwrap().await.unwrap();
    world.freeze().await;
    let first = publisher.try_publish(message("odin.a", "x".repeat(600))).unwrap();
    let full = publisher.try_publish(message("odin.b", "x".repeat(600))).unwrap_err();
    assert!(matches!(full, PublishError::Full { max_bytes: 1_000, .. }), "{full}");
    let small = publisher.try_publish(message("odin.c", "x")).unwrap();
    world.server.resume();
    soon("an answer", first).await.unwrap();
    soon("an answer", small).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_stops_waiting_has_published_nothing() {
    let mut world = World::start().await;
    let publisher = Publisher::connect(Options { max_in_flight: 1, ..world.options() }).await.unwrap();
    world.freeze().await;
    let first = publisher.publish("odin.a", "1").await.unwrap();
    {
        let mut abandoned = Box::pin(publisher.publish("odin.a", "2"));
        assert!((&mut abandoned).now_or_never().is_none());
    }
    world.server.resume();
    soon("the answer", first).await.unwrap();
    soon("room", publisher.publish("odin.a", "3")).await.unwrap().await.unwrap();
    let payloads: Vec<Vec<u8>> = world.stored().await.into_iter().map(|message| message.payload).collect();
    assert_eq!(payloads, [b"1", b"3"]);
}
