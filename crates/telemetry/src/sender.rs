//! The way to a collector: one POST by OTLP/HTTP, bounded in time and size.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::{Endpoint, ExportError};

/// Most bytes read of an answer: an acknowledgement is empty, a refusal a sentence.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a connection without a request is kept: longer than the pause between two pushes of metrics.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// A collector that wants to be left alone for longer than a day is told a day.
const MAX_RETRY_AFTER: u64 = 24 * 3600;

/// Sends to one collector, and keeps a connection to it. Clones share it.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Arc<Endpoint>,
}

/// Why there is no way to a collector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderError {
    /// TLS needs to know whom to trust, and the system does not say.
    #[error("no trusted certificates for TLS to the collector")]
    Roots(#[source] io::Error),
}

impl Sender {
    /// Sends to this endpoint; its scheme decides whether by TLS, with the system's certificates (`SSL_CERT_FILE`,
    /// `SSL_CERT_DIR`, or where they are). Nothing is sent yet.
    ///
    /// # Errors
    /// [`SenderError::Roots`] when https is wanted and the system trusts nobody.
    pub fn new(endpoint: Endpoint) -> Result<Sender, SenderError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them");
        let builder = if endpoint.is_tls() {
            builder.with_native_roots().map_err(SenderError::Roots)?
        } else {
            builder.with_root_certificates(RootCertStore::empty())
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(builder.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(KEEP_IDLE)
            .build(connector);
        Ok(Sender { client, endpoint: Arc::new(endpoint) })
    }

    /// The collector's address and time limit.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends protobuf to a path such as `/v1/metrics`, once. What the collector says beside yes is dropped.
    ///
    /// # Errors
    /// [`ExportError`], which says whether and when it may be sent again.
    ///
    /// # Cancel safety
    /// Dropped, it may or may not have been sent.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O.
    pub async fn post(&self, path: &str, body: Bytes) -> Result<(), ExportError> {
        self.exchange(path, body).await.map(drop)
    }

    /// As [`post`](Sender::post), with the answer.
    pub(crate) async fn exchange(&self, path: &str, body: Bytes) -> Result<Response<Bytes>, ExportError> {
        let timeout = self.endpoint.timeout();
        tokio::time::timeout(timeout, self.send(path, body)).await.unwrap_or(Err(ExportError::Timeout))
    }

    async fn send(&self, path: &str, body: Bytes) -> Result<Response<Bytes>, ExportError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.url(path).expect("paths are constants and begin with a slash");
        request.headers_mut().clone_from(self.endpoint.headers());
        let protobuf = header::HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let answer = self.client.request(request).await.map_err(ExportError::Request)?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            // Its text may say anything: nobody reads it.
            let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let retry_after = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
            return Err(ExportError::Status { status: head.status, retry_after });
        }
        let too_large = |error: Box<dyn std::error::Error + Send + Sync>| {
            if error.is::<LengthLimitError>() { ExportError::TooLarge } else { ExportError::Body }
        };
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(too_large)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
