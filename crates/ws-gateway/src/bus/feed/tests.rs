//! Sentences about the state machine; see `simulation` for everything at once.

use super::*;

fn message(seq: u64, last: u64) -> Stored {
    Stored { subject: "a".into(), seq, last: Some(last), ts_ms: 0, payload: Some(Bytes::new()) }
}

fn read_back(seq: u64) -> Stored {
    Stored { last: None, ..message(seq, 0) }
}

fn delivered(steps: &[Step]) -> Vec<u64> {
    let seqs = steps.iter().filter_map(|step| match step {
        Step::Deliver(message) => Some(message.seq),
        _ => None,
    });
    seqs.collect()
}

fn live_from(up_to: u64) -> Feed {
    let mut feed = Feed::opening();
    feed.opened(up_to, &[], &mut Vec::new());
    feed
}

#[test]
fn drops_from_the_buffer_what_the_snapshot_had() {
    let mut feed = Feed::opening();
    let mut steps = Vec::new();
    for (seq, last) in [(4, 2), (6, 4), (9, 6)] {
        feed.live(message(seq, last), &mut steps);
    }
    assert_eq!(steps, []);
    feed.opened(6, &[message(6, 4)], &mut steps);
    assert_eq!(delivered(&steps), [9]);
    assert!(feed.is_live());
}

#[test]
fn fills_a_missing_link_before_what_follows() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    feed.live(message(16, 15), &mut steps);
    let hole = Step::Fill { subject: "a".into(), after: 10, until: 13 };
    assert_eq!(steps, [hole]);
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(12), read_back(13)], 1, &mut steps);
    assert_eq!(delivered(&steps), [12, 13, 15, 16]);
}

#[test]
fn does_not_hold_other_subjects_for_a_hole() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    let other = Stored { subject: "b".into(), ..message(16, 3) };
    feed.live(other, &mut steps);
    assert_eq!(delivered(&steps), [16]);
}

#[test]
fn says_what_the_stream_no_longer_keeps() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    steps.clear();
    feed.filled(&"a".into(), vec![], 1, &mut steps);
    let lost = Step::Lost { subject: "a".into(), after: 10, until: 13 };
    assert_eq!(steps[0], lost);
    assert_eq!(delivered(&steps), [15]);
}

#[test]
fn delivers_what_it_holds_though_the_stream_dropped_it() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    steps.clear();
    feed.filled(&"a".into(), vec![], 20, &mut steps);
    let lost = Step::Lost { subject: "a".into(), after: 10, until: 13 };
    assert_eq!(steps, [lost, Step::Deliver(message(15, 13))]);
}

#[test]
fn ignores_what_a_read_brings_from_outside_of_the_hole() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    feed.filled(&"a".into(), vec![read_back(9), read_back(13), read_back(13), read_back(18)], 1, &mut steps);
    assert_eq!(delivered(&steps), [13, 15]);
}

#[test]
fn says_what_the_stream_dropped_before_it_was_read() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(25, 20), &mut steps);
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(18), read_back(20)], 16, &mut steps);
    assert_eq!(steps[0], Step::Lost { subject: "a".into(), after: 10, until: 15 });
    assert_eq!(delivered(&steps), [18, 20, 25]);
    assert!(matches!(&steps[1], Step::Deliver(first) if first.last == Some(15)), "the chain goes on from the gap");
}

#[test]
fn drops_what_comes_twice_and_never_goes_back() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    for (seq, last) in [(11, 9), (12, 11), (11, 9), (12, 11), (13, 12), (10, 9)] {
        feed.live(message(seq, last), &mut steps);
    }
    assert_eq!(delivered(&steps), [11, 12, 13]);
    assert_eq!(steps.iter().filter(|step| **step == Step::Duplicate).count(), 3);
}

