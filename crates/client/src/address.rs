//! A gateway's address: parsed once, then dialled.

use std::net::IpAddr;

use http::Uri;

use crate::{options::OptionsError, tls::Tls};

/// A gateway's address, read from its URL.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// Name or number, an IPv6 number without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The `Host` header.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
    /// Whether the scheme is `wss`.
    pub(crate) is_secure: bool,
    /// What to secure the connection with: put there when all addresses have been read.
    pub(crate) tls: Option<Tls>,
}

impl Address {
    /// Whether what is said there can be read on the way: without TLS, and not on this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        let is_here = self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        !self.is_secure && !is_here
    }

    pub(crate) fn parse(url: &str) -> Result<Address, OptionsError> {
        let invalid = |reason| OptionsError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.trim().parse().map_err(|_| invalid("not a url"))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(invalid("the scheme must be ws or wss")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("a user has no meaning here"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("no host"));
        }
        let has_port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = match authority.port_u16() {
            Some(0) => return Err(invalid("port 0")),
            Some(port) => port,
            None if has_port => return Err(invalid("not a port number")),
            None if is_secure => 443,
            None => 80,
        };
        Ok(Address {
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            is_secure,
            tls: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let address = Address::parse("ws://[::1]:9000/a/b?c=d").expect("valid");
        assert_eq!((address.host.as_str(), address.port), ("::1", 9_000));
        assert_eq!((address.authority.as_str(), address.target.as_str()), ("[::1]:9000", "/a/b?c=d"));
        let address = Address::parse("ws://gateway.example").expect("valid");
        assert_eq!((address.host.as_str(), address.port, address.target.as_str()), ("gateway.example", 80, "/"));
        assert_eq!(Address::parse("ws://[::1]").expect("valid").port, 80);
        let address = Address::parse("wss://gateway.example/ws").expect("valid");
        assert_eq!((address.port, address.is_secure), (443, true));
    }

    #[test]
    fn knows_where_a_token_could_be_read() {
        for (url, is_exposed) in [
            ("ws://localhost/ws", false),
            ("ws://127.0.0.9:8080/ws", false),
            ("ws://[::1]/ws", false),
            ("wss://gateway.example/ws", false),
            ("ws://gateway.example/ws", true),
            ("ws://10.0.0.1/ws", true),
        ] {
            assert_eq!(Address::parse(url).expect("valid").is_exposed(), is_exposed, "{url}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_address() {
        for url in ["", "127.0.0.1:8080", "http://a/ws", "wss://", "ws://", "ws://a:0/", "ws://a:x/", "ws://u:p@a/"] {
            let refused = Address::parse(url).expect_err(url);
            assert!(refused.to_string().contains("invalid gateway url"), "{refused}");
        }
    }
}
