use odin_protocol::Epoch;

use super::*;

struct Desk {
    names: Names,
    ledger: Ledger,
}

fn desk(channels: &[&str]) -> Desk {
    let mut names = Names::default();
    let numbers = channels.iter().map(|name| names.number(name).expect("room")).collect();
    let ledger = Ledger::new(numbers, &names);
    Desk { names, ledger }
}

impl Desk {
    fn begin(&mut self, channel: &str, mode: Mode, recovered: bool, cursor: Option<&str>) -> bool {
        let number = self.names.number(channel).expect("room");
        self.ledger.begin(number, mode, recovered, None, cursor, &self.names)
    }

    fn update(&mut self, channel: &str, key: Option<&str>, prev: Option<u64>, seq: u64) -> Judgement {
        let key = key.map(|key| self.names.number(key).expect("room"));
        let channel = self.names.number(channel).expect("room");
        let epoch = Epoch::from_hash(1);
        let head = Head { channel, key, seq, prev, ts_ms: seq as i64, epoch, snapshot: prev.is_none(), made_us: 0 };
        self.ledger.update(&head, &self.names)
    }

    fn since(&self) -> Vec<Option<String>> {
        let (messages, _) = self.ledger.subscribe(&self.names, None, true, |_| true);
        let all = messages.into_iter().flat_map(|message| match message {
            ClientMessage::Subscribe { channels, .. } => channels,
            other => panic!("no subscribe: {other:?}"),
        });
        all.map(|request| request.since).collect()
    }
}

const A: &str = "price:A";

#[test]
fn a_client_is_small() {
    assert!(size_of::<Sub>() <= 136, "{}", size_of::<Sub>());
    assert!(size_of::<Ledger>() <= 32);
}

#[test]
fn sees_what_is_missing_in_mode_all_and_merged_in_mode_latest() {
    for (mode, jumped) in [(Mode::All, Judgement::Lost), (Mode::Latest, Judgement::Merged)] {
        let mut desk = desk(&[A]);
        desk.begin(A, mode, false, None);
        assert_eq!(desk.update(A, None, None, 5), Judgement::Next);
        assert_eq!(desk.update(A, None, Some(5), 7), Judgement::Next);
        assert_eq!(desk.update(A, None, Some(8), 9), jumped);
        assert_eq!(desk.update(A, None, Some(8), 9), Judgement::Twice);
        assert_eq!(desk.update(A, None, Some(5), 7), Judgement::Reordered);
    }
}

#[test]
fn goes_on_over_a_resume_and_sees_a_loss_in_it() {
    let mut desk = desk(&[A]);
    desk.begin(A, Mode::All, false, None);
    desk.update(A, None, None, 5);
    desk.ledger.disconnect();
    assert_eq!(desk.since(), [Some(format!("1.{}.5.5", Epoch::from_hash(1)))]);
    assert!(desk.begin(A, Mode::All, true, None), "it had a position");
    assert_eq!(desk.update(A, None, Some(4), 5), Judgement::Overlap);
    assert_eq!(desk.update(A, None, Some(5), 8), Judgement::Next);
    desk.ledger.disconnect();
    desk.begin(A, Mode::All, true, None);
    assert_eq!(desk.update(A, None, Some(9), 10), Judgement::Lost);
}

#[test]
fn an_announced_gap_is_no_loss() {
    let mut desk = desk(&[A]);
    desk.begin(A, Mode::All, false, None);
    desk.update(A, None, None, 5);
    let number = desk.names.known(A).expect("known");
    desk.ledger.gap(number, None, 12, &desk.names);
    assert_eq!(desk.ledger.subs()[0].last(), Some(12));
    assert_eq!(desk.update(A, None, Some(12), 13), Judgement::Next);
}

#[test]
fn a_pattern_goes_on_at_a_position_of_all_its_chains_and_not_at_the_last_update() {
    let mut desk = desk(&["price:*"]);
    desk.begin("price:*", Mode::All, false, Some("1.k3j9x2m4.3.3"));
    assert_eq!(desk.update(A, None, Some(1), 5), Judgement::Next);
    assert_eq!(desk.update("price:B", None, Some(2), 6), Judgement::Next);
    assert_eq!(desk.update("volume:B", None, Some(2), 7), Judgement::Stray);
    assert_eq!(desk.since(), [Some("1.k3j9x2m4.3.3".to_owned())]);
    desk.ledger.disconnect();
    desk.begin("price:*", Mode::All, true, None);
    assert_eq!(desk.update(A, None, Some(1), 5), Judgement::Overlap);
    assert_eq!(desk.update(A, None, Some(8), 9), Judgement::Lost);
}

#[test]
fn what_a_pattern_repeats_after_a_resume_is_an_overlap_of_the_names_under_it_too() {
    let mut desk = desk(&["price:*", A]);
    desk.begin("price:*", Mode::All, false, Some("1.k3j9x2m4.3.3"));
    desk.begin(A, Mode::All, false, None);
    desk.update(A, None, None, 5);
    desk.ledger.disconnect();
    desk.begin(A, Mode::All, true, None);
    assert_eq!(desk.update(A, None, Some(5), 6), Judgement::Next);
    assert_eq!(desk.update(A, None, Some(5), 6), Judgement::Twice, "the overlap of the name was over");
    desk.begin("price:*", Mode::All, true, None);
    assert_eq!(desk.update(A, None, Some(5), 6), Judgement::Overlap);
}

#[test]
fn keys_are_chains_of_their_own_and_the_checkpoint_is_the_position() {
    let mut desk = desk(&["events:all"]);
    desk.begin("events:all", Mode::All, false, None);
    assert_eq!(desk.update("events:all", Some("a"), Some(1), 5), Judgement::Next);
    assert_eq!(desk.update("events:all", Some("b"), Some(2), 6), Judgement::Next);
    assert_eq!(desk.update("events:all", Some("a"), Some(5), 7), Judgement::Next);
    assert_eq!(desk.since(), [None]);
    desk.ledger.checkpoint("1.k3j9x2m4.6.6");
    assert_eq!(desk.since(), [Some("1.k3j9x2m4.6.6".to_owned())]);
}

#[test]
fn a_snapshot_begins_anew_and_another_stream_is_counted() {
    let mut desk = desk(&[A]);
    desk.begin(A, Mode::Latest, false, None);
    desk.update(A, None, None, 5);
    desk.begin(A, Mode::Latest, false, None);
    assert_eq!(desk.update(A, None, None, 5), Judgement::Overlap);
    assert_eq!(desk.update(A, None, None, 9), Judgement::Next);
    let epoch = Epoch::from_hash(2);
    let channel = desk.names.known(A).expect("known");
    let head = Head { channel, key: None, seq: 1, prev: None, ts_ms: 1, epoch, snapshot: true, made_us: 0 };
    assert_eq!(desk.ledger.update(&head, &desk.names), Judgement::Next);
    assert_eq!(desk.ledger.epochs, 1);
}

#[test]
fn more_channels_than_a_message_may_have_are_several_messages() {
    let names: Vec<String> = (0..1100).map(|number| format!("price:T{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let desk = desk(&names);
    let (messages, count) = desk.ledger.subscribe(&desk.names, Some(Mode::All), true, |_| true);
    assert_eq!((messages.len(), count), (3, 1100));
}
