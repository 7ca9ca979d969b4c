//! A process that is short of memory.

use std::sync::{Arc, Mutex};

use ws_gateway::Reload;

use super::{refuses, shake};
use crate::support::{Client, Gateway, config, until};

/// Checklist 55: little memory left. Who is there stays, who comes is sent away until there is some again.
#[tokio::test]
async fn lets_nobody_in_while_memory_is_short_and_keeps_who_is_there() {
    let config = config("nats://127.0.0.1:1");
    let files = Arc::new(Mutex::new(config.clone()));
    let read = files.clone();
    let reload = Reload::new(move || Ok(read.lock().expect("no panic").clone()));
    let reloader = reload.reloader();
    let gateway = Gateway::start_reloadable(config, reload);
    let limit = async |bytes| {
        files.lock().expect("no panic").limits.memory_bytes = bytes;
        until("a reload", async || reloader.reload().await.ok()).await;
    };
    let mut there = Client::connect(&gateway).await;
    // Less than any process has.
    limit(Some(1)).await;
    let answer = until("a refusal", async || Some(shake(&gateway, "").await).filter(|answer| answer.status == 503));
    let answer = answer.await;
    assert_eq!(answer.json()["error"]["code"], "try_again_later");
    assert!(answer.header("retry-after").is_some());
    assert!(there.sync(1).await.iter().all(|message| !matches!(message, odin_protocol::ServerMessage::Error(_))));
    refuses(&gateway, "memory", 1).await;
    limit(None).await;
    until("room", async || (shake(&gateway, "").await.status == 101).then_some(())).await;
    there.sync(2).await;
}
