//! What is published, as JSON. Money and quantities are numbers; times are milliseconds since 1970; percentages have two
//! decimals. Every payload carries its own `timestamp` and `nonce`.

use serde::Serialize;

use super::Publication;
use super::shape::{
    Batch, BatchEntry, Health, Leader, MarketVolume, Mover, Notification, Portfolio, Position, Price, Quote, Sentiment,
    Signal, Statistics, Status, Summary, UserTrade, Volume,
};
use super::token::{Token, round};
use super::user::{MICRO, Trade, User, value_cents};

/// Types of signals.
pub(crate) const SIGNALS: [&str; 5] = ["momentum", "breakout", "volume_spike", "whale", "sentiment"];

/// Makes the messages of one step.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) now_ms: i64,
    nonce: String,
}

impl Writer {
    /// The messages of a step at `now_ms`, with a UUIDv7 made of that time and `random`.
    pub(crate) fn new(now_ms: i64, random: &[u8; 10]) -> Writer {
        let millis = u64::try_from(now_ms).unwrap_or_default();
        let nonce = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid().to_string();
        Writer { now_ms, nonce }
    }

    pub(crate) fn price(self, token: &Token, by_trade: bool) -> Publication {
        let payload = Price {
            r#type: "price:update",
            token_id: &token.name,
            price: token.price,
            volume24h: money(token.volume_cents()),
            change: token.change_percent(),
            timestamp: self.now_ms,
            source: if by_trade { "trade" } else { "scheduler" },
            nonce: &self.nonce,
        };
        self.publication(format!("odin.tokens.{}.price", token.name), &payload)
    }

