//! Where every subscription stands: its chains, and the position to come back to.
//!
//! It drops what was delivered before, says what is missing, and gives the `since` of the next `subscribe`. It
//! knows neither sockets nor time. What it keeps survives the connection: that is its purpose.

use std::collections::HashMap;

use odin_protocol::{Channel, Cursor, Mode, ResumeFailure, UpdateHead};

use crate::chain::{Chain, Verdict};

/// Most chains kept. Updates of further ones are delivered unchecked: a gateway cannot fill the client's memory.
pub const MAX_CHAINS: usize = 262_144;

/// What to do with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Deliver it.
    Deliver,
    /// Deliver it; publications before it were merged into it, as mode `latest` allows.
    Merged,
    /// Deliver it, after saying that those with `after < seq <= until` are missing although nobody announced it.
    Missing {
        /// Last sequence accounted for.
        after: u64,
        /// Last sequence that is missing.
        until: u64,
    },
    /// Drop it: it was delivered before.
    Duplicate,
    /// Drop it: no subscription covers its channel.
    Stray,
}

/// A subscription the gateway has confirmed at least once.
#[derive(Debug)]
struct Track {
    mode: Mode,
    /// Where to come back to, if no chain says better; as the gateway wrote it.
    position: Option<String>,
    /// Confirmed on this connection.
    is_confirmed: bool,
    /// Several chains: a pattern, or updates with a key.
    is_wide: bool,
}

/// The chains of one concrete channel.
#[derive(Debug)]
struct Line {
    mode: Mode,
    chain: Option<Chain>,
    keyed: HashMap<Box<str>, Chain>,
}

impl Line {
    fn chains_mut(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.chain.iter_mut().chain(self.keyed.values_mut())
    }

