//! Tells the others what this gateway has, and hears what they have.
//!
//! Every interval a *presence* says what changed; nobody answers. Whoever misses something says *hello* and gets
//! everything, on a subject of its own: a gateway that starts knows all within one interval, and one that comes back
//! costs the others nothing. Garbage, impostors and gateways beyond what there is room for are ignored and counted.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, Message};
use futures_util::{StreamExt, stream::BoxStream};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Cluster, Key,
    peers::{Heard, MAX_PEERS},
    words::{
        Answer, Ask, Boot, Bye, Hello, MAX_MESSAGE_BYTES, MAX_SUB_BYTES, Part, Presence, Replace, USERS_PER_MESSAGE,
    },
};

/// What is told of everything within one interval, to all who ask together. Those beyond wait for the next.
const EVERYTHING_BYTES: usize = 32 * 1024 * 1024;

/// For the last message.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What this gateway has said.
#[derive(Debug, Default)]
struct Talk {
    /// Presences so far.
    n: u64,
    /// Those who got everything in this interval.
    answered: HashSet<Boot>,
    /// Those who want it.
    waiting: HashSet<Boot>,
    spent_bytes: usize,
}

impl Cluster {
    /// Gossips for ever.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not said is asked for.
    pub(crate) async fn gossip(self: &Arc<Self>) {
        let Some(client) = self.link.client().cloned() else {
            return;
        };
        let mut for_all = listen(&client, format!("{}.*", self.subject)).await;
        let mut for_me = listen(&client, format!("{}.to.{}.*", self.subject, self.me.1)).await;
        self.say("hello", &Hello { boot: self.me.1, to: None }).await;
        let mut talk = Talk::default();
        let mut next = tokio::time::Instant::now();
        loop {
            // Cancel safe arms: streams lose nothing when another arm wins.
            let is_taken = tokio::select! {
                Some(message) = for_all.next() => self.on_word(&mut talk, &message).await,
                Some(message) = for_me.next() => self.on_word_to_me(&message).await,
                () = tokio::time::sleep_until(next) => {
                    let interval = self.current.borrow().config.cluster.interval;
                    next = tokio::time::Instant::now() + interval.mul_f64(rand::random_range(0.9..1.1));
                    self.on_interval(&mut talk).await;
                    true
                }
            };
            if !is_taken {
                self.metrics.control.gossip_ignored.count();
            }
        }
    }

    /// Tells the others that this gateway is gone, so that they need not find out.
    ///
    /// # Cancel safety
    /// Cancel safe: they find out.
    pub(crate) async fn say_goodbye(&self) {
        let (gateway, boot) = self.me.clone();
        self.say("bye", &Bye { gateway, boot }).await;
        if let Some(client) = self.link.connected() {
            let _ = tokio::time::timeout(GOODBYE_TIMEOUT, client.flush()).await;
        }
    }

    async fn on_interval(&self, talk: &mut Talk) {
        let silent = self.peers().drop_silent(Instant::now());
        if let [first, ..] = &silent[..] {
            let gateways = silent.len();
            tracing::info!(gateway = first.as_str(), gateways, "a gateway is silent, and not counted any more");
        }
        self.count();
        // What cannot be said now is said when it can be: nothing is taken from the list of changes.
        if self.link.connected().is_none() {
            return;
        }
        let (mut changes, total) = self.users.changes();
        loop {
            let rest = changes.split_off(changes.len().min(USERS_PER_MESSAGE));
            talk.n += 1;
            let (gateway, boot) = self.me.clone();
            let presence = Presence {
                gateway,
                boot,
                n: talk.n,
                connections: self.metrics.connected_clients(),
                total: rest.is_empty().then_some(total),
                part: None,
                users: changes.into_iter().collect(),
            };
            self.say("presence", &presence).await;
            if rest.is_empty() {
                break;
            }
            changes = rest;
        }
        talk.answered.clear();
        talk.spent_bytes = 0;
        for boot in std::mem::take(&mut talk.waiting) {
            self.tell_everything(talk, boot).await;
        }
    }

    /// Sums up what is known.
    fn count(&self) {
        let (peers, elsewhere) = {
            let peers = self.peers();
            (peers.len(), peers.connections())
        };
        self.elsewhere.store(elsewhere, Ordering::Relaxed);
        self.metrics.control.peers.set(peers as u64);
        self.metrics.control.cluster_connections.set(self.connections());
    }

