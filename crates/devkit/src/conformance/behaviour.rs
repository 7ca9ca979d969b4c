//! What a client is expected to do: one line for each sentence of `docs/protocol.md` that can be seen from outside.

/// How much a behaviour matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The protocol demands it.
    Must,
    /// The protocol recommends it, or not every platform can do it.
    Should,
}

impl Level {
    /// `MUST` or `SHOULD`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
        }
    }
}

macro_rules! behaviours {
    ($($variant:ident = $name:literal, $level:ident, $section:literal, $text:literal;)+) => {
        /// Something a client does, in the order of the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Behaviour {
            $(#[doc = $text] $variant,)+
        }

        impl Behaviour {
            /// All of them.
            pub const ALL: &[Behaviour] = &[$(Behaviour::$variant,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Behaviour::$variant => $name,)+ }
            }

            /// How much it matters.
            pub const fn level(self) -> Level {
                match self { $(Behaviour::$variant => Level::$level,)+ }
            }

            /// The section of `docs/protocol.md` that says so.
            pub const fn section(self) -> &'static str {
                match self { $(Behaviour::$variant => $section,)+ }
            }

            /// What it is, in one line.
            pub const fn text(self) -> &'static str {
                match self { $(Behaviour::$variant => $text,)+ }
            }
        }
    };
}

