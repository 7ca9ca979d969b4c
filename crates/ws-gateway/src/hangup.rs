//! SIGHUP: read the configuration again.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use ws_gateway::Reloader;

/// Reloads at each SIGHUP, for as long as the process lives. What comes of it is in the log.
pub(crate) fn reload_on(reloader: Reloader) -> io::Result<()> {
    let mut hangups = unix::signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let _ = reloader.reload().await;
        }
    });
    Ok(())
}
