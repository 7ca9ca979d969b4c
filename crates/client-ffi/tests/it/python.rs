//! A Python program that uses the binding: the same library and the same calls as on a phone.

use serde_json::{Value, json};

use crate::support::{Program, Stage, publish};

/// Reads updates until there are `count`, and gives their sequences; each names the one before it.
async fn updates(program: &mut Program, count: usize, last: &mut Option<u64>) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let update = program.until("event", "update").await;
        let (seq, prev) = (update["seq"].as_u64().expect("a number"), update["prev"].as_u64());
        assert_eq!(update["channel"], "chat:lobby");
        if last.is_some() {
            assert_eq!(prev, *last, "{update}");
        }
        *last = Some(seq);
        seqs.push(seq);
    }
    seqs
}

#[tokio::test]
async fn a_program_survives_killed_gateways_without_a_gap_or_a_duplicate_and_continues_by_its_cursor() {
    const ROUND: usize = 50;
    let stage = Stage::start().await;
    let publisher = stage.publisher().await;
    let mut gateways = vec![stage.gateway().await, stage.gateway().await, stage.gateway().await];
    let mut program = Program::start(&gateways).await;
    let refused = program.until("answer", "invalid_options").await;
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("http://nowhere")), "{refused}");
    program.until("event", "connecting").await;
    let mut url = program.until("event", "connected").await["url"].clone();
    program.until("event", "subscribed").await;

    let (mut stored, mut told, mut last) = (Vec::new(), Vec::new(), None);
    for round in 0..3 {
        for number in 0..ROUND {
            stored.push(publish(&publisher, &format!(r#"{{"number":{number},"round":{round}}}"#)).await);
        }
        told.extend(updates(&mut program, ROUND, &mut last).await);
        if round < 2 {
            let at = gateways.iter().position(|gateway| gateway.ws_url() == url).expect("one of ours");
            gateways[at].kill().await;
            // stored while nobody is connected: it comes with the resume
            stored.push(publish(&publisher, r#"{"meanwhile":true}"#).await);
            url = program.until("event", "connected").await["url"].clone();
            assert_eq!(program.until("event", "subscribed").await["recovered"], true);
            told.extend(updates(&mut program, 1, &mut last).await);
        }
    }
    assert_eq!(told, stored);

    program.order(json!({"do": "cursor", "channel": "chat:lobby"})).await;
    let cursor = program.until("answer", "cursor").await["cursor"].clone();
    program.order(json!({"do": "close"})).await;
    let closed = program.until("event", "closed").await;
    assert_eq!((&closed["code"], &closed["threads"]), (&json!(1000), &json!(1)));
    let missed = publish(&publisher, r#"{"missed":true}"#).await;
    program.order(json!({"do": "again", "since": cursor})).await;
    let again = program.until("event", "subscribed").await;
    assert_eq!((&again["client"], &again["recovered"]), (&json!("second"), &json!(true)));
    assert_eq!(updates(&mut program, 1, &mut last).await, [missed]);
    program.order(json!({"do": "close"})).await;
    program.until("event", "closed").await;
    program.end().await;
}

/// Checklist 17: the text of a token source's exception may hold a secret.
#[tokio::test]
async fn a_token_source_that_fails_is_asked_again_and_its_secrets_are_not_told() {
    let stage = Stage::start().await;
    let gateways = [stage.gateway().await];
    let mut program = Program::start(&gateways).await;
    // without a token there is no connection to sign in on
    let declared = program.until("event", "reconnecting").await.to_string();
    assert!(declared.contains("no token yet"), "{declared}");
    let undeclared = program.until("event", "reconnecting").await.to_string();
    assert!(undeclared.contains("failed unexpectedly") && !undeclared.contains("hush"), "{undeclared}");
    assert_eq!(program.until("event", "signed_in").await["user"], "ada");
    program.until("event", "subscribed").await;
    // letting go of the client without closing it ends it too
    program.order(json!({"do": "forget"})).await;
    assert_eq!(program.until("event", "closed").await["code"], 1000);
    program.end().await;
}

#[tokio::test]
async fn a_program_publishes_and_is_told_why_not() {
    let stage = Stage::start().await;
    let gateways = [stage.gateway().await];
    let mut program = Program::start(&gateways).await;
    program.until("event", "subscribed").await;
    let order = |channel: &str, data: &str| json!({"do": "publish", "channel": channel, "data": data});
    program.order(order("chat:lobby", r#"{"text":"größer"}"#)).await;
    // the answer and the update come from two threads: either may be printed first
    let (mut published, mut update) = (None::<Value>, None::<Value>);
    while published.is_none() || update.is_none() {
        let line = program.line("the publication and its answer").await;
        if line["event"] == "update" {
            update = Some(line);
        } else if line["answer"] == "published" {
            published = Some(line);
        }
    }
    let (published, update) = (published.expect("came"), update.expect("came"));
    assert_eq!(published["seq"], update["seq"]);
    assert_eq!(update["json"], r#"{"text":"größer"}"#);

    program.order(order("nothing:here", "1")).await;
    assert_eq!(program.until("answer", "refused").await["code"], "unknown_channel");
    for (channel, data) in [("chat:lobby", "not json"), ("chat:>", "1"), ("chat:*", "1")] {
        program.order(order(channel, data)).await;
        program.until("answer", "invalid").await;
    }
    // sixteen are under way for as long as nobody answers, and four too many
    gateways[0].pause();
    program.order(json!({"do": "flood", "channel": "chat:lobby", "count": 20})).await;
    for _ in 0..4 {
        program.until("answer", "busy").await;
    }
    gateways[0].resume();
    loop {
        match program.line("the answers").await["answer"].as_str() {
            Some("flooded") => break,
            answer => assert_ne!(answer, Some("busy")),
        }
    }
    program.order(json!({"do": "close"})).await;
    program.until("answer", "closed").await;
    program.end().await;
}

#[tokio::test]
async fn a_listener_that_throws_is_told_so_and_hears_what_follows() {
    let stage = Stage::start().await;
    let publisher = stage.publisher().await;
    let gateways = [stage.gateway().await];
    let mut program = Program::start(&gateways).await;
    program.until("event", "subscribed").await;
    program.order(json!({"do": "throw"})).await;
    program.until("answer", "will_throw").await;
    let first = publish(&publisher, "1").await;
    assert_eq!(program.until("event", "throwing").await["seq"], first);
    let failed = program.until("event", "listener_failed").await;
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("the listener threw")), "{failed}");
    let second = publish(&publisher, "2").await;
    assert_eq!(program.until("event", "update").await["seq"], second);
    program.order(json!({"do": "unsubscribe", "channel": "chat:lobby"})).await;
    program.until("event", "unsubscribed").await;
    program.order(json!({"do": "close"})).await;
    program.until("event", "closed").await;
    program.end().await;
}
