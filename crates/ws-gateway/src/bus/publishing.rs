//! What clients publish: stored by the stream, and acknowledged through the queue of the shard it came from.

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::FutureExt;
use odin_protocol::Epoch;

use super::{Bus, pulse::is_connected, reads::Done};
use crate::{queue::Item, shard::Ticket};

/// Publications of clients on their way to the stream, of this gateway.
const UNDER_WAY: usize = 1_024;

/// Names the user who published, for whoever reads the stream.
const SENDER_HEADER: &str = "Odin-Sender";

impl Bus {
    /// Publishes for a client. Not repeated: a client that wants to be sure asks the stream what became of it.
    pub(super) fn publish_for(
        &mut self,
        (shard, ticket): (u32, Ticket),
        subject: String,
        payload: Bytes,
        sender: Option<String>,
    ) {
        let Some(epoch) = self.epoch.filter(|_| is_connected(&self.reader) && self.publishing < UNDER_WAY) else {
            self.published(shard, ticket, None);
            return;
        };
        self.publishing += 1;
        let mut message = PublishMessage::build().payload(payload);
        // A header is one line of text; a user whose name is not goes without.
        if let Some(sender) = sender.filter(|sender| sender.bytes().all(|byte| (0x20..0x7F).contains(&byte))) {
            message = message.header(SENDER_HEADER, sender.as_str());
        }
        let (context, limit) = (self.context.clone(), self.config.nats.request_timeout);
        let stored = async move {
            let acknowledged = async { context.send_publish(subject, message).await?.await };
            let seq = match tokio::time::timeout(limit, acknowledged).await {
                Ok(Ok(ack)) => Some(ack.sequence),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a client's publication was not stored");
                    None
                }
                Err(_) => None,
            };
            Done::Published { shard, ticket, stored: seq.map(|seq| (seq, epoch)) }
        };
        self.reads.push(stored.boxed());
    }

    pub(super) fn on_published(&mut self, shard: u32, ticket: Ticket, stored: Option<(u64, Epoch)>) {
        self.publishing -= 1;
        self.published(shard, ticket, stored);
    }

    fn published(&mut self, shard: u32, ticket: Ticket, stored: Option<(u64, Epoch)>) {
        self.out[shard as usize].push(Item::Published { ticket, stored });
    }
}
