//! JSON Web Tokens (RFC 7519) with one signature, in compact form.
//!
//! What is configured decides, and the token can only agree: its algorithm must be in the list before any key is looked
//! at, secrets serve HMAC only and public keys the others only, and keys, certificates or addresses that a token brings
//! along (`jwk`, `jku`, `x5c`, `x5u`) are not even read. The signature is checked before anything is believed.
//!
//! Checking is done by the thread that asks. By one quick measurement of a release build, a signature costs 30 µs (EdDSA),
//! 120 µs (RS256 and PS256 with 2,048 bits), 190 µs (ES256), 450 µs (RSA with 4,096 bits) or 780 µs (ES384), with a secret
//! less than 1 µs: for most about what handing it to another thread and back would disturb, and whoever wants it spent
//! pays for each with a connection, or with one of `limits.auths_per_minute`.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, crypto};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Algorithm,
    claims::{Claims, Demands, object},
    fault::Fault,
    jwks::Jwks,
    keys::{KeySet, MAX_KEY_ID_BYTES},
};
use crate::identity::User;

/// Where public keys come from.
#[derive(Debug, Clone)]
pub(super) enum PublicKeys {
    /// A file: its keys have no ids, so each is tried whatever id a token names.
    Fixed(Arc<KeySet>),
    /// An endpoint.
    Published(Arc<Jwks>),
}

/// Checks such tokens.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) secret: Option<DecodingKey>,
    pub(super) public: Option<PublicKeys>,
    pub(super) demands: Demands,
}

/// The parts of a token, still encoded.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// What was signed: header and claims.
    message: &'a str,
}

/// RFC 7515 §4.1, as far as it matters.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, rename = "crit", deserialize_with = "is_there")]
    is_critical: bool,
}

/// Whether the text has the form of such a token, whatever is in it. One without a signature has it too, so that it is
/// refused here and not handed on.
pub(super) fn looks_like_one(token: &str) -> bool {
    Parts::split(token).is_some()
}

impl Jwt {
    /// Who the token belongs to, at this time (milliseconds since 1970).
    ///
    /// # Errors
    /// See [`Fault`].
    ///
    /// # Cancel safety
    /// Cancel safe: a reading of the keys that it waits for goes on by itself.
    pub(super) async fn check(&self, token: &str, now_ms: i64) -> Result<User, Fault> {
        let parts = Parts::split(token).ok_or(Fault::Header)?;
        let header = URL_SAFE_NO_PAD.decode(parts.header).map_err(|_| Fault::Header)?;
        let header = Header::read(&header)?;
        let algorithm = self.pinned(&header.alg)?;
        let key_id = header.kid.as_deref();
        if algorithm.family() == AlgorithmFamily::Hmac {
            parts.is_signed_by(self.secret.iter(), algorithm)?;
        } else {
            let (keys, key_id) = match &self.public {
                Some(PublicKeys::Fixed(keys)) => (keys.clone(), None),
                Some(PublicKeys::Published(keys)) => (keys.for_token(key_id).await?, key_id),
                None => return Err(Fault::UnknownKey),
            };
            parts.is_signed_by(keys.candidates(key_id, algorithm).map(|key| key.key()), algorithm)?;
        }
        let claims = URL_SAFE_NO_PAD.decode(parts.claims).map_err(|_| Fault::Claims)?;
        Claims::read(&claims)?.into_user(&self.demands, now_ms)
    }

    /// The algorithm of this name, if it is one of those configured. `none` is no algorithm at all.
    fn pinned(&self, name: &str) -> Result<jsonwebtoken::Algorithm, Fault> {
        let algorithm = name.parse().map_err(|_| Fault::Algorithm)?;
        if self.algorithms.contains(&Algorithm(algorithm)) { Ok(algorithm) } else { Err(Fault::Algorithm) }
    }
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Option<Self> {
        let is_base64url = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let is_one = !header.is_empty() && [header, claims, signature].into_iter().all(is_base64url);
        is_one.then_some(Parts { header, claims, signature, message })
    }

    /// # Errors
    /// [`Fault::UnknownKey`] when there is no key to try, [`Fault::Signature`] when it is that of none.
    fn is_signed_by<'k>(
        &self,
        keys: impl Iterator<Item = &'k DecodingKey>,
        algorithm: jsonwebtoken::Algorithm,
    ) -> Result<(), Fault> {
        let mut fault = Fault::UnknownKey;
        for key in keys {
            if crypto::verify(self.signature, self.message.as_bytes(), key, algorithm).unwrap_or(false) {
                return Ok(());
            }
            fault = Fault::Signature;
        }
        Err(fault)
    }
}

impl<'a> Header<'a> {
    fn read(json: &'a [u8]) -> Result<Self, Fault> {
        let header: Self = object(json).ok_or(Fault::Header)?;
        if header.is_critical {
            return Err(Fault::Critical);
        }
        if header.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID_BYTES) {
            return Err(Fault::UnknownKey);
        }
        Ok(header)
    }
}

/// Whatever the value is, `null` too: who does not know an extension must refuse (RFC 7515 §4.1.11), and none is known.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
