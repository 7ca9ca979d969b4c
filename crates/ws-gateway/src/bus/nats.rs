//! The connections to NATS, what happens to them, and what the stream says of itself.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, Event, ReconnectToServer, Server, ServerAddr, jetstream};
use odin_protocol::Epoch;
use tokio::sync::mpsc;

use crate::{
    admin::NotReady,
    config::{Config, Nats},
    error::RunError,
};

/// Events kept for the sequencer; more than this at once say nothing new.
const EVENTS: usize = 256;

/// Messages kept for one subscription before the library drops them and says so.
const SUBSCRIPTION_MESSAGES: usize = 256 * 1024;

/// Pauses before a server is tried: full jitter up to the first, doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The three connections: live messages come by one, what is read back by another, and what consumers
/// bring by the third.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) live: Client,
    pub(crate) reader: Client,
    /// Consumers of wide patterns: what piled up while one was away comes at once, and before nothing else.
    pub(crate) wide: Client,
    /// What happened to the live one.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Starts connecting; clients that are not connected yet wait and try again for ever.
///
/// # Errors
/// The credentials or certificates cannot be read, or a URL is none.
pub(crate) async fn connect(nats: &Nats) -> Result<Connections, RunError> {
    let (tell, events) = mpsc::channel(EVENTS);
    let live = options(nats, "live").await?.subscription_capacity(SUBSCRIPTION_MESSAGES).event_callback(move |event| {
        let tell = tell.clone();
        async move {
            // Full means that the sequencer has enough to do already, including this.
            let _ = tell.try_send(event);
        }
    });
    let live = live.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    let reader = options(nats, "reader").await?.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    let wide = options(nats, "wide").await?.subscription_capacity(SUBSCRIPTION_MESSAGES);
    let wide = wide.connect(&nats.urls[..]).await.map_err(RunError::Nats)?;
    Ok(Connections { live, reader, wide, events })
}

async fn options(nats: &Nats, purpose: &str) -> Result<async_nats::ConnectOptions, RunError> {
    let options = nats.connect_options().await.map_err(RunError::Credentials)?;
    Ok(options
        .name(format!("{} {purpose}", nats.name))
        .retry_on_initial_connect()
        .ping_interval(Duration::from_secs(10))
        .reconnect_to_server_callback({
            let last = Arc::new(Mutex::new(None));
            move |servers, _| {
                let choice = choose(&servers, &mut last.lock().unwrap_or_else(PoisonError::into_inner));
                async move { choice }
            }
        }))
}

/// The server to try next: one that failed least often, and not the one that was left while there is
/// another – a server may be deaf without looking dead.
fn choose(servers: &[Server], last: &mut Option<ServerAddr>) -> Option<ReconnectToServer> {
    let others: Vec<&Server> = servers.iter().filter(|server| Some(&server.addr) != last.as_ref()).collect();
    let candidates = if others.is_empty() { servers.iter().collect() } else { others };
    let least = candidates.iter().map(|server| server.failed_attempts).min()?;
    let candidates: Vec<_> = candidates.into_iter().filter(|server| server.failed_attempts == least).collect();
    let chosen = candidates[rand::random_range(0..candidates.len())];
    *last = Some(chosen.addr.clone());
    let longest = FIRST_PAUSE.saturating_mul(1 << least.min(16)).min(LONGEST_PAUSE);
    Some(ReconnectToServer { addr: chosen.addr.clone(), delay: Some(longest.mul_f64(rand::random())) })
}

/// Asks the stream who it is.
///
/// # Errors
/// Why the gateway cannot work with it, or cannot reach it.
pub(crate) async fn epoch(context: &jetstream::Context, config: &Config) -> Result<Epoch, NotReady> {
    let wanted = &config.stream;
    let stream = match context.get_stream(&wanted.name).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match error.kind() {
                jetstream::context::GetStreamErrorKind::JetStream(_) => NotReady::StreamMissing,
                _ => NotReady::NatsDisconnected,
            });
        }
    };
    let info = stream.cached_info();
    let republishes = info.config.republish.as_ref().is_some_and(|republish| {
        !republish.headers_only && republish.destination == wanted.live_subject(&republish.source)
    });
    if !info.config.allow_direct || !republishes {
        return Err(NotReady::StreamMisconfigured);
    }
    Ok(epoch_of(info))
}

/// The identity of the stream that says this of itself.
pub(super) fn epoch_of(info: &jetstream::stream::Info) -> Epoch {
    let mut hasher = DefaultHasher::new();
    info.created.unix_timestamp_nanos().hash(&mut hasher);
    info.config.metadata.get("odin_epoch").hash(&mut hasher);
    Epoch::from_hash(hasher.finish())
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
