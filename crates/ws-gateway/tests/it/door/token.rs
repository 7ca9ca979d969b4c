//! Tokens that come with the handshake.

use odin_protocol::{Codec, ServerMessage};
use serde_json::json;
use tokio::net::TcpStream;

use super::{GOOD, connect_from, refuses, shake, shake_at, shake_on};
use crate::support::{Canary, Client, Gateway, Odin, in_seconds, request, token, with_users};

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

#[tokio::test]
async fn serves_a_user_from_the_first_message_on() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.auth.required = true;
        config.auth.query_token = true;
    })
    .await;
    let mut clients = Vec::new();
    for (path, headers) in places(&token("ada", json!({}))) {
        let stream = TcpStream::connect(odin.gateway.address).await.expect("a connection");
        let text = request(&format!("GET {path} HTTP/1.1"), &format!("{GOOD}{headers}"));
        let mut client = Client::shake_hands(stream, text.as_bytes(), Codec::Json).await;
        let first = client.message().await;
        assert!(matches!(&first, ServerMessage::Authenticated { id: None, sub, .. } if sub == "ada"), "{first:?}");
        client.subscribe(&["trades"]).await;
        clients.push(client);
    }
    let seq = odin.publisher.publish("odin.users.ada.trades", "{}").await;
    for client in &mut clients {
        assert_eq!(client.update().await.seq, seq);
    }
    odin.gateway.metric_becomes("odin_gateway_user_connections", 3).await;
    odin.gateway.metric_becomes("odin_gateway_auths_total{result=\"ok\"}", 3).await;
    drop(clients);
    odin.gateway.metric_becomes("odin_gateway_user_connections", 0).await;
}

/// Checklist 13, 14: tokens that are not valid, or not any more.
#[tokio::test]
async fn refuses_tokens_that_are_not_valid_before_there_is_a_connection() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.auth.query_token = true;
    });
    let good = token("ada", json!({}));
    let mut tampered = good.clone();
    let middle = tampered.len() - 20;
    tampered.replace_range(middle..=middle, if &good[middle..=middle] == "A" { "B" } else { "A" });
    let expired = token("ada", json!({ "exp": in_seconds(-10) }));
    for (token, text) in [(&tampered, "not valid"), (&expired, "expired"), (&"no.such.token".to_owned(), "not valid")] {
        for (path, headers) in places(token) {
            let answer = shake_at(&gateway, &path, &headers).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (401, &"auth_failed".into()),
                "{path} {headers}"
            );
            assert!(
                answer.json()["error"]["message"].as_str().is_some_and(|said| said.contains(text)),
                "{}",
                answer.body
            );
            assert_eq!(answer.header("www-authenticate"), Some("bearer error=\"invalid_token\""), "RFC 6750 §3");
        }
    }
    refuses(&gateway, "unauthorized", 9).await;
    gateway.metric_becomes("odin_gateway_auths_total{result=\"failed\"}", 6).await;
    gateway.metric_becomes("odin_gateway_auths_total{result=\"expired\"}", 3).await;
    // Nobody in particular may still come, and sign in by message.
    let answer = shake(&gateway, &format!("Sec-WebSocket-Protocol: {JSON}\r\n")).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some(JSON)));
    // The entry with the token is never the answer, wherever it stands.
    let headers = format!("Sec-WebSocket-Protocol: odin.token.{good}, {JSON}\r\n");
    let answer = shake(&gateway, &headers).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some(JSON)));
}

/// Checklist 43: one user and many sockets, from as many addresses as it likes.
#[tokio::test]
async fn refuses_a_user_with_as_many_connections_as_allowed() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.limits.connections_per_user = Some(1);
    });
    let bearer = |sub: &str, claims| format!("Authorization: Bearer {}\r\n", token(sub, claims));
    let (answer, first) =
        shake_on(connect_from([127, 0, 0, 1], &gateway).await, "/ws", &bearer("ada", json!({}))).await;
    assert_eq!(answer.status, 101);
    let (answer, _) = shake_on(connect_from([127, 0, 0, 2], &gateway).await, "/ws", &bearer("ada", json!({}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["limit"]), (429, &1.into()));
    assert_eq!(answer.json()["error"]["code"], "too_many_connections");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(shake(&gateway, &bearer("bob", json!({}))).await.status, 101, "another user");
    let more = bearer("ada", json!({ "limits": { "connections": 2 } }));
    assert_eq!(shake(&gateway, &more).await.status, 101, "a token with a limit of its own");
    refuses(&gateway, "user_limit", 1).await;
    drop(first);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    assert_eq!(shake(&gateway, &bearer("ada", json!({}))).await.status, 101, "places come back");
}
