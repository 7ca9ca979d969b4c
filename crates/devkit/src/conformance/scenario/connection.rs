//! What a client makes of silence.

use std::time::Duration;

use tokio::time::Instant;

use crate::conformance::behaviour::Behaviour;
use crate::conformance::peer::Heard;
use crate::conformance::script::{Hitch, MESSAGE_BYTES, Played, Script, is_early};

/// Short, but longer than a loaded machine keeps a client from its clock and its socket.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats during which only pings and pongs come.
const QUIET_HEARTBEATS: u32 = 4;

pub(super) async fn heartbeat(script: &mut Script) -> Played {
    let heartbeat_ms = u64::try_from(HEARTBEAT.as_millis()).expect("short");
    let mut peer = script.greet_with(heartbeat_ms, MESSAGE_BYTES).await?;
    let asked = script.subscriptions(&mut peer).await?;
    script.confirm_all(&mut peer, &asked).await?;

    for _ in 0..QUIET_HEARTBEATS {
        peer.ping(b"").await?;
        let deadline = Instant::now() + HEARTBEAT;
        while let Some(heard) = peer.hear(deadline.saturating_duration_since(Instant::now())).await {
            if matches!(heard, Heard::Closed(_) | Heard::Gone) {
                script.notes.wrong(Behaviour::StaysWhileHeard, "it left though pings came");
                return Err(Hitch("the client left too early".to_owned()));
            }
        }
    }
    script.notes.shown(Behaviour::StaysWhileHeard);

    // The client's clock starts later than ours, so what is too early by ours is too early by its own.
    peer.is_silent = true;
    peer.pings = 0;
    // A message and not a ping: not every client sees those.
    let head = script.head();
    peer.say(&format!(r#"{{"type":"checkpoint","cursor":"{head}"}}"#)).await?;
    let since = Instant::now();
    loop {
        match peer.hear(script.options.patience).await {
            None => {
                script.notes.wrong(Behaviour::LeavesWhenSilent, "it stays with a silent gateway");
                break;
            }
            Some(Heard::Closed(_) | Heard::Gone) => {
                if is_early(since.elapsed(), HEARTBEAT * 3 / 2) {
                    script.notes.wrong(Behaviour::LeavesWhenSilent, "it left before 1.5 heartbeats");
                } else {
                    script.notes.shown(Behaviour::LeavesWhenSilent);
                }
                break;
            }
            Some(_) => {}
        }
    }
    if peer.pings > 0 {
        script.notes.shown(Behaviour::PingsWhenSilent);
    } else {
        script.notes.wrong(Behaviour::PingsWhenSilent, "no ping message came before it left");
    }
    drop(peer);

    let (peer, _) = script.begin().await?;
    script.notes.shown(Behaviour::ComesBackSoon);
    peer.cut().await;
    Ok(())
}
