//! Through a gateway, as the signed-in user, where its rules allow that.

use std::io::{self, Write};

use odin_client::{Client, Event, Events, Options, PublishError, Published};
use tokio::time::sleep;

use super::{
    super::{args::Link, exit::Exit, identity::Identity, note::note, screen::interrupted, tail::describe},
    LIMIT,
};

/// Publishes once and prints where it is stored.
pub(super) async fn publish(link: &Link, channel: &str, json: &str, is_json: bool) -> anyhow::Result<Exit> {
    let (client, mut events) = match Client::connect(Options { ping_interval: None, ..link.options() }) {
        Ok(ends) => ends,
        Err(error) => {
            note(format_args!("odin: {error}"));
            return Ok(Exit::Usage);
        }
    };
    let exit = tokio::select! {
        biased;
        exit = watch(&mut events, link.sign_in.source.is_some()) => exit,
        outcome = client.publish(channel, json) => match outcome {
            Ok(published) => {
                print(&published, is_json)?;
                Exit::Done
            }
            Err(error) => {
                note(format_args!("odin: {channel}: {error}"));
                exit_of(&error)
            }
        },
        () = interrupted() => Exit::Failed,
    };
    client.close().await;
    Ok(exit)
}

/// Tells what happens to the connection; ends when there is nothing more to wait for.
async fn watch(events: &mut Events, must_sign_in: bool) -> Exit {
    let mut identity = Identity::default();
    let mut is_ready = false;
    let mut time_is_up = std::pin::pin!(sleep(LIMIT));
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = &mut time_is_up => {
                note(format_args!("odin: no acknowledgement within {LIMIT:?}"));
                return match is_ready {
                    // it was sent
                    true => {
                        note(format_args!("odin: {}", PublishError::Unknown));
                        Exit::Failed
                    }
                    false => Exit::Closed,
                };
            }
        };
        let Some(event) = event else { return Exit::Closed };
        if let Some((exit, why)) = identity.observe(&event) {
            note(format_args!("odin: {why}"));
            return exit;
        }
        match &event {
            Event::Connected(_) => is_ready |= !must_sign_in,
            Event::Authenticated { .. } => is_ready = true,
            _ => {
                if let Some(line) = describe(&event) {
                    note(format_args!("odin: {line}"));
                }
            }
        }
    }
}

fn exit_of(error: &PublishError) -> Exit {
    match error {
        PublishError::Refused { .. } => Exit::Refused,
        PublishError::Unknown => Exit::Failed,
        PublishError::Closed => Exit::Closed,
        _ => Exit::Usage,
    }
}

fn print(published: &Published, is_json: bool) -> io::Result<()> {
    let Published { channel, seq, epoch, .. } = published;
    let mut out = io::stdout().lock();
    if is_json {
        return writeln!(out, "{}", serde_json::json!({"channel": channel, "seq": seq, "epoch": epoch}));
    }
    writeln!(out, "stored on {} as seq {seq} of {epoch}", odin_client::printable(channel))
}