behaviours! {
    OffersProtocol = "offers_protocol", Must, "sub-protocols", "offers a sub-protocol of odin in the handshake";
    MasksFrames = "masks_frames", Must, "frames", "masks its frames and keeps to RFC 6455";
    ValidMessages = "valid_messages", Must, "messages", "says only what the protocol knows, in the frames of its codec";
    WaitsForHello = "waits_for_hello", Should, "connectionstatus", "says nothing before connection:status";
    AnswersPings = "answers_pings", Must, "heartbeat", "answers a WebSocket ping with a pong of the same bytes";
    AnswersClose = "answers_close", Should, "close-codes", "answers a close frame with one";
    IgnoresUnknown = "ignores_unknown", Must, "messages", "ignores members, types, states and codes it does not know";
    TakesLargeMessages = "takes_large_messages", Must, "limits", "takes a message of 262,144 bytes";
    StaysWhileHeard = "stays_while_heard", Must, "heartbeat", "stays while pings and pongs come, and nothing else";
    PingsWhenSilent = "pings_when_silent", Must, "heartbeat", "sends a ping message when 1.5 heartbeats were silent";
    LeavesWhenSilent = "leaves_when_silent", Must, "heartbeat", "leaves when 2 heartbeats were silent, not before 1.5";
    ComesBackSoon = "comes_back_soon", Must, "reconnecting", "comes back after 1012 and after a cut";
    WaitsWithinBounds = "waits_within_bounds", Must, "reconnecting", "waits no longer than the table allows";
    WaitsDiffer = "waits_differ", Must, "reconnecting", "draws each wait anew (full jitter)";
    ComesBackLater = "comes_back_later", Must, "reconnecting", "comes back after 1013 and after an unknown 4000-4399";
    StaysAway = "stays_away", Must, "close-codes", "does not come back after 4403 and after an unknown 4400-4999";
    StaysAwayRefused = "stays_away_refused", Should, "http-answers", "does not come back after HTTP 403 (where the platform shows it)";
    HonoursRetryAfter = "honours_retry_after", Should, "reconnecting", "waits for Retry-After of 503 and 429 (where the platform shows it)";
    ReturnsFromDrain = "returns_from_drain", Must, "reconnecting", "comes back from a draining gateway at once, not after reconnectInMs";
    Resubscribes = "resubscribes", Must, "reconnecting", "asks again for all its subscriptions, once for each connection";
    ResumesWithSince = "resumes_with_since", Must, "resuming", "asks with the position where it stopped";
    ResumesFromLastUpdate = "resumes_from_last_update", Should, "cursors", "resumes an exact channel from its last update";
    ResumesFromCheckpoint = "resumes_from_checkpoint", Must, "cursors", "resumes a pattern from the last checkpoint";
    KeepsCursorsAsTheyCame = "keeps_cursors_as_they_came", Must, "cursors", "hands back a cursor of a form it does not know";
    DropsOverlap = "drops_overlap", Must, "what-a-client-does-with-each-message", "drops what a resume repeats";
    TellsGaps = "tells_gaps", Must, "what-a-client-does-with-each-message", "tells the application of a gap";
    TellsMissing = "tells_missing", Must, "what-a-client-does-with-each-message", "reports what is missing in mode all though no gap said so";
    MergesQuietly = "merges_quietly", Must, "what-a-client-does-with-each-message", "takes merged values of mode latest as no loss";
    TellsLoss = "tells_loss", Must, "what-a-client-does-with-each-message", "tells the application when a resume was not possible";
    BeginsAnew = "begins_anew", Must, "what-a-client-does-with-each-message", "delivers what follows recovered:false, and finds nothing missing there";
    FollowsEpoch = "follows_epoch", Must, "what-a-client-does-with-each-message", "delivers lower sequences of another epoch, and resumes in it";
    TellsStale = "tells_stale", Should, "stale", "tells the application of stale and live";
    SplitsSubscribe = "splits_subscribe", Must, "limits", "names at most 500 channels in one message";
    KeepsToMessageSize = "keeps_to_message_size", Must, "limits", "sends no message above maxMessageBytes";
    AsksAgain = "asks_again", Should, "error-codes", "asks again for a channel that was refused with retryAfterMs";
    HonoursRetryAfterMs = "honours_retry_after_ms", Must, "reconnecting", "does not ask again before retryAfterMs";
    TakesNoForAnAnswer = "takes_no_for_an_answer", Should, "error-codes", "does not ask again for a channel that is forbidden";
    SignsInFirst = "signs_in_first", Must, "signing-in", "sends auth first, and asks for nothing else before authenticated";
    OneAuthAtATime = "one_auth_at_a_time", Must, "signing-in", "has one auth under way at a time";
    FreshTokens = "fresh_tokens", Must, "signing-in", "takes a fresh token for each connection";
    RefreshesInTime = "refreshes_in_time", Must, "signing-in", "refreshes between half of the token's life and its end";
    RefreshesWhenTold = "refreshes_when_told", Must, "signing-in", "refreshes on token_expiring";
    KeepsSubscriptions = "keeps_subscriptions", Must, "signing-in", "asks for nothing again after a refresh";
    TriesAnotherToken = "tries_another_token", Must, "signing-in", "tries once more with another token after auth_failed";
    LeavesUnauthorized = "leaves_unauthorized", Must, "signing-in", "closes with 1000 after the second auth_failed and comes back with one try";
    RetriesAuth = "retries_auth", Must, "signing-in", "tries again on the connection after auth_unavailable, not before retryAfterMs";
    LeavesForbidden = "leaves_forbidden", Must, "signing-in", "closes with 1000 after forbidden and does not come back";
    ReturnsOnceAfter4401 = "returns_once_after_4401", Must, "reconnecting", "comes back after 4401 at most once, with another token";
    BoundsPublishes = "bounds_publishes", Must, "publish", "has at most 16 publications under way, and sends the others later";
    NeverRepeatsPublish = "never_repeats_publish", Must, "publish", "does not repeat a publication whose answer was lost";
    HoldsPublishes = "holds_publishes", Must, "publish", "publishes nothing for retryAfterMs after rate_limited";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_behaviour_is_in_the_table_for_those_who_write_a_client() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/clients/writing-a-client.md");
        let page = std::fs::read_to_string(page).expect("the page is in the checkout");
        for behaviour in Behaviour::ALL {
            let cells = format!(
                "| [{}](../protocol.md#{}) `{}` | {} |",
                behaviour.text(),
                behaviour.section(),
                behaviour.name(),
                behaviour.level().as_str()
            );
            assert!(page.contains(&cells), "{cells}");
        }
    }

    /// A link of the report that leads nowhere helps nobody.
    #[test]
    fn every_section_is_a_heading_of_the_protocol() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
        let page = std::fs::read_to_string(page).expect("the page is in the checkout");
        let headings = page.lines().filter(|line| line.starts_with('#'));
        let anchors: Vec<String> = headings
            .map(|heading| {
                let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                text.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect()
            })
            .collect();
        for behaviour in Behaviour::ALL {
            assert!(anchors.iter().any(|anchor| anchor == behaviour.section()), "{}", behaviour.section());
        }
    }
}
