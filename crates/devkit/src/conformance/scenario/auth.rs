//! Signing in, and staying signed in.

use std::collections::BTreeSet;
use std::time::Duration;

use odin_protocol::ClientMessage;
use tokio::time::Instant;

use super::reconnect::is_goodbye;
use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::{Heard, Peer};
use crate::conformance::script::{Hitch, Played, Script, is_early};

/// How long a client that has to wait for `authenticated` is watched.
const WATCH: Duration = Duration::from_millis(500);
/// Life of a token that has to be refreshed.
const LIFE: Duration = Duration::from_secs(6);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The client's next message, which has to be `auth`; gives the token.
async fn token(script: &Script, peer: &mut Peer, behaviour: Behaviour) -> Played<String> {
    let heard = peer.hear(script.options.patience + script.options.backoff_cap).await;
    let why = match heard {
        Some(Heard::Message(ClientMessage::Auth { token, .. })) => return Ok(token.expose().to_owned()),
        Some(Heard::Message(other)) => format!("a {} came where auth had to", other.type_name()),
        Some(Heard::Closed(_) | Heard::Gone) => "it left instead of sending auth".to_owned(),
        Some(Heard::Pong(_)) | None => "no auth came".to_owned(),
    };
    script.notes.wrong(behaviour, &why);
    Err(Hitch(why))
}

pub(super) async fn sign_in(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    let mut tokens = BTreeSet::from([token(script, &mut peer, Behaviour::SignsInFirst).await?]);
    match peer.hear(WATCH).await {
        Some(Heard::Message(early)) => {
            let why = format!("a {} came before authenticated", early.type_name());
            script.notes.wrong(Behaviour::SignsInFirst, why);
        }
        _ => script.notes.shown(Behaviour::SignsInFirst),
    }
    let since = Instant::now();
    peer.authenticate(Some(LIFE)).await?;
    let asked = script.subscriptions(&mut peer).await?;
    script.confirm_all(&mut peer, &asked).await?;

    tokens.insert(token(script, &mut peer, Behaviour::RefreshesInTime).await?);
    match since.elapsed() {
        early if is_early(early, LIFE / 2) => {
            script.notes.wrong(Behaviour::RefreshesInTime, format!("after {early:?} of {LIFE:?}"));
        }
        late if late >= LIFE => script.notes.wrong(Behaviour::RefreshesInTime, "the token had expired"),
        _ => script.notes.shown(Behaviour::RefreshesInTime),
    }
    peer.authenticate(None).await?;
    let heard = peer.settle(script.options.patience).await;
    if heard.iter().any(|heard| matches!(heard, Heard::Message(ClientMessage::Subscribe { .. }))) {
        script.notes.wrong(Behaviour::KeepsSubscriptions, "it subscribed again after a refresh");
    } else {
        script.notes.shown(Behaviour::KeepsSubscriptions);
    }

    peer.say(r#"{"type":"system:status","status":"token_expiring","expiresInMs":60000}"#).await?;
    tokens.insert(token(script, &mut peer, Behaviour::RefreshesWhenTold).await?);
    script.notes.shown(Behaviour::RefreshesWhenTold);
    peer.authenticate(None).await?;
    peer.settle(script.options.patience).await;
    peer.cut().await;

    let mut peer = script.greet().await?;
    if tokens.insert(token(script, &mut peer, Behaviour::FreshTokens).await?) {
        script.notes.shown(Behaviour::FreshTokens);
    } else {
        script.notes.wrong(Behaviour::FreshTokens, "a connection began with a token of before");
    }
    peer.authenticate(None).await?;
    script.subscriptions(&mut peer).await?;
    script.notes.shown(Behaviour::OneAuthAtATime);
    peer.cut().await;
    Ok(())
}

pub(super) async fn failed(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    let first = token(script, &mut peer, Behaviour::TriesAnotherToken).await?;
    peer.refuse_auth("auth_failed", None).await?;
    if token(script, &mut peer, Behaviour::TriesAnotherToken).await? == first {
        script.notes.wrong(Behaviour::TriesAnotherToken, "it sent the same token again");
    } else {
        script.notes.shown(Behaviour::TriesAnotherToken);
    }
    for attempt in ["second", "third"] {
        peer.refuse_auth("auth_failed", None).await?;
        is_goodbye(peer.hear(script.options.patience).await).inspect_err(|why| {
            script.notes.wrong(Behaviour::LeavesUnauthorized, format!("after the {attempt} auth_failed: {}", why.0));
        })?;
        peer.bye().await;
        peer = script.greet().await.inspect_err(|why| {
            script.notes.wrong(Behaviour::LeavesUnauthorized, format!("after the {attempt} auth_failed: {}", why.0));
        })?;
        token(script, &mut peer, Behaviour::LeavesUnauthorized).await?;
    }
    script.notes.shown(Behaviour::LeavesUnauthorized);
    peer.authenticate(None).await?;
    script.subscriptions(&mut peer).await?;
    peer.cut().await;
    Ok(())
}

pub(super) async fn unavailable(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    token(script, &mut peer, Behaviour::RetriesAuth).await?;
    let told = Instant::now();
    let wait_ms = u64::try_from(RETRY_AFTER.as_millis()).expect("short");
    peer.refuse_auth("auth_unavailable", Some(wait_ms)).await?;
    token(script, &mut peer, Behaviour::RetriesAuth).await?;
    if is_early(told.elapsed(), RETRY_AFTER) {
        script.notes.wrong(Behaviour::RetriesAuth, format!("it tried again after {:?}", told.elapsed()));
    } else {
        script.notes.shown(Behaviour::RetriesAuth);
    }
    peer.authenticate(None).await?;
    script.subscriptions(&mut peer).await?;
    peer.cut().await;
    Ok(())
}

pub(super) async fn forbidden(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    token(script, &mut peer, Behaviour::LeavesForbidden).await?;
    peer.refuse_auth("forbidden", None).await?;
    let left = is_goodbye(peer.hear(script.options.patience).await);
    if let Err(why) = left {
        script.notes.wrong(Behaviour::LeavesForbidden, why.0);
    }
    peer.bye().await;
    script.stays_away(Behaviour::LeavesForbidden, "after forbidden").await;
    Ok(())
}

pub(super) async fn unauthorized(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    let first = token(script, &mut peer, Behaviour::ReturnsOnceAfter4401).await?;
    peer.close(4401).await;
    let mut peer = script.greet().await.inspect_err(|why| {
        script.notes.not_shown(Behaviour::ReturnsOnceAfter4401, why.0.clone());
    })?;
    if token(script, &mut peer, Behaviour::ReturnsOnceAfter4401).await? == first {
        script.notes.wrong(Behaviour::ReturnsOnceAfter4401, "it came back with the same token");
    }
    peer.close(4401).await;
    script.stays_away(Behaviour::ReturnsOnceAfter4401, "after the second 4401").await;
    Ok(())
}
