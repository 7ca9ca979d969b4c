//! Those who take less than there is: nothing waits for them in memory, and nobody else waits for them.

use std::{collections::HashMap, time::Duration};

use odin_protocol::{
    ServerMessage,
    error::{GapReason, ResumeFailure},
};
use ws_gateway::config::Config;

use crate::support::{Chains, Client, Dial, Odin, Received, Wired, frame, until};

/// Prices published while somebody sleeps, and the padding of each: some hundred times what the buffers take.
pub(crate) const MANY: u64 = 2000;
pub(crate) const PADDING: usize = 1000;

/// Buffers so small that a reader that stops is found out soon.
pub(crate) fn small_buffers(config: &mut Config) {
    config.sockets.send_buffer_bytes = Some(16 * 1024);
    config.sockets.notsent_lowat_bytes = Some(16 * 1024);
}

fn big_rings(config: &mut Config) {
    small_buffers(config);
    config.feeds.ring_bytes = 64 << 20;
}

/// A client whose own buffer is small too.
async fn sleeper(odin: &Odin) -> Client {
    let dial = Dial { receive_buffer_bytes: Some(4096), ..Dial::default() };
    Client::dial(odin.gateway.address, dial).await
}

/// Waits until the gateway has all of [`MANY`], and so many readers are behind.
async fn has_fallen_behind(odin: &Odin, readers: u64) {
    odin.gateway.metric_reaches("odin_gateway_publications_delivered_total", MANY).await;
    odin.gateway.metric_becomes("odin_gateway_connections_behind", readers).await;
}

/// Publishes while `awake` reads along everything, until only the sleeper is behind.
pub(crate) async fn publish_past_the_sleeper(odin: &Odin, awake: &mut Client) -> Vec<u64> {
    let reading = async {
        let mut chains = Chains::default();
        let mut seen = Vec::new();
        while seen.len() < MANY as usize {
            let update = awake.update().await;
            chains.take(&update);
            seen.push(update.seq);
        }
        seen
    };
    let (sequences, seen) = tokio::join!(odin.publisher.prices("BTC", 1, MANY, PADDING), reading);
    assert_eq!(seen, sequences, "whoever reads is not disturbed by whoever does not");
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 1).await;
    sequences
}

