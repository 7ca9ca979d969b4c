//! The market as a whole: reproducible, well-formed, and its figures add up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::*;
use crate::Subject;

const START: i64 = 1_760_000_000_000;

fn options() -> MarketOptions {
    MarketOptions { tokens: 20, users: 5, seed: 7, start_ms: START, rate: 50.0, ..MarketOptions::default() }
}

/// Runs on the market's own clock.
fn run(options: &MarketOptions, steps: usize) -> Vec<Publication> {
    let mut market = Market::new(options).unwrap();
    (0..steps).map(|_| market.step(market.next_due_ms())).collect()
}

fn json(publication: &Publication) -> Value {
    serde_json::from_slice(&publication.payload).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(run(&options(), 2_000), run(&options(), 2_000));
    let other = MarketOptions { seed: 8, ..options() };
    assert_ne!(run(&options(), 10), run(&other, 10));
}

#[test]
fn every_kind_is_published_where_it_belongs_with_its_own_nonce() {
    let mut nonces = BTreeSet::new();
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    for publication in run(&options(), 5_000) {
        let subject = Subject::parse(&publication.subject).unwrap();
        let data = json(&publication);
        assert_eq!(data["nonce"], publication.id.as_str());
        assert!(data["timestamp"].as_i64().unwrap() >= START);
        assert!(nonces.insert(publication.id), "nonce used twice");
        assert!(publication.payload.len() < 60_000);
        let tokens: Vec<&str> = subject.as_str().split('.').collect();
        let shape = match tokens[..] {
            ["odin", "tokens", "batch", "update"] => "batch".to_owned(),
            ["odin", "tokens", token, what] => {
                let named = if what == "quote" { &data["symbol"] } else { &data["tokenId"] };
                assert_eq!(named, token);
                what.to_owned()
            }
            ["odin", "market", what] => format!("market.{what}"),
            ["odin", "signals", signal, entity] => {
                assert_eq!((&data["signal"], &data["entity"]), (&Value::from(signal), &Value::from(entity)));
                assert!(["low", "medium", "high"].contains(&data["severity"].as_str().unwrap()));
                "signals".to_owned()
            }
            ["odin", "users", user, what] => {
                assert_eq!(data["user"], user);
                format!("users.{what}")
            }
            ["odin", "system", "health"] => "health".to_owned(),
            _ => panic!("unexpected subject {subject}"),
        };
        *shapes.entry(shape).or_default() += 1;
    }
    let found: Vec<&str> = shapes.keys().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "batch",
            "health",
            "market.sentiment",
            "market.statistics",
            "market.status",
            "market.summary",
            "market.volume",
            "price",
            "quote",
            "signals",
            "users.notifications",
            "users.portfolio",
            "users.trades",
            "volume"
        ]
    );
}

#[test]
fn a_price_has_exactly_the_documented_members_in_order() {
    let only = MarketOptions { kinds: vec![Kind::Price], ..options() };
    for publication in run(&only, 200) {
        let text = String::from_utf8(publication.payload.clone()).unwrap();
        let members: Vec<&str> = text
            .trim_matches(['{', '}'])
            .split(',')
            .map(|member| member.split(':').next().unwrap().trim_matches('"'))
            .collect();
        assert_eq!(
            members,
            ["type", "tokenId", "price", "volume24h", "priceChange24h", "timestamp", "source", "nonce"]
        );
        let data = json(&publication);
        assert_eq!(data["type"], "price:update");
        assert!(data["price"].as_f64().unwrap() > 0.0);
        assert!(["trade", "scheduler"].contains(&data["source"].as_str().unwrap()));
    }
}

#[test]
fn only_trades_move_price_and_volume() {
    let only = MarketOptions { kinds: vec![Kind::Price], ..options() };
    let mut last: HashMap<String, (f64, f64)> = HashMap::new();
    let mut scheduled = 0;
    // under a quarter hour in all, so that nothing leaves the window
    for publication in run(&only, 20_000) {
        let data = json(&publication);
        let (price, volume) = (data["price"].as_f64().unwrap(), data["volume24h"].as_f64().unwrap());
        let token = data["tokenId"].as_str().unwrap().to_owned();
        let before = last.insert(token, (price, volume));
        let Some((price_before, volume_before)) = before else {
            continue;
        };
        if data["source"] == "scheduler" {
            scheduled += 1;
            assert_eq!(price, price_before);
            assert!(volume <= volume_before);
        }
    }
    assert!(scheduled > 1_000);
}

