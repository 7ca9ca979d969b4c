//! One word out of two: what the bus says of itself, and whether revocations are known where anybody can sign in.

use std::sync::Arc;

use tokio::sync::watch;

use super::LogState;
use crate::{
    admin::{NotReady, Readiness},
    current::Current,
};

/// Passes the bus's word on, and holds back "ready" until the control log was read once. Later trouble with the log takes
/// nothing away: whoever is revoked then is one of those that the others let in too. Once a drain has begun, its word
/// stands. Ends when the bus does.
///
/// # Cancel safety
/// Cancel safe: what is told last stands.
pub(crate) async fn combine(
    mut bus: watch::Receiver<Readiness>,
    mut log: watch::Receiver<LogState>,
    mut current: watch::Receiver<Arc<Current>>,
    all: watch::Sender<Readiness>,
) {
    loop {
        let is_needed = current.borrow_and_update().config.auth.is_offered();
        let readiness = match (*bus.borrow_and_update(), *log.borrow_and_update()) {
            (Readiness::Ready, LogState::Unread(reason)) if is_needed => Readiness::NotReady(reason),
            (readiness, _) => readiness,
        };
        all.send_if_modified(|word| {
            let is_news = *word != readiness && *word != Readiness::NotReady(NotReady::Draining);
            if is_news {
                tracing::info!(?readiness, "readiness changed");
                *word = readiness;
            }
            is_news
        });
        let has_changed = tokio::select! {
            changed = bus.changed() => changed,
            Ok(()) = log.changed() => Ok(()),
            Ok(()) = current.changed() => Ok(()),
        };
        if has_changed.is_err() {
            return;
        }
    }
}
