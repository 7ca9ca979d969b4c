//! One GET over loopback, for probes: enough HTTP to read a status and a small body.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIME_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_BYTES: u64 = 1024 * 1024;

/// Status and body of `GET path`, or `None` when nobody (sensible) answers within two seconds.
pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    tokio::time::timeout(TIME_LIMIT, exchange).await.ok().flatten()
}
