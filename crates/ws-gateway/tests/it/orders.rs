//! What operators order, and what becomes of the connections it is about: on three gateways of one cluster.

use odin_protocol::{
    close::CloseCode,
    error::ErrorCode,
    message::{ServerMessage, SystemState},
};
use serde_json::{Value, json};
use ws_gateway::config::{Config, Overflow, Secret};

use crate::support::{Answer, Client, Gateway, Odin, in_seconds, token, until, with_users};

const TOKEN: &str = "0123456789abcdef";

fn controlled(config: &mut Config) {
    with_users(config);
    config.admin.token = Some(Secret::new(TOKEN));
    config.cluster.interval = std::time::Duration::from_millis(100);
}

/// Three gateways, the first of which takes the orders.
struct Three {
    odin: Odin,
    others: [Gateway; 2],
}

impl Three {
    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let odin = Odin::start_with(|config| {
            controlled(config);
            change(config);
        })
        .await;
        let others = [odin.another_gateway().await, odin.another_gateway().await];
        let three = Self { odin, others };
        for gateway in three.gateways() {
            gateway.metric_becomes("odin_gateway_cluster_peers", 2).await;
        }
        three
    }

    fn gateways(&self) -> [&Gateway; 3] {
        [&self.odin.gateway, &self.others[0], &self.others[1]]
    }

    async fn order(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.odin.gateway.order(method, path, TOKEN, &body).await
    }

    /// Signed-in connections of this user, `each` on every gateway.
    async fn signed_in(&self, sub: &str, each: usize, claims: &Value) -> Vec<Client> {
        let mut clients = Vec::new();
        for gateway in self.gateways() {
            for _ in 0..each {
                let mut client = Client::connect(gateway).await;
                client.sign_in(&token(sub, claims.clone())).await;
                client.subscribe(&["trades"]).await;
                clients.push(client);
            }
        }
        clients
    }

    /// Waits until so many connections ended for this reason, on all gateways.
    async fn have_closed(&self, reason: &str, count: u64) {
        let metric = format!("odin_gateway_connections_closed_total{{reason=\"{reason}\"}}");
        until("the connections to end", async || {
            let mut closed = 0;
            for gateway in self.gateways() {
                closed += gateway.metric(&metric).await;
            }
            assert!(closed <= count, "{closed} ended");
            (closed == count).then_some(())
        })
        .await;
    }
}

