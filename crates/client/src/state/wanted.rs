//! What the application wants to be subscribed to, and how far each wish has come on this connection.

use std::collections::{BTreeMap, VecDeque};

use odin_protocol::{Channel, ChannelRequest, ClientMessage, Mode, RequestId};
use tokio::time::Instant;

use crate::{backoff::Backoff, options::Subscription};

/// Most channels of one message: well below the 500 a gateway takes.
const MAX_CHANNELS_PER_MESSAGE: usize = 200;
/// What an entry needs beside its channel and cursor, in bytes, in the longer codec.
const ENTRY_BYTES: usize = 48;
/// What a message needs beside its entries, in bytes.
const MESSAGE_BYTES: usize = 64;

/// How far one wish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To be asked for.
    Due,
    /// Asked for under this id.
    Asked(u64),
    /// Confirmed.
    Active,
    /// Refused for now: to be asked for again then.
    Later(Instant),
}

/// What a `subscribed` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The answer to the last request.
    Answer {
        /// The cursor the application had given, the first time.
        since: Option<String>,
    },
    /// The gateway began the subscription anew by itself.
    Anew,
    /// Of no meaning here.
    Nothing,
}

#[derive(Debug)]
struct Wish {
    mode: Option<Mode>,
    since: Option<String>,
    step: Step,
    retry: Backoff,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    wishes: BTreeMap<Channel, Wish>,
    /// Channels that were made due, oldest first; some may not be any more.
    due: VecDeque<Channel>,
    /// Wishes in [`Step::Later`]: nearly always none.
    later: usize,
    retry: Backoff,
}

impl Wanted {
    /// `retry`: waits before a request that was refused for now is repeated.
    pub(super) fn new(retry: Backoff) -> Self {
        Wanted { retry, ..Wanted::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// Whether a subscription to the same channel exists, and its options are others.
    pub(super) fn differs(&self, Subscription { channel, mode, since }: &Subscription) -> bool {
        self.wishes.get(channel).is_some_and(|wish| wish.mode != *mode || since.is_some())
    }

    pub(super) fn contains(&self, channel: &Channel) -> bool {
        self.wishes.contains_key(channel)
    }

    /// Wishes for a subscription. One that exists is left alone.
    pub(super) fn add(&mut self, Subscription { channel, mode, since }: Subscription) {
        if self.wishes.contains_key(&channel) {
            return;
        }
        let wish = Wish { mode, since, step: Step::Due, retry: self.retry };
        self.due.push_back(channel.clone());
        self.put(channel, wish);
    }

    fn put(&mut self, channel: Channel, wish: Wish) {
        let before = self.wishes.insert(channel, wish);
        self.forget_later(before.as_ref());
    }

    fn forget_later(&mut self, before: Option<&Wish>) {
        if before.is_some_and(|wish| matches!(wish.step, Step::Later(_))) {
            self.later -= 1;
        }
    }

    /// Ends a wish; says whether it existed and whether the gateway was asked for it on this connection.
    pub(super) fn remove(&mut self, channel: &Channel) -> Option<bool> {
        let wish = self.wishes.remove(channel);
        self.forget_later(wish.as_ref());
        wish.map(|wish| matches!(wish.step, Step::Asked(_) | Step::Active))
    }

    /// A new connection: everything is to be asked for.
    pub(super) fn start_over(&mut self) {
        self.due = self.wishes.keys().cloned().collect();
        self.later = 0;
        for wish in self.wishes.values_mut() {
            wish.step = Step::Due;
        }
    }

    /// Whether [`Wanted::request`] may have something to say.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next `subscribe`, as large as one message may be.
    ///
    /// `position` gives the cursor of a channel that was subscribed before.
    pub(super) fn request(
        &mut self,
        id: u64,
        max_bytes: usize,
        position: impl Fn(&Channel) -> Option<String>,
    ) -> Option<ClientMessage> {
        let mut channels = Vec::new();
        let mut bytes = MESSAGE_BYTES;
        while let Some(channel) = self.due.front() {
            let Some(wish) = self.wishes.get_mut(channel).filter(|wish| wish.step == Step::Due) else {
                self.due.pop_front();
                continue;
            };
            let since = position(channel).or_else(|| wish.since.clone());
            bytes += ENTRY_BYTES + channel.as_str().len() + since.as_ref().map_or(0, String::len);
            let is_full = bytes > max_bytes || channels.len() == MAX_CHANNELS_PER_MESSAGE;
            if is_full && !channels.is_empty() {
                break;
            }
            wish.step = Step::Asked(id);
            let channel = channel.as_str().to_owned();
            channels.push(ChannelRequest { channel, since, mode: wish.mode, unsupported: None });
            self.due.pop_front();
        }
        let id = Some(RequestId::Number(id));
        (!channels.is_empty()).then_some(ClientMessage::Subscribe { id, channels, since: None })
    }

    /// What a `subscribed` of the gateway is to the wish.
    pub(super) fn confirm(&mut self, channel: &Channel, id: Option<&RequestId>) -> Confirmed {
        let Some(wish) = self.wishes.get_mut(channel) else { return Confirmed::Nothing };
        match (wish.step, id) {
            (Step::Asked(asked), Some(RequestId::Number(id))) if *id == asked => {
                wish.step = Step::Active;
                wish.retry = self.retry;
                Confirmed::Answer { since: wish.since.take() }
            }
            (Step::Active, None) => Confirmed::Anew,
            // an answer to an earlier request, or one more of the same
            _ => Confirmed::Nothing,
        }
    }

    /// The channels a refusal is about: `channel`, or all that were asked for under `id`.
    pub(super) fn refused(&self, id: Option<u64>, channel: Option<&str>) -> Vec<Channel> {
        let Some(id) = id else { return Vec::new() };
        let is_asked = |wish: &Wish| wish.step == Step::Asked(id);
        match channel {
            Some(name) => {
                let found = self.wishes.get_key_value(name).filter(|(_, wish)| is_asked(wish));
                found.map(|(channel, _)| channel.clone()).into_iter().collect()
            }
            None => {
                let asked = self.wishes.iter().filter(|(_, wish)| is_asked(wish));
                asked.map(|(channel, _)| channel.clone()).collect()
            }
        }
    }

    /// Asks for it again at the time that `at` makes of its back-off.
    pub(super) fn postpone(&mut self, channel: &Channel, at: impl FnOnce(&mut Backoff) -> Instant) {
        if let Some(wish) = self.wishes.get_mut(channel) {
            let before = std::mem::replace(&mut wish.step, Step::Later(at(&mut wish.retry)));
            if !matches!(before, Step::Later(_)) {
                self.later += 1;
            }
        }
    }

    /// When the next postponed wish is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.later == 0 {
            return None;
        }
        let times = self.wishes.values().filter_map(|wish| match wish.step {
            Step::Later(at) => Some(at),
            _ => None,
        });
        times.min()
    }

    /// Makes postponed wishes due whose time has come.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.later == 0 {
            return;
        }
        for (channel, wish) in &mut self.wishes {
            if matches!(wish.step, Step::Later(at) if at <= now) {
                wish.step = Step::Due;
                self.later -= 1;
                self.due.push_back(channel.clone());
            }
        }
    }
}
