//! Whether a connection that works goes on working: heartbeat, pings and the drain's deadline.

use std::time::Duration;

use odin_protocol::ConnectionStatus;
use tokio::time::Instant;

use crate::parting::Parting;

/// A connection is silent after so many heartbeats without any frame.
const SILENT_HEARTBEATS: u32 = 2;
/// Bounds of the heartbeat a gateway may name.
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
const MAX_HEARTBEAT: Duration = Duration::from_secs(600);
/// A draining gateway may be so much later than it said before the client leaves by itself.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Smallest and largest request made, in bytes, whatever the gateway says it reads.
const MIN_REQUEST_BYTES: u64 = 1_024;
const MAX_REQUEST_BYTES: u64 = 32 * 1_024;

/// See the module. It begins with the gateway's hello.
#[derive(Debug)]
pub(super) struct Link {
    since: Instant,
    heartbeat: Duration,
    ping_interval: Option<Duration>,
    /// When the last frame came.
    heard: Instant,
    /// The ping that is not answered yet.
    ping: Option<(u64, Instant)>,
    next_ping: Option<Instant>,
    /// Leave a draining gateway by then.
    leave_at: Option<Instant>,
    /// Largest message the gateway reads.
    pub(super) max_message_bytes: u64,
    /// Largest request to make.
    pub(super) max_request_bytes: usize,
}

/// What time asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// To be sent, and told by [`Link::pinged`].
    Ping,
    Leave(Parting),
}

impl Link {
    pub(super) fn new(now: Instant, status: &ConnectionStatus, ping_interval: Option<Duration>) -> Self {
        let request_bytes = status.max_message_bytes.clamp(MIN_REQUEST_BYTES, MAX_REQUEST_BYTES);
        Link {
            since: now,
            heartbeat: Duration::from_millis(status.heartbeat_ms).clamp(MIN_HEARTBEAT, MAX_HEARTBEAT),
            ping_interval,
            heard: now,
            ping: None,
            next_ping: ping_interval.map(|_| now),
            leave_at: None,
            max_message_bytes: status.max_message_bytes,
            max_request_bytes: usize::try_from(request_bytes).expect("bounded by a constant"),
        }
    }

    /// How long it has lived.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// A frame of any kind came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// When [`Link::due`] next asks for something.
    pub(super) fn deadline(&self) -> Instant {
        let silent = self.heard + self.heartbeat * SILENT_HEARTBEATS;
        [self.ping_at(), self.leave_at].into_iter().flatten().fold(silent, Instant::min)
    }

    /// The next ping: at its pace, and at the latest when a heartbeat was missed.
    fn ping_at(&self) -> Option<Instant> {
        if self.ping.is_some() {
            return None;
        }
        let missed = self.heard + self.heartbeat * 3 / 2;
        Some(self.next_ping.map_or(missed, |next| next.min(missed)))
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        let silence = self.heartbeat * SILENT_HEARTBEATS;
        if now >= self.heard + silence {
            return Due::Leave(Parting::Silent { silence });
        }
        if self.leave_at.is_some_and(|at| now >= at) {
            return Due::Leave(Parting::Drained);
        }
        if self.ping_at().is_some_and(|at| now >= at) {
            return Due::Ping;
        }
        Due::Nothing
    }

    pub(super) fn pinged(&mut self, now: Instant, id: u64) {
        self.ping = Some((id, now));
        self.next_ping = self.ping_interval.map(|interval| now + interval);
    }

    /// The answer to a ping came: the round trip, if it is the one that is waited for.
    pub(super) fn answered(&mut self, now: Instant, id: u64) -> Option<Duration> {
        let (_, sent) = self.ping.take_if(|(asked, _)| *asked == id)?;
        Some(now.saturating_duration_since(sent))
    }

    /// The gateway closes the connection within this time.
    pub(super) fn draining(&mut self, now: Instant, within: Duration) {
        self.leave_at = now.checked_add(within.saturating_add(DRAIN_GRACE));
    }
}
