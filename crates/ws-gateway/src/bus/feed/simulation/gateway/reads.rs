//! The reads of a modelled gateway, one stage at a time.

use std::sync::Arc;

use super::{
    super::{
        super::Stored,
        listener::Said,
        random::Random,
        stream::{Set, Stream, each, highest, one, up_to},
    },
    Gateway,
};

/// Messages of a batch. Fewer than a hole may have, so that a read takes several.
const BATCH: usize = 2;

type Lasts = Vec<(Arc<str>, u64)>;

/// A read under way. Each turn it comes one stage further, or fails and begins again.
#[derive(Debug)]
pub(super) enum Read {
    Open {
        opening: u32,
        barrier: Option<u64>,
        answer: Option<(u64, Vec<Stored>)>,
    },
    Fill {
        opening: u32,
        subject: usize,
        until: u64,
        next: u64,
        found: Vec<Stored>,
        is_complete: bool,
        kept_from: Option<u64>,
    },
    Audit {
        after: u64,
        answer: Option<(u64, Lasts)>,
        /// The opening whose holes it has shown.
        seen_by: u32,
        kept_from: Option<u64>,
    },
    /// For the client in this place: a replica must have everything up to `need`.
    Resume {
        client: usize,
        need: u64,
        found: Option<Set>,
    },
}

impl Gateway {
    pub(super) fn fail(&mut self, read: &mut Read) {
        match read {
            Read::Open { barrier, answer, .. } => (*barrier, *answer) = (None, None),
            Read::Fill { next, found, is_complete, kept_from, .. } => {
                (*next, *is_complete, *kept_from) = (0, false, None);
                found.clear();
            }
            Read::Audit { after, answer, seen_by, kept_from } => {
                (*after, *answer, *seen_by, *kept_from) = (self.feed.watermark(), None, 0, None);
            }
            Read::Resume { found, .. } => *found = None,
        }
    }

    /// Returns whether the read has come back.
    pub(super) fn advance(&mut self, read: &mut Read, stream: &Stream, random: &mut Random, replica: usize) -> bool {
        match read {
            Read::Open { opening, .. } | Read::Fill { opening, .. } if *opening != self.opening => return true,
            Read::Open { barrier: barrier @ None, .. } => *barrier = Some(stream.last()),
            Read::Open { barrier: Some(barrier), answer: answer @ None, .. } => {
                let (kept, applied) = stream.at(replica);
                if applied >= *barrier {
                    let lasts = (0..self.width).map(|subject| highest(kept & stream.of(subject)));
                    let lasts = lasts.filter(|last| *last > 0).map(|last| stream.read_back(last));
                    *answer = Some((applied, lasts.collect()));
                }
            }
            Read::Open { answer: Some((applied, lasts)), .. } => {
                let (applied, lasts) = (*applied, std::mem::take(lasts));
                self.opened(stream, random, applied, &lasts);
                return true;
            }
            Read::Fill { subject, until, next, found, is_complete: is_complete @ false, .. } => {
                if *next == 0 {
                    *next = self.feed.have(&self.names[*subject]) + 1;
                }
                let (kept, applied) = stream.at(replica);
                if applied >= *until {
                    let more = kept & stream.of(*subject) & up_to(*until) & !up_to(*next - 1);
                    let before = found.len();
                    found.extend(each(more).take(BATCH).map(|seq| stream.read_back(seq)));
                    *is_complete = found.len() < before + BATCH;
                    *next = found.last().map_or(*next, |last| last.seq + 1);
                }
            }
            Read::Fill { subject, kept_from: kept_from @ None, .. } => *kept_from = Some(stream.kept_from(*subject)),
            Read::Fill { subject, until, found, kept_from: Some(kept_from), .. } => {
                let (name, found) = (self.names[*subject].clone(), std::mem::take(found));
                if self.is_traced {
                    eprintln!("filled {name} {:?} from {kept_from}", found.iter().map(|m| m.seq).collect::<Vec<_>>());
                }
                self.feed.filled(&name, found, *kept_from, &mut self.steps);
                self.take_steps(stream, random);
                let missing = stream.of(*subject) & one(*until) & !self.feed_hears.heard();
                assert_eq!(missing, 0, "nobody heard of {until}, and it was stored");
                return true;
            }
            Read::Audit { after, answer: answer @ None, .. } => {
                let (kept, applied) = stream.at(replica);
                let changed = |subject: usize| highest(kept & stream.of(subject) & !up_to(*after));
                let lasts = (0..self.width).map(|subject| (self.names[subject].clone(), changed(subject)));
                *answer = Some((applied, lasts.filter(|(_, last)| *last > 0).collect()));
            }
            Read::Audit { answer: Some((applied, lasts)), .. } if !self.feed.is_live() => {
                // Ignored, and not asked again.
                self.feed.audited(*applied, lasts, &mut self.steps);
                assert!(self.steps.is_empty());
                return true;
            }
            Read::Audit { answer: Some((applied, lasts)), seen_by, kept_from, .. } if *seen_by != self.opening => {
                (*seen_by, *kept_from) = (self.opening, None);
                for (name, last) in &*lasts {
                    if *last > self.feed.have(name) {
                        self.shown |= one(*last);
                    }
                }
                // Where nothing is evicted, an audit is told at once.
                if stream.evicted == 0 {
                    self.feed.audited(*applied, lasts, &mut self.steps);
                } else {
                    lasts.iter().for_each(|(name, last)| self.feed.verified(name, *last, &mut self.steps));
                }
                self.take_steps(stream, random);
            }
            Read::Audit { kept_from: kept_from @ None, .. } => *kept_from = Some(stream.first()),
            Read::Audit { answer: Some((applied, lasts)), kept_from: Some(kept_from), .. } => {
                if self.is_traced {
                    eprintln!("audit up to {applied}: {lasts:?}, kept from {kept_from}");
                }
                if let Some((after, until)) = self.feed.outlived(*kept_from, &mut self.steps) {
                    self.gap = until;
                    self.say(stream, Said::Gap { after, until });
                    self.take_steps(stream, random);
                }
                self.feed.audited(*applied, lasts, &mut self.steps);
                self.take_steps(stream, random);
                // Some come twice.
                return !random.once_in(8);
            }
            Read::Resume { client, need, found: found @ None } => {
                let (kept, applied) = stream.at(replica);
                if applied >= *need {
                    let client = &self.clients[*client];
                    let missed = |subject: usize| stream.of(subject) & up_to(client.have[subject]);
                    let missed = (0..self.width).fold(0, |all, subject| all | missed(subject));
                    *found = Some(kept & missed & !up_to(client.cursor));
                }
            }
            Read::Resume { client, found: Some(found), .. } => {
                self.resumed(stream, *client, *found);
                return true;
            }
        }
        false
    }
}