    fn len(&self) -> usize {
        self.keyed.len() + usize::from(self.chain.is_some())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct CursorMap {
    tracks: HashMap<Channel, Track>,
    lines: HashMap<Channel, Line>,
    chains: usize,
}

impl CursorMap {
    /// `subscribed`: a subscription begins or continues.
    pub fn begin(
        &mut self,
        channel: &Channel,
        mode: Mode,
        recovered: bool,
        reason: Option<ResumeFailure>,
        position: Option<String>,
    ) {
        let track = self.tracks.entry(channel.clone()).or_insert_with(|| Track {
            mode,
            position: None,
            is_confirmed: false,
            is_wide: channel.is_pattern(),
        });
        track.mode = mode;
        track.is_confirmed = true;
        if position.is_some() {
            track.position = position;
        }
        let is_renumbered = matches!(reason, Some(ResumeFailure::EpochChanged | ResumeFailure::RolledBack));
        for (name, line) in covered_mut(&mut self.lines, channel) {
            line.mode = mode_of(&self.tracks, name).unwrap_or(mode);
            if recovered {
                continue;
            }
            for chain in line.chains_mut() {
                if is_renumbered {
                    chain.forget();
                } else {
                    chain.open();
                }
            }
        }
    }

    /// The subscription has ended: chains that no other one covers are forgotten.
    pub fn end(&mut self, channel: &Channel) {
        self.tracks.remove(channel);
        let tracks = &self.tracks;
        self.lines.retain(|name, line| match mode_of(tracks, name) {
            Some(mode) => {
                line.mode = mode;
                true
            }
            None => {
                self.chains -= line.len();
                false
            }
        });
    }

    /// The connection has ended: nothing is confirmed any more, and every chain is kept.
    pub fn disconnect(&mut self) {
        for track in self.tracks.values_mut() {
            track.is_confirmed = false;
        }
    }

    /// `update`: decides about it and moves its chain on.
    pub fn update(&mut self, head: &UpdateHead<'_>) -> Judgement {
        if !self.lines.contains_key(head.channel) {
            let Some((channel, mode)) = self.wanted(head.channel) else {
                return Judgement::Stray;
            };
            if self.chains >= MAX_CHAINS {
                return Judgement::Deliver;
            }
            self.lines.insert(channel, Line { mode, chain: None, keyed: HashMap::new() });
        }
        let line = self.lines.get_mut(head.channel).expect("inserted above if it was missing");
        let chain = match head.key {
            None => line.chain.as_mut(),
            Some(key) => line.keyed.get_mut(key),
        };
        let Some(chain) = chain else {
            self.start(head);
            return Judgement::Deliver;
        };
        match chain.accept(head) {
            Verdict::Next => Judgement::Deliver,
            Verdict::Duplicate => Judgement::Duplicate,
            Verdict::Jumped { .. } if line.mode == Mode::Latest => Judgement::Merged,
            Verdict::Jumped { after, until } => Judgement::Missing { after, until },
        }
    }

    fn start(&mut self, head: &UpdateHead<'_>) {
        if self.chains >= MAX_CHAINS {
            return;
        }
        let Some(line) = self.lines.get_mut(head.channel) else { return };
        self.chains += 1;
        match head.key {
            None => line.chain = Some(Chain::start(head)),
            Some(key) => {
                line.keyed.insert(key.into(), Chain::start(head));
                if let Some(track) = self.tracks.get_mut(head.channel) {
                    track.is_wide = true;
                }
            }
        }
    }

    /// `gap`: publications of a channel, or of all channels of a pattern, up to `until` were left out.
    pub fn gap(&mut self, channel: &Channel, key: Option<&str>, until: u64) {
        for (_, line) in covered_mut(&mut self.lines, channel) {
            match key {
                Some(key) => {
                    if let Some(chain) = line.keyed.get_mut(key) {
                        chain.leave_out(until);
                    }
                }
                None => line.chains_mut().for_each(|chain| chain.leave_out(until)),
            }
        }
    }

    /// `checkpoint`: every subscription confirmed on this connection has everything up to this position.
    pub fn checkpoint(&mut self, position: &str) {
        for track in self.tracks.values_mut().filter(|track| track.is_confirmed) {
            track.position = Some(position.to_owned());
        }
    }

    /// The `since` with which the subscription would continue without loss.
    pub fn since(&self, channel: &Channel) -> Option<String> {
        let track = self.tracks.get(channel)?;
        let chain = self.lines.get(channel).and_then(|line| line.chain.as_ref());
        let last = chain.and_then(Chain::cursor).filter(|_| !track.is_wide);
        let Some(last) = last else { return track.position.clone() };
        // A checkpoint may be further than the channel's last update, and then spares the gateway a look back.
        match track.position.as_ref().map(|position| position.parse::<Cursor>()) {
            Some(Ok(position)) if position.epoch == last.epoch && position.seq >= last.seq => track.position.clone(),
            _ => Some(last.to_string()),
        }
    }

    /// Chains kept.
    pub fn chains(&self) -> usize {
        self.chains
    }

    /// The channel and its mode, if a subscription covers it.
    fn wanted(&self, name: &str) -> Option<(Channel, Mode)> {
        let channel = Channel::parse(name).ok().filter(|channel| !channel.is_pattern())?;
        let mode = mode_of(&self.tracks, &channel)?;
        Some((channel, mode))
    }
}

/// The mode of a concrete channel: `all` if any subscription that covers it says so.
fn mode_of(tracks: &HashMap<Channel, Track>, channel: &Channel) -> Option<Mode> {
    let exact = tracks.get(channel).map(|track| track.mode);
    if exact == Some(Mode::All) {
        return exact;
    }
    let patterns = tracks.iter().filter(|(name, _)| name.is_pattern() && name.matches(channel));
    let modes = patterns.map(|(_, track)| track.mode).chain(exact);
    modes.reduce(|one, other| if one == Mode::All { one } else { other })
}

/// The lines a subscription covers.
fn covered_mut<'a>(
    lines: &'a mut HashMap<Channel, Line>,
    channel: &'a Channel,
) -> impl Iterator<Item = (&'a Channel, &'a mut Line)> {
    // an exact channel has one line: no need to look at all of them
    let (one, all) = if channel.is_pattern() { (None, Some(lines)) } else { (Some(lines), None) };
    let one = one.into_iter().filter_map(|lines| lines.get_mut(channel)).map(move |line| (channel, line));
    let all = all.into_iter().flat_map(|lines| lines.iter_mut());
    one.chain(all.filter(|(name, _)| channel.matches(name)))
}

#[cfg(test)]
#[path = "cursor_map/tests.rs"]
mod tests;
