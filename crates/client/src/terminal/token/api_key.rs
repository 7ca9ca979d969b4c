//! A random API key, and its hash: the gateway's config has the hash, so that whoever reads it cannot use the key.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};

/// By this a key is known among other texts, as to those who look for leaked ones.
const PREFIX: &str = "odin_";
const BYTES: usize = 32;

pub(super) struct ApiKey {
    pub(super) text: String,
    /// Of the whole text, prefix included.
    pub(super) hash: String,
}

pub(super) fn generate() -> anyhow::Result<ApiKey> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).context("the system gives no random numbers")?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = format!("sha256:{:x}", Sha256::digest(&text));
    Ok(ApiKey { text, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_new_key_each_time() {
        let (one, other) = (generate().expect("random"), generate().expect("random"));
        assert_ne!(one.text, other.text);
        assert_eq!((one.text.len(), one.hash.len()), (48, 71));
        assert!(one.text.starts_with("odin_") && one.hash.starts_with("sha256:"));
    }
}
