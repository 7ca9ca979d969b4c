//! A token: its price, how it moves, and its last 24 hours in quarter hours.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, LogNormal, StandardNormal};

/// One quarter hour.
const BUCKET_MS: i64 = 15 * 60 * 1_000;
/// A day of them; the last one is still running.
const BUCKETS: i64 = 96;
/// A price stays within this factor of where it began.
const MAX_FACTOR: f64 = 20.0;
/// How much of the way back to where it began a price is pulled per second.
const PULL_PER_S: f64 = 2e-5;
/// A bursting token moves and trades this much more.
const BURST_FACTOR: f64 = 4.0;

/// Well-known tokens: name, price to begin with, value of a usual trade.
const KNOWN: [(&str, f64, f64); 60] = [
    ("BTC", 64_250.0, 4_000.0),
    ("ETH", 3_180.0, 2_500.0),
    ("SOL", 152.0, 900.0),
    ("XRP", 0.62, 600.0),
    ("BNB", 585.0, 800.0),
    ("DOGE", 0.128, 400.0),
    ("ADA", 0.46, 400.0),
    ("AVAX", 31.5, 450.0),
    ("TRX", 0.134, 300.0),
    ("DOT", 6.45, 350.0),
    ("LINK", 14.2, 400.0),
    ("MATIC", 0.58, 300.0),
    ("LTC", 72.4, 400.0),
    ("BCH", 382.0, 350.0),
    ("UNI", 8.05, 300.0),
    ("ATOM", 7.1, 250.0),
    ("XLM", 0.098, 200.0),
    ("ETC", 23.6, 250.0),
    ("FIL", 4.4, 220.0),
    ("HBAR", 0.074, 180.0),
    ("APT", 7.3, 260.0),
    ("ARB", 0.79, 240.0),
    ("OP", 1.82, 240.0),
    ("NEAR", 5.4, 260.0),
    ("VET", 0.027, 150.0),
    ("ICP", 9.1, 200.0),
    ("INJ", 22.8, 220.0),
    ("AAVE", 96.0, 240.0),
    ("MKR", 2_480.0, 260.0),
    ("GRT", 0.21, 150.0),
    ("ALGO", 0.15, 140.0),
    ("SUI", 0.93, 260.0),
    ("SEI", 0.36, 180.0),
    ("TIA", 6.2, 200.0),
    ("RUNE", 4.9, 170.0),
    ("FTM", 0.54, 190.0),
    ("SAND", 0.32, 130.0),
    ("MANA", 0.34, 130.0),
    ("AXS", 6.0, 130.0),
    ("EGLD", 31.0, 130.0),
    ("THETA", 1.55, 130.0),
    ("FLOW", 0.66, 110.0),
    ("XTZ", 0.78, 110.0),
    ("EOS", 0.58, 120.0),
    ("KAVA", 0.41, 90.0),
    ("CRV", 0.29, 120.0),
    ("SNX", 1.9, 110.0),
    ("COMP", 49.0, 110.0),
    ("ZEC", 24.3, 110.0),
    ("DASH", 26.8, 100.0),
    ("ENJ", 0.19, 80.0),
    ("CHZ", 0.07, 90.0),
    ("BAT", 0.2, 80.0),
    ("ZIL", 0.018, 70.0),
    ("KSM", 22.0, 80.0),
    ("1INCH", 0.33, 80.0),
    ("PEPE", 0.0000116, 300.0),
    ("SHIB", 0.0000178, 300.0),
    ("BONK", 0.0000262, 250.0),
    ("WIF", 2.1, 260.0),
];

/// A token and its last day.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) name: String,
    /// In dollars, a multiple of 10^-decimals.
    pub(crate) price: f64,
    pub(crate) decimals: u32,
    anchor: f64,
    /// Standard deviation of the price's logarithm in one second.
    volatility: f64,
    /// Value of a usual trade, in dollars.
    usual_trade: f64,
    traded_ms: i64,
    window: Window,
    marked: bool,
}

/// Trades of the last day.
#[derive(Debug)]
struct Window {
    buckets: Box<[Bucket]>,
    /// The running quarter hour, counted from 1970.
    head: i64,
    value_cents: u64,
    trades: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    open: f64,
    value_cents: u64,
    trades: u32,
}

