//! Which pages may connect. A browser lets any page open a WebSocket anywhere, with the user's cookies, and only says
//! where the page comes from (RFC 6454): whoever does not look at that has no same-origin policy.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use axum::http::{HeaderMap, HeaderValue, header};

use super::Refusal;
use crate::config::Http;

/// Longest origin that is looked at: a name has 253 bytes at most.
const MAX_BYTES: usize = 300;

/// Schemes of which no page can be: their pages are of the origin `null`, or they are no pages.
const NO_PAGES: [&str; 8] = ["about", "blob", "data", "file", "javascript", "null", "ws", "wss"];

/// A page, or a family of pages, that may connect: `https://app.example`, `https://*.example`, `*`.
///
/// Scheme, host and port all have to be the same; the port of `http` and `https` may be left out. `*.` stands for one
/// or more labels, never for none. Hosts are compared without regard to case, in the form that browsers send: an
/// international name as `xn--…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Every page, and also those of no origin.
    Any,
    Page(Origin),
    /// The pages below a host; the host begins with a dot.
    Below(Origin),
}

/// Scheme, host and port, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// None: the scheme's own.
    port: Option<u16>,
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// There is no `://`, or what is before it is no scheme.
    #[error("expected scheme://host[:port] or *")]
    Form,
    /// No page can have the scheme.
    #[error("no page has this scheme; https is usual")]
    Scheme,
    /// The host is empty, or has something in it that hosts have not.
    #[error("invalid host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("invalid port")]
    Port,
    /// There is something behind the host.
    #[error("an origin has no path, query, user or space")]
    More,
    /// A `*` where it means nothing.
    #[error("a * may stand alone or for the labels before a host: https://*.example")]
    Wildcard,
}

impl OriginRule {
    /// Every page.
    pub fn any() -> Self {
        Self(Rule::Any)
    }

    fn allows(&self, origin: Option<&Origin>) -> bool {
        match (&self.0, origin) {
            (Rule::Any, _) => true,
            (Rule::Page(page), Some(origin)) => page == origin,
            (Rule::Below(page), Some(origin)) => {
                // Longer, so that something is left for the star.
                (&page.scheme, page.port) == (&origin.scheme, origin.port)
                    && origin.host.len() > page.host.len()
                    && origin.host.ends_with(&page.host)
            }
            (_, None) => false,
        }
    }
}

impl FromStr for OriginRule {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self::any());
        }
        let parse = |text: &str| match Origin::parse(text) {
            Err(OriginError::Host) if text.contains('*') => Err(OriginError::Wildcard),
            parsed => parsed,
        };
        let Some((scheme, rest)) = text.split_once("://*.") else {
            return Ok(Self(Rule::Page(parse(text)?)));
        };
        let mut origin = parse(&format!("{scheme}://{rest}"))?;
        if origin.host.starts_with('[') {
            return Err(OriginError::Wildcard);
        }
        origin.host.insert(0, '.');
        Ok(Self(Rule::Below(origin)))
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (star, origin) = match &self.0 {
            Rule::Any => return f.write_str("*"),
            Rule::Page(origin) => ("", origin),
            Rule::Below(origin) => ("*", origin),
        };
        write!(f, "{}://{star}{}", origin.scheme, origin.host)?;
        origin.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, OriginError> {
        if text.len() > MAX_BYTES {
            return Err(OriginError::Host);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Form)?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
            return Err(OriginError::Form);
        }
        if NO_PAGES.contains(&scheme) {
            return Err(OriginError::Scheme);
        }
        if authority.contains(['/', '?', '#', '@', '\\', ' ', '\t']) {
            return Err(OriginError::More);
        }
        // The last colon, unless it is one of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port.map(parse_port).transpose()? {
            Some(80) if scheme == "http" => None,
            Some(443) if scheme == "https" => None,
            port => port,
        };
        Ok(Self { scheme: scheme.to_owned(), host: parse_host(host)?, port })
    }
}

fn parse_port(text: &str) -> Result<u16, OriginError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain).ok_or(OriginError::Port)
}

/// A name or an address. IPv6 is written in one way, whichever it came in.
fn parse_host(host: &str) -> Result<String, OriginError> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| OriginError::Host)?;
        return Ok(format!("[{address}]"));
    }
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // A name that ends in a dot is another origin than the one without, for browsers too.
    let labels = host.strip_suffix('.').unwrap_or(host).split('.');
    let is_name = labels.into_iter().all(|label| !label.is_empty() && label.bytes().all(in_label));
    if is_name { Ok(host.to_owned()) } else { Err(OriginError::Host) }
}

/// Whether a browser says that its own page asks: it gives no origin then with a GET (Fetch Metadata, `Sec-Fetch-Site`).
/// No page can make it say so.
fn is_own_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

/// Whether the page of this origin may read what it is answered.
pub(super) fn may_ask(origin: &HeaderValue, http: &Http) -> bool {
    let text = origin.to_str().ok().filter(|text| text.len() <= MAX_BYTES);
    let origin = text.map(|text| Origin::parse(text).ok());
    origin.is_some_and(|origin| http.origins.iter().any(|rule| rule.allows(origin.as_ref())))
}

