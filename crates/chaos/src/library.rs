//! A client of the client library: what it delivers is checked like everything else.

use std::net::SocketAddr;

use odin_client::{Event, Options, Subscription};
use odin_protocol::Mode;
use tokio::task::AbortHandle;

use crate::{
    history::{Chain, History, Record},
    ledger::number_of,
};

/// A client that is running. Dropped, it is gone.
#[derive(Debug)]
pub struct LibraryClient {
    client: odin_client::Client,
    task: AbortHandle,
}

impl Drop for LibraryClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LibraryClient {
    /// Starts it on the current runtime.
    ///
    /// # Errors
    /// The addresses or channels are none.
    pub async fn start(
        gateways: &[SocketAddr],
        mode: Mode,
        channels: &[String],
        history: History,
    ) -> anyhow::Result<LibraryClient> {
        let urls = gateways.iter().map(|address| format!("ws://{address}/ws")).collect();
        let options = Options { urls, ..Options::default() };
        let (client, mut events) = odin_client::Client::connect(options)?;
        let subscriptions: Result<Vec<_>, _> = channels.iter().map(|channel| Subscription::new(channel)).collect();
        client.subscribe_with(subscriptions?.into_iter().map(|wish| wish.with_mode(mode))).await?;
        let task = tokio::spawn(async move {
            let mut has_begun = std::collections::HashSet::new();
            while let Some(event) = events.recv().await {
                match event {
                    Event::Connected(_) => history.note(Record::Connected { gateway: 0 }),
                    Event::Reconnecting { .. } => history.note(Record::Parted),
                    Event::Subscribed { channel, mode, recovered, reason, .. } => {
                        let resumes = !has_begun.insert(channel.clone()) && reason.is_some();
                        history.note(Record::Subscribed { channel, mode, resumes, recovered, reason });
                    }
                    Event::Update(update) => history.note(Record::Update {
                        chain: Chain { channel: update.channel, key: update.key },
                        seq: update.seq,
                        prev: update.prev,
                        epoch: update.epoch.to_string(),
                        snapshot: update.snapshot,
                        number: number_of(update.data.get().as_bytes()),
                    }),
                    Event::Gap(gap) => match gap.announced {
                        Some(reason) => history.note(Record::Gap {
                            channel: gap.channel,
                            key: gap.key,
                            after: gap.after,
                            until: gap.until,
                            reason,
                        }),
                        None => history.note(Record::Note { text: format!("violation {}..{}", gap.after, gap.until) }),
                    },
                    other => history.note(Record::Note { text: format!("{other:?}").chars().take(200).collect() }),
                }
            }
        });
        Ok(LibraryClient { client, task: task.abort_handle() })
    }

    /// Gaps that no gateway announced, as the library has counted them.
    pub fn violations(&self) -> u64 {
        self.client.stats().violations
    }
}
