//! What a client may say, and what it is answered.

use std::time::Duration;

use odin_protocol::{
    channel::Channel,
    close::CloseCode,
    error::{ErrorCode, ResumeFailure},
    frame::{MAX_CONTROL_BYTES, Opcode, encode_frame},
    message::{ChannelRequest, ClientMessage, ConnectionStatus, ErrorMessage, Mode, RequestId, ServerMessage},
};

use super::{
    Shard,
    feed::Waiting,
    permission::{are_few, must_sign_in, topic},
    rate::Quota,
    resume::Beginning,
    stream::Stream,
    subscription::{Cursor, Subscription, WAITING},
};
use crate::{
    clock::now_ms,
    metrics::{CloseReason, Settlement},
    rules::{Refusal, Topic},
};

/// The first write is filled up to this size with unsolicited pongs, which clients ignore (RFC 6455
/// §5.5.3). A receiver takes the size of what it gets for the peer's segment size and acknowledges
/// at once when it has got more than that; while it still assumes the initial 536 bytes, every second
/// update costs an acknowledgement that this thread has to process. See docs/decisions.
const FIRST_WRITE_BYTES: usize = 1200;

/// Requests of one connection for one channel that are remembered until it is open.
const REQUESTS_WHILE_OPENING: usize = 4;

impl Shard {
    /// The first message of every connection.
    pub(super) fn welcome(&mut self, slot: usize) {
        let heartbeat = &self.config.heartbeat;
        let status = ServerMessage::Status(ConnectionStatus {
            status: ConnectionStatus::CONNECTED.into(),
            connection_id: self.connection_id(self.connections[slot].serial),
            heartbeat_ms: heartbeat.interval.as_millis() as u64,
            idle_timeout_ms: Some(heartbeat.idle_timeout.as_millis() as u64),
            connected_clients: self.shared.cluster.connections().max(self.totals.connected_clients()),
            max_message_bytes: self.config.limits.message_bytes as u64,
            epoch: None,
            server: Some(concat!("odin/", env!("CARGO_PKG_VERSION")).to_owned()),
        });
        self.answer(slot, &status);
        self.welcome_user(slot, None);
        if let Some(stale) = self.freshness.stale() {
            self.answer(slot, &stale);
        }
        if !self.connections[slot].format.is_two_way() {
            return;
        }
        let answers = &mut self.outbox(slot).answers;
        while answers.len() < FIRST_WRITE_BYTES {
            encode_frame(Opcode::Pong, &[b' '; MAX_CONTROL_BYTES], answers);
        }
    }

    /// Unique among all gateways of a cluster, and says nothing about the client.
    pub(super) fn connection_id(&self, serial: u64) -> String {
        format!("{:08x}-{}-{serial}", self.boot, self.index)
    }

    pub(super) fn answer(&mut self, slot: usize, message: &ServerMessage) {
        let format = self.connections[slot].format;
        format.append(message, &mut self.outbox(slot).answers);
    }

    pub(super) fn refuse(&mut self, slot: usize, error: ErrorMessage) {
        self.metrics.errors_sent.of(error.code).add(1);
        let (is_strike, is_rate) = (error.code.is_strike(), error.code == ErrorCode::RateLimited);
        self.answer(slot, &ServerMessage::Error(error));
        let connection = &mut self.connections[slot];
        if is_strike {
            connection.strikes = connection.strikes.saturating_add(1);
        }
        if u32::from(connection.strikes) > self.config.limits.strikes {
            let (code, reason) = if is_rate {
                (CloseCode::RateLimited, CloseReason::RateLimited)
            } else {
                (CloseCode::PolicyViolation, CloseReason::Policy)
            };
            self.close(slot, code, reason);
        }
    }

