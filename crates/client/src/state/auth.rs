//! Signing in, and staying signed in: which token goes out when, and what the answer means.
//!
//! It says that it wants a token and is given one; it asks nobody, and keeps none that it has sent, only a fingerprint
//! to know it again. Until the gateway has accepted a token, nothing else is asked for.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use odin_protocol::{ClientMessage, ErrorMessage, RequestId, Secret};
use rand::Rng;
use tokio::time::Instant;

use crate::{
    backoff::{Backoff, uniform},
    parting::AuthFailure,
    text::printable,
    token::TokenError,
};

/// A token with less to live was accepted all the same: the two clocks disagree, and only the gateway knows when it
/// expires. It says so by `token_expiring`.
const MIN_LIFE: Duration = Duration::from_secs(1);
/// Longest life reckoned with, so that sums of times fit.
const MAX_LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longest wait a gateway may ask for.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Least time between two questions to the source, however often a gateway says that the token expires.
const PACE: Duration = Duration::from_secs(1);
/// The first token that is not valid may be one that was replaced a moment ago; so many in a row are not.
const MAX_REFUSALS: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Auth {
    /// Without a source of tokens the connection is anonymous.
    has_source: bool,
    /// How long an answer may take.
    limit: Duration,
    /// Waits between tries on one connection, as they begin.
    retry: Backoff,
    backoff: Backoff,
    step: Step,
    /// The token that this connection is signed in with.
    in_force: Option<InForce>,
    /// Tokens in a row that were not valid, on this connection and those before.
    refusals: u32,
    /// The one of them that was last sent on this connection, and what was said.
    refused: Option<(u64, AuthFailure)>,
    /// When a refresh last began.
    asked: Option<Instant>,
    prints: RandomState,
}

/// What is under way.
#[derive(Debug)]
enum Step {
    Idle,
    /// The source is to be asked, or is being asked.
    Wanted,
    /// To be sent.
    Ready(Secret),
    Sent {
        id: u64,
        print: u64,
        answer_by: Instant,
    },
    /// The source is to be asked then.
    Later(Instant),
}

#[derive(Debug, Clone, Copy)]
struct InForce {
    print: u64,
    refresh_at: Option<Instant>,
    /// By this machine's clock, where that is believable; or what was left when the gateway last said so.
    expires: Option<Instant>,
}

/// A try that came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setback {
    pub(super) why: AuthFailure,
    pub(super) then: Then,
}

/// What follows a setback.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The source is asked for another token.
    AskAnew,
    /// Another try on this connection after this time.
    Retry(Duration),
    /// Nothing more: the token in force will have expired.
    Expire,
    /// The connection is of no use.
    Leave,
}

impl Auth {
    pub(super) fn new(has_source: bool, limit: Duration, retry: Backoff) -> Self {
        let step = if has_source { Step::Wanted } else { Step::Idle };
        Auth {
            has_source,
            limit,
            retry,
            backoff: retry,
            step,
            in_force: None,
            refusals: 0,
            refused: None,
            asked: None,
            prints: RandomState::new(),
        }
    }

    /// Whether anything else may be asked for.
    pub(super) fn is_open(&self) -> bool {
        !self.has_source || self.in_force.is_some()
    }

    /// Whether this connection is signed in.
    pub(super) fn is_signed_in(&self) -> bool {
        self.in_force.is_some()
    }

    /// Whether the source is to be asked, and [`Auth::given`] to be told.
    pub(super) fn wants_token(&self) -> bool {
        matches!(self.step, Step::Wanted)
    }

    /// What the source said.
    pub(super) fn given(
        &mut self,
        now: Instant,
        token: Result<Secret, TokenError>,
        random: &mut impl Rng,
    ) -> Option<Setback> {
        if !self.wants_token() {
            return None;
        }
        let token = match token {
            Ok(token) => token,
            Err(error) => return Some(self.fail(now, AuthFailure::NoToken { cause: error.to_string() }, random)),
        };
        let print = self.prints.hash_one(token.expose());
        if self.in_force.is_some_and(|in_force| in_force.print == print) {
            // nothing is wrong: the next one is not there yet
            self.postpone(now, Duration::ZERO, random);
            return None;
        }
        match self.refused.take_if(|(refused, _)| *refused == print) {
            Some((_, why)) => Some(Setback { why, then: Then::Leave }),
            None => {
                self.step = Step::Ready(token);
                None
            }
        }
    }

    /// Whether [`Auth::message`] has something to say.
    pub(super) fn has_message(&self) -> bool {
        matches!(self.step, Step::Ready(_))
    }

    /// The token that waits to be sent, under this id.
    pub(super) fn message(&mut self, now: Instant, id: u64) -> Option<ClientMessage> {
        let Step::Ready(token) = &self.step else { return None };
        let print = self.prints.hash_one(token.expose());
        let sent = Step::Sent { id, print, answer_by: now + self.limit };
        let Step::Ready(token) = std::mem::replace(&mut self.step, sent) else { return None };
        Some(ClientMessage::Auth { id: Some(RequestId::Number(id)), token })
    }

