//! The queue under invented time: order, retries, windows, flushes.

use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::stats::Counters;

type Outcome = oneshot::Receiver<Result<Published, PublishError>>;

struct World {
    queue: Queue,
    now: Instant,
    accounts: Arc<Accounts>,
}

fn world() -> World {
    let accounts =
        Arc::new(Accounts { counters: Counters::new(), messages: Semaphore::new(0), bytes: Semaphore::new(0) });
    World { queue: Queue::new(&Options::default(), Arc::clone(&accounts)), now: Instant::now(), accounts }
}

impl World {
    fn push(&mut self, subject: &str, id: &str) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.accounts.counters.accepted(10);
        let job = Job {
            subject: Subject::parse(subject).unwrap(),
            payload: Bytes::from_static(b"{}"),
            id: id.into(),
            ttl: None,
            expect_last_sequence: None,
            trace: None,
            cost: 10,
            answer,
        };
        self.queue.push(job, self.now);
        outcome
    }

    /// Sends all that is ready; gives (key, id, attempt) of each.
    fn send(&mut self) -> Vec<(u64, String, u32)> {
        let mut sent = Vec::new();
        while let Some(key) = self.queue.next_ready() {
            let attempt = self.queue.attempt(key).unwrap();
            self.queue.sent(key, self.now);
            let id = attempt.headers.get(NATS_MESSAGE_ID).unwrap().to_string();
            sent.push((key, id, attempt.number));
        }
        sent
    }

    fn ids(&mut self) -> Vec<String> {
        self.send().into_iter().map(|(_, id, _)| id).collect()
    }

    fn answer(&mut self, key: u64, attempt: u32, answer: Answer) -> Option<Subject> {
        self.queue.answer(key, attempt, answer, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.queue.expire(self.now);
    }
}

const STORED: Answer = Answer::Stored { sequence: 7, duplicate: false };

#[test]
fn sends_one_per_subject_and_all_subjects_at_once() {
    let mut w = world();
    let mut first = w.push("a", "a1");
    let _a2 = w.push("a", "a2");
    let _b1 = w.push("b", "b1");
    let sent = w.send();
    assert_eq!(sent.iter().map(|(_, id, _)| id.as_str()).collect::<Vec<_>>(), ["a1", "b1"]);
    w.answer(sent[0].0, 1, STORED);
    assert_eq!(first.try_recv().unwrap().unwrap().sequence, 7);
    assert_eq!(w.ids(), ["a2"]);
}

#[test]
fn tries_the_same_id_again_and_holds_what_comes_behind() {
    let mut w = world();
    let mut first = w.push("a", "a1");
    let _second = w.push("a", "a2");
    w.send();
    w.pass(Duration::from_secs(3));
    assert_eq!(w.ids(), Vec::<String>::new(), "pauses first");
    w.pass(Duration::from_millis(50));
    let sent = w.send();
    assert_eq!((sent[0].1.as_str(), sent[0].2), ("a1", 2));
    w.answer(sent[0].0, 2, Answer::Stored { sequence: 1, duplicate: true });
    let published = first.try_recv().unwrap().unwrap();
    assert_eq!((published.attempts, published.duplicate), (2, true));
    assert_eq!(w.ids(), ["a2"]);
    assert_eq!(w.accounts.counters.snapshot().retried, 1);
}

#[test]
fn takes_the_late_acknowledgement_of_an_earlier_attempt() {
    let mut w = world();
    let mut outcome = w.push("a", "a1");
    let key = w.send()[0].0;
    w.pass(Duration::from_secs(3));
    w.answer(key, 1, STORED);
    assert!(outcome.try_recv().unwrap().is_ok());
    w.pass(Duration::from_secs(1));
    assert!(w.ids().is_empty() && w.queue.is_empty());
}

#[test]
fn ignores_the_late_refusal_of_an_earlier_attempt() {
    let mut w = world();
    let mut outcome = w.push("a", "a1");
    let key = w.send()[0].0;
    w.pass(Duration::from_secs(3));
    w.pass(Duration::from_secs(1));
    assert_eq!(w.send()[0].2, 2);
    w.answer(key, 1, Answer::Rejected { code: 1, description: String::new() });
    assert!(outcome.try_recv().is_err(), "not settled");
    w.answer(key, 2, STORED);
    assert!(outcome.try_recv().unwrap().is_ok());
}

#[test]
fn past_the_window_an_unanswered_message_is_unknown_and_never_sent_again() {
    let mut w = world();
    let mut first = w.push("a", "a1");
    let _second = w.push("a", "a2");
    let begin = w.now;
    let mut attempts = 0;
    let error = loop {
        for (_, id, _) in w.send() {
            assert_eq!(id, "a1");
            assert!(w.now - begin <= Duration::from_secs(45), "sent after {:?}", w.now - begin);
            attempts += 1;
        }
        let next = w.queue.next_deadline().unwrap();
        let step = next - w.now;
        w.pass(step);
        if let Ok(result) = first.try_recv() {
            break result.unwrap_err();
        }
    };
    assert!(matches!(&error, PublishError::Unknown { attempts: n, .. } if *n == attempts), "{error}");
    assert!(attempts >= 11, "{attempts} attempts");
    assert_eq!(w.ids(), ["a2"]);
    assert_eq!(w.accounts.counters.snapshot().unknown, 1);
}

