//! What the bus does with a feed: subscribes, opens, reads, audits, and lets clients in.

use std::sync::Arc;

use super::{
    super::{Feed, Step, Stored},
    listener::{Listener, Said},
    random::Random,
    stream::{SUBJECTS, Set, Stream, each, highest, one, up_to},
};

mod reads;

use reads::Read;

/// A client and, while what it missed is being read, what came after it.
#[derive(Debug)]
struct Client {
    listener: Listener,
    cursor: u64,
    have: [u64; SUBJECTS],
    queue: Option<Vec<Said>>,
}

#[derive(Debug)]
pub(super) struct Gateway {
    width: usize,
    room: usize,
    is_traced: bool,
    names: [Arc<str>; SUBJECTS],
    feed: Feed,
    opening: u32,
    opened_at: u64,
    is_connected: bool,
    /// What is on its way from the leader.
    net: Vec<u64>,
    reads: Vec<Read>,
    steps: Vec<Step>,
    feed_hears: Listener,
    /// The last sequence of each subject that a step named.
    told: [u64; SUBJECTS],
    /// Up to here was announced for the whole feed.
    gap: u64,
    /// What came in since the feed was made.
    received: Set,
    /// What an audit has shown to be missing.
    shown: Set,
    clients: Vec<Client>,
}

impl Gateway {
    pub(super) fn new(width: usize, room: usize, names: &[Arc<str>; SUBJECTS], is_traced: bool) -> Self {
        let mut new = Self {
            width,
            room,
            is_traced,
            names: names.clone(),
            feed: Feed::opening(),
            opening: 0,
            opened_at: 0,
            is_connected: true,
            net: Vec::new(),
            reads: Vec::new(),
            steps: Vec::new(),
            feed_hears: Listener::with_snapshot(width, 0, [0; SUBJECTS]),
            told: [0; SUBJECTS],
            gap: 0,
            received: 0,
            shown: 0,
            clients: Vec::new(),
        };
        new.open();
        new
    }

    /// Opens the feed, or opens it anew: whoever listened has to come again.
    pub(super) fn open(&mut self) {
        self.feed = Feed { room: self.room, ..Feed::opening() };
        (self.received, self.shown) = (0, 0);
        self.clients.clear();
        self.reads.retain(|read| !matches!(read, Read::Resume { .. }));
        self.ask_to_open();
    }

    fn ask_to_open(&mut self) {
        self.opening += 1;
        self.reads.push(Read::Open { opening: self.opening, barrier: None, answer: None });
    }

    pub(super) fn watermark(&self) -> Option<u64> {
        self.feed.is_live().then(|| self.feed.watermark())
    }

    /// The leader republishes a message.
    pub(super) fn send(&mut self, stream: &Stream, seq: u64) {
        if self.is_connected && stream.message(seq).subject < self.width {
            self.net.push(seq);
        }
    }

