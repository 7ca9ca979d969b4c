//! Who a client is and how it came, when there are proxies between it and us.
//!
//! A proxy appends whom it heard from to `X-Forwarded-For`, behind whatever it was told. So the list is read from the
//! right, and only for as long as each hop is one of the proxies that we trust: the first that is not is the client,
//! and what stands to its left is only what the client says. From a peer that is not trusted nothing is believed at
//! all. `Forwarded` (RFC 7239) is not looked at: two headers that say the same can be made to differ.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use super::Refusal;
use crate::config::Http;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Trusted proxies in a row. More are a loop.
const MAX_HOPS: usize = 16;

/// Who speaks HTTP to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The other end of the connection, as far as it is known.
    pub(crate) ip: IpAddr,
    /// It is a proxy whose word about others is taken.
    pub(crate) is_trusted: bool,
    /// What it says comes by TLS.
    pub(crate) is_secure: bool,
}

/// Whether the word of this address about others is taken.
pub(crate) fn trusts(http: &Http, ip: IpAddr) -> bool {
    http.trusted_proxies.iter().any(|network| network.contains(&ip))
}

/// The client's address: the peer's, or that of whoever is behind it.
///
/// # Errors
/// A trusted proxy says something that is no address.
pub(super) fn address(headers: &HeaderMap, peer: &Peer, http: &Http) -> Result<IpAddr, Refusal> {
    let mut client = peer.ip;
    let mut is_trusted = peer.is_trusted;
    let mut hops = 0;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        // What is no text is an entry that is no address.
        for entry in value.to_str().unwrap_or("?").rsplit(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if !is_trusted {
                return Ok(client);
            }
            hops += 1;
            client = parse(entry)
                .filter(|_| hops <= MAX_HOPS)
                .ok_or_else(|| Refusal::bad_request("the X-Forwarded-For header is not valid"))?;
            is_trusted = trusts(http, client);
        }
    }
    Ok(client)
}

/// Whether the client came by TLS, to us or to the proxy.
pub(super) fn is_secure(headers: &HeaderMap, peer: &Peer) -> bool {
    let said = headers.get_all(FORWARDED_PROTO).iter().next_back().filter(|_| peer.is_trusted);
    let Some(said) = said else {
        return peer.is_secure;
    };
    // The proxy's own word is the last; it counts for more than how the proxy itself came.
    let last = said.to_str().unwrap_or_default().rsplit(',').next().unwrap_or_default().trim();
    last.eq_ignore_ascii_case("https") || last.eq_ignore_ascii_case("wss")
}

/// An address, with a port or without one, as different proxies write it.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse().or_else(|_| entry.parse().map(|address: SocketAddr| address.ip()));
    Some(ip.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, value.parse().expect("a header value"));
        }
        headers
    }

    fn http() -> Http {
        let networks = ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"];
        Http { trusted_proxies: networks.map(|text| text.parse().expect(text)).into(), ..Http::default() }
    }

    fn peer(ip: &str) -> Peer {
        let ip = ip.parse::<IpAddr>().expect(ip);
        Peer { ip, is_trusted: trusts(&http(), ip), is_secure: false }
    }

    fn client(from: &str, forwarded: &[&str]) -> Option<String> {
        address(&headers(FORWARDED_FOR, forwarded), &peer(from), &http()).ok().map(|ip| ip.to_string())
    }

    #[test]
    fn the_first_that_is_not_trusted_from_the_right_is_the_client() {
        let cases: [(&str, &[&str], &str); 11] = [
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7", "192.0.2.1", "10.1.1.1"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["10.2.2.2, , 10.1.1.1,"], "10.2.2.2"),
            ("10.0.0.1", &["", "203.0.113.7"], "203.0.113.7"),
        ];
        for (from, forwarded, expected) in cases {
            assert_eq!(client(from, forwarded).as_deref(), Some(expected), "{from} {forwarded:?}");
        }
    }

    /// Checklist 11: an address that the client has made up.
    #[test]
    fn what_a_client_says_of_itself_is_not_believed() {
        for (from, forwarded) in [
            ("203.0.113.7", &["10.0.0.1"][..]),
            ("203.0.113.7", &["1.2.3.4", "not an address"]),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.7"]),
            ("10.0.0.1", &["1.2.3.4", "203.0.113.7, 10.1.1.1"]),
            ("10.0.0.1", &["not an address, 203.0.113.7"]),
            ("10.0.0.1", &["10.9.9.9, 203.0.113.7"]),
        ] {
            assert_eq!(client(from, forwarded).as_deref(), Some("203.0.113.7"), "{from} {forwarded:?}");
        }
    }

    /// Checklist 11: a list that cannot be read where it counts.
    #[test]
    fn what_a_trusted_proxy_cannot_mean_is_refused() {
        let many = vec!["10.1.1.1"; MAX_HOPS + 1].join(", ");
        for entry in ["unknown", "203.0.113.999", "203.0.113.7:x", "fe80::1%eth0", "[::1", "1.2.3.4 5.6.7.8", &many] {
            assert_eq!(client("10.0.0.1", &[entry]), None, "{entry}");
            assert_eq!(client("10.0.0.1", &[&format!("203.0.113.7, {entry}")]), None, "{entry}");
        }
        let mut binary = HeaderMap::new();
        binary.insert(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(b"\xff").expect("opaque"));
        assert!(address(&binary, &peer("10.0.0.1"), &http()).is_err());
    }

    #[test]
    fn the_last_word_of_a_trusted_proxy_says_how_the_client_came() {
        let secure = |from, said: &[&str]| is_secure(&headers(FORWARDED_PROTO, said), &peer(from));
        assert!(secure("10.0.0.1", &["https"]) && secure("10.0.0.1", &["http", "HTTPS"]));
        assert!(secure("10.0.0.1", &["http, wss"]));
        assert!(!secure("10.0.0.1", &["https, http"]) && !secure("10.0.0.1", &["https", "http"]));
        assert!(!secure("10.0.0.1", &[]) && !secure("10.0.0.1", &[""]));
        assert!(!secure("203.0.113.7", &["https"]), "its own word");
        let direct = Peer { is_secure: true, ..peer("203.0.113.7") };
        assert!(is_secure(&headers(FORWARDED_PROTO, &["http"]), &direct));
        let proxy = Peer { is_secure: true, ..peer("10.0.0.1") };
        assert!(!is_secure(&headers(FORWARDED_PROTO, &["http"]), &proxy), "the client's way counts");
    }
}
