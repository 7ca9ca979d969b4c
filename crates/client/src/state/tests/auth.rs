//! Signing in, and everything that may go wrong with it.

use super::*;
use crate::{parting::AuthFailure, token::TokenSource};

mod model;
mod refresh;

/// What the session has to say before anything else.
const AUTH: &str = r#"{"type":"auth","id":1,"token":"one"}"#;
/// A token that lives for 100 s from now.
const LIFE_MS: i64 = 100_000;

impl Bench {
    fn with_tokens(options: Options) -> Bench {
        // the session asks nobody: the tests are the source
        Bench::with(Options { token: Some(TokenSource::constant("unused")), ping_interval: None, ..options })
    }

    /// A session that has a token, wants `price:BTC`, and has heard the gateway's hello.
    fn greeted() -> Bench {
        Bench::greeted_with(Options::default())
    }

    fn greeted_with(options: Options) -> Bench {
        let mut bench = Bench::with_tokens(options);
        bench.wish("price:BTC");
        assert_eq!(bench.give("one"), None);
        bench.connect();
        bench
    }

    fn signed_in() -> Bench {
        let mut bench = Bench::greeted();
        assert_eq!(bench.said(), [AUTH]);
        bench.authenticated(Some(LIFE_MS));
        assert_eq!(bench.said().len(), 1, "the subscribe");
        bench.subscribed("price:BTC", LIVE);
        bench.events.clear();
        bench
    }

    fn give(&mut self, token: &str) -> Option<Parting> {
        assert!(self.session.wants_token(), "nobody asked");
        self.session.token(self.now, Ok(Secret::new(token)), &mut self.events)
    }

    fn give_none(&mut self) -> Option<Parting> {
        assert!(self.session.wants_token(), "nobody asked");
        self.session.token(self.now, Err(TokenError::new("no key")), &mut self.events)
    }

