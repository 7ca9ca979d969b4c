//! History by HTTP: all that the stream keeps of a channel, a part at a time.

use odin_protocol::{Cursor, Mode, ServerMessage, error::GapReason};
use serde_json::json;

use super::support::{Polled, bearer, cursor_of, get, get_with, is_refused};
use crate::support::{Chains, Gateway, Odin, token, until, with_users};

const BTC: &str = "/v1/channels/price:BTC/history";

async fn history(gateway: &Gateway, target: &str, headers: &str) -> Polled {
    Polled::of(&get_with(gateway, target, headers).await)
}

/// Follows the cursors from here to the end; the parts, each with what it has.
async fn to_the_end(gateway: &Gateway, target: &str, headers: &str) -> Vec<Polled> {
    let mut parts = vec![history(gateway, target, headers).await];
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let limit = query.split('&').find(|option| option.starts_with("limit=")).unwrap_or("limit=100");
    while parts.last().is_some_and(|part| part.more == Some(true)) {
        assert!(parts.len() < 200, "it does not end");
        let next = format!("{path}?{limit}&since={}", parts.last().expect("one").cursor);
        parts.push(history(gateway, &next, headers).await);
    }
    parts
}

fn seqs(parts: &[Polled]) -> Vec<u64> {
    parts.iter().flat_map(Polled::seqs).collect()
}

#[tokio::test]
async fn comes_in_the_order_of_the_stream_from_the_oldest_that_is_kept() {
    let odin = Odin::start().await;
    let published = odin.publisher.prices("BTC", 1, 250, 0).await;
    odin.publisher.prices("ETH", 1, 10, 0).await;
    let other = odin.another_gateway().await;
    for gateway in [&odin.gateway, &other] {
        for (limit, parts) in [("", 3), ("?limit=1000", 1), ("?limit=250", 1), ("?limit=249", 2), ("?limit=7", 36)] {
            let found = to_the_end(gateway, &format!("{BTC}{limit}"), "").await;
            assert_eq!(found.len(), parts, "{limit}");
            assert_eq!(seqs(&found), published, "{limit}");
            let (mut chains, mut updates) = (Chains::default(), found.iter().flat_map(|part| part.updates()));
            let first = updates.next().expect("some");
            assert_eq!((first.prev, first.snapshot), (None, false), "the oldest that is kept may not be the first");
            chains.skip("price:BTC", first.seq);
            updates.for_each(|update| chains.take(update));
            let most = limit.trim_start_matches("?limit=").parse().unwrap_or(100);
            assert!(found.iter().all(|part| part.seqs().len() <= most), "{limit}");
            assert!(found.iter().all(|part| part.more.is_some()));
        }
        // There is a cursor at the end too, and it brings what comes next.
        let end = to_the_end(gateway, BTC, "").await.pop().expect("one").cursor;
        let nothing = history(gateway, &format!("{BTC}?since={end}"), "").await;
        assert_eq!((nothing.seqs(), nothing.more), (vec![], Some(false)));
    }
}

/// A position that was proven behind what did not fit into the answer must not become its cursor.
#[tokio::test]
async fn a_cursor_does_not_skip_what_was_cut_off() {
    let odin = Odin::start_with(super::often).await;
    let published = odin.publisher.prices("BTC", 1, 20, 0).await;
    let mut web = super::support::Web::connect(&odin.gateway).await;
    web.get("/v1/channels/price:BTC/latest").await;
    let newest = *published.last().expect("some");
    // The feed is verified beyond all of it.
    until("a position behind the last", async || {
        let polled = history(&odin.gateway, &format!("{BTC}?limit=1000"), "").await;
        let cursor: Cursor = polled.cursor.parse().expect("a cursor");
        (cursor.seq > newest).then_some(())
    })
    .await;
    assert_eq!(seqs(&to_the_end(&odin.gateway, &format!("{BTC}?limit=3"), "").await), published);
}

