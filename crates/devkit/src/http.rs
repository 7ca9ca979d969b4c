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
        let is_chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
        let body = if is_chunked { joined(body)? } else { body.to_owned() };
        Some((status, body))
    };
    tokio::time::timeout(TIME_LIMIT, exchange).await.ok().flatten()
}

/// A body without the sizes of its chunks, if all of them are there.
fn joined(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        chunks = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_whole_chunks_only() {
        assert_eq!(joined("3\r\na\r\n\r\n2;x=y\r\nbc\r\n0\r\n\r\n").as_deref(), Some("a\r\nbc"));
        for cut in ["", "3\r\na", "3\r\nabcd\r\n0\r\n", "x\r\n", "2\r\nbc\r\n"] {
            assert_eq!(joined(cut), None, "{cut:?}");
        }
    }
}
