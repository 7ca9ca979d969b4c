//! Who is on a connection: signing in by message, refreshing, expiring, and what a user may still have after a change.

use std::{sync::Arc, time::Duration};

use odin_protocol::{
    close::CloseCode,
    error::ErrorCode,
    message::{ErrorMessage, RequestId, Secret, ServerMessage, SystemState},
};
use tokio::task::spawn_local;

use super::{Shard, rate::Quota};
use crate::{
    auth::{AuthError, Visit},
    clock::now_ms,
    cluster::{UserLimitReached, UserSeat},
    identity::{Identity, User},
    metrics::{AuthResult, CloseReason},
};

/// How soon a client may try again when nobody can check its token.
const RETRY_AFTER_MS: u64 = 1_000;

/// Nothing to look at.
const NEVER_S: u32 = u32::MAX;

/// What became of a token, for the connection that it came by.
#[derive(Debug)]
pub(super) struct Verdict {
    slot: usize,
    serial: u64,
    request: Option<RequestId>,
    result: Result<(Arc<User>, Option<UserSeat>), Refused>,
}

/// Why nobody was signed in.
#[derive(Debug)]
enum Refused {
    Token(AuthError),
    User(UserLimitReached),
}

impl Shard {
    /// Has a token checked, beside everything else. One at a time for each connection: whatever a client sends, a
    /// gateway works on one signature of it.
    pub(super) fn sign_in(&mut self, slot: usize, request: Option<RequestId>, token: &Secret) {
        let auth = self.current.borrow().auth.clone();
        if !auth.is_offered() {
            self.refuse(slot, ErrorMessage::new(request, ErrorCode::AuthUnavailable, "nobody can sign in here"));
            return;
        }
        let quota = Quota { most: self.config.limits.auths_per_minute, period: Duration::from_secs(60) };
        let now_us = self.now_us();
        let connection = &mut self.connections[slot];
        if let Err(retry_ms) = connection.rates.auths.take(1, quota, now_us) {
            self.refuse_rate(slot, request, "attempts to sign in in a minute", quota.most, retry_ms);
            return;
        }
        if std::mem::replace(&mut connection.is_checking, true) {
            self.refuse_rate(slot, request, "token at a time", 1, RETRY_AFTER_MS);
            return;
        }
        let serial = connection.serial;
        let guest = &connection.guest;
        let visit = Visit { ip: guest.ip, origin: guest.origin.as_deref().map(str::to_owned) };
        let has_seat = guest.user_seat.is_some();
        let (shared, verdicts, token) = (self.shared.clone(), self.verdicts.clone(), token.clone());
        spawn_local(async move {
            let result = match auth.check(token.expose(), &visit).await {
                Err(error) => Err(Refused::Token(error)),
                // The same user still has the place it took.
                Ok(user) if has_seat => Ok((user, None)),
                Ok(user) => match shared.cluster.enter(&user).await {
                    Ok(seat) => Ok((user, Some(seat))),
                    Err(reached) => Err(Refused::User(reached)),
                },
            };
            verdicts.push(Verdict { slot, serial, request, result });
        });
    }

    pub(super) fn on_verdict(&mut self, verdict: Verdict) {
        let Verdict { slot, serial, request, result } = verdict;
        let Some(connection) = self.connections.get_mut(slot).filter(|c| c.serial == serial && c.closing.is_none())
        else {
            return;
        };
        connection.is_checking = false;
        match result {
            Ok((user, seat)) => self.signed_in(slot, request, user, seat),
            Err(Refused::Token(error)) => self.token_refused(slot, request, error),
            Err(Refused::User(UserLimitReached { limit })) => {
                let text = format!("the user has {limit} connections");
                let mut error = ErrorMessage::new(request, ErrorCode::TooManyConnections, text);
                error.limit = Some(limit.into());
                error.retry_after_ms = Some(RETRY_AFTER_MS);
                self.refuse(slot, error);
                self.close(slot, CloseCode::TryAgainLater, CloseReason::UserLimit);
            }
        }
        self.catch_up(slot);
    }

    fn signed_in(&mut self, slot: usize, request: Option<RequestId>, user: Arc<User>, seat: Option<UserSeat>) {
        let result = if self.shared.revocations.cover(&user) { AuthResult::Revoked } else { AuthResult::Ok };
        self.metrics.auths.of(result).add(1);
        if result == AuthResult::Revoked {
            // While the token was checked.
            self.close(slot, CloseCode::Revoked, CloseReason::Revoked);
            return;
        }
        let guest = &mut self.connections[slot].guest;
        match guest.identity.user() {
            Some(before) if before.sub != user.sub => {
                let text = "the connection belongs to another user";
                self.refuse(slot, ErrorMessage::new(request, ErrorCode::Forbidden, text));
                return;
            }
            Some(_) => {}
            None => self.metrics.users.add(1),
        }
        guest.user_seat = guest.user_seat.take().or(seat);
        guest.identity = Identity::User(user);
        self.welcome_user(slot, request);
        self.recheck(slot);
    }

