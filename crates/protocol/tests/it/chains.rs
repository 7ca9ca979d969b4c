//! The rules for clients in `docs/protocol.md`, written down once more and held against `chains.json`.

use std::collections::HashMap;

use odin_protocol::{Channel, Codec, Epoch, Mode, ResumeFailure, ServerMessage, Update};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::vectors;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    mode: Mode,
    messages: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    expect: String,
    message: Box<RawValue>,
}

struct Chain {
    last: u64,
    epoch: Epoch,
    is_open: bool,
}

struct Chains {
    mode: Mode,
    known: HashMap<(String, Option<String>), Chain>,
}

impl Chains {
    fn take(&mut self, message: ServerMessage) -> &'static str {
        match message {
            ServerMessage::Subscribed { channel, recovered, reason, .. } => {
                if !recovered {
                    self.begin_anew(&channel, reason);
                }
                "begin"
            }
            ServerMessage::Update(update) => self.update(&update),
            ServerMessage::Gap { channel, key, until, .. } => {
                let is_meant =
                    |id: &(String, Option<String>)| covers(&channel, &id.0) && (key.is_none() || key == id.1);
                for (_, chain) in self.known.iter_mut().filter(|(id, _)| is_meant(id)) {
                    chain.last = chain.last.max(until);
                }
                "gap"
            }
            ServerMessage::Checkpoint { .. } => "position",
            other => panic!("not part of a case: {other:?}"),
        }
    }

    fn begin_anew(&mut self, subscribed: &str, reason: Option<ResumeFailure>) {
        for (_, chain) in self.known.iter_mut().filter(|(id, _)| covers(subscribed, &id.0)) {
            chain.is_open = true;
            if matches!(reason, Some(ResumeFailure::EpochChanged | ResumeFailure::RolledBack)) {
                chain.last = 0;
            }
        }
    }

    fn update(&mut self, update: &Update) -> &'static str {
        let id = (update.channel.clone(), update.key.clone());
        let chain = self.known.entry(id).or_insert(Chain { last: 0, epoch: update.epoch, is_open: true });
        if chain.epoch != update.epoch {
            *chain = Chain { last: 0, epoch: update.epoch, is_open: true };
        }
        if update.seq <= chain.last {
            return "drop";
        }
        let verdict = match update.prev {
            Some(prev) if !chain.is_open && prev > chain.last => match self.mode {
                Mode::Latest => "merged",
                Mode::All => "missing",
            },
            _ => "deliver",
        };
        chain.last = update.seq;
        chain.is_open = false;
        verdict
    }
}

fn covers(subscribed: &str, channel: &str) -> bool {
    let parse = |name| Channel::parse(name).expect("a case names valid channels");
    parse(subscribed).matches(&parse(channel))
}

#[test]
fn the_rules_for_clients_give_the_verdicts_of_the_vectors() {
    for case in vectors::<Case>("chains.json") {
        let mut chains = Chains { mode: case.mode, known: HashMap::new() };
        for (at, step) in case.messages.into_iter().enumerate() {
            let message = ServerMessage::decode(Codec::Json, step.message.get().as_bytes()).expect(&case.name);
            assert_eq!(chains.take(message), step.expect, "{}, message {at}", case.name);
        }
    }
}
