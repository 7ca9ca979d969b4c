//! The life of every accepted message until it is answered: a state machine without I/O and without a clock.
//!
//! Per subject one message is *in front*; the others of the subject wait behind it in order. The one in front is ready,
//! in flight, pausing before a retry, or waiting to hear whether its subject has a stream at all. Every change is an event
//! with the time it happened: an attempt sent, an answer, a deadline, a new connection.
//!
//! Bounds: the permits in [`Accounts`] are taken before a job comes here and given back when it is settled, so all
//! collections here are bounded by them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Published;
use super::answer::Answer;
use super::backoff::Backoff;
use super::error::PublishError;
use super::flushes::Flushes;
use super::job::{Accounts, Attempt, Job};
use super::options::Options;
use crate::subject::Subject;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// May be sent.
    Ready,
    /// Sent, no answer yet.
    InFlight,
    /// Not stored by the last attempt as far as known; sent again when its pause is over.
    Pausing,
    /// Nobody listens: waits to hear whether a stream takes its subject.
    Asking,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    state: State,
    /// When it came to the front: the retry window begins.
    since: Instant,
    first_sent: Option<Instant>,
    last_sent: Instant,
    attempts: u32,
    /// Attempts that nobody answered: any of them may have been stored.
    unanswered: u32,
    /// As [`Flushes`] counts.
    epoch: u64,
}

#[derive(Debug)]
struct Lane {
    front: u64,
    waiting: VecDeque<(Job, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    Unanswered,
    NotStored,
}

#[derive(Debug)]
pub(crate) struct Queue {
    ack_timeout: Duration,
    retry_window: Duration,
    backoff: Backoff,
    accounts: Arc<Accounts>,
    next_key: u64,
    entries: HashMap<u64, Entry>,
    lanes: HashMap<Subject, Lane>,
    ready: VecDeque<u64>,
    /// When which attempt runs out of time; in order, because all wait equally long. Settled ones are dropped lazily.
    deadlines: VecDeque<(Instant, u64, u32)>,
    pauses: BinaryHeap<Reverse<(Instant, u64)>>,
    flushes: Flushes,
}

impl Entry {
    fn may_be_stored(&self) -> bool {
        self.unanswered > 0 || self.state == State::InFlight
    }
}

impl Queue {
    pub(crate) fn new(options: &Options, accounts: Arc<Accounts>) -> Queue {
        Queue {
            ack_timeout: options.ack_timeout,
            retry_window: options.retry_window,
            backoff: Backoff { first: options.backoff, longest: options.backoff_max },
            accounts,
            next_key: 1,
            entries: HashMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            deadlines: VecDeque::new(),
            pauses: BinaryHeap::new(),
            flushes: Flushes::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Takes an accepted message: to the front of its subject, or behind the others.
    pub(crate) fn push(&mut self, job: Job, now: Instant) {
        let epoch = self.flushes.begin();
        if let Some(lane) = self.lanes.get_mut(&job.subject) {
            lane.waiting.push_back((job, epoch));
            return;
        }
        let subject = job.subject.clone();
        let front = self.front(job, epoch, now);
        self.lanes.insert(subject, Lane { front, waiting: VecDeque::new() });
    }

    /// Tells `waiter` when everything pushed so far is settled.
    pub(crate) fn flush(&mut self, waiter: oneshot::Sender<()>) {
        self.flushes.wait(waiter);
    }

    /// The next message that may be sent, or `None`.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        while let Some(&key) = self.ready.front() {
            if self.entries.get(&key).is_some_and(|entry| entry.state == State::Ready) {
                return Some(key);
            }
            self.ready.pop_front();
        }
        None
    }

    /// What an attempt of `key`, which [`next_ready`](Queue::next_ready) gave, puts on the wire.
    pub(crate) fn attempt(&self, key: u64) -> Option<Attempt> {
        let Entry { job, attempts, .. } = self.entries.get(&key)?;
        Some(job.attempt(attempts + 1))
    }

