//! Public keys: read from PEM or from a JSON Web Key Set (RFC 7517), each checked once, so that no verification can
//! stumble over it. Private and symmetric keys are never taken: who could sign must not be here.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, crypto,
    jwk::{AlgorithmParameters, Jwk},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::claims::object;

/// Most keys of a set.
const MAX_KEYS: usize = 128;

/// Longest id of a key, in bytes, as a set gives it and as a token asks for it.
pub(super) const MAX_KEY_ID_BYTES: usize = 256;

/// Keys that are tried for a token that does not say which one it means.
const MAX_TRIES: usize = 16;

/// RFC 7518 §3.3 demands at least 2,048 bits; the verifier takes at most 4,096.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// What the verifier takes fits into four bytes; 65,537 takes three.
const MAX_RSA_EXPONENT_BYTES: usize = 4;

/// Why a text is no set of public keys. Says nothing of the keys themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("no JSON object with a list of keys")]
    NoSet,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    #[error("no key that can check a signature")]
    Empty,
    #[error("no public key in PEM")]
    NoPem,
    #[error("a private key or a certificate, where only public keys belong")]
    NotPublic,
    #[error("a key of an unknown kind, or a damaged one")]
    Unusable,
    #[error("an RSA key of less than {} or more than {} bits", RSA_BITS.start(), RSA_BITS.end())]
    RsaSize,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// One public key.
#[derive(Debug)]
pub(super) struct PublicKey {
    kind: Kind,
    /// The only algorithm it is meant for, where it says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

/// Public keys, those with an id by their id.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
    ids: HashMap<Box<str>, usize>,
}

impl PublicKey {
    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyFault::RsaSize);
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !is_odd(n) || !is_odd(e) || e == [1] || e.len() > MAX_RSA_EXPONENT_BYTES {
            return Err(KeyFault::Unusable);
        }
        Ok(PublicKey { kind: Kind::Rsa, only: None, key: DecodingKey::from_rsa_raw_components(n, e) })
    }

    fn ec(kind: Kind, x: &[u8], y: &[u8]) -> Result<Self, KeyFault> {
        let (algorithm, bytes) = match kind {
            Kind::P384 => (Algorithm::ES384, 48),
            _ => (Algorithm::ES256, 32),
        };
        if x.len() != bytes || y.len() != bytes {
            return Err(KeyFault::Unusable);
        }
        // SEC 1 §2.3.3: an uncompressed point.
        let point = [&[4], x, y].concat();
        PublicKey { kind, only: None, key: DecodingKey::from_ec_der(&point) }.tried(algorithm)
    }

    fn ed25519(x: &[u8]) -> Result<Self, KeyFault> {
        // The verifier panics over a shorter one.
        if x.len() != 32 {
            return Err(KeyFault::Unusable);
        }
        PublicKey { kind: Kind::Ed25519, only: None, key: DecodingKey::from_ed_der(x) }.tried(Algorithm::EdDSA)
    }

    /// Fails for a point that is not on the curve: the verifier says so before it looks at the signature.
    fn tried(self, algorithm: Algorithm) -> Result<Self, KeyFault> {
        crypto::verify("", b"", &self.key, algorithm).map(|_| self).map_err(|_| KeyFault::Unusable)
    }

    /// Whether signatures of this kind can be this key's, and are meant to be.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        let is_able = match algorithm {
            Algorithm::ES256 => self.kind == Kind::P256,
            Algorithm::ES384 => self.kind == Kind::P384,
            Algorithm::EdDSA => self.kind == Kind::Ed25519,
            other => other.family() == AlgorithmFamily::Rsa && self.kind == Kind::Rsa,
        };
        is_able && self.only.is_none_or(|only| only == algorithm)
    }

    /// For the verifier.
    pub(super) fn key(&self) -> &DecodingKey {
        &self.key
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys in it that are of no use here, such as those for encryption, are left out; of two
    /// with the same id the first counts.
    ///
    /// # Errors
    /// [`KeyFault::NoSet`], [`KeyFault::TooMany`], and [`KeyFault::Empty`] when no key is left.
    pub(super) fn from_jwks(json: &[u8]) -> Result<Self, KeyFault> {
        let document: Document = object(json).ok_or(KeyFault::NoSet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeyFault::TooMany);
        }
        let mut set = KeySet::default();
        for raw in &document.keys {
            let Some(jwk) = object::<WebKey>(raw.get().as_bytes()) else { continue };
            let Some(key) = jwk.public_key() else { continue };
            set.add(jwk.kid, key);
        }
        if set.keys.is_empty() { Err(KeyFault::Empty) } else { Ok(set) }
    }

    /// Reads one or more public keys, PEM: during a rotation the old one and the new one.
    ///
    /// # Errors
    /// Any block that is not a usable public key.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyFault> {
        let mut set = KeySet::default();
        for block in pem_blocks(text) {
            if set.keys.len() == MAX_TRIES {
                return Err(KeyFault::TooMany);
            }
            set.add(None, key_of_pem(block)?);
        }
        if set.keys.is_empty() { Err(KeyFault::NoPem) } else { Ok(set) }
    }

    fn add(&mut self, id: Option<String>, key: PublicKey) {
        match id {
            Some(id) if self.ids.contains_key(id.as_str()) => return,
            Some(id) => {
                self.ids.insert(id.into(), self.keys.len());
            }
            None => {}
        }
        self.keys.push(key);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key with this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    /// The keys that a token of this algorithm may be signed with: the one with this id, or without an id all that suit,
    /// at most 16.
    pub(super) fn candidates<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a PublicKey> {
        let named = id.and_then(|id| self.ids.get(id)).map(|index| &self.keys[*index]);
        let unnamed = if id.is_none() { &self.keys[..] } else { &[] };
        named.into_iter().chain(unnamed).filter(move |key| key.suits(algorithm)).take(MAX_TRIES)
    }

    /// Whether there is any key that such a signature can be checked with.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.suits(algorithm))
    }
}

