//! Fresh tokens on a connection that is signed in.

use super::*;

#[test]
fn refreshes_between_half_and_three_quarters_of_the_life_that_is_left() {
    for seed in 0..50 {
        let mut bench = Bench::greeted();
        bench.session.random = StdRng::seed_from_u64(seed);
        bench.said();
        bench.authenticated(Some(LIFE_MS));
        let waited = bench.wait_for_question();
        assert!((50 * SECOND..=75 * SECOND).contains(&waited), "{waited:?}");
    }
}

#[test]
fn a_refresh_leaves_subscriptions_alone() {
    let mut bench = Bench::signed_in();
    bench.wait_for_question();
    assert_eq!(bench.give("two"), None);
    bench.wish("price:ETH");
    let said = bench.said();
    assert!(said[0].starts_with(r#"{"type":"auth""#) && said[0].contains("two"), "{said:?}");
    assert!(said[1..].iter().any(|said| said.contains("price:ETH")), "others need not wait: {said:?}");
    let id = &said[0][20..21];
    bench.hear(&format!(
        r#"{{"type":"authenticated","id":{id},"sub":"user-7","expiresAt":{}}}"#,
        bench.wall_ms() + LIFE_MS
    ));
    assert!(matches!(bench.last(), Event::Authenticated { is_refresh: true, .. }));
    bench.update("price:BTC", 3, 5);
    assert!(matches!(bench.last(), Event::Update(_)));
    assert!(bench.wait_for_question() >= 50 * SECOND, "the next one");
}

#[test]
fn refreshes_at_once_when_the_gateway_says_that_the_token_expires() {
    let mut bench = Bench::signed_in();
    bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":30000}"#);
    assert_eq!(bench.wait_for_question(), Duration::ZERO);
    bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":30000}"#);
    bench.give("two");
    bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":30000}"#);
    assert_eq!(bench.said().iter().filter(|said| said.contains("auth")).count(), 1, "it is under way");
}

/// Attack: a gateway that says it without end must not make the client ask its source without end.
#[test]
fn does_not_ask_its_source_as_often_as_a_gateway_may_say_so() {
    let mut bench = Bench::signed_in();
    let start = bench.now;
    for _ in 0..20 {
        for _ in 0..50 {
            bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":30000}"#);
        }
        bench.wait_for_question();
        bench.give("one");
    }
    assert!(bench.now - start >= 10 * SECOND, "{:?}", bench.now - start);
}

#[test]
fn a_refresh_that_fails_is_tried_again_until_the_token_has_expired() {
    let mut bench = Bench::signed_in();
    let expiry = bench.now + Duration::from_millis(100_000);
    bench.wait_for_question();
    let mut tries = 0;
    loop {
        tries += 1;
        let left = if tries % 2 == 0 {
            bench.give_none()
        } else {
            bench.give(&format!("token {tries}"));
            bench.said();
            bench.refuse("auth_failed", "");
            bench.left.take()
        };
        assert_eq!(left, None, "the connection goes on");
        let (_, retry_after, is_refresh) = bench.failure();
        assert!(is_refresh);
        let Some(retry_after) = retry_after else { break };
        assert_eq!(bench.wait_for_question(), retry_after);
        assert!(bench.now < expiry);
    }
    assert!(tries > 2, "{tries}");
    bench.now = bench.now.max(expiry);
    bench.session.heard(bench.now);
    assert_eq!(bench.tick(), None);
    assert!(!bench.session.wants_token(), "it waits for the gateway");
    assert!(matches!(bench.parted(4003), Plan::Dial { after } if after <= SECOND / 2), "soon");
    assert!(bench.session.wants_token(), "with a fresh one");
}

#[test]
fn a_refresh_without_an_answer_is_tried_again() {
    let mut bench = Bench::signed_in();
    bench.wait_for_question();
    bench.give("two");
    bench.said();
    bench.now += 5 * SECOND;
    assert_eq!(bench.tick(), None);
    assert!(matches!(bench.failure(), (AuthFailure::Unanswered { .. }, Some(_), true)));
    bench.wait_for_question();
}

#[test]
fn an_answer_that_was_not_read_for_the_applications_sake_may_still_come() {
    let mut bench = Bench::signed_in();
    bench.wait_for_question();
    bench.give("two");
    bench.said();
    bench.now += 60 * SECOND;
    bench.session.tick_deaf(bench.now);
    bench.session.listens_again(bench.now);
    assert_eq!(bench.tick(), None);
    assert!(bench.events.is_empty());
    bench.authenticated(None);
    assert!(matches!(bench.last(), Event::Authenticated { is_refresh: true, .. }));
}

#[test]
fn a_refresh_begins_while_nothing_is_read() {
    let mut bench = Bench::signed_in();
    bench.now += 80 * SECOND;
    bench.session.tick_deaf(bench.now);
    assert!(bench.session.wants_token());
}

#[test]
fn a_source_that_has_no_newer_token_yet_is_asked_again_without_a_word() {
    let mut bench = Bench::signed_in();
    bench.wait_for_question();
    assert_eq!(bench.give("one"), None);
    assert!(bench.events.is_empty() && bench.said().iter().all(|said| !said.contains("auth")));
    bench.wait_for_question();
    bench.give("two");
    assert!(bench.said().iter().any(|said| said.contains("two")));
}

#[test]
fn another_user_than_before_ends_it() {
    let mut bench = Bench::signed_in();
    bench.wait_for_question();
    bench.give("of another");
    bench.said();
    bench.refuse("forbidden", "");
    let why = bench.left.take().expect("for good");
    assert_eq!(bench.lose(why), Plan::End);
}

#[test]
fn where_clocks_disagree_only_the_gateway_knows_when_to_refresh() {
    for life_ms in [-3_600_000, 0, 900, i64::MIN / 2] {
        let mut bench = Bench::greeted();
        bench.said();
        bench.authenticated(Some(life_ms));
        bench.said();
        bench.now += 30 * SECOND;
        assert_eq!(bench.tick(), None);
        assert!(!bench.session.wants_token(), "no loop: {life_ms}");
        bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":30000}"#);
        bench.wait_for_question();
    }
}

#[test]
fn a_token_that_never_expires_is_not_refreshed() {
    for life_ms in [None, Some(i64::MAX / 2)] {
        let mut bench = Bench::greeted();
        bench.said();
        bench.authenticated(life_ms);
        bench.said();
        bench.now += Duration::from_secs(24 * 3_600);
        bench.session.heard(bench.now);
        assert_eq!(bench.tick(), None);
        assert!(!bench.session.wants_token());
    }
}

/// Checklist 20: a refresh may take channels away. The application is told, and the client does not ask again.
#[test]
fn a_subscription_that_a_refresh_ends_is_told_and_not_asked_for_again() {
    let mut bench = Bench::signed_in();
    bench.hear(r#"{"type":"error","code":"forbidden","message":"tier","channel":"price:BTC"}"#);
    let Event::Error(refusal) = bench.last() else { panic!("not told why") };
    assert_eq!((refusal.code, refusal.channel.as_deref()), (ErrorCode::Forbidden, Some("price:BTC")));
    assert_eq!(refusal.retry_after, None);
    bench.hear(r#"{"type":"unsubscribed","channel":"price:BTC"}"#);
    assert!(matches!(bench.last(), Event::Unsubscribed { channel } if channel == "price:BTC"));
    bench.parted(1012);
    bench.give("two");
    bench.connect();
    bench.said();
    bench.authenticated(None);
    assert!(bench.said().is_empty());
}