#[test]
fn reads_from_the_stream_what_did_not_fit_behind_a_hole() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    let many = HELD_MESSAGES as u64 + 50;
    for seq in 12..12 + many {
        feed.live(message(seq, seq - 1), &mut steps);
    }
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(11)], 1, &mut steps);
    assert_eq!(delivered(&steps).len(), 1 + HELD_MESSAGES);
    let tail = Step::Fill { subject: "a".into(), after: 11 + HELD_MESSAGES as u64, until: 11 + many };
    assert_eq!(steps.last(), Some(&tail));
}

#[test]
fn reads_the_tail_that_a_verification_finds() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.verified(&"a".into(), 9, &mut steps);
    assert_eq!(steps, []);
    feed.verified(&"a".into(), 12, &mut steps);
    feed.filled(&"a".into(), vec![read_back(12)], 1, &mut steps);
    assert_eq!(delivered(&steps), [12]);
}

#[test]
fn opens_again_when_too_much_came_meanwhile() {
    let mut feed = Feed::opening();
    let mut steps = Vec::new();
    for seq in 1..=HELD_MESSAGES as u64 + 1 {
        feed.live(message(seq, seq - 1), &mut steps);
    }
    assert_eq!(steps, [Step::Reopen]);
}

fn audit(feed: &mut Feed, up_to: u64, lasts: &[(&str, u64)]) -> Vec<Step> {
    let lasts: Vec<_> = lasts.iter().map(|(subject, last)| (Arc::from(*subject), *last)).collect();
    let mut steps = Vec::new();
    feed.audited(up_to, &lasts, &mut steps);
    steps
}

#[test]
fn rises_to_where_an_audit_found_nothing_new() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(12, 9), &mut steps);
    assert_eq!(audit(&mut feed, 20, &[("a", 12)]), [Step::Verified(20)]);
    assert_eq!((feed.watermark(), feed.have("a"), feed.have("b")), (20, 20, 20));
    steps.clear();
    feed.live(message(19, 12), &mut steps);
    assert_eq!(steps, [Step::Duplicate], "it was removed before the audit, or delivered");
}

#[test]
fn rises_only_when_what_an_audit_found_is_delivered() {
    let mut feed = live_from(10);
    let steps = audit(&mut feed, 20, &[("a", 15)]);
    assert_eq!(steps, [Step::Fill { subject: "a".into(), after: 10, until: 15 }]);
    assert_eq!(feed.watermark(), 10);
    let mut steps = Vec::new();
    feed.filled(&"a".into(), vec![read_back(12), read_back(15)], 1, &mut steps);
    assert_eq!(delivered(&steps), [12, 15]);
    assert_eq!(steps.last(), Some(&Step::Verified(20)));
}

#[test]
fn rises_to_the_begin_of_the_lowest_hole() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(14, 10), &mut steps);
    let steps = audit(&mut feed, 20, &[("a", 18), ("b", 12)]);
    assert_eq!(steps.len(), 2);
    let mut steps = Vec::new();
    let found = Stored { subject: "b".into(), ..read_back(12) };
    feed.filled(&"b".into(), vec![found], 1, &mut steps);
    assert_eq!(steps.last(), Some(&Step::Verified(14)));
    feed.filled(&"a".into(), vec![read_back(18)], 1, &mut steps);
    assert_eq!(steps.last(), Some(&Step::Verified(20)));
}

#[test]
fn takes_audits_in_any_order_and_while_it_opens() {
    let mut feed = live_from(10);
    assert_eq!(audit(&mut feed, 20, &[]), [Step::Verified(20)]);
    assert_eq!(audit(&mut feed, 15, &[("a", 12)]), []);
    assert_eq!(audit(&mut feed, 20, &[("a", 12)]), []);
    assert_eq!(feed.watermark(), 20);
    assert_eq!(audit(&mut Feed::opening(), 15, &[("a", 12)]), []);
}