#[tokio::test]
async fn gives_a_slow_reader_of_latest_the_newest_value_and_merges_the_rest() {
    let odin = Odin::start_with(big_rings).await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe(&["price:BTC"]).await;
    let mut awake = odin.client().await;
    awake.subscribe_all(&["price:BTC"]).await;
    let sequences = publish_past_the_sleeper(&odin, &mut awake).await;
    let newest = *sequences.last().expect("many");
    let mut seen = Vec::new();
    while seen.last() != Some(&newest) {
        let update = slow.update().await;
        assert!(seen.last().is_none_or(|last| update.seq > *last), "forwards only");
        seen.push(update.seq);
    }
    assert!(seen.len() < MANY as usize / 2, "{} of {MANY} came: they were queued, not merged", seen.len());
    // Every one is either delivered or merged.
    odin.gateway.metric_becomes("odin_gateway_merged_total", MANY - seen.len() as u64).await;
    // At head again, and live.
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    let seq = odin.publisher.price("BTC", 0).await;
    let update = slow.update().await;
    assert_eq!((update.seq, update.prev), (seq, Some(newest)));
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn gives_a_slow_reader_of_a_pattern_the_newest_of_each() {
    let odin = Odin::start_with(small_buffers).await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe(&["price:*"]).await;
    let padding = "x".repeat(PADDING);
    let message = |n: u64| (format!("odin.tokens.T{}.price", n % 50), format!(r#"{{"n":{n},"p":"{padding}"}}"#));
    let sequences = odin.publisher.publish_all((0..MANY).map(message).collect()).await;
    has_fallen_behind(&odin, 1).await;
    let mut newest: HashMap<String, u64> = HashMap::new();
    for (n, seq) in sequences.iter().enumerate() {
        let last = newest.entry(format!("price:T{}", n % 50)).or_default();
        *last = (*last).max(*seq);
    }
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut count = 0;
    while seen != newest {
        let update = slow.update().await;
        let before = seen.insert(update.channel.clone(), update.seq);
        assert!(before.is_none_or(|before| update.seq > before), "forwards only");
        count += 1;
    }
    assert!(count < MANY / 2, "{count} of {MANY} came");
    assert!(slow.sync(2).await.is_empty());
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn lets_a_slow_reader_of_all_catch_up_in_order_without_loss() {
    let odin = Odin::start_with(big_rings).await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe_all(&["price:BTC"]).await;
    let mut awake = odin.client().await;
    awake.subscribe_all(&["price:BTC"]).await;
    let sequences = publish_past_the_sleeper(&odin, &mut awake).await;
    let mut chains = Chains::default();
    for seq in &sequences {
        let update = slow.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
    assert_eq!(odin.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    odin.publisher.price("BTC", 0).await;
    chains.take(&slow.update().await);
    odin.gateway.is_balanced().await;
}

/// Reads all of `published`, each once and none before an earlier one of its chain, without a gap.
async fn reads_everything(slow: &mut Client, published: &[u64]) {
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut seen = Vec::new();
    while seen.len() < published.len() {
        let update = slow.update().await;
        let before = last.insert(update.channel.clone(), update.seq);
        // What is read back may not know the one before it; what it says must be true.
        assert!(before.is_none() || update.prev.is_none_or(|prev| Some(prev) == before), "{update:?} after {before:?}");
        assert!(before.is_none_or(|before| update.seq > before), "forwards: {update:?}");
        seen.push(update.seq);
    }
    seen.sort_unstable();
    assert_eq!(seen, published);
}

#[tokio::test]
async fn reads_the_stream_for_a_reader_of_all_that_fell_out_of_the_ring() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.feeds.ring_bytes = 64 * 1024;
    })
    .await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe_all(&["price:BTC"]).await;
    let sequences = odin.publisher.prices("BTC", 1, MANY, PADDING).await;
    has_fallen_behind(&odin, 1).await;
    let mut chains = Chains::default();
    for seq in &sequences {
        let update = slow.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
    assert_eq!(odin.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
    assert!(odin.gateway.metric("odin_gateway_look_backs_total").await >= 1, "the ring had not all of it");
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    odin.publisher.price("BTC", 0).await;
    chains.take(&slow.update().await);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn reads_the_stream_for_a_reader_of_a_whole_pattern() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.feeds.ring_bytes = 64 * 1024;
    })
    .await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe_all(&["price:*"]).await;
    let padding = "x".repeat(PADDING);
    // T0 speaks once and again when the sleeper is far behind: its link to the one before spans everything.
    let token = |n: u64| if n == 0 || n == MANY - 20 { 0 } else { 1 + n % 10 };
    let mut sequences = Vec::new();
    for n in 0..MANY {
        let subject = format!("odin.tokens.T{}.price", token(n));
        sequences.push(odin.publisher.publish(&subject, format!(r#"{{"n":{n},"p":"{padding}"}}"#)).await);
    }
    has_fallen_behind(&odin, 1).await;
    reads_everything(&mut slow, &sequences).await;
    assert_eq!(odin.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
    odin.gateway.is_balanced().await;
}

/// A subject of which the live path lost something must not overtake itself in what is read from the stream.
#[tokio::test]
async fn keeps_the_order_of_a_subject_that_is_repaired_while_its_reader_is_behind() {
    let wired = Wired::start_with(|config| {
        small_buffers(config);
        config.feeds.ring_bytes = 64 * 1024;
        // Only the chain shall show what was lost.
        config.feeds.audit_interval = Duration::from_secs(3600);
        config.feeds.audit_quiet_interval = Duration::from_secs(3600);
    })
    .await;
    let dial = Dial { receive_buffer_bytes: Some(4096), ..Dial::default() };
    let mut slow = Client::dial(wired.gateway.address, dial).await;
    slow.subscribe_all(&["price:*"]).await;
    let lose = async |token: &str, n| {
        wired.proxy.lose(1);
        let lost = wired.proxy.lost();
        let seq = wired.publisher.price(token, n).await;
        until("a loss", async || (wired.proxy.lost() > lost).then_some(())).await;
        seq
    };
    // One loss before the reader falls behind, one after.
    let mut of_a = vec![wired.publisher.price("A", 0).await];
    of_a.push(lose("A", 1).await);
    wired.publisher.prices("B", 0, 500, PADDING).await;
    wired.gateway.metric_becomes("odin_gateway_connections_behind", 1).await;
    of_a.push(lose("A", 2).await);
    let newest = *wired.publisher.prices("B", 500, MANY, PADDING).await.last().expect("many");
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    while seen.get("price:B").and_then(|of_b| of_b.last()) != Some(&newest) {
        let update = slow.update().await;
        seen.entry(update.channel).or_default().push(update.seq);
    }
    of_a.push(wired.publisher.price("A", 3).await);
    while seen["price:A"].last() != of_a.last() {
        let update = slow.update().await;
        seen.entry(update.channel).or_default().push(update.seq);
    }
    assert_eq!(seen["price:A"], of_a);
    let of_b = &seen["price:B"];
    assert!(of_b.is_sorted_by(|one, other| one < other) && of_b.len() as u64 == 500 + MANY, "{}", of_b.len());
}

#[tokio::test]
async fn shares_pages_among_those_who_fell_behind_together() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.feeds.ring_bytes = 64 * 1024;
    })
    .await;
    let mut sleepers = Vec::new();
    for _ in 0..10 {
        let mut slow = sleeper(&odin).await;
        slow.subscribe_all(&["price:BTC"]).await;
        sleepers.push(slow);
    }
    let sequences = odin.publisher.prices("BTC", 1, MANY, PADDING).await;
    has_fallen_behind(&odin, 10).await;
    let before = odin.gateway.metric("odin_gateway_look_backs_total").await;
    let readers: Vec<_> = sleepers
        .into_iter()
        .map(|mut slow| {
            let sequences = sequences.clone();
            tokio::spawn(async move { reads_everything(&mut slow, &sequences).await })
        })
        .collect();
    for reader in readers {
        reader.await.expect("no panic");
    }
    let pages = odin.gateway.metric("odin_gateway_look_backs_total").await - before;
    // Alone each would need MANY * 1 KB in pages of 32 KiB: 60 at least.
    assert!(pages < 5 * 60, "{pages} pages were read for ten readers of the same");
    assert_eq!(odin.gateway.metric("odin_gateway_gaps_announced_total").await, 0);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn announces_as_a_gap_only_what_the_stream_no_longer_keeps() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.feeds.ring_bytes = 64 * 1024;
        config.stream.max_bytes = 1 << 20;
    })
    .await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe_all(&["price:BTC"]).await;
    let sequences = odin.publisher.prices("BTC", 1, MANY, PADDING).await;
    has_fallen_behind(&odin, 1).await;
    let newest = *sequences.last().expect("many");
    let (mut seen, mut gaps) = (Vec::new(), Vec::new());
    while seen.last() != Some(&newest) {
        match slow.message().await {
            ServerMessage::Update(update) => seen.push(update.seq),
            ServerMessage::Gap { channel, key, after, until, reason } => {
                assert_eq!((&*channel, key, reason), ("price:BTC", None, GapReason::Retention));
                assert!(after < until, "a gap has a length: {after}..{until}");
                gaps.push((after, until));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(gaps.len(), 1, "what is gone is gone in one piece: {gaps:?}");
    for seq in &sequences {
        let is_announced = gaps.iter().any(|(after, until)| after < seq && seq <= until);
        assert!(seen.contains(seq) != is_announced, "{seq} came or was announced: {gaps:?}");
    }
    assert!(seen.is_sorted() && seen.len() > 300, "what is kept is read: {}", seen.len());
    odin.gateway.is_balanced().await;
}

/// Attack: subscribe to much, then never read again.
#[tokio::test]
async fn closes_a_reader_that_takes_nothing() {
    let odin = Odin::start_with(|config| {
        big_rings(config);
        config.heartbeat.not_reading_timeout = Duration::from_secs(1);
    })
    .await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe(&["price:BTC"]).await;
    let mut awake = odin.client().await;
    awake.subscribe_all(&["price:BTC"]).await;
    let (sequences, ()) = tokio::join!(odin.publisher.prices("BTC", 1, MANY, PADDING), async {
        for _ in 0..MANY {
            awake.update().await;
        }
    });
    odin.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"not_reading\"}", 1).await;
    odin.gateway.metric_becomes("odin_gateway_connections", 1).await;
    // What the kernel held is still there, then comes the end.
    let mut last = 0;
    loop {
        match slow.next().await {
            Received::Message(ServerMessage::Update(update)) => last = update.seq,
            Received::Close(code, _) => assert_eq!(code, Some(4001)),
            Received::End => break,
            _ => {}
        }
    }
    assert!(last < *sequences.last().expect("many"));
    assert!(awake.sync(2).await.is_empty(), "nobody else is disturbed");
    odin.gateway.is_balanced().await;
}

/// Attack: read a little now and then, to be served for ever.
#[tokio::test]
async fn keeps_a_reader_that_is_slow_but_reads() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.heartbeat.not_reading_timeout = Duration::from_secs(2);
    })
    .await;
    let mut slow = sleeper(&odin).await;
    slow.subscribe(&["price:BTC"]).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let publisher = odin.publisher.clone();
    let rain = tokio::spawn(async move {
        let mut last = 0;
        while stopped.try_recv().is_err() {
            last = *publisher.prices("BTC", 1, 100, PADDING).await.last().expect("some");
        }
        last
    });
    odin.gateway.metric_reaches("odin_gateway_writes_blocked_total", 1).await;
    // For twice the limit, a tenth of what is published.
    for _ in 0..40 {
        for _ in 0..5 {
            slow.update().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.send(()).expect("raining");
    let newest = rain.await.expect("no panic");
    while slow.update().await.seq != newest {}
    assert!(odin.gateway.metric("odin_gateway_merged_total").await > 0);
    odin.gateway.is_balanced().await;
}

/// Attack: ask much and read none of the answers.
#[tokio::test]
async fn stops_reading_from_whoever_does_not_read_its_answers() {
    let odin = Odin::start_with(|config| {
        small_buffers(config);
        config.sockets.receive_buffer_bytes = Some(16 * 1024);
        config.limits.messages_per_second = 60_000;
        config.limits.channels_per_second = 1_000_000;
    })
    .await;
    let mut bystander = odin.client().await;
    bystander.subscribe(&["price:BTC"]).await;
    let slow = sleeper(&odin).await;
    let names: Vec<String> = (0..500).map(|n| format!("\"price:T{n}\"")).collect();
    // Each is answered by 500 messages, some 25 KB in all.
    let question = frame(0x81, format!(r#"{{"type":"unsubscribe","channels":[{}]}}"#, names.join(",")).as_bytes());
    const QUESTIONS: usize = 200;
    let Client { stream, .. } = slow;
    let (mut reads, mut writes) = stream.into_split();
    let asking = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for _ in 0..QUESTIONS {
            writes.write_all(&question).await.expect("sent");
        }
        writes
    });
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 1).await;
    until("the gateway to stop reading", async || {
        let before = odin.gateway.metric("odin_gateway_messages_received_total").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (odin.gateway.metric("odin_gateway_messages_received_total").await == before).then_some(())
    })
    .await;
    assert!(odin.gateway.metric("odin_gateway_messages_received_total").await < QUESTIONS as u64 / 2);
    // It waits, it does not spin: a shard that has nothing to do turns some ten times a second.
    let turns = odin.gateway.metric("odin_gateway_shard_turn_seconds_count").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let turned = odin.gateway.metric("odin_gateway_shard_turn_seconds_count").await - turns;
    assert!(turned < 200, "{turned} turns in half a second");
    assert!(bystander.sync(2).await.is_empty(), "nobody else is disturbed");
    // Once it reads, it gets every answer.
    let answers = until_all_answers(&mut reads, QUESTIONS * 500).await;
    assert_eq!(answers, QUESTIONS * 500);
    asking.await.expect("no panic");
    odin.gateway.is_balanced().await;
}

/// Counts `unsubscribed` messages until there are so many.
async fn until_all_answers(stream: &mut tokio::net::tcp::OwnedReadHalf, wanted: usize) -> usize {
    use tokio::io::AsyncReadExt;
    let word = b"\"unsubscribed\"";
    let mut waiting = Vec::new();
    let mut count = 0;
    while count < wanted {
        let read = crate::support::in_time("answers", stream.read_buf(&mut waiting)).await.expect("readable");
        assert_ne!(read, 0, "ended after {count} answers");
        let mut at = 0;
        while let Some(found) = waiting[at..].windows(word.len()).position(|window| window == word) {
            count += 1;
            at += found + word.len();
        }
        let keep = waiting.len().saturating_sub(word.len() - 1).max(at);
        waiting.drain(..keep);
    }
    count
}

#[tokio::test]
async fn opens_the_feeds_of_a_shard_anew_when_its_queue_was_full() {
    // No publication fits: each time the shard asks again, and reads the stream for those who want all.
    let odin = Odin::start_with(|config| config.feeds.shard_queue_bytes = 1).await;
    let mut of_all = odin.client().await;
    of_all.subscribe_all(&["price:BTC"]).await;
    let mut of_latest = odin.client().await;
    of_latest.subscribe(&["price:BTC"]).await;
    let mut of_pattern = odin.client().await;
    of_pattern.subscribe_all(&["price:*"]).await;
    let sequences = odin.publisher.prices("BTC", 1, 20, 0).await;
    let newest = *sequences.last().expect("some");
    let first = of_all.update().await;
    // The first may have been the last value when the feed was opened anew.
    let mut seen = vec![first.seq];
    while seen.last() != Some(&newest) {
        seen.push(of_all.update().await.seq);
    }
    assert!(sequences.ends_with(&seen) || seen == sequences, "{seen:?} of {sequences:?}");
    let mut last = 0;
    while last != newest {
        match of_latest.message().await {
            ServerMessage::Update(update) => {
                assert!(update.seq > last, "forwards only");
                last = update.seq;
            }
            // Before its first value nothing is known of where it stands.
            ServerMessage::Subscribed { id: None, reason: Some(ResumeFailure::ReplayLimit), .. } if last == 0 => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    // A pattern's place is more than one number: it begins anew and says so.
    let mut last = 0;
    while last != newest {
        match of_pattern.message().await {
            ServerMessage::Update(update) => last = update.seq,
            ServerMessage::Subscribed { id: None, recovered: false, reason, .. } => {
                assert_eq!(reason, Some(ResumeFailure::ReplayLimit));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(odin.gateway.metric("odin_gateway_shard_queue_overruns_total").await >= 1);
    odin.gateway.is_balanced().await;
}
