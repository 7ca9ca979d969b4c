//! The clock of a shard: pings, limits in time, and feeds that nobody uses any more.
//!
//! No connection has a timer. Each second every slot is visited once, a tenth of them in each tick.

use std::time::Duration;

use odin_protocol::close::CloseCode;

use super::{Shard, TICKS_PER_S, connection::Written, stream::Stream};
use crate::{bus::Command, metrics::CloseReason};

impl Shard {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        let phase = (self.ticks % TICKS_PER_S) as usize;
        for slot in (phase..self.slots_end).step_by(TICKS_PER_S as usize) {
            self.guarded(slot, |shard| shard.visit(slot));
        }
        self.depart();
        if phase == 0 {
            self.find_silence();
        }
        self.drop_unused_feeds();
        self.metrics.feeds.set(self.feeds.len() as u64);
        self.metrics.ring_bytes.set(self.ring_bytes as u64);
        self.pages.sweep(self.ticks);
        self.metrics.page_bytes.set(self.pages.bytes() as u64);
    }

    /// Looks after one connection; called once a second.
    fn visit(&mut self, slot: usize) {
        let (now_s, lived_s) = (self.now_s(), self.lived_s());
        let heartbeat = &self.config.heartbeat;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if matches!(connection.stream, Stream::Pipe(_)) {
            return self.visit_question(slot);
        }
        connection.pings = 0;
        if let Some(closing) = connection.closing {
            if now_s >= closing.until_s {
                self.remove(slot, closing.reason);
            }
            return;
        }
        let is_waiting = connection.outbox.as_mut().filter(|outbox| outbox.is_waiting).is_some_and(|outbox| {
            outbox.progress_s = now_s;
            true
        });
        let stuck_s = connection.outbox.as_ref().map_or(0, |outbox| now_s - outbox.progress_s);
        if u64::from(stuck_s) >= heartbeat.not_reading_timeout.as_secs() {
            self.close(slot, CloseCode::NotReading, CloseReason::NotReading);
        } else if connection.format.is_two_way() && u64::from(now_s - connection.heard_s) >= heartbeat.timeout.as_secs()
        {
            self.close(slot, CloseCode::HeartbeatTimeout, CloseReason::HeartbeatTimeout);
        } else if connection.subscriptions.is_empty()
            && u64::from(now_s - connection.unsubscribed_s) >= heartbeat.idle_timeout.as_secs()
        {
            self.close(slot, CloseCode::Idle, CloseReason::Idle);
        } else if lived_s >= connection.look_s {
            self.look_at_token(slot);
        } else {
            // Each slot has its own second within the interval, so that nothing comes as a wave.
            let second = u64::from(now_s) + slot as u64;
            let is_due = |interval: Duration| second.is_multiple_of(interval.as_secs().max(1));
            let pings = is_due(heartbeat.interval);
            // An event stream has no other way to tell where it stands.
            let checks = is_due(self.config.feeds.checkpoint_interval) || !connection.format.is_two_way();
            if (pings || checks) && connection.is_between_frames() {
                self.speak(slot, pings);
            }
            if is_waiting {
                self.catch_up(slot);
            }
            return;
        }
        self.catch_up(slot);
    }

    /// A ping, and the connection's position, in one write. Who can write the position from its last
    /// update hears of it with the pings only: it matters when the channel is quiet for long.
    fn speak(&mut self, slot: usize, pings: bool) {
        let mut bytes = Vec::with_capacity(96);
        let format = self.connections[slot].format;
        if pings {
            format.append_ping(&mut bytes);
        }
        let needs_checkpoints = self.needs_checkpoints(slot);
        let is_two_way = format.is_two_way();
        if pings || needs_checkpoints || !is_two_way {
            // As long as it has been since the last one.
            let period = match needs_checkpoints {
                _ if !is_two_way => Duration::from_secs(1),
                true => self.config.feeds.checkpoint_interval,
                false => self.config.heartbeat.interval,
            };
            bytes.extend(self.checkpoint(slot, period).iter().flatten());
        }
        if bytes.is_empty() {
            return;
        }
        let mut writes = 0;
        let written = self.connections[slot].write(&bytes, &mut writes);
        self.metrics.writes.add(writes);
        match written {
            Written::All => {
                self.metrics.pings_out.add(u64::from(pings));
                self.metrics.bytes_out.of(format).add(bytes.len() as u64);
            }
            Written::Part(taken) => {
                let outbox = self.outbox(slot);
                outbox.answers.extend_from_slice(&bytes[taken..]);
                outbox.is_waiting = false;
            }
            Written::Gone => self.remove(slot, CloseReason::PeerGone),
        }
    }

    /// Leaves feeds that had no subscriber for the linger time.
    fn drop_unused_feeds(&mut self) {
        let linger = self.config.feeds.linger.as_millis() as u64 * TICKS_PER_S / 1000;
        while let Some(&id) = self.unused.front() {
            match self.feeds.get_mut(id).map(|feed| feed.unused_since) {
                Some(Some(since)) if self.ticks < since + linger => return,
                Some(Some(_)) => {
                    let command = Command::Leave { shard: self.index, feed: id };
                    if self.bus.try_send(command).is_err() {
                        // No room for the word: the feed stays until there is.
                        return;
                    }
                    self.forget_feed(id.slot);
                }
                // Used again, or gone.
                Some(None) | None => {}
            }
            self.unused.pop_front();
        }
    }
}