#[test]
fn goes_on_behind_a_hole_to_what_an_audit_saw() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    assert_eq!(audit(&mut feed, 20, &[("a", 18)]), []);
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(12), read_back(13)], 1, &mut steps);
    assert_eq!(delivered(&steps), [12, 13, 15]);
    let more = Step::Fill { subject: "a".into(), after: 15, until: 18 };
    assert_eq!(steps[3..], [more, Step::Verified(15)]);
    feed.filled(&"a".into(), vec![read_back(18)], 1, &mut steps);
    assert_eq!(steps.last(), Some(&Step::Verified(20)));
}

#[test]
fn does_not_read_what_waits_behind_a_hole() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    audit(&mut feed, 20, &[("a", 15)]);
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(13)], 1, &mut steps);
    assert_eq!(delivered(&steps), [13, 15]);
    assert_eq!(steps.last(), Some(&Step::Verified(20)));
}

#[test]
fn reads_what_an_audit_saw_even_if_the_chain_no_longer_names_it() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(15, 13), &mut steps);
    audit(&mut feed, 20, &[("a", 18)]);
    feed.live(message(22, 0), &mut steps);
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(13)], 1, &mut steps);
    assert_eq!(delivered(&steps), [13, 15]);
    assert!(steps.contains(&Step::Fill { subject: "a".into(), after: 15, until: 21 }));
    feed.filled(&"a".into(), vec![], 22, &mut steps);
    assert!(steps.contains(&Step::Lost { subject: "a".into(), after: 15, until: 21 }));
    assert_eq!(delivered(&steps), [13, 15, 22]);
}

#[test]
fn counts_a_marker_like_any_message() {
    let mut feed = live_from(10);
    let steps = audit(&mut feed, 20, &[("a", 12)]);
    assert_eq!(steps.len(), 1);
    let mut steps = Vec::new();
    feed.filled(&"a".into(), vec![Stored { payload: None, ..read_back(12) }], 1, &mut steps);
    assert_eq!(delivered(&steps), [12]);
    assert_eq!(steps.last(), Some(&Step::Verified(20)));
}

#[test]
fn takes_the_word_of_the_stream_for_what_it_no_longer_has() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(12, 10), &mut steps);
    feed.live(message(15, 0), &mut steps);
    assert_eq!(steps[1], Step::Deliver(message(15, 0)), "who came after a purge has not missed 12");
}

#[test]
fn announces_a_link_that_expired_before_an_audit_saw_it() {
    let mut feed = live_from(10);
    audit(&mut feed, 20, &[]);
    let mut steps = Vec::new();
    feed.live(message(25, 15), &mut steps);
    let lost = Step::Lost { subject: "a".into(), after: 10, until: 15 };
    assert_eq!(steps, [lost, Step::Deliver(message(25, 15))]);
}

#[test]
fn does_not_announce_a_link_from_before_the_opening() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    feed.live(message(12, 7), &mut steps);
    assert_eq!(steps, [Step::Deliver(message(12, 0))], "the snapshot had nothing: 7 had been removed");
}

#[test]
fn gives_up_for_the_whole_feed_what_the_limits_took_unseen() {
    let mut feed = live_from(10);
    let mut steps = Vec::new();
    assert_eq!(feed.outlived(11, &mut steps), None);
    assert_eq!(feed.outlived(16, &mut steps), Some((10, 15)));
    assert_eq!(steps, [Step::Verified(15)]);
    steps.clear();
    feed.live(message(14, 9), &mut steps);
    assert_eq!(steps, [Step::Duplicate]);
    feed.live(message(17, 14), &mut steps);
    assert_eq!(delivered(&steps), [17]);
}

#[test]
fn reads_up_to_the_highest_that_did_not_fit_behind_a_hole() {
    let mut feed = Feed { room: 1, ..Feed::opening() };
    let mut steps = Vec::new();
    feed.opened(10, &[], &mut steps);
    for (seq, last) in [(12, 11), (14, 13), (13, 12)] {
        feed.live(message(seq, last), &mut steps);
    }
    steps.clear();
    feed.filled(&"a".into(), vec![read_back(11)], 1, &mut steps);
    assert_eq!(steps.last(), Some(&Step::Fill { subject: "a".into(), after: 12, until: 14 }));
}
