//! Those who come back: on any gateway they go on where they stood, or are told why they cannot.

use std::collections::HashMap;

use odin_protocol::{
    Cursor, Mode, ServerMessage, Update,
    error::ResumeFailure,
    message::{ChannelRequest, ClientMessage, RequestId},
};

use crate::support::{Chains, Client, Gateway, Odin};

/// What a resume was answered.
#[derive(Debug)]
struct Answer {
    recovered: bool,
    reason: Option<ResumeFailure>,
    cursor: Option<String>,
}

fn cursor_of(update: &Update) -> String {
    Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts }.to_string()
}

/// Connects, subscribes to one channel from `since` on, and reads the answer.
async fn resume(gateway: &Gateway, channel: &str, mode: Mode, since: &str) -> (Client, Answer) {
    let mut client = Client::connect(gateway).await;
    let answer = resume_on(&mut client, channel, mode, since).await;
    (client, answer)
}

async fn resume_on(client: &mut Client, channel: &str, mode: Mode, since: &str) -> Answer {
    let request = ChannelRequest { mode: Some(mode), since: Some(since.to_owned()), ..ChannelRequest::from(channel) };
    client.ask_with(1, vec![request]).await;
    match client.message().await {
        ServerMessage::Subscribed { id, recovered, reason, cursor, .. } => {
            assert_eq!(id, Some(RequestId::Number(1)));
            Answer { recovered, reason, cursor }
        }
        other => panic!("expected the answer, not {other:?}"),
    }
}

/// Reads exactly these, each the next link of its chain.
async fn reads(client: &mut Client, chains: &mut Chains, sequences: &[u64]) {
    for seq in sequences {
        let update = client.update().await;
        assert_eq!((update.seq, update.snapshot), (*seq, false));
        chains.take(&update);
    }
}

#[tokio::test]
async fn goes_on_where_it_stood_on_the_same_gateway() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let first = odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    assert_eq!(update.seq, first);
    drop(client);
    let missed = odin.publisher.prices("BTC", 2, 5, 0).await;
    let since = cursor_of(&update);
    let (mut client, answer) = resume(&odin.gateway, "price:BTC", Mode::All, &since).await;
    assert!(answer.recovered, "{answer:?}");
    assert_eq!(answer.cursor.as_deref(), Some(&*since));
    let mut chains = Chains::default();
    chains.take(&update);
    reads(&mut client, &mut chains, &missed).await;
    let live = odin.publisher.price("BTC", 9).await;
    reads(&mut client, &mut chains, &[live]).await;
    odin.gateway.metric_becomes("odin_gateway_resumes_total{result=\"recovered\"}", 1).await;
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn goes_on_where_it_stood_on_a_gateway_that_never_saw_it() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    drop(client);
    // More than one page.
    let missed = odin.publisher.prices("BTC", 2, 700, 300).await;
    let other = odin.another_gateway().await;
    let (mut client, answer) = resume(&other, "price:BTC", Mode::All, &cursor_of(&update)).await;
    assert!(answer.recovered, "{answer:?}");
    let mut chains = Chains::default();
    chains.take(&update);
    reads(&mut client, &mut chains, &missed).await;
    let live = odin.publisher.price("BTC", 9).await;
    reads(&mut client, &mut chains, &[live]).await;
    assert_eq!(other.metric("odin_gateway_gaps_announced_total").await, 0);
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn has_no_seam_between_what_was_missed_and_what_comes() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    let gateways = [odin.another_gateway().await, odin.another_gateway().await];
    let publisher = odin.publisher.clone();
    let rain = tokio::spawn(async move { publisher.prices("BTC", 2, 3000, 100).await });
    // Moves about while it rains, from one cursor to the next.
    let mut chains = Chains::default();
    let mut last = update;
    chains.take(&last);
    let mut seen = Vec::new();
    while seen.len() < 3000 {
        let gateway = &gateways[seen.len() % 2];
        let (mut client, answer) = resume(gateway, "price:BTC", Mode::All, &cursor_of(&last)).await;
        assert!(answer.recovered, "{answer:?}");
        let some = 150.min(3000 - seen.len());
        for _ in 0..some {
            let update = client.update().await;
            chains.take(&update);
            seen.push(update.seq);
            last = update;
        }
    }
    assert_eq!(seen, rain.await.expect("no panic"));
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn gives_in_mode_latest_the_newest_value_if_there_is_one() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    drop(client);
    // Nothing changed: nothing comes but what is live.
    let (mut client, answer) = resume(&odin.gateway, "price:BTC", Mode::Latest, &cursor_of(&update)).await;
    assert!(answer.recovered, "{answer:?}");
    let seq = odin.publisher.price("BTC", 2).await;
    let live = client.update().await;
    assert_eq!((live.seq, live.prev), (seq, Some(update.seq)));
    drop(client);
    let missed = odin.publisher.prices("BTC", 3, 5, 0).await;
    let other = odin.another_gateway().await;
    for gateway in [&odin.gateway, &other] {
        let (mut client, answer) = resume(gateway, "price:BTC", Mode::Latest, &cursor_of(&live)).await;
        assert!(answer.recovered, "{answer:?}");
        let newest = client.update().await;
        assert_eq!((newest.seq, newest.snapshot), (*missed.last().expect("some"), false));
        assert!(client.sync(2).await.is_empty(), "only the newest");
    }
}

