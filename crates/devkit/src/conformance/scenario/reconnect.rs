//! Whether, and after how long, a client comes back.

use std::time::Duration;

use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::Heard;
use crate::conformance::script::{Hitch, Played, SLACK, Script, is_early};

/// Waits that are measured.
const WAITS: u32 = 6;
/// Waits whose part of the longest possible one lies this close together were not drawn: five draws do so once in
/// thirty thousand times.
const SPREAD: f64 = 0.05;
/// What a draining gateway says of its end. It is the longest that a client may come back late.
const DRAIN: Duration = Duration::from_secs(20);
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(super) async fn waits(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let (base, cap) = (script.options.backoff_base, script.options.backoff_cap);
    let mut parts = Vec::new();
    for attempt in 0..WAITS {
        let ended = peer.close(1012).await;
        let arrival = script.accept().await.inspect_err(|why| {
            script.notes.wrong(Behaviour::ComesBackSoon, format!("after 1012: {}", why.0));
        })?;
        let wait = arrival.at.saturating_duration_since(ended);
        let longest = base.saturating_mul(2_u32.pow(attempt)).min(cap);
        if wait > longest + SLACK {
            let why = format!("attempt {attempt} came after {wait:?}, at most {longest:?} is allowed");
            script.notes.wrong(Behaviour::WaitsWithinBounds, why);
        }
        parts.push(wait.as_secs_f64() / longest.as_secs_f64());
        peer = arrival.open(script.notes.clone()).await?;
        peer.hello(25_000, 65_536, &script.epoch).await?;
        let asked = script.subscriptions(&mut peer).await?;
        script.confirm_all(&mut peer, &asked).await?;
    }
    script.notes.shown(Behaviour::ComesBackSoon);
    script.notes.shown(Behaviour::WaitsWithinBounds);
    let (least, most) =
        parts.iter().fold((f64::MAX, f64::MIN), |(least, most), part| (least.min(*part), most.max(*part)));
    if most - least < SPREAD {
        script.notes.wrong(Behaviour::WaitsDiffer, format!("each wait is {most:.2} of the longest possible one"));
    } else {
        script.notes.shown(Behaviour::WaitsDiffer);
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn draining(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    peer.say(&format!(r#"{{"type":"system:status","status":"draining","reconnectInMs":{}}}"#, DRAIN.as_millis()))
        .await?;
    // A client may open the next connection now; this one ends then by its own will, or by ours in a moment.
    let came = tokio::time::timeout(Duration::from_millis(500), script.knock()).await.is_ok();
    let ended = tokio::time::Instant::now();
    let old = if came {
        Some(peer)
    } else {
        peer.close(1012).await;
        None
    };
    let arrival = script.accept().await.inspect_err(|why| {
        script.notes.wrong(Behaviour::ReturnsFromDrain, why.0.clone());
    })?;
    if arrival.at.saturating_duration_since(ended) >= DRAIN {
        script.notes.wrong(Behaviour::ReturnsFromDrain, "it waited for reconnectInMs after 1012");
    } else {
        script.notes.shown(Behaviour::ReturnsFromDrain);
    }
    let mut peer = arrival.open(script.notes.clone()).await?;
    peer.hello(25_000, 65_536, &script.epoch).await?;
    let asked = script.subscriptions(&mut peer).await?;
    script.confirm_all(&mut peer, &asked).await?;
    if let Some(old) = old {
        old.cut().await;
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn retry_after(script: &mut Script) -> Played {
    // On the default path, a connection of before has just been cut.
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let mut arrival = script.accept().await?;
        let told = tokio::time::Instant::now();
        arrival.refuse(status, &format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs())).await?;
        let came = tokio::time::timeout(RETRY_AFTER, script.knock()).await.is_ok();
        if came && is_early(told.elapsed(), RETRY_AFTER) {
            let why = format!("it came back {:?} after {status}", told.elapsed());
            script.notes.wrong(Behaviour::HonoursRetryAfter, why);
        }
    }
    let (peer, _) = script.begin().await?;
    script.notes.shown(Behaviour::HonoursRetryAfter);
    peer.cut().await;
    Ok(())
}

pub(super) async fn later(script: &mut Script) -> Played {
    for code in [1013, 4321] {
        let (peer, _) = script.begin().await.inspect_err(|why| {
            script.notes.wrong(Behaviour::ComesBackLater, why.0.clone());
        })?;
        peer.close(code).await;
    }
    let (peer, _) = script.begin().await.inspect_err(|why| {
        script.notes.wrong(Behaviour::ComesBackLater, format!("after 4321: {}", why.0));
    })?;
    script.notes.shown(Behaviour::ComesBackLater);
    peer.cut().await;
    Ok(())
}

pub(super) async fn never(script: &mut Script, code: u16) -> Played {
    let (peer, _) = script.begin().await?;
    peer.close(code).await;
    script.stays_away(Behaviour::StaysAway, &format!("after {code}")).await;
    Ok(())
}

pub(super) async fn refused(script: &mut Script) -> Played {
    let mut arrival = script.accept().await?;
    arrival.refuse("403 Forbidden", "").await?;
    script.stays_away(Behaviour::StaysAwayRefused, "after HTTP 403").await;
    Ok(())
}

/// The client closes with 1000, which it does when it may not come back by itself.
pub(super) fn is_goodbye(heard: Option<Heard>) -> Result<(), Hitch> {
    match heard {
        Some(Heard::Closed(Some(1000))) => Ok(()),
        Some(Heard::Closed(code)) => Err(Hitch(format!("it closed with {code:?}, not with 1000"))),
        Some(Heard::Gone) => Err(Hitch("it left without a close frame of 1000".to_owned())),
        Some(Heard::Message(message)) => Err(Hitch(format!("it sent a {} instead of leaving", message.type_name()))),
        Some(Heard::Pong(_)) | None => Err(Hitch("it did not leave".to_owned())),
    }
}
