//! From the configuration, and the files it names, to everything that tokens are checked with, or to all that is wrong.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::Uri;
use jsonwebtoken::DecodingKey;
use rustls::RootCertStore;
use serde::Deserialize as _;

use super::{
    Algorithm,
    api_key::{ApiKeyFault, ApiKeys},
    claims::Demands,
    jwks::{Reader, Trust, url_fault},
    jwt::{Jwt, PublicKeys},
    keys::{KeyFault, KeySet},
};
use crate::config::{ApiKey, Auth};

/// Largest file of public keys: a hundred times what sixteen need.
const MAX_KEY_FILE_BYTES: u64 = 1 << 20;

/// Largest file of API keys: some ten thousand.
const MAX_API_KEYS_FILE_BYTES: u64 = 4 << 20;

/// The only key of that file.
const API_KEYS: &str = "api_keys";

/// Everything that keeps signing in from being set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up auth, {} problem(s):{}", faults.len(), faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
pub struct AuthSetupError {
    /// At least one.
    pub(super) faults: Vec<SetupFault>,
}

/// One of them. No text holds a key, a hash or a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupFault {
    #[error("{option}: cannot read {}: {source}", path.display())]
    Unreadable { option: &'static str, path: PathBuf, source: io::Error },
    #[error("auth.public_key_file: {}: {fault}", path.display())]
    PublicKeys { path: PathBuf, fault: KeyFault },
    #[error("auth.public_key_file: {} has no key for {algorithm}", path.display())]
    NoKeyFor { path: PathBuf, algorithm: Algorithm },
    #[error("auth.jwks_url: {0}")]
    Url(&'static str),
    #[error("auth.jwks_url: the certificates of this system cannot be read: {0}")]
    Certificates(io::Error),
    #[error("auth.api_keys_file: {}: {message}", path.display())]
    ApiKeysFile { path: PathBuf, message: String },
    #[error("{list}[{number}]: {fault}")]
    ApiKey { list: String, number: usize, fault: ApiKeyFault },
}

/// What was found good. Nothing runs yet.
pub(super) struct Setup {
    pub(super) api_keys: Option<ApiKeys>,
    /// Without the public keys of an endpoint.
    pub(super) jwt: Option<Jwt>,
    /// Reads those.
    pub(super) reader: Option<Reader>,
}

/// Reads and checks everything.
///
/// # Errors
/// All that is wrong, at once.
pub(super) fn read(auth: &Auth) -> Result<Setup, AuthSetupError> {
    let mut faults = Vec::new();
    let api_keys = api_keys(auth, &mut faults);
    let public = auth.public_key_file.as_deref().and_then(|path| public_keys(path, &auth.algorithms, &mut faults));
    let reader = auth.jwks_url.as_deref().and_then(|url| reader(url, auth, &mut faults));
    if !faults.is_empty() {
        return Err(AuthSetupError { faults });
    }
    let has_public = public.is_some() || reader.is_some();
    if has_public && auth.audience.is_none() {
        tracing::warn!("auth.audience is not set: tokens that the issuer made for others are taken");
    }
    let jwt = (has_public || auth.hs256_secret.is_some()).then(|| Jwt {
        algorithms: auth.algorithms.clone(),
        secret: auth.hs256_secret.as_ref().map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
        public: public.map(|keys| PublicKeys::Fixed(Arc::new(keys))),
        demands: Demands {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: auth.leeway,
            must_end: true,
        },
    });
    Ok(Setup { api_keys, jwt, reader })
}

/// None where there is nothing to look keys up in.
fn api_keys(auth: &Auth, faults: &mut Vec<SetupFault>) -> Option<ApiKeys> {
    let mut keys = ApiKeys::default();
    let mut add = |list: &str, number, key: &ApiKey, faults: &mut Vec<SetupFault>| {
        if let Err(fault) = keys.add(key) {
            faults.push(SetupFault::ApiKey { list: list.to_owned(), number, fault });
        }
    };
    for (number, key) in (1..).zip(&auth.api_keys) {
        add(API_KEYS, number, key, faults);
    }
    if let Some(path) = &auth.api_keys_file {
        let list = format!("{}: {API_KEYS}", path.display());
        for (number, key) in api_keys_file(path, faults) {
            add(&list, number, &key, faults);
        }
    }
    (!auth.api_keys.is_empty() || auth.api_keys_file.is_some()).then_some(keys)
}

/// The keys of the file that can be read, with their places in it.
fn api_keys_file(path: &Path, faults: &mut Vec<SetupFault>) -> Vec<(usize, ApiKey)> {
    let text = match text_of(path, MAX_API_KEYS_FILE_BYTES) {
        Ok(text) => text,
        Err(source) => {
            faults.push(SetupFault::Unreadable { option: "auth.api_keys_file", path: path.to_owned(), source });
            return Vec::new();
        }
    };
    let mut fault = |message| faults.push(SetupFault::ApiKeysFile { path: path.to_owned(), message });
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        // The parser's own text shows the line, and what is in it.
        Err(error) => {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            fault(format!("invalid toml near line {line}"));
            return Vec::new();
        }
    };
    let mut keys = Vec::new();
    for (name, value) in &table {
        match value.as_array() {
            Some(items) if name == API_KEYS => {
                for (number, item) in (1..).zip(items) {
                    match ApiKey::deserialize(item.clone()) {
                        Ok(key) => keys.push((number, key)),
                        Err(error) => fault(format!("{API_KEYS}[{number}]: {}", error.message())),
                    }
                }
            }
            _ => fault(format!("expected only tables, each beginning with [[{API_KEYS}]]")),
        }
    }
    keys
}

fn public_keys(path: &Path, algorithms: &[Algorithm], faults: &mut Vec<SetupFault>) -> Option<KeySet> {
    let text = match text_of(path, MAX_KEY_FILE_BYTES) {
        Ok(text) => text,
        Err(source) => {
            faults.push(SetupFault::Unreadable { option: "auth.public_key_file", path: path.to_owned(), source });
            return None;
        }
    };
    match KeySet::from_pem(&text) {
        Ok(keys) => {
            let is_unmet = |algorithm: &&Algorithm| !algorithm.is_secret() && !keys.suits(algorithm.0);
            let unmet = algorithms.iter().filter(is_unmet);
            faults.extend(unmet.map(|algorithm| SetupFault::NoKeyFor { path: path.to_owned(), algorithm: *algorithm }));
            Some(keys)
        }
        Err(fault) => {
            faults.push(SetupFault::PublicKeys { path: path.to_owned(), fault });
            None
        }
    }
}

fn reader(url: &str, auth: &Auth, faults: &mut Vec<SetupFault>) -> Option<Reader> {
    if let Some(fault) = url_fault(url) {
        faults.push(SetupFault::Url(fault));
        return None;
    }
    let url: Uri = url.parse().expect("it was looked at");
    // Without TLS there is nothing to trust, and the image need not hold certificates.
    let trust = match url.scheme_str() {
        Some("https") => Trust::of_system(),
        _ => Ok(Trust::of(RootCertStore::empty())),
    };
    match trust {
        Ok(trust) => Some(Reader::new(url, auth, trust)),
        Err(error) => {
            faults.push(SetupFault::Certificates(error));
            None
        }
    }
}

/// The file's text.
///
/// # Errors
/// Also for one that is too large or not UTF-8.
fn text_of(path: &Path, most_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(most_bytes + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > most_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most_bytes} bytes")));
    }
    Ok(text)
}
