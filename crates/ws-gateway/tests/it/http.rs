//! The protocol over HTTP (`docs/http.md`): what clients without a WebSocket get, and what is refused to them.

use ws_gateway::config::Config;

mod events;
mod files;
mod history;
mod last_event_id;
mod latest;
mod limits;
mod origins;
mod poll;
mod poll_loop;
mod publish;
mod requests;
mod slow;
mod support;
mod tls;

/// Positions are proven often, so that there is one soon.
fn often(config: &mut Config) {
    config.feeds.audit_interval = std::time::Duration::from_millis(200);
    config.feeds.audit_quiet_interval = std::time::Duration::from_millis(200);
    config.feeds.checkpoint_interval = std::time::Duration::from_secs(1);
}
