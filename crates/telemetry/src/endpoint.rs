//! Where a collector listens, and what it wants to be told with each request.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, uri::PathAndQuery};

/// Most bytes of all headers as they are written.
const MAX_HEADERS_BYTES: usize = 8 * 1024;
/// Most headers.
const MAX_HEADERS: usize = 32;

/// A collector's base URL, headers and time limit, parsed once. Printed, it keeps the headers' values to itself.
#[derive(Clone)]
pub struct Endpoint {
    base: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

/// What is wrong with an endpoint. It repeats nothing: URL and headers may hold what others should not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// No URL, or no host in it.
    #[error("expected a URL such as http://127.0.0.1:4318")]
    Url,
    /// Neither http nor https.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A password in a URL ends up in logs: headers are the place for it.
    #[error("must not hold a user or password")]
    User,
    /// What follows the path would get lost when the signal's path is added.
    #[error("must not have a query or fragment")]
    Query,
    /// The headers are not a list of pairs.
    #[error("expected headers such as name=value,other=value")]
    Headers,
    /// Too many headers, or too long.
    #[error("expected at most 32 headers of 8 KiB together")]
    TooManyHeaders,
    /// A header that the sender writes itself.
    #[error("must not set host, content-type, content-length, connection or transfer-encoding")]
    OwnHeader,
}

impl EndpointError {
    /// Whether it is about the headers, not the URL.
    pub fn is_of_headers(self) -> bool {
        matches!(self, EndpointError::Headers | EndpointError::TooManyHeaders | EndpointError::OwnHeader)
    }
}

impl Endpoint {
    /// Parses a base URL (`https://collector.example/otlp`), to which `/v1/traces` and the like are added, and headers
    /// as in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,other=value`, percent-encoded. `timeout` bounds each request.
    ///
    /// # Errors
    /// [`EndpointError`]: neither http nor https, no host, something in the URL that does not belong there; headers
    /// that are none, too many, or the sender's own.
    pub fn parse(url: &str, headers: &str, timeout: Duration) -> Result<Endpoint, EndpointError> {
        Ok(Endpoint { base: base(url)?, headers: parse_headers(headers)?, timeout })
    }

    /// The base URL. It holds no password.
    pub fn base(&self) -> &Uri {
        &self.base
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.scheme_str() == Some("https")
    }

    /// The URL of a signal's path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> Option<Uri> {
        let mut parts = self.base.clone().into_parts();
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().map(|name| format!("{name}=***")).collect();
        f.debug_struct("Endpoint")
            .field("base", &self.base)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .finish()
    }
}

fn base(url: &str) -> Result<Uri, EndpointError> {
    // The URL type drops a fragment without a word.
    if url.contains('#') {
        return Err(EndpointError::Query);
    }
    let url: Uri = url.parse().map_err(|_| EndpointError::Url)?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(EndpointError::Url);
    };
    if !matches!(scheme, "http" | "https") {
        return Err(EndpointError::Scheme);
    }
    if authority.as_str().contains('@') {
        return Err(EndpointError::User);
    }
    let host = authority.host();
    let port = &authority.as_str()[host.len()..];
    if host.is_empty() || !(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())) {
        return Err(EndpointError::Url);
    }
    if url.query().is_some() {
        return Err(EndpointError::Query);
    }
    Ok(url)
}

fn parse_headers(text: &str) -> Result<HeaderMap, EndpointError> {
    if text.len() > MAX_HEADERS_BYTES {
        return Err(EndpointError::TooManyHeaders);
    }
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(EndpointError::Headers)?;
        let name: HeaderName = name.trim().parse().map_err(|_| EndpointError::Headers)?;
        if matches!(name.as_str(), "host" | "content-type" | "content-length" | "connection" | "transfer-encoding") {
            return Err(EndpointError::OwnHeader);
        }
        let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| EndpointError::Headers)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        if headers.len() > MAX_HEADERS {
            return Err(EndpointError::TooManyHeaders);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, headers: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(url, headers, Duration::from_secs(1))
    }

    #[test]
    fn a_path_is_added_to_whatever_the_base_has() {
        for (base, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp", "https://collector.example/otlp/v1/traces"),
            ("https://[2001:db8::1]:4318/a/b/", "https://[2001:db8::1]:4318/a/b/v1/traces"),
        ] {
            assert_eq!(parse(base, "").unwrap().url("/v1/traces").unwrap(), url, "{base}");
        }
    }

    /// Checklist 17: a password where it would be logged.
    #[test]
    fn refuses_what_is_no_base_url() {
        for (url, error) in [
            ("", EndpointError::Url),
            ("collector:4318", EndpointError::Url),
            ("/v1", EndpointError::Url),
            ("http://", EndpointError::Url),
            ("http://host:99999", EndpointError::Url),
            ("http://a b/", EndpointError::Url),
            ("grpc://collector:4317", EndpointError::Scheme),
            ("https://user:password@collector", EndpointError::User),
            ("https://collector/?token=password", EndpointError::Query),
            ("https://collector/#password", EndpointError::Query),
        ] {
            let found = parse(url, "").unwrap_err();
            assert_eq!(found, error, "{url}");
            assert!(!found.to_string().contains("password@"));
        }
    }

    #[test]
    fn headers_are_pairs_with_percent_signs_undone() {
        let endpoint = parse("http://c", " authorization = Bearer%20abc=, x-scope=a%2Cb,").unwrap();
        assert_eq!(endpoint.headers()["authorization"], "Bearer abc=");
        assert_eq!(endpoint.headers()["x-scope"], "a,b");
    }

    /// Checklist 60: a header that would end its line.
    #[test]
    fn refuses_headers_that_are_none_or_the_senders_own() {
        for (headers, error) in [
            ("authorization", EndpointError::Headers),
            ("=value", EndpointError::Headers),
            ("a b=value", EndpointError::Headers),
            ("a=b%0d%0aHost:%20evil", EndpointError::Headers),
            ("a=b\r\nc: d", EndpointError::Headers),
            ("Host=evil", EndpointError::OwnHeader),
            ("Content-Length=1", EndpointError::OwnHeader),
            (&"x=".repeat(5_000), EndpointError::TooManyHeaders),
            (&(0..33).map(|n| format!("h{n}=1,")).collect::<String>(), EndpointError::TooManyHeaders),
        ] {
            assert_eq!(parse("http://c", headers).unwrap_err(), error, "{headers:.40}");
        }
    }

    /// Checklist 17: secrets in what is printed.
    #[test]
    fn prints_no_value_of_a_header() {
        let endpoint = parse("http://collector:4318", "authorization=Bearer%20topsecret").unwrap();
        let printed = format!("{endpoint:?} {:?}", endpoint.headers());
        assert!(printed.contains("authorization=***"), "{printed}");
        assert!(!printed.contains("topsecret"), "{printed}");
    }
}
