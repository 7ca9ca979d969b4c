//! Whatever a gateway and a source of tokens do, and in whatever order: nothing is asked for before a token was
//! accepted, one token is under way at a time, none is sent twice in vain, and one that can be refreshed is.

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// The source gives this token, if it was asked.
    Give(u8),
    /// The source has none.
    GiveNone,
    /// The gateway says hello on a new connection.
    Connect,
    /// The gateway accepts the token, for so many milliseconds from now.
    Accept(Option<i64>),
    /// The gateway refuses it.
    Refuse(&'static str),
    Expiring(u64),
    Close(u16),
    /// So many milliseconds pass.
    Wait(u64),
    /// The next deadline comes.
    Deadline,
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop::sample::select(vec!["auth_failed", "auth_unavailable", "rate_limited", "internal", "of_tomorrow"]);
    let close = prop::sample::select(vec![1006, 1012, 4003, 4008, 4401]);
    let life = prop::option::of(prop_oneof![-5_000..5_000_i64, 5_000..600_000_i64]);
    prop_oneof![
        6 => (0..6_u8).prop_map(Step::Give),
        1 => Just(Step::GiveNone),
        4 => Just(Step::Connect),
        5 => life.prop_map(Step::Accept),
        3 => code.prop_map(Step::Refuse),
        2 => (0..40_000_u64).prop_map(Step::Expiring),
        1 => close.prop_map(Step::Close),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        6 => Just(Step::Deadline),
    ]
}

/// What the test knows of the connection.
#[derive(Default)]
struct Seen {
    is_connected: bool,
    is_signed_in: bool,
    /// The token under way, with its id.
    sent: Option<(String, String)>,
    /// Tokens that this connection's gateway called invalid.
    refused: Vec<String>,
    /// The token in force.
    accepted: Option<String>,
    /// When that expires, if the gateway's clock is ours.
    expires: Option<Instant>,
    /// Whether another one was asked for since.
    is_renewing: bool,
}

fn check(bench: &mut Bench, seen: &mut Seen) -> Result<(), TestCaseError> {
    let is_given_up = |event| matches!(event, Event::AuthFailed { why: AuthFailure::Unanswered { .. }, .. });
    if bench.events.drain(..).any(is_given_up) {
        seen.sent = None;
    }
    seen.is_renewing |= bench.session.wants_token();
    let is_over = seen.expires.is_some_and(|at| bench.now >= at);
    prop_assert!(!is_over || seen.is_renewing, "the token in force has expired and nobody tried to renew it");
    for said in bench.said() {
        let message: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        match message["type"].as_str().expect("a type") {
            "auth" => {
                let token = message["token"].as_str().expect("a token").to_owned();
                prop_assert!(seen.sent.is_none(), "two tokens under way");
                prop_assert!(seen.is_signed_in || !seen.refused.contains(&token), "sent in vain: {token}");
                prop_assert_ne!(Some(&token), seen.accepted.as_ref(), "the token in force");
                seen.sent = Some((token, message["id"].to_string()));
            }
            "ping" => {}
            other => prop_assert!(seen.is_signed_in, "{other} before it was signed in"),
        }
    }
    Ok(())
}

fn run(steps: &[Step], seed: u64) -> Result<(), TestCaseError> {
    let mut bench = Bench::with_tokens(Options::default());
    bench.session.random = StdRng::seed_from_u64(seed);
    bench.wish("price:BTC");
    let mut seen = Seen::default();
    for step in steps {
        let mut why = None;
        match step {
            Step::Give(number) if bench.session.wants_token() => why = bench.give(&format!("t{number}")),
            Step::GiveNone if bench.session.wants_token() => why = bench.give_none(),
            // the task dials with a token in hand only
            Step::Connect if !seen.is_connected && !bench.session.wants_token() => {
                bench.connect();
                seen.is_connected = true;
            }
            Step::Accept(life) if seen.sent.is_some() => {
                let (token, id) = seen.sent.take().expect("just seen");
                let expires = life.map(|life| format!(r#","expiresAt":{}"#, bench.wall_ms() + life));
                bench
                    .hear(&format!(r#"{{"type":"authenticated","id":{id},"sub":"u"{}}}"#, expires.unwrap_or_default()));
                let life = life.filter(|life| *life >= 1_000).map(|life| Duration::from_millis(life.unsigned_abs()));
                (seen.is_signed_in, seen.accepted) = (true, Some(token));
                (seen.expires, seen.is_renewing) = (life.map(|life| bench.now + life), false);
            }
            Step::Refuse(code) if seen.sent.is_some() => {
                let (token, id) = seen.sent.take().expect("just seen");
                bench.hear(&format!(r#"{{"type":"error","id":{id},"code":"{code}","message":"m"}}"#));
                if !seen.is_signed_in && !ErrorCode::from_name(code).retry() {
                    seen.refused.push(token);
                }
                why = bench.left.take();
                prop_assert!(why.is_none() || !seen.is_signed_in, "a refresh that fails ends nothing");
            }
            Step::Expiring(left) if seen.is_connected => {
                bench.hear(&format!(r#"{{"type":"system:status","status":"token_expiring","expiresInMs":{left}}}"#))
            }
            Step::Close(code) if seen.is_connected => {
                why = Some(Parting::Closed { code: Some(*code), reason: String::new() });
            }
            Step::Wait(ms) => bench.now += Duration::from_millis(*ms),
            Step::Deadline => bench.now = bench.session.deadline().unwrap_or(bench.now).max(bench.now),
            _ => {}
        }
        if seen.is_connected && why.is_none() {
            // nothing is silent here, and the task never lets a deadline pass
            bench.session.heard(bench.now);
            why = bench.tick();
        }
        if let Some(why) = why {
            seen = Seen::default();
            if bench.lose(why) == Plan::End {
                return Ok(());
            }
            prop_assert!(bench.session.wants_token(), "the next connection has a token of its own");
        }
        check(&mut bench, &mut seen)?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn asks_for_nothing_in_vain(steps in prop::collection::vec(step(), 1..80), seed in any::<u64>()) {
        run(&steps, seed)?;
    }
}
