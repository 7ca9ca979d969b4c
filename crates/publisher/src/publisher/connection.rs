//! The connection to NATS: how to make one from the options, and what its events mean.

use std::path::Path;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr, ServerError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::answer::forbidden_subject;
use super::backoff::Backoff;
use super::driver::Link;
use super::error::ConnectError;
use super::options::{Auth, Options, OptionsError};

/// Commands the connection buffers: enough that a turn of the driver seldom waits.
const CLIENT_CAPACITY: usize = 8_192;
/// Pauses before reconnecting.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(2) };

pub(super) fn parse_urls(urls: &[String]) -> Result<Vec<ServerAddr>, OptionsError> {
    let parse = |url: &String| {
        url.parse::<ServerAddr>().map_err(|error| OptionsError::Url { url: masked(url), reason: error.to_string() })
    };
    urls.iter().map(parse).collect()
}

/// The url without user, password or token.
pub(super) fn masked(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://***@{host}"),
            None => format!("***@{host}"),
        },
        None => url.to_owned(),
    }
}

pub(super) async fn connect_options(options: &Options) -> Result<ConnectOptions, ConnectError> {
    let mut connect = match &options.auth {
        Auth::None => ConnectOptions::new(),
        Auth::UserPassword { user, password } => ConnectOptions::with_user_and_password(user.clone(), password.clone()),
        Auth::Token(token) => ConnectOptions::with_token(token.clone()),
        Auth::NkeySeed(seed) => ConnectOptions::with_nkey(seed.clone()),
        Auth::CredentialsFile(path) => read_credentials(path).await?,
    };
    connect = connect
        .name(&options.name)
        .connection_timeout(options.connect_timeout)
        .ping_interval(Duration::from_secs(10))
        .client_capacity(CLIENT_CAPACITY)
        // twice over for answers to retries
        .subscription_capacity(options.max_in_flight.saturating_mul(2).max(1_024))
        .require_tls(options.tls.required)
        .reconnect_delay_callback(reconnect_delay);
    if let Some(file) = &options.tls.ca_file {
        connect = connect.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &options.tls.client {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(connect)
}

async fn read_credentials(path: &Path) -> Result<ConnectOptions, ConnectError> {
    ConnectOptions::with_credentials_file(path)
        .await
        .map_err(|source| ConnectError::Credentials { path: path.to_owned(), source })
}

fn reconnect_delay(attempt: usize) -> Duration {
    match u32::try_from(attempt).unwrap_or(u32::MAX) {
        0 | 1 => Duration::ZERO,
        attempt => RECONNECT.pause(attempt - 1),
    }
}

pub(super) fn on_event(event: &Event, link: &watch::Sender<Link>, forbidden: &mpsc::Sender<String>) {
    match event {
        Event::Connected => {
            // only a return is news: at the first connection nothing was in flight
            let back = link.send_if_modified(|link| {
                link.since = Instant::now();
                std::mem::take(&mut link.lost)
            });
            if back {
                tracing::info!("connected to NATS again");
            }
        }
        Event::Disconnected => {
            tracing::warn!("connection to NATS lost, reconnecting");
            link.send_if_modified(|link| {
                link.lost = true;
                false
            });
        }
        Event::ServerError(ServerError::Other(text)) => match forbidden_subject(text) {
            // without room it runs into its timeout and ends as unknown: late, but not wrong
            Some(subject) => drop(forbidden.try_send(subject.to_owned())),
            None => tracing::warn!(error = text, "error from NATS"),
        },
        Event::SlowConsumer(_) => {
            tracing::warn!("acknowledgements came faster than they were taken, some are lost")
        }
        other => tracing::debug!(event = %other, "connection event"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_a_url_may_hold() {
        assert_eq!(masked("nats://user:pass@host:4222"), "nats://***@host:4222");
        assert_eq!(masked("token@host"), "***@host");
        assert_eq!(masked("nats://host:4222"), "nats://host:4222");
    }
}