/// The origin of a request, as it was sent, if the page may connect.
///
/// # Errors
/// It may not, there is more than one, or there is none where there must be.
pub(super) fn check(headers: &HeaderMap, http: &Http) -> Result<Option<Box<str>>, Refusal> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let Some(value) = values.next() else {
        return if http.allow_missing_origin || is_own_page(headers) {
            Ok(None)
        } else {
            Err(Refusal::origin_missing())
        };
    };
    if values.next().is_none() && may_ask(value, http) {
        Ok(value.to_str().ok().map(Into::into))
    } else {
        Err(Refusal::origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> OriginRule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn allows(rules: &[&str], origins: &[&str]) -> bool {
        let http = Http { origins: rules.iter().map(|text| rule(text)).collect(), ..Http::default() };
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().expect("a header value"));
        }
        check(&headers, &http).is_ok()
    }

    #[test]
    fn the_same_page_written_in_another_way_is_the_same() {
        for origin in ["https://app.example", "HTTPS://App.Example", "https://app.example:443"] {
            assert!(allows(&["https://app.example"], &[origin]), "{origin}");
            assert!(allows(&["https://APP.example:443"], &[origin]), "{origin}");
        }
        assert!(allows(&["http://app.example"], &["http://app.example:80"]));
        assert!(allows(&["https://app.example:8443"], &["https://app.example:8443"]));
        assert!(allows(&["https://[2001:db8::1]:8443"], &["https://[2001:DB8:0:0::1]:8443"]));
        assert!(allows(&["http://localhost:3000", "capacitor://localhost"], &["capacitor://localhost"]));
    }

    /// Checklist 7: pages that look like one that may connect.
    #[test]
    fn another_page_is_another_page() {
        let rules = ["https://good.example", "https://app.good.example:8443"];
        for origin in [
            "null",
            "",
            "http://good.example",
            "https://good.example.evil.com",
            "https://evilgood.example",
            "https://good.example:8443",
            "https://good.example:80",
            "https://good.example.",
            "https://app.good.example",
            "https://good.example/",
            "https://good.example/https://good.example",
            "https://good.example@evil.com",
            "https://evil.com#https://good.example",
            "https://evil.com\\good.example",
            "https:good.example",
            "https:///good.example",
            " https://good.example x",
            "good.example",
            "*",
            "https://*",
            "https://good.example:443:443",
            "https://good.example:",
            "https://good.example:0443",
            "https://good.example:65979",
            "https://good.example, https://good.example",
        ] {
            assert!(!allows(&rules, &[origin]), "{origin}");
        }
        assert!(!allows(&rules, &["https://good.example", "https://good.example"]), "one header");
        assert!(!allows(&rules, &[&format!("https://{}good.example", "a.".repeat(200))]));
    }

    #[test]
    fn a_star_stands_for_labels_before_a_host() {
        let rules = ["https://*.good.example", "http://*.local:3000"];
        for origin in ["https://app.good.example", "https://a.b.GOOD.example:443", "http://x.local:3000"] {
            assert!(allows(&rules, &[origin]), "{origin}");
        }
        for origin in [
            "https://good.example",
            "https://.good.example",
            "https://evilgood.example",
            "https://app.good.example.evil.com",
            "https://app.good.example:8443",
            "http://app.good.example",
            "http://x.local",
        ] {
            assert!(!allows(&rules, &[origin]), "{origin}");
        }
    }

    #[test]
    fn a_star_alone_is_for_everybody() {
        for origin in ["null", "https://app.example", "file://", "what is this"] {
            assert!(allows(&["*"], &[origin]), "{origin}");
        }
        assert!(!allows(&["*"], &["https://a.example", "https://b.example"]), "one header");
        assert!(!allows(&[], &["https://app.example"]));
    }

    #[test]
    fn no_origin_at_all_is_a_matter_of_the_configuration() {
        assert!(allows(&["https://app.example"], &[]));
        let http = Http { allow_missing_origin: false, ..Http::default() };
        assert!(check(&HeaderMap::new(), &http).is_err());
    }

    #[test]
    fn a_rule_survives_the_way_to_text_and_back() {
        for text in ["*", "https://app.example", "https://*.app.example:8443", "http://[2001:db8::1]:81"] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(rule("HTTPS://App.Example:443").to_string(), "https://app.example");
        for (text, error) in [
            ("app.example", OriginError::Form),
            ("https://", OriginError::Host),
            ("https://app.example/", OriginError::More),
            ("https://user@app.example", OriginError::More),
            ("wss://app.example", OriginError::Scheme),
            ("file:///home", OriginError::Scheme),
            ("1https://app.example", OriginError::Form),
            ("https://app..example", OriginError::Host),
            ("https://app.example:0", OriginError::Port),
            ("https://app.*.example", OriginError::Wildcard),
            ("https://*app.example", OriginError::Wildcard),
            ("https://*.*.example", OriginError::Wildcard),
            ("https://*.[::1]", OriginError::Wildcard),
            ("https://*", OriginError::Wildcard),
            ("https://[::1", OriginError::Host),
            ("https://münchen.example", OriginError::Host),
        ] {
            assert_eq!(OriginRule::from_str(text), Err(error), "{text}");
        }
    }
}
