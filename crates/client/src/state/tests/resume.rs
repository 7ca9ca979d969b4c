//! Coming back: what is asked for, what is told, what is counted.

use super::*;

#[test]
fn resumes_where_each_subscription_stopped() {
    let mut bench = Bench::connected();
    bench.wish("price:*");
    bench.wish("volume:BTC");
    bench.said();
    bench.subscribed("price:*", LIVE);
    bench.subscribed("volume:BTC", LIVE);
    bench.update("price:BTC", 0, 5);
    bench.update("volume:BTC", 0, 6);
    bench.hear(r#"{"type":"checkpoint","cursor":"1.k3j9x2m4.4.4"}"#);
    bench.parted(1012);
    bench.connect();
    assert_eq!(
        bench.said(),
        [
            r#"{"type":"subscribe","id":2,"channels":[{"channel":"price:*","since":"1.k3j9x2m4.4.4"},{"channel":"volume:BTC","since":"1.k3j9x2m4.6.6"}]}"#
        ]
    );
    bench.subscribed("price:*", RECOVERED);
    bench.update("price:BTC", 0, 5);
    bench.update("price:BTC", 5, 9);
    let stats = bench.session.stats();
    assert_eq!((stats.updates, stats.duplicates, stats.recovered, stats.violations), (3, 1, 1, 0));
}

#[test]
fn uses_the_cursor_it_was_given_once() {
    let mut bench = Bench::connected();
    let subscription = Subscription::new("signals:all").expect("valid").with_since("1.k3j9x2m4.77.1").expect("valid");
    bench.session.subscribe(subscription);
    assert!(bench.said()[0].contains(r#""since":"1.k3j9x2m4.77.1""#));
    bench.subscribed("signals:all", r#","mode":"all","recovered":true,"cursor":"1.k3j9x2m4.80.1""#);
    bench.parted(1012);
    bench.connect();
    assert!(bench.said()[0].contains(r#""since":"1.k3j9x2m4.80.1""#));
}

#[test]
fn keeps_the_cursor_it_was_given_until_the_gateway_names_a_position() {
    let mut bench = Bench::connected();
    let since = "2.a-form-of-tomorrow";
    bench.session.subscribe(Subscription::new("signals:all").expect("valid").with_since(since).expect("valid"));
    for _ in 0..2 {
        let said = bench.said();
        assert!(said[0].contains(since), "{said:?}");
        bench.subscribed("signals:all", RECOVERED);
        assert!(matches!(bench.last(), Event::Subscribed { cursor: Some(cursor), .. } if cursor == since));
        bench.parted(1012);
        bench.connect();
    }
}

#[test]
fn says_that_a_subscription_could_not_continue_whatever_the_cause() {
    let anew = |bench: &mut Bench| match bench.last() {
        Event::Subscribed { is_anew, .. } => is_anew,
        other => panic!("{other:?}"),
    };
    let mut bench = Bench::connected();
    bench.wish("price:*");
    bench.said();
    bench.subscribed("price:*", r#","mode":"all","recovered":false"#);
    assert!(!anew(&mut bench), "the first time");
    // the gateway begins anew by itself
    bench.hear(r#"{"type":"subscribed","channel":"price:*","mode":"all","recovered":false}"#);
    assert!(anew(&mut bench));
    // no position was ever named, so there was nothing to come back to
    bench.parted(1012);
    bench.connect();
    assert!(!bench.said()[0].contains("since"));
    bench.subscribed("price:*", r#","mode":"all","recovered":false"#);
    assert!(anew(&mut bench));
    bench.hear(r#"{"type":"checkpoint","cursor":"1.k3j9x2m4.4.4"}"#);
    bench.parted(1012);
    bench.connect();
    bench.said();
    bench.subscribed("price:*", r#","mode":"all","recovered":false,"reason":"cursor_too_old""#);
    assert!(anew(&mut bench));
    assert_eq!((bench.session.stats().recovered, bench.session.stats().not_recovered), (0, 3));
}

#[test]
fn one_more_answer_begins_nothing() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    bench.update("price:BTC", 0, 5);
    bench.events.clear();
    bench.subscribed("price:BTC", r#","mode":"latest","recovered":false,"cursor":"1.k3j9x2m4.99.99""#);
    bench.hear(r#"{"type":"subscribed","id":"x","channel":"price:BTC","mode":"latest","recovered":false}"#);
    assert!(bench.events.is_empty());
    bench.update("price:BTC", 8, 9);
    assert_eq!(bench.session.stats().violations, 1, "still compared, still in mode all");
}

#[test]
fn changes_options_by_unsubscribing_first() {
    let mut bench = Bench::connected();
    bench.wish("signals:all");
    bench.said();
    bench.subscribed("signals:all", LIVE);
    bench.update("signals:all", 0, 5);
    bench.events.clear();
    let since = "1.k3j9x2m4.2.2";
    bench.session.subscribe(Subscription::new("signals:all").expect("valid").with_since(since).expect("valid"));
    assert_eq!(
        bench.said(),
        [
            r#"{"type":"unsubscribe","id":2,"channels":["signals:all"]}"#,
            r#"{"type":"subscribe","id":3,"channels":[{"channel":"signals:all","since":"1.k3j9x2m4.2.2"}]}"#
        ]
    );
    bench.update("signals:all", 5, 6);
    bench.hear(r#"{"type":"unsubscribed","id":2,"channel":"signals:all"}"#);
    assert!(bench.events.is_empty(), "nothing of the old one, and no end of the new one");
    bench.subscribed("signals:all", RECOVERED);
    bench.update("signals:all", 0, 5);
    assert!(matches!(bench.last(), Event::Update(update) if update.seq == 5), "again, as asked");
}

#[test]
fn hands_checkpoints_on_and_no_nonsense() {
    let mut bench = Bench::connected();
    bench.events.clear();
    bench.hear(r#"{"type":"checkpoint","cursor":"2.tomorrow"}"#);
    assert!(matches!(bench.last(), Event::Checkpoint { cursor } if cursor == "2.tomorrow"));
    bench.hear(&format!(r#"{{"type":"checkpoint","cursor":"{}"}}"#, "9".repeat(65)));
    bench.hear(r#"{"type":"checkpoint","cursor":""}"#);
    assert!(bench.events.is_empty());
}

#[test]
fn ignores_what_is_said_about_channels_nobody_asked_for() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.events.clear();
    for channel in ["price:ETH", "price:*", r"\u001b[2J"] {
        bench.hear(&format!(r#"{{"type":"stale","channel":"{channel}"}}"#));
        bench.hear(&format!(r#"{{"type":"live","channel":"{channel}"}}"#));
        bench.hear(&format!(r#"{{"type":"gap","channel":"{channel}","after":1,"until":2,"reason":"removed"}}"#));
    }
    assert!(bench.events.is_empty());
    assert_eq!(bench.session.stats().strays, 9);
    // even before it is confirmed
    bench.hear(r#"{"type":"stale","channel":"price:BTC","reason":"bus_lost"}"#);
    assert!(matches!(bench.last(), Event::Stale { channel: Some(_), .. }));
}

#[test]
fn reports_what_comes_twice_and_drops_it() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    bench.update("price:BTC", 0, 5);
    bench.events.clear();
    bench.update("price:BTC", 0, 5);
    assert!(matches!(bench.last(), Event::Repeated { seq: 5, .. }));
    assert!(bench.events.is_empty());
    let stats = bench.session.stats();
    assert_eq!((stats.repeats, stats.violations, stats.duplicates, stats.updates), (1, 1, 0, 1));
}

#[test]
fn reports_a_hole_that_nobody_announced_before_the_update_behind_it() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    bench.update("price:BTC", 0, 5);
    bench.events.clear();
    bench.update("price:BTC", 8, 9);
    let Some(Event::Gap(gap)) = bench.events.pop_front() else { panic!("no gap") };
    assert_eq!((gap.after, gap.until, gap.announced), (5, 8, None));
    assert!(matches!(bench.events.pop_front(), Some(Event::Update(update)) if update.seq == 9));
    assert_eq!(bench.session.stats().violations, 1);
}

#[test]
fn an_announced_gap_is_no_violation() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    bench.update("price:BTC", 0, 5);
    bench.hear(r#"{"type":"gap","channel":"price:BTC","after":5,"until":8,"reason":"retention"}"#);
    bench.update("price:BTC", 8, 9);
    assert_eq!((bench.session.stats().gaps, bench.session.stats().violations), (1, 0));
}
