//! Publications under way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use odin_protocol::{ClientMessage, RequestId};
use tokio::time::Instant;

use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::{Heard, Peer, with_id};
use crate::conformance::script::{Hitch, Played, Script, is_early};

/// Publications that the scenario `publish` asks for.
pub(super) const MANY: usize = 40;
/// Publications that the scenario `publish_held` asks for: more than may be under way.
pub(super) const SOME: usize = 20;
/// What a gateway takes by default.
const UNDER_WAY: usize = 16;
/// A client that sends nothing for so long waits for an answer.
const QUIET: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(1_500);
/// How long a client that must not repeat itself is watched.
const WATCH: Duration = Duration::from_secs(2);

/// A publication as the gateway sees it.
struct Publication {
    id: Option<RequestId>,
    data: String,
}

/// The next publication; `None` if none comes for `limit`.
async fn next(peer: &mut Peer, limit: Duration) -> Played<Option<Publication>> {
    let deadline = Instant::now() + limit;
    loop {
        match peer.hear(deadline.saturating_duration_since(Instant::now())).await {
            None => return Ok(None),
            Some(Heard::Message(ClientMessage::Publish { id, data, .. })) => {
                return Ok(Some(Publication { id, data: data.get().to_owned() }));
            }
            Some(Heard::Closed(_) | Heard::Gone) => return Err(Hitch("the client left while it published".to_owned())),
            Some(_) => {}
        }
    }
}

/// All that are sent before the client waits for an answer.
async fn burst(script: &Script, peer: &mut Peer) -> Played<VecDeque<Publication>> {
    let first = next(peer, script.options.patience).await?;
    let first = first.ok_or_else(|| Hitch("nothing was published".to_owned()))?;
    let mut all = VecDeque::from([first]);
    while let Some(another) = next(peer, QUIET).await? {
        all.push_back(another);
    }
    Ok(all)
}

pub(super) async fn window(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let mut open = burst(script, &mut peer).await?;
    let mut seen: BTreeSet<String> = open.iter().map(|publication| publication.data.clone()).collect();
    while let Some(Publication { id, .. }) = open.pop_front() {
        if open.len() >= UNDER_WAY {
            script.notes.wrong(Behaviour::BoundsPublishes, format!("{} publications under way", open.len() + 1));
        }
        let seq = script.skip("chat:lobby");
        let (id, epoch) = (with_id(id.as_ref()), &script.epoch);
        peer.say(&format!(r#"{{"type":"published"{id},"channel":"chat:lobby","seq":{seq},"epoch":"{epoch}"}}"#))
            .await?;
        let is_last = open.is_empty();
        let limit = if is_last && seen.len() < MANY { script.options.patience } else { Duration::ZERO };
        while let Some(another) = next(&mut peer, limit.max(Duration::from_millis(1))).await? {
            if !seen.insert(another.data.clone()) {
                script.notes.wrong(Behaviour::NeverRepeatsPublish, "the same data was published twice");
            }
            open.push_back(another);
            if limit > Duration::ZERO {
                break;
            }
        }
    }
    if seen.len() == MANY {
        script.notes.shown(Behaviour::BoundsPublishes);
    } else {
        script.notes.wrong(Behaviour::BoundsPublishes, format!("{} of {MANY} publications were sent", seen.len()));
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn lost(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    burst(script, &mut peer).await?;
    peer.cut().await;
    let (mut peer, _) = script.begin().await?;
    if next(&mut peer, WATCH).await?.is_some() {
        script.notes.wrong(Behaviour::NeverRepeatsPublish, "it published again what may be stored");
    } else {
        script.notes.shown(Behaviour::NeverRepeatsPublish);
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn held(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let open = burst(script, &mut peer).await?;
    let told = Instant::now();
    let wait_ms = u64::try_from(RETRY_AFTER.as_millis()).expect("short");
    let first = open.front().and_then(|publication| publication.id.as_ref());
    peer.error(first, "rate_limited", None, Some(wait_ms)).await?;
    match next(&mut peer, RETRY_AFTER + script.options.patience).await? {
        None => script.notes.wrong(Behaviour::HoldsPublishes, "it published nothing any more"),
        Some(_) if is_early(told.elapsed(), RETRY_AFTER) => {
            script.notes.wrong(Behaviour::HoldsPublishes, format!("it went on after {:?}", told.elapsed()));
        }
        Some(_) => script.notes.shown(Behaviour::HoldsPublishes),
    }
    peer.cut().await;
    Ok(())
}