    pub(super) fn connect(&mut self) {
        if !std::mem::replace(&mut self.is_connected, true) {
            self.audit();
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.is_connected = false;
        self.net.clear();
    }

    /// Something on its way gets lost, or overtakes what was sent before it.
    pub(super) fn lose_one(&mut self, random: &mut Random) {
        if !self.net.is_empty() {
            self.net.remove(random.below(self.net.len()));
        }
    }

    pub(super) fn reorder(&mut self, random: &mut Random) {
        if self.net.len() > 1 {
            let (one, other) = (random.below(self.net.len()), random.below(self.net.len()));
            self.net.swap(one, other);
        }
    }

    /// The next message comes in.
    pub(super) fn receive(&mut self, stream: &Stream, random: &mut Random) {
        if self.net.is_empty() {
            return;
        }
        let seq = self.net.remove(0);
        if self.is_traced {
            eprintln!("live {seq}");
        }
        let heard = self.feed_hears.heard();
        self.received |= one(seq);
        self.feed.live(stream.republished(seq), &mut self.steps);
        self.take_steps(stream, random);
        let last = stream.message(seq).last;
        if self.feed.is_live() && last > self.gap && self.feed_hears.heard() & !heard & one(seq) != 0 {
            assert_ne!(self.feed_hears.heard() & one(last), 0, "nobody heard of {last}, which {seq} follows");
        }
    }

    pub(super) fn audit(&mut self) {
        self.reads.push(Read::Audit { after: self.feed.watermark(), answer: None, seen_by: 0, kept_from: None });
    }

    /// A client comes, with a cursor or without.
    pub(super) fn attach(&mut self, cursor: Option<u64>) {
        if !self.feed.is_live() || self.clients.len() >= 4 {
            return;
        }
        if self.is_traced {
            eprintln!("a client attaches with {cursor:?}");
        }
        let Some(cursor) = cursor else {
            let listener = self.snapshot();
            self.clients.push(Client { listener, cursor: 0, have: [0; SUBJECTS], queue: None });
            return;
        };
        let mut have = [0; SUBJECTS];
        for (have, name) in have.iter_mut().zip(&self.names[..self.width]) {
            *have = self.feed.have(name);
        }
        let need = have.into_iter().max().unwrap_or(0);
        self.reads.push(Read::Resume { client: self.clients.len(), need, found: None });
        let listener = Listener::resumed(self.width, cursor);
        self.clients.push(Client { listener, cursor, have, queue: Some(Vec::new()) });
    }

    fn snapshot(&self) -> Listener {
        Listener::with_snapshot(self.width, self.opened_at, self.feed_hears.chains())
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    pub(super) fn is_receiving(&self) -> bool {
        !self.net.is_empty()
    }

    /// Some read comes one stage further.
    pub(super) fn read(&mut self, stream: &Stream, random: &mut Random, may_fail: bool) {
        if self.reads.is_empty() {
            return;
        }
        let at = random.below(self.reads.len());
        let mut read = self.reads.swap_remove(at);
        let replica = random.below(3);
        let is_done = if may_fail && random.once_in(8) {
            self.fail(&mut read);
            false
        } else {
            self.advance(&mut read, stream, random, replica)
        };
        if !is_done {
            self.reads.push(read);
        }
    }

    fn opened(&mut self, stream: &Stream, random: &mut Random, applied: u64, lasts: &[Stored]) {
        if self.is_traced {
            eprintln!("opened at {applied}: {:?}", lasts.iter().map(|m| m.seq).collect::<Vec<_>>());
        }
        let mut snapshot = [0; SUBJECTS];
        for last in lasts {
            snapshot[stream.message(last.seq).subject] = last.seq;
        }
        self.opened_at = applied;
        (self.told, self.gap) = (snapshot, applied);
        self.feed_hears = Listener::with_snapshot(self.width, applied, snapshot);
        self.feed.opened(applied, lasts, &mut self.steps);
        // Those who waited are answered before what was held back.
        self.clients.push(Client { listener: self.snapshot(), cursor: 0, have: [0; SUBJECTS], queue: None });
        self.take_steps(stream, random);
    }

    /// The client's past has been read. What came since then follows.
    fn resumed(&mut self, stream: &Stream, client: usize, found: Set) {
        let snapshot = self.snapshot();
        let client = &mut self.clients[client];
        let queue = client.queue.take().unwrap_or_default();
        if !stream.is_recoverable(client.cursor, self.width) {
            client.listener = snapshot;
            return;
        }
        for seq in each(found) {
            client.listener.read_back(stream, seq);
        }
        for said in queue {
            client.listener.hear(stream, said);
        }
    }

    fn take_steps(&mut self, stream: &Stream, random: &mut Random) {
        let mut steps = std::mem::take(&mut self.steps);
        for step in steps.drain(..) {
            if self.is_traced {
                eprintln!("    {step:?}");
            }
            match step {
                Step::Deliver(message) => self.deliver(stream, &message),
                Step::Lost { subject, after, until } => {
                    let subject = self.number(&subject);
                    assert!(
                        after < until && after >= self.told[subject].max(self.gap),
                        "({after}, {until}] was told before"
                    );
                    self.told[subject] = until;
                    self.say(stream, Said::Lost { subject, after, until });
                }
                Step::Fill { subject, after, until } => {
                    assert!(after < until && until <= stream.last());
                    assert_eq!(self.feed.have(&subject), after, "have() is where the hole begins");
                    let subject = self.number(&subject);
                    let (opening, found) = (self.opening, Vec::new());
                    let fill =
                        Read::Fill { opening, subject, until, next: 0, found, is_complete: false, kept_from: None };
                    self.reads.push(fill);
                }
                Step::Verified(watermark) => {
                    assert!(watermark > self.feed_hears.watermark(), "the watermark only rises");
                    self.say(stream, Said::Verified(watermark));
                }
                Step::Duplicate => {}
                Step::Reopen => self.ask_to_open(),
            }
        }
        self.steps = steps;
        if self.feed.is_live() {
            assert_eq!(self.feed.watermark(), self.feed_hears.watermark(), "the watermark is what was said");
            self.feed_hears.check(stream, self.feed.watermark());
            // At some moment in between, somebody comes.
            if random.once_in(16) {
                self.attach(None);
            }
        }
    }

    fn deliver(&mut self, stream: &Stream, message: &Stored) {
        let (subject, seq) = (self.number(&message.subject), message.seq);
        let prev = message.last.expect("set by the feed");
        let stored_last = stream.message(seq).last;
        let told = self.told[subject];
        assert!(
            prev == told || prev < told && prev == stored_last,
            "{seq} of {subject} follows {told}, in the stream {stored_last}, and says {prev}"
        );
        self.told[subject] = seq;
        self.say(stream, Said::Update { subject, seq, prev });
    }

    fn say(&mut self, stream: &Stream, said: Said) {
        self.feed_hears.hear(stream, said);
        for client in &mut self.clients {
            match &mut client.queue {
                Some(queue) => queue.push(said),
                None => client.listener.hear(stream, said),
            }
        }
    }

    fn number(&self, subject: &str) -> usize {
        usize::from(subject.as_bytes()[0] - b'0')
    }

    /// Without another audit: what came in, or was seen in the stream, is accounted for.
    pub(super) fn check_received(&self, stream: &Stream) {
        let excused = self.feed_hears.heard() | up_to(self.opened_at) | stream.gone | stream.evicted;
        let dropped = self.received & !excused;
        assert_eq!(dropped, 0, "{} came in, and was dropped", highest(dropped));
        let ignored = self.shown & !excused;
        assert_eq!(ignored, 0, "an audit has shown {}, and it was not read", highest(ignored));
    }

    /// After the last audit: everything stored is accounted for, by everybody.
    pub(super) fn check_at_rest(&self, stream: &Stream) {
        assert_eq!(self.feed.watermark(), stream.last(), "the watermark reaches the end of the stream");
        assert!(self.feed.holes.is_empty());
        for client in &self.clients {
            assert!(client.queue.is_none());
            client.listener.check(stream, stream.last());
        }
    }
}