    /// The attempt of `key` was handed to the connection.
    pub(crate) fn sent(&mut self, key: u64, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.state = State::InFlight;
        entry.attempts += 1;
        entry.last_sent = now;
        entry.first_sent.get_or_insert(now);
        if entry.attempts > 1 {
            self.accounts.counters.retried();
        }
        self.deadlines.push_back((now + self.ack_timeout, key, entry.attempts));
    }

    /// An answer came to an attempt. Gives the subject to ask about when nobody listens on it.
    pub(crate) fn answer(&mut self, key: u64, attempt: u32, answer: Answer, now: Instant) -> Option<Subject> {
        let entry = self.entries.get_mut(&key)?;
        if let Answer::Stored { sequence, duplicate } = answer {
            // of whichever attempt: it is stored
            let published = Published {
                sequence,
                duplicate,
                attempts: entry.attempts,
                latency: now - entry.first_sent.unwrap_or(now),
            };
            self.settle(key, Ok(published), now);
            return None;
        }
        if entry.state != State::InFlight || entry.attempts != attempt {
            // a late refusal of an attempt already given up: the next one will hear the same
            return None;
        }
        let subject = entry.job.subject.clone();
        match answer {
            Answer::NoResponders => {
                entry.state = State::Asking;
                return Some(subject);
            }
            Answer::Transient { code, description } => {
                tracing::debug!(%subject, code, description, "not stored, will try again");
                self.attempt_failed(key, Failure::NotStored, now);
            }
            Answer::Unreadable => self.attempt_failed(key, Failure::Unanswered, now),
            Answer::WrongLastSequence { description } => {
                self.settle(key, Err(PublishError::WrongLastSequence { subject, description }), now);
            }
            Answer::TooLarge { description } => {
                let bytes = entry.job.payload.len();
                self.settle(key, Err(PublishError::TooLarge { subject, bytes, limit: description }), now);
            }
            Answer::Rejected { code, description } => {
                let id = entry.job.id.to_string();
                self.settle(key, Err(PublishError::Rejected { subject, id, code, description }), now);
            }
            Answer::Stored { .. } => unreachable!("handled above"),
        }
        None
    }

    /// What is known about the stream of a subject that nobody listens on: `Some(false)` refuses it, anything else is an
    /// election or silence, and it is tried again.
    pub(crate) fn asked(&mut self, key: u64, has_stream: Option<bool>, now: Instant) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        if entry.state != State::Asking {
            return;
        }
        if has_stream == Some(false) {
            let subject = entry.job.subject.clone();
            self.settle(key, Err(PublishError::NoStream { subject }), now);
        } else {
            self.attempt_failed(key, Failure::NotStored, now);
        }
    }

    /// Refuses the message of `key` for a reason found while sending it.
    pub(crate) fn refuse(&mut self, key: u64, error: PublishError, now: Instant) {
        self.settle(key, Err(error), now);
    }

    /// The server does not let us publish on `subject`.
    pub(crate) fn forbid(&mut self, subject: &str, now: Instant) {
        let Ok(subject) = Subject::parse(subject) else {
            return;
        };
        if let Some(key) = self.lanes.get(&subject).map(|lane| lane.front)
            && self.entries.get(&key).is_some_and(|entry| entry.attempts > 0)
        {
            self.settle(key, Err(PublishError::Forbidden { subject }), now);
        }
    }