/// Checklist 19: whoever is revoked is closed on every gateway, and comes in by none.
#[tokio::test]
async fn a_revoked_user_is_closed_on_every_gateway_and_comes_in_by_none() {
    let three = Three::start_with(|_| {}).await;
    let mut ada = three.signed_in("ada", 4, &json!({})).await;
    let mut bob = three.signed_in("bob", 1, &json!({})).await;
    let answer = three.order("POST", "/v1/revocations", json!({ "sub": "ada" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for client in &mut ada {
        client.closed_with(CloseCode::Revoked).await;
    }
    three.have_closed("revoked", 12).await;
    let fresh = three.odin.another_gateway().await;
    for gateway in three.gateways().into_iter().chain([&fresh]) {
        let mut client = Client::connect(gateway).await;
        match client.auth(&token("ada", json!({ "iat": in_seconds(0) }))).await {
            ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::AuthFailed),
            other => panic!("{other:?}"),
        }
        client.closed_with(CloseCode::Revoked).await;
    }
    let seq = three.odin.publisher.publish("odin.users.bob.trades", "1").await;
    for client in &mut bob {
        assert_eq!(client.update().await.seq, seq, "nobody else is disturbed");
    }
}

/// Checklist 19: one token of a user, or all of them made before a time, and no other.
#[tokio::test]
async fn one_token_or_all_older_ones_can_be_revoked() {
    let three = Three::start_with(|_| {}).await;
    let mut lost = three.signed_in("ada", 1, &json!({ "jti": "lost", "iat": in_seconds(-100) })).await;
    let mut old = three.signed_in("ada", 1, &json!({ "jti": "old", "iat": in_seconds(-100) })).await;
    let mut new = three.signed_in("ada", 1, &json!({ "jti": "new", "iat": in_seconds(-1) })).await;
    assert_eq!(three.order("POST", "/v1/revocations", json!({ "jti": "lost" })).await.status, 200);
    for client in &mut lost {
        client.closed_with(CloseCode::Revoked).await;
    }
    three.have_closed("revoked", 3).await;
    let before = in_seconds(-50) * 1000;
    let body = json!({ "sub": "ada", "issuedBefore": before });
    let answer = three.order("POST", "/v1/revocations", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for client in &mut old {
        client.closed_with(CloseCode::Revoked).await;
    }
    three.have_closed("revoked", 6).await;
    for client in &mut new {
        assert!(client.sync(1).await.is_empty());
    }
}

#[tokio::test]
async fn a_user_who_is_disconnected_may_come_back() {
    let three = Three::start_with(|_| {}).await;
    let mut ada = three.signed_in("ada", 2, &json!({})).await;
    assert_eq!(three.order("POST", "/v1/users/ada/disconnect", Value::Null).await.status, 200);
    for client in &mut ada {
        client.closed_with(CloseCode::Disconnected).await;
    }
    three.have_closed("disconnected", 6).await;
    three.signed_in("ada", 1, &json!({})).await;
}

#[tokio::test]
async fn notices_reach_those_they_are_for() {
    let three = Three::start_with(|_| {}).await;
    let mut ada = three.signed_in("ada", 1, &json!({})).await;
    let mut bob = three.signed_in("bob", 1, &json!({})).await;
    let mut nobody = Client::connect(&three.others[1]).await;
    let text = |message: ServerMessage| match message {
        ServerMessage::System { status: SystemState::Notice, message: Some(text), .. } => text,
        other => panic!("{other:?}"),
    };
    let answer = three.order("POST", "/v1/users/ada/notify", json!({ "message": "for \"ada\"" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for client in &mut ada {
        assert_eq!(text(client.message().await), "for \"ada\"");
    }
    assert_eq!(three.order("POST", "/v1/broadcast", json!({ "message": "for all" })).await.status, 200);
    for client in ada.iter_mut().chain(&mut bob).chain([&mut nobody]) {
        assert_eq!(text(client.message().await), "for all");
    }
}

#[tokio::test]
async fn an_operator_sees_a_users_connections_on_all_gateways() {
    let three = Three::start_with(|_| {}).await;
    let ada = three.signed_in("ada", 2, &json!({ "jti": "t-1" })).await;
    let seen = three.order("GET", "/v1/users/ada/connections", Value::Null).await.json();
    assert_eq!(seen["isComplete"], true, "{seen}");
    let connections = seen["connections"].as_array().expect("a list");
    let mut ids: Vec<&str> = connections.iter().filter_map(|one| one["connectionId"].as_str()).collect();
    let mut expected: Vec<&str> = ada.iter().map(|client| client.status.connection_id.as_str()).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for connection in connections {
        assert_eq!((&connection["ip"], &connection["channels"]), (&json!("127.0.0.1"), &json!(1)), "{connection}");
        assert_eq!(connection["tokenId"], "t-1");
    }
}

#[tokio::test]
async fn tells_whoever_connects_how_many_clients_the_cluster_has() {
    let three = Three::start_with(|_| {}).await;
    let mut clients = three.signed_in("ada", 3, &json!({})).await;
    for gateway in three.gateways() {
        gateway.metric_becomes("odin_gateway_cluster_connections", 9).await;
    }
    let client = Client::connect(&three.others[0]).await;
    assert_eq!(client.status.connected_clients, 10);
    clients.truncate(2);
    three.odin.gateway.metric_becomes("odin_gateway_cluster_connections", 3).await;
}

async fn is_too_many(client: &mut Client, sub: &str, limit: u64) {
    match client.auth(&token(sub, json!({}))).await {
        ServerMessage::Error(error) => {
            assert_eq!((error.code, error.limit), (ErrorCode::TooManyConnections, Some(limit)));
            assert!(error.retry_after_ms.is_some());
        }
        other => panic!("{other:?}"),
    }
    client.closed_with(CloseCode::TryAgainLater).await;
}

/// Checklist 43: a user has so many connections on all gateways together; a further one is refused.
#[tokio::test]
async fn refuses_more_connections_of_a_user_than_allowed_on_all_gateways() {
    let three = Three::start_with(|config| config.limits.connections_per_user = Some(6)).await;
    let mut ada = three.signed_in("ada", 2, &json!({})).await;
    for gateway in three.gateways() {
        // Whoever is refused takes no place, on whichever gateway it is heard of last.
        until("the limit to be known", async || {
            let mut client = Client::connect(gateway).await;
            let answer = client.auth(&token("ada", json!({}))).await;
            matches!(answer, ServerMessage::Error(e) if e.code == ErrorCode::TooManyConnections).then_some(())
        })
        .await;
    }
    three.signed_in("bob", 1, &json!({})).await;
    ada.truncate(5);
    until("a place", async || {
        let mut client = Client::connect(&three.others[0]).await;
        matches!(client.auth(&token("ada", json!({}))).await, ServerMessage::Authenticated { .. }).then_some(())
    })
    .await;
}

/// Checklist 43: the same to the letter, whoever knows what.
#[tokio::test]
async fn a_strict_limit_holds_to_the_letter() {
    let three = Three::start_with(|config| {
        config.limits.connections_per_user = Some(3);
        config.limits.strict_user_limit = true;
    })
    .await;
    let ada = three.signed_in("ada", 1, &json!({})).await;
    for gateway in three.gateways() {
        is_too_many(&mut Client::connect(gateway).await, "ada", 3).await;
    }
    drop(ada);
    until("places that were given back", async || {
        let mut client = Client::connect(&three.others[1]).await;
        matches!(client.auth(&token("ada", json!({}))).await, ServerMessage::Authenticated { .. }).then_some(())
    })
    .await;
}

/// Checklist 43: the newest connection stays, and the oldest leaves, wherever it is.
#[tokio::test]
async fn replaces_the_oldest_connection_of_a_user_where_it_is_configured() {
    let three = Three::start_with(|config| {
        config.limits.connections_per_user = Some(2);
        config.limits.user_overflow = Overflow::Replace;
    })
    .await;
    let mut clients = Vec::new();
    for (index, gateway) in three.gateways().into_iter().enumerate() {
        let mut client = Client::connect(gateway).await;
        client.sign_in(&token("ada", json!({}))).await;
        clients.push(client);
        // The others hear of it within an interval.
        for other in three.gateways() {
            other.metric_becomes("odin_gateway_cluster_connections", (index as u64 + 1).min(2)).await;
        }
    }
    clients[0].closed_with(CloseCode::Replaced).await;
    for client in &mut clients[1..] {
        assert!(client.sync(1).await.is_empty());
    }
    three.have_closed("replaced", 1).await;
}
