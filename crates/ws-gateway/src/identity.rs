//! Who a connection is: nobody in particular, or a user as a token, a key or the session service says.

use std::sync::Arc;

use odin_protocol::channel::{Channel, ChannelError};
use serde::{Deserialize, Serialize};

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody has signed in on this connection.
    Anonymous,
    /// This user has.
    User(Arc<User>),
}

impl Identity {
    /// The user, if one has signed in.
    pub fn user(&self) -> Option<&Arc<User>> {
        match self {
            Identity::Anonymous => None,
            Identity::User(user) => Some(user),
        }
    }
}

/// A signed-in user, as vouched for. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user's id, never empty.
    pub sub: String,
    /// For people.
    pub name: Option<String>,
    /// What the user has paid for; compared with the tiers of rules.
    pub tier: Option<String>,
    /// Whether the user is an operator: every channel is allowed but those of other users.
    pub is_admin: bool,
    /// The only channels the user may have, where the token says so.
    pub allow: Option<ChannelSet>,
    /// Channels the user may not have, whatever else is said.
    pub deny: ChannelSet,
    /// Limits of this user's own; they replace those of the configuration.
    pub limits: UserLimits,
    /// The token's own id (`jti`), by which it can be revoked.
    pub token_id: Option<String>,
    /// When the token was made, in milliseconds since 1970; a revocation may say "everything before".
    pub issued_at_ms: Option<i64>,
    /// When the token ends, in milliseconds since 1970; `None`: never.
    pub expires_at_ms: Option<i64>,
}

/// What one user may do at most; `None`: what the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserLimits {
    /// Connections, on all gateways together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Subscriptions of each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    /// Messages a second of each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    /// Publications a second of each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishes_per_second: Option<u32>,
}

/// A list of channels and patterns; `*` alone stands for all channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ChannelSet {
    has_all: bool,
    channels: Vec<Channel>,
}

/// The entry that stands for all channels.
const ALL: &str = "*";

impl ChannelSet {
    /// Reads the list.
    ///
    /// # Errors
    /// The first entry that is neither a channel, a pattern nor `*`. The text is not repeated.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<ChannelSet, ChannelError> {
        let mut set = ChannelSet::default();
        for entry in entries {
            match entry.as_ref() {
                ALL => set.has_all = true,
                text => set.channels.push(Channel::parse(text)?),
            }
        }
        Ok(set)
    }

    /// Whether everything that `asked` stands for is in the set.
    pub fn covers(&self, asked: &Channel) -> bool {
        self.has_all || self.channels.iter().any(|entry| entry == asked || entry.matches(asked))
    }

    /// Whether anything that `asked` stands for is in the set.
    pub fn touches(&self, asked: &Channel) -> bool {
        self.covers(asked) || self.channels.iter().any(|entry| asked.matches(entry))
    }
}

impl TryFrom<Vec<String>> for ChannelSet {
    type Error = ChannelError;

    fn try_from(entries: Vec<String>) -> Result<Self, ChannelError> {
        ChannelSet::parse(&entries)
    }
}

impl From<ChannelSet> for Vec<String> {
    fn from(set: ChannelSet) -> Self {
        let all = set.has_all.then(|| ALL.to_owned());
        all.into_iter().chain(set.channels.iter().map(ToString::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> Channel {
        Channel::parse(text).expect(text)
    }

    #[test]
    fn a_pattern_is_covered_by_itself_and_touched_by_each_of_its_channels() {
        let set = ChannelSet::parse(&["price:*", "volume:BTC"]).expect("valid");
        assert!(set.covers(&channel("price:BTC")) && set.covers(&channel("price:*")));
        assert!(set.covers(&channel("volume:BTC")) && !set.covers(&channel("volume:ETH")));
        assert!(!set.covers(&channel("volume:*")) && set.touches(&channel("volume:*")));
        assert!(!set.touches(&channel("trades")));
    }

    #[test]
    fn a_star_is_everything_and_nothing_is_nothing() {
        assert!(ChannelSet::parse(&["*"]).expect("valid").covers(&channel("signals:type:x")));
        assert!(!ChannelSet::default().touches(&channel("price:BTC")));
        assert!(ChannelSet::parse(&["price:>"]).is_err());
    }
}