    pub(super) fn on_client_message(&mut self, slot: usize, data: &[u8]) {
        #[cfg(test)]
        super::tests::hit_fault(data);
        let codec = self.connections[slot].format.codec();
        let message = match ClientMessage::decode(codec, data) {
            Ok(message) => message,
            Err(error) => {
                self.refuse(slot, ErrorMessage::new(error.id, error.code, error.message));
                return;
            }
        };
        self.act(slot, message);
    }

    /// Does what a client wants, if it may want so much.
    pub(super) fn act(&mut self, slot: usize, message: ClientMessage) {
        if !self.may_say(slot, &message) {
            return;
        }
        match message {
            ClientMessage::Subscribe { id, channels, since } => self.subscribe_all(slot, id, channels, since),
            ClientMessage::Unsubscribe { id, channels } => {
                if self.are_too_many(slot, &id, channels.len()) {
                    return;
                }
                for channel in channels {
                    self.unsubscribe(slot, id.clone(), channel);
                }
            }
            ClientMessage::Ping { id } => {
                let pong = ServerMessage::Pong { id, ts: now_ms() };
                self.answer(slot, &pong);
            }
            ClientMessage::Auth { id, token } => self.sign_in(slot, id, &token),
            ClientMessage::Publish { id, channel, data } => self.publish(slot, id, &channel, data.get()),
        }
    }

    /// Whether a message is within the rates of its connection and its user; says so if it is not.
    fn may_say(&mut self, slot: usize, message: &ClientMessage) -> bool {
        let channels = match message {
            ClientMessage::Subscribe { channels, .. } => channels.len(),
            ClientMessage::Unsubscribe { channels, .. } => channels.len(),
            _ => 0,
        };
        let limits = &self.config.limits;
        let user = self.connections[slot].guest.identity.user();
        let per_second = |most| Quota { most, period: Duration::from_secs(1) };
        let own = user.and_then(|user| user.limits.messages_per_second);
        let messages = per_second(own.unwrap_or(limits.messages_per_second));
        let of_channels = per_second(limits.channels_per_second);
        let of_user = user.is_none_or(|user| self.current.borrow().rates.may_say(user));
        let now_us = self.now_us();
        let request = || message.id().cloned();
        let rates = &mut self.connections[slot].rates;
        if let Err(retry_ms) = rates.messages.take(1, messages, now_us) {
            self.refuse_rate(slot, request(), "messages in a second", messages.most, retry_ms);
            return false;
        }
        if channels > 0
            && let Err(retry_ms) = rates.channels.take(channels, of_channels, now_us)
        {
            self.refuse_rate(slot, request(), "channels in a second", of_channels.most, retry_ms);
            return false;
        }
        if !of_user {
            let most = self.config.limits.user_messages_per_second.unwrap_or_default();
            self.refuse_rate(slot, request(), "messages of all your connections in a second", most, 1_000);
            return false;
        }
        true
    }

    /// Says that a limit of so many was hit.
    pub(super) fn refuse_rate(
        &mut self,
        slot: usize,
        request: Option<RequestId>,
        of_what: &str,
        most: u32,
        retry_ms: u64,
    ) {
        let mut error = ErrorMessage::new(request, ErrorCode::RateLimited, format!("more than {most} {of_what}"));
        error.limit = Some(most.into());
        error.retry_after_ms = Some(retry_ms);
        self.refuse(slot, error);
    }

    /// Whether this connection is served at all.
    pub(super) fn must_sign_in(&self, slot: usize) -> Result<(), Refusal> {
        must_sign_in(&self.config, &self.connections[slot].guest.identity)
    }

