//! TLS for `wss` addresses: whom to trust, and a secured stream.
//!
//! TLS 1.2 and 1.3 by rustls. A certificate is always checked: by the authorities of a given file and no others, or by
//! those that the system trusts, and for the host's name or number.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::options::OptionsError;

/// The only thing spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// The authorities whose certificates are believed.
pub(crate) struct Trust(Arc<ClientConfig>);

/// How to secure connections to one host.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Trust {
    /// Reads the authorities' certificates: of this file, or of the system.
    pub(crate) fn load(ca: Option<&Path>) -> Result<Trust, OptionsError> {
        let roots = match ca {
            Some(path) => from_file(path),
            None => from_system(),
        };
        let roots = roots.map_err(|cause| OptionsError::Tls { cause })?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| OptionsError::Tls { cause: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Trust(Arc::new(config)))
    }

    /// For a name or number; `None` if it is neither.
    pub(crate) fn for_host(&self, host: &str) -> Option<Tls> {
        let name = ServerName::try_from(host.to_owned()).ok()?;
        Some(Tls { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, String> {
    let unusable = |why: &dyn fmt::Display| format!("{} is no file of certificates: {why}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it has none"));
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // systems have certificates that nobody can read; one of them is no reason to trust none
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("the system has no certificates to trust{why}"));
    }
    Ok(roots)
}

impl Tls {
    /// Shakes hands and checks the certificate.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_file_of_certificates() {
        let path = std::env::temp_dir().join(format!("odin-tls-{}", std::process::id()));
        for (text, why) in [("", "it has none"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "")]
        {
            std::fs::write(&path, text).expect("writable");
            let error = Trust::load(Some(&path)).err().expect(text).to_string();
            assert!(error.starts_with("cannot use tls: ") && error.contains(why), "{error}");
        }
        std::fs::remove_file(&path).expect("just written");
        assert!(Trust::load(Some(&path)).is_err(), "it is gone");
    }
}
