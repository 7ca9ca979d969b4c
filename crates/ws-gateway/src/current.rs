//! What may change while the gateway runs: one value, replaced as a whole, so that nobody sees half of a change.

use std::{num::NonZeroU32, sync::Arc};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::{
    auth::Authenticator,
    config::{Config, Limits},
    error::RunError,
    identity::User,
    tls::Tls,
};

/// See the module. Whoever needs several parts together takes them from one.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Arc<Config>,
    pub(crate) auth: Arc<Authenticator>,
    /// None: clients connect without TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) rates: UserRates,
}

impl Current {
    /// The same under another configuration, with the keys and certificates it names read anew.
    ///
    /// # Errors
    /// What is wrong with those.
    pub(crate) fn successor(&self, config: Config) -> Result<Self, RunError> {
        let auth = Arc::new(self.auth.successor(&config)?);
        let (tls, rates) = (Tls::load(&config.tls)?, UserRates::new(&config.limits));
        Ok(Self { config: Arc::new(config), auth, tls, rates })
    }
}

/// How fast the connections of a user may talk, all of them together. Made anew with each reload: what was used by
/// then is forgiven.
#[derive(Debug)]
pub(crate) struct UserRates(Option<DefaultKeyedRateLimiter<Arc<str>>>);

impl UserRates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most = limits.user_messages_per_second.and_then(NonZeroU32::new);
        Self(most.map(|most| RateLimiter::keyed(Quota::per_second(most))))
    }

    /// Counts a message, and says whether it is within the limit.
    pub(crate) fn may_say(&self, user: &User) -> bool {
        self.0.as_ref().is_none_or(|limiter| limiter.check_key(&Arc::from(user.sub.as_str())).is_ok())
    }

    /// Forgets users who have used nothing for a while. To be called now and then: they are kept until then.
    pub(crate) fn sweep(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
impl Current {
    /// A configuration in a gateway where nobody can sign in.
    pub(crate) fn of(config: Config) -> Self {
        let rates = UserRates::new(&config.limits);
        Self { config: Arc::new(config), auth: Arc::new(Authenticator::closed()), tls: None, rates }
    }
}
