//! One chain: the updates of one (channel, key), each naming the one before it.
//!
//! A chain proves that nothing is missing: an update may follow if its `prev` is not beyond the last one. The
//! rules are those of `docs/protocol.md`, "What a client does with each message". Which subscription a chain
//! belongs to and what a jump means there is for [`CursorMap`](crate::cursor_map::CursorMap) to say.

use odin_protocol::{Cursor, Epoch, UpdateHead};

/// What an update is to its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues the chain, or starts one.
    Next,
    /// It came before, as it may where a subscription begins or is resumed: to be dropped.
    Overlap,
    /// It came before, or was announced as left out, and no overlap excuses it: to be dropped.
    Repeated,
    /// It is new, but publications with `after < seq <= until` did not come and nobody announced that.
    Jumped {
        /// Last sequence accounted for.
        after: u64,
        /// The sequence the update says went before it.
        until: u64,
    },
}

/// How far one chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    epoch: Epoch,
    /// Everything up to here was delivered or announced as left out.
    last: u64,
    /// The last update delivered, as a position; none once the gateway has named a newer one.
    position: Option<Cursor>,
    /// Whether the next update begins the chain anew: there is nothing to compare it with.
    is_open: bool,
    /// Whether even its sequence cannot be compared: the stream was rolled back.
    is_forgotten: bool,
    /// Whether the overlap of the last begin is over: something new has come since.
    is_settled: bool,
}

impl Chain {
    /// Starts a chain with the first update seen of it.
    pub fn start(head: &UpdateHead<'_>) -> Chain {
        Chain {
            epoch: head.epoch,
            last: head.seq,
            position: Some(Cursor { epoch: head.epoch, seq: head.seq, ts_ms: head.ts_ms }),
            is_open: false,
            is_forgotten: false,
            is_settled: true,
        }
    }

    /// Decides about the next update and moves on.
    pub fn accept(&mut self, head: &UpdateHead<'_>) -> Verdict {
        let last = self.last;
        if head.epoch != self.epoch || self.is_forgotten {
            *self = Chain::start(head);
            return Verdict::Next;
        }
        if head.seq <= last {
            return if self.is_settled { Verdict::Repeated } else { Verdict::Overlap };
        }
        let is_start = self.is_open || head.snapshot;
        *self = Chain::start(head);
        match head.prev {
            Some(until) if !is_start && until > last => Verdict::Jumped { after: last, until },
            _ => Verdict::Next,
        }
    }

    /// The gateway said that publications up to `until` were left out.
    pub fn leave_out(&mut self, until: u64) {
        self.last = self.last.max(until);
    }

    /// A subscription that covers the chain goes on: what came before may come again.
    pub fn resume(&mut self) {
        self.is_settled = false;
    }

    /// A subscription that covers the chain begins anew: the next update may be any later one.
    pub fn open(&mut self) {
        self.is_settled = false;
        self.is_open = true;
    }

    /// The stream was rolled back or is another one: the next update may be any.
    pub fn forget(&mut self) {
        self.is_forgotten = true;
        self.position = None;
    }

    /// The gateway has named a position. It counts more than the last update unless it is known to lie before it: a
    /// checkpoint may be that of a slower channel. One of another form cannot be compared, and came later.
    pub fn supersede(&mut self, named: Option<Cursor>) {
        let is_before = |last: &Cursor| named.is_some_and(|named| named.epoch == last.epoch && named.seq < last.seq);
        self.position = self.position.filter(is_before);
    }

    /// The last update, if nothing newer is known to come back to.
    pub fn position(&self) -> Option<Cursor> {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(prev: u64, seq: u64) -> UpdateHead<'static> {
        UpdateHead {
            channel: "price:BTC",
            key: None,
            seq,
            prev: Some(prev),
            ts_ms: 1_000 + i64::try_from(seq).expect("small"),
            epoch: Epoch::from_hash(1),
            snapshot: false,
        }
    }

