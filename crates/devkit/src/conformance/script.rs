//! What a scenario works with: the client's connections, what its application got, and the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use odin_protocol::{ClientMessage, RequestId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Options;
use super::behaviour::Behaviour;
use super::handshake::Arrival;
use super::peer::{Heard, Peer, with_id};
use super::report::Notes;
use super::told::{Ear, Told};

/// The heartbeat of scenarios that are not about it: long enough never to matter.
pub(super) const HEARTBEAT_MS: u64 = 25_000;
/// What the server reads, in scenarios that are not about it.
pub(super) const MESSAGE_BYTES: usize = 65_536;
/// After the first subscription of a client whose channels are not known: how long it may be silent before those it
/// has named count as all.
const QUIET: Duration = Duration::from_millis(300);
/// Later steps begin at this multiple of the first wait: 8 s of 0.5 s.
const LATER: u32 = 16;
/// What a loaded machine and a handshake may add to a wait.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// Clocks count milliseconds, and so may be off by some.
const CLOCK: Duration = Duration::from_millis(20);

/// Whether something came before its time.
pub(super) fn is_early(after: Duration, least: Duration) -> bool {
    after + CLOCK < least
}

/// Why a scenario could not go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hitch(pub(super) String);

pub(super) type Played<T = ()> = Result<T, Hitch>;

impl From<io::Error> for Hitch {
    fn from(error: io::Error) -> Hitch {
        Hitch(format!("the connection broke: {error}"))
    }
}

/// What a client asked for on one connection.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The position of each channel, as it came.
    pub(super) since: BTreeMap<String, Option<String>>,
    pub(super) ids: BTreeMap<String, Option<RequestId>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) options: Arc<Options>,
    pub(super) notes: Notes,
    pub(super) ear: Ear,
    arrivals: mpsc::Receiver<Arrival>,
    /// An arrival that was waited for and is still to be let in.
    waiting: Option<Arrival>,
    /// What the client subscribes to; empty until it is known.
    pub(super) channels: BTreeSet<String>,
    pub(super) epoch: String,
    seq: u64,
    /// Last sequence of each concrete channel.
    last: BTreeMap<String, u64>,
}

impl Script {
    pub(super) fn new(
        options: Arc<Options>,
        notes: Notes,
        ear: Ear,
        arrivals: mpsc::Receiver<Arrival>,
        channels: &[&str],
    ) -> Script {
        Script {
            options,
            notes,
            ear,
            arrivals,
            waiting: None,
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            epoch: "k3j9x2m4".to_owned(),
            seq: 1_000,
            last: BTreeMap::new(),
        }
    }

    /// The first exact channel of the client.
    pub(super) fn exact(&self) -> Played<String> {
        let exact = self.channels.iter().find(|channel| !channel.ends_with(":*"));
        exact.cloned().ok_or_else(|| Hitch("the client subscribes to no exact channel".to_owned()))
    }

    /// The first pattern of the client, without its `*`.
    pub(super) fn pattern(&self) -> Played<String> {
        let pattern = self.channels.iter().find_map(|channel| channel.strip_suffix('*'));
        pattern.map(str::to_owned).ok_or_else(|| Hitch("the client subscribes to no pattern".to_owned()))
    }

    /// Waits until the client is there, without letting it in.
    pub(super) async fn knock(&mut self) {
        if self.waiting.is_none() {
            self.waiting = self.arrivals.recv().await;
        }
    }

    /// The next connection, which has to come.
    pub(super) async fn accept(&mut self) -> Played<Arrival> {
        let limit = self.options.backoff_cap + self.options.patience;
        match timeout(limit, self.knock()).await {
            Ok(()) => self.waiting.take().ok_or_else(|| Hitch("the examination has ended".to_owned())),
            Err(_) => Err(Hitch(format!("no connection came within {limit:?}"))),
        }
    }

    /// Watches a client that has to stay away for as long as it would wait before it came back.
    pub(super) async fn stays_away(&mut self, behaviour: Behaviour, why: &str) -> bool {
        let watch = (self.options.backoff_base * LATER).min(self.options.backoff_cap) + SLACK;
        let ear = self.ear.clone();
        let told_so = async { while ear.hear().await != Told::Closed {} };
        let came = tokio::select! {
            came = timeout(watch, self.knock()) => came.is_ok(),
            // an application that was told of the end may be believed after a moment
            () = told_so => timeout(SLACK, self.knock()).await.is_ok(),
        };
        if came {
            self.notes.wrong(behaviour, format!("it came back {why}"));
        } else {
            self.notes.shown(behaviour);
        }
        !came
    }

    /// The next connection after hello.
    pub(super) async fn greet(&mut self) -> Played<Peer> {
        self.greet_with(HEARTBEAT_MS, MESSAGE_BYTES).await
    }

    pub(super) async fn greet_with(&mut self, heartbeat_ms: u64, max_message_bytes: usize) -> Played<Peer> {
        let mut peer = self.accept().await?.open(self.notes.clone()).await?;
        peer.hello(heartbeat_ms, max_message_bytes, &self.epoch).await?;
        Ok(peer)
    }

    /// The next connection, all of whose subscriptions are confirmed in mode `all`: as continued where they gave a
    /// position.
    pub(super) async fn begin(&mut self) -> Played<(Peer, Asked)> {
        let mut peer = self.greet().await?;
        let asked = self.subscriptions(&mut peer).await?;
        self.confirm_all(&mut peer, &asked).await?;
        Ok((peer, asked))
    }

