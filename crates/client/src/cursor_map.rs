//! Where every subscription stands: its chains, and the position to come back to.
//!
//! It drops what was delivered before, says what is missing, and gives the `since` of the next `subscribe`. It
//! knows neither sockets nor time. What it keeps survives the connection: that is its purpose.

use std::collections::HashMap;

use odin_protocol::{Channel, Cursor, Mode, ResumeFailure, UpdateHead, cursor::MAX_CURSOR_BYTES};

use crate::chain::{Chain, Verdict};

/// Most chains kept. Updates of further ones are delivered unchecked: a gateway cannot fill the client's memory.
pub const MAX_CHAINS: usize = 262_144;
/// Longest key of an update, in bytes. A longer one breaks the protocol, and is not kept.
pub const MAX_KEY_BYTES: usize = 256;

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
    /// Drop it: it was delivered before, as it may be where a subscription begins or is resumed.
    Overlap,
    /// Drop it: it was delivered before, or announced as left out, and nothing excuses that.
    Repeated,
    /// Drop it: no subscription covers its channel, or its key is too long to be one.
    Stray,
}

/// A subscription the gateway has confirmed at least once.
#[derive(Debug)]
struct Track {
    mode: Mode,
    /// The last position the gateway named, as it wrote it; an update of an exact channel after it counts more.
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
    /// `subscribed`: a subscription begins or continues. Says whether it had begun before and does not continue: then
    /// publications may be missing.
    pub fn begin(
        &mut self,
        channel: &Channel,
        mode: Mode,
        recovered: bool,
        reason: Option<ResumeFailure>,
        position: Option<String>,
    ) -> bool {
        let is_renumbered = matches!(reason, Some(ResumeFailure::EpochChanged | ResumeFailure::RolledBack));
        let is_known = self.tracks.contains_key(channel);
        let track = self.tracks.entry(channel.clone()).or_insert_with(|| Track {
            mode,
            position: None,
            is_confirmed: false,
            is_wide: channel.is_pattern(),
        });
        track.mode = mode;
        track.is_confirmed = true;
        // In mode `latest` nothing is lost by beginning again, but the snapshot that follows would be, if the connection
        // ended before it has come: a resume brings none. The next checkpoint is behind it.
        let has_snapshot = !recovered && mode == Mode::Latest;
        let position = position.filter(|position| is_cursor(position) && !has_snapshot);
        let told = position.as_ref().map(|position| position.parse::<Cursor>().ok());
        if is_renumbered {
            // nobody comes back to a stream that is gone, nor does a channel that begins under its pattern
            for (_, other) in self.tracks.iter_mut().filter(|(name, _)| *name == channel || channel.matches(name)) {
                other.position.clone_from(&position);
            }
        } else if told.is_some() {
            track.position = position;
        }
        for (name, line) in covered_mut(&mut self.lines, channel) {
            line.mode = mode_of(&self.tracks, name).unwrap_or(mode);
            for chain in line.chains_mut() {
                if recovered {
                    chain.resume();
                } else if is_renumbered {
                    chain.forget();
                } else {
                    chain.open();
                }
            }
            if let (Some(told), Some(chain)) = (told, line.chain.as_mut().filter(|_| name == channel)) {
                chain.supersede(told);
            }
        }
        !recovered && (is_known || reason.is_some())
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
        if head.key.is_some_and(|key| key.len() > MAX_KEY_BYTES) {
            return Judgement::Stray;
        }
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
            Verdict::Overlap => Judgement::Overlap,
            Verdict::Repeated => Judgement::Repeated,
            Verdict::Jumped { .. } if line.mode == Mode::Latest => Judgement::Merged,
            Verdict::Jumped { after, until } => Judgement::Missing { after, until },
        }
    }

    fn start(&mut self, head: &UpdateHead<'_>) {
        if let (Some(_), Some(track)) = (head.key, self.tracks.get_mut(head.channel)) {
            track.is_wide = true;
        }
        if self.chains >= MAX_CHAINS {
            return;
        }
        let Some(line) = self.lines.get_mut(head.channel) else { return };
        self.chains += 1;
        match head.key {
            None => line.chain = Some(Chain::start(head)),
            Some(key) => {
                line.keyed.insert(key.into(), Chain::start(head));
            }
        }
    }

    /// `gap`: publications of a channel, or of all channels of a pattern, up to `until` were left out. False if no
    /// subscription has to do with it.
    pub fn gap(&mut self, channel: &Channel, key: Option<&str>, until: u64) -> bool {
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
        self.tracks.contains_key(channel) || mode_of(&self.tracks, channel).is_some()
    }

    /// `checkpoint`: every subscription confirmed on this connection has everything up to this position. False if it
    /// is no cursor.
    pub fn checkpoint(&mut self, position: &str) -> bool {
        if !is_cursor(position) {
            return false;
        }
        let told = position.parse().ok();
        for (channel, track) in self.tracks.iter_mut().filter(|(_, track)| track.is_confirmed) {
            track.position = Some(position.to_owned());
            if let Some(chain) = self.lines.get_mut(channel).and_then(|line| line.chain.as_mut()) {
                chain.supersede(told);
            }
        }
        true
    }

    /// The `since` with which the subscription would continue without loss: of an exact channel the last update or the
    /// last position the gateway named, whichever is further; of several chains always the latter.
    pub fn since(&self, channel: &Channel) -> Option<String> {
        let track = self.tracks.get(channel)?;
        let line = self.lines.get(channel).filter(|_| !track.is_wide);
        let last = line.and_then(|line| line.chain.as_ref()).and_then(Chain::position);
        last.map_or_else(|| track.position.clone(), |last| Some(last.to_string()))
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

/// Whether a gateway would take it back. Its form is the gateway's affair.
fn is_cursor(text: &str) -> bool {
    (1..=MAX_CURSOR_BYTES).contains(&text.len())
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
#[path = "cursor_map/model.rs"]
mod model;
#[cfg(test)]
#[path = "cursor_map/tests.rs"]
mod tests;
