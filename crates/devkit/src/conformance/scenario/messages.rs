//! What a client makes of messages, and how it asks.

use std::time::Duration;

use odin_protocol::ClientMessage;
use tokio::time::Instant;

use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::{Heard, Peer};
use crate::conformance::script::{HEARTBEAT_MS, Hitch, MESSAGE_BYTES, Played, Script, UNTOLD, is_early};
use crate::conformance::told::Told;

/// Largest message that a client must take.
const LARGE_BYTES: usize = 262_144;
/// How long a client that should wait for hello is watched.
const EARLY: Duration = Duration::from_millis(300);
/// A gateway that reads little.
const FEW_BYTES: usize = 4_096;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a client that should not ask again is watched.
const WATCH: Duration = Duration::from_secs(3);

pub(super) async fn messages(script: &mut Script) -> Played {
    let mut peer = script.accept().await?.open(script.notes.clone()).await?;
    match peer.hear(EARLY).await {
        None => script.notes.shown(Behaviour::WaitsForHello),
        Some(_) => script.notes.wrong(Behaviour::WaitsForHello, "it spoke before connection:status"),
    }
    peer.hello(HEARTBEAT_MS, MESSAGE_BYTES, &script.epoch).await?;
    let asked = script.subscriptions(&mut peer).await?;
    script.confirm_all(&mut peer, &asked).await?;
    let channel = script.exact()?;

    peer.say_nonsense().await?;
    peer.say(r#"{"type":"system:status","status":"raining","umbrella":1}"#).await?;
    peer.say(r#"{"type":"error","code":"out_of_cheese","message":"redo from start","retryAfterMs":1}"#).await?;
    peer.say(r#"{"type":"stale","reason":"full_moon","since":1767225600000,"howl":true}"#).await?;
    let seq = script.update(&mut peer, &channel).await?;
    peer.say(r#"{"type":"live","howl":false}"#).await?;
    let last = script.update(&mut peer, &channel).await?;
    survives(script, &mut peer, Behaviour::IgnoresUnknown, "what it does not know").await?;

    match script.told_until(&channel, last).await {
        None => script.notes.not_shown(Behaviour::TellsStale, UNTOLD),
        Some(told) => {
            let order: Vec<&Told> = told
                .iter()
                .filter(|told| match told {
                    Told::Stale | Told::Live => true,
                    Told::Update { seq: at, .. } => *at == seq,
                    _ => false,
                })
                .collect();
            if matches!(order[..], [Told::Stale, Told::Update { .. }, Told::Live]) {
                script.notes.shown(Behaviour::TellsStale);
            } else {
                script.notes.wrong(Behaviour::TellsStale, format!("the application was told {order:?}"));
            }
        }
    }

    let prev = script.last(&channel);
    let seq = script.skip(&channel);
    let (epoch, ts) = (&script.epoch, 1_767_225_600_000 + seq);
    let head = format!(
        r#"{{"type":"update","channel":"{channel}","seq":{seq},"prev":{prev},"ts":{ts},"epoch":"{epoch}","data":""#
    );
    let filling = "x".repeat(LARGE_BYTES - head.len() - 2);
    peer.say(&format!(r#"{head}{filling}"}}"#)).await?;
    survives(script, &mut peer, Behaviour::TakesLargeMessages, "a large message").await?;
    if script.options.has_adapter && script.told_until(&channel, seq).await.is_none() {
        script.notes.wrong(Behaviour::TakesLargeMessages, "the application did not get it");
    }
    peer.cut().await;
    Ok(())
}

/// Notes whether the client is still there and answers.
async fn survives(script: &Script, peer: &mut Peer, behaviour: Behaviour, what: &str) -> Played {
    let heard = peer.settle(script.options.patience).await;
    if let Some(end) = heard.iter().find(|heard| matches!(heard, Heard::Closed(_) | Heard::Gone)) {
        let why = format!("it left over {what}: {end:?}");
        script.notes.wrong(behaviour, &why);
        return Err(Hitch(why));
    }
    script.notes.shown(behaviour);
    Ok(())
}

pub(super) async fn many(script: &mut Script) -> Played {
    let mut peer = script.greet_with(HEARTBEAT_MS, FEW_BYTES).await?;
    // What is too large or too many is noted where it is read.
    let asked = script.subscriptions(&mut peer).await?;
    script.confirm_all(&mut peer, &asked).await?;
    script.notes.shown(Behaviour::SplitsSubscribe);
    script.notes.shown(Behaviour::KeepsToMessageSize);
    peer.cut().await;
    let mut peer = script.greet_with(HEARTBEAT_MS, FEW_BYTES).await?;
    script.subscriptions(&mut peer).await?;
    peer.cut().await;
    Ok(())
}

pub(super) async fn refused(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    let asked = script.subscriptions(&mut peer).await?;
    let [later, never] = ["price:BTC", "price:ETH"];
    let id = |channel: &str| asked.ids.get(channel).and_then(Option::as_ref);
    peer.error(id(never), "forbidden", Some(never), None).await?;
    let wait_ms = u64::try_from(RETRY_AFTER.as_millis()).expect("short");
    peer.error(id(later), "unavailable", Some(later), Some(wait_ms)).await?;
    let told = Instant::now();

    let limit = script.options.backoff_cap + script.options.patience;
    let mut again = Vec::new();
    while again.is_empty() {
        match peer.hear(limit).await {
            None => {
                script.notes.not_shown(Behaviour::AsksAgain, format!("not within {limit:?}"));
                break;
            }
            Some(Heard::Message(ClientMessage::Subscribe { channels, .. })) => {
                again.extend(channels.into_iter().map(|entry| entry.channel));
            }
            Some(Heard::Closed(_) | Heard::Gone) => return Err(Hitch("the client left over a refusal".to_owned())),
            Some(_) => {}
        }
    }
    if again.iter().any(|channel| channel == later) {
        script.notes.shown(Behaviour::AsksAgain);
        if is_early(told.elapsed(), RETRY_AFTER) {
            script.notes.wrong(Behaviour::HonoursRetryAfterMs, format!("it asked again after {:?}", told.elapsed()));
        }
    }
    script.notes.shown(Behaviour::HonoursRetryAfterMs);
    let deadline = Instant::now() + WATCH;
    while let Some(Heard::Message(message)) = peer.hear(deadline.saturating_duration_since(Instant::now())).await {
        if let ClientMessage::Subscribe { channels, .. } = message {
            again.extend(channels.into_iter().map(|entry| entry.channel));
        }
    }
    if again.iter().any(|channel| channel == never) {
        script.notes.wrong(Behaviour::TakesNoForAnAnswer, "it asked again for a forbidden channel");
    } else {
        script.notes.shown(Behaviour::TakesNoForAnAnswer);
    }
    peer.cut().await;
    Ok(())
}
