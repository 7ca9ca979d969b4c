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
    #[serde(default, borrow)]
    cursor: Option<Cow<'a, str>>,
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
    /// The lowest sequence of what was left out of the messages.
    left_out: u64,
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

    /// Whether a subscription begins with a snapshot here.
    fn begins(&self) -> bool {
        self.head.recovered == Some(false)
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
        let Answer { reached, is_late, .. } = answer;
        let mut heard = Self { messages: Vec::new(), reached, close: None, is_late: *is_late, left_out: u64::MAX };
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

    /// Brings everything into the order of the stream, in which chains are not among each other.
    pub(super) fn sort(&mut self) {
        self.messages.sort_by_key(|message| message.chain().map_or(0, |(_, seq)| seq));
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
        let cut = self.messages.split_off(end.unwrap_or(self.messages.len()));
        let sequences = cut.iter().filter_map(|message| message.chain()).map(|(_, seq)| seq);
        self.left_out = sequences.min().unwrap_or(u64::MAX);
        end.is_some() || self.is_in_part()
    }

    /// Whether something is missing that did not fit.
    pub(super) fn is_in_part(&self) -> bool {
        self.reached.iter().any(|reached| !reached.is_at_head)
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
        let begun = self.begun(asked);
        let by_channel = self.by_channel(asked, &begun);
        let mut sent: Vec<Cursor> = self.messages.iter().filter_map(Message::cursor).collect();
        sent.sort_unstable_by_key(|cursor| cursor.seq);
        let both = asked.channels.iter().zip(&asked.places);
        let places = both.zip(begun).zip(by_channel).map(|(((request, given), begun), messages)| {
            let given = given.clone().filter(|place| place.cursor.parse::<Cursor>().is_ok());
            let Some(reached) = self.reached.iter().find(|reached| reached.channel == request.channel) else {
                return given.unwrap_or_default();
            };
            // One that began anew has nothing to do with what was before.
            let given = given.filter(|_| begun.is_none());
            // Where a history was found to begin.
            let begins =
                || messages.iter().find(|message| message.head.recovered == Some(true))?.head.cursor.as_deref();
            let given = given.or_else(|| begins().map(Place::parse));
            self.place(reached, given.as_ref(), (&messages, &sent)).unwrap_or_default()
        });
        let mut places: Vec<String> = places.map(|place| place.to_string()).collect();
        if places.windows(2).all(|pair| pair[0] == pair[1]) {
            places.truncate(1);
        }
        places.join(",")
    }

    /// The best position that is known, and what came of each chain beyond it: out of the messages of the channel, and
    /// the places in the stream of all that was sent, in their order.
    fn place(
        &self,
        reached: &Reached,
        given: Option<&Place>,
        (messages, sent): (&[&Message<'_>], &[Cursor]),
    ) -> Option<Place> {
        let given_cursor: Option<Cursor> = given.and_then(|place| place.cursor.parse().ok());
        let last = messages.iter().rev().find_map(|message| message.cursor());
        // A new stream makes everything of the old one worthless.
        let epoch = last.map(|last| last.epoch).or(reached.epoch).or(given_cursor.map(|given| given.epoch))?;
        let complete = reached.complete.min(self.left_out.saturating_sub(1));
        let position = reached.position.filter(|position| position.seq <= complete);
        // Of one chain each update is a position, and the last one the best that has a time. A proven one may be further:
        // of a channel that was quiet, or behind a gap.
        let own = messages.iter().filter(|_| reached.is_one_chain).filter_map(|message| message.cursor());
        // A proven one of the stream is what every gateway knows without asking; but an answer that is full must come
        // further than it began, and a channel as far as the pattern that brings it.
        let is_whole = reached.is_at_head && self.left_out == u64::MAX && position.is_some();
        let proven = sent[..sent.partition_point(|cursor| cursor.seq <= complete)].iter().rev();
        let proven = proven.copied().find(|cursor| cursor.epoch == epoch).filter(|_| !is_whole);
        let positions = own.chain(proven).chain(position).chain(given_cursor);
        let best = positions.filter(|cursor| cursor.epoch == epoch).max_by_key(|cursor| cursor.seq);
        // Nothing was there: it goes on at the beginning of the stream.
        let base = best.unwrap_or(Cursor { epoch, seq: 0, ts_ms: 0 });
        if reached.is_one_chain {
            return Some(Place::new(base, []));
        }
        let mut chains: HashMap<u64, u64> = HashMap::new();
        if given_cursor.is_some_and(|given| given.epoch == epoch) {
            chains.extend(given.into_iter().flat_map(|place| place.chains.iter().copied()));
        }
        for (mark, seq) in messages.iter().filter_map(|message| message.chain()) {
            let last = chains.entry(mark).or_default();
            *last = seq.max(*last);
        }
        Some(Place::new(base, chains))
    }

    /// Which message begins each channel that was asked for anew, the last if there are several.
    fn begun(&self, asked: &Asked) -> Vec<Option<usize>> {
        let by_name = by_name(asked);
        let mut begun = vec![None; asked.channels.len()];
        for (index, message) in self.messages.iter().enumerate().filter(|(_, message)| message.begins()) {
            if let Some(at) = message.head.channel.as_deref().and_then(|channel| by_name.get(channel)) {
                begun[*at] = Some(index);
            }
        }
        begun
    }

    /// The messages of each channel that was asked for, from where it or another that carries them began: a pattern may
    /// have brought what one of its channels begins with, and the other way round.
    fn by_channel(&self, asked: &Asked, begun: &[Option<usize>]) -> Vec<Vec<&Message<'a>>> {
        let mut found: Vec<Vec<&Message>> = asked.channels.iter().map(|_| Vec::new()).collect();
        let by_name = by_name(asked);
        let patterns: Vec<(usize, Channel)> = asked
            .channels
            .iter()
            .enumerate()
            .filter_map(|(at, request)| Some((at, Channel::parse(&request.channel).ok().filter(Channel::is_pattern)?)))
            .collect();
        for (index, message) in self.messages.iter().enumerate() {
            let Some(channel) = message.head.channel.as_deref() else {
                continue;
            };
            let parsed = if patterns.is_empty() { None } else { Channel::parse(channel).ok() };
            let matching = patterns.iter().filter(|(_, pattern)| parsed.as_ref().is_some_and(|c| pattern.matches(c)));
            let concerned: Vec<usize> =
                by_name.get(channel).copied().into_iter().chain(matching.map(|(at, _)| *at)).collect();
            if concerned.iter().any(|at| begun[*at].is_none_or(|begun| begun <= index)) {
                concerned.iter().for_each(|at| found[*at].push(message));
            }
        }
        found
    }
}

/// Where each channel was asked for first.
fn by_name(asked: &Asked) -> HashMap<&str, usize> {
    let channels = asked.channels.iter().enumerate().rev();
    channels.map(|(at, request)| (request.channel.as_str(), at)).collect()
}

#[cfg(test)]
mod tests;
