//! One GET of a key set: bounded in time and size, to the configured address and no other.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto::ring};

use crate::{
    auth::keys::{KeyFault, KeySet},
    config::Auth,
};

/// Why no key set was read. Names no address: it may hold what others should not see.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum ReadError {
    #[error("no answer in time")]
    Timeout,
    #[error("the request failed")]
    Request(#[source] hyper_util::client::legacy::Error),
    /// Redirects too: who may answer is configured.
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer broke off")]
    Body,
    #[error("the answer is no set of public keys: {0}")]
    Keys(KeyFault),
}

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Trust(ClientConfig);

/// Reads the keys of one address.
#[derive(Debug)]
pub(in crate::auth) struct Reader {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Uri,
    timeout: Duration,
    most_bytes: usize,
}

/// What is wrong with an address to read keys from. It is not repeated: it may hold what others should not see.
pub(crate) fn url_fault(text: &str) -> Option<&'static str> {
    let Ok(url) = text.parse::<Uri>() else { return Some("expected a URL such as https://id.example/jwks.json") };
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Some("expected a URL such as https://id.example/jwks.json");
    };
    if authority.as_str().contains('@') {
        return Some("must not hold a user or password");
    }
    let host = authority.host();
    let port = &authority.as_str()[host.len()..];
    if host.is_empty() || !(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())) {
        return Some("expected a host, and a port from 0 to 65535 if any");
    }
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => None,
        "http" if is_loopback => None,
        _ => Some("must begin with https://, or whoever sits between could choose the keys"),
    }
}

impl Trust {
    /// That of this system: `SSL_CERT_FILE` and `SSL_CERT_DIR`, or where its certificates are.
    ///
    /// # Errors
    /// When there are none.
    pub(in crate::auth) fn of_system() -> io::Result<Self> {
        Ok(Trust(tls().with_native_roots()?.with_no_client_auth()))
    }

    /// Of these authorities only. Without any, TLS is not possible.
    pub(in crate::auth) fn of(authorities: RootCertStore) -> Self {
        Trust(tls().with_root_certificates(authorities).with_no_client_auth())
    }
}

fn tls() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks them")
}

impl Reader {
    /// Reads from this address; its scheme decides whether by TLS. Nothing is sent yet.
    pub(in crate::auth) fn new(url: Uri, auth: &Auth, trust: Trust) -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(trust.0).https_or_http().enable_http1().build();
        // No connection is kept: minutes lie between two readings.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Reader { client, url, timeout: auth.jwks_timeout, most_bytes: auth.jwks_bytes }
    }

    /// Reads once.
    ///
    /// # Errors
    /// See [`ReadError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(in crate::auth) async fn read(&self) -> Result<KeySet, ReadError> {
        tokio::time::timeout(self.timeout, self.get()).await.unwrap_or(Err(ReadError::Timeout))
    }

    async fn get(&self) -> Result<KeySet, ReadError> {
        let request = Request::get(self.url.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Empty::new())
            .expect("a URL that was parsed, and one header");
        let answer = self.client.request(request).await.map_err(ReadError::Request)?;
        if answer.status() != StatusCode::OK {
            return Err(ReadError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), self.most_bytes)
            .collect()
            .await
            .map_err(|error| if error.is::<LengthLimitError>() { ReadError::TooLarge } else { ReadError::Body })?;
        KeySet::from_jwks(&body.to_bytes()).map_err(ReadError::Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checklist 13: keys that come over a wire that anybody can change.
    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for url in [
            "https://id.example/jwks.json",
            "https://id.example:8443/a?b=c",
            "https://[2001:db8::1]/keys",
            "http://localhost:9000/jwks.json",
            "http://LocalHost/",
            "http://127.0.0.1/",
            "http://127.8.9.10:80/",
            "http://[::1]:8080/",
        ] {
            assert_eq!(url_fault(url), None, "{url}");
        }
        for url in [
            "",
            "id.example/jwks.json",
            "/jwks.json",
            "https://",
            "https:///jwks.json",
            "http://id.example/jwks.json",
            "http://localhost.example/",
            "http://10.0.0.7/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[2001:db8::1]/",
            "http://localhost@id.example/",
            "https://user:password@id.example/",
            "https://id.example:99999/",
            "https://id.example:x/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "https://id .example/",
        ] {
            let fault = url_fault(url).unwrap_or_else(|| panic!("{url}"));
            assert!(!fault.contains("password@"), "nothing is repeated");
        }
    }
}
