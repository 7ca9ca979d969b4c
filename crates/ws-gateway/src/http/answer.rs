//! From what a shard wrote to what a client is answered: the messages, and where it stands after them.

use std::{borrow::Cow, collections::HashMap};

use odin_protocol::{
    Cursor, Epoch,
    channel::Channel,
    close::{CloseCode, Reconnect},
    error::ErrorCode,
    frame::Opcode,
    message::ErrorMessage,
};
use serde::Deserialize;

use super::{Refusal, asked::Asked, place::Place};
use crate::{
    question::{Answer, Reached, mark_of},
    shard::first_frame,
};

/// What is looked at of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: &'a str,
    #[serde(default, borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) seq: Option<u64>,
    #[serde(default)]
    ts: Option<i64>,
    #[serde(default)]
    pub(super) epoch: Option<Epoch>,
    #[serde(default)]
    until: Option<u64>,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default, borrow)]
    pub(super) reason: Option<Cow<'a, str>>,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) text: &'a str,
    pub(super) head: Head<'a>,
}

/// What a shard said.
#[derive(Debug)]
pub(super) struct Heard<'a> {
    messages: Vec<Message<'a>>,
    reached: &'a [Reached],
    /// It ended the conversation.
    close: Option<CloseCode>,
    is_late: bool,
}

impl Message<'_> {
    /// Whether it tells a polling client something: that a channel goes on where it was, it has asked for.
    fn is_told(&self) -> bool {
        match self.head.kind {
            "subscribed" => self.head.recovered != Some(true),
            "connection:status" | "authenticated" | "checkpoint" => false,
            _ => true,
        }
    }

    fn is_update(&self) -> bool {
        self.head.kind == "update"
    }

    /// Its place in the stream, if it is an update.
    fn cursor(&self) -> Option<Cursor> {
        let Head { epoch: Some(epoch), seq: Some(seq), ts: Some(ts_ms), .. } = self.head else {
            return None;
        };
        Some(Cursor { epoch, seq, ts_ms }).filter(|_| self.is_update())
    }

    /// The chain it is of, and up to which sequence that has been sent with it.
    fn chain(&self) -> Option<(u64, u64)> {
        let seq = if self.is_update() { self.head.seq } else { self.head.until.filter(|_| self.head.kind == "gap") }?;
        Some((mark_of(self.head.channel.as_deref()?, self.head.key.as_deref()), seq))
    }
}

impl<'a> Heard<'a> {
    pub(super) fn of(answer: &'a Answer) -> Self {
        let mut heard = Self { messages: Vec::new(), reached: &answer.reached, close: None, is_late: answer.is_late };
        let mut rest = &answer.frames[..];
        while let Some((opcode, payload, length)) = first_frame(rest) {
            rest = &rest[length..];
            if opcode == Opcode::Close as u8 {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                heard.close = code.and_then(CloseCode::from_u16);
            }
            let text = std::str::from_utf8(payload).ok().filter(|_| opcode == Opcode::Text as u8);
            let read = text.and_then(|text| Some(Message { text, head: serde_json::from_str(text).ok()? }));
            heard.messages.extend(read);
        }
        heard
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message<'a>> {
        self.messages.iter()
    }

