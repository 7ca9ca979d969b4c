//! Requests of clients, heads of answers, and events of a stream.

use std::time::Duration;

use odin_protocol::Codec;

/// Most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What the head of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its status.
    pub status: u16,
    /// Bytes of the head.
    pub size: usize,
    /// `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
    /// `Content-Length`.
    pub length: Option<usize>,
    /// The sub-protocol that was chosen.
    pub protocol: Option<String>,
    /// Whether the server ends the connection after it.
    pub is_last: bool,
}

/// The head at the beginning of `bytes`; `None` while some of it is missing.
///
/// # Errors
/// It is no HTTP, or too long.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let size = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a head that is too long"),
        Err(_) => return Err("no HTTP"),
    };
    let field = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    Ok(Some(Head {
        status: answer.code.unwrap_or(0),
        size,
        retry_after: field("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        length: field("content-length").and_then(|text| text.parse().ok()),
        protocol: field("sec-websocket-protocol").map(str::to_owned),
        is_last: field("connection").is_some_and(|text| text.eq_ignore_ascii_case("close")),
    }))
}

/// A WebSocket handshake.
pub fn upgrade(path: &str, host: &str, codec: Codec, out: &mut Vec<u8>) {
    let protocol = codec.protocol();
    // The key of RFC 6455's own example: what a cache would be fooled by does not matter here.
    out.extend_from_slice(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        )
        .as_bytes(),
    );
}

/// A request with a body.
pub fn post(path: &str, host: &str, token: Option<&str>, body: &[u8], out: &mut Vec<u8>) {
    let length = body.len();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Bytes of it, with the empty line.
    pub size: usize,
    /// Its data, if it has any.
    pub data: Option<&'a [u8]>,
    /// Whether it is the gateway's `close`.
    pub is_close: bool,
}

/// The event at the beginning of `bytes`; `None` while some of it is missing.
pub fn event(bytes: &[u8]) -> Option<Event<'_>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut event = Event { size: end + 2, data: None, is_close: false };
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data: ") {
            event.data = Some(data);
        }
        event.is_close |= line == b"event: close";
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_head_of_a_refusal_once_it_is_whole() {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let whole = head(text).expect("HTTP").expect("whole");
        assert_eq!((whole.status, whole.length, whole.is_last), (503, Some(2), true));
        assert_eq!(whole.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(&text[whole.size..], b"{}");
        assert_eq!(head(&text[..60]), Ok(None));
    }

    /// Checklist 4, the other way round: a head without an end is not kept for ever.
    #[test]
    fn refuses_what_is_no_http_and_a_head_without_an_end() {
        head(b"SSH-2.0-x\r\n\r\n").expect_err("no HTTP");
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; MAX_HEAD_BYTES]].concat();
        head(&endless).expect_err("too long");
    }

    #[test]
    fn reads_events_comments_and_the_goodbye() {
        let text = b"retry: 2500\ndata: {\"a\":1}\n\n:\n\nevent: close\ndata: {\"code\":1012}\n\nda";
        let first = event(text).expect("whole");
        assert_eq!((first.data, first.is_close), (Some(b"{\"a\":1}".as_slice()), false));
        let second = event(&text[first.size..]).expect("whole");
        assert_eq!((second.data, second.size), (None, 3));
        let third = event(&text[first.size + second.size..]).expect("whole");
        assert!(third.is_close);
        assert_eq!(event(&text[first.size + second.size + third.size..]), None);
    }
}
