//! The end of a connection, and when to come back.

use std::time::Duration;

use odin_client::Parting;
use odin_protocol::{CloseCode, Reconnect, frame::Opcode};

use super::{Due, Swarm, micros};
use crate::{client::Phase, frame, plan::Way, tally::count};

/// A connection that lasted for so long makes the next wait a short one.
const STABLE_US: u64 = 30_000_000;

impl Swarm {
    /// The connection is over without our doing.
    pub(super) fn part(&mut self, at: usize, parting: Parting) {
        let now = self.clock.now_us();
        let client = &mut self.clients[at];
        if matches!(client.phase, Phase::Away | Phase::Ended) {
            return;
        }
        let was_connected = matches!(client.phase, Phase::SigningIn | Phase::Subscribing | Phase::Live);
        if was_connected {
            self.tally.drops += 1;
            self.lost += 1;
            let how = match &parting {
                Parting::Closed { code: Some(code), .. } => code.to_string(),
                Parting::Closed { code: None, .. } => "no code".to_owned(),
                Parting::Silent { .. } => "silent".to_owned(),
                Parting::Timeout { .. } => "no answer".to_owned(),
                Parting::Broken { cause } => cause.clone(),
                Parting::Status { status, .. } => format!("status {status}"),
                other => other.to_string(),
            };
            count(&mut self.tally.closes, how);
            if client.lost_us == 0 {
                client.lost_us = now;
            }
        } else if let Parting::Timeout { .. } = parting {
            count(&mut self.tally.failed, "no answer");
        }
        if client.phase == Phase::Live && now - client.live_us > STABLE_US {
            client.backoff.reset();
        }
        self.leave(at);
        let client = &mut self.clients[at];
        // Another gateway, if there is one: this one has not been good.
        client.target = client.target.wrapping_add(1);
        let is_idle = parting.close_code() == Some(CloseCode::Idle.code());
        match parting.reconnect() {
            // Whoever has nothing to subscribe does not come here.
            Reconnect::Never if !is_idle => {
                client.phase = Phase::Ended;
                self.tally.ended += 1;
                return;
            }
            Reconnect::Later => client.backoff.be_patient(),
            _ => {}
        }
        let wait = parting.retry_after() + client.backoff.draw(&mut self.random);
        self.remind(now + micros(wait), at as u32, Due::Connect);
    }

    /// Lets go of the socket.
    pub(super) fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.phase == Phase::Live {
            self.live -= 1;
        }
        client.phase = Phase::Away;
        // Closed by being dropped, and with it forgotten by epoll.
        client.stream = None;
        (client.inbox, client.outbox) = (Vec::new(), Vec::new());
        // A poll that goes on is not told so again.
        if client.way != Way::Poll {
            client.ledger.disconnect();
        }
        client.is_stopped = false;
    }

    /// What no gateway should send.
    pub(super) fn fault(&mut self, at: usize, what: &str) {
        count(&mut self.tally.faults, what);
        self.part(at, Parting::Protocol { cause: what.to_owned() });
    }

    /// Refused by a status.
    pub(super) fn refused(&mut self, at: usize, status: u16, retry_after: Option<Duration>) {
        count(&mut self.tally.refused, status);
        self.part(at, Parting::Status { status, retry_after });
    }

    /// The client leaves by itself, as churn or at the end.
    pub(super) fn say_goodbye(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let (Way::Socket(_), Phase::Live | Phase::Subscribing | Phase::SigningIn) = (client.way, client.phase) {
            frame::put(Opcode::Close, &CloseCode::Normal.code().to_be_bytes(), &mut client.outbox);
            self.flush(at);
        }
        self.leave(at);
    }
}