#[tokio::test]
async fn resumes_a_pattern_from_a_position_and_drops_nothing_between_its_chains() {
    let odin = Odin::start().await;
    let token = |n: u64| format!("odin.tokens.T{}.price", n % 7);
    let before = odin.publisher.publish(&token(0), r#"{"n":0}"#).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:*"]).await;
    let begun = client.update().await;
    assert_eq!(begun.seq, before);
    drop(client);
    let missed = odin.publisher.publish_all((1..500).map(|n| (token(n), format!(r#"{{"n":{n}}}"#))).collect()).await;
    let other = odin.another_gateway().await;
    for gateway in [&odin.gateway, &other] {
        let (mut client, answer) = resume(gateway, "price:*", Mode::All, &cursor_of(&begun)).await;
        assert!(answer.recovered, "{answer:?}");
        let mut last: HashMap<String, u64> = HashMap::from([("price:T0".to_owned(), before)]);
        let mut seen = Vec::new();
        let live = odin.publisher.publish(&token(3), r#"{"n":-1}"#).await;
        while seen.last() != Some(&live) {
            let update = client.update().await;
            let own = last.insert(update.channel.clone(), update.seq);
            assert!(
                update.prev.is_none_or(|prev| prev == own.unwrap_or(0) || own.is_none()),
                "{update:?} after {own:?}"
            );
            assert!(own.is_none_or(|own| own < update.seq));
            seen.push(update.seq);
        }
        seen.pop();
        seen.retain(|seq| missed.contains(seq));
        assert_eq!(seen, missed);
    }
}

#[tokio::test]
async fn resumes_a_whole_connection_by_one_token() {
    let odin = Odin::start().await;
    let channels: Vec<String> = (0..20).map(|n| format!("price:T{n}")).collect();
    let start = odin.publisher.price("T0", 0).await;
    let mut client = odin.client().await;
    client.subscribe_all(&channels.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let update = client.update().await;
    assert_eq!(update.seq, start);
    drop(client);
    let message = |n: u64| (format!("odin.tokens.T{}.price", n % 20), format!(r#"{{"n":{n}}}"#));
    let missed = odin.publisher.publish_all((0..200).map(message).collect()).await;
    let other = odin.another_gateway().await;
    let mut client = Client::connect(&other).await;
    let entry = |channel: &String| ChannelRequest { mode: Some(Mode::All), ..ChannelRequest::from(channel.as_str()) };
    client
        .send(&ClientMessage::Subscribe {
            id: Some(RequestId::Number(1)),
            channels: channels.iter().map(entry).collect(),
            since: Some(cursor_of(&update)),
        })
        .await;
    let (mut recovered, mut seen) = (0, Vec::new());
    while recovered < channels.len() || seen.len() < missed.len() {
        match client.message().await {
            ServerMessage::Subscribed { recovered: true, .. } => recovered += 1,
            ServerMessage::Update(update) => seen.push(update.seq),
            other => panic!("unexpected {other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, missed);
    odin.gateway.is_balanced().await;
}

/// Checklist 41: many replays at once.
#[tokio::test]
async fn checks_a_cursor_once_for_everybody_who_comes_with_it() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    let missed = odin.publisher.prices("BTC", 2, 200, 0).await;
    let other = odin.another_gateway().await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::connect(&other).await);
    }
    let before = other.metric("odin_gateway_direct_gets_total").await;
    for client in &mut clients {
        let since = Some(cursor_of(&update));
        let request = ChannelRequest { mode: Some(Mode::All), since, ..ChannelRequest::from("price:BTC") };
        client.ask_with(1, vec![request]).await;
    }
    for client in &mut clients {
        match client.message().await {
            ServerMessage::Subscribed { recovered: true, .. } => {}
            other => panic!("unexpected {other:?}"),
        }
        let mut chains = Chains::default();
        chains.take(&update);
        reads(client, &mut chains, &missed).await;
    }
    let gets = other.metric("odin_gateway_direct_gets_total").await - before;
    assert!(gets <= 20, "{gets} Direct Gets for a hundred clients");
    odin.gateway.is_balanced().await;
}

/// Checklist 42: cursors of the future, of another stream, of nothing.
/// Attack: cursors of the future, of another stream, of no stream at all.
#[tokio::test]
async fn says_why_it_cannot_resume_and_begins_with_a_snapshot() {
    let odin = Odin::start().await;
    let seq = odin.publisher.price("BTC", 1).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    let update = client.update().await;
    let real = Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts };
    let other_epoch = "zzzzzzzz".parse().expect("an epoch");
    let cases = [
        (Cursor { seq: u64::MAX, ..real }.to_string(), ResumeFailure::RolledBack),
        (Cursor { seq: seq + 1000, ..real }.to_string(), ResumeFailure::RolledBack),
        (Cursor { ts_ms: real.ts_ms - 1, ..real }.to_string(), ResumeFailure::RolledBack),
        (Cursor { epoch: other_epoch, ..real }.to_string(), ResumeFailure::EpochChanged),
        ("1.k3j9x2m4.-4.0".to_owned(), ResumeFailure::InvalidCursor),
        ("x".repeat(10_000), ResumeFailure::InvalidCursor),
        (String::new(), ResumeFailure::InvalidCursor),
    ];
    for mode in [Mode::All, Mode::Latest] {
        for (since, expected) in &cases {
            let (mut client, answer) = resume(&odin.gateway, "price:BTC", mode, since).await;
            assert_eq!((answer.recovered, answer.reason), (false, Some(*expected)), "{since:.60}");
            let update = client.update().await;
            assert_eq!((update.seq, update.snapshot), (seq, true));
        }
    }
}

/// Checklist 42: a cursor that is too old.
#[tokio::test]
async fn says_that_the_stream_no_longer_keeps_what_was_missed() {
    let odin = Odin::start_with(|config| config.stream.max_bytes = 1 << 20).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    drop(client);
    let newest = *odin.publisher.prices("BTC", 2, 2000, 1000).await.last().expect("many");
    let other = odin.another_gateway().await;
    let (mut client, answer) = resume(&other, "price:BTC", Mode::All, &cursor_of(&update)).await;
    assert_eq!((answer.recovered, answer.reason), (false, Some(ResumeFailure::CursorTooOld)));
    let update = client.update().await;
    assert_eq!((update.seq, update.snapshot), (newest, true));
    odin.gateway.is_balanced().await;
}

/// Checklist 41: a replay of more than one may have.
/// Attack: ask for all of history.
#[tokio::test]
async fn replays_no_more_than_its_limit() {
    let odin = Odin::start_with(|config| config.feeds.replay_bytes = 100_000).await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    drop(client);
    let missed = odin.publisher.prices("BTC", 2, 1000, 1000).await;
    let other = odin.another_gateway().await;
    let (mut client, answer) = resume(&other, "price:BTC", Mode::All, &cursor_of(&update)).await;
    assert_eq!((answer.recovered, answer.reason), (false, Some(ResumeFailure::ReplayLimit)));
    assert_eq!(client.update().await.seq, *missed.last().expect("many"));
    // Within the limit it is served.
    let near = Cursor { seq: missed[990], ts_ms: update.ts, epoch: update.epoch };
    let (mut client, answer) = resume(&other, "price:BTC", Mode::All, &near.to_string()).await;
    assert_eq!(answer.reason, Some(ResumeFailure::RolledBack), "its time is another one's");
    assert_eq!(client.update().await.seq, *missed.last().expect("many"));
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn sees_a_stream_that_went_back_although_it_has_the_sequence_again() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    let missed = odin.publisher.prices("BTC", 2, 10, 0).await;
    // As after a restore from a backup: the same number is another message now.
    let forged = Cursor { epoch: update.epoch, seq: missed[4], ts_ms: update.ts + 3_600_000 };
    let other = odin.another_gateway().await;
    for gateway in [&odin.gateway, &other] {
        let (_, answer) = resume(gateway, "price:BTC", Mode::All, &forged.to_string()).await;
        assert_eq!((answer.recovered, answer.reason), (false, Some(ResumeFailure::RolledBack)));
    }
}

#[tokio::test]
async fn answers_a_resume_that_is_asked_for_twice() {
    let odin = Odin::start().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let update = client.update().await;
    let missed = odin.publisher.prices("BTC", 2, 50, 0).await;
    let other = odin.another_gateway().await;
    let mut client = Client::connect(&other).await;
    let since = Some(cursor_of(&update));
    let request = ChannelRequest { mode: Some(Mode::All), since, ..ChannelRequest::from("price:BTC") };
    client.ask_with(1, vec![request.clone()]).await;
    client.ask_with(2, vec![request]).await;
    let (mut answers, mut seen) = (Vec::new(), Vec::new());
    while answers.len() < 2 || seen.len() < missed.len() {
        match client.message().await {
            ServerMessage::Subscribed { id, .. } => answers.push(id),
            ServerMessage::Update(update) => seen.push(update.seq),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(seen, missed);
    assert_eq!(answers, [Some(RequestId::Number(1)), Some(RequestId::Number(2))]);
    odin.gateway.is_balanced().await;
}