#[test]
fn a_message_that_was_only_ever_refused_by_nobody_is_unavailable_not_unknown() {
    let mut w = world();
    let mut outcome = w.push("a", "a1");
    let error = loop {
        for (key, _, attempt) in w.send() {
            assert_eq!(w.answer(key, attempt, Answer::NoResponders).unwrap().as_str(), "a");
            w.queue.asked(key, Some(true), w.now);
        }
        if let Ok(result) = outcome.try_recv() {
            break result.unwrap_err();
        }
        let step = w.queue.next_deadline().unwrap() - w.now;
        w.pass(step);
    };
    assert_eq!(error.cause(), "unavailable");
}

#[test]
fn refuses_at_once_what_cannot_succeed() {
    let rejected = Answer::Rejected { code: 10077, description: "maximum bytes exceeded".into() };
    for (answer, cause) in [
        (Answer::WrongLastSequence { description: "wrong last sequence: 5".into() }, "wrong_last_sequence"),
        (Answer::TooLarge { description: "message size exceeds maximum allowed".into() }, "too_large"),
        (rejected, "rejected"),
    ] {
        let mut w = world();
        let mut outcome = w.push("a", "a1");
        let key = w.send()[0].0;
        w.answer(key, 1, answer);
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().cause(), cause);
    }
    let mut w = world();
    let mut outcome = w.push("a", "a1");
    let key = w.send()[0].0;
    w.answer(key, 1, Answer::NoResponders);
    w.queue.asked(key, Some(false), w.now);
    assert_eq!(outcome.try_recv().unwrap().unwrap_err().cause(), "no_stream");
}

#[test]
fn refuses_what_the_server_forbids() {
    let mut w = world();
    let mut outcome = w.push("a.b", "1");
    w.send();
    w.queue.forbid("a.b", w.now);
    w.queue.forbid("not there", w.now);
    assert_eq!(outcome.try_recv().unwrap().unwrap_err().cause(), "forbidden");
}

#[test]
fn a_new_connection_sends_again_what_was_in_flight_on_the_old_one() {
    let mut w = world();
    let _a = w.push("a", "a1");
    w.send();
    let since = w.now + Duration::from_millis(1);
    w.now += Duration::from_millis(2);
    let _b = w.push("b", "b1");
    w.send();
    w.queue.reconnected(since);
    assert_eq!(w.ids(), ["a1"]);
}

#[test]
fn without_a_connection_ready_messages_give_up_after_the_window() {
    let mut w = world();
    let mut outcome = w.push("a", "a1");
    w.now += Duration::from_secs(45);
    w.queue.expire_ready(w.now);
    assert!(outcome.try_recv().is_err());
    w.now += Duration::from_secs(1);
    w.queue.expire_ready(w.now);
    assert_eq!(outcome.try_recv().unwrap().unwrap_err().cause(), "unavailable");
    assert!(w.queue.is_empty());
}

#[test]
fn a_flush_ends_with_what_came_before_it_not_after() {
    let mut w = world();
    let _a1 = w.push("a", "a1");
    let (waiter, mut flushed) = oneshot::channel();
    w.queue.flush(waiter);
    let _a2 = w.push("a", "a2");
    let key = w.send()[0].0;
    assert!(flushed.try_recv().is_err());
    w.answer(key, 1, STORED);
    flushed.try_recv().unwrap();
    let (waiter, mut second) = oneshot::channel();
    w.queue.flush(waiter);
    let key = w.send()[0].0;
    assert!(second.try_recv().is_err());
    w.answer(key, 1, STORED);
    second.try_recv().unwrap();
    let (waiter, mut idle) = oneshot::channel();
    w.queue.flush(waiter);
    idle.try_recv().unwrap();
}

#[test]
fn an_abort_tells_the_sent_from_the_unsent() {
    let mut w = world();
    let mut sent = w.push("a", "a1");
    w.send();
    let mut behind = w.push("a", "a2");
    let mut unsent = w.push("b", "b1");
    w.queue.abort(w.now);
    assert_eq!(sent.try_recv().unwrap().unwrap_err().cause(), "unknown");
    assert_eq!(behind.try_recv().unwrap().unwrap_err(), PublishError::Closed);
    assert_eq!(unsent.try_recv().unwrap().unwrap_err(), PublishError::Closed);
    assert!(w.queue.is_empty());
}

#[test]
fn gives_its_room_back_whatever_the_outcome() {
    let mut w = world();
    let _a = w.push("a", "a1");
    let _b = w.push("b", "b1");
    let key = w.send()[0].0;
    w.answer(key, 1, STORED);
    w.queue.abort(w.now);
    assert_eq!((w.accounts.messages.available_permits(), w.accounts.bytes.available_permits()), (2, 20));
    let stats = w.accounts.counters.snapshot();
    assert_eq!((stats.in_flight, stats.in_flight_bytes), (0, 0));
}