    fn subscribe_all(
        &mut self,
        slot: usize,
        id: Option<RequestId>,
        channels: Vec<ChannelRequest>,
        since: Option<String>,
    ) {
        if self.are_too_many(slot, &id, channels.len()) {
            return;
        }
        self.connections[slot].subscriptions.reserve_exact(channels.len());
        for mut request in channels {
            request.since = request.since.or_else(|| since.clone());
            if self.connections.get(slot).is_none_or(|c| c.closing.is_some()) {
                return;
            }
            match self.topic(slot, &request) {
                Ok((topic, mode)) => self.subscribe(slot, id.clone(), topic, mode, request.since.map(Into::into)),
                Err(mut error) => {
                    error.id.clone_from(&id);
                    // A name that breaks the grammar is not sent back.
                    error.channel = Channel::parse(&request.channel).ok().map(|channel| channel.to_string());
                    self.refuse(slot, error);
                }
            }
        }
        self.connections[slot].subscriptions.shrink_to_fit();
    }

    /// Refuses a message that names more channels than allowed.
    fn are_too_many(&mut self, slot: usize, id: &Option<RequestId>, channels: usize) -> bool {
        let Err(mut error) = are_few(&self.config, channels) else {
            return false;
        };
        error.id.clone_from(id);
        self.refuse(slot, error);
        true
    }

    /// What a request stands for, if this client may have it.
    fn topic(&self, slot: usize, request: &ChannelRequest) -> Result<(Topic, Mode), ErrorMessage> {
        topic(&self.config, &self.connections[slot].guest.identity, request)
    }

    pub(super) fn subscribe(
        &mut self,
        slot: usize,
        id: Option<RequestId>,
        topic: Topic,
        mode: Mode,
        since: Option<Box<str>>,
    ) {
        let found = self.feeds.find(&topic);
        if let Some(feed) = found
            && let Some(at) = self.connections[slot].find(feed)
        {
            // Asked again: the same answer, and no second snapshot.
            if self.connections[slot].subscriptions[at].index != WAITING {
                self.say_subscribed(slot, id, feed, None);
                return;
            }
            let waiting = &mut self.feeds.at_mut(feed).waiting;
            if waiting.iter().filter(|waiting| waiting.slot as usize == slot).count() < REQUESTS_WHILE_OPENING {
                waiting.push(Waiting { slot: slot as u32, request: id, since, checking: None });
            } else {
                let text = "the channel is being opened, and was asked for often enough";
                let mut error = ErrorMessage::new(id, ErrorCode::RateLimited, text);
                error.channel = Some(topic.channel.to_string());
                self.refuse(slot, error);
            }
            return;
        }
        let own = self.connections[slot].guest.identity.user().and_then(|user| user.limits.subscriptions);
        let limit = own.map_or(self.config.limits.subscriptions_per_connection, |own| own as usize);
        if self.connections[slot].subscriptions.len() >= limit {
            let text = format!("the connection has {limit} subscriptions");
            let mut error = ErrorMessage::new(id, ErrorCode::TooManySubscriptions, text);
            error.channel = Some(topic.channel.to_string());
            error.limit = Some(limit as u64);
            self.refuse(slot, error);
            return;
        }
        let feed = match found {
            Some(feed) => feed,
            None => {
                let channel = topic.channel.to_string();
                let feed = self.feeds.insert(topic, self.config.feeds.ring_bytes).id;
                if !self.join(feed) {
                    self.forget_feed(feed.slot);
                    let mut error = ErrorMessage::new(id, ErrorCode::Unavailable, "too many feeds are being opened");
                    error.channel = Some(channel);
                    error.retry_after_ms = Some(1000);
                    self.refuse(slot, error);
                    return;
                }
                feed.slot
            }
        };
        self.metrics.subscriptions.add(1);
        let subscription = Subscription { feed, index: WAITING, mode };
        let connection = &mut self.connections[slot];
        connection.subscriptions.push(subscription);
        if let Some(outbox) = &mut connection.outbox {
            outbox.cursors.push(Cursor::fresh(self.feeds.at(feed), mode));
        }
        self.feeds.at_mut(feed).unused_since = None;
        if self.feeds.at(feed).epoch.is_some() {
            self.begin(slot, id, feed, since);
        } else {
            let waiting = Waiting { slot: slot as u32, request: id, since, checking: None };
            self.feeds.at_mut(feed).waiting.push(waiting);
        }
    }

