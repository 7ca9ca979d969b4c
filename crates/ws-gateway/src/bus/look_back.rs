//! What shards ask of the past: whether a cursor can be resumed from, and pages for those who catch up.

use std::time::Duration;

use futures_util::FutureExt;
use odin_protocol::Cursor;

use super::{
    Bus, Member,
    history::{Checked, Stretch},
    reads::{Done, RETRY},
    replay::ReadError,
    source::SourceId,
};
use crate::queue::Item;

/// One question, which is asked again until it is answered or its feed is gone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// See [`Command::Check`](super::Command::Check).
    Check { cursor: Cursor, until: Option<u64> },
    /// See [`Command::Read`](super::Command::Read).
    Read { after: u64, until: u64 },
    /// See [`Command::Find`](super::Command::Find).
    Find { ts_ms: i64 },
}

/// Its answer.
#[derive(Debug)]
enum Answer {
    Past(Checked),
    /// Sequence and time of a position.
    At(u64, i64),
}

/// What came back.
#[derive(Debug)]
pub(super) struct LookedBack {
    source: SourceId,
    member: Member,
    question: Question,
    answer: Result<Answer, ReadError>,
}

impl Bus {
    pub(super) fn look_back(&mut self, member: Member, question: Question, pause: Duration) {
        let Some(&slot) = self.by_member.get(&member) else {
            return;
        };
        let source = SourceId { slot, opening: self.sources[slot].opening };
        let filter = self.sources[slot].topic.subject.clone();
        let replay = self.replay.clone();
        self.metrics.look_backs.add(1);
        self.reads.push(
            async move {
                tokio::time::sleep(pause).await;
                let answer = match question {
                    Question::Check { cursor, until } => replay.check(&filter, cursor, until).await.map(Answer::Past),
                    Question::Read { after, until } => {
                        replay.stretch(&filter, after, until).await.map(|found| Answer::Past(Ok(Some(found))))
                    }
                    Question::Find { ts_ms } => replay.before(ts_ms).await.map(|(seq, ts_ms)| Answer::At(seq, ts_ms)),
                };
                Done::LookedBack(LookedBack { source, member, question, answer })
            }
            .boxed(),
        );
    }

    pub(super) fn on_looked_back(&mut self, LookedBack { source, member, question, answer }: LookedBack) {
        if self.source(source).is_none() || self.by_member.get(&member) != Some(&source.slot) {
            // Opened anew, which answers every question of before; or nobody is there any more.
            return;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "cannot read the past of a feed yet");
                self.look_back(member, question, RETRY.mul_f64(rand::random_range(0.5..1.5)));
                return;
            }
        };
        let answer = match answer {
            Answer::Past(answer) => answer,
            Answer::At(seq, at_ms) => {
                if let (Question::Find { ts_ms }, Some(epoch)) = (question, self.epoch) {
                    let cursor = Cursor { epoch, seq, ts_ms: at_ms };
                    self.tell(member, |feed| Item::Found { feed, ts_ms, cursor });
                }
                return;
            }
        };
        let answer = answer.map(|found| found.and_then(|stretch| self.page(source, stretch)));
        match (question, answer) {
            (Question::Check { cursor, .. }, answer) => {
                self.tell(member, |feed| Item::Checked { feed, cursor, answer });
            }
            (Question::Read { .. }, Ok(Some(page))) => self.tell(member, |feed| Item::Page { feed, page }),
            (Question::Read { .. } | Question::Find { .. }, _) => {}
        }
    }

    fn page(&mut self, source: SourceId, stretch: Stretch) -> Option<std::sync::Arc<crate::page::Page>> {
        let epoch = self.epoch?;
        Some(self.sources[source.slot].page(stretch, epoch, &self.config.limits).into())
    }
}
