//! What one client was sent, what is missing, and where it goes on: the rules of `docs/protocol.md`, kept small.
//!
//! A chain's rules are those of the client library ([`odin_client::chain`]), which the vectors hold to the protocol.
//! Which chain belongs to which subscription is kept here by number, because tens of thousands of clients share one
//! memory.

use std::collections::HashMap;

use odin_client::chain::{Chain, Verdict};
use odin_protocol::{
    Channel, Cursor, Mode, ResumeFailure, UpdateHead,
    message::{ChannelRequest, ClientMessage, RequestId},
};

use crate::{channels::Names, news::Head};

/// Most chains of one client's patterns.
const MAX_CHAINS: usize = 65_536;

/// Channels of one message, the protocol's default limit.
pub const CHANNELS_PER_MESSAGE: usize = 500;

/// What an update is to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The next one.
    Next,
    /// The next one, after some that were merged into it.
    Merged,
    /// Some before it are missing, and nobody said so.
    Lost,
    /// It came before, as it may after a resume.
    Overlap,
    /// The last one of its chain, again.
    Twice,
    /// Older than one that has come.
    Reordered,
    /// Of a channel nobody asked for.
    Stray,
}

/// One chain and the newest sequence accounted for.
#[derive(Clone, Copy, Debug)]
struct Link {
    chain: Chain,
    last: u64,
}

/// By channel and key. Most clients have none.
type Wide = HashMap<(u32, Option<u32>), Link>;

/// One subscription.
#[derive(Clone, Debug)]
pub struct Sub {
    /// Its channel.
    pub channel: u32,
    mode: Mode,
    is_pattern: bool,
    is_confirmed: bool,
    /// Refused: not asked for again by itself, and owed nothing.
    pub is_refused: bool,
    link: Option<Link>,
    /// The last position the gateway named.
    position: Option<Cursor>,
}

impl Sub {
    /// The newest sequence that is accounted for; `None` if nothing has come, or the subscription has several chains.
    pub fn last(&self) -> Option<u64> {
        self.link.filter(|_| self.is_confirmed && !self.is_refused).map(|link| link.last)
    }

    /// Whether the gateway has confirmed it, and it has one chain.
    pub fn is_owed(&self) -> bool {
        self.is_confirmed && !self.is_refused && !self.is_pattern
    }