    /// The answer to the last message.
    fn authenticated(&mut self, life_ms: Option<i64>) {
        let expires = life_ms.map(|life| format!(r#","expiresAt":{}"#, self.wall_ms() + life)).unwrap_or_default();
        self.hear(&format!(r#"{{"type":"authenticated","id":{},"sub":"user-7"{expires}}}"#, self.session.next_id));
    }

    fn refuse(&mut self, code: &str, rest: &str) {
        self.hear(&format!(
            r#"{{"type":"error","id":{},"code":"{code}","message":"because"{rest}}}"#,
            self.session.next_id
        ));
    }

    /// Goes on to the next deadline that makes it want a token; gives how long that took.
    fn wait_for_question(&mut self) -> Duration {
        let start = self.now;
        // other deadlines come first, as those of the heartbeat
        for _ in 0..100 {
            self.now = self.session.deadline().expect("live").max(self.now);
            self.session.heard(self.now);
            assert_eq!(self.tick(), None);
            if self.session.wants_token() {
                return self.now - start;
            }
        }
        panic!("it never wanted a token");
    }

    fn failure(&mut self) -> (AuthFailure, Option<Duration>, bool) {
        match self.last() {
            Event::AuthFailed { why, retry_after, is_refresh } => (why, retry_after, is_refresh),
            other => panic!("{other:?}"),
        }
    }
}

fn refused(code: ErrorCode) -> AuthFailure {
    AuthFailure::Refused { code, message: "because".to_owned(), retry_after: None }
}

#[test]
fn asks_for_nothing_before_its_token_is_accepted() {
    let mut bench = Bench::greeted();
    assert_eq!(bench.said(), [AUTH]);
    assert!(bench.said().is_empty(), "it waits");
    bench.authenticated(Some(LIFE_MS));
    let Event::Authenticated { sub, expires_at_ms, is_refresh } = bench.last() else { panic!("not signed in") };
    assert_eq!((sub.as_str(), expires_at_ms, is_refresh), ("user-7", Some(LIFE_MS), false));
    assert_eq!(bench.said(), [r#"{"type":"subscribe","id":2,"channels":["price:BTC"]}"#]);
}

#[test]
fn the_token_is_the_first_message_and_a_heartbeat_does_not_wait_for_its_answer() {
    let options = Options { token: Some(TokenSource::constant("unused")), ..Options::default() };
    let mut bench = Bench::with(options);
    assert_eq!(bench.give("one"), None);
    bench.connect();
    assert_eq!(bench.tick(), None, "a ping is due");
    assert_eq!(bench.said(), [r#"{"type":"auth","id":2,"token":"one"}"#, r#"{"type":"ping","id":1}"#]);
}

#[test]
fn a_client_without_a_source_does_not_sign_in() {
    let mut bench = Bench::connected();
    assert!(!bench.session.wants_token());
    bench.wish("price:BTC");
    assert_eq!(bench.said().len(), 1);
    bench.hear(r#"{"type":"authenticated","id":1,"sub":"user-7"}"#);
    bench.hear(r#"{"type":"system:status","status":"token_expiring","expiresInMs":5}"#);
    assert!(!bench.session.wants_token());
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Authenticated { .. })));
}

#[test]
fn every_connection_begins_with_a_token_of_its_own() {
    let mut bench = Bench::signed_in();
    bench.parted(1012);
    assert_eq!(bench.give("two"), None);
    bench.connect();
    assert_eq!(bench.said(), [r#"{"type":"auth","id":3,"token":"two"}"#]);
    bench.authenticated(None);
    assert_eq!(
        bench.said(),
        [r#"{"type":"subscribe","id":4,"channels":[{"channel":"price:BTC","since":"1.k3j9x2m4.3.3"}]}"#]
    );
}

#[test]
fn a_source_that_fails_is_a_connection_that_could_not_be_made() {
    let mut bench = Bench::with_tokens(Options { max_attempts: Some(2), ..Options::default() });
    let why = bench.give_none().expect("nothing to sign in with");
    assert_eq!(why, Parting::NotSignedIn(AuthFailure::NoToken { cause: "no key".to_owned() }));
    assert_eq!(why.to_string(), "not signed in: no token: no key");
    assert!(matches!(bench.lose(why.clone()), Plan::Dial { after } if after <= SECOND / 2));
    assert_eq!(bench.give_none(), Some(why.clone()), "it is asked again");
    assert_eq!(bench.lose(why), Plan::End);
}

#[test]
fn a_refused_token_is_replaced_once_and_then_it_backs_off() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("auth_failed", "");
    assert_eq!(bench.left, None);
    assert_eq!(bench.failure(), (refused(ErrorCode::AuthFailed), Some(Duration::ZERO), false));
    assert_eq!(bench.give("two"), None);
    assert_eq!(bench.said(), [r#"{"type":"auth","id":2,"token":"two"}"#]);
    bench.refuse("auth_failed", "");
    let why = bench.left.take().expect("enough");
    assert_eq!(why, Parting::NotSignedIn(refused(ErrorCode::AuthFailed)));
    assert!(matches!(bench.lose(why), Plan::Dial { after } if after <= 8 * SECOND));
    assert_eq!(bench.session.backoff.ceiling(), 16 * SECOND, "later");

    bench.give("three");
    bench.connect();
    bench.said();
    bench.refuse("auth_failed", "");
    assert!(bench.left.is_some(), "no second try until one was accepted");
    bench.lose(Parting::Drained);
    bench.give("four");
    bench.connect();
    bench.said();
    bench.authenticated(None);
    bench.parted(1012);
    bench.give("five");
    bench.connect();
    bench.said();
    bench.refuse("auth_failed", "");
    assert_eq!(bench.left, None, "now there is one again");
}

#[test]
fn the_very_token_that_was_refused_is_not_sent_again() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("auth_failed", "");
    assert_eq!(bench.give("one"), Some(Parting::NotSignedIn(refused(ErrorCode::AuthFailed))));
    assert!(bench.said().is_empty());
}

#[test]
fn a_gateway_that_cannot_check_tokens_is_asked_again_on_the_same_connection() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("auth_unavailable", r#","retryAfterMs":2000"#);
    assert_eq!(bench.left, None);
    let (_, retry_after, _) = bench.failure();
    let retry_after = retry_after.expect("a retry");
    assert!(retry_after >= 2 * SECOND && retry_after <= 3 * SECOND, "{retry_after:?}");
    assert!(bench.said().is_empty(), "nothing is asked for meanwhile");
    assert_eq!(bench.wait_for_question(), retry_after);
    bench.give("one");
    assert_eq!(bench.said(), [r#"{"type":"auth","id":2,"token":"one"}"#], "it was not refused");
    bench.refuse("auth_unavailable", "");
    bench.wait_for_question();
    bench.give("one");
    bench.said();
    bench.authenticated(None);
    assert_eq!(bench.said().len(), 1, "the subscribe");
}

#[test]
fn a_gateway_that_never_can_counts_as_a_try_that_came_to_nothing() {
    let mut bench = Bench::greeted_with(Options { max_attempts: Some(2), ..Options::default() });
    bench.said();
    bench.refuse("auth_unavailable", "");
    assert_eq!(bench.left, None);
    bench.wait_for_question();
    bench.give("one");
    bench.said();
    bench.refuse("auth_unavailable", "");
    let why = bench.left.take().expect("two tries");
    assert_eq!(bench.lose(why), Plan::End);
}

/// Attack: a gateway that asks for a wait of a thousand years.
#[test]
fn no_gateway_makes_it_wait_for_ever() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("auth_unavailable", r#","retryAfterMs":9007199254740991"#);
    assert!(bench.failure().1.expect("a retry") <= Duration::from_secs(601));
}

#[test]
fn a_forbidden_user_ends_it() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("forbidden", "");
    let why = bench.left.take().expect("for good");
    assert_eq!(bench.lose(why), Plan::End);
    assert!(
        matches!(bench.last(), Event::Closed { code: None, why } if why.to_string() == "not signed in: forbidden: because")
    );
}

#[test]
fn a_gateway_that_does_not_answer_is_left() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.now += 5 * SECOND;
    let why = bench.tick().expect("the connect timeout is over");
    assert_eq!(why, Parting::NotSignedIn(AuthFailure::Unanswered { limit: 5 * SECOND }));
    assert_eq!(why.reconnect(), Reconnect::Soon);
}

#[test]
fn a_connection_that_never_signed_in_was_not_a_good_one() {
    let mut bench = Bench::greeted_with(Options { max_attempts: Some(2), ..Options::default() });
    bench.said();
    bench.now += 31 * SECOND;
    assert!(matches!(bench.parted(4008), Plan::Dial { after } if after <= 8 * SECOND));
    bench.give("one");
    bench.connect();
    assert_eq!(bench.parted(4008), Plan::End, "hello alone is nothing");
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let mut bench = Bench::greeted();
    bench.said();
    for stray in [r#""sub":"x""#, r#""id":9,"sub":"x""#, r#""id":"1","sub":"x""#] {
        bench.hear(&format!(r#"{{"type":"authenticated",{stray}}}"#));
    }
    assert!(bench.said().is_empty(), "not signed in");
    bench.authenticated(None);
    bench.events.clear();
    bench.authenticated(None);
    assert!(bench.events.is_empty(), "once");
}

#[test]
fn comes_back_once_with_a_fresh_token_after_unauthorized() {
    let mut bench = Bench::signed_in();
    assert!(matches!(bench.parted(4401), Plan::Dial { after } if after <= SECOND / 2));
    bench.give("two");
    bench.connect();
    bench.said();
    assert_eq!(bench.parted(4401), Plan::End, "once");
    assert!(matches!(bench.last(), Event::Closed { code: Some(4401), .. }));

    let mut bench = Bench::connected();
    assert_eq!(bench.parted(4401), Plan::End, "nobody has another one");
}

#[test]
fn a_refusal_and_the_close_that_follows_are_one() {
    let mut bench = Bench::greeted();
    bench.said();
    bench.refuse("auth_failed", "");
    assert!(matches!(bench.parted(4401), Plan::Dial { .. }), "the fresh token was not tried yet");
    bench.give("two");
    bench.connect();
    bench.said();
    assert_eq!(bench.parted(4401), Plan::End);
}

#[test]
fn revoked_and_forbidden_end_it_whatever_the_source_has() {
    for code in [4403, 4440] {
        let mut bench = Bench::signed_in();
        assert_eq!(bench.parted(code), Plan::End, "{code}");
    }
}

/// Checklist 17: no token in what a session shows of itself.
#[test]
fn debug_shows_no_token() {
    let bench = Bench::greeted();
    let shown = format!("{:?}", bench.session);
    assert!(shown.contains("Ready(***)"), "{shown}");
}
