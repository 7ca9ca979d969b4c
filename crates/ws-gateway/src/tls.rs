//! TLS for client connections: from the certificate's files to what a handshake needs.

use std::sync::Arc;

/// The certificate and key in force.
#[derive(Debug, Clone)]
pub(crate) struct Tls(pub(crate) Arc<rustls::ServerConfig>);
