//! The rules that apply when the configuration file lists none: one for each row of the channel table.

use std::collections::BTreeMap;

use odin_protocol::message::Mode;

use super::{Access, Filter, RuleSource};

/// Kinds of market figures that have a channel.
const MARKET_KINDS: [&str; 5] = ["summary", "volume", "sentiment", "statistics", "status"];

/// Tiers that see watchlist quotes.
const WATCHLIST_TIERS: [&str; 2] = ["premium", "enterprise"];

/// Member of a signal's payload that `signals:high` looks at, and what it must say.
const SIGNAL_SEVERITY: (&str, &str) = ("severity", "high");

pub(super) fn sources() -> Vec<RuleSource> {
    let market = BTreeMap::from([("kind".to_owned(), MARKET_KINDS.map(str::to_owned).to_vec())]);
    let tiers = || Access::Tiers(WATCHLIST_TIERS.map(str::to_owned).to_vec());
    let (field, equals) = SIGNAL_SEVERITY;
    vec![
        RuleSource { pattern: true, ..prices("price:{token}", "odin.tokens.{token}.price") },
        prices("volume:{token}", "odin.tokens.{token}.volume"),
        prices("prices:batch", "odin.tokens.batch.update"),
        RuleSource { values: market, ..prices("market:{kind}", "odin.market.{kind}") },
        events("signals:all", "odin.signals.*.*", Access::SignedIn),
        events("signals:type:{type}", "odin.signals.{type}.*", Access::SignedIn),
        events("signals:entity:{name}", "odin.signals.*.{name}", Access::SignedIn),
        RuleSource {
            filter: Some(Filter { field: field.to_owned(), equals: equals.to_owned() }),
            ..events("signals:high", "odin.signals.*.*", Access::SignedIn)
        },
        RuleSource { access: tiers(), ..prices("watchlist:{symbol}", "odin.tokens.{symbol}.quote") },
        events("portfolio", "odin.users.{sub}.portfolio", Access::Owner),
        events("trades", "odin.users.{sub}.trades", Access::Owner),
        events("notifications", "odin.users.{sub}.notifications", Access::Owner),
        RuleSource { client_mode: false, ..prices("system:health", "odin.system.health") },
    ]
}

/// A public state of which only the newest value matters, unless the client says otherwise.
fn prices(channel: &str, subject: &str) -> RuleSource {
    RuleSource { mode: Mode::Latest, client_mode: true, ..events(channel, subject, Access::Public) }
}

/// Events of which each one matters.
fn events(channel: &str, subject: &str, access: Access) -> RuleSource {
    RuleSource::new(channel, subject, access, Mode::All)
}
