//! Where a new subscription begins: with a snapshot, or where another connection stood.
//!
//! A resume is granted only when it is proven: same stream, the cursor's message still what it was,
//! and everything behind it still kept. What the shard cannot prove by itself it asks the bus, once for
//! everybody who comes with the same cursor.

use std::sync::Arc;

use odin_protocol::{
    Cursor as Since,
    error::ResumeFailure,
    message::{Mode, RequestId},
};

use super::{
    Shard, TICKS_PER_S,
    feed::{Judged, Waiting},
    subscription::{COVERED, Cursor, WAITING},
};
use crate::{bus::Command, page::Page, question::From, queue::FeedId};

/// Answers about cursors kept for each feed, for as long as they may be taken for the stream's.
const JUDGED: usize = 64;
const JUDGED_TICKS: u64 = TICKS_PER_S;

/// How a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Everything behind this sequence follows.
    After(Since),
    /// The last values follow; a resume failed for this reason.
    Snapshot(Option<ResumeFailure>),
}

/// What a shard knows of a cursor.
enum Verdict {
    Known(Beginning),
    /// The bus has to be asked, or was asked already.
    Ask(Since, Option<u64>),
    Wait(Since),
}

impl Shard {
    /// The subscription begins now, or as soon as its cursor has been checked.
    pub(super) fn begin(&mut self, slot: usize, id: Option<RequestId>, feed: u32, since: Option<Box<str>>) {
        let verdict = match &since {
            None => match (self.past_of(slot), self.feeds.at(feed).epoch) {
                // What is no longer kept is told as a gap.
                (Some(From::Oldest), Some(epoch)) => {
                    Verdict::Known(Beginning::After(Since { epoch, seq: 0, ts_ms: 0 }))
                }
                (Some(From::Time(ts_ms)), _) => return self.find(slot, id, feed, ts_ms),
                _ => Verdict::Known(Beginning::Snapshot(None)),
            },
            Some(text) => self.judge(slot, feed, text),
        };
        let checking = match verdict {
            Verdict::Known(beginning) => return self.start(slot, id, feed, beginning, since.is_some()),
            Verdict::Wait(cursor) => cursor,
            Verdict::Ask(cursor, until) => {
                let found = self.feeds.at_mut(feed);
                let judged = Judged { cursor, replays: until.is_some(), at: None, failure: None };
                found.judged.push(judged);
                let (shard, feed) = (self.index, found.id);
                self.ask(Command::Check { shard, feed, cursor, until });
                cursor
            }
        };
        let waiting = Waiting { slot: slot as u32, request: id, since, checking: Some(checking) };
        self.feeds.at_mut(feed).waiting.push(waiting);
    }

    /// Has the bus look for the position of a time; the subscription begins when it is found.
    fn find(&mut self, slot: usize, request: Option<RequestId>, feed: u32, ts_ms: i64) {
        let found = self.feeds.at_mut(feed);
        found.waiting.push(Waiting { slot: slot as u32, request, since: None, checking: None });
        let (shard, feed) = (self.index, found.id);
        self.ask(Command::Find { shard, feed, ts_ms });
    }

    /// The bus has found it.
    pub(super) fn found(&mut self, id: FeedId, ts_ms: i64, cursor: Since) {
        let Some(feed) = self.feeds.get_mut(id) else {
            return;
        };
        let waiting = std::mem::take(&mut feed.waiting);
        let (meant, others) = waiting.into_iter().partition(|waiting| {
            waiting.since.is_none() && self.past_of(waiting.slot as usize) == Some(From::Time(ts_ms))
        });
        self.feeds.at_mut(id.slot).waiting = others;
        let meant: Vec<Waiting> = meant;
        for Waiting { slot, request, .. } in meant {
            let slot = slot as usize;
            self.begin(slot, request, id.slot, Some(cursor.to_string().into()));
            self.catch_up(slot);
            self.ring(slot);
        }
    }

    fn judge(&self, slot: usize, feed: u32, text: &str) -> Verdict {
        let failed = |failure| Verdict::Known(Beginning::Snapshot(Some(failure)));
        let Ok(cursor) = text.parse::<Since>() else {
            return failed(ResumeFailure::InvalidCursor);
        };
        let connection = &self.connections[slot];
        let at = connection.find(feed).expect("subscribed before");
        let mode = self.mode_of(slot, &connection.subscriptions[at]);
        let feed = self.feeds.at(feed);
        if feed.epoch != Some(cursor.epoch) {
            return failed(ResumeFailure::EpochChanged);
        }
        let replays = mode == Mode::All && cursor.seq < feed.ring.base_seq();
        // A position of several chains is a tick; that of one chain its last value, mostly.
        let last = feed.last.values().next().filter(|_| feed.is_one_chain()).map(|last| &last.publication);
        let known = last.filter(|last| last.seq == cursor.seq).map(|last| last.ts_ms);
        let known = known
            .or_else(|| self.freshness.time_of(cursor.epoch, cursor.seq))
            .or_else(|| feed.ring.time_of(cursor.seq));
        match known {
            Some(ts_ms) if ts_ms != cursor.ts_ms => return failed(ResumeFailure::RolledBack),
            Some(_) if !replays => return Verdict::Known(Beginning::After(cursor)),
            _ => {}
        }
        let found = feed.judged.iter().find(|judged| judged.cursor == cursor && judged.replays == replays);
        match found {
            Some(Judged { at: None, .. }) => Verdict::Wait(cursor),
            Some(Judged { at: Some(at), failure, .. }) if at + JUDGED_TICKS > self.ticks => {
                Verdict::Known(self.verdict(slot, cursor, *failure))
            }
            _ => Verdict::Ask(cursor, replays.then_some(feed.reads_until())),
        }
    }

