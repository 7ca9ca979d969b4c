//! The PROXY header, version 1 or 2: how a proxy that does not speak HTTP says whom it speaks for.
//!
//! Only trusted peers are asked for it, and they must have it: a header that is missing would make the proxy's own
//! address the client's, and one that anybody could send would make it any. Whoever is not trusted is a client that
//! came without a proxy; a header of its is no HTTP. Nothing is read of what stands behind the header.

use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::metrics::HandshakeRefusal;

/// The longest line of version 1, by its specification.
const MAX_LINE_BYTES: usize = 107;

/// The longest header of version 2 that is read: what the specification wants every receiver to take.
const MAX_BYTES: usize = 536;

/// Version 2 up to the length of the rest.
const FIXED_BYTES: usize = 16;

/// What tells the versions apart. No header is so short.
const PREFIX_BYTES: usize = 12;

const LINE_PREFIX: &[u8] = b"PROXY ";

/// Flag of the SSL element: the client came by TLS.
const CLIENT_SSL: u8 = 1;

/// Whom the proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    /// None: for itself, as in a health check, or for somebody without an address of ours.
    pub(super) ip: Option<IpAddr>,
    /// It came to the proxy by TLS.
    pub(super) is_secure: bool,
}

/// Reads the header.
///
/// # Errors
/// There is none, or it is not valid; or the socket failed.
///
/// # Cancel safety
/// Not cancel safe: some of it may have been read.
pub(super) async fn read_header(stream: &mut TcpStream) -> Result<Source, HandshakeRefusal> {
    let mut header = [0; MAX_BYTES];
    read_exact(stream, &mut header[..PREFIX_BYTES]).await?;
    if header.starts_with(LINE_PREFIX) {
        let len = read_line(stream, &mut header[..MAX_LINE_BYTES]).await?;
        return parse_line(&header[..len]).ok_or(HandshakeRefusal::Proxy);
    }
    if !header.starts_with(v2::PROTOCOL_PREFIX) {
        return Err(HandshakeRefusal::Proxy);
    }
    read_exact(stream, &mut header[PREFIX_BYTES..FIXED_BYTES]).await?;
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([header[14], header[15]]));
    let rest = header.get_mut(FIXED_BYTES..len).ok_or(HandshakeRefusal::Proxy)?;
    read_exact(stream, rest).await?;
    parse(&header[..len]).ok_or(HandshakeRefusal::Proxy)
}

async fn read_exact(stream: &mut TcpStream, into: &mut [u8]) -> Result<(), HandshakeRefusal> {
    // An end within the header is no header.
    stream.read_exact(into).await.map(|_| ()).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => HandshakeRefusal::Proxy,
        _ => HandshakeRefusal::Io,
    })
}

/// Reads the rest of a line, of which `line` has the beginning, and gives its length. Nobody knows it before: so the
/// socket is looked into first.
async fn read_line(stream: &mut TcpStream, line: &mut [u8]) -> Result<usize, HandshakeRefusal> {
    let mut len = PREFIX_BYTES;
    while len < line.len() {
        let seen = stream.peek(&mut line[len..]).await.map_err(|_| HandshakeRefusal::Io)?;
        let end = line[len..len + seen].iter().position(|byte| *byte == b'\n');
        let more = end.map_or(seen, |at| at + 1);
        if more == 0 {
            break;
        }
        read_exact(stream, &mut line[len..len + more]).await?;
        len += more;
        if end.is_some() {
            return Ok(len);
        }
    }
    Err(HandshakeRefusal::Proxy)
}

fn parse_line(line: &[u8]) -> Option<Source> {
    let header = v1::Header::try_from(line).ok().filter(|header| header.header.len() == line.len())?;
    let ip = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(IpAddr::from(addresses.source_address).to_canonical()),
    };
    Some(Source { ip, is_secure: false })
}