/// RFC 7517 §5. The keys are read one by one, so that one that is not understood does no harm to the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Box<RawValue>>,
}

/// RFC 7517 §4 and RFC 7518 §6. What else a key may say, such as where its certificate is, is not looked at.
#[derive(Deserialize)]
struct WebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl WebKey {
    /// None for a key that is not for us: another purpose, an unknown kind, a damaged one.
    fn public_key(&self) -> Option<PublicKey> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !is_for_signatures || self.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID_BYTES) {
            return None;
        }
        let only = match &self.alg {
            Some(name) => Some(name.parse::<Algorithm>().ok()?),
            None => None,
        };
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => PublicKey::rsa(&part(&self.n)?, &part(&self.e)?),
            ("EC", Some("P-256")) => PublicKey::ec(Kind::P256, &part(&self.x)?, &part(&self.y)?),
            ("EC", Some("P-384")) => PublicKey::ec(Kind::P384, &part(&self.x)?, &part(&self.y)?),
            ("OKP", Some("Ed25519")) => PublicKey::ed25519(&part(&self.x)?),
            _ => return None,
        };
        let key = PublicKey { only, ..key.ok()? };
        only.is_none_or(|only| key.suits(only)).then_some(key)
    }
}

/// Each from its BEGIN to its END; what stands around them is for people.
fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END ";
    const DASHES: &str = "-----";
    let mut rest = text;
    std::iter::from_fn(move || {
        let block = &rest[rest.find("-----BEGIN ")?..];
        // Without an end, all of it: the parser says what is wrong.
        let end = block.find(END).map(|end| end + END.len());
        let end = end.and_then(|end| block[end..].find(DASHES).map(|more| end + more + DASHES.len()));
        let (block, after) = block.split_at(end.unwrap_or(block.len()));
        rest = after;
        Some(block)
    })
}

