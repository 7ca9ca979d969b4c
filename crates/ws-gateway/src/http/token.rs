//! The token that a handshake brings: in `Authorization`, among the sub-protocols, or – where that is allowed – in the
//! query. One token in one place; two could be of two users, and then somebody would have to guess.

use axum::{
    extract::Query,
    http::{HeaderMap, Uri, header},
};

use super::Refusal;
use crate::config::Secret;

/// The sub-protocol of a client that can set no headers, as in a browser. It is never answered.
const PROTOCOL_PREFIX: &str = "odin.token.";

/// The only scheme of `Authorization` that is looked at. Others are between the client and a proxy before us.
const SCHEME: &str = "bearer";

/// The query's parameter.
const PARAMETER: &str = "token";

/// Finds the token, if there is one.
///
/// # Errors
/// There is more than one, it is in the query and may not be, or it is none.
pub(super) fn find(headers: &HeaderMap, uri: &Uri, may_be_in_query: bool) -> Result<Option<Secret>, Refusal> {
    let mut found = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| Refusal::bad_request("the Authorization header is not readable"))?;
        let (scheme, token) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case(SCHEME) {
            found.push(token.trim().to_owned());
        }
    }
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let names = value.to_str().unwrap_or_default().split(',').map(str::trim);
        found.extend(names.filter_map(|name| name.strip_prefix(PROTOCOL_PREFIX)).map(str::to_owned));
    }
    if uri.query().is_some() {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::bad_request("the query is not readable"))?;
        let mut tokens = query.0.into_iter().filter(|(name, _)| name == PARAMETER).peekable();
        if !may_be_in_query && tokens.peek().is_some() {
            return Err(Refusal::bad_request(
                "tokens in the query are not taken; use Authorization, or the sub-protocol odin.token.<token>",
            ));
        }
        found.extend(tokens.map(|(_, token)| token));
    }
    match found.as_slice() {
        [] => Ok(None),
        [token] if is_token(token) => Ok(Some(Secret::new(token))),
        [_] => Err(Refusal::bad_request("the token is empty or has characters that tokens have not")),
        _ => Err(Refusal::bad_request("there is more than one token")),
    }
}

/// RFC 6750 §2.1: what JWTs and API keys are written in. How long it may be is a matter of the request's head.
fn is_token(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "odin.v1.json, ";

    /// Headers as `name: value`.
    fn find_in(lines: &[&str], query: &str, may_be_in_query: bool) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect(line);
            let name = axum::http::HeaderName::try_from(name).expect(line);
            headers.append(name, value.parse().expect(line));
        }
        let uri = format!("/ws{query}").parse().expect(query);
        find(&headers, &uri, may_be_in_query).map(|token| token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn a_token_may_come_in_three_ways() {
        let protocols = format!("sec-websocket-protocol: {NAMED}odin.token.a.b-c_d");
        let cases: [(&[&str], &str, &str); 8] = [
            (&["authorization: Bearer a.b-c_d"], "", "a.b-c_d"),
            (&["authorization: bearer   a~b+c/d=="], "", "a~b+c/d=="),
            (&[&protocols], "", "a.b-c_d"),
            (&["sec-websocket-protocol: odin.token.x,odin.v1.json"], "", "x"),
            (&["sec-websocket-protocol: odin.v1.json", "sec-websocket-protocol: odin.token.x"], "", "x"),
            (&[], "?token=a.b", "a.b"),
            (&[], "?a=b&token=a%2Bb%3D&c", "a+b="),
            (&["authorization: Basic YTpi"], "?token=x", "x"),
        ];
        for (headers, query, token) in cases {
            assert_eq!(find_in(headers, query, true), Ok(Some(token.to_owned())), "{headers:?} {query}");
        }
    }

    #[test]
    fn no_token_is_no_token() {
        for headers in [&[][..], &["authorization: Basic YTpi"], &["sec-websocket-protocol: odin.v1.json, odin.tokens"]]
        {
            assert_eq!(find_in(headers, "?tokens=1&mytoken=2", false), Ok(None), "{headers:?}");
        }
    }

    /// Checklist 17: a token in the query, where it is not taken.
    #[test]
    fn a_token_in_the_query_needs_to_be_allowed() {
        for query in ["?token=x", "?token=", "?a=b&token=x", "?tok%65n=x", "?token"] {
            assert!(find_in(&[], query, false).is_err(), "{query}");
        }
    }

    #[test]
    fn two_tokens_are_one_too_many() {
        let (bearer, protocol) = ("authorization: Bearer x", "sec-websocket-protocol: odin.token.x");
        for (headers, query) in [
            (&[bearer, protocol][..], ""),
            (&[bearer, bearer], ""),
            (&[protocol, protocol], ""),
            (&["sec-websocket-protocol: odin.token.x, odin.token.x"], ""),
            (&[bearer], "?token=x"),
            (&[], "?token=x&token=x"),
        ] {
            assert!(find_in(headers, query, true).is_err(), "{headers:?} {query}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        for (headers, query) in [
            (&["authorization: Bearer"][..], ""),
            (&["authorization: Bearer  "], ""),
            (&["authorization: Bearer canary canary"], ""),
            (&["authorization: Bearer canary,canary"], ""),
            (&["authorization: Bearer =="], ""),
            (&["sec-websocket-protocol: odin.token."], ""),
            (&["sec-websocket-protocol: odin.token.canary canary"], ""),
            (&[], "?token=canary%00"),
            (&[], "?token=canary%0d%0a"),
            (&[], "?token=canary%FF"),
        ] {
            let refusal = find_in(headers, query, true).expect_err("no token");
            assert!(!format!("{refusal:?}").contains("canary"), "{headers:?} {query}");
        }
    }
}
