//! What the stream has stored, read by a way of its own: every message, in order, by plain Direct Gets.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, bail};
use async_nats::{Client, jetstream};
use futures_util::StreamExt as _;

use crate::history::Chain;

/// Messages asked for at once.
const BATCH: usize = 1000;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(2);

/// One life of the stream: until it is deleted and created anew.
#[derive(Debug, Default)]
pub struct Life {
    /// Sequence and number of every message of a chain.
    pub chains: HashMap<Chain, BTreeMap<u64, u64>>,
    /// Everything up to here has been read.
    pub read_to: u64,
    /// Sequences that were gone before they were read: `after < seq <= until`.
    pub unseen: Vec<(u64, u64)>,
    /// Up to which sequence a chain was purged.
    pub purged: HashMap<Chain, u64>,
}

impl Life {
    /// The stored sequence of the chain before `seq`; 0 if there is none.
    pub fn before(&self, chain: &Chain, seq: u64) -> u64 {
        let stored = self.chains.get(chain).and_then(|stored| stored.range(..seq).next_back());
        stored.map_or(0, |(seq, _)| *seq)
    }

    /// The newest stored sequence of the chain; 0 if there is none.
    pub fn newest(&self, chain: &Chain) -> u64 {
        self.before(chain, u64::MAX)
    }

    /// The sequences of the chain in (`after`, `until`] that a reader of everything is owed.
    pub fn owed(&self, chain: &Chain, after: u64, until: u64) -> Vec<u64> {
        if after >= until {
            return Vec::new();
        }
        let purged = self.purged.get(chain).copied().unwrap_or(0);
        let stored = self.chains.get(chain);
        let stored = stored.into_iter().flat_map(|stored| stored.range(after + 1..=until));
        stored.map(|(seq, _)| *seq).filter(|seq| *seq > purged).collect()
    }
}

/// All lives of the stream, and how to read on.
#[derive(Debug)]
pub struct Ledger {
    client: Client,
    stream: String,
    /// The last one is the present.
    pub lives: Vec<Life>,
}

/// The chain of a subject, by the rules the run uses.
pub fn chain_of(subject: &str) -> Option<Chain> {
    if let Some(token) = subject.strip_prefix("odin.tokens.").and_then(|rest| rest.strip_suffix(".price")) {
        return Some(Chain { channel: format!("price:{token}"), key: None });
    }
    let kind = subject.strip_prefix("odin.events.")?;
    Some(Chain { channel: "events:all".to_owned(), key: Some(kind.to_owned()) })
}

impl Ledger {
    /// An empty ledger of a stream.
    ///
    /// # Errors
    /// No server can be reached.
    pub async fn open(urls: &[String], stream: &str) -> anyhow::Result<Ledger> {
        let client = async_nats::ConnectOptions::new().connect(urls).await.context("the ledger's connection")?;
        Ok(Ledger { client, stream: stream.to_owned(), lives: vec![Life::default()] })
    }

    /// The present life of the stream.
    pub fn present(&mut self) -> &mut Life {
        self.lives.last_mut().expect("there is always one")
    }

    /// The stream's administration.
    pub fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// Reads on to the end the leader says it has.
    ///
    /// # Errors
    /// The stream cannot be read at present.
    pub async fn read_on(&mut self) -> anyhow::Result<()> {
        let mut stream = tokio::time::timeout(LIMIT, self.jetstream().get_stream(&self.stream)).await??;
        let state = stream.cached_info().state.clone();
        let life = self.lives.last_mut().expect("there is always one");
        let begin = life.read_to;
        while life.read_to < state.last_sequence {
            let request = serde_json::json!({ "seq": life.read_to + 1, "next_by_subj": "odin.>", "batch": BATCH });
            let (messages, is_end) = batch(&self.client, &self.stream, &request.to_string()).await?;
            let reached = messages.last().map(|message| message.0);
            for (seq, subject, payload) in messages {
                if let Some(chain) = chain_of(&subject) {
                    life.chains.entry(chain).or_default().insert(seq, number_of(&payload));
                }
            }
            match reached {
                Some(reached) => life.read_to = life.read_to.max(reached),
                // A replica that lags behind the leader.
                None if is_end => tokio::time::sleep(Duration::from_millis(20)).await,
                None => bail!("no answer"),
            }
        }
        // Asked afterwards: a read that begins below the first message begins at it, without a word.
        let first = tokio::time::timeout(LIMIT, stream.info()).await??.state.first_sequence;
        if first > begin + 1 {
            life.unseen.push((begin, first - 1));
        }
        Ok(())
    }
}

/// The number in a payload; 0 if it has none.
pub fn number_of(payload: &[u8]) -> u64 {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: u64,
    }
    serde_json::from_slice::<Numbered>(payload).map_or(0, |numbered| numbered.n)
}

type Stored = (u64, String, Vec<u8>);

async fn batch(client: &Client, stream: &str, request: &str) -> anyhow::Result<(Vec<Stored>, bool)> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, request.to_owned().into()).await?;
    let mut messages = Vec::new();
    loop {
        let Ok(Some(answer)) = tokio::time::timeout(LIMIT, answers.next()).await else {
            return Ok((messages, false));
        };
        if answer.status.is_some() {
            return Ok((messages, true));
        }
        let headers = answer.headers.context("headers")?;
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let (Some(seq), Some(subject)) = (header("Nats-Sequence"), header("Nats-Subject")) else {
            bail!("an answer without a sequence");
        };
        messages.push((seq.parse()?, subject, answer.payload.to_vec()));
    }
}
