//! A user: money, holdings, and trades that move both.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::token::Token;

/// Tokens a user holds at the same time; more are only bought after one is sold out.
pub(crate) const MAX_HOLDINGS: usize = 12;
/// Quantities are counted in millionths.
pub(crate) const MICRO: f64 = 1_000_000.0;

/// A user's account.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) cash_cents: i64,
    /// Token and quantity in millionths, in the order of the first purchase.
    pub(crate) holdings: Vec<(usize, u64)>,
    pub(crate) last: Option<Trade>,
    trades: u64,
}

/// One trade of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trade {
    pub(crate) number: u64,
    pub(crate) token: usize,
    pub(crate) buys: bool,
    pub(crate) quantity_micro: u64,
    pub(crate) value_cents: u64,
}

impl User {
    pub(crate) fn new(number: usize, rng: &mut ChaCha12Rng) -> User {
        User {
            name: format!("user-{number}"),
            cash_cents: rng.random_range(1_000_000..100_000_000),
            holdings: Vec::new(),
            last: None,
            trades: 0,
        }
    }

    /// Trades so far.
    pub(crate) fn trades(&self) -> u64 {
        self.trades
    }

    /// Buys, or sells what is held, at the token's last price; the token counts it as volume.
    pub(crate) fn trade(&mut self, index: usize, token: &mut Token, now_ms: i64, rng: &mut ChaCha12Rng) -> Trade {
        let held = self.holdings.iter().position(|&(token, _)| token == index);
        let sells = held.is_some() && (self.cash_cents < 10_000 || rng.random_bool(0.45));
        let share = rng.random_range(0.02..0.4);
        let wanted = if sells {
            let quantity = held.map_or(0, |at| self.holdings[at].1);
            if self.holdings.len() >= MAX_HOLDINGS { quantity } else { (quantity as f64 * share) as u64 }
        } else {
            // somebody without money is given some: a simulation without trades is of no use
            if self.cash_cents < 10_000 {
                self.cash_cents += 1_000_000;
            }
            (self.cash_cents as f64 / 100.0 * share / token.price * MICRO) as u64
        };
        let quantity_micro = wanted.max(1);
        let value_cents = value_cents(token.price, quantity_micro);
        match held {
            Some(at) if sells => {
                self.holdings[at].1 -= quantity_micro.min(self.holdings[at].1);
                if self.holdings[at].1 == 0 {
                    self.holdings.remove(at);
                }
                self.cash_cents += value_cents as i64;
            }
            Some(at) => {
                self.holdings[at].1 += quantity_micro;
                self.cash_cents -= value_cents as i64;
            }
            None => {
                self.holdings.push((index, quantity_micro));
                self.cash_cents -= value_cents as i64;
            }
        }
        token.record(now_ms, value_cents);
        self.trades += 1;
        let trade = Trade { number: self.trades, token: index, buys: !sells, quantity_micro, value_cents };
        self.last = Some(trade.clone());
        trade
    }
}

/// What a quantity costs, in cents.
pub(crate) fn value_cents(price: f64, quantity_micro: u64) -> u64 {
    (price * quantity_micro as f64 / MICRO * 100.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn money_and_holdings_are_what_the_trades_made_of_them() {
        let mut rng = ChaCha12Rng::seed_from_u64(9);
        let mut tokens: Vec<Token> = (0..5).map(|index| Token::new(index, 0, &mut rng)).collect();
        let mut user = User::new(1, &mut rng);
        let (mut cash, mut held) = (user.cash_cents, [0_i64; 5]);
        for step in 0..2_000 {
            let at = rng.random_range(0..5);
            tokens[at].trade(step * 1_000, false, &mut rng);
            let volume = tokens[at].volume_cents();
            let before = user.cash_cents;
            let trade = user.trade(at, &mut tokens[at], step * 1_000, &mut rng);
            assert_eq!(tokens[at].volume_cents(), volume + trade.value_cents, "step {step}");
            let sign = if trade.buys { 1 } else { -1 };
            if trade.buys && before < 10_000 {
                cash += 1_000_000;
            }
            cash -= sign * trade.value_cents as i64;
            held[at] += sign * trade.quantity_micro as i64;
            assert_eq!(user.cash_cents, cash, "step {step}");
            let quantity = user.holdings.iter().find(|&&(token, _)| token == at).map_or(0, |&(_, quantity)| quantity);
            assert_eq!(quantity as i64, held[at], "step {step}");
            assert!(user.cash_cents >= 0, "step {step}: {}", user.cash_cents);
        }
        assert_eq!(user.trades(), 2_000);
    }
}
