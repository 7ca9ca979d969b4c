//! Polls one after the other: no sequence comes twice and none is missing, whichever gateway is asked.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use odin_protocol::ServerMessage;
use serde_json::json;
use ws_gateway::config::Config;

use super::{
    often,
    support::{Polled, Poller},
};
use crate::support::{Feeder, Gateway, Odin, Wired, token, with_users};

/// What a client that polls has had, and the proof that it was all of it.
#[derive(Debug, Default)]
struct Had {
    last: HashMap<(String, Option<String>), u64>,
    all: HashSet<u64>,
}

impl Had {
    /// # Panics
    /// When something came twice, or behind something newer of its chain.
    fn take(&mut self, polled: &Polled) {
        for update in polled.updates() {
            assert!(self.all.insert(update.seq), "{update:?} came twice");
            let chain = (update.channel.clone(), update.key.clone());
            let before = self.last.insert(chain, update.seq);
            assert!(before.is_none_or(|before| before < update.seq), "{update:?} after {before:?}");
        }
    }
}

/// `count` publications to subjects in turn, one after the other.
async fn rain(publisher: Feeder, subjects: Vec<String>, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    for first in (0..count).step_by(10) {
        let message = |n: usize| (subjects[n % subjects.len()].clone(), format!(r#"{{"n":{n}}}"#));
        sequences.extend(publisher.publish_all((first..first + 10).map(message).collect()).await);
        // Some polls find little, others much.
        if first % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    sequences
}

/// Polls while it rains, in turn on these gateways, until everything has come.
async fn gets_everything_once(odin: &Odin, gateways: &[&Gateway], poller: Poller, subjects: &[&str]) {
    everything_once(&odin.publisher, gateways, poller, subjects, || ()).await;
}

/// The same with something that happens in between.
async fn everything_once(
    publisher: &Feeder,
    gateways: &[&Gateway],
    mut poller: Poller,
    subjects: &[&str],
    between: impl Fn(),
) {
    const MANY: usize = 500;
    let mut had = Had::default();
    had.take(&poller.poll(gateways[0], 0).await);
    let before = had.all.len();
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let mut raining = tokio::spawn(rain(publisher.clone(), subjects, MANY));
    let mut published = Vec::new();
    let mut turn = 0;
    while published.is_empty() || !published.iter().all(|seq| had.all.contains(seq)) {
        turn += 1;
        between();
        let polled = poller.poll(gateways[turn % gateways.len()], 10).await;
        let is_other = |message: &&ServerMessage| !matches!(message, ServerMessage::Update(_));
        let others: Vec<_> = polled.messages.iter().filter(is_other).collect();
        assert!(others.is_empty(), "nothing but updates: {others:?}");
        had.take(&polled);
        // The first of them may have been of before: a gateway that was not asked last need not have had it yet.
        if published.is_empty() && had.all.len() >= before + MANY {
            published = (&mut raining).await.expect("no panic");
        }
    }
    assert!(turn > 1, "in several answers: {turn}");
    // And there is nothing more.
    for gateway in gateways {
        assert!(poller.poll(gateway, 0).await.messages.is_empty());
    }
}

async fn two() -> (Odin, Gateway) {
    two_with(|_| ()).await
}

async fn two_with(change: impl FnOnce(&mut Config)) -> (Odin, Gateway) {
    let odin = Odin::start_with(|config| {
        with_users(config);
        often(config);
        change(config);
    })
    .await;
    let other = odin.another_gateway().await;
    (odin, other)
}

const TOKENS: [&str; 5] =
    ["odin.tokens.A.price", "odin.tokens.B.price", "odin.tokens.C.price", "odin.tokens.D.price", "odin.tokens.E.price"];

#[tokio::test]
async fn an_exact_channel_comes_whole() {
    let (odin, other) = two().await;
    let poller = || Poller::new("price:A&mode=all");
    gets_everything_once(&odin, &[&odin.gateway], poller(), &TOKENS[..1]).await;
    gets_everything_once(&odin, &[&odin.gateway, &other], poller(), &TOKENS[..1]).await;
}

#[tokio::test]
async fn several_channels_come_whole() {
    let (odin, other) = two().await;
    let poller = || Poller::new("price:A,price:B,price:C&mode=all");
    gets_everything_once(&odin, &[&odin.gateway], poller(), &TOKENS[..3]).await;
    gets_everything_once(&odin, &[&odin.gateway, &other], poller(), &TOKENS[..3]).await;
}

#[tokio::test]
async fn a_pattern_comes_whole() {
    let (odin, other) = two().await;
    let poller = || Poller::new("price:*&mode=all");
    gets_everything_once(&odin, &[&odin.gateway], poller(), &TOKENS).await;
    gets_everything_once(&odin, &[&odin.gateway, &other], poller(), &TOKENS).await;
}

#[tokio::test]
async fn a_pattern_and_one_of_its_channels_come_whole() {
    a_pattern_and_a_channel(two().await).await;
}

/// The two open in any order, and what the first brings is the other's too.
#[tokio::test]
async fn a_pattern_and_one_of_its_channels_come_whole_although_their_feeds_open_with_each_poll() {
    a_pattern_and_a_channel(two_with(|config| config.feeds.linger = Duration::ZERO).await).await;
}

async fn a_pattern_and_a_channel((odin, other): (Odin, Gateway)) {
    for asks in ["price:A,price:*&mode=all", "price:*,price:A&mode=all"] {
        gets_everything_once(&odin, &[&odin.gateway], Poller::new(asks), &TOKENS).await;
        gets_everything_once(&odin, &[&odin.gateway, &other], Poller::new(asks), &TOKENS).await;
    }
}

#[tokio::test]
async fn a_channel_of_several_chains_comes_whole() {
    let (odin, other) = two().await;
    let subjects = ["odin.signals.momentum.BTC", "odin.signals.momentum.ETH", "odin.signals.volume.BTC"];
    let poller = || Poller::new("signals:all").with_token(&token("ada", json!({})));
    gets_everything_once(&odin, &[&odin.gateway], poller(), &subjects).await;
    gets_everything_once(&odin, &[&odin.gateway, &other], poller(), &subjects).await;
}

/// With audits as they are by default the proven position is old, and the cursor has to say more.
#[tokio::test]
async fn a_pattern_comes_whole_although_positions_are_proven_late() {
    let odin = Odin::start().await;
    let other = odin.another_gateway().await;
    gets_everything_once(&odin, &[&odin.gateway, &other], Poller::new("price:*&mode=all"), &TOKENS).await;
}

/// What is repaired comes behind what is newer, of other chains: a cursor must not have gone past it.
#[tokio::test]
async fn a_pattern_comes_whole_although_the_bus_loses_some() {
    let wired = Wired::start_with(often).await;
    let poller = Poller::new("price:*&mode=all");
    everything_once(&wired.publisher, &[&wired.gateway], poller, &TOKENS, || wired.proxy.lose(1)).await;
    assert!(wired.proxy.lost() > 1, "{} were lost", wired.proxy.lost());
    assert_eq!(wired.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
}

#[tokio::test]
async fn mode_latest_ends_at_the_newest_of_each_and_brings_nothing_twice() {
    let (odin, other) = two().await;
    let mut poller = Poller::new("price:*");
    let mut had = Had::default();
    had.take(&poller.poll(&odin.gateway, 0).await);
    let subjects: Vec<String> = TOKENS.iter().map(|subject| (*subject).to_owned()).collect();
    let mut raining = tokio::spawn(rain(odin.publisher.clone(), subjects, 500));
    let mut published = Vec::new();
    let mut turn = 0;
    let newest = loop {
        turn += 1;
        had.take(&poller.poll([&odin.gateway, &other][turn % 2], 1).await);
        if published.is_empty() && raining.is_finished() {
            published = (&mut raining).await.expect("no panic");
        }
        let newest: HashSet<u64> = published.iter().rev().take(TOKENS.len()).copied().collect();
        if !newest.is_empty() && newest.is_subset(&had.all) {
            break newest;
        }
    };
    assert_eq!(had.last.values().copied().collect::<HashSet<u64>>(), newest);
}

fn small_answers(config: &mut Config) {
    with_users(config);
    config.http.answer_bytes = 8 * 1024;
}

/// Polls until so many have come, and nothing more does; each answer is not much larger than it may be.
async fn all_there_is(gateways: &[&Gateway], poller: &mut Poller, had: &mut Had, count: usize) -> usize {
    let mut turns = 0;
    loop {
        let polled = poller.poll(gateways[turns % gateways.len()], 0).await;
        let bytes: usize = polled.updates().iter().map(|update| update.data.get().len()).sum();
        assert!(bytes < 64 * 1024, "{bytes} bytes in one answer");
        if had.all.len() == count && polled.updates().is_empty() {
            return turns;
        }
        turns += usize::from(!polled.updates().is_empty());
        had.take(&polled);
    }
}

#[tokio::test]
async fn an_answer_that_is_full_is_followed_by_the_rest_at_once() {
    const MANY: usize = 500;
    let odin = Odin::start_with(small_answers).await;
    let other = odin.another_gateway().await;
    let ada = token("ada", json!({}));
    let padding = "x".repeat(400);
    for (asks, subject) in [
        ("volume:A&mode=all", "odin.tokens.A.volume"),
        ("price:*&mode=all", "odin.tokens.T{}.price"),
        ("signals:all", "odin.signals.momentum.T{}"),
    ] {
        let mut count = 0;
        for gateways in [&[&odin.gateway][..], &[&odin.gateway, &other]] {
            let mut poller = Poller::new(asks).with_token(&ada);
            let mut had = Had::default();
            // What earlier rounds have left.
            let chains = if subject.contains("{}") { 40 } else { 1 };
            let before = if count == 0 { 0 } else { chains };
            all_there_is(gateways, &mut poller, &mut had, before).await;
            let message =
                |n: usize| (subject.replace("{}", &(n % 40).to_string()), format!(r#"{{"n":{n},"p":"{padding}"}}"#));
            let published = odin.publisher.publish_all((0..MANY).map(message).collect()).await;
            let turns = all_there_is(gateways, &mut poller, &mut had, before + MANY).await;
            assert!(turns > 3, "{turns} answers");
            assert!(published.iter().all(|seq| had.all.contains(seq)), "{asks}");
            count += MANY;
        }
    }
}

/// More values than an answer may have, and than a cursor can name: the snapshot of a pattern still ends.
#[tokio::test]
async fn a_snapshot_of_many_values_comes_in_several_answers() {
    let odin = Odin::start_with(small_answers).await;
    let other = odin.another_gateway().await;
    let padding = "x".repeat(100);
    let message = |n: usize| (format!("odin.tokens.T{n}.price"), format!(r#"{{"n":{n},"p":"{padding}"}}"#));
    let published = odin.publisher.publish_all((0..900).map(message).collect()).await;
    for asks in ["price:*", "price:*&mode=all"] {
        for gateways in [&[&odin.gateway][..], &[&odin.gateway, &other]] {
            let (mut poller, mut seen) = (Poller::new(asks), HashSet::new());
            for turn in 0.. {
                let polled = poller.poll(gateways[turn % gateways.len()], 0).await;
                // What is beyond 256 chains may come again.
                seen.extend(polled.seqs());
                if polled.updates().is_empty() {
                    break;
                }
                assert!(turn < 200, "{asks}: {} of {} after {turn} answers", seen.len(), published.len());
            }
            assert!(published.iter().all(|seq| seen.contains(seq)), "{asks}: {} of {}", seen.len(), published.len());
        }
    }
}
