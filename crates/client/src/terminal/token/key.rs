//! Signing: with a shared secret, or with a private key whose kind names the algorithm.

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use super::super::{args::Key, note::note};

/// A shared secret shorter than its hash can be guessed.
const GOOD_SECRET_BYTES: usize = 32;
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// The signed token. No error shows anything of a key.
pub(super) fn sign(args: &Key, claims: &Map<String, Value>) -> Result<String, String> {
    let key = match args {
        Key { secret: Some(secret), .. } => from_secret(secret.expose().as_bytes())?,
        Key { secret_file: Some(path), .. } => {
            let bytes = read(path)?;
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            from_secret(line.strip_suffix(b"\r").unwrap_or(line))?
        }
        Key { key_file: Some(path), .. } => from_pem(&read(path)?).ok_or_else(|| {
            format!("{} is no private key in PKCS #8: convert it with openssl pkcs8 -topk8 -nocrypt", path.display())
        })?,
        _ => return Err("nothing to sign with".to_owned()),
    };
    let algorithms = match args.alg {
        Some(algorithm) => vec![algorithm],
        None => defaults(key.family()),
    };
    let header = |alg| Header { kid: args.kid.clone(), ..Header::new(alg) };
    algorithms
        .iter()
        .find_map(|algorithm| encode(&header(*algorithm), claims, &key).ok())
        .ok_or_else(|| "the key does not fit the algorithm".to_owned())
}

/// Algorithms for a key, the first that fits: of the kinds of elliptic curves each key knows one.
fn defaults(family: AlgorithmFamily) -> Vec<Algorithm> {
    match family {
        AlgorithmFamily::Hmac => vec![Algorithm::HS256],
        AlgorithmFamily::Rsa => vec![Algorithm::RS256],
        AlgorithmFamily::Ec => vec![Algorithm::ES256, Algorithm::ES384],
        AlgorithmFamily::Ed => vec![Algorithm::EdDSA],
    }
}

fn from_secret(secret: &[u8]) -> Result<EncodingKey, String> {
    match secret.len() {
        0 => return Err("the secret is empty".to_owned()),
        1..GOOD_SECRET_BYTES => {
            note(format_args!("odin: a secret of fewer than {GOOD_SECRET_BYTES} bytes can be guessed"));
        }
        _ => {}
    }
    Ok(EncodingKey::from_secret(secret))
}

fn from_pem(pem: &[u8]) -> Option<EncodingKey> {
    // a public key would be read too, and sign nothing
    if !pem.windows(PRIVATE.len()).any(|text| text == PRIVATE) {
        return None;
    }
    let kinds = [EncodingKey::from_ed_pem, EncodingKey::from_ec_pem, EncodingKey::from_rsa_pem];
    kinds.into_iter().find_map(|read| read(pem).ok())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use odin_client::protocol::Secret;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    /// Made for this test with `openssl genpkey -algorithm RSA`, and used nowhere else.
    const RSA: &str = include_str!("rsa_of_a_test.pem");
    const RSA_PUBLIC: &str = include_str!("rsa_of_a_test.pub.pem");
    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn key() -> Key {
        Key { secret: None, secret_file: None, key_file: None, alg: None, kid: None }
    }

    fn claims() -> Map<String, Value> {
        Map::from_iter([("sub".to_owned(), "user-7".into()), ("exp".to_owned(), u64::from(u32::MAX).into())])
    }

    /// Whether the token was signed like that.
    fn is_by(token: &str, algorithm: Algorithm, key: &DecodingKey) -> bool {
        let claims = decode::<Map<String, Value>>(token, key, &Validation::new(algorithm));
        claims.is_ok_and(|token| token.claims["sub"] == "user-7" && token.header.alg == algorithm)
    }

    /// Signs with the key that a file holds.
    fn sign_with_file(name: &str, text: &str, alg: Option<Algorithm>) -> Result<String, String> {
        let path = std::env::temp_dir().join(format!("odin-key-{name}-{}", std::process::id()));
        fs::write(&path, text).expect("writable");
        let token = sign(&Key { key_file: Some(path.clone()), alg, ..key() }, &claims());
        fs::remove_file(&path).expect("just written");
        token
    }

    fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let pair = KeyPair::generate_for(algorithm).expect("a key");
        (pair.serialize_pem(), pair.public_key_pem())
    }

    #[test]
    fn signs_with_a_secret_of_the_command_line_or_of_a_file() {
        let public = DecodingKey::from_secret(SECRET.as_bytes());
        let secret = Some(Secret::new(SECRET));
        let token = sign(&Key { secret: secret.clone(), ..key() }, &claims()).expect("signed");
        assert!(is_by(&token, Algorithm::HS256, &public));
        let alg = Some(Algorithm::HS512);
        let token = sign(&Key { secret, alg, ..key() }, &claims()).expect("signed");
        assert!(is_by(&token, Algorithm::HS512, &public));

        let path = std::env::temp_dir().join(format!("odin-secret-{}", std::process::id()));
        for end in ["", "\n", "\r\n"] {
            fs::write(&path, format!("{SECRET}{end}")).expect("writable");
            let token = sign(&Key { secret_file: Some(path.clone()), ..key() }, &claims()).expect("signed");
            assert!(is_by(&token, Algorithm::HS256, &public), "{end:?}");
        }
        fs::remove_file(&path).expect("just written");
        assert!(sign(&Key { secret: Some(Secret::new("")), ..key() }, &claims()).is_err());
    }

    #[test]
    fn signs_with_a_private_key_as_its_kind_asks() {
        let (private, public) = pair(&PKCS_ECDSA_P256_SHA256);
        let public = DecodingKey::from_ec_pem(public.as_bytes()).expect("a key");
        assert!(is_by(&sign_with_file("p256", &private, None).expect("signed"), Algorithm::ES256, &public));
        let (private, public) = pair(&PKCS_ECDSA_P384_SHA384);
        let public = DecodingKey::from_ec_pem(public.as_bytes()).expect("a key");
        assert!(is_by(&sign_with_file("p384", &private, None).expect("signed"), Algorithm::ES384, &public));
        let (private, public) = pair(&PKCS_ED25519);
        let public = DecodingKey::from_ed_pem(public.as_bytes()).expect("a key");
        assert!(is_by(&sign_with_file("ed", &private, None).expect("signed"), Algorithm::EdDSA, &public));
        let public = DecodingKey::from_rsa_pem(RSA_PUBLIC.as_bytes()).expect("a key");
        assert!(is_by(&sign_with_file("rsa", RSA, None).expect("signed"), Algorithm::RS256, &public));
        let token = sign_with_file("pss", RSA, Some(Algorithm::PS256)).expect("signed");
        assert!(is_by(&token, Algorithm::PS256, &public));
    }

    /// Checklist 13: the confusion of keys and algorithms begins with whoever signs.
    #[test]
    fn refuses_an_algorithm_that_is_not_the_keys() {
        let wrong = sign_with_file("wrong", RSA, Some(Algorithm::HS256)).expect_err("not its algorithm");
        assert_eq!(wrong, "the key does not fit the algorithm");
        let none = sign_with_file("none", RSA_PUBLIC, None).expect_err("a public key");
        assert!(none.contains("no private key") && !none.contains("BEGIN"), "{none}");
    }

    #[test]
    fn names_the_key() {
        let args = Key { secret: Some(Secret::new(SECRET)), kid: Some("k1".to_owned()), ..key() };
        let token = sign(&args, &claims()).expect("signed");
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64");
        assert_eq!(String::from_utf8(header).expect("text"), r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#);
    }
}
