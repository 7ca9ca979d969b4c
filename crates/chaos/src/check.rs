//! Compares what a client was told with what the stream has stored. Pure: histories and a ledger go in, faults of
//! the gateway come out.

use std::collections::{HashMap, HashSet};

use odin_protocol::{Channel, Mode, ResumeFailure, error::GapReason};

use crate::{
    history::{Chain, Record},
    ledger::Life,
};

/// What may legitimately have happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuses {
    /// Messages were removed by limits, or purged: gaps and resets are right.
    pub removed: bool,
    /// The stream was created anew.
    pub recreated: bool,
}

/// Counted broken promises, and what is allowed but worth knowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Updates taken.
    pub deliveries: u64,
    /// Stored, owed and never sent.
    pub missing: u64,
    /// Sent twice on one connection.
    pub duplicate: u64,
    /// Sent after a later one of its chain.
    pub reordered: u64,
    /// `prev` that is not what the stream has before it.
    pub wrong_prev: u64,
    /// Sent and never stored, or with another content.
    pub invented: u64,
    /// Gaps although the stream had everything.
    pub needless_gaps: u64,
    /// Resumes refused although the stream had everything.
    pub needless_resets: u64,
    /// Chains that did not end at their newest value.
    pub not_newest: u64,
    /// Repeated after a resume, as patterns do from their last position.
    pub overlap: u64,
    /// Gaps that were announced with reason.
    pub gaps: u64,
    /// Resumes that went on without a loss.
    pub recovered: u64,
    /// The first few, in words.
    pub words: Vec<String>,
}

/// Most findings that are described.
const WORDS: usize = 20;

impl Findings {
    /// Whether a promise was broken.
    pub fn are_violations(&self) -> bool {
        self.missing
            + self.duplicate
            + self.reordered
            + self.wrong_prev
            + self.invented
            + self.needless_gaps
            + self.needless_resets
            + self.not_newest
            > 0
    }

    /// Adds another client's.
    pub fn add(&mut self, other: &Findings) {
        self.deliveries += other.deliveries;
        self.missing += other.missing;
        self.duplicate += other.duplicate;
        self.reordered += other.reordered;
        self.wrong_prev += other.wrong_prev;
        self.invented += other.invented;
        self.needless_gaps += other.needless_gaps;
        self.needless_resets += other.needless_resets;
        self.not_newest += other.not_newest;
        self.overlap += other.overlap;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        let room = WORDS.saturating_sub(self.words.len());
        self.words.extend(other.words.iter().take(room).cloned());
    }

    fn say(&mut self, words: impl FnOnce() -> String) {
        if self.words.len() < WORDS {
            self.words.push(words());
        }
    }
}

/// Where one chain stands at a client.
#[derive(Debug, Default)]
struct Place {
    /// Everything up to here is accounted for. None: nothing to compare with.
    last: Option<u64>,
    /// The newest value that was shown. A snapshot need not show it again: our clients leave out what they have had.
    shown: u64,
    /// What came on this connection.
    on_connection: HashSet<u64>,
    highest_on_connection: u64,
}

/// The check of one client, fed with its records bit by bit.
#[derive(Debug)]
pub struct Checker {
    name: String,
    mode: Mode,
    /// What it subscribes to.
    channels: Vec<Channel>,
    places: HashMap<Chain, Place>,
    /// Which life of the stream an epoch names.
    epochs: HashMap<String, usize>,
    life: usize,
}

impl Checker {
    /// For a client that subscribes to `channels` in one mode.
    pub fn new(name: &str, mode: Mode, channels: Vec<Channel>) -> Checker {
        let (places, epochs) = (HashMap::new(), HashMap::new());
        Checker { name: name.to_owned(), mode, channels, places, epochs, life: 0 }
    }

    /// Takes the next records.
    pub fn take(&mut self, records: &[Record], lives: &[Life], excuses: Excuses, findings: &mut Findings) {
        for record in records {
            match record {
                Record::Connected { .. } => {
                    for place in self.places.values_mut() {
                        place.on_connection.clear();
                        place.highest_on_connection = 0;
                    }
                }
                Record::Subscribed { channel, resumes, recovered, reason, .. } => {
                    self.subscribed(channel, *resumes, *recovered, *reason, excuses, findings);
                }
                Record::Update { .. } => self.update(record, lives, excuses, findings),
                Record::Gap { channel, key, after, until, reason } => {
                    findings.gaps += 1;
                    let is_needless = !excuses.removed || *reason == GapReason::ReplayLimit;
                    if is_needless {
                        findings.needless_gaps += 1;
                        let name = &self.name;
                        findings.say(|| format!("{name}: needless gap of {channel}: {after}..{until} {reason:?}"));
                    }
                    let pattern = Channel::parse(channel).ok();
                    for (chain, place) in &mut self.places {
                        let covers = pattern.as_ref().is_some_and(|pattern| covers(pattern, &chain.channel));
                        if covers && key.as_ref().is_none_or(|key| Some(key) == chain.key.as_ref()) {
                            place.last = place.last.map(|last| last.max(*until));
                        }
                    }
                }
                Record::Parted | Record::Note { .. } => {}
            }
        }
    }