    fn snapshot(seq: u64) -> UpdateHead<'static> {
        UpdateHead { prev: None, snapshot: true, ..link(0, seq) }
    }

    #[test]
    fn follows_links() {
        let mut chain = Chain::start(&snapshot(4));
        assert_eq!(chain.accept(&link(4, 9)), Verdict::Next);
        assert_eq!(chain.accept(&link(9, 10)), Verdict::Next);
        let position = Cursor { epoch: Epoch::from_hash(1), seq: 10, ts_ms: 1_010 };
        assert_eq!(chain.position(), Some(position));
    }

    #[test]
    fn sees_a_hole_that_nobody_announced() {
        let mut chain = Chain::start(&snapshot(4));
        assert_eq!(chain.accept(&link(9, 10)), Verdict::Jumped { after: 4, until: 9 });
        assert_eq!(chain.accept(&link(10, 11)), Verdict::Next);
    }

    #[test]
    fn drops_what_it_has_seen() {
        let mut chain = Chain::start(&snapshot(4));
        chain.accept(&link(4, 9));
        for again in [link(4, 9), snapshot(9), link(0, 4)] {
            assert_eq!(chain.accept(&again), Verdict::Repeated);
        }
        chain.resume();
        for again in [link(0, 4), link(4, 9)] {
            assert_eq!(chain.accept(&again), Verdict::Overlap);
        }
        assert_eq!(chain.accept(&link(9, 10)), Verdict::Next);
        assert_eq!(chain.accept(&link(4, 9)), Verdict::Repeated, "the overlap was over");
    }

    #[test]
    fn accepts_a_previous_sequence_that_was_deleted_meanwhile() {
        let mut chain = Chain::start(&snapshot(6));
        assert_eq!(chain.accept(&link(5, 9)), Verdict::Next);
        assert_eq!(chain.accept(&link(0, 12)), Verdict::Next);
    }

    #[test]
    fn cannot_judge_an_update_without_a_previous_sequence() {
        let mut chain = Chain::start(&snapshot(6));
        assert_eq!(chain.accept(&UpdateHead { prev: None, ..link(0, 12) }), Verdict::Next);
    }

    #[test]
    fn takes_an_announced_gap_as_accounted_for_but_not_as_a_position() {
        let mut chain = Chain::start(&snapshot(4));
        chain.leave_out(20);
        chain.leave_out(12);
        assert_eq!(chain.position().map(|cursor| cursor.seq), Some(4));
        assert_eq!(chain.accept(&link(9, 10)), Verdict::Repeated, "it was said not to come");
        assert_eq!(chain.accept(&link(18, 25)), Verdict::Next);
        assert_eq!(chain.position().map(|cursor| cursor.seq), Some(25));
    }

    #[test]
    fn a_position_the_gateway_has_named_holds_until_the_next_update() {
        let mut chain = Chain::start(&snapshot(4));
        let at = |seq| Some(Cursor { epoch: Epoch::from_hash(1), seq, ts_ms: 0 });
        chain.supersede(at(3));
        assert_eq!(chain.position().map(|cursor| cursor.seq), Some(4), "it lay before it");
        for newer in [at(4), at(5), None] {
            let mut chain = chain;
            chain.supersede(newer);
            assert_eq!(chain.position(), None);
        }
        chain.supersede(None);
        assert_eq!(chain.accept(&link(4, 9)), Verdict::Next);
        assert_eq!(chain.position().map(|cursor| cursor.seq), Some(9));
    }

    #[test]
    fn an_open_chain_takes_any_later_update_and_no_earlier_one() {
        let mut chain = Chain::start(&snapshot(4));
        chain.open();
        assert_eq!(chain.accept(&snapshot(4)), Verdict::Overlap);
        assert_eq!(chain.accept(&link(9, 10)), Verdict::Next);
        assert_eq!(chain.accept(&link(12, 13)), Verdict::Jumped { after: 10, until: 12 });
    }

    #[test]
    fn begins_anew_in_another_epoch() {
        let mut chain = Chain::start(&snapshot(400));
        let other = UpdateHead { epoch: Epoch::from_hash(2), ..link(2, 3) };
        assert_eq!(chain.accept(&other), Verdict::Next);
        assert_eq!(chain.position().map(|cursor| cursor.seq), Some(3));
    }

    #[test]
    fn accepts_a_lower_sequence_after_a_rollback() {
        let mut chain = Chain::start(&snapshot(400));
        chain.forget();
        assert_eq!(chain.position(), None);
        assert_eq!(chain.accept(&link(300, 350)), Verdict::Next);
        assert_eq!(chain.accept(&link(350, 351)), Verdict::Next);
    }

    /// The updates of a stored subject whose sequences ascend by `steps`.
    fn stored(steps: &[u64]) -> Vec<UpdateHead<'static>> {
        let ascend = |prev: &mut u64, step: &u64| {
            let head = link(*prev, *prev + step);
            *prev = head.seq;
            Some(head)
        };
        steps.iter().scan(0, ascend).collect()
    }

    proptest! {
        #[test]
        fn a_complete_feed_with_repetitions_has_no_fault(
            steps in prop::collection::vec(1_u64..50, 1..60),
            repeats in prop::collection::vec(0_usize..60, 0..60),
        ) {
            let stored = stored(&steps);
            let mut chain = Chain::start(&stored[0]);
            for (index, head) in stored.iter().enumerate().skip(1) {
                prop_assert_eq!(chain.accept(head), Verdict::Next);
                for again in repeats.iter().filter(|again| **again <= index) {
                    prop_assert_eq!(chain.accept(&stored[*again]), Verdict::Repeated);
                }
            }
        }

        #[test]
        fn every_loss_is_seen_and_nothing_else_is_called_a_loss(
            steps in prop::collection::vec(1_u64..50, 2..80),
            order in prop::collection::vec(0_usize..80, 1..120),
        ) {
            // any sequence of deliveries at all: losses, repetitions, disorder
            let stored = stored(&steps);
            let arrivals: Vec<_> = order.into_iter().filter_map(|index| stored.get(index)).collect();
            let Some((first, rest)) = arrivals.split_first() else { return Ok(()) };
            let mut chain = Chain::start(first);
            let mut delivered = vec![first.seq];
            let mut holes: Vec<(u64, u64)> = Vec::new();
            for head in rest {
                match chain.accept(head) {
                    Verdict::Overlap | Verdict::Repeated => continue,
                    Verdict::Next => {}
                    Verdict::Jumped { after, until } => holes.push((after, until)),
                }
                delivered.push(head.seq);
            }
            prop_assert!(delivered.is_sorted_by(|a, b| a < b), "delivered in order, once");
            let span = delivered[0]..=delivered[delivered.len() - 1];
            for seq in stored.iter().map(|head| head.seq).filter(|seq| span.contains(seq)) {
                let in_hole = holes.iter().any(|(after, until)| *after < seq && seq <= *until);
                prop_assert_eq!(in_hole, !delivered.contains(&seq), "sequence {}", seq);
            }
        }
    }
}
