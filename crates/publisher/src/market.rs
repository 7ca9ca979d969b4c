//! The simulated market: tokens, trades, users and signals from a seed, without clock and without I/O.
//!
//! Time is given by the caller with every step, so the same seed and the same times give the same bytes. What is published
//! adds up:
//!
//! - `volume24h` is the sum of the token's trades (users' trades included) over a rolling window of 96 quarter hours, of
//!   which the last one is still running; `priceChange24h` is the change in percent against the price at the beginning of
//!   that window. The time before the start is filled with a generated past;
//! - an update with source `trade` is a trade; one with source `scheduler` repeats the last price with fresh figures;
//! - a portfolio is what its user's trades made of the money it began with, at the last prices;
//! - market summary, volume and statistics are sums over the tokens.
//!
//! Prices are geometric random walks with a volatility per token, a weak pull back to where they began, and bursts: for some
//! seconds a token moves and trades several times as much.

mod options;
mod payload;
mod schedule;
mod shape;
mod token;
mod user;

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1, LogNormal};

pub use options::{Kind, MAX_USERS, MarketError, MarketOptions, RATES, TOKENS};
use payload::Writer;
use schedule::Schedule;
pub use schedule::rate_for_interval;
use token::Token;
use user::User;

/// Tokens in one batch update: well below 64 KiB.
const MAX_BATCH: usize = 50;
/// A token bursts about this often, in seconds.
const BURST_EVERY_S: f64 = 300.0;
/// How long, on average, in seconds.
const BURST_MEAN_S: f64 = 20.0;
/// Share of price updates that go to bursting tokens while there are any.
const BURST_SHARE: f64 = 0.25;
/// Share of price updates that repeat the last price.
const SCHEDULER_SHARE: f64 = 0.15;

/// One message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Its subject: always one that can be published on.
    pub subject: String,
    /// Its nonce, to be used as message id: a UUIDv7 of the step's time.
    pub id: String,
    /// One JSON object.
    pub payload: Vec<u8>,
}

/// A market in the middle of its life.
#[derive(Debug)]
pub struct Market {
    rng: ChaCha12Rng,
    start_ms: i64,
    now_ms: i64,
    spread: f64,
    schedule: Schedule,
    tokens: Vec<Token>,
    /// Running sums of the tokens' weights, for choosing one.
    weights: Vec<f64>,
    /// Bursting tokens and until when, milliseconds since 1970.
    bursts: Vec<(usize, i64)>,
    /// Tokens with news since the last batch, oldest first, each once.
    changed: Vec<usize>,
    users: Vec<User>,
    turn: usize,
    market_turn: usize,
    trades: u64,
}

impl Market {
    /// Makes a market and its last 24 hours. 10,000 tokens take about 30 MB.
    ///
    /// # Errors
    /// [`MarketError`]: the first figure outside its bounds, or no kind.
    pub fn new(options: &MarketOptions) -> Result<Market, MarketError> {
        options.validate()?;
        let mut rng = ChaCha12Rng::seed_from_u64(options.seed);
        let tokens: Vec<Token> =
            (0..options.tokens).map(|index| Token::new(index, options.start_ms, &mut rng)).collect();
        let own_rate = LogNormal::new(0.0, options.spread).expect("the spread was checked");
        let mut sum = 0.0;
        let weights = tokens
            .iter()
            .map(|_| {
                sum += own_rate.sample(&mut rng);
                sum
            })
            .collect();
        let users = (1..=options.users).map(|number| User::new(number, &mut rng)).collect();
        Ok(Market {
            rng,
            start_ms: options.start_ms,
            now_ms: options.start_ms,
            spread: options.spread,
            schedule: Schedule::new(options.rate, &options.kinds),
            tokens,
            weights,
            bursts: Vec::new(),
            changed: Vec::new(),
            users,
            turn: 0,
            market_turn: 0,
            trades: 0,
        })
    }

    /// When the next message is due, since the start, on the market's own clock.
    pub fn next_due(&self) -> Duration {
        self.schedule.next_due()
    }

    /// When that is, milliseconds since 1970.
    pub fn next_due_ms(&self) -> i64 {
        self.start_ms.saturating_add(i64::try_from(self.next_due().as_millis()).unwrap_or(i64::MAX))
    }

    /// Leaves out the time since the last message: the next one is due `by` later than planned.
    pub fn delay(&mut self, by: Duration) {
        self.schedule.delay(by);
    }

    /// The next message, at `now_ms` (milliseconds since 1970; a step back counts as standing still).
    pub fn step(&mut self, now_ms: i64) -> Publication {
        let passed_ms = now_ms.saturating_sub(self.now_ms).max(0);
        self.now_ms += passed_ms;
        self.burst(passed_ms);
        match self.schedule.next() {
            Kind::Price => self.price(),
            Kind::Volume => {
                let token = self.pick();
                let writer = self.writer();
                let token = &mut self.tokens[token];
                token.roll(writer.now_ms);
                writer.volume(token)
            }
            Kind::Quote => {
                let token = self.pick();
                let spread = self.rng.random_range(1..=5);
                let sizes = [self.rng.random_range(1..=1_000), self.rng.random_range(1..=1_000)];
                self.writer().quote(&self.tokens[token], spread, sizes)
            }
            Kind::Batch => self.batch(),
            Kind::Market => self.overview(),
            Kind::Signals => self.signal(),
            Kind::Users => self.user(),
            Kind::Health => {
                let uptime_ms = self.now_ms - self.start_ms;
                let trades = self.trades;
                let tokens = self.tokens.len();
                self.writer().health(uptime_ms, tokens, trades)
            }
        }
    }