    fn since(&self, is_wide: bool) -> Option<Cursor> {
        let last = self.link.and_then(|link| link.chain.position()).filter(|_| !is_wide);
        last.or(self.position)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Ledger {
    subs: Box<[Sub]>,
    /// Chains of patterns, and of channels whose updates have keys.
    wide: Option<Box<Wide>>,
    /// The stream changed its epoch so often.
    pub epochs: u32,
}

impl Ledger {
    /// Of a client that wants these channels.
    ///
    /// # Panics
    /// On a number that is not of `names`.
    pub fn new(mut channels: Vec<u32>, names: &Names) -> Ledger {
        channels.sort_unstable();
        let sub = |channel: u32| Sub {
            channel,
            mode: Mode::Latest,
            is_pattern: names.name(channel).ends_with('*'),
            is_confirmed: false,
            is_refused: false,
            link: None,
            position: None,
        };
        Ledger { subs: channels.into_iter().map(sub).collect(), wide: None, epochs: 0 }
    }

    /// The subscriptions.
    pub fn subs(&self) -> &[Sub] {
        &self.subs
    }

    /// The one of a channel.
    pub fn sub_mut(&mut self, channel: u32) -> Option<&mut Sub> {
        self.place(channel).map(|at| &mut self.subs[at])
    }

    fn place(&self, channel: u32) -> Option<usize> {
        self.subs.binary_search_by_key(&channel, |sub| sub.channel).ok()
    }

    /// The messages that ask for what `wants` picks, and how many entries they have.
    pub fn subscribe(
        &self,
        names: &Names,
        mode: Option<Mode>,
        resumes: bool,
        wants: impl Fn(&Sub) -> bool,
    ) -> (Vec<ClientMessage>, u32) {
        let is_wide = self.wide.is_some();
        let requests = self.subs.iter().filter(|sub| wants(sub)).map(|sub| ChannelRequest {
            mode,
            since: sub.since(is_wide).filter(|_| resumes).map(|cursor| cursor.to_string()),
            ..ChannelRequest::from(names.name(sub.channel))
        });
        let requests: Vec<ChannelRequest> = requests.collect();
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let message = |channels: &[ChannelRequest]| ClientMessage::Subscribe {
            id: Some(RequestId::Number(1)),
            channels: channels.to_vec(),
            since: None,
        };
        (requests.chunks(CHANNELS_PER_MESSAGE).map(message).collect(), count)
    }

    /// `subscribed`. Says whether a position had been given, or would have been: then `recovered` means something.
    pub fn begin(
        &mut self,
        channel: u32,
        mode: Mode,
        recovered: bool,
        reason: Option<ResumeFailure>,
        cursor: Option<&str>,
        names: &Names,
    ) -> bool {
        let is_wide = self.wide.is_some();
        let Some(at) = self.place(channel) else { return false };
        let sub = &mut self.subs[at];
        let had_position = sub.since(is_wide).is_some();
        (sub.mode, sub.is_confirmed, sub.is_refused) = (mode, true, false);
        let is_renumbered = matches!(reason, Some(ResumeFailure::EpochChanged | ResumeFailure::RolledBack));
        // The snapshot that follows would be lost if the connection ended before it: see odin_client::cursor_map.
        let has_snapshot = !recovered && mode == Mode::Latest;
        let told = cursor.filter(|_| !has_snapshot).and_then(|text| text.parse::<Cursor>().ok());
        if is_renumbered || told.is_some() {
            sub.position = told;
        }
        let restart = |link: &mut Link| match (recovered, is_renumbered) {
            (true, _) => link.chain.resume(),
            (false, true) => (link.last, ()) = (0, link.chain.forget()),
            (false, false) => link.chain.open(),
        };
        if let Some(link) = &mut sub.link {
            restart(link);
            if told.is_some() {
                link.chain.supersede(told);
            }
        }
        self.named_under(channel, names).for_each(restart);
        self.covered(channel, names).for_each(restart);
        had_position
    }

    /// The client does not want to go on where it was.
    pub fn forget(&mut self) {
        self.subs.iter_mut().for_each(|sub| (sub.link, sub.position) = (None, None));
        self.wide = None;
    }

    /// The connection is over.
    pub fn disconnect(&mut self) {
        self.subs.iter_mut().for_each(|sub| sub.is_confirmed = false);
    }

    /// The subscription has ended.
    pub fn end(&mut self, channel: u32) {
        if let Some(sub) = self.sub_mut(channel) {
            (sub.link, sub.position, sub.is_confirmed) = (None, None, false);
        }
    }

    /// `update`: judges it, and moves on.
    pub fn update(&mut self, head: &Head, names: &Names) -> Judgement {
        let exact = self.place(head.channel);
        let Some(at) = exact.or_else(|| self.pattern_of(head.channel, names)) else { return Judgement::Stray };
        let sub = &mut self.subs[at];
        let mode = sub.mode;
        let slot = if exact.is_some() && head.key.is_none() {
            &mut sub.link
        } else {
            let wide = self.wide.get_or_insert_default();
            if wide.len() >= MAX_CHAINS && !wide.contains_key(&(head.channel, head.key)) {
                return Judgement::Next;
            }
            let link = wide.entry((head.channel, head.key));
            match link {
                std::collections::hash_map::Entry::Occupied(link) => {
                    return judge(link.into_mut(), head, mode, &mut self.epochs);
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(Link { chain: Chain::start(&proto(head)), last: head.seq });
                    return Judgement::Next;
                }
            }
        };
        match slot {
            Some(link) => judge(link, head, mode, &mut self.epochs),
            None => {
                *slot = Some(Link { chain: Chain::start(&proto(head)), last: head.seq });
                Judgement::Next
            }
        }
    }

    /// `gap`: what is up to `until` was left out.
    pub fn gap(&mut self, channel: u32, key: Option<u32>, until: u64, names: &Names) {
        let leave_out = |link: &mut Link| {
            link.chain.leave_out(until);
            link.last = link.last.max(until);
        };
        if let (None, Some(at)) = (key, self.place(channel)) {
            self.subs[at].link.iter_mut().for_each(leave_out);
        }
        match key {
            None => {
                self.named_under(channel, names).for_each(leave_out);
                self.covered(channel, names).for_each(leave_out);
            }
            Some(_) => {
                let wide = self.wide.iter_mut().filter_map(|wide| wide.get_mut(&(channel, key)));
                wide.for_each(leave_out);
            }
        }
    }

    /// `checkpoint`: a position of everything confirmed on this connection.
    pub fn checkpoint(&mut self, cursor: &str) {
        // Another form than version 1 is of no use to us: the updates' own positions go on.
        let Ok(told) = cursor.parse::<Cursor>() else { return };
        for sub in self.subs.iter_mut().filter(|sub| sub.is_confirmed) {
            sub.position = Some(told);
            if let Some(link) = &mut sub.link {
                link.chain.supersede(Some(told));
            }
        }
    }

    fn pattern_of(&self, channel: u32, names: &Names) -> Option<usize> {
        let name = Channel::parse(names.name(channel)).ok()?;
        let matches = |sub: &Sub| {
            sub.is_pattern && Channel::parse(names.name(sub.channel)).is_ok_and(|pattern| pattern.matches(&name))
        };
        self.subs.iter().position(matches)
    }

    /// The chains of channels that are subscribed by name under this pattern: what it repeats, they repeat.
    fn named_under<'a>(&'a mut self, pattern: u32, names: &'a Names) -> impl Iterator<Item = &'a mut Link> {
        let pattern = Channel::parse(names.name(pattern)).ok().filter(Channel::is_pattern);
        let subs = self.subs.iter_mut().filter(move |sub| {
            let name = || Channel::parse(names.name(sub.channel)).ok().filter(|name| !name.is_pattern());
            pattern.as_ref().is_some_and(|pattern| name().is_some_and(|name| pattern.matches(&name)))
        });
        subs.filter_map(|sub| sub.link.as_mut())
    }

    /// The chains of a pattern, or of a channel with keys.
    fn covered<'a>(&'a mut self, channel: u32, names: &'a Names) -> impl Iterator<Item = &'a mut Link> {
        let asked = Channel::parse(names.name(channel)).ok();
        let wide = self.wide.iter_mut().flat_map(|wide| wide.iter_mut());
        wide.filter(move |((own, _), _)| {
            let name = Channel::parse(names.name(*own)).ok();
            *own == channel || matches!((&asked, &name), (Some(asked), Some(name)) if asked.matches(name))
        })
        .map(|(_, link)| link)
    }
}

fn judge(link: &mut Link, head: &Head, mode: Mode, epochs: &mut u32) -> Judgement {
    let last = link.last;
    let was = link.chain.position().map(|position| position.epoch);
    let verdict = link.chain.accept(&proto(head));
    if was.is_some_and(|epoch| epoch != head.epoch) {
        *epochs += 1;
    }
    match verdict {
        Verdict::Overlap => return Judgement::Overlap,
        Verdict::Repeated if head.seq == last => return Judgement::Twice,
        Verdict::Repeated => return Judgement::Reordered,
        Verdict::Next | Verdict::Jumped { .. } => link.last = head.seq,
    }
    match verdict {
        Verdict::Jumped { .. } if mode == Mode::All => Judgement::Lost,
        Verdict::Jumped { .. } => Judgement::Merged,
        _ => Judgement::Next,
    }
}

/// As the protocol crate has it. The chain does not look at names.
fn proto(head: &Head) -> UpdateHead<'static> {
    UpdateHead {
        channel: "",
        key: None,
        seq: head.seq,
        prev: head.prev,
        ts_ms: head.ts_ms,
        epoch: head.epoch,
        snapshot: head.snapshot,
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