#[test]
fn market_totals_are_sums_over_the_tokens() {
    let mut market = Market::new(&options()).unwrap();
    let mut checked = 0;
    for _ in 0..3_000 {
        let publication = market.step(market.next_due_ms());
        let data = json(&publication);
        let volume = market.tokens.iter().map(Token::volume_cents).sum::<u64>() as f64 / 100.0;
        let trades: u64 = market.tokens.iter().map(Token::trades).sum();
        match publication.subject.as_str() {
            "odin.market.summary" => {
                assert_eq!(data["totalVolume24h"], volume);
                let counted = ["advancing", "declining", "unchanged"].map(|member| data[member].as_u64().unwrap());
                assert_eq!(counted.iter().sum::<u64>(), 20);
                checked += 1;
            }
            "odin.market.volume" => {
                assert_eq!((&data["totalVolume24h"], &data["totalTrades24h"]), (&volume.into(), &trades.into()));
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn portfolios_are_what_the_published_trades_made() {
    let only = MarketOptions { kinds: vec![Kind::Users], ..options() };
    let micro = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as i64;
    let mut held: HashMap<(String, String), i64> = HashMap::new();
    let mut checked = 0;
    for publication in run(&only, 4_000) {
        let data = json(&publication);
        let user = data["user"].as_str().unwrap().to_owned();
        if publication.subject.ends_with(".trades") {
            let sign = if data["side"] == "buy" { 1 } else { -1 };
            let token = data["tokenId"].as_str().unwrap().to_owned();
            *held.entry((user, token)).or_default() += sign * micro(&data["quantity"]);
        } else if publication.subject.ends_with(".portfolio") {
            let positions = data["positions"].as_array().unwrap();
            let mut cents = (data["cash"].as_f64().unwrap() * 100.0).round();
            for position in positions {
                let token = position["tokenId"].as_str().unwrap().to_owned();
                assert_eq!(micro(&position["quantity"]), held[&(user.clone(), token)]);
                cents += (position["value"].as_f64().unwrap() * 100.0).round();
            }
            let others = held.iter().filter(|((owner, _), quantity)| *owner == user && **quantity != 0).count();
            assert_eq!(positions.len(), others);
            assert_eq!((data["totalValue"].as_f64().unwrap() * 100.0).round(), cents);
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn quotes_lie_around_the_last_price() {
    let only = MarketOptions { kinds: vec![Kind::Price, Kind::Quote], tokens: 80, ..options() };
    for publication in run(&only, 4_000) {
        let data = json(&publication);
        if publication.subject.ends_with(".quote") {
            let [bid, last, ask] = ["bid", "last", "ask"].map(|member| data[member].as_f64().unwrap());
            assert!(bid < last && last < ask, "{data}");
        }
    }
}

#[test]
fn rates_differ_by_token_and_take_turns_without_spread() {
    let counts = |spread| {
        let only = MarketOptions { kinds: vec![Kind::Price], spread, ..options() };
        let mut counts: HashMap<String, usize> = HashMap::new();
        for publication in run(&only, 20_000) {
            *counts.entry(publication.subject).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable();
        counts
    };
    assert_eq!(counts(0.0), vec![1_000; 20]);
    let spread = counts(1.0);
    assert_eq!(spread.len(), 20, "every token speaks");
    assert!(spread[19] > 4 * spread[0], "{spread:?}");
}

#[test]
fn bursts_come_and_go() {
    let only = MarketOptions { kinds: vec![Kind::Price], rate: 1.0, ..options() };
    let mut market = Market::new(&only).unwrap();
    let (mut bursting, mut calm) = (0, 0);
    for _ in 0..5_000 {
        market.step(market.next_due_ms());
        if market.bursts.is_empty() {
            calm += 1
        } else {
            bursting += 1
        }
        assert!(market.bursts.len() <= 2);
    }
    assert!(bursting > 500 && calm > 500, "{bursting} {calm}");
}

#[test]
fn time_never_runs_backwards() {
    let mut market = Market::new(&options()).unwrap();
    market.step(START + 10_000);
    let publication = market.step(START);
    assert_eq!(json(&publication)["timestamp"], START + 10_000);
}

#[test]
fn ten_thousand_tokens_have_ten_thousand_names() {
    let market = Market::new(&MarketOptions { tokens: 10_000, ..options() }).unwrap();
    let names: BTreeSet<&str> = market.tokens.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names.len(), 10_000);
    assert!(names.contains("BTC") && names.contains("T00061") && names.contains("T10000"));
}

#[test]
fn refuses_what_makes_no_market() {
    for (bad, name) in [
        (MarketOptions { tokens: 4, ..options() }, "tokens is 4 tokens"),
        (MarketOptions { tokens: 10_001, ..options() }, "tokens is 10001 tokens"),
        (MarketOptions { users: 0, ..options() }, "users is 0 users"),
        (MarketOptions { rate: 0.0, ..options() }, "rate is 0 messages/s"),
        (MarketOptions { rate: f64::NAN, ..options() }, "rate is NaN"),
        (MarketOptions { spread: -1.0, ..options() }, "spread is -1"),
        (MarketOptions { kinds: vec![], ..options() }, "no kind"),
    ] {
        let refused = Market::new(&bad).unwrap_err().to_string();
        assert!(refused.starts_with(name), "{refused}");
    }
    assert!("prices".parse::<Kind>().is_err());
}