    pub(crate) fn volume(self, token: &Token) -> Publication {
        let payload = Volume {
            r#type: "volume:update",
            token_id: &token.name,
            volume24h: money(token.volume_cents()),
            trades24h: token.trades(),
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.tokens.{}.volume", token.name), &payload)
    }

    /// `ticks` on each side of the last price, at least one.
    pub(crate) fn quote(self, token: &Token, ticks: u32, [bid_size, ask_size]: [u32; 2]) -> Publication {
        let away = token.tick() * f64::from(ticks);
        let payload = Quote {
            r#type: "quote",
            symbol: &token.name,
            bid: round((token.price - away).max(0.0), token.decimals),
            ask: round(token.price + away, token.decimals),
            bid_size,
            ask_size,
            last: token.price,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.tokens.{}.quote", token.name), &payload)
    }

    pub(crate) fn batch<'a>(self, tokens: impl Iterator<Item = &'a Token>) -> Publication {
        let updates = tokens
            .map(|token| BatchEntry {
                token_id: &token.name,
                price: token.price,
                volume24h: money(token.volume_cents()),
                change: token.change_percent(),
            })
            .collect();
        let payload = Batch { r#type: "price:batch", updates, timestamp: self.now_ms, nonce: &self.nonce };
        self.publication("odin.tokens.batch.update".to_owned(), &payload)
    }

    pub(crate) fn summary(self, tokens: &[Token]) -> Publication {
        let changes = || tokens.iter().map(|token| Mover { token_id: &token.name, change: token.change_percent() });
        let by_change = |a: &Mover<'_>, b: &Mover<'_>| a.change.total_cmp(&b.change);
        let payload = Summary {
            r#type: "market:summary",
            tokens: tokens.len(),
            total_volume: money(tokens.iter().map(Token::volume_cents).sum()),
            advancing: changes().filter(|mover| mover.change > 0.0).count(),
            declining: changes().filter(|mover| mover.change < 0.0).count(),
            unchanged: changes().filter(|mover| mover.change == 0.0).count(),
            top_gainer: changes().max_by(by_change).expect("a market has tokens"),
            top_loser: changes().min_by(by_change).expect("a market has tokens"),
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication("odin.market.summary".to_owned(), &payload)
    }

    pub(crate) fn market_volume(self, tokens: &[Token]) -> Publication {
        let mut by_volume: Vec<&Token> = tokens.iter().collect();
        by_volume.sort_by(|a, b| b.volume_cents().cmp(&a.volume_cents()).then_with(|| a.name.cmp(&b.name)));
        let leader = |token: &&'_ Token| token.volume_cents();
        let leaders = by_volume
            .iter()
            .take(10)
            .map(|token| Leader { token_id: &token.name, volume24h: money(leader(token)) })
            .collect();
        let payload = MarketVolume {
            r#type: "market:volume",
            total_volume: money(tokens.iter().map(Token::volume_cents).sum()),
            total_trades: tokens.iter().map(Token::trades).sum(),
            leaders,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication("odin.market.volume".to_owned(), &payload)
    }

    pub(crate) fn sentiment(self, tokens: &[Token]) -> Publication {
        let advancing = tokens.iter().filter(|token| token.change_percent() > 0.0).count();
        let score = (advancing as f64 / tokens.len() as f64 * 100.0).round() as u32;
        let label = match score {
            0..20 => "extreme_fear",
            20..40 => "fear",
            40..=60 => "neutral",
            61..=80 => "greed",
            _ => "extreme_greed",
        };
        let payload =
            Sentiment { r#type: "market:sentiment", score, label, timestamp: self.now_ms, nonce: &self.nonce };
        self.publication("odin.market.sentiment".to_owned(), &payload)
    }

    pub(crate) fn statistics(self, tokens: &[Token], bursting_tokens: usize) -> Publication {
        let volume_cents: u64 = tokens.iter().map(Token::volume_cents).sum();
        let total_trades: u64 = tokens.iter().map(Token::trades).sum();
        let change: f64 = tokens.iter().map(Token::change_percent).sum();
        let payload = Statistics {
            r#type: "market:statistics",
            tokens: tokens.len(),
            total_trades,
            average_trade_value: money(volume_cents / total_trades.max(1)),
            average_change: round(change / tokens.len() as f64, 2),
            bursting_tokens,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication("odin.market.statistics".to_owned(), &payload)
    }

    pub(crate) fn status(self, tokens: usize) -> Publication {
        let payload =
            Status { r#type: "market:status", status: "open", tokens, timestamp: self.now_ms, nonce: &self.nonce };
        self.publication("odin.market.status".to_owned(), &payload)
    }

    pub(crate) fn signal(self, signal: &str, token: &Token, score: u32) -> Publication {
        let change = token.change_percent();
        let payload = Signal {
            r#type: "signal",
            signal,
            entity: &token.name,
            severity: match score {
                0..50 => "low",
                50..85 => "medium",
                _ => "high",
            },
            score,
            direction: if change < 0.0 { "down" } else { "up" },
            price: token.price,
            change,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.signals.{signal}.{}", token.name), &payload)
    }

    pub(crate) fn trade(self, user: &User, token: &Token, trade: &Trade) -> Publication {
        let payload = UserTrade {
            r#type: "trade",
            user: &user.name,
            trade_id: trade.number,
            token_id: &token.name,
            side: side(trade),
            quantity: trade.quantity_micro as f64 / MICRO,
            price: token.price,
            value: money(trade.value_cents),
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.users.{}.trades", user.name), &payload)
    }

    pub(crate) fn portfolio(self, user: &User, tokens: &[Token]) -> Publication {
        let mut total_cents = user.cash_cents;
        let mut positions = Vec::with_capacity(user.holdings.len());
        for &(token, quantity_micro) in &user.holdings {
            let token = &tokens[token];
            let value_cents = value_cents(token.price, quantity_micro);
            total_cents += value_cents as i64;
            positions.push(Position {
                token_id: &token.name,
                quantity: quantity_micro as f64 / MICRO,
                price: token.price,
                value: money(value_cents),
            });
        }
        let payload = Portfolio {
            r#type: "portfolio",
            user: &user.name,
            cash: user.cash_cents as f64 / 100.0,
            positions,
            total_value: total_cents as f64 / 100.0,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.users.{}.portfolio", user.name), &payload)
    }

    pub(crate) fn notification(self, user: &User, tokens: &[Token]) -> Publication {
        let text = user.last.as_ref().map_or_else(
            || "no trades yet".to_owned(),
            |trade| {
                let quantity = trade.quantity_micro as f64 / MICRO;
                format!("order {}: {} {quantity} {}", trade.number, side(trade), tokens[trade.token].name)
            },
        );
        let payload = Notification {
            r#type: "notification",
            user: &user.name,
            title: "order filled",
            text,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication(format!("odin.users.{}.notifications", user.name), &payload)
    }

    pub(crate) fn health(self, uptime_ms: i64, tokens: usize, trades: u64) -> Publication {
        let payload = Health {
            r#type: "system:health",
            status: "ok",
            source: "simulator",
            tokens,
            trades,
            uptime_ms,
            timestamp: self.now_ms,
            nonce: &self.nonce,
        };
        self.publication("odin.system.health".to_owned(), &payload)
    }

    fn publication(&self, subject: String, payload: &impl Serialize) -> Publication {
        let payload = serde_json::to_vec(payload).expect("plain structures of text and finite numbers");
        Publication { subject, id: self.nonce.clone(), payload }
    }
}

fn side(trade: &Trade) -> &'static str {
    if trade.buys { "buy" } else { "sell" }
}

fn money(cents: u64) -> f64 {
    cents as f64 / 100.0
}
