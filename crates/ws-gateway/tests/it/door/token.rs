//! Tokens that come with the handshake.

use super::{refuses, shake, shake_at};
use crate::support::{Canary, Gateway};

const JSON: &str = "odin.v1.json";

/// A token in each of the places where one may be, as query and headers.
fn places(token: &str) -> [(String, String); 3] {
    [
        ("/ws".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        ("/ws".to_owned(), format!("Sec-WebSocket-Protocol: {JSON}, odin.token.{token}\r\n")),
        (format!("/ws?token={token}"), String::new()),
    ]
}

/// Checklist 17: a token where it may end up in logs; checklist 13: a token that nobody has asked for.
#[tokio::test]
async fn logs_no_token_wherever_it_comes_and_whatever_becomes_of_it() {
    let canary = Canary::new("token");
    for query_token in [true, false] {
        let gateway = Gateway::without_nats(|config| config.auth.query_token = query_token);
        for (path, headers) in places(canary.word()) {
            let answer = shake_at(&gateway, &path, &headers).await;
            let is_taken = query_token || !path.contains('?');
            let code = if is_taken { "auth_unavailable" } else { "bad_request" };
            assert_eq!(answer.json()["error"]["code"], code, "{path} {headers}");
            assert_eq!(answer.status, if is_taken { 401 } else { 400 });
            assert_eq!(answer.header("www-authenticate"), is_taken.then_some("bearer"), "RFC 9110 §15.5.2");
            assert!(!answer.head.contains("canary") && !answer.body.contains("canary"), "{answer:?}");
        }
        refuses(&gateway, "auth_unavailable", if query_token { 3 } else { 2 }).await;
        refuses(&gateway, "bad_request", if query_token { 0 } else { 1 }).await;
        let unavailable = gateway.metric("odin_gateway_auths_total{result=\"unavailable\"}").await;
        assert_eq!(unavailable, if query_token { 3 } else { 2 });
    }
    canary.was_not_logged();
}

/// Checklist 13: two tokens, of which a proxy may have checked the other.
#[tokio::test]
async fn refuses_two_tokens() {
    let gateway = Gateway::without_nats(|config| config.auth.query_token = true);
    let bearer = "Authorization: Bearer a\r\n";
    let protocol = format!("Sec-WebSocket-Protocol: odin.token.a, {JSON}\r\n");
    for (path, headers) in [
        ("/ws", format!("{bearer}{protocol}")),
        ("/ws", format!("{bearer}{bearer}")),
        ("/ws", format!("{protocol}{protocol}")),
        ("/ws?token=a", bearer.to_owned()),
        ("/ws?token=a&token=b", String::new()),
    ] {
        let answer = shake_at(&gateway, path, &headers).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &"bad_request".into()), "{path} {headers}");
    }
    refuses(&gateway, "bad_request", 5).await;
}

#[tokio::test]
async fn takes_no_token_for_a_sub_protocol() {
    let gateway = Gateway::without_nats(|_| {});
    let answer = shake(&gateway, "Sec-WebSocket-Protocol: odin.token.a\r\n").await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (400, None));
    assert!(answer.body.contains("sub-protocol"), "{}", answer.body);
}