    fn price(&mut self) -> Publication {
        let index = self.pick();
        let by_trade = !self.rng.random_bool(SCHEDULER_SHARE);
        if by_trade {
            let burst = self.bursts.iter().any(|&(token, _)| token == index);
            let now_ms = self.now_ms;
            self.tokens[index].trade(now_ms, burst, &mut self.rng);
            self.trades += 1;
        }
        self.changed(index);
        let writer = self.writer();
        let token = &mut self.tokens[index];
        token.roll(writer.now_ms);
        writer.price(token, by_trade)
    }

    fn batch(&mut self) -> Publication {
        if self.changed.is_empty() {
            let index = self.pick();
            self.changed.push(index);
        }
        let count = self.changed.len().min(MAX_BATCH);
        let chosen: Vec<usize> = self.changed.drain(..count).collect();
        let writer = self.writer();
        for &index in &chosen {
            self.tokens[index].unmark();
            self.tokens[index].roll(writer.now_ms);
        }
        writer.batch(chosen.iter().map(|&index| &self.tokens[index]))
    }

    fn overview(&mut self) -> Publication {
        let turn = self.market_turn;
        self.market_turn += 1;
        let writer = self.writer();
        for token in &mut self.tokens {
            token.roll(writer.now_ms);
        }
        match turn % 5 {
            0 => writer.summary(&self.tokens),
            1 => writer.market_volume(&self.tokens),
            2 => writer.sentiment(&self.tokens),
            3 => writer.statistics(&self.tokens, self.bursts.len()),
            _ => writer.status(self.tokens.len()),
        }
    }

    fn signal(&mut self) -> Publication {
        let index = match self.bursts.first() {
            Some(_) if self.rng.random_bool(0.5) => self.bursts[self.rng.random_range(0..self.bursts.len())].0,
            _ => self.pick(),
        };
        let kind = self.rng.random_range(0..payload::SIGNALS.len());
        let score = self.rng.random_range(0..=100);
        let writer = self.writer();
        let token = &mut self.tokens[index];
        token.roll(writer.now_ms);
        writer.signal(payload::SIGNALS[kind], token, score)
    }

    fn user(&mut self) -> Publication {
        let index = self.rng.random_range(0..self.users.len());
        let what = self.rng.random_range(0..10);
        if what < 6 || self.users[index].trades() == 0 {
            let token = match self.users[index].holdings.as_slice() {
                held if held.len() >= user::MAX_HOLDINGS => held[self.rng.random_range(0..held.len())].0,
                _ => self.pick(),
            };
            let now_ms = self.now_ms;
            let trade = self.users[index].trade(token, &mut self.tokens[token], now_ms, &mut self.rng);
            self.trades += 1;
            self.changed(token);
            return self.writer().trade(&self.users[index], &self.tokens[token], &trade);
        }
        let writer = self.writer();
        let user = &self.users[index];
        if what < 9 { writer.portfolio(user, &self.tokens) } else { writer.notification(user, &self.tokens) }
    }

    /// Chooses a token: by turns without spread, else by its own rate, bursting ones more often.
    fn pick(&mut self) -> usize {
        if self.spread == 0.0 {
            self.turn = (self.turn + 1) % self.tokens.len();
            return self.turn;
        }
        if !self.bursts.is_empty() && self.rng.random_bool(BURST_SHARE) {
            return self.bursts[self.rng.random_range(0..self.bursts.len())].0;
        }
        let total = self.weights.last().copied().unwrap_or_default();
        let at = self.rng.random::<f64>() * total;
        self.weights.partition_point(|&sum| sum <= at).min(self.tokens.len() - 1)
    }

    /// Ends bursts that are over and perhaps begins one.
    fn burst(&mut self, passed_ms: i64) {
        let now_ms = self.now_ms;
        self.bursts.retain(|&(_, until_ms)| until_ms > now_ms);
        let chance = passed_ms as f64 / 1_000.0 * self.tokens.len() as f64 / BURST_EVERY_S;
        let begins = self.rng.random_bool(chance.min(0.5));
        if begins && self.bursts.len() <= self.tokens.len() / 20 {
            let token = self.rng.random_range(0..self.tokens.len());
            let length: f64 = Exp1.sample(&mut self.rng);
            let length_ms = (1.0 + length * BURST_MEAN_S) * 1_000.0;
            if self.bursts.iter().all(|&(other, _)| other != token) {
                self.bursts.push((token, now_ms + length_ms as i64));
            }
        }
    }

    fn changed(&mut self, index: usize) {
        if self.tokens[index].mark() {
            self.changed.push(index);
        }
        if self.changed.len() > 4 * MAX_BATCH {
            // nobody asks for batches, or seldom: the oldest news is of no use
            for index in self.changed.drain(..MAX_BATCH) {
                self.tokens[index].unmark();
            }
        }
    }

    fn writer(&mut self) -> Writer {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        Writer::new(self.now_ms, &random)
    }
}

#[cfg(test)]
#[path = "market/tests.rs"]
mod tests;