    /// Everything that this gateway has, for one that asked.
    async fn tell_everything(&self, talk: &mut Talk, to: Boot) {
        if talk.spent_bytes >= EVERYTHING_BYTES || !talk.answered.insert(to) {
            // Asked again, or too many ask.
            if talk.waiting.len() < MAX_PEERS {
                talk.waiting.insert(to);
            }
            return;
        }
        let (users, total) = self.users.all();
        let of = u32::try_from(users.len().div_ceil(USERS_PER_MESSAGE).max(1)).expect("users are counted in u32");
        let subject = format!("to.{to}.everything");
        let mut users = users.into_iter();
        for index in 0..of {
            let (gateway, boot) = self.me.clone();
            let part = Presence {
                gateway,
                boot,
                n: talk.n,
                connections: self.metrics.connected_clients(),
                total: (index + 1 == of).then_some(total),
                part: Some(Part { index, of }),
                users: users.by_ref().take(USERS_PER_MESSAGE).collect(),
            };
            talk.spent_bytes += self.say(&subject, &part).await;
        }
    }

    /// Something for all gateways. Says whether it was of use.
    async fn on_word(self: &Arc<Self>, talk: &mut Talk, message: &Message) -> bool {
        match kind(message) {
            "presence" => match read::<Presence>(message) {
                Some(said) if said.boot != self.me.1 && said.part.is_none() => self.on_presence(said).await,
                _ => false,
            },
            "hello" => match read::<Hello>(message) {
                Some(hello) if hello.boot != self.me.1 => {
                    if hello.to.is_none_or(|to| to == self.me.1) {
                        self.tell_everything(talk, hello.boot).await;
                    }
                    true
                }
                _ => false,
            },
            "bye" => match read::<Bye>(message) {
                Some(bye) if bye.boot != self.me.1 => {
                    if self.peers().part_from(&bye) {
                        tracing::debug!(gateway = bye.gateway.as_str(), "a gateway has stopped");
                    }
                    self.count();
                    true
                }
                _ => false,
            },
            "ask" => match read::<Ask>(message) {
                Some(ask) if ask.boot != self.me.1 && ask.sub.len() <= MAX_SUB_BYTES => self.on_ask(ask),
                _ => false,
            },
            _ => false,
        }
    }

    /// Something for this gateway only.
    async fn on_word_to_me(&self, message: &Message) -> bool {
        match kind(message) {
            "everything" => match read::<Presence>(message) {
                Some(said) if said.boot != self.me.1 && said.part.is_some() => self.on_presence(said).await,
                _ => false,
            },
            "answer" => read::<Answer>(message).is_some_and(|answer| self.questions.on_answer(answer)),
            "replace" => match read::<Replace>(message) {
                // The sender may know something that is old, so there may be nothing to close.
                Some(replace) if replace.sub.len() <= MAX_SUB_BYTES => {
                    self.replace_here(Key::of(&replace.sub), &replace.sub, replace.count, None);
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    async fn on_presence(&self, said: Presence) -> bool {
        let heard = self.peers().hear(said, Instant::now());
        if let Heard::Ask(to) = heard {
            self.say("hello", &Hello { boot: self.me.1, to: Some(to) }).await;
        }
        self.count();
        heard != Heard::Ignored
    }

    pub(super) async fn tell_replace(&self, to: Boot, sub: &str) {
        self.say(&format!("to.{to}.replace"), &Replace { sub: sub.into(), count: 1 }).await;
    }

    /// Says something, if there is a connection. Gives its size.
    pub(super) async fn say(&self, subject: &str, words: &impl Serialize) -> usize {
        let Some(client) = self.link.connected() else {
            return 0;
        };
        let words = serde_json::to_vec(words).expect("strings and numbers only");
        let size = words.len();
        // Fails only when the client was closed; whoever misses it will ask.
        let _ = client.publish(format!("{}.{subject}", self.subject), words.into()).await;
        size
    }
}

/// What comes on a subject; nothing when it cannot be subscribed.
async fn listen(client: &Client, subject: String) -> BoxStream<'static, Message> {
    match client.subscribe(subject).await {
        Ok(messages) => messages.boxed(),
        Err(error) => {
            tracing::error!(%error, "cannot subscribe to gossip");
            futures_util::stream::pending().boxed()
        }
    }
}

/// What it is, by the end of its subject.
fn kind(message: &Message) -> &str {
    message.subject.rsplit('.').next().unwrap_or_default()
}

fn read<T: DeserializeOwned>(message: &Message) -> Option<T> {
    if message.payload.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    serde_json::from_slice(&message.payload).ok()
}