    /// Puts a subscription into its feed's list, at its beginning.
    pub(super) fn list(&mut self, slot: usize, at: usize, beginning: Beginning) {
        let connection = &mut self.connections[slot];
        let Subscription { feed, mode, .. } = connection.subscriptions[at];
        let list = &mut self.feeds.at_mut(feed).subscribers[connection.format.index()];
        connection.subscriptions[at].index = u32::try_from(list.len()).expect("connections are counted in u32");
        list.push(slot as u32);
        let mode = self.mode_of(slot, &Subscription { feed, index: 0, mode });
        let cursor = self.beginning(feed, mode, beginning);
        self.outbox(slot).cursors[at] = cursor;
    }

    /// Answers a `subscribe`. Without a beginning the subscription had begun before.
    pub(super) fn say_subscribed(
        &mut self,
        slot: usize,
        id: Option<RequestId>,
        feed: u32,
        beginning: Option<Beginning>,
    ) {
        if let (Some(Beginning::Snapshot(why)), Stream::Pipe(pipe)) = (beginning, &mut self.connections[slot].stream) {
            let is_too_old = matches!(why, Some(ResumeFailure::CursorTooOld | ResumeFailure::ReplayLimit));
            pipe.begin_anew(self.feeds.at(feed).topic.channel.as_str(), is_too_old);
        }
        let connection = &self.connections[slot];
        let at = connection.find(feed).expect("subscribed before");
        let (recovered, reason, cursor) = match beginning {
            Some(Beginning::After(since)) => (true, None, Some(since.to_string())),
            Some(Beginning::Snapshot(reason)) => {
                let feed = self.feeds.at(feed);
                let position = self.freshness.position(feed.epoch, feed.verified);
                // A resume brings no snapshot, so whoever wants the newest has no position before it has come.
                let position = position.filter(|_| connection.subscriptions[at].mode == Mode::All);
                (false, reason, position.map(|position| position.to_string()))
            }
            None => (false, None, None),
        };
        let message = ServerMessage::Subscribed {
            id,
            channel: self.feeds.at(feed).topic.channel.to_string(),
            mode: connection.subscriptions[at].mode,
            recovered,
            reason,
            cursor,
        };
        self.answer(slot, &message);
    }

    fn unsubscribe(&mut self, slot: usize, id: Option<RequestId>, channel: String) {
        let parsed = match Channel::parse(&channel) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.refuse(slot, ErrorMessage::new(id, ErrorCode::InvalidChannel, error.to_string()));
                return;
            }
        };
        let feeds = &self.feeds;
        let mut subscriptions = self.connections[slot].subscriptions.iter();
        if let Some(found) = subscriptions.find(|subscription| feeds.at(subscription.feed).topic.channel == parsed) {
            self.end_subscription(slot, found.feed);
        }
        // Idempotent: whoever is not subscribed is told the same.
        let channel = parsed.to_string();
        self.answer(slot, &ServerMessage::Unsubscribed { id, channel });
    }

    /// Ends a subscription, without a word.
    pub(super) fn end_subscription(&mut self, slot: usize, feed: u32) {
        let Some(at) = self.connections[slot].find(feed) else {
            return;
        };
        let cursor = self.outbox(slot).cursors.remove(at);
        self.settle_rest(self.connections[slot].subscriptions[at], &cursor, Settlement::Left);
        let connection = &mut self.connections[slot];
        let subscription = connection.subscriptions.remove(at);
        if connection.subscriptions.is_empty() {
            connection.unsubscribed_s = (self.ticks / super::TICKS_PER_S) as u32;
        }
        let format = connection.format;
        self.metrics.subscriptions.sub(1);
        if subscription.is_listed() {
            self.uncover(slot, subscription.feed, cursor);
        }
        self.leave(slot, subscription, format);
    }
}