#[tokio::test]
async fn goes_on_behind_a_cursor_of_any_kind() {
    let odin = Odin::start().await;
    let published = odin.publisher.prices("BTC", 1, 50, 0).await;
    let all = history(&odin.gateway, BTC, "").await;
    let third = cursor_of(all.updates()[2]);
    assert_eq!(history(&odin.gateway, &format!("{BTC}?since={third}"), "").await.seqs(), published[3..]);
    let polled = Polled::of(&get(&odin.gateway, "/v1/poll?channels=price:BTC&wait=0").await);
    let live = odin.publisher.price("BTC", 0).await;
    until("what came since", async || {
        let seqs = history(&odin.gateway, &format!("{BTC}?since={}", polled.cursor), "").await.seqs();
        (seqs == [live]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn goes_on_at_a_time() {
    let odin = Odin::start().await;
    let mut published = Vec::new();
    for n in 0..30 {
        published.push(odin.publisher.price("BTC", n).await);
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let other = odin.another_gateway().await;
    let all = history(&odin.gateway, BTC, "").await;
    let times: Vec<i64> = all.updates().iter().map(|update| update.ts).collect();
    for gateway in [&odin.gateway, &other] {
        for (since, from) in [(times[10], 10), (times[10] - 1, 10), (times[9] + 1, 10), (0, 0), (1, 0), (times[29], 29)]
        {
            let expected: Vec<u64> = all.updates().iter().filter(|update| update.ts >= since).map(|u| u.seq).collect();
            let found = to_the_end(gateway, &format!("{BTC}?limit=4&since={since}"), "").await;
            assert_eq!(seqs(&found), expected, "{since}");
            assert!(expected.len() >= 30 - from, "{since}");
        }
        for since in [times[29] + 1, times[29] + 3_600_000, 253_402_300_800_000, i64::MAX] {
            let found = history(gateway, &format!("{BTC}?since={since}"), "").await;
            assert_eq!((found.seqs(), found.more), (vec![], Some(false)), "{since}");
        }
        is_refused(&get(gateway, &format!("{BTC}?since={}", "9".repeat(40))).await, 400, "bad_request");
    }
    let empty = history(&odin.gateway, "/v1/channels/price:ETH/history?since=1", "").await;
    assert_eq!((empty.seqs(), empty.more), (vec![], Some(false)));
}

/// A cursor that names chains, too, is one that history takes.
#[tokio::test]
async fn a_channel_of_several_chains_has_one_history() {
    let odin = Odin::start_with(with_users).await;
    let ada = bearer(&token("ada", json!({})));
    let subject = |n: usize| format!("odin.signals.momentum.{}", ["BTC", "ETH", "XRP"][n % 3]);
    let message = |n: usize| (subject(n), format!(r#"{{"n":{n}}}"#));
    let mut published = odin.publisher.publish_all((0..200).map(message).collect()).await;
    published.sort_unstable();
    let other = odin.another_gateway().await;
    let target = "/v1/channels/signals:all/history";
    for gateway in [&odin.gateway, &other] {
        for limit in ["?limit=7", "?limit=100", "?limit=1000"] {
            assert_eq!(seqs(&to_the_end(gateway, &format!("{target}{limit}"), &ada).await), published, "{limit}");
        }
    }
    let end = to_the_end(&other, target, &ada).await.pop().expect("one").cursor;
    let live = odin.publisher.publish(&subject(0), "{}").await;
    until("what came since", async || {
        let seqs = history(&other, &format!("{target}?since={end}"), &ada).await.seqs();
        (seqs == [live]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn is_served_where_every_publication_is_and_not_for_patterns() {
    let odin = Odin::start_with(with_users).await;
    odin.publisher.publish("odin.system.health", "1").await;
    for (channel, status, code) in [
        ("system:health", 400, "unsupported"),
        ("price:*", 400, "unsupported"),
        ("nothing:here", 404, "unknown_channel"),
        ("signals:all", 401, "auth_required"),
        ("price:", 400, "invalid_channel"),
    ] {
        is_refused(&get(&odin.gateway, &format!("/v1/channels/{channel}/history")).await, status, code);
    }
    for option in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1&limit=2"] {
        is_refused(&get(&odin.gateway, &format!("{BTC}?{option}")).await, 400, "bad_request");
    }
    let empty = history(&odin.gateway, BTC, "").await;
    assert!(empty.messages.is_empty() && empty.more == Some(false) && !empty.cursor.is_empty(), "{empty:?}");
}

/// Checklist 42: cursors that are of no use, and why.
#[tokio::test]
async fn says_gone_and_why_where_a_cursor_is_of_no_use() {
    let odin = Odin::start_with(|config| config.stream.max_bytes = 1 << 20).await;
    let first = odin.publisher.price("BTC", 1).await;
    let polled = history(&odin.gateway, BTC, "").await;
    let cursor: Cursor = cursor_of(polled.updates()[0]).parse().expect("a cursor");
    let other = Cursor { epoch: "zzzzzzzz".parse().expect("an epoch"), ..cursor }.to_string();
    let newest = *odin.publisher.prices("BTC", 2, 2_000, 1_000).await.last().expect("many");
    let beyond = Cursor { seq: newest + 1_000_000, ..cursor }.to_string();
    let gateway = odin.another_gateway().await;
    for (since, reason) in [
        ("nonsense", "invalid_cursor"),
        ("", "invalid_cursor"),
        ("-5", "invalid_cursor"),
        (&*other, "epoch_changed"),
        (&beyond, "rolled_back"),
        (&cursor.to_string(), "cursor_too_old"),
    ] {
        let answer = get(&gateway, &format!("{BTC}?since={since}")).await;
        is_refused(&answer, 410, reason);
    }
    // Without a cursor it begins with what is kept, and says what is not.
    let parts = to_the_end(&gateway, &format!("{BTC}?limit=1000"), "").await;
    match &parts[0].messages[0] {
        ServerMessage::Gap { channel, until, reason: GapReason::Retention, .. } => {
            assert_eq!(channel, "price:BTC");
            let kept = seqs(&parts);
            assert!(*until >= first && kept[0] == until + 1, "{until} and then {}", kept[0]);
            assert_eq!(kept.last(), Some(&newest));
            assert!(kept.is_sorted() && kept.len() > 300, "{}", kept.len());
        }
        message => panic!("expected a gap, not {message:?}"),
    }
}

/// Checklist 41: all of a long history; each answer has its bounds, and there is no other.
#[tokio::test]
async fn a_long_history_comes_in_parts_however_long_it_is() {
    let odin = Odin::start_with(|config| {
        config.feeds.replay_bytes = 100_000;
        config.feeds.ring_bytes = 4 * 1024;
        config.http.answer_bytes = 64 * 1024;
    })
    .await;
    let published = odin.publisher.prices("BTC", 1, 1_000, 1_000).await;
    for target in [format!("{BTC}?limit=1000"), format!("{BTC}?limit=1000&since=1")] {
        let parts = to_the_end(&odin.gateway, &target, "").await;
        assert_eq!(seqs(&parts), published, "{target}");
        assert!(parts.len() > 5, "{} parts of 64 KiB", parts.len());
        for part in &parts {
            let bytes: usize = part.updates().iter().map(|update| update.data.get().len()).sum();
            assert!(bytes < 2 * 64 * 1024, "{bytes}");
        }
    }
    // Whoever is served live from such a cursor is not replayed so much.
    let first = cursor_of(history(&odin.gateway, &format!("{BTC}?limit=1"), "").await.updates()[0]);
    let mut events = super::support::Events::resume(&odin.gateway, "price:BTC&mode=all", &first).await;
    events.message().await;
    match events.message().await {
        ServerMessage::Subscribed { recovered: false, mode: Mode::All, reason, .. } => {
            assert_eq!(reason, Some(odin_protocol::error::ResumeFailure::ReplayLimit));
        }
        message => panic!("{message:?}"),
    }
}

/// What comes late is not to be had early from the stream, whatever is asked for.
#[tokio::test]
async fn nothing_is_told_before_its_time() {
    let odin = Odin::start_with(super::latest::rules).await;
    let message = |n: u64| ("odin.late.BTC".to_owned(), format!(r#"{{"n":{n}}}"#));
    let published = odin.publisher.publish_all((0..10).map(message).collect()).await;
    let ada = bearer(&token("ada", json!({ "tier": "premium" })));
    let target = "/v1/channels/late:BTC/history";
    let early = history(&odin.gateway, target, &ada).await;
    assert_eq!(early.seqs(), published);
    let cursors = [String::new(), "?since=0".to_owned(), format!("?since={}", cursor_of(early.updates()[0]))];
    for cursor in &cursors {
        let answer = get(&odin.gateway, &format!("{target}{cursor}")).await;
        assert!(!answer.body.contains("\"n\":"), "{cursor}: {}", answer.body);
    }
    let poll = format!("/v1/poll?channels=late:BTC&wait=1&cursor={}", cursor_of(early.updates()[0]));
    assert!(Polled::of(&get(&odin.gateway, &poll).await).updates().is_empty());
}