impl Token {
    /// The token with this index, its past made up.
    pub(crate) fn new(index: usize, now_ms: i64, rng: &mut ChaCha12Rng) -> Token {
        let (name, anchor, usual_trade) = match KNOWN.get(index) {
            Some(&(name, price, value)) => (name.to_owned(), price, value),
            None => {
                let price: f64 = LogNormal::new(0.0, 2.5).expect("constants").sample(rng);
                let price = price.clamp(0.0001, 5_000.0);
                (format!("T{:05}", index + 1), price, rng.random_range(20.0..200.0))
            }
        };
        let decimals = match anchor {
            1_000.0.. => 2,
            1.0.. => 4,
            0.01.. => 6,
            _ => 10,
        };
        // 100 % to 400 % a year: livelier than most, so that something is to be seen
        let volatility = rng.random_range(1.0..4.0) / 31_557_600_f64.sqrt();
        let mut token = Token {
            name,
            price: round(anchor, decimals),
            decimals,
            anchor,
            volatility,
            usual_trade,
            traded_ms: now_ms,
            window: Window::empty(now_ms, anchor),
            marked: false,
        };
        token.invent_past(now_ms, rng);
        token
    }

    /// A trade at a new price, now; gives its value in cents.
    pub(crate) fn trade(&mut self, now_ms: i64, burst: bool, rng: &mut ChaCha12Rng) -> u64 {
        // first, so that a quarter hour begins with the price from before this trade
        self.roll(now_ms);
        let passed_s = ((now_ms - self.traded_ms).max(1) as f64 / 1_000.0).min(3_600.0);
        let factor = if burst { BURST_FACTOR } else { 1.0 };
        self.walk(passed_s, factor, rng);
        let scatter: f64 = LogNormal::new(-0.5, 1.0).expect("constants").sample(rng);
        let value_cents = (self.usual_trade * factor * scatter * 100.0).round().max(1.0) as u64;
        self.record(now_ms, value_cents);
        value_cents
    }

    /// A trade at the last price, now.
    pub(crate) fn record(&mut self, now_ms: i64, value_cents: u64) {
        self.roll(now_ms);
        self.traded_ms = now_ms;
        self.window.add(value_cents, 1);
    }

    /// Lets what is older than a day leave the window.
    pub(crate) fn roll(&mut self, now_ms: i64) {
        self.window.roll(now_ms, self.price);
    }

    /// Value of the trades in the window, in cents.
    pub(crate) fn volume_cents(&self) -> u64 {
        self.window.value_cents
    }

    /// Trades in the window.
    pub(crate) fn trades(&self) -> u64 {
        self.window.trades
    }

    /// The price at the beginning of the window.
    pub(crate) fn reference(&self) -> f64 {
        self.window.at(self.window.head - BUCKETS + 1).open
    }

    /// Change against the beginning of the window, percent, two decimals.
    pub(crate) fn change_percent(&self) -> f64 {
        round((self.price / self.reference() - 1.0) * 100.0, 2)
    }

    /// The smallest step of the price.
    pub(crate) fn tick(&self) -> f64 {
        0.1_f64.powi(i32::try_from(self.decimals).unwrap_or_default())
    }

    /// Marks it as changed; `true` if it was not.
    pub(crate) fn mark(&mut self) -> bool {
        !std::mem::replace(&mut self.marked, true)
    }

    pub(crate) fn unmark(&mut self) {
        self.marked = false;
    }

    /// Moves the price as in so many seconds.
    fn walk(&mut self, passed_s: f64, factor: f64, rng: &mut ChaCha12Rng) {
        let away = (self.price / self.anchor).ln();
        let noise: f64 = StandardNormal.sample(rng);
        let step = self.volatility * factor * passed_s.sqrt() * noise - away * (PULL_PER_S * passed_s).min(0.5);
        let limit = MAX_FACTOR.ln();
        let price = self.anchor * (away + step).clamp(-limit, limit).exp();
        self.price = round(price, self.decimals).max(self.tick());
    }

    fn invent_past(&mut self, now_ms: i64, rng: &mut ChaCha12Rng) {
        let first = now_ms.div_euclid(BUCKET_MS) - BUCKETS + 1;
        for slot in first..first + BUCKETS {
            self.roll(slot * BUCKET_MS);
            let running = slot == first + BUCKETS - 1;
            if running {
                break;
            }
            let trades = rng.random_range(5..60_u32);
            let scatter: f64 = LogNormal::new(0.0, 0.5).expect("constants").sample(rng);
            let value_cents = (self.usual_trade * f64::from(trades) * scatter * 100.0).round() as u64;
            self.window.add(value_cents, trades);
            self.walk(BUCKET_MS as f64 / 1_000.0, 1.0, rng);
        }
        self.traded_ms = now_ms;
    }
}

impl Window {
    /// A day without trades that ends a day before `now_ms`, so that rolling to now fills it.
    fn empty(now_ms: i64, price: f64) -> Window {
        let bucket = Bucket { open: price, ..Bucket::default() };
        Window {
            buckets: vec![bucket; BUCKETS as usize].into_boxed_slice(),
            head: now_ms.div_euclid(BUCKET_MS) - BUCKETS,
            value_cents: 0,
            trades: 0,
        }
    }

