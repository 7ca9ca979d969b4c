//! The JSON objects that are published, member by member, in the order they are written.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Price<'a> {
    pub(super) r#type: &'a str,
    pub(super) token_id: &'a str,
    pub(super) price: f64,
    pub(super) volume24h: f64,
    #[serde(rename = "priceChange24h")]
    pub(super) change: f64,
    pub(super) timestamp: i64,
    pub(super) source: &'a str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume<'a> {
    pub(super) r#type: &'a str,
    pub(super) token_id: &'a str,
    pub(super) volume24h: f64,
    pub(super) trades24h: u64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quote<'a> {
    pub(super) r#type: &'a str,
    pub(super) symbol: &'a str,
    pub(super) bid: f64,
    pub(super) ask: f64,
    pub(super) bid_size: u32,
    pub(super) ask_size: u32,
    pub(super) last: f64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
pub(super) struct Batch<'a> {
    pub(super) r#type: &'a str,
    pub(super) updates: Vec<BatchEntry<'a>>,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchEntry<'a> {
    pub(super) token_id: &'a str,
    pub(super) price: f64,
    pub(super) volume24h: f64,
    #[serde(rename = "priceChange24h")]
    pub(super) change: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary<'a> {
    pub(super) r#type: &'a str,
    pub(super) tokens: usize,
    #[serde(rename = "totalVolume24h")]
    pub(super) total_volume: f64,
    pub(super) advancing: usize,
    pub(super) declining: usize,
    pub(super) unchanged: usize,
    pub(super) top_gainer: Mover<'a>,
    pub(super) top_loser: Mover<'a>,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mover<'a> {
    pub(super) token_id: &'a str,
    #[serde(rename = "priceChange24h")]
    pub(super) change: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarketVolume<'a> {
    pub(super) r#type: &'a str,
    #[serde(rename = "totalVolume24h")]
    pub(super) total_volume: f64,
    #[serde(rename = "totalTrades24h")]
    pub(super) total_trades: u64,
    pub(super) leaders: Vec<Leader<'a>>,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader<'a> {
    pub(super) token_id: &'a str,
    pub(super) volume24h: f64,
}

#[derive(Serialize)]
pub(super) struct Sentiment<'a> {
    pub(super) r#type: &'a str,
    /// 0 (all decline) to 100 (all advance).
    pub(super) score: u32,
    pub(super) label: &'a str,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statistics<'a> {
    pub(super) r#type: &'a str,
    pub(super) tokens: usize,
    #[serde(rename = "totalTrades24h")]
    pub(super) total_trades: u64,
    pub(super) average_trade_value: f64,
    #[serde(rename = "averageChange24h")]
    pub(super) average_change: f64,
    pub(super) bursting_tokens: usize,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) r#type: &'a str,
    pub(super) status: &'a str,
    pub(super) tokens: usize,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signal<'a> {
    pub(super) r#type: &'a str,
    pub(super) signal: &'a str,
    pub(super) entity: &'a str,
    pub(super) severity: &'a str,
    pub(super) score: u32,
    pub(super) direction: &'a str,
    pub(super) price: f64,
    #[serde(rename = "priceChange24h")]
    pub(super) change: f64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserTrade<'a> {
    pub(super) r#type: &'a str,
    pub(super) user: &'a str,
    pub(super) trade_id: u64,
    pub(super) token_id: &'a str,
    pub(super) side: &'a str,
    pub(super) quantity: f64,
    pub(super) price: f64,
    pub(super) value: f64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Portfolio<'a> {
    pub(super) r#type: &'a str,
    pub(super) user: &'a str,
    pub(super) cash: f64,
    pub(super) positions: Vec<Position<'a>>,
    pub(super) total_value: f64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position<'a> {
    pub(super) token_id: &'a str,
    pub(super) quantity: f64,
    pub(super) price: f64,
    pub(super) value: f64,
}

#[derive(Serialize)]
pub(super) struct Notification<'a> {
    pub(super) r#type: &'a str,
    pub(super) user: &'a str,
    pub(super) title: &'a str,
    pub(super) text: String,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health<'a> {
    pub(super) r#type: &'a str,
    pub(super) status: &'a str,
    pub(super) source: &'a str,
    pub(super) tokens: usize,
    pub(super) trades: u64,
    pub(super) uptime_ms: i64,
    pub(super) timestamp: i64,
    pub(super) nonce: &'a str,
}
