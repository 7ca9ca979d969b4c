//! Publications: sent once, and answered with what is known.

use std::sync::Arc;

use odin_protocol::{Epoch, Secret};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::{
    publish::{PUBLISH_TIMEOUT, PublishError, Published, Reply},
    token::TokenSource,
};

type Outcome = Result<Published, PublishError>;

const PUBLISH: &str = r#"{"type":"publish","id":1,"channel":"chat:lobby","data":{"text":"hi"}}"#;

impl Bench {
    fn publish(&mut self) -> oneshot::Receiver<Outcome> {
        self.publish_data(r#"{"text":"hi"}"#)
    }

    fn publish_data(&mut self, data: &str) -> oneshot::Receiver<Outcome> {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one place");
        let (to, answer) = oneshot::channel();
        let channel = Channel::parse("chat:lobby").expect("valid");
        let data = RawValue::from_string(data.to_owned()).expect("JSON");
        self.session.publish(Publish { channel, data, reply: Reply::new(to, place) });
        answer
    }

    fn published(&mut self, id: u64) {
        self.hear(&format!(r#"{{"type":"published","id":{id},"channel":"chat:lobby","seq":2211,"epoch":"k3j9x2m4"}}"#));
    }
}

fn is_waiting(answer: &mut oneshot::Receiver<Outcome>) -> bool {
    matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

#[test]
fn gives_the_sequence_of_what_was_stored() {
    let mut bench = Bench::connected();
    let mut answer = bench.publish();
    assert_eq!(bench.said(), [PUBLISH]);
    bench.published(9);
    assert!(is_waiting(&mut answer), "that was another one");
    bench.published(1);
    let epoch: Epoch = "k3j9x2m4".parse().expect("valid");
    assert_eq!(answer.try_recv(), Ok(Ok(Published { channel: "chat:lobby".to_owned(), seq: 2211, epoch })));
    bench.published(1);
    assert_eq!(bench.session.stats().published, 1);
}

#[test]
fn gives_the_reason_of_a_refusal_to_whoever_asked() {
    let mut bench = Bench::connected();
    let (mut one, mut other) = (bench.publish(), bench.publish());
    assert_eq!(bench.said().len(), 2);
    bench.events.clear();
    bench.hear(r#"{"type":"error","id":2,"code":"internal","message":"no\u001b stream","channel":"chat:lobby","retryAfterMs":500}"#);
    let refused = PublishError::Refused {
        code: ErrorCode::Internal,
        message: "no? stream".to_owned(),
        retry_after: Some(SECOND / 2),
    };
    assert_eq!(other.try_recv(), Ok(Err(refused)));
    assert!(is_waiting(&mut one));
    assert!(bench.events.is_empty(), "it is no event");
    assert!(bench.said().is_empty(), "it is not repeated, even where that may help");
}

#[test]
fn says_that_it_does_not_know_when_the_gateway_does_not() {
    let mut bench = Bench::connected();
    let mut answer = bench.publish();
    bench.said();
    bench.hear(r#"{"type":"error","id":1,"code":"unavailable","message":"no stream","channel":"chat:lobby"}"#);
    assert_eq!(answer.try_recv(), Ok(Err(PublishError::Unknown)));
}

#[test]
fn says_that_it_does_not_know_when_the_connection_ends_first_and_does_not_repeat_it() {
    let mut bench = Bench::connected();
    let mut answer = bench.publish();
    bench.said();
    bench.parted(1012);
    assert_eq!(answer.try_recv(), Ok(Err(PublishError::Unknown)));
    bench.connect();
    assert!(bench.said().is_empty());
    bench.published(1);
    assert_eq!(bench.session.stats().published, 0, "an answer of before means nothing");
}

#[test]
fn what_was_not_sent_waits_for_the_next_connection() {
    let mut bench = Bench::new();
    let mut answer = bench.publish();
    bench.session.opened();
    assert!(bench.said().is_empty());
    bench.lose(Parting::Drained);
    assert!(is_waiting(&mut answer));
    bench.connect();
    assert_eq!(bench.said(), [PUBLISH]);
}

#[test]
fn waits_until_it_is_signed_in() {
    let mut bench = Bench::with(Options { token: Some(TokenSource::constant("unused")), ..Options::default() });
    bench.publish();
    bench.session.token(bench.now, Ok(Secret::new("one")), &mut bench.events);
    bench.connect();
    let mut answer = bench.publish();
    assert_eq!(bench.said(), [r#"{"type":"auth","id":1,"token":"one"}"#]);
    bench.hear(r#"{"type":"authenticated","id":1,"sub":"user-7"}"#);
    assert_eq!(bench.said(), [PUBLISH.replace(":1,", ":2,")], "the first was given up meanwhile");
    assert!(is_waiting(&mut answer));
}

#[test]
fn what_nobody_waits_for_is_not_sent() {
    let mut bench = Bench::new();
    drop(bench.publish());
    bench.connect();
    assert!(bench.said().is_empty());
}

/// A message above the gateway's limit would end the connection with 1009, and for good.
#[test]
fn does_not_send_what_the_gateway_does_not_read() {
    for (codec, data) in [
        (Codec::Json, format!("\"{}\"", "x".repeat(70_000))),
        (Codec::MsgPack, {
            // nine bytes each where text has four
            format!("[{}]", vec!["0.5"; 10_000].join(","))
        }),
    ] {
        let mut bench = Bench::with(Options { codec, ping_interval: None, ..Options::default() });
        bench.connect();
        let mut answer = bench.publish_data(&data);
        let mut good = bench.publish();
        assert_eq!(bench.said().len(), 1);
        let outcome = answer.try_recv().expect("answered");
        assert!(matches!(outcome, Err(PublishError::TooBig { bytes: 65_537.., limit: 65_536 })), "{outcome:?}");
        assert!(is_waiting(&mut good));
    }
}

#[test]
fn gives_up_on_an_answer_that_does_not_come() {
    let mut bench = Bench::connected();
    let mut answer = bench.publish();
    bench.said();
    bench.now += SECOND;
    let mut later = bench.publish();
    bench.said();
    bench.now += PUBLISH_TIMEOUT - SECOND;
    bench.session.heard(bench.now);
    assert!(bench.session.deadline().expect("live") <= bench.now);
    assert_eq!(bench.tick(), None);
    assert_eq!(answer.try_recv(), Ok(Err(PublishError::Unknown)));
    assert!(is_waiting(&mut later));
}

#[test]
fn an_answer_that_was_not_read_for_the_applications_sake_may_still_come() {
    let mut bench = Bench::connected();
    let mut answer = bench.publish();
    bench.said();
    bench.now += 2 * PUBLISH_TIMEOUT;
    bench.session.listens_again(bench.now);
    assert_eq!(bench.tick(), None);
    bench.published(1);
    assert!(matches!(answer.try_recv(), Ok(Ok(_))));
}

/// A client that goes on after `rate_limited` is closed for good.
#[test]
fn holds_back_as_long_as_the_gateway_asks_after_a_rate_limit() {
    let mut bench = Bench::connected();
    let mut refused = bench.publish();
    bench.said();
    bench.hear(r#"{"type":"error","id":1,"code":"rate_limited","message":"slower","limit":100,"retryAfterMs":1000}"#);
    assert!(matches!(refused.try_recv(), Ok(Err(PublishError::Refused { code: ErrorCode::RateLimited, .. }))));
    let mut answer = bench.publish();
    assert!(bench.said().is_empty());
    bench.now += SECOND;
    assert!(bench.session.deadline().expect("live") <= bench.now);
    bench.tick();
    assert_eq!(bench.said().len(), 1);
    assert!(is_waiting(&mut answer));
}

#[test]
fn a_publication_is_something_to_connect_for() {
    let mut bench = Bench::connected();
    assert_eq!(bench.parted(4002), Plan::Sleep);
    let _answer = bench.publish();
    assert!(bench.session.is_wanting());
}

#[test]
fn the_end_of_the_client_tells_what_is_known() {
    let mut bench = Bench::connected();
    let mut sent = bench.publish();
    bench.said();
    let mut waiting = bench.publish();
    drop(bench);
    assert_eq!(sent.try_recv(), Ok(Err(PublishError::Unknown)));
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)), "closed, and nothing was sent");
}
