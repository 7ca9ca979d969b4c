//! Certificates for tests, and clients that trust them.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};

use super::Tls;
use crate::config::ServerTls;

/// A certificate for `localhost`, that trusts itself, in files.
pub(crate) struct Certificate {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    der: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert_file, made.cert.pem()).expect("written");
        std::fs::write(&key_file, made.signing_key.serialize_pem()).expect("written");
        Self { cert_file, key_file, der: made.cert.der().clone(), _folder: folder }
    }

    pub(crate) fn tls(&self) -> Tls {
        let config = ServerTls { cert_file: Some(self.cert_file.clone()), key_file: Some(self.key_file.clone()) };
        Tls::load(&config).expect("usable").expect("configured")
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that ring has suites for")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// The name in the certificates.
pub(crate) fn localhost() -> ServerName<'static> {
    "localhost".try_into().expect("a name")
}