    /// What follows from what the stream says of a cursor. A history comes in parts, however long it is.
    fn verdict(&self, slot: usize, cursor: Since, failure: Option<ResumeFailure>) -> Beginning {
        match failure {
            Some(ResumeFailure::ReplayLimit) if self.past_of(slot).is_some() => Beginning::After(cursor),
            Some(failure) => Beginning::Snapshot(Some(failure)),
            None => Beginning::After(cursor),
        }
    }

    /// The bus has answered what a cursor is worth.
    pub(super) fn checked(&mut self, id: FeedId, cursor: Since, answer: Result<Option<Arc<Page>>, ResumeFailure>) {
        let (now, Some(feed)) = (self.ticks, self.feeds.get_mut(id)) else {
            return;
        };
        let failure = answer.as_ref().err().copied();
        for judged in feed.judged.iter_mut().filter(|judged| judged.cursor == cursor && judged.at.is_none()) {
            (judged.at, judged.failure) = (Some(now), failure);
        }
        feed.judged.retain(|judged| judged.at.is_none_or(|at| at + JUDGED_TICKS > now));
        if feed.judged.len() > JUDGED
            && let Some(oldest) = feed.judged.iter().position(|judged| judged.at.is_some())
        {
            feed.judged.remove(oldest);
        }
        let (waiting, others) = feed.waiting.drain(..).partition(|waiting| waiting.checking == Some(cursor));
        feed.waiting = others;
        if let Ok(Some(page)) = answer {
            self.pages.keep(id, page, now);
        }
        let waiting: Vec<Waiting> = waiting;
        for Waiting { slot, request, .. } in waiting {
            let beginning = self.verdict(slot as usize, cursor, failure);
            self.start_waiting(slot as usize, request, id.slot, beginning);
        }
    }

    fn start_waiting(&mut self, slot: usize, request: Option<RequestId>, feed: u32, beginning: Beginning) {
        // An answer before this one may have found the connection gone.
        let Some(at) = self.connections.get(slot).and_then(|connection| connection.find(feed)) else {
            return;
        };
        if self.connections[slot].subscriptions[at].index == WAITING {
            self.start(slot, request, feed, beginning, true);
            // Asked again in the meantime: answered again.
            let (again, others) =
                self.feeds.at_mut(feed).waiting.drain(..).partition(|waiting| waiting.slot as usize == slot);
            self.feeds.at_mut(feed).waiting = others;
            let again: Vec<Waiting> = again;
            for waiting in again {
                self.say_subscribed(slot, waiting.request, feed, None);
            }
        } else {
            self.say_subscribed(slot, request, feed, None);
        }
        self.catch_up(slot);
    }

    /// The subscription starts here: the answer, then the snapshot or what was missed, then what
    /// follows.
    fn start(&mut self, slot: usize, id: Option<RequestId>, feed: u32, mut beginning: Beginning, resumes: bool) {
        let at = self.connections[slot].find(feed).expect("subscribed before");
        let is_covered = self.is_covered(slot, feed);
        if is_covered
            && let Beginning::After(since) = beginning
            && !self.is_carried_from(slot, feed, since.seq)
        {
            beginning = Beginning::Snapshot(Some(ResumeFailure::Unsupported));
        }
        if resumes {
            let failure = match beginning {
                Beginning::After(_) => None,
                Beginning::Snapshot(failure) => failure,
            };
            self.metrics.resumes.of(failure.into()).add(1);
        }
        self.say_subscribed(slot, id, feed, Some(beginning));
        if self.feeds.at(feed).is_silent {
            let silence = self.silence(feed);
            self.answer(slot, &silence);
        }
        if is_covered {
            self.connections[slot].subscriptions[at].index = COVERED;
            self.feeds.at_mut(feed).covered += 1;
            if let Beginning::After(since) = beginning {
                self.raise_floor(slot, feed, since.seq);
            }
            self.end_merging(slot, at);
        } else {
            self.cover(slot, feed, beginning);
            self.list(slot, at, beginning);
        }
    }

    /// Where a subscription that begins so stands.
    pub(super) fn beginning(&self, feed: u32, mode: Mode, beginning: Beginning) -> Cursor {
        let feed = self.feeds.at(feed);
        match beginning {
            Beginning::After(since) => Cursor::after(feed, since.seq, mode),
            Beginning::Snapshot(_) => Cursor::fresh(feed, mode),
        }
    }
}
