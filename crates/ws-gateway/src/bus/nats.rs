//! The connections to NATS, what happens to them, and what the stream says of itself.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, Event,
    jetstream::{self, ErrorCode, context::GetStreamErrorKind},
};
use odin_protocol::Epoch;
use sha1::{Digest, Sha1};
use tokio::sync::mpsc;

use super::route::Route;
use crate::{
    admin::NotReady,
    config::{Config, Nats},
    error::RunError,
};

/// Events kept for the sequencer; more than this at once say nothing new.
const EVENTS: usize = 256;

/// Messages kept for one subscription before the library drops them and says so.
const SUBSCRIPTION_MESSAGES: usize = 256 * 1024;

/// The client leaves a server at the third ping that finds nothing heard since the first, so a frozen one
/// is left when its ticks have been missing for too long.
const UNANSWERED_PINGS: f64 = 3.0;

/// However long ticks may be missing.
const LONGEST_PING_INTERVAL: Duration = Duration::from_secs(10);

/// Subscriptions begun and ended that wait for a connection. The sequencer would wait with them, so it is
/// more than the feeds that fit into memory; what does not wait costs nothing.
const WAITING_COMMANDS: usize = 1 << 20;

/// The three connections: live messages come by one, what is read back by another, and what consumers
/// bring by the third.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) live: Client,
    pub(crate) reader: Client,
    /// Consumers of wide patterns: what piled up while one was away comes at once, and before nothing else.
    pub(crate) wide: Client,
    /// What happened to the live one, and that the reader has connected.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Starts connecting; clients that are not connected yet wait and try again for ever.
///
/// # Errors
/// The credentials or certificates cannot be read, or a URL is none.
pub(crate) async fn connect(nats: &Nats) -> Result<Connections, RunError> {
    let (tell, events) = mpsc::channel(EVENTS);
    let tell_of_reader = tell.clone();
    let live = options(nats, "live").await?.subscription_capacity(SUBSCRIPTION_MESSAGES).event_callback(move |event| {
        let tell = tell.clone();
        async move {
            // Full means that the sequencer has enough to do already. It looks at the connection by itself.
            let _ = tell.try_send(event);
        }
    });
    let live = live.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    let reader = options(nats, "reader").await?.event_callback(move |event| {
        let tell = tell_of_reader.clone();
        async move {
            if event == Event::Connected {
                let _ = tell.try_send(event);
            }
        }
    });
    let reader = reader.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    let wide = options(nats, "wide").await?.subscription_capacity(SUBSCRIPTION_MESSAGES);
    let wide = wide.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    Ok(Connections { live, reader, wide, events })
}

/// What every connection to NATS begins with: it waits and tries for ever, and leaves a server that is silent.
///
/// # Errors
/// The credentials or certificates cannot be read.
pub(crate) async fn options(nats: &Nats, purpose: &str) -> Result<async_nats::ConnectOptions, RunError> {
    let options = nats.connect_options().await.map_err(RunError::Credentials)?;
    Ok(options
        .name(format!("{} {purpose}", nats.name))
        .retry_on_initial_connect()
        .client_capacity(WAITING_COMMANDS)
        .ping_interval(nats.tick_timeout.div_f64(UNANSWERED_PINGS).min(LONGEST_PING_INTERVAL))
        .reconnect_to_server_callback({
            let route = Route::default();
            move |servers, info| std::future::ready(route.choose(&servers, &info))
        }))
}

/// Why the stream is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The gateway cannot work with it.
    Unusable(NotReady),
    /// Nobody who knows answered: no leader, or no connection.
    NoAnswer,
}

/// Asks the stream who it is.
///
/// # Errors
/// See [`Unknown`].
pub(super) async fn epoch(context: &jetstream::Context, config: &Config) -> Result<Epoch, Unknown> {
    let wanted = &config.stream;
    let stream = match context.get_stream(&wanted.name).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Unknown::Unusable(NotReady::StreamMissing)
                }
                _ => Unknown::NoAnswer,
            });
        }
    };
    let info = stream.cached_info();
    let republishes = info.config.republish.as_ref().is_some_and(|republish| {
        !republish.headers_only && republish.destination == wanted.live_subject(&republish.source)
    });
    if !info.config.allow_direct || !republishes {
        return Err(Unknown::Unusable(NotReady::StreamMisconfigured));
    }
    Ok(epoch_of(info))
}

/// The identity of the stream that says this of itself.
pub(super) fn epoch_of(info: &jetstream::stream::Info) -> Epoch {
    // Of what every gateway sees, by a function that no release of anything changes: one built later must
    // give the stream the same name.
    let marker = info.config.metadata.get("odin_epoch").map_or("", String::as_str);
    let digest = Sha1::digest(format!("{}:{marker}", info.created.unix_timestamp_nanos()));
    let (first, _) = digest.split_first_chunk().expect("twenty bytes");
    Epoch::from_hash(u64::from_be_bytes(*first))
}

/// Publishes the tick: proof that the stream takes messages, and something that the newest of is always
/// known. Every gateway does once a second; the stream keeps one of each second, and with `must_be_seen`
/// this one too. Says whether it was stored.
///
/// # Cancel safety
/// Cancel safe: a tick that was not acknowledged is followed by the next.
pub(crate) async fn tick(context: &jetstream::Context, config: &Arc<Config>, must_be_seen: bool) -> bool {
    let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let id =
        if must_be_seen { format!("tick-{second}-{:08x}", rand::random::<u32>()) } else { format!("tick-{second}") };
    let message = jetstream::message::PublishMessage::build().message_id(id).payload("{}".into());
    let subject = config.stream.tick_subject.clone();
    let acknowledged = async { context.send_publish(subject, message).await?.await };
    match tokio::time::timeout(config.nats.request_timeout, acknowledged).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => tracing::debug!(%error, "tick was refused"),
        Err(_) => tracing::debug!("tick was not acknowledged in time"),
    }
    false
}