    fn roll(&mut self, now_ms: i64, price: f64) {
        let now = now_ms.div_euclid(BUCKET_MS);
        if now - self.head > BUCKETS {
            self.head = now - BUCKETS;
        }
        while self.head < now {
            self.head += 1;
            let old = std::mem::replace(self.at_mut(self.head), Bucket { open: price, ..Bucket::default() });
            self.value_cents -= old.value_cents;
            self.trades -= u64::from(old.trades);
        }
    }

    fn add(&mut self, value_cents: u64, trades: u32) {
        let bucket = self.at_mut(self.head);
        bucket.value_cents += value_cents;
        bucket.trades += trades;
        self.value_cents += value_cents;
        self.trades += u64::from(trades);
    }

    fn at(&self, slot: i64) -> &Bucket {
        &self.buckets[slot.rem_euclid(BUCKETS) as usize]
    }

    fn at_mut(&mut self, slot: i64) -> &mut Bucket {
        &mut self.buckets[slot.rem_euclid(BUCKETS) as usize]
    }
}

/// Rounds to so many decimals.
pub(crate) fn round(value: f64, decimals: u32) -> f64 {
    let scale = 10_f64.powi(i32::try_from(decimals).unwrap_or_default());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const NOW: i64 = 1_700_000_000_000;

    fn token() -> (Token, ChaCha12Rng) {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        (Token::new(0, NOW, &mut rng), rng)
    }

    #[test]
    fn volume_is_the_sum_of_the_trades_of_the_window() {
        let (mut token, mut rng) = token();
        // two days on, only what is traded from here is left
        let mut now = NOW + 2 * 96 * BUCKET_MS;
        token.roll(now);
        assert_eq!((token.volume_cents(), token.trades()), (0, 0));
        let mut log: Vec<(i64, u64)> = Vec::new();
        for step in 0..5_000 {
            now += rng.random_range(1..120_000);
            log.push((now, token.trade(now, step % 7 == 0, &mut rng)));
            let oldest = now.div_euclid(BUCKET_MS) - BUCKETS + 1;
            let kept: Vec<u64> =
                log.iter().filter(|(at, _)| at.div_euclid(BUCKET_MS) >= oldest).map(|&(_, value)| value).collect();
            assert_eq!(token.volume_cents(), kept.iter().sum::<u64>(), "step {step}");
            assert_eq!(token.trades(), kept.len() as u64, "step {step}");
        }
        assert!(log.len() as u64 > token.trades(), "the test never left the window");
    }

    #[test]
    fn change_is_against_the_price_a_day_ago() {
        let (mut token, mut rng) = token();
        let mut now = NOW;
        let mut opens = vec![(now.div_euclid(BUCKET_MS), token.price)];
        for _ in 0..3_000 {
            now += rng.random_range(1..120_000);
            let slot = now.div_euclid(BUCKET_MS);
            while opens.last().unwrap().0 < slot {
                opens.push((opens.last().unwrap().0 + 1, token.price));
            }
            token.trade(now, false, &mut rng);
            let oldest = slot - BUCKETS + 1;
            if let Some(&(_, open)) = opens.iter().find(|&&(at, _)| at == oldest) {
                if oldest == opens[0].0 {
                    continue; // the first one began before the test
                }
                assert_eq!(token.reference(), open);
                assert_eq!(token.change_percent(), round((token.price / open - 1.0) * 100.0, 2));
            }
        }
    }

    #[test]
    fn a_quiet_day_leaves_nothing_and_no_change() {
        let (mut token, mut rng) = token();
        token.trade(NOW + 1, false, &mut rng);
        token.roll(NOW + 10 * 96 * BUCKET_MS);
        assert_eq!((token.volume_cents(), token.trades(), token.change_percent()), (0, 0, 0.0));
    }

    #[test]
    fn begins_with_a_past() {
        let (token, _) = token();
        assert!(token.trades() >= 95 * 5);
        assert!(token.volume_cents() > 0);
        assert_ne!(token.reference(), token.price);
    }

    #[test]
    fn prices_stay_positive_bounded_and_on_their_grid() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        for index in [0, 3, 56, 200] {
            let mut token = Token::new(index, NOW, &mut rng);
            let mut now = NOW;
            for _ in 0..2_000 {
                now += 3_600_000;
                token.trade(now, true, &mut rng);
                let factor = token.price / token.anchor;
                assert!((0.04..=21.0).contains(&factor), "{}: {}", token.name, token.price);
                assert_eq!(token.price, round(token.price, token.decimals));
            }
        }
    }

    #[test]
    fn known_names_are_different_and_fit_a_subject() {
        let mut names: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())));
    }
}