    /// When [`expire`](Queue::expire) has something to do, if nothing happens before.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(&(_, key, attempt)) = self.deadlines.front() {
            if self.awaits(key, attempt) {
                break;
            }
            self.deadlines.pop_front();
        }
        let ack = self.deadlines.front().map(|&(at, ..)| at);
        let pause = self.pauses.peek().map(|&Reverse((at, _))| at);
        ack.into_iter().chain(pause).min()
    }

    /// Attempts whose time is over fail, pauses that are over end.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, key, attempt)) = self.deadlines.front() {
            let awaits = self.awaits(key, attempt);
            if awaits && at > now {
                break;
            }
            self.deadlines.pop_front();
            if awaits {
                self.attempt_failed(key, Failure::Unanswered, now);
            }
        }
        while let Some(&Reverse((at, key))) = self.pauses.peek()
            && at <= now
        {
            self.pauses.pop();
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.state == State::Pausing
            {
                entry.state = State::Ready;
                self.ready.push_back(key);
            }
        }
    }

    /// There is no connection: gives up what has been ready for longer than the retry window.
    pub(crate) fn expire_ready(&mut self, now: Instant) {
        let over: Vec<u64> = self
            .ready
            .iter()
            .copied()
            .filter(|key| {
                self.entries
                    .get(key)
                    .is_some_and(|entry| entry.state == State::Ready && now - entry.since > self.retry_window)
            })
            .collect();
        for key in over {
            self.give_up(key, now);
        }
    }

    /// A new connection: answers to what was sent before `since` may never come, so it is sent again at once. The stream
    /// knows the ids.
    pub(crate) fn reconnected(&mut self, since: Instant) {
        for &(_, key, attempt) in &self.deadlines {
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.state == State::InFlight
                && entry.attempts == attempt
                && entry.last_sent < since
            {
                entry.unanswered += 1;
                entry.state = State::Ready;
                self.ready.push_back(key);
            }
        }
    }

    /// Answers everything now: what may be stored as unknown, the rest as closed.
    pub(crate) fn abort(&mut self, now: Instant) {
        while let Some(key) = self.lanes.values().next().map(|lane| lane.front) {
            if self.entries.get(&key).is_some_and(Entry::may_be_stored) {
                self.give_up(key, now);
            } else {
                self.settle(key, Err(PublishError::Closed), now);
            }
        }
    }

    fn awaits(&self, key: u64, attempt: u32) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.state == State::InFlight && entry.attempts == attempt)
    }

    fn attempt_failed(&mut self, key: u64, failure: Failure, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if failure == Failure::Unanswered {
            entry.unanswered += 1;
        }
        let pause = self.backoff.pause(entry.attempts);
        if now + pause > entry.since + self.retry_window {
            self.give_up(key, now);
            return;
        }
        entry.state = State::Pausing;
        self.pauses.push(Reverse((now + pause, key)));
    }

    fn give_up(&mut self, key: u64, now: Instant) {
        let Some(entry) = self.entries.get(&key) else { return };
        let (subject, id) = (entry.job.subject.clone(), entry.job.id.to_string());
        let (waited, attempts) = (now - entry.since, entry.attempts);
        let error = if entry.may_be_stored() {
            PublishError::Unknown { subject, id, waited, attempts }
        } else {
            PublishError::Unavailable { subject, id, waited, attempts }
        };
        self.settle(key, Err(error), now);
    }

    /// Brings a message to the front of its subject.
    fn front(&mut self, job: Job, epoch: u64, now: Instant) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        let entry = Entry {
            job,
            state: State::Ready,
            since: now,
            first_sent: None,
            last_sent: now,
            attempts: 0,
            unanswered: 0,
            epoch,
        };
        self.entries.insert(key, entry);
        self.ready.push_back(key);
        key
    }

    /// Answers the caller, gives its room back, and lets the next of the subject come forward.
    fn settle(&mut self, key: u64, result: Result<Published, PublishError>, now: Instant) {
        let Some(Entry { mut job, epoch, attempts, .. }) = self.entries.remove(&key) else {
            return;
        };
        self.accounts.counters.settled(job.cost as usize);
        match &result {
            Ok(published) => self.accounts.counters.acked(published.duplicate, published.latency),
            Err(error) => self.accounts.counters.failed(error),
        }
        if let Some(trace) = job.trace.take() {
            trace.end(&result, attempts);
        }
        self.accounts.messages.add_permits(1);
        self.accounts.bytes.add_permits(job.cost as usize);
        // the caller may have lost interest: the message is settled all the same
        let _ = job.answer.send(result);

        match self.lanes.get_mut(&job.subject).and_then(|lane| lane.waiting.pop_front()) {
            Some((next, epoch)) => {
                let front = self.front(next, epoch, now);
                if let Some(lane) = self.lanes.get_mut(&job.subject) {
                    lane.front = front;
                }
            }
            None => {
                self.lanes.remove(&job.subject);
            }
        }
        self.flushes.end(epoch);
    }
}

#[cfg(test)]
mod tests;
