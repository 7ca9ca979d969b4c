//! The connection that wide feeds come by, and what the stream says of itself there.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, jetstream};
use odin_protocol::Epoch;
use tokio::time::Instant;

use crate::{bus::nats, config::Config};

/// How long a connection is given before it is blamed again.
const TRIAL: Duration = Duration::from_secs(30);

/// The stream at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::bus) struct Facts {
    pub(in crate::bus) epoch: Epoch,
    pub(in crate::bus) first_seq: u64,
    pub(in crate::bus) last_seq: u64,
    /// Messages kept of each subject; not positive for no limit.
    pub(super) most_of_a_subject: i64,
}

/// See the module.
#[derive(Debug)]
pub(in crate::bus) struct Link {
    pub(super) client: Client,
    pub(super) context: jetstream::Context,
    stream: String,
    moved_at: Mutex<Option<Instant>>,
}

impl Link {
    pub(in crate::bus) fn new(client: Client, config: &Config) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(config.nats.request_timeout);
        Self { client, context, stream: config.stream.name.clone(), moved_at: Mutex::default() }
    }

    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// What the stream's leader says of it.
    ///
    /// # Errors
    /// It was not found or not reached.
    pub(in crate::bus) async fn facts(&self) -> Result<Facts, jetstream::context::GetStreamError> {
        let stream = self.context.get_stream(&self.stream).await?;
        let info = stream.cached_info();
        Ok(Facts {
            epoch: nats::epoch_of(info),
            first_seq: info.state.first_sequence,
            last_seq: info.state.last_sequence,
            most_of_a_subject: info.config.max_messages_per_subject,
        })
    }

    /// Nothing goes by this connection although it stands: takes another, to another node if there is
    /// one. Of many who ask for it, one is heard.
    pub(super) async fn move_on(&self) {
        {
            let mut moved_at = self.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
            if moved_at.is_some_and(|at| at.elapsed() < TRIAL) {
                return;
            }
            *moved_at = Some(Instant::now());
        }
        tracing::warn!("no consumer can be had: the connection for wide feeds is made anew");
        // Fails only when the client is gone.
        let _ = self.client.force_reconnect().await;
    }
}
