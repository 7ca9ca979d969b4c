//! TLS for client connections: from the certificate's files to bytes on a socket.
//!
//! rustls does the cryptography and has no say over sockets or buffers ([`Session`]), so that a connection that has
//! nothing to say costs its keys and not much more. TLS 1.2 and 1.3, HTTP/1.1 by ALPN, no certificates of clients. A
//! client that comes back resumes by a ticket that only this process can read: nothing is kept for it.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};

use crate::config::ServerTls;

#[cfg(test)]
pub(crate) mod fixture;
mod handshake;
mod session;

pub(crate) use handshake::Secured;
pub(crate) use session::Session;

/// Largest file that is taken for a certificate or a key.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The certificate and key in force. Another one, and other tickets, come with a reload.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why there is no TLS. Never says what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// As configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not valid: {fault}")]
    Invalid {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Each is valid, but not the certificate with the key.
    #[error("cannot use {cert_file} with {key_file}")]
    Mismatch {
        /// As configured.
        cert_file: PathBuf,
        /// As configured.
        key_file: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot make keys for session tickets")]
    Tickets(#[source] rustls::Error),
}

impl Tls {
    /// Reads the files; `None` where none are configured.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn load(config: &ServerTls) -> Result<Option<Self>, TlsError> {
        let (Some(cert_file), Some(key_file)) = (&config.cert_file, &config.key_file) else {
            return Ok(None);
        };
        let chain: Vec<CertificateDer> = read_pem(cert_file, "there is no certificate in it")?;
        let mut keys: Vec<PrivateKeyDer> =
            read_pem(key_file, "there is no private key in it; an encrypted one is not taken")?;
        let mismatch = |source| TlsError::Mismatch { cert_file: cert_file.clone(), key_file: key_file.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, keys.swap_remove(0))
            .map_err(mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The state of a session travels with the client instead of filling a cache.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Tickets)?;
        config.send_tls13_tickets = 1;
        Ok(Some(Self(Arc::new(config))))
    }
}

/// All items of a kind in a PEM file, at least one. `none`: what is wrong when there is none.
fn read_pem<T: PemObject>(path: &Path, none: &'static str) -> Result<Vec<T>, TlsError> {
    let invalid = |fault| TlsError::Invalid { path: path.to_owned(), fault };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid("it is too large"));
    }
    // The parser's own words may repeat a line of the file.
    let items: Vec<T> = T::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|_| invalid("it is no pem"))?;
    if items.is_empty() { Err(invalid(none)) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use super::{fixture::Certificate, *};
    use crate::error::with_causes;

    fn load(cert_file: &Path, key_file: &Path) -> Result<Option<Tls>, TlsError> {
        Tls::load(&ServerTls { cert_file: Some(cert_file.to_owned()), key_file: Some(key_file.to_owned()) })
    }

    fn fault(result: Result<Option<Tls>, TlsError>) -> String {
        with_causes(&result.map(|_| ()).expect_err("not usable"))
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_and_nothing_is_needed() {
        let certificate = Certificate::new();
        assert!(load(&certificate.cert_file, &certificate.key_file).expect("usable").is_some());
        assert!(Tls::load(&ServerTls::default()).expect("nothing to load").is_none());
    }

    /// Checklist 56: a broken certificate. What is wrong is said with the file's name, and nothing of what is in it.
    #[test]
    fn says_which_file_is_wrong_and_repeats_nothing_of_it() {
        let (certificate, other) = (Certificate::new(), Certificate::new());
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let key = std::fs::read_to_string(&certificate.key_file).expect("a key");
        let half = write("half.pem", &key.as_bytes()[..key.len() / 2]);
        let junk = write("junk.pem", format!("-----BEGIN {key}").as_bytes());
        let large = write("large.pem", &vec![b'x'; 2 << 20]);
        let (cert_file, key_file) = (&certificate.cert_file, &certificate.key_file);
        let faults = [
            (fault(load(&folder.path().join("none.pem"), key_file)), "none.pem"),
            (fault(load(cert_file, &half)), "half.pem"),
            (fault(load(cert_file, &junk)), "junk.pem"),
            (fault(load(&large, key_file)), "large.pem"),
            (fault(load(key_file, key_file)), "no certificate"),
            (fault(load(cert_file, cert_file)), "no private key"),
            (fault(load(cert_file, &other.key_file)), "cannot use"),
        ];
        for (text, expected) in faults {
            assert!(text.contains(expected), "{text}");
            assert!(key.lines().filter(|line| line.len() > 8).all(|line| !text.contains(line)), "{text}");
        }
    }
}
