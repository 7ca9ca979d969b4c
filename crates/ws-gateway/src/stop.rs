//! Signals that stop the program: the first asks, the second insists.

use std::io;

use tokio::signal::unix::{self, Signal, SignalKind};
use tracing::{info, warn};
use ws_gateway::telemetry;

/// Exit code when a second signal cuts the drain short: 128 + SIGINT, as a shell would say.
const CUT_SHORT: i32 = 130;

/// Completes on SIGTERM or SIGINT; from then on, another one ends the process at once.
pub(crate) fn signal() -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (unix::signal(SignalKind::terminate())?, unix::signal(SignalKind::interrupt())?);
    Ok(async move {
        either(&mut term, &mut int).await;
        info!("stopping; a second signal ends the process at once");
        tokio::spawn(async move {
            either(&mut term, &mut int).await;
            warn!("cut short by a second signal");
            telemetry::flush();
            std::process::exit(CUT_SHORT);
        });
    })
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
}