    /// `authenticated`: says whether the connection was signed in before. `None`: nobody asked for that.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        id: Option<&RequestId>,
        left: Option<Duration>,
        random: &mut impl Rng,
    ) -> Option<bool> {
        let Step::Sent { id: sent, print, .. } = self.step else { return None };
        if id != Some(&RequestId::Number(sent)) {
            return None;
        }
        let is_refresh = self.in_force.is_some();
        let left = left.filter(|left| *left >= MIN_LIFE).map(|left| left.min(MAX_LIFE));
        self.in_force = Some(InForce {
            print,
            // a fleet that signed in together must not come back to its source together
            refresh_at: left.map(|left| now + left / 2 + uniform(random, left / 4)),
            expires: left.map(|left| now + left),
        });
        (self.step, self.backoff) = (Step::Idle, self.retry);
        (self.refusals, self.refused) = (0, None);
        Some(is_refresh)
    }

    /// `error` under this id; `None`: it is about something else.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        id: u64,
        error: &ErrorMessage,
        random: &mut impl Rng,
    ) -> Option<Setback> {
        let Step::Sent { id: sent, print, .. } = self.step else { return None };
        if id != sent {
            return None;
        }
        let why = AuthFailure::Refused {
            code: error.code,
            message: printable(&error.message).into_owned(),
            retry_after: error.retry_after_ms.map(|wait| Duration::from_millis(wait).min(MAX_WAIT)),
        };
        if self.in_force.is_none() && !error.code.retry() {
            self.refusals = self.refusals.saturating_add(1);
            self.refused = Some((print, why.clone()));
        }
        Some(self.fail(now, why, random))
    }

    fn fail(&mut self, now: Instant, why: AuthFailure, random: &mut impl Rng) -> Setback {
        let at_least = match &why {
            AuthFailure::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let then = match &why {
            why if why.is_final() => Then::Leave,
            _ if self.in_force.is_some() => self.postpone(now, at_least, random),
            AuthFailure::Refused { code, .. } if code.retry() => self.postpone(now, at_least, random),
            AuthFailure::Refused { .. } if self.refusals < MAX_REFUSALS => {
                self.step = Step::Wanted;
                Then::AskAnew
            }
            _ => Then::Leave,
        };
        Setback { why, then }
    }

    /// The source is to be asked again, unless the token in force will have expired by then.
    fn postpone(&mut self, now: Instant, at_least: Duration, random: &mut impl Rng) -> Then {
        let wait = at_least.saturating_add(self.backoff.draw(random));
        let at = now + wait;
        if let Some(in_force) = &mut self.in_force
            && in_force.expires.is_some_and(|expires| at >= expires)
        {
            in_force.refresh_at = None;
            self.step = Step::Idle;
            return Then::Expire;
        }
        self.step = Step::Later(at);
        Then::Retry(wait)
    }

    /// `token_expiring`: the source is to be asked at once.
    pub(super) fn expiring(&mut self, now: Instant, left: Option<Duration>) {
        let Some(in_force) = &mut self.in_force else { return };
        if let Some(left) = left {
            in_force.expires = Some(now + left.min(MAX_LIFE));
        }
        let soonest = self.asked.map_or(now, |asked| now.max(asked + PACE));
        match self.step {
            Step::Idle => self.step = Step::Later(soonest),
            Step::Later(at) => self.step = Step::Later(at.min(soonest)),
            Step::Wanted | Step::Ready(_) | Step::Sent { .. } => {}
        }
    }

    /// When [`Auth::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Idle => self.in_force.and_then(|in_force| in_force.refresh_at),
            Step::Later(at) => Some(at),
            Step::Sent { answer_by, .. } => Some(answer_by),
            Step::Wanted | Step::Ready(_) => None,
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant, random: &mut impl Rng) -> Option<Setback> {
        self.begin(now);
        match self.step {
            Step::Sent { answer_by, .. } if now >= answer_by => {
                Some(self.fail(now, AuthFailure::Unanswered { limit: self.limit }, random))
            }
            _ => None,
        }
    }

    /// Begins a refresh or another try, if it is time for that.
    pub(super) fn begin(&mut self, now: Instant) {
        let is_waiting = matches!(self.step, Step::Idle | Step::Later(_));
        if !is_waiting || self.deadline().is_none_or(|at| now < at) {
            return;
        }
        if let Some(in_force) = &mut self.in_force {
            in_force.refresh_at = None;
        }
        (self.step, self.asked) = (Step::Wanted, Some(now));
    }

    /// Nothing was read for some time: an answer may lie there unread.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        if let Step::Sent { answer_by, .. } = &mut self.step {
            *answer_by = now + self.limit;
        }
    }

    /// The gateway closed the connection because of the token: says whether to come back with another one.
    pub(super) fn unauthorized(&mut self) -> bool {
        let was_counted = self.refused.is_some() && !matches!(self.step, Step::Sent { .. });
        if !was_counted {
            self.refusals = self.refusals.saturating_add(1);
        }
        self.has_source && self.refusals < MAX_REFUSALS
    }

    /// There is no connection any more: the next one begins with a token of its own.
    pub(super) fn away(&mut self) {
        self.step = if self.has_source { Step::Wanted } else { Step::Idle };
        self.backoff = self.retry;
        (self.in_force, self.refused, self.asked) = (None, None, None);
    }
}
