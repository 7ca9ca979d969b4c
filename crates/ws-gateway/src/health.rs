//! `ws-gateway health`: asks a running gateway how it is, for container engines and scripts that have no HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// For the whole question: below the time limit of whoever asks for a container, usually 30 s, and long for loopback.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are shown.
const ANSWER_BYTES: usize = 4 * 1024;

/// What is asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it wants new connections: `/readyz`.
    Ready,
    /// Whether it runs at all: `/livez`.
    Live,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Nobody answered, or nothing that could be read.
    #[error("no answer from {url}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took longer than five seconds.
    #[error("no answer from {url} in time")]
    Timeout {
        /// What was asked.
        url: String,
    },
    /// The gateway says no.
    #[error("{answer}")]
    Unwell {
        /// What it says.
        answer: String,
    },
}

/// Asks the gateway whose admin listener is at `address`, and gives what it says. An address that stands for all is
/// asked on loopback.
///
/// # Errors
/// [`HealthError`]: it says no, or nothing.
///
/// # Cancel safety
/// Cancel safe: nothing changes.
pub async fn ask(address: SocketAddr, question: Question) -> Result<String, HealthError> {
    let path = match question {
        Question::Ready => "readyz",
        Question::Live => "livez",
    };
    let url = format!("http://{}/{path}", reachable(address));
    match tokio::time::timeout(TIMEOUT, exchange(&url)).await {
        Err(_) => Err(HealthError::Timeout { url }),
        Ok(Err(source)) => Err(HealthError::NoAnswer { url, source }),
        Ok(Ok((true, answer))) => Ok(answer),
        Ok(Ok((false, answer))) => Err(HealthError::Unwell { answer }),
    }
}

async fn exchange(url: &str) -> Result<(bool, String), Box<dyn std::error::Error + Send + Sync>> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(url.parse()?).await?;
    let is_well = answer.status().is_success();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
    Ok((is_well, String::from_utf8_lossy(&body).into_owned()))
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.5:9090", "10.0.0.5:9090"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            let address = listen.parse().expect("an address");
            assert_eq!(reachable(address), asked.parse().expect("an address"));
        }
    }
}