    /// Hears all subscriptions of a new connection. A client that signs in is let in.
    pub(super) async fn subscriptions(&mut self, peer: &mut Peer) -> Played<Asked> {
        let mut asked = Asked::default();
        loop {
            let is_all = !self.channels.is_empty() && self.channels.iter().all(|one| asked.since.contains_key(one));
            if is_all {
                self.notes.shown(Behaviour::Resubscribes);
                return Ok(asked);
            }
            let may_be_all = self.channels.is_empty() && !asked.since.is_empty();
            let limit = if may_be_all { QUIET } else { self.options.patience };
            match peer.hear(limit).await {
                None if may_be_all => self.channels = asked.since.keys().cloned().collect(),
                None => {
                    let missing = self.channels.iter().find(|one| !asked.since.contains_key(*one));
                    let why = format!("no subscribe for {} came", missing.map_or("any channel", String::as_str));
                    self.notes.wrong(Behaviour::Resubscribes, &why);
                    return Err(Hitch(why));
                }
                Some(Heard::Message(ClientMessage::Subscribe { id, channels, since })) => {
                    for entry in channels {
                        if asked.since.contains_key(&entry.channel) {
                            let why = format!("it asked twice for {}", entry.channel);
                            self.notes.wrong(Behaviour::Resubscribes, why);
                        }
                        asked.since.insert(entry.channel.clone(), entry.since.or_else(|| since.clone()));
                        asked.ids.insert(entry.channel, id.clone());
                    }
                }
                Some(Heard::Message(ClientMessage::Auth { .. })) => peer.authenticate(None).await?,
                Some(Heard::Message(other)) => {
                    return Err(Hitch(format!("a {} came where a subscribe had to", other.type_name())));
                }
                Some(Heard::Pong(_)) => {}
                Some(Heard::Closed(_) | Heard::Gone) => {
                    return Err(Hitch("the client left before it had subscribed".to_owned()));
                }
            }
        }
    }

    pub(super) async fn confirm_all(&mut self, peer: &mut Peer, asked: &Asked) -> Played {
        for (channel, since) in &asked.since {
            let cursor = since.clone().unwrap_or_else(|| self.head());
            let more = format!(r#""mode":"all","recovered":{},"cursor":"{cursor}""#, since.is_some());
            self.confirm(peer, asked, channel, &more).await?;
        }
        Ok(())
    }

    /// Answers one entry of `subscribe`; `more` are the members after `channel`.
    pub(super) async fn confirm(&self, peer: &mut Peer, asked: &Asked, channel: &str, more: &str) -> Played {
        let id = with_id(asked.ids.get(channel).and_then(Option::as_ref));
        Ok(peer.say(&format!(r#"{{"type":"subscribed"{id},"channel":"{channel}",{more}}}"#)).await?)
    }

    /// The position of a sequence, as version 1 writes it.
    pub(super) fn cursor(&self, seq: u64) -> String {
        format!("1.{}.{seq}.{}", self.epoch, 1_767_225_600_000 + seq)
    }

    /// Sends the next publication of a channel and gives its sequence.
    pub(super) async fn update(&mut self, peer: &mut Peer, channel: &str) -> Played<u64> {
        let prev = self.last(channel);
        let seq = self.skip(channel);
        self.repeat(peer, channel, prev, seq).await?;
        Ok(seq)
    }

    /// A publication that the client is not sent; gives its sequence.
    pub(super) fn skip(&mut self, channel: &str) -> u64 {
        self.seq += 1;
        self.last.insert(channel.to_owned(), self.seq);
        self.seq
    }

    /// Sends a publication of before.
    pub(super) async fn repeat(&self, peer: &mut Peer, channel: &str, prev: u64, seq: u64) -> Played {
        let (epoch, ts) = (&self.epoch, 1_767_225_600_000 + seq);
        Ok(peer
            .say(&format!(
                r#"{{"type":"update","channel":"{channel}","seq":{seq},"prev":{prev},"ts":{ts},"epoch":"{epoch}","data":{{"price":{seq}.5}}}}"#
            ))
            .await?)
    }

    /// The position of now.
    pub(super) fn head(&self) -> String {
        self.cursor(self.seq)
    }

    /// Last sequence of a channel, 0 if it has none.
    pub(super) fn last(&self, channel: &str) -> u64 {
        self.last.get(channel).copied().unwrap_or(0)
    }

    /// Another stream takes the place of the one before: its sequences begin low again.
    pub(super) fn change_epoch(&mut self, epoch: &str) {
        self.epoch = epoch.to_owned();
        self.seq = 10;
        self.last.clear();
    }

    /// Everything the application got up to the update with this sequence of this channel; `None` when nobody tells
    /// us, or not in time.
    pub(super) async fn told_until(&mut self, channel: &str, seq: u64) -> Option<Vec<Told>> {
        if !self.options.has_adapter {
            return None;
        }
        let mut all = Vec::new();
        let deadline = Instant::now() + self.options.patience;
        loop {
            let told = tokio::time::timeout_at(deadline, self.ear.hear()).await.ok()?;
            let is_last = matches!(&told, Told::Update { channel: of, seq: at } if of == channel && *at == seq);
            all.push(told);
            if is_last {
                return Some(all);
            }
        }
    }
}

/// The text for behaviours that nobody can see without an adapter.
pub(super) const UNTOLD: &str = "nobody told what the application got";
