//! Where a client goes on, and what it makes of what comes then.

use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::Peer;
use crate::conformance::script::{Asked, Played, Script, UNTOLD};
use crate::conformance::told::Told;

/// A position of a form that no version has; no client has reason to look into it.
const OPAQUE: &str = "x7~a_form-of.tomorrow";

pub(super) async fn exact(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let channel = script.exact()?;
    let subscribed = script.head();
    script.update(&mut peer, &channel).await?;
    let last = script.update(&mut peer, &channel).await?;
    peer.settle(script.options.patience).await;
    peer.cut().await;

    let (peer, asked) = script.begin().await.inspect_err(|why| {
        script.notes.wrong(Behaviour::ComesBackSoon, format!("after a cut: {}", why.0));
    })?;
    script.notes.shown(Behaviour::ComesBackSoon);
    match asked.since.get(&channel).cloned().flatten() {
        None => script.notes.wrong(Behaviour::ResumesWithSince, format!("{channel} has no since")),
        Some(since) if since == script.cursor(last) => {
            script.notes.shown(Behaviour::ResumesWithSince);
            script.notes.shown(Behaviour::ResumesFromLastUpdate);
        }
        Some(since) if since == subscribed => {
            script.notes.shown(Behaviour::ResumesWithSince);
            script.notes.not_shown(Behaviour::ResumesFromLastUpdate, "it resumes from subscribed");
        }
        Some(since) => {
            script.notes.wrong(Behaviour::ResumesWithSince, format!("{since:?} is no position of {channel}"));
        }
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn pattern(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let prefix = script.pattern()?;
    let [pattern, one, other] = ["*", "BTC", "ETH"].map(|end| format!("{prefix}{end}"));
    let mut expected = vec![script.update(&mut peer, &one).await?, script.update(&mut peer, &other).await?];
    peer.say(&format!(r#"{{"type":"checkpoint","cursor":"{OPAQUE}"}}"#)).await?;
    let before = [script.last(&one), script.last(&other)];
    let repeated = [script.update(&mut peer, &one).await?, script.update(&mut peer, &other).await?];
    peer.settle(script.options.patience).await;
    peer.cut().await;

    let (mut peer, asked) = script.begin().await?;
    match asked.since.get(&pattern).cloned().flatten() {
        Some(since) if since == OPAQUE => {
            script.notes.shown(Behaviour::ResumesFromCheckpoint);
            script.notes.shown(Behaviour::KeepsCursorsAsTheyCame);
        }
        None => script.notes.wrong(Behaviour::ResumesFromCheckpoint, format!("{pattern} has no since")),
        Some(since) => {
            let why = format!("{pattern} comes back with {since:?}, the checkpoint was {OPAQUE:?}");
            script.notes.wrong(Behaviour::ResumesFromCheckpoint, &why);
        }
    }
    script.repeat(&mut peer, &one, before[0], repeated[0]).await?;
    script.repeat(&mut peer, &other, before[1], repeated[1]).await?;
    let last = script.update(&mut peer, &one).await?;
    expected.extend(repeated);
    expected.push(last);
    match script.told_until(&one, last).await {
        None => script.notes.not_shown(Behaviour::DropsOverlap, UNTOLD),
        Some(told) => {
            let got: Vec<u64> = told
                .iter()
                .filter_map(|told| match told {
                    Told::Update { channel, seq } if channel.starts_with(&prefix) => Some(*seq),
                    _ => None,
                })
                .collect();
            if got == expected {
                script.notes.shown(Behaviour::DropsOverlap);
            } else {
                let why = format!("the application got {got:?} instead of {expected:?}");
                script.notes.wrong(Behaviour::DropsOverlap, why);
            }
        }
    }
    peer.settle(script.options.patience).await;
    peer.cut().await;

    // No checkpoint has come since: it is still the position.
    let (peer, asked) = script.begin().await?;
    if asked.since.get(&pattern).cloned().flatten().as_deref() != Some(OPAQUE) {
        script.notes.wrong(Behaviour::ResumesFromCheckpoint, "the checkpoint was forgotten on the second cut");
    }
    peer.cut().await;
    Ok(())
}

pub(super) async fn order(script: &mut Script) -> Played {
    let mut peer = script.greet().await?;
    let asked = script.subscriptions(&mut peer).await?;
    let [latest, all] = ["price:BTC", "signals:all"];
    script.confirm(&mut peer, &asked, latest, r#""mode":"latest","recovered":false"#).await?;
    let head = script.head();
    script.confirm(&mut peer, &asked, all, &format!(r#""mode":"all","recovered":false,"cursor":"{head}""#)).await?;

    script.update(&mut peer, latest).await?;
    script.skip(latest);
    let merged = script.update(&mut peer, latest).await?;

    let after = script.update(&mut peer, all).await?;
    script.skip(all);
    let until = script.skip(all);
    let gap = format!(r#"{{"type":"gap","channel":"{all}","after":{after},"until":{until},"reason":"retention"}}"#);
    peer.say(&gap).await?;
    let announced = script.update(&mut peer, all).await?;
    script.skip(all);
    script.update(&mut peer, all).await?;
    let last = script.update(&mut peer, all).await?;

    let Some(told) = script.told_until(all, last).await else {
        for behaviour in [Behaviour::TellsGaps, Behaviour::TellsMissing, Behaviour::MergesQuietly] {
            script.notes.not_shown(behaviour, UNTOLD);
        }
        return Ok(());
    };
    let is_update = |told: &Told, at: u64| matches!(told, Told::Update { seq, .. } if *seq == at);
    let has_gap =
        |told: &[Told], of: &str| told.iter().any(|told| matches!(told, Told::Gap { channel } if channel == of));
    let Some(seam) = told.iter().position(|told| is_update(told, announced)) else {
        script.notes.wrong(Behaviour::TellsGaps, "what came after the gap was not delivered");
        return Ok(());
    };
    let (before, behind) = told.split_at(seam);
    let note = |holds: bool, behaviour, why: &str| {
        if holds { script.notes.shown(behaviour) } else { script.notes.wrong(behaviour, why) }
    };
    note(has_gap(before, all), Behaviour::TellsGaps, "the application was not told of a gap");
    note(has_gap(behind, all), Behaviour::TellsMissing, "what was missing was not reported");
    let is_quiet = !has_gap(&told, latest) && told.iter().any(|told| is_update(told, merged));
    note(is_quiet, Behaviour::MergesQuietly, "a merged value was reported as missing, or was not delivered");
    peer.cut().await;
    Ok(())
}

pub(super) async fn anew(script: &mut Script) -> Played {
    let (mut peer, _) = script.begin().await?;
    let channel = script.exact()?;
    script.update(&mut peer, &channel).await?;
    peer.settle(script.options.patience).await;
    peer.cut().await;

    let mut peer = script.greet().await?;
    let asked = script.subscriptions(&mut peer).await?;
    script.skip(&channel);
    begin_anew(script, &mut peer, &asked, &channel, "cursor_too_old").await?;
    script.update(&mut peer, &channel).await?;
    let last = script.update(&mut peer, &channel).await?;
    match script.told_until(&channel, last).await {
        None => {
            script.notes.not_shown(Behaviour::TellsLoss, UNTOLD);
            script.notes.not_shown(Behaviour::BeginsAnew, UNTOLD);
        }
        Some(told) => {
            if told.iter().any(|told| matches!(told, Told::Loss { channel: of } if *of == channel)) {
                script.notes.shown(Behaviour::TellsLoss);
            } else {
                script.notes.wrong(Behaviour::TellsLoss, "the application was not told of recovered:false");
            }
            let updates = told.iter().filter(|told| matches!(told, Told::Update { .. })).count();
            if told.iter().any(|told| matches!(told, Told::Gap { .. })) {
                script.notes.wrong(Behaviour::BeginsAnew, "a chain that begins anew was found to miss something");
            } else if updates != 3 {
                script.notes.wrong(Behaviour::BeginsAnew, format!("{updates} of 3 updates were delivered"));
            } else {
                script.notes.shown(Behaviour::BeginsAnew);
            }
        }
    }
    peer.settle(script.options.patience).await;
    peer.cut().await;

    script.change_epoch("p4q5r6s7");
    let mut peer = script.greet().await?;
    let asked = script.subscriptions(&mut peer).await?;
    begin_anew(script, &mut peer, &asked, &channel, "epoch_changed").await?;
    delivers_epoch(script, &mut peer, &channel).await?;
    peer.settle(script.options.patience).await;
    peer.cut().await;

    let (mut peer, asked) = script.begin().await?;
    let since = asked.since.get(&channel).cloned().flatten().unwrap_or_default();
    if since.contains(&script.epoch) {
        script.notes.shown(Behaviour::FollowsEpoch);
    } else {
        script.notes.wrong(Behaviour::FollowsEpoch, format!("it came back with {since:?}"));
    }

    // The stream is created anew under a connection that stays: the gateway begins the subscription by itself.
    script.change_epoch("t8u9v0w1");
    let head = script.head();
    peer.say(&format!(
        r#"{{"type":"subscribed","channel":"{channel}","mode":"all","recovered":false,"reason":"epoch_changed","cursor":"{head}"}}"#
    ))
    .await?;
    delivers_epoch(script, &mut peer, &channel).await?;
    peer.cut().await;
    Ok(())
}

/// Answers with `recovered: false`.
async fn begin_anew(script: &Script, peer: &mut Peer, asked: &Asked, channel: &str, reason: &str) -> Played {
    let head = script.head();
    let more = format!(r#""mode":"all","recovered":false,"reason":"{reason}","cursor":"{head}""#);
    script.confirm(peer, asked, channel, &more).await
}

/// The first update of another epoch has a low sequence, and is delivered.
async fn delivers_epoch(script: &mut Script, peer: &mut Peer, channel: &str) -> Played {
    script.ear.forget();
    let first = script.update(peer, channel).await?;
    if script.options.has_adapter && script.told_until(channel, first).await.is_none() {
        let why = format!("the first update of epoch {} was not delivered", script.epoch);
        script.notes.wrong(Behaviour::FollowsEpoch, why);
    }
    Ok(())
}
