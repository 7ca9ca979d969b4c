//! How large the market is, how fast it speaks, and about what.

use std::str::FromStr;

use thiserror::Error;

/// Fewest and most tokens.
pub const TOKENS: std::ops::RangeInclusive<usize> = 5..=10_000;
/// Most simulated users.
pub const MAX_USERS: usize = 10_000;
/// Slowest and fastest nominal rate, messages per second.
pub const RATES: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;
/// What is published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `odin.tokens.<id>.price`
    Price,
    /// `odin.tokens.<id>.volume`
    Volume,
    /// `odin.tokens.<id>.quote`
    Quote,
    /// `odin.tokens.batch.update`
    Batch,
    /// `odin.market.{summary,volume,sentiment,statistics,status}`
    Market,
    /// `odin.signals.<type>.<token>`
    Signals,
    /// `odin.users.<user>.{trades,portfolio,notifications}`
    Users,
    /// `odin.system.health`
    Health,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 8] =
        [Kind::Price, Kind::Volume, Kind::Quote, Kind::Batch, Kind::Market, Kind::Signals, Kind::Users, Kind::Health];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Price => "price",
            Kind::Volume => "volume",
            Kind::Quote => "quote",
            Kind::Batch => "batch",
            Kind::Market => "market",
            Kind::Signals => "signals",
            Kind::Users => "users",
            Kind::Health => "health",
        }
    }
}

impl FromStr for Kind {
    type Err = MarketError;

    fn from_str(text: &str) -> Result<Kind, MarketError> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| MarketError::Kind(text.to_owned()))
    }
}

/// How large the market is and how fast it speaks.
#[derive(Clone, PartialEq, Debug)]
pub struct MarketOptions {
    /// Tokens, 5 to 10,000: well-known names first, then `T00061` and so on.
    pub tokens: usize,
    /// Users with a portfolio, 1 to 10,000: `user-1` and so on.
    pub users: usize,
    /// Same seed, same market.
    pub seed: u64,
    /// When it begins, milliseconds since 1970.
    pub start_ms: i64,
    /// Messages per second of all kinds together, on the market's own clock, 0.001 to 10,000,000.
    pub rate: f64,
    /// How much the tokens' own rates differ: the sigma of a log-normal distribution, 0 to 3. At 0 they take turns.
    pub spread: f64,
    /// What is published; at least one kind.
    pub kinds: Vec<Kind>,
}

impl Default for MarketOptions {
    fn default() -> MarketOptions {
        MarketOptions {
            tokens: 50,
            users: 10,
            seed: 0,
            start_ms: 0,
            rate: 100.0,
            spread: 1.0,
            kinds: Kind::ALL.to_vec(),
        }
    }
}

/// Options that make no market.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum MarketError {
    /// Not the name of a kind.
    #[error("unknown kind {0:?}: one of price, volume, quote, batch, market, signals, users, health")]
    Kind(String),
    /// Nothing to publish.
    #[error("no kind of message chosen")]
    NoKind,
    /// A figure outside its bounds.
    #[error("{name} is {value}, it must be {bounds}")]
    OutOfBounds {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed, with unit.
        bounds: &'static str,
    },
}

impl MarketOptions {
    pub(super) fn validate(&self) -> Result<(), MarketError> {
        let bad = |name, value: String, bounds| Err(MarketError::OutOfBounds { name, value, bounds });
        if self.kinds.is_empty() {
            return Err(MarketError::NoKind);
        }
        if !TOKENS.contains(&self.tokens) {
            return bad("tokens", format!("{} tokens", self.tokens), "5 to 10000 tokens");
        }
        if !(1..=MAX_USERS).contains(&self.users) {
            return bad("users", format!("{} users", self.users), "1 to 10000 users");
        }
        if !RATES.contains(&self.rate) {
            return bad("rate", format!("{} messages/s", self.rate), "0.001 to 10000000 messages/s");
        }
        if !(0.0..=3.0).contains(&self.spread) {
            return bad("spread", self.spread.to_string(), "0 to 3");
        }
        Ok(())
    }
}