    pub(super) fn updates(&self) -> impl Iterator<Item = &Message<'a>> {
        self.messages().filter(|message| message.is_update())
    }

    /// Forgets everything else.
    pub(super) fn keep_updates(&mut self) {
        self.messages.retain(Message::is_update);
    }

    /// Keeps so many updates at most. True: there were more.
    pub(super) fn cut(&mut self, updates: usize) -> bool {
        let mut left = updates;
        let end = self.messages.iter().position(|message| {
            message.is_update() && {
                left = left.wrapping_sub(1);
                left == usize::MAX
            }
        });
        self.messages.truncate(end.unwrap_or(usize::MAX));
        end.is_some() || self.reached.iter().any(|reached| !reached.is_at_head)
    }

    /// Why there is nothing to answer with but a refusal.
    ///
    /// # Errors
    /// The one channel, or every one of them, was refused; the conversation was ended; or nobody answered.
    pub(super) fn refused(&self) -> Result<(), Refusal> {
        let told = || self.messages.iter().filter(|message| message.is_told());
        if told().any(|message| message.head.kind != "error" && message.head.kind != "stale")
            || !self.reached.is_empty()
        {
            return Ok(());
        }
        if let Some(error) = told().find(|message| message.head.kind == "error") {
            let error: Result<ErrorMessage, _> = serde_json::from_str(error.text);
            return Err(
                error.map_or_else(|_| Refusal::of(ErrorCode::Internal, "cannot be told"), |e| Refusal::of_error(&e))
            );
        }
        match self.close {
            Some(CloseCode::Revoked | CloseCode::Unauthorized | CloseCode::TokenExpired) => {
                Err(Refusal::of(ErrorCode::AuthFailed, "the token is no longer valid"))
            }
            Some(code) if code.reconnect() == Reconnect::Never => {
                Err(Refusal::of(ErrorCode::Forbidden, "the gateway does not serve this user any more"))
            }
            _ if self.close.is_some() || self.is_late => {
                Err(Refusal::of(ErrorCode::Unavailable, "the stream cannot be reached at present"))
            }
            _ => Ok(()),
        }
    }

    /// Why a history could not begin where it was asked to.
    pub(super) fn resume_failure(&self) -> Option<&str> {
        let subscribed = self.messages.iter().find(|message| message.head.kind == "subscribed")?;
        subscribed.head.reason.as_deref()
    }

    /// `{"cursor":…,"messages":[…]` and `more`, if that is known.
    pub(super) fn body(&self, asked: &Asked, more: Option<bool>) -> String {
        let told: Vec<&str> =
            self.messages.iter().filter(|message| message.is_told()).map(|message| message.text).collect();
        let bytes: usize = told.iter().map(|text| text.len() + 1).sum();
        let mut body = String::with_capacity(bytes + 128);
        body.push_str(r#"{"cursor":""#);
        body.push_str(&self.cursor(asked));
        body.push_str(r#"","messages":["#);
        body.push_str(&told.join(","));
        body.push(']');
        if let Some(more) = more {
            body.push_str(if more { r#","more":true"# } else { r#","more":false"# });
        }
        body.push('}');
        body
    }

    /// Where the client stands: a place for each channel, or one for all if it is the same. Nothing in it needs to be
    /// escaped in JSON but what a client wrote, and that is only kept if it is a cursor.
    fn cursor(&self, asked: &Asked) -> String {
        let by_channel = self.by_channel(asked);
        let places = asked.channels.iter().zip(&asked.places).zip(by_channel).map(|((request, given), messages)| {
            let given = given.as_ref().filter(|place| place.cursor.parse::<Cursor>().is_ok());
            let reached = self.reached.iter().find(|reached| reached.channel == request.channel);
            let place = match reached {
                Some(reached) if reached.is_one_chain => place_of_chain(reached, given, &messages),
                Some(reached) => place_of_chains(reached, given, &messages),
                None => given.cloned(),
            };
            place.map(|place| place.to_string()).unwrap_or_default()
        });
        let mut places: Vec<String> = places.collect();
        if places.windows(2).all(|pair| pair[0] == pair[1]) {
            places.truncate(1);
        }
        places.join(",")
    }

    /// The messages of each channel that was asked for.
    fn by_channel(&self, asked: &Asked) -> Vec<Vec<&Message<'a>>> {
        let mut found: Vec<Vec<&Message>> = asked.channels.iter().map(|_| Vec::new()).collect();
        let exact: HashMap<&str, usize> =
            asked.channels.iter().enumerate().map(|(at, request)| (request.channel.as_str(), at)).collect();
        let patterns: Vec<(usize, Channel)> = asked
            .channels
            .iter()
            .enumerate()
            .filter_map(|(at, request)| Some((at, Channel::parse(&request.channel).ok().filter(Channel::is_pattern)?)))
            .collect();
        for message in &self.messages {
            let Some(channel) = message.head.channel.as_deref() else {
                continue;
            };
            if let Some(at) = exact.get(channel) {
                found[*at].push(message);
            }
            if patterns.is_empty() {
                continue;
            }
            if let Ok(channel) = Channel::parse(channel) {
                for (at, _) in patterns.iter().filter(|(_, pattern)| pattern.matches(&channel)) {
                    found[*at].push(message);
                }
            }
        }
        found
    }
}

/// One chain: the last update is a position. A proven one may be further: of a channel that was quiet, or behind a gap.
fn place_of_chain(reached: &Reached, given: Option<&Place>, messages: &[&Message<'_>]) -> Option<Place> {
    let given = given.and_then(|place| place.cursor.parse().ok());
    let last = messages.iter().rev().find_map(|message| message.cursor());
    let proven = reached.position.filter(|_| reached.is_at_head);
    // A new stream makes everything of the old one worthless.
    let epoch = last.or(proven).or(given)?.epoch;
    let best = [given, last, proven].into_iter().flatten().filter(|cursor| cursor.epoch == epoch);
    best.max_by_key(|cursor| cursor.seq).map(|cursor| Place::new(cursor, []))
}

/// Several chains: the proven position, and what is known of each chain beyond it.
fn place_of_chains(reached: &Reached, given: Option<&Place>, messages: &[&Message<'_>]) -> Option<Place> {
    let given_cursor: Option<Cursor> = given.and_then(|place| place.cursor.parse().ok());
    let epoch = messages.iter().rev().find_map(|message| message.cursor()).map(|cursor| cursor.epoch);
    let proven = reached.position.filter(|position| epoch.is_none_or(|epoch| epoch == position.epoch));
    let given_cursor = given_cursor.filter(|cursor| epoch.is_none_or(|epoch| epoch == cursor.epoch));
    let base = match (proven, given_cursor) {
        (Some(proven), Some(given)) if proven.epoch == given.epoch && given.seq > proven.seq => given,
        (Some(proven), _) => proven,
        (None, given) => given?,
    };
    let mut chains: HashMap<u64, u64> = HashMap::new();
    if given_cursor.is_some_and(|given| given.epoch == base.epoch) {
        chains.extend(given.into_iter().flat_map(|place| place.chains.iter().copied()));
    }
    for (mark, seq) in messages.iter().filter_map(|message| message.chain()) {
        let last = chains.entry(mark).or_default();
        *last = seq.max(*last);
    }
    Some(Place::new(base, chains))
}