fn key_of_pem(block: &str) -> Result<PublicKey, KeyFault> {
    let label = block.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).map(|(label, _)| label);
    if !matches!(label, Some("PUBLIC KEY" | "RSA PUBLIC KEY")) {
        return Err(KeyFault::NotPublic);
    }
    let pem = block.as_bytes();
    let key = DecodingKey::from_ec_pem(pem)
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .or_else(|_| DecodingKey::from_rsa_pem(pem))
        .map_err(|_| KeyFault::Unusable)?;
    // By way of the same parts as those of a key set, and the same checks.
    let parts = Jwk::from_decoding_key(&key, None).map_err(|_| KeyFault::Unusable)?.algorithm;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Unusable);
    match &parts {
        AlgorithmParameters::RSA(rsa) => PublicKey::rsa(&part(&rsa.n)?, &part(&rsa.e)?),
        AlgorithmParameters::EllipticCurve(ec) => {
            let (x, y) = (part(&ec.x)?, part(&ec.y)?);
            PublicKey::ec(if x.len() == 48 { Kind::P384 } else { Kind::P256 }, &x, &y)
        }
        AlgorithmParameters::OctetKeyPair(okp) => PublicKey::ed25519(&part(&okp.x)?),
        _ => Err(KeyFault::Unusable),
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // RFC 8037 Appendix A.2, RFC 7517 Appendix A.1.
    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const P256_X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const P256_Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn ed(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": ED, "kid": id})
    }

    fn p256(id: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": P256_X, "y": P256_Y, "kid": id})
    }

    fn set(keys: &[Value]) -> Result<KeySet, KeyFault> {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// Checklist 16: a set that is larger than a set can be.
    #[test]
    fn a_set_has_at_most_128_keys() {
        let keys: Vec<Value> = (0..=MAX_KEYS).map(|number| ed(&number.to_string())).collect();
        assert_eq!(set(&keys[..MAX_KEYS]).expect("good").keys.len(), MAX_KEYS);
        assert_eq!(set(&keys).err(), Some(KeyFault::TooMany));
    }

    #[test]
    fn of_two_keys_with_one_id_the_first_counts() {
        let set = set(&[ed("k"), p256("k"), p256("other")]).expect("good");
        assert_eq!(set.candidates(Some("k"), Algorithm::EdDSA).count(), 1);
        assert_eq!(set.candidates(Some("k"), Algorithm::ES256).count(), 0);
        assert_eq!(set.candidates(None, Algorithm::ES256).count(), 1);
    }

    /// Checklist 13: a token without an id, so that every key is tried.
    #[test]
    fn without_an_id_at_most_16_keys_are_tried() {
        let keys: Vec<Value> = (0..100).map(|number| ed(&number.to_string())).collect();
        let set = set(&keys).expect("good");
        assert_eq!(set.candidates(None, Algorithm::EdDSA).count(), MAX_TRIES);
        assert_eq!(set.candidates(Some("7"), Algorithm::EdDSA).count(), 1);
        assert_eq!(set.candidates(Some("100"), Algorithm::EdDSA).count(), 0);
        assert_eq!(set.candidates(None, Algorithm::RS256).count(), 0);
    }

    #[test]
    fn a_damaged_key_is_left_out_and_harms_no_other() {
        let long = "k".repeat(MAX_KEY_ID_BYTES + 1);
        let but = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let damaged = [
            but(ed("1"), "x", "AAAA".into()),
            but(ed("1"), "x", "".into()),
            but(ed("1"), "x", format!("{ED}=").into()),
            but(ed("1"), "x", Value::Null),
            but(ed("1"), "x", "_".repeat(42).into()),
            but(ed("1"), "crv", "X25519".into()),
            but(p256("1"), "y", P256_X.into()),
            but(p256("1"), "y", "AAAA".into()),
            but(p256("1"), "crv", "P-384".into()),
            but(p256("1"), "crv", "secp256k1".into()),
            but(p256("1"), "kty", "OKP".into()),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "", "e": ""}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": 7}),
            json!(["OKP"]),
            ed(&long),
        ];
        for key in &damaged {
            assert_eq!(set(std::slice::from_ref(key)).err(), Some(KeyFault::Empty), "{key}");
            assert_eq!(set(&[key.clone(), p256("good")]).expect("one is good").keys.len(), 1, "{key}");
        }
    }

    #[test]
    fn an_rsa_key_has_2048_to_4096_bits() {
        let number = |bits: usize| {
            let mut bytes = vec![0xff; bits.div_ceil(8)];
            bytes[0] >>= bytes.len() * 8 - bits;
            bytes
        };
        let e = [1, 0, 1];
        for bits in [0, 8, 512, 1_024, 2_047, 4_097, 65_536] {
            let n = if bits == 0 { Vec::new() } else { number(bits) };
            assert_eq!(PublicKey::rsa(&n, &e).err(), Some(KeyFault::RsaSize), "{bits}");
        }
        for bits in [2_048, 3_072, 4_096] {
            assert!(PublicKey::rsa(&number(bits), &e).is_ok(), "{bits}");
            assert!(PublicKey::rsa(&[vec![0], number(bits)].concat(), &e).is_ok(), "{bits}");
        }
        for e in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
            assert!(PublicKey::rsa(&number(2_048), e).is_err(), "{e:?}");
        }
    }
}