fn parse(bytes: &[u8]) -> Option<Source> {
    let header = v2::Header::try_from(bytes).ok()?;
    if header.command == v2::Command::Local {
        return Some(Source { ip: None, is_secure: false });
    }
    if header.protocol == v2::Protocol::Datagram {
        return None;
    }
    let ip = match header.addresses {
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(IpAddr::from(addresses.source_address).to_canonical()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    };
    let mut is_secure = false;
    // Without an address the rest has no known form.
    for element in header.tlvs().filter(|_| ip.is_some()) {
        let element = element.ok()?;
        if element.kind == v2::Type::SSL as u8 {
            is_secure = element.value.first().is_some_and(|flags| flags & CLIENT_SSL != 0);
        }
    }
    Some(Source { ip, is_secure })
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// Reads the header of a connection on which these pieces come one after the other; gives what is left, too.
    async fn read(pieces: &[&[u8]]) -> Result<(Source, Vec<u8>), HandshakeRefusal> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut proxy = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let sending = async {
            for piece in pieces {
                // It may have had enough.
                let _ = proxy.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = proxy.shutdown().await;
        };
        let reading = async {
            let source = read_header(&mut stream).await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("readable");
            Ok((source, rest))
        };
        tokio::join!(sending, reading).1
    }

    fn source(ip: Option<&str>, is_secure: bool) -> Source {
        Source { ip: ip.map(|ip| ip.parse().expect(ip)), is_secure }
    }

    /// A header of version 2 by hand: version and command, family and protocol, the rest.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xBB];

    fn headers() -> Vec<(Vec<u8>, Source)> {
        let v6: Vec<u8> = [&[0x20, 0x01, 0x0D, 0xB8][..], &[0; 11], &[7], &[0; 16], &[0; 4]].concat();
        let mapped: Vec<u8> = [&[0; 10][..], &[0xFF, 0xFF, 203, 0, 113, 7], &[0; 20]].concat();
        let ssl = [&V4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        let no_ssl = [&V4[..], &[0x20, 0, 5, 0, 0, 0, 0, 0], &[0x04, 0, 0]].concat();
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"), source(Some("203.0.113.7"), false)),
            (line("PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n"), source(Some("2001:db8::7"), false)),
            (line("PROXY TCP6 ::ffff:203.0.113.7 fd00::1 4711 443\r\n"), source(Some("203.0.113.7"), false)),
            (line("PROXY UNKNOWN\r\n"), source(None, false)),
            (line("PROXY UNKNOWN ffff::ffff ffff::ffff 65535 65535\r\n"), source(None, false)),
            (binary(0x21, 0x11, &V4), source(Some("203.0.113.7"), false)),
            (binary(0x21, 0x21, &v6), source(Some("2001:db8::7"), false)),
            (binary(0x21, 0x21, &mapped), source(Some("203.0.113.7"), false)),
            (binary(0x21, 0x11, &ssl), source(Some("203.0.113.7"), true)),
            (binary(0x21, 0x11, &no_ssl), source(Some("203.0.113.7"), false)),
            (binary(0x20, 0x00, &[]), source(None, false)),
            (binary(0x20, 0x11, &V4), source(None, false)),
            (binary(0x21, 0x00, &[1, 2, 3]), source(None, false)),
            (binary(0x21, 0x31, &[0; 216]), source(None, false)),
        ]
    }

    #[tokio::test]
    async fn says_whom_the_proxy_speaks_for_and_leaves_what_is_behind() {
        for (header, source) in headers() {
            let behind = b"GET /ws HTTP/1.1\r\n";
            let whole = [&header[..], behind].concat();
            assert_eq!(read(&[&whole]).await, Ok((source, behind.to_vec())), "{header:?}");
            assert_eq!(read(&[&header]).await, Ok((source, Vec::new())), "{header:?}");
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(read(&bytes).await, Ok((source, behind.to_vec())), "{header:?}");
        }
    }

    /// Checklist 11: a PROXY header that is none.
    #[tokio::test]
    async fn refuses_what_is_no_header() {
        let long = format!("PROXY TCP4 {} 10.0.0.1 4711 443\r\n", "0".repeat(100));
        let lines = [
            "GET /ws HTTP/1.1\r\nHost: odin\r\n\r\n",
            "proxy tcp4 203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.999 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n",
            "PROXY TCP4 203.0.113.7  10.0.0.1 4711 443\r\n",
            "PROXY TCP4 2001:db8::7 fd00::1 4711 443\r\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\r\n",
            "PROXY TCP4 203.0.113.7",
            "PROXY",
            "PROXY \r\n",
            &long,
        ];
        for line in lines {
            assert_eq!(read(&[line.as_bytes()]).await, Err(HandshakeRefusal::Proxy), "{line}");
        }
        let mut signature = binary(0x21, 0x11, &V4);
        signature[5] ^= 1;
        for header in [
            signature,
            binary(0x11, 0x11, &V4),
            binary(0x22, 0x11, &V4),
            binary(0x21, 0x41, &V4),
            binary(0x21, 0x13, &V4),
            binary(0x21, 0x12, &V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x11, &[&V4[..], &[0x20, 0, 9, 1]].concat()),
            binary(0x21, 0x11, &[&V4[..], &[0; 600]].concat()),
            binary(0x21, 0x11, &V4)[..20].to_vec(),
        ] {
            assert_eq!(read(&[&header]).await, Err(HandshakeRefusal::Proxy), "{header:?}");
        }
    }
}