    fn subscribed(
        &mut self,
        channel: &str,
        resumes: bool,
        recovered: bool,
        reason: Option<ResumeFailure>,
        excuses: Excuses,
        findings: &mut Findings,
    ) {
        if recovered {
            findings.recovered += 1;
            return;
        }
        let is_excused = match reason {
            // A first subscription, or one whose client had no position yet.
            None => !resumes,
            Some(ResumeFailure::EpochChanged | ResumeFailure::RolledBack) => excuses.recreated,
            Some(ResumeFailure::CursorTooOld) => excuses.removed || excuses.recreated,
            Some(_) => false,
        };
        if !is_excused {
            findings.needless_resets += 1;
            let name = &self.name;
            findings.say(|| format!("{name}: {channel} was not recovered: {reason:?}"));
        }
        let Ok(subscribed) = Channel::parse(channel) else {
            return;
        };
        for (chain, place) in &mut self.places {
            if covers(&subscribed, &chain.channel) {
                *place = Place { shown: place.shown, ..Place::default() };
            }
        }
    }

    fn update(&mut self, record: &Record, lives: &[Life], excuses: Excuses, findings: &mut Findings) {
        let Record::Update { chain, seq, prev, epoch, snapshot, number } = record else {
            return;
        };
        findings.deliveries += 1;
        let is_stored = |life: &Life| life.chains.get(chain).and_then(|stored| stored.get(seq)) == Some(number);
        let known = self.epochs.get(epoch).copied();
        // An epoch names the life in which its first update was stored.
        let found = known.or_else(|| lives.iter().rposition(is_stored));
        let is_unseen = |life: &Life| life.unseen.iter().any(|(after, until)| after < seq && seq <= until);
        let life_at = match found {
            Some(at) if is_stored(&lives[at]) || is_unseen(&lives[at]) => at,
            _ => {
                findings.invented += 1;
                let name = &self.name;
                findings.say(|| format!("{name}: {chain:?} {seq} was never stored so ({number}, {epoch})"));
                return;
            }
        };
        self.epochs.insert(epoch.clone(), life_at);
        let life = &lives[life_at];
        if life_at != self.life {
            self.life = life_at;
            self.places.clear();
        }
        let place = self.places.entry(chain.clone()).or_default();
        let name = &self.name;
        if !place.on_connection.insert(*seq) {
            findings.duplicate += 1;
            findings.say(|| format!("{name}: {chain:?} {seq} came twice on a connection"));
        } else if *seq < place.highest_on_connection {
            findings.reordered += 1;
            findings.say(|| format!("{name}: {chain:?} {seq} came after {}", place.highest_on_connection));
        }
        place.highest_on_connection = place.highest_on_connection.max(*seq);
        place.shown = place.shown.max(*seq);
        if let Some(prev) = prev.filter(|_| !snapshot) {
            let before = life.before(chain, *seq);
            // What was purged or evicted has no successor: the stream says 0 then.
            let was_removed = excuses.removed || life.purged.get(chain).is_some_and(|purged| *purged >= before);
            let is_known = !life.unseen.iter().any(|(after, until)| *until > before && after < seq);
            if prev != before && !(was_removed && prev == 0) && is_known {
                findings.wrong_prev += 1;
                findings.say(|| format!("{name}: {chain:?} {seq} says prev {prev}, stored is {before}"));
            }
        }
        match place.last {
            Some(last) if *seq <= last => findings.overlap += 1,
            Some(last) if self.mode == Mode::All && !snapshot => {
                let missing = life.owed(chain, last, seq - 1);
                if !missing.is_empty() {
                    findings.missing += missing.len() as u64;
                    findings.say(|| format!("{name}: {chain:?} between {last} and {seq} lacks {missing:?}"));
                }
                place.last = Some(*seq);
            }
            _ => place.last = Some(*seq),
        }
    }

    /// Chains that have not reached their newest value.
    pub fn behind(&self, life_at: usize, life: &Life) -> Vec<(Chain, u64, u64)> {
        let covered = life.chains.keys().filter(|chain| {
            self.channels.iter().any(|channel| covers(channel, &chain.channel)) && life.newest(chain) > 0
        });
        let at = |chain: &Chain| self.places.get(chain).map_or(0, |place| place.shown.max(place.last.unwrap_or(0)));
        let at = |chain: &Chain| if self.life == life_at { at(chain) } else { 0 };
        let behind = covered.map(|chain| (chain.clone(), at(chain), life.newest(chain)));
        // What was purged need not be shown.
        behind.filter(|(chain, at, newest)| at < newest && life.purged.get(chain).is_none_or(|p| p < newest)).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether a subscription covers a concrete channel.
fn covers(subscribed: &Channel, channel: &str) -> bool {
    subscribed.as_str() == channel
        || (subscribed.is_pattern() && Channel::parse(channel).is_ok_and(|channel| subscribed.matches(&channel)))
}

#[cfg(test)]
mod tests;
