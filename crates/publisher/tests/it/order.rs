//! Order per subject, pipelining across subjects, answers in order.

use std::collections::HashMap;

use crate::support::{World, message, soon};

#[tokio::test]
async fn keeps_the_order_of_every_subject() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let mut messages = Vec::new();
    for number in 0..60 {
        for subject in 0..40 {
            messages.push(message(&format!("odin.tokens.T{subject}.price"), number.to_string()));
        }
    }
    let answers = soon("all answers", publisher.publish_all(messages)).await;
    assert!(answers.iter().all(Result::is_ok));

    let mut last: HashMap<String, u32> = HashMap::new();
    let stored = world.stored().await;
    assert_eq!(stored.len(), 2_400);
    for message in stored {
        let number: u32 = String::from_utf8(message.payload).unwrap().parse().unwrap();
        let expected = last.entry(message.subject).or_default();
        assert_eq!(number, *expected);
        *expected += 1;
    }
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.acked, stats.duplicates, stats.in_flight), (2_400, 2_400, 0, 0));
}

#[tokio::test]
async fn keeps_the_order_through_a_restart_of_the_server() {
    let mut world = World::start().await;
    let publisher = world.publisher().await;
    let producer = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            let mut acks = Vec::new();
            for number in 0..3_000 {
                let subject = format!("odin.tokens.T{}.price", number % 10);
                acks.push(publisher.publish(&subject, (number / 10).to_string()).await.unwrap());
            }
            acks
        }
    });
    crate::support::until("half of the messages", || publisher.stats().acked > 500).await;
    world.server.kill().await;
    world.server.restart().await.unwrap();
    for ack in soon("the producer", producer).await.unwrap() {
        soon("an answer", ack).await.unwrap();
    }
    let client = async_nats::connect(world.server.url()).await.unwrap();
    world.stream = async_nats::jetstream::new(client).get_stream("ODIN").await.unwrap();
    let mut next = [0_u32; 10];
    for message in world.stored().await {
        let subject: usize =
            message.subject.trim_start_matches("odin.tokens.T").split('.').next().unwrap().parse().unwrap();
        let number: u32 = String::from_utf8(message.payload).unwrap().parse().unwrap();
        assert_eq!(number, next[subject], "{}", message.subject);
        next[subject] += 1;
    }
    assert_eq!(next, [300; 10]);
}

#[tokio::test]
async fn a_subject_held_up_holds_up_no_other() {
    let world = World::start().await;
    let publisher = world.publisher().await;
    let first = publisher.publish("odin.a", "1").await.unwrap().await.unwrap();
    // refused by the stream, which takes a round trip; the next of the same subject follows it
    let refused =
        publisher.publish_message(message("odin.a", "2").expect_last_sequence(first.sequence + 7)).await.unwrap();
    let behind = publisher.publish("odin.a", "3").await.unwrap();
    let other = publisher.publish("odin.b", "4").await.unwrap();
    assert_eq!(refused.await.unwrap_err().cause(), "wrong_last_sequence");
    assert!(behind.await.unwrap().sequence > first.sequence);
    assert!(other.await.unwrap().sequence > first.sequence);
}
