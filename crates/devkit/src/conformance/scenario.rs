//! The scenarios: what each needs of a client, and what it can show.

mod auth;
mod connection;
mod messages;
mod publish;
mod reconnect;
mod resume;

use std::pin::Pin;

use serde_json::json;

use super::behaviour::Behaviour::{self, *};
use super::script::{Played, Script};

type Play = for<'a> fn(&'a mut Script) -> Pin<Box<dyn Future<Output = Played> + Send + 'a>>;

/// One play, and what a client has to bring along.
pub(super) struct Scenario {
    /// Also its path.
    pub(super) name: &'static str,
    /// What the client subscribes to.
    pub(super) subscribe: &'static [&'static str],
    /// Further channels to subscribe to: `many:1`, `many:2`, …
    pub(super) many: usize,
    /// Whether the client signs in, with a source that gives another token each time.
    pub(super) tokens: bool,
    /// So many publications to `chat:lobby` at once, each with data of its own.
    pub(super) publish: usize,
    /// Whether one client can go through it among others on the default path.
    pub(super) walks: bool,
    /// What it can show, beside what every connection shows.
    pub(super) shows: &'static [Behaviour],
    pub(super) play: Play,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What every connection shows.
pub(super) const ALWAYS: &[Behaviour] = &[OffersProtocol, MasksFrames, ValidMessages];

const PLAIN: Scenario = Scenario {
    name: "",
    subscribe: &["price:BTC"],
    many: 0,
    tokens: false,
    publish: 0,
    walks: false,
    shows: &[],
    play: |_| Box::pin(async { Ok(()) }),
};

/// All of them. Those that walk are played in this order on the default path: waits are measured first, while they are
/// short, and the last one is the end.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "waits",
        walks: true,
        shows: &[ComesBackSoon, WaitsWithinBounds, WaitsDiffer, AnswersClose, Resubscribes],
        play: |script| Box::pin(reconnect::waits(script)),
        ..PLAIN
    },
    Scenario {
        name: "messages",
        walks: true,
        shows: &[WaitsForHello, AnswersPings, IgnoresUnknown, TakesLargeMessages, TellsStale],
        play: |script| Box::pin(messages::messages(script)),
        ..PLAIN
    },
    Scenario {
        name: "heartbeat",
        walks: true,
        shows: &[StaysWhileHeard, PingsWhenSilent, LeavesWhenSilent, ComesBackSoon],
        play: |script| Box::pin(connection::heartbeat(script)),
        ..PLAIN
    },
    Scenario {
        name: "resume",
        walks: true,
        shows: &[ResumesWithSince, ResumesFromLastUpdate, Resubscribes, ComesBackSoon],
        play: |script| Box::pin(resume::exact(script)),
        ..PLAIN
    },
    Scenario {
        name: "checkpoint",
        subscribe: &["price:*"],
        walks: true,
        shows: &[ResumesWithSince, ResumesFromCheckpoint, KeepsCursorsAsTheyCame, DropsOverlap],
        play: |script| Box::pin(resume::pattern(script)),
        ..PLAIN
    },
    Scenario {
        name: "order",
        subscribe: &["price:BTC", "signals:all"],
        shows: &[TellsGaps, TellsMissing, MergesQuietly],
        play: |script| Box::pin(resume::order(script)),
        ..PLAIN
    },
    Scenario {
        name: "anew",
        shows: &[TellsLoss, BeginsAnew, FollowsEpoch],
        play: |script| Box::pin(resume::anew(script)),
        ..PLAIN
    },
    Scenario {
        name: "many",
        subscribe: &[],
        many: 700,
        shows: &[SplitsSubscribe, KeepsToMessageSize, Resubscribes],
        play: |script| Box::pin(messages::many(script)),
        ..PLAIN
    },
    Scenario {
        name: "refused_channels",
        subscribe: &["price:BTC", "price:ETH"],
        shows: &[AsksAgain, HonoursRetryAfterMs, TakesNoForAnAnswer],
        play: |script| Box::pin(messages::refused(script)),
        ..PLAIN
    },
    Scenario {
        name: "draining",
        walks: true,
        shows: &[ReturnsFromDrain],
        play: |script| Box::pin(reconnect::draining(script)),
        ..PLAIN
    },
    Scenario {
        name: "retry_after",
        walks: true,
        shows: &[HonoursRetryAfter],
        play: |script| Box::pin(reconnect::retry_after(script)),
        ..PLAIN
    },
    Scenario {
        name: "later",
        walks: true,
        shows: &[ComesBackLater],
        play: |script| Box::pin(reconnect::later(script)),
        ..PLAIN
    },
    Scenario {
        name: "forbidden",
        walks: true,
        shows: &[StaysAway],
        play: |script| Box::pin(reconnect::never(script, 4403)),
        ..PLAIN
    },
    Scenario {
        name: "unknown_never",
        shows: &[StaysAway],
        play: |script| Box::pin(reconnect::never(script, 4999)),
        ..PLAIN
    },
    Scenario {
        name: "refused_handshake",
        shows: &[StaysAwayRefused],
        play: |script| Box::pin(reconnect::refused(script)),
        ..PLAIN
    },
    Scenario {
        name: "sign_in",
        tokens: true,
        shows: &[SignsInFirst, OneAuthAtATime, FreshTokens, RefreshesInTime, RefreshesWhenTold, KeepsSubscriptions],
        play: |script| Box::pin(auth::sign_in(script)),
        ..PLAIN
    },
    Scenario {
        name: "auth_failed",
        tokens: true,
        shows: &[TriesAnotherToken, LeavesUnauthorized],
        play: |script| Box::pin(auth::failed(script)),
        ..PLAIN
    },
    Scenario {
        name: "auth_unavailable",
        tokens: true,
        shows: &[RetriesAuth],
        play: |script| Box::pin(auth::unavailable(script)),
        ..PLAIN
    },
    Scenario {
        name: "auth_forbidden",
        tokens: true,
        shows: &[LeavesForbidden],
        play: |script| Box::pin(auth::forbidden(script)),
        ..PLAIN
    },
    Scenario {
        name: "unauthorized",
        tokens: true,
        shows: &[ReturnsOnceAfter4401],
        play: |script| Box::pin(auth::unauthorized(script)),
        ..PLAIN
    },
    Scenario {
        name: "publish",
        publish: publish::MANY,
        shows: &[BoundsPublishes],
        play: |script| Box::pin(publish::window(script)),
        ..PLAIN
    },
    Scenario {
        name: "publish_lost",
        publish: 1,
        shows: &[NeverRepeatsPublish],
        play: |script| Box::pin(publish::lost(script)),
        ..PLAIN
    },
    Scenario {
        name: "publish_held",
        publish: publish::SOME,
        shows: &[HoldsPublishes],
        play: |script| Box::pin(publish::held(script)),
        ..PLAIN
    },
];

impl Scenario {
    /// What an adapter has to know.
    pub(super) fn to_json(&self, url: &str) -> serde_json::Value {
        json!({
            "name": self.name,
            "url": format!("{url}/{}", self.name),
            "subscribe": self.channels(),
            "tokens": self.tokens,
            "publish": self.publish,
        })
    }

    /// Everything that the client subscribes to.
    pub(super) fn channels(&self) -> Vec<String> {
        let many = (1..=self.many).map(|number| format!("many:{number}"));
        self.subscribe.iter().map(|channel| (*channel).to_owned()).chain(many).collect()
    }
}
