//! Last values by HTTP: what they are named, and how long others may keep them.

use std::time::Duration;

use odin_protocol::{Mode, ServerMessage};
use serde_json::json;
use ws_gateway::{
    config::Config,
    rules::{Access, Delayed, RuleSource},
};

use super::support::{Polled, Web, ask, bearer, get, get_with, is_refused};
use crate::support::{Answer, Gateway, Odin, token, with_rules, with_users};

const BTC: &str = "/v1/channels/price:BTC/latest";

fn if_none_match(tags: &str) -> String {
    format!("If-None-Match: {tags}\r\n")
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("a tag").to_owned()
}

#[tokio::test]
async fn gives_the_last_value_and_says_when_it_is_still_the_same() {
    let odin = Odin::start().await;
    let first = odin.publisher.price("BTC", 1).await;
    let answer = get(&odin.gateway, BTC).await;
    let polled = Polled::of(&answer);
    assert_eq!((polled.seqs(), polled.messages.len(), polled.more), (vec![first], 1, None));
    assert_eq!(polled.updates()[0].data.get(), r#"{"price":1}"#);
    let epoch = polled.updates()[0].epoch;
    assert_eq!(tag(&answer), format!("\"{epoch}-{first}\""));
    let known = tag(&answer);
    for tags in [known.clone(), format!("W/{known}"), format!("\"other\", {known}"), "*".to_owned()] {
        let same = get_with(&odin.gateway, BTC, &if_none_match(&tags)).await;
        assert_eq!((same.status, &*same.body), (304, ""), "{tags}");
        assert_eq!((tag(&same), same.header("cache-control")), (known.clone(), Some("public, max-age=1")));
    }
    let second = odin.publisher.price("BTC", 2).await;
    // A value is as old as what the gateway has by then.
    let changed = crate::support::until("the next value", async || {
        let answer = get_with(&odin.gateway, BTC, &if_none_match(&known)).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(Polled::of(&changed).seqs(), [second]);
    assert_ne!(tag(&changed), known);
    let other = odin.another_gateway().await;
    assert_eq!(tag(&get(&other, BTC).await), tag(&changed), "the same name on every gateway");
}

#[tokio::test]
async fn a_head_request_is_answered_without_the_value() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    let mut web = Web::connect(&odin.gateway).await;
    let whole = web.get(BTC).await;
    let head = web.ask("HEAD", BTC, "", "").await;
    assert_eq!((head.status, &*head.body), (200, ""));
    for name in ["etag", "content-length", "content-type", "cache-control"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    assert_eq!(web.ask("HEAD", BTC, &if_none_match(&tag(&whole)), "").await.status, 304);
    assert_eq!(web.get(BTC).await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn says_that_nothing_was_published_yet_or_that_there_is_no_such_channel() {
    let odin = Odin::start_with(with_users).await;
    for (channel, status, code) in [
        ("price:BTC", 404, "no_value"),
        ("price:*", 404, "no_value"),
        ("nothing:here", 404, "unknown_channel"),
        ("price:", 400, "invalid_channel"),
        ("price:%2A%2A", 400, "invalid_channel"),
        ("odin.tokens.BTC.price", 400, "invalid_channel"),
        ("trades", 401, "auth_required"),
    ] {
        let answer = get(&odin.gateway, &format!("/v1/channels/{channel}/latest")).await;
        is_refused(&answer, status, code);
    }
    let gateway = Gateway::without_nats(|_| {});
    is_refused(&get(&gateway, BTC).await, 503, "unavailable");
}

#[tokio::test]
async fn a_channel_may_be_written_in_percent() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    for channel in ["price%3ABTC", "price:%42TC", "%70rice%3abtc"] {
        let answer = get(&odin.gateway, &format!("/v1/channels/{channel}/latest")).await;
        if channel.ends_with("btc") {
            is_refused(&answer, 404, "no_value");
        } else {
            assert_eq!(Polled::of(&answer).seqs(), [seq], "{channel}");
        }
    }
    // Neither a path of its own nor another channel.
    for channel in ["price%2FBTC", "price:BTC%2F..%2Fx", "price:BTC%00", "price:BTC%0d%0a", "price:%FF"] {
        let answer = get(&odin.gateway, &format!("/v1/channels/{channel}/latest")).await;
        assert_eq!(answer.status, 400, "{channel}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_pattern_has_one_value_for_each_channel_and_one_name_for_all() {
    let odin = Odin::start().await;
    let mut sequences = Vec::new();
    for n in 0..30 {
        sequences.push(odin.publisher.price(&format!("T{n}"), n).await);
    }
    sequences.push(odin.publisher.price("T0", 1).await);
    sequences.remove(0);
    let answer = get(&odin.gateway, "/v1/channels/price:*/latest").await;
    let mut seqs = Polled::of(&answer).seqs();
    seqs.sort_unstable();
    assert_eq!(seqs, sequences);
    let newest = sequences.last().expect("some");
    assert!(tag(&answer).ends_with(&format!("-{newest}-30\"")), "{}", tag(&answer));
    let same = get_with(&odin.gateway, "/v1/channels/price:*/latest", &if_none_match(&tag(&answer))).await;
    assert_eq!(same.status, 304);
}

/// More values than an answer may have are not taken for all there are.
#[tokio::test]
async fn a_pattern_with_too_many_values_is_refused_and_not_cut() {
    let odin = Odin::start_with(|config| config.http.answer_bytes = 8 * 1024).await;
    let message = |n: u64| (format!("odin.tokens.T{n}.price"), format!(r#"{{"n":{n}}}"#));
    odin.publisher.publish_all((0..200).map(message).collect()).await;
    is_refused(&get(&odin.gateway, "/v1/channels/price:*/latest").await, 400, "too_wide");
    assert_eq!(get(&odin.gateway, "/v1/channels/price:T7/latest").await.status, 200);
}

/// A room for users, prices that others get late, and one for a tier.
pub(super) fn rules(config: &mut Config) {
    with_users(config);
    config.http.latest_max_age = Duration::from_secs(7);
    let room = RuleSource::new("chat:{room}", "odin.chat.{room}", Access::SignedIn, Mode::All);
    let delayed = Some(Delayed { access: Access::Public, by: "30m".to_owned() });
    let tier = Access::Tiers(vec!["premium".to_owned()]);
    let late = RuleSource { delayed, ..RuleSource::new("late:{token}", "odin.late.{token}", tier, Mode::All) };
    with_rules(config, vec![room, late]);
}

/// Attack: somebody else's value out of a cache that both share.
#[tokio::test]
async fn says_who_may_keep_a_value() {
    let odin = Odin::start_with(rules).await;
    odin.publisher.price("BTC", 1).await;
    for (subject, sub) in [("odin.chat.lobby", ""), ("odin.users.ada.trades", "ada"), ("odin.late.BTC", "")] {
        odin.publisher.publish(subject, format!(r#"{{"of":"{sub}"}}"#)).await;
    }
    let ada = bearer(&token("ada", json!({ "tier": "premium" })));
    let bob = bearer(&token("bob", json!({})));
    for (channel, headers, control) in [
        ("price:BTC", "", "public, max-age=7"),
        ("price:BTC", &*ada, "public, max-age=7"),
        ("chat:lobby", &*ada, "private, no-cache"),
        ("trades", &*ada, "private, no-cache"),
    ] {
        let answer = get_with(&odin.gateway, &format!("/v1/channels/{channel}/latest"), headers).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some(control)), "{channel} {headers}");
        let vary: Vec<&str> = answer.head.lines().filter_map(|line| line.strip_prefix("vary: ")).collect();
        let vary = vary.join(", ");
        assert!(vary.contains("authorization") && vary.contains("origin"), "{vary}");
    }
    // At once for some, late for others: two values of one address.
    let early = get_with(&odin.gateway, "/v1/channels/late:BTC/latest", &ada).await;
    assert_eq!((early.status, early.header("cache-control")), (200, Some("private, no-cache")));
    is_refused(&get(&odin.gateway, "/v1/channels/late:BTC/latest").await, 404, "no_value");
    // The name of somebody else's value says nothing.
    let of_ada = get_with(&odin.gateway, "/v1/channels/trades/latest", &ada).await;
    assert_eq!(Polled::of(&of_ada).updates()[0].data.get(), r#"{"of":"ada"}"#);
    let headers = format!("{bob}{}", if_none_match(&tag(&of_ada)));
    is_refused(&get_with(&odin.gateway, "/v1/channels/trades/latest", &headers).await, 404, "no_value");
    is_refused(&get_with(&odin.gateway, "/v1/channels/chat:lobby/latest", "").await, 401, "auth_required");
    odin.gateway.metric_becomes("odin_gateway_user_connections", 0).await;
}

#[tokio::test]
async fn refusals_and_polls_are_kept_by_nobody() {
    let odin = Odin::start().await;
    odin.publisher.price("BTC", 1).await;
    for target in ["/v1/poll?channels=price:BTC&wait=0", "/v1/channels/price:BTC/history"] {
        let answer = get(&odin.gateway, target).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")), "{target}");
        assert_eq!(answer.header("etag"), None);
    }
    for target in ["/v1/channels/price:ETH/latest", "/v1/channels/nothing:here/latest", "/v1/nothing"] {
        let answer = ask(&odin.gateway, "GET", target, "", "").await;
        assert_eq!(answer.status, 404);
        // RFC 9111 §4.2.2: a cache may make up how long a 404 is good.
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
    }
    let messages = Polled::of(&get(&odin.gateway, BTC).await).messages;
    assert!(matches!(messages[..], [ServerMessage::Update(_)]));
}
