//! Who is on a shard: connections come and go, and with them their places in the lists of feeds.

use mio::{Interest, Token};
use odin_protocol::close::CloseCode;

use super::{
    READ_BYTES, Shard,
    acceptor::Arrival,
    connection::{Connection, Rates, UNTOUCHED},
    stream::Stream,
    subscription::{COVERED, Subscription, WAITING},
};
use crate::{
    format::Format,
    guest::Guest,
    metrics::{CloseReason, Settlement},
};

impl Shard {
    /// Takes over a connection whose handshake is done.
    pub(super) fn adopt(&mut self, arrival: Arrival) {
        let Arrival { socket, format, head, message, mut early, guest } = arrival;
        let mut stream = Stream::from(socket);
        let slot = self.connections.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(source) = stream.source()
            && let Err(error) = self.poll.get_ref().registry().register(source, Token(slot), interest)
        {
            tracing::warn!(%error, "cannot watch a new connection");
            return;
        }
        self.insert(stream, format, guest);
        self.metrics.connections_opened.add(1);
        if !cfg!(feature = "echo") {
            self.outbox(slot).answers = head;
            self.welcome(slot);
            self.connections[slot].look_s = self.next_look(slot);
            let is_revoked = |user| self.shared.revocations.cover(user);
            if self.connections[slot].guest.identity.user().is_some_and(|user| is_revoked(user)) {
                // Between the handshake and now.
                self.close(slot, CloseCode::Revoked, CloseReason::Revoked);
            } else if let Some(message) = message {
                self.act(slot, *message);
            }
        }
        if let Some(departures) = &mut self.departures {
            departures.add(slot as u32);
        }
        // Frames that came in the same packet as the request.
        if !early.is_empty() {
            self.receive(slot, &mut early);
        }
        self.catch_up(slot);
        // What TLS has read of the socket already no event tells of.
        if self.connections.get(slot).is_some_and(|connection| !connection.stream.is_drained(0, READ_BYTES)) {
            self.again.push(slot as u32);
        }
    }

    /// Puts a connection into the first free slot.
    pub(super) fn insert(&mut self, stream: Stream, format: Format, guest: Box<Guest>) {
        self.serial += 1;
        let now_s = self.now_s();
        let is_user = guest.identity.user().is_some();
        let slot = self.connections.insert(Connection {
            stream,
            touched: UNTOUCHED,
            serial: self.serial,
            decoder: odin_protocol::frame::Decoder::default(),
            subscriptions: Vec::new(),
            outbox: None,
            closing: None,
            heard_s: now_s,
            unsubscribed_s: now_s,
            opened_s: self.lived_s(),
            look_s: u32::MAX,
            rates: Rates::default(),
            pings: 0,
            publishing: 0,
            is_checking: false,
            was_warned: false,
            strikes: 0,
            format,
            guest,
        });
        self.slots_end = self.slots_end.max(slot + 1);
        self.count();
        if is_user {
            self.metrics.users.add(1);
        }
    }

    /// Questions are no connections: each comes by one that HTTP has.
    fn count(&self) {
        let questions = self.metrics.questions_waiting.get();
        self.metrics.connections.set((self.connections.len() as u64).saturating_sub(questions));
    }

    /// Writes what the socket had no room for, where that is not in the outbox.
    pub(super) fn flush(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.stream.flush().is_err()
        {
            self.remove(slot, CloseReason::PeerGone);
        }
    }

    /// Forgets a connection: its socket is closed here.
    pub(super) fn remove(&mut self, slot: usize, reason: CloseReason) {
        let Some(mut connection) = self.connections.try_remove(slot) else {
            return;
        };
        let reason = connection.closing.map_or(reason, |closing| closing.reason);
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        for (at, subscription) in subscriptions.iter().enumerate() {
            if let Some(outbox) = &connection.outbox {
                self.settle_rest(*subscription, &outbox.cursors[at], Settlement::Left);
            }
            self.leave(slot, *subscription, connection.format);
        }
        if connection.outbox.is_some() {
            self.metrics.behind.sub(1);
        }
        if connection.guest.identity.user().is_some() {
            self.metrics.users.sub(1);
        }
        self.metrics.subscriptions.sub(subscriptions.len() as u64);
        if matches!(connection.stream, Stream::Pipe(_)) {
            self.metrics.questions_waiting.sub(1);
        } else {
            self.metrics.connections_closed.of(reason).add(1);
        }
        self.count();
    }

    /// Forgets a feed and what its ring held.
    pub(super) fn forget_feed(&mut self, slot: u32) {
        if let Some(feed) = self.feeds.remove(slot) {
            self.ring_bytes -= feed.ring.bytes();
            self.again.extend(self.pages.forget(feed.id));
        }
    }

    /// Takes a connection out of a feed's list and puts the list's last one in its place.
    pub(super) fn leave(&mut self, slot: usize, subscription: Subscription, format: Format) {
        let feed = self.feeds.at_mut(subscription.feed);
        if subscription.index == WAITING {
            feed.waiting.retain(|waiting| waiting.slot as usize != slot);
        } else if subscription.index == COVERED {
            feed.covered -= 1;
        } else {
            let list = &mut feed.subscribers[format.index()];
            list.swap_remove(subscription.index as usize);
            if let Some(&moved) = list.get(subscription.index as usize) {
                let moved = &mut self.connections[moved as usize];
                let at = moved.find(subscription.feed).expect("listed, so subscribed");
                moved.subscriptions[at].index = subscription.index;
            }
        }
        if feed.is_unused() {
            feed.unused_since = Some(self.ticks);
            self.unused.push_back(feed.id);
        }
    }
}