    /// Tells a connection who it is, and looks after its token from now on.
    pub(super) fn welcome_user(&mut self, slot: usize, request: Option<RequestId>) {
        let connection = &mut self.connections[slot];
        let Some(user) = connection.guest.identity.user().cloned() else {
            return;
        };
        connection.was_warned = false;
        self.connections[slot].look_s = self.next_look(slot);
        let (sub, expires_at) = (user.sub.clone(), user.expires_at_ms);
        self.answer(slot, &ServerMessage::Authenticated { id: request, sub, expires_at });
    }

    fn token_refused(&mut self, slot: usize, request: Option<RequestId>, error: AuthError) {
        let (result, code) = match error {
            AuthError::Failed => (AuthResult::Failed, ErrorCode::AuthFailed),
            AuthError::Expired => (AuthResult::Expired, ErrorCode::AuthFailed),
            AuthError::Revoked => (AuthResult::Revoked, ErrorCode::AuthFailed),
            AuthError::Unavailable => (AuthResult::Unavailable, ErrorCode::AuthUnavailable),
        };
        self.metrics.auths.of(result).add(1);
        let mut message = ErrorMessage::new(request, code, error.to_string());
        message.retry_after_ms = (error == AuthError::Unavailable).then_some(RETRY_AFTER_MS);
        self.refuse(slot, message);
        let is_nobody = self.connections[slot].guest.identity == Identity::Anonymous;
        match error {
            AuthError::Revoked => self.close(slot, CloseCode::Revoked, CloseReason::Revoked),
            // Who was signed in stays so until the token of before ends.
            AuthError::Failed | AuthError::Expired if is_nobody && self.config.auth.required => {
                self.close(slot, CloseCode::Unauthorized, CloseReason::Unauthorized);
            }
            _ => {}
        }
    }

    /// When the connection's token, or that it has none, is to be looked at: in the shard's seconds of real time.
    pub(super) fn next_look(&self, slot: usize) -> u32 {
        let connection = &self.connections[slot];
        let Some(user) = connection.guest.identity.user() else {
            let deadline_s = self.config.auth.deadline.as_secs().max(1) as u32;
            return if self.config.auth.required { self.lived_s() + deadline_s } else { NEVER_S };
        };
        let Some(left_ms) = self.token_left_ms(user) else {
            return NEVER_S;
        };
        let warning_ms = if connection.was_warned { 0 } else { self.config.auth.expiry_warning.as_millis() as i64 };
        // Rounded up, so that it is over when it is looked at.
        let wait_s = left_ms.saturating_sub(warning_ms).max(0).saturating_add(999) / 1000;
        self.lived_s().saturating_add(u32::try_from(wait_s).unwrap_or(NEVER_S))
    }

    /// How long the token is believed. `None`: for ever.
    fn token_left_ms(&self, user: &User) -> Option<i64> {
        let ends_ms = user.expires_at_ms?.saturating_add(self.config.auth.leeway.as_millis() as i64);
        Some(ends_ms.saturating_sub(now_ms()))
    }

    /// Warns of the end of a token and, when it has come, ends the connection; ends one that had to sign in.
    pub(super) fn look_at_token(&mut self, slot: usize) {
        let Some(user) = self.connections[slot].guest.identity.user().cloned() else {
            if self.config.auth.required {
                self.close(slot, CloseCode::AuthTimeout, CloseReason::AuthTimeout);
            }
            return;
        };
        let left_ms = self.token_left_ms(&user).unwrap_or(i64::MAX);
        if left_ms <= 0 {
            self.close(slot, CloseCode::TokenExpired, CloseReason::TokenExpired);
            return;
        }
        let warning_ms = self.config.auth.expiry_warning.as_millis() as i64;
        if left_ms <= warning_ms && !std::mem::replace(&mut self.connections[slot].was_warned, true) {
            let warning = ServerMessage::System {
                status: SystemState::TokenExpiring,
                reconnect_in_ms: None,
                expires_in_ms: Some(left_ms.unsigned_abs()),
                message: None,
            };
            self.answer(slot, &warning);
        }
        self.connections[slot].look_s = self.next_look(slot);
    }

    /// Ends what the connection may not have any more, and begins anew what it may have in another way: another
    /// token, other rules.
    pub(super) fn recheck(&mut self, slot: usize) {
        let identity = self.connections[slot].guest.identity.clone();
        let subscriptions = self.connections[slot].subscriptions.clone();
        for subscription in subscriptions {
            if self.connections[slot].closing.is_some() {
                return;
            }
            let before = self.feeds.at(subscription.feed).topic.clone();
            match self.config.rules.resolve(&before.channel, &identity) {
                Ok(topic) if topic == *before => {}
                Ok(topic) => {
                    let may_choose = topic.client_may_choose_mode || topic.mode == subscription.mode;
                    let mode = if may_choose { subscription.mode } else { topic.mode };
                    self.end_subscription(slot, subscription.feed);
                    self.subscribe(slot, None, topic, mode, None);
                }
                Err(refusal) => {
                    self.end_subscription(slot, subscription.feed);
                    let channel = before.channel.to_string();
                    let mut error = ErrorMessage::new(None, refusal.code, refusal.message);
                    error.channel = Some(channel.clone());
                    self.refuse(slot, error);
                    self.answer(slot, &ServerMessage::Unsubscribed { id: None, channel });
                }
            }
        }
    }
}
