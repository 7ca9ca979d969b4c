//! Where each subscription stands, as far as the listener has been told.

use std::sync::{Mutex, PoisonError};

use odin_client::{Event, cursor_map::CursorMap, protocol::Channel};

/// Positions, shared between the thread that tells the listener and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<CursorMap>);

impl Positions {
    /// Takes an event in, after the listener was told.
    pub(crate) fn observe(&self, event: &Event) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Update(update) => {
                map.update(&update.head());
            }
            Event::Subscribed { channel, mode, recovered, reason, cursor, .. } => {
                let Ok(channel) = Channel::parse(channel) else { return };
                map.begin(&channel, *mode, *recovered, *reason, cursor.clone());
            }
            Event::Unsubscribed { channel } => {
                let Ok(channel) = Channel::parse(channel) else { return };
                map.end(&channel);
            }
            Event::Gap(gap) => {
                let Ok(channel) = Channel::parse(&gap.channel) else { return };
                map.gap(&channel, gap.key.as_deref(), gap.until);
            }
            Event::Checkpoint { cursor } => {
                map.checkpoint(cursor);
            }
            Event::Reconnecting { .. } | Event::Idle => map.disconnect(),
            _ => {}
        }
    }

    /// Where a subscription would continue; `None` if it has not begun.
    pub(crate) fn since(&self, channel: &str) -> Option<String> {
        let channel = Channel::parse(channel).ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since(&channel)
    }
}
