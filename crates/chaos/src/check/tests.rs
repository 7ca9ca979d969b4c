use super::*;

fn chain() -> Chain {
    Chain { channel: "price:A".into(), key: None }
}

fn life(sequences: &[u64]) -> Life {
    let mut life = Life::default();
    life.chains.insert(chain(), sequences.iter().map(|seq| (*seq, seq * 10)).collect());
    life
}

fn update(seq: u64, prev: Option<u64>) -> Record {
    Record::Update { chain: chain(), seq, prev, epoch: "e1".into(), snapshot: prev.is_none(), number: seq * 10 }
}

fn begins() -> Vec<Record> {
    vec![Record::Connected { gateway: 0 }, subscribed(false, false, None)]
}

fn subscribed(resumes: bool, recovered: bool, reason: Option<ResumeFailure>) -> Record {
    Record::Subscribed { channel: "price:A".into(), mode: Mode::All, resumes, recovered, reason }
}

fn checked(mode: Mode, records: Vec<Record>, excuses: Excuses) -> (Checker, Findings) {
    let mut checker = Checker::new("c", mode, vec![Channel::parse("price:A").expect("a channel")]);
    let mut findings = Findings::default();
    let mut all = begins();
    all.extend(records);
    checker.take(&all, &[life(&[3, 5, 8, 9])], excuses, &mut findings);
    (checker, findings)
}

fn of_all(records: Vec<Record>) -> Findings {
    checked(Mode::All, records, Excuses::default()).1
}

#[test]
fn finds_nothing_in_a_whole_history() {
    let (checker, findings) = checked(
        Mode::All,
        vec![update(3, None), update(5, Some(3)), update(8, Some(5)), update(9, Some(8))],
        Excuses::default(),
    );
    assert!(!findings.are_violations(), "{findings:?}");
    assert_eq!(findings.deliveries, 4);
    assert!(checker.behind(0, &life(&[3, 5, 8, 9])).is_empty());
}

#[test]
fn finds_what_is_missing() {
    assert_eq!(of_all(vec![update(3, None), update(9, Some(8))]).missing, 2);
    let latest = checked(Mode::Latest, vec![update(3, None), update(9, Some(8))], Excuses::default()).1;
    assert!(!latest.are_violations(), "merged away: {latest:?}");
}

#[test]
fn finds_what_came_twice_or_late() {
    assert_eq!(of_all(vec![update(3, None), update(5, Some(3)), update(5, Some(3))]).duplicate, 1);
    let late = of_all(vec![update(3, None), update(8, Some(5)), update(5, Some(3))]);
    assert_eq!((late.reordered, late.missing), (1, 1));
}

#[test]
fn finds_a_wrong_prev_and_an_invented_update() {
    assert_eq!(of_all(vec![update(3, None), update(5, Some(4))]).wrong_prev, 1);
    assert_eq!(of_all(vec![update(3, None), update(4, Some(3))]).invented, 1);
    let mut forged = update(5, Some(3));
    if let Record::Update { number, .. } = &mut forged {
        *number += 1;
    }
    assert_eq!(of_all(vec![update(3, None), forged]).invented, 1);
}

#[test]
fn takes_an_announced_gap_for_an_answer_and_asks_whether_it_was_needed() {
    let gap = Record::Gap { channel: "price:A".into(), key: None, after: 3, until: 8, reason: GapReason::Retention };
    let records = vec![update(3, None), gap, update(9, Some(8))];
    let needless = of_all(records.clone());
    assert_eq!((needless.missing, needless.needless_gaps), (0, 1));
    let needed = checked(Mode::All, records, Excuses { removed: true, recreated: false }).1;
    assert!(!needed.are_violations(), "{needed:?}");
}

#[test]
fn goes_on_over_a_resume_and_counts_its_overlap() {
    let records = vec![
        update(3, None),
        update(5, Some(3)),
        Record::Parted,
        Record::Connected { gateway: 1 },
        subscribed(true, true, None),
        update(5, Some(3)),
        update(9, Some(8)),
    ];
    let findings = of_all(records);
    assert_eq!((findings.overlap, findings.duplicate, findings.missing, findings.recovered), (1, 0, 1, 1));
}

#[test]
fn finds_a_needless_reset() {
    let reset = |reason| vec![update(3, None), Record::Connected { gateway: 1 }, subscribed(true, false, reason)];
    assert_eq!(of_all(reset(Some(ResumeFailure::CursorTooOld))).needless_resets, 1);
    assert_eq!(of_all(reset(Some(ResumeFailure::EpochChanged))).needless_resets, 1);
    let removed = Excuses { removed: true, recreated: false };
    assert_eq!(checked(Mode::All, reset(Some(ResumeFailure::CursorTooOld)), removed).1.needless_resets, 0);
    assert_eq!(checked(Mode::All, reset(Some(ResumeFailure::ReplayLimit)), removed).1.needless_resets, 1);
}

#[test]
fn finds_who_is_not_at_the_newest() {
    let (checker, _) = checked(Mode::Latest, vec![update(3, None), update(5, Some(3))], Excuses::default());
    assert_eq!(checker.behind(0, &life(&[3, 5, 8, 9])), [(chain(), 5, 9)]);
}

#[test]
fn a_value_that_was_shown_need_not_be_shown_by_a_snapshot_too() {
    let again = [Record::Connected { gateway: 1 }, subscribed(false, false, None)];
    let shown = |seq| [vec![update(3, None), update(seq, Some(3))], again.to_vec()].concat();
    let (checker, _) = checked(Mode::Latest, shown(9), Excuses::default());
    assert_eq!(checker.behind(0, &life(&[3, 5, 8, 9])), []);
    let (checker, _) = checked(Mode::Latest, shown(8), Excuses::default());
    assert_eq!(checker.behind(0, &life(&[3, 5, 8, 9])), [(chain(), 8, 9)]);
}

#[test]
fn asks_nothing_of_what_was_purged() {
    let mut checker = Checker::new("c", Mode::All, vec![Channel::parse("price:A").expect("a channel")]);
    let mut purged = life(&[3, 5, 8, 9]);
    purged.purged.insert(chain(), 8);
    let mut findings = Findings::default();
    let mut records = begins();
    records.extend([update(3, None), update(9, Some(0))]);
    checker.take(&records, &[purged], Excuses::default(), &mut findings);
    assert!(!findings.are_violations(), "{findings:?}");
}

#[test]
fn begins_anew_with_another_life_of_the_stream() {
    let mut checker = Checker::new("c", Mode::All, vec![Channel::parse("price:A").expect("a channel")]);
    let mut second = Life::default();
    second.chains.insert(chain(), [(1, 70), (2, 80)].into());
    let of_second = |seq: u64, prev, number| Record::Update {
        chain: chain(),
        seq,
        prev,
        epoch: "e2".into(),
        snapshot: false,
        number,
    };
    let mut findings = Findings::default();
    let mut records = begins();
    records.extend([update(3, None), update(5, Some(3)), subscribed(false, false, Some(ResumeFailure::EpochChanged))]);
    records.extend([of_second(1, Some(0), 70), of_second(2, Some(1), 80)]);
    let excuses = Excuses { removed: false, recreated: true };
    checker.take(&records, &[life(&[3, 5, 8, 9]), second], excuses, &mut findings);
    assert!(!findings.are_violations(), "{findings:?}");
}
