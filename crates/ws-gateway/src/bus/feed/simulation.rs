//! The feed against a modelled stream: random interleavings, by seed.
//!
//! Each case is a short history: messages are stored, republished (or not), reordered, sent twice
//! and lost; subjects are purged, limits evict, messages expire; reads are answered late, by
//! replicas that lag, in parts, and fail; feeds are opened anew; clients come at any moment, with
//! a snapshot or with a cursor from another gateway. After every step nothing may be missing below
//! the watermark, nothing may come twice or out of order, and every `prev` must be right; once the
//! faults have ended and one audit was made, everything stored must be accounted for.
//!
//! `ODIN_FEED_SEED=n` runs one case and prints it, `ODIN_FEED_CASES=n` runs more of them.

use std::sync::Arc;

use gateway::Gateway;
use random::Random;
use stream::{SUBJECTS, Stream};

mod gateway;
mod listener;
mod random;
mod stream;

const CASES: u64 = 200_000;

/// Says which case it was when one fails.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case that failed: ODIN_FEED_SEED={}", self.0);
        }
    }
}

#[test]
fn loses_nothing_and_repeats_nothing_in_any_interleaving() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let names = std::array::from_fn(|subject| subject.to_string().into());
    if let Some(seed) = number("ODIN_FEED_SEED") {
        run(seed, &names, true);
        return;
    }
    for seed in 0..number("ODIN_FEED_CASES").unwrap_or(CASES) {
        run(seed, &names, false);
    }
}

/// What may go wrong in a case: all of it at once would hide what two of them do together.
#[derive(Debug)]
struct Faults(u64);

impl Faults {
    fn has(&self, kind: u32) -> bool {
        self.0 & (1 << kind) != 0
    }
}

fn run(seed: u64, names: &[Arc<str>; SUBJECTS], is_traced: bool) {
    let case = Case(seed);
    let mut random = Random::new(seed);
    let faults = Faults(random.next());
    let mut stream = Stream::new(names);
    stream.most_per_subject = if faults.has(0) && faults.has(1) { 1 + random.below(3) as u32 } else { 0 };
    stream.most = if faults.has(2) && faults.has(3) { 3 + random.below(6) as u32 } else { 0 };
    let width = 1 + random.below(SUBJECTS - 1);
    let room = 1 + random.below(6);
    for _ in 0..random.below(6) {
        stream.store(random.below(SUBJECTS));
    }
    let count = 1 + usize::from(faults.has(4) && faults.has(5));
    let mut gateways: Vec<_> = (0..count).map(|_| Gateway::new(width, room, names, is_traced)).collect();
    // Sequences that some gateway called verified.
    let mut cursors = vec![0];
    for _ in 0..30 + random.below(50) {
        let which = random.below(count);
        let gateway = &mut gateways[which];
        match random.below(66) {
            0..16 => publish(&mut stream, &mut gateways, &faults, &mut random),
            16..32 => gateway.receive(&stream, &mut random),
            32..46 => gateway.read(&stream, &mut random, faults.has(6)),
            46..50 => stream.replicate(random.below(2), 1 + random.below(4)),
            50..53 => gateway.audit(),
            53..55 => {
                let cursor = cursors[random.below(cursors.len())];
                gateway.attach((!random.once_in(4)).then_some(cursor));
            }
            55..57 => cursors.extend(gateway.watermark()),
            57 if faults.has(7) => gateway.lose_one(&mut random),
            58 if faults.has(8) => gateway.disconnect(),
            58 | 59 => gateway.connect(),
            60 if faults.has(9) => gateway.reorder(&mut random),
            61 if faults.has(10) => republish_again(&stream, &mut gateways, &mut random),
            62..65 if faults.has(11) => remove(&mut stream, &faults, &mut random),
            65 if faults.has(12) && random.once_in(2) => gateway.open(),
            _ => {}
        }
        if is_traced {
            eprintln!("-- stored {}", stream.last());
        }
    }
    come_to_rest(&mut stream, &mut gateways, &mut random);
    for gateway in &gateways {
        gateway.check_at_rest(&stream);
    }
    drop(case);
}

fn publish(stream: &mut Stream, gateways: &mut [Gateway], faults: &Faults, random: &mut Random) {
    if stream.is_full() {
        return;
    }
    stream.store(random.below(SUBJECTS));
    // A leader that is killed takes with it what it has not yet sent out.
    if faults.has(13) && random.once_in(5) {
        return;
    }
    for gateway in gateways {
        gateway.send(stream, stream.last());
    }
}

/// A new leader sends out again what the old one had sent.
fn republish_again(stream: &Stream, gateways: &mut [Gateway], random: &mut Random) {
    let last = stream.last();
    for seq in last.saturating_sub(random.below(4) as u64)..=last {
        for gateway in &mut *gateways {
            if seq > 0 {
                gateway.send(stream, seq);
            }
        }
    }
}

fn remove(stream: &mut Stream, faults: &Faults, random: &mut Random) {
    let subject = random.below(SUBJECTS);
    match random.below(4) {
        0 if faults.has(14) => stream.purge(subject),
        1 if faults.has(15) => stream.evict_oldest(),
        _ if faults.has(16) && stream.last() > 0 => {
            let seq = stream.last() - random.below(stream.last().min(6) as usize) as u64;
            stream.expire(seq, !random.once_in(3), random.once_in(2));
        }
        _ => {}
    }
}

/// No more faults: everything on its way arrives, then an audit.
fn come_to_rest(stream: &mut Stream, gateways: &mut [Gateway], random: &mut Random) {
    stream.settle();
    for gateway in gateways {
        for is_last in [false, true] {
            let mut turns = 0;
            while gateway.is_reading() || gateway.is_receiving() {
                gateway.receive(stream, random);
                gateway.read(stream, random, false);
                turns += 1;
                assert!(turns < 5000, "does not come to rest");
            }
            gateway.check_received(stream);
            if !is_last {
                gateway.connect();
                gateway.audit();
            }
        }
    }
}
