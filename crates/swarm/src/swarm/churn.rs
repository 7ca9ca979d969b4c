//! Clients that come and go, and clients that do not read.

use odin_protocol::message::{ClientMessage, RequestId};
use rand::RngExt as _;

use super::{Due, Swarm, micros};
use crate::{client::Phase, plan::Way};

/// How long a client is away that left by itself, at most, in microseconds.
const AWAY_US: u64 = 200_000;

impl Swarm {
    /// One client, if the one that was drawn is live, leaves and comes back, or begins a subscription anew.
    pub(super) fn churn(&mut self, now: u64) {
        let at = self.random.random_range(0..self.clients.len());
        let client = &mut self.clients[at];
        if client.phase != Phase::Live || client.is_stopped || client.renewing.is_some() {
            return;
        }
        if matches!(client.way, Way::Socket(_)) && self.random.random::<bool>() {
            let subs = client.ledger.subs();
            let channel = subs[self.random.random_range(0..subs.len())].channel;
            client.renewing = Some(channel);
            self.tally.resubscribed += 1;
            let channels = vec![self.news.names.name(channel).to_owned()];
            self.say(at, &ClientMessage::Unsubscribe { id: Some(RequestId::Number(2)), channels });
            return;
        }
        self.tally.churned += 1;
        self.say_goodbye(at);
        let wait = self.random.random_range(0..=AWAY_US);
        self.remind(now + wait, at as u32, Due::Connect);
    }

    /// It has ended: it begins anew.
    pub(super) fn unsubscribed(&mut self, at: usize, channel: u32) {
        let client = &mut self.clients[at];
        client.ledger.end(channel);
        if client.renewing == Some(channel) {
            client.renewing = None;
            self.subscribe_to(at, |sub| sub.channel == channel);
        }
    }

    pub(super) fn stop_reading(&mut self, at: usize, now: u64) {
        let client = &mut self.clients[at];
        client.is_stop_due = client.phase == Phase::Live;
        if client.is_stop_due {
            client.is_stopped = true;
            self.tally.slowed += 1;
            self.remind(now + micros(self.plan.slow.pause), at as u32, Due::Read);
        }
    }

    pub(super) fn read_again(&mut self, at: usize, now: u64) {
        self.remind(now + micros(self.plan.slow.every), at as u32, Due::Stop);
        if self.clients[at].is_stopped {
            (self.clients[at].is_stopped, self.clients[at].heard_us) = (false, now);
            // The socket said long ago that it has something.
            self.readable(at);
        }
    }
}
