//! API keys of services. Only their hashes are known here.
//!
//! The hash is SHA-256 without salt or stretching: that is weak for what people choose, but a key is 256 random bits,
//! which nobody finds by trying. For the same reason a key is looked up in a map, which takes a time that depends on its
//! hash: whoever measures it learns something of the hash of what he sent himself, and nothing that brings him nearer
//! to a key.

use std::collections::{HashMap, hash_map::Entry};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{claims::is_sub, fault::Fault};
use crate::config::ApiKey;
use crate::identity::User;

/// How every key begins, so that it is told from other tokens, and found where it should not be.
const PREFIX: &str = "odin_";

/// How a hash begins in the configuration.
const HASH_PREFIX: &str = "sha256:";

/// The hash of a token.
pub(super) type TokenHash = [u8; 32];

/// All keys, by their hashes.
#[derive(Default)]
pub(super) struct ApiKeys(HashMap<TokenHash, Arc<User>>);

/// What is wrong with a key in the configuration. The hash is not repeated: it may be the key itself, by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiKeyFault {
    /// It is not what `odin token api-key` prints.
    #[error("hash is not sha256: and 64 hex digits")]
    Hash,
    /// Two users cannot have the same key.
    #[error("hash is there twice")]
    Twice,
    /// There is no such user.
    #[error("sub is empty, too long, or has control characters")]
    Sub,
}

impl ApiKeys {
    /// Adds one.
    ///
    /// # Errors
    /// See [`ApiKeyFault`]. Nothing is added then.
    pub(super) fn add(&mut self, key: &ApiKey) -> Result<(), ApiKeyFault> {
        let hash = key.hash.strip_prefix(HASH_PREFIX).and_then(hash_of_hex).ok_or(ApiKeyFault::Hash)?;
        if !is_sub(&key.sub) {
            return Err(ApiKeyFault::Sub);
        }
        match self.0.entry(hash) {
            Entry::Occupied(_) => Err(ApiKeyFault::Twice),
            Entry::Vacant(place) => {
                place.insert(Arc::new(user(key)));
                Ok(())
            }
        }
    }

    /// Whose key it is.
    ///
    /// # Errors
    /// [`Fault::UnknownApiKey`].
    pub(super) fn check(&self, token: &str) -> Result<Arc<User>, Fault> {
        self.0.get(&hash(token)).cloned().ok_or(Fault::UnknownApiKey)
    }
}

/// Whether the token is meant as an API key.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// SHA-256 of all of it.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// What is wrong with the keys of a list, and with which of them, counted from 1.
pub(crate) fn faults(keys: &[ApiKey]) -> Vec<(usize, ApiKeyFault)> {
    let mut all = ApiKeys::default();
    keys.iter().enumerate().filter_map(|(index, key)| all.add(key).err().map(|fault| (index + 1, fault))).collect()
}

fn hash_of_hex(hex: &str) -> Option<TokenHash> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = TokenHash::default();
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn user(key: &ApiKey) -> User {
    User {
        sub: key.sub.clone(),
        name: key.name.clone(),
        tier: key.tier.clone(),
        is_admin: key.admin,
        allow: key.allow.clone(),
        deny: key.deny.clone().unwrap_or_default(),
        limits: key.limits.unwrap_or_default(),
        token_id: None,
        issued_at_ms: None,
        expires_at_ms: None,
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeys").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ChannelSet, UserLimits};

    const KEY: &str = "odin_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn api_key(hash: String, sub: &str) -> ApiKey {
        let (name, tier, admin, allow, deny, limits) = (None, None, false, None, None, None);
        ApiKey { hash, sub: sub.to_owned(), name, tier, admin, allow, deny, limits }
    }

    fn hash_text(key: &str) -> String {
        let hex: String = hash(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    #[test]
    fn a_key_is_the_user_that_its_hash_stands_for() {
        let mut keys = ApiKeys::default();
        let key = ApiKey {
            tier: Some("enterprise".to_owned()),
            admin: true,
            allow: Some(ChannelSet::parse(&["price:*"]).expect("valid")),
            limits: Some(UserLimits { connections: Some(9), ..UserLimits::default() }),
            ..api_key(hash_text(KEY), "svc-quotes")
        };
        keys.add(&key).expect("good");
        let user = keys.check(KEY).expect("known");
        assert_eq!((user.sub.as_str(), user.tier.as_deref(), user.is_admin), ("svc-quotes", Some("enterprise"), true));
        assert_eq!((user.limits.connections, user.expires_at_ms), (Some(9), None));
        assert!(user.allow.is_some());
    }

    #[test]
    fn anything_but_the_whole_key_is_unknown() {
        let mut keys = ApiKeys::default();
        keys.add(&api_key(hash_text(KEY), "svc")).expect("good");
        let hash = hash_text(KEY);
        for token in ["odin_", &KEY[..KEY.len() - 1], &format!("{KEY}A"), &KEY.to_uppercase(), &hash, &hash[7..]] {
            assert_eq!(keys.check(token), Err(Fault::UnknownApiKey), "{token}");
        }
    }

    #[test]
    fn a_hash_may_be_written_in_capitals() {
        let mut keys = ApiKeys::default();
        let hash = hash_text(KEY).to_uppercase().replacen("SHA256", "sha256", 1);
        keys.add(&api_key(hash, "svc")).expect("good");
        assert!(keys.check(KEY).is_ok());
    }

    #[test]
    fn every_key_that_is_wrong_is_named_and_none_is_repeated() {
        let short = format!("sha256:{}", "a".repeat(63));
        let list = [
            api_key(hash_text("odin_1"), "one"),
            api_key(KEY.to_owned(), "the key instead of its hash"),
            api_key(short, "short"),
            api_key(format!("sha256:{}", "é".repeat(32)), "not hex"),
            api_key(format!("sha256:+{}", "a".repeat(63)), "a sign"),
            api_key(hash_text("odin_1"), "twice"),
            api_key(hash_text("odin_2"), ""),
            api_key(hash_text("odin_3"), "a\nb"),
        ];
        let expected = [
            (2, ApiKeyFault::Hash),
            (3, ApiKeyFault::Hash),
            (4, ApiKeyFault::Hash),
            (5, ApiKeyFault::Hash),
            (6, ApiKeyFault::Twice),
            (7, ApiKeyFault::Sub),
            (8, ApiKeyFault::Sub),
        ];
        assert_eq!(faults(&list), expected);
    }

    #[test]
    fn keys_have_no_debug_text() {
        let mut keys = ApiKeys::default();
        keys.add(&api_key(hash_text(KEY), "svc")).expect("good");
        assert_eq!(format!("{keys:?}"), "ApiKeys(1)");
    }
}
