//! Signing in by message: who is believed, what a user may have, and what becomes of it when that changes.

use std::time::Duration;

use odin_protocol::{
    ErrorMessage,
    close::CloseCode,
    error::ErrorCode,
    message::{ChannelRequest, Mode, ServerMessage, SystemState},
};
use serde_json::json;
use sha2::Digest;
use ws_gateway::{
    config::{ApiKey, Config},
    rules::{Access, Delayed, RuleSource},
};

use crate::auth_parts::{IssuerKey, KeyServer, Says, SessionService, claims};
use crate::support::{Client, Gateway, Odin, in_seconds, token, until, with_rules, with_users};

/// The code of the error that answers `subscribe` for this channel.
async fn refused(client: &mut Client, channel: &str) -> ErrorCode {
    client.ask(1, &[channel]).await;
    let error = client.error().await;
    assert_eq!(error.channel.as_deref(), Some(channel));
    error.code
}

/// What the gateway says when it ends a subscription by itself.
async fn ended(client: &mut Client, channel: &str) -> ErrorMessage {
    let error = client.error().await;
    assert_eq!((error.id.as_ref(), error.channel.as_deref()), (None, Some(channel)));
    match client.message().await {
        ServerMessage::Unsubscribed { id: None, channel: ended } if ended == channel => error,
        other => panic!("expected the end of {channel}, not {other:?}"),
    }
}

#[tokio::test]
async fn serves_each_user_what_is_theirs() {
    let odin = Odin::start_with(with_users).await;
    let mut nobody = odin.client().await;
    for channel in ["signals:all", "watchlist:BTC", "trades"] {
        assert_eq!(refused(&mut nobody, channel).await, ErrorCode::AuthRequired);
    }
    let mut ada = odin.client().await;
    match ada.auth(&token("ada", json!({ "tier": "premium", "exp": in_seconds(60) }))).await {
        ServerMessage::Authenticated { sub, expires_at, .. } => {
            assert_eq!(sub, "ada");
            assert!(expires_at.is_some_and(|ms| ms % 1000 == 0 && ms > 0));
        }
        other => panic!("{other:?}"),
    }
    ada.subscribe(&["signals:all", "watchlist:BTC", "trades", "price:BTC"]).await;
    let mut bob = odin.client().await;
    bob.sign_in(&token("bob", json!({ "tier": "free" }))).await;
    bob.subscribe(&["trades", "signals:all"]).await;
    assert_eq!(refused(&mut bob, "watchlist:BTC").await, ErrorCode::Forbidden);
    let of_ada = odin.publisher.publish("odin.users.ada.trades", r#"{"of":"ada"}"#).await;
    let of_bob = odin.publisher.publish("odin.users.bob.trades", r#"{"of":"bob"}"#).await;
    assert_eq!(ada.update().await.seq, of_ada);
    assert_eq!(bob.update().await.seq, of_bob);
    assert!(ada.sync(2).await.is_empty() && bob.sync(2).await.is_empty(), "nobody sees the other's");
    odin.gateway.metric_becomes("odin_gateway_user_connections", 2).await;
    odin.gateway.metric_becomes("odin_gateway_auths_total{result=\"ok\"}", 2).await;
}

#[tokio::test]
async fn serves_no_channel_that_the_token_denies_or_does_not_allow() {
    let odin = Odin::start_with(with_users).await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({ "allow": ["price:*", "market:*"], "deny": ["price:SECRET"] }))).await;
    client.subscribe(&["price:BTC", "market:summary"]).await;
    // A pattern that covers what is denied is denied as a whole.
    for channel in ["price:SECRET", "price:*", "volume:BTC", "signals:all"] {
        assert_eq!(refused(&mut client, channel).await, ErrorCode::Forbidden, "{channel}");
    }
}

/// A user whose id would reach into another subject has none of his own.
#[tokio::test]
async fn lets_no_user_id_become_another_subject() {
    let odin = Odin::start_with(with_users).await;
    for sub in ["*", ">", "ada.bob", "a b", "ada\u{301}", "$JS"] {
        let mut client = odin.client().await;
        client.sign_in(&token(sub, json!({}))).await;
        assert_eq!(refused(&mut client, "trades").await, ErrorCode::Forbidden, "{sub}");
    }
}

/// Checklist 18: where users must sign in, nothing is served before, and who never does is closed.
#[tokio::test]
async fn closes_whoever_does_not_sign_in_where_that_is_a_must() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.auth.required = true;
        config.auth.deadline = Duration::from_secs(1);
    });
    let mut client = Client::connect(&gateway).await;
    assert_eq!(refused(&mut client, "price:BTC").await, ErrorCode::AuthRequired);
    client.closed_with(CloseCode::AuthTimeout).await;
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"auth_timeout\"}", 1).await;
}

#[tokio::test]
async fn closes_whoever_signs_in_with_nonsense_where_that_is_a_must() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.auth.required = true;
    });
    let mut client = Client::connect(&gateway).await;
    match client.auth("nonsense").await {
        ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::AuthFailed),
        other => panic!("{other:?}"),
    }
    client.closed_with(CloseCode::Unauthorized).await;
    // Where it is none, the connection stays what it was.
    let gateway = Gateway::without_nats(with_users);
    let mut client = Client::connect(&gateway).await;
    for bad in [String::new(), token("ada", json!({ "exp": in_seconds(-5) })), token("", json!({}))] {
        match client.auth(&bad).await {
            ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::AuthFailed),
            other => panic!("{other:?}"),
        }
    }
    client.sign_in(&token("ada", json!({}))).await;
}

#[tokio::test]
async fn says_that_nobody_can_sign_in_where_nobody_can() {
    let gateway = Gateway::without_nats(|_| {});
    let mut client = Client::connect(&gateway).await;
    match client.auth("anything").await {
        ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::AuthUnavailable),
        other => panic!("{other:?}"),
    }
}

/// Attack: have the gateway check signatures without end.
#[tokio::test]
async fn limits_how_often_a_connection_tries_to_sign_in() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.auth.deadline = Duration::from_secs(60);
        config.limits.auths_per_minute = 3;
    });
    let mut client = Client::connect(&gateway).await;
    for _ in 0..3 {
        assert!(matches!(client.auth("x.y.z").await, ServerMessage::Error(e) if e.code == ErrorCode::AuthFailed));
    }
    match client.auth("x.y.z").await {
        ServerMessage::Error(error) => {
            assert_eq!((error.code, error.limit), (ErrorCode::RateLimited, Some(3)));
            assert!(error.retry_after_ms.is_some_and(|ms| ms > 0 && ms <= 60_000));
        }
        other => panic!("{other:?}"),
    }
    gateway.metric_becomes("odin_gateway_auths_total{result=\"failed\"}", 3).await;
}

/// Checklist 15: the end of a token is announced, then it is the end of the connection.
#[tokio::test]
async fn warns_of_the_end_of_a_token_and_closes_at_it() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.auth.expiry_warning = Duration::from_secs(60);
    })
    .await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({ "exp": in_seconds(2) }))).await;
    client.subscribe(&["trades"]).await;
    match client.message().await {
        ServerMessage::System { status: SystemState::TokenExpiring, expires_in_ms, .. } => {
            assert!(expires_in_ms.is_some_and(|ms| ms > 0 && ms <= 2_000), "{expires_in_ms:?}");
        }
        other => panic!("{other:?}"),
    }
    client.closed_with(CloseCode::TokenExpired).await;
    odin.gateway.metric_becomes("odin_gateway_user_connections", 0).await;
}

/// Checklist 15: a refresh in time keeps every subscription, without a word about them.
#[tokio::test]
async fn a_refresh_keeps_subscriptions() {
    let odin = Odin::start_with(with_users).await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({ "exp": in_seconds(3) }))).await;
    client.subscribe(&["trades"]).await;
    client.sign_in(&token("ada", json!({ "exp": in_seconds(600) }))).await;
    // The old one is over by then: what comes now comes because of the new one.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let seq = odin.publisher.publish("odin.users.ada.trades", "1").await;
    let update = client.update().await;
    assert_eq!((update.seq, update.prev), (seq, Some(0)), "in one chain");
    // A refresh that fails changes nothing.
    assert!(matches!(client.auth("nonsense").await, ServerMessage::Error(e) if e.code == ErrorCode::AuthFailed));
    let seq = odin.publisher.publish("odin.users.ada.trades", "2").await;
    assert_eq!(client.update().await.seq, seq);
}

#[tokio::test]
async fn a_connection_stays_with_its_user() {
    let odin = Odin::start_with(with_users).await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({}))).await;
    match client.auth(&token("bob", json!({}))).await {
        ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::Forbidden),
        other => panic!("{other:?}"),
    }
    client.subscribe(&["trades"]).await;
    let seq = odin.publisher.publish("odin.users.ada.trades", "1").await;
    assert_eq!(client.update().await.seq, seq);
}

/// Checklist 20: with another tier, what is subscribed already is checked again too.
#[tokio::test]
async fn another_tier_ends_what_it_does_not_include() {
    let odin = Odin::start_with(with_users).await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({ "tier": "premium" }))).await;
    client.subscribe(&["watchlist:BTC", "trades"]).await;
    client.sign_in(&token("ada", json!({ "tier": "free" }))).await;
    assert_eq!(ended(&mut client, "watchlist:BTC").await.code, ErrorCode::Forbidden);
    odin.publisher.publish("odin.tokens.BTC.quote", "1").await;
    let seq = odin.publisher.publish("odin.users.ada.trades", "1").await;
    assert_eq!(client.update().await.seq, seq);
    assert!(client.sync(2).await.is_empty());
}

/// A rule that gives premium users everything at once, and everybody else late.
fn late_for_most(config: &mut Config) {
    with_users(config);
    let access = Access::Tiers(vec!["premium".to_owned()]);
    let prices = RuleSource::new("price:{token}", "odin.tokens.{token}.price", access, Mode::All);
    let delayed = Some(Delayed { access: Access::Public, by: "30m".to_owned() });
    with_rules(config, vec![RuleSource { pattern: true, delayed, ..prices }]);
}

/// Checklist 20: with a better tier, what came late comes at once from then on, and the other way round.
#[tokio::test]
async fn another_tier_changes_how_late_a_channel_is() {
    let odin = Odin::start_with(late_for_most).await;
    let mut client = odin.client().await;
    client.subscribe(&["price:BTC", "price:*"]).await;
    let first = odin.publisher.price("BTC", 1).await;
    assert!(client.sync(2).await.is_empty(), "half an hour has not passed");
    client.sign_in(&token("ada", json!({ "tier": "premium" }))).await;
    let mut begun = Vec::new();
    let mut updates = Vec::new();
    while begun.len() < 2 || updates.is_empty() {
        match client.message().await {
            ServerMessage::Subscribed { id: None, channel, .. } => begun.push(channel),
            ServerMessage::Update(update) => updates.push(update.seq),
            other => panic!("{other:?}"),
        }
    }
    begun.sort_unstable();
    assert_eq!((begun, updates), (vec!["price:*".to_owned(), "price:BTC".to_owned()], vec![first]));
    let second = odin.publisher.price("BTC", 2).await;
    assert_eq!(client.update().await.seq, second, "once, though two subscriptions cover it");
    client.sign_in(&token("ada", json!({ "tier": "free" }))).await;
    for _ in 0..2 {
        assert!(matches!(client.message().await, ServerMessage::Subscribed { id: None, recovered: false, .. }));
    }
    odin.publisher.price("BTC", 3).await;
    assert!(client.sync(3).await.is_empty(), "late again");
}

#[tokio::test]
async fn a_token_has_limits_of_its_own() {
    let odin = Odin::start_with(with_users).await;
    let mut client = odin.client().await;
    client.sign_in(&token("ada", json!({ "limits": { "subscriptions": 1, "messagesPerSecond": 5 } }))).await;
    client.subscribe(&["price:BTC"]).await;
    assert_eq!(refused(&mut client, "price:ETH").await, ErrorCode::TooManySubscriptions);
    for id in 0..10 {
        client.ping(id).await;
    }
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(client.message().await);
    }
    let limited = |m: &ServerMessage| matches!(m, ServerMessage::Error(e) if e.code == ErrorCode::RateLimited);
    assert!(answers.iter().filter(|answer| limited(answer)).count() >= 4, "{answers:?}");
}

/// The limit of a user's messages counts all of the user's connections.
#[tokio::test]
async fn limits_the_messages_of_a_user_over_all_connections() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.limits.user_messages_per_second = Some(20);
        config.limits.strikes = 100;
    });
    let mut limited = 0;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&gateway).await;
        client.sign_in(&token("ada", json!({}))).await;
        for id in 0..15 {
            client.ping(id).await;
        }
        clients.push(client);
    }
    for client in &mut clients {
        for _ in 0..15 {
            limited += u32::from(matches!(client.message().await, ServerMessage::Error(e) if e.limit == Some(20)));
        }
    }
    assert!((1..60).contains(&limited), "{limited}");
    let mut other = Client::connect(&gateway).await;
    other.sign_in(&token("bob", json!({}))).await;
    assert!(other.sync(1).await.is_empty(), "somebody else is not limited by it");
}

/// Checklist 42: a cursor of somebody else is a place in the stream, and shows nothing of theirs.
#[tokio::test]
async fn a_cursor_of_somebody_else_shows_nothing_of_theirs() {
    let odin = Odin::start_with(with_users).await;
    let mut ada = odin.client().await;
    ada.sign_in(&token("ada", json!({}))).await;
    ada.subscribe(&["trades"]).await;
    odin.publisher.publish("odin.users.ada.trades", "1").await;
    let update = ada.update().await;
    let since = format!("1.{}.{}.{}", update.epoch, update.seq, update.ts);
    odin.publisher.publish("odin.users.ada.trades", "2").await;
    let of_bob = odin.publisher.publish("odin.users.bob.trades", "3").await;
    let mut bob = odin.client().await;
    bob.sign_in(&token("bob", json!({}))).await;
    let request = ChannelRequest { since: Some(since), ..ChannelRequest::from("trades") };
    bob.ask_with(1, vec![request]).await;
    assert!(matches!(bob.message().await, ServerMessage::Subscribed { .. }));
    let seen = bob.sync(2).await;
    let seqs: Vec<u64> = seen
        .iter()
        .filter_map(|message| match message {
            ServerMessage::Update(update) => Some(update.seq),
            _ => None,
        })
        .collect();
    assert_eq!(seqs, [of_bob], "{seen:?}");
}

/// Every way to sign in, through a socket: keys that are published, API keys, and a service that is asked by NATS.
#[tokio::test]
async fn signs_users_in_by_published_keys_by_api_keys_and_by_a_service() {
    let key = IssuerKey::ed25519();
    let keys = KeyServer::start(Says::Keys(vec![key.jwk(Some("k1"))])).await;
    let api_key = "odin_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    let hash = sha2::Sha256::digest(api_key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let odin = Odin::start_with(|config| {
        config.auth.algorithms = vec!["EdDSA".parse().expect("an algorithm")];
        config.auth.jwks_url = Some(keys.url());
        config.auth.api_keys = vec![ApiKey {
            hash: format!("sha256:{hash}"),
            sub: "robot".to_owned(),
            name: None,
            tier: Some("enterprise".to_owned()),
            admin: false,
            allow: None,
            deny: None,
            limits: None,
        }];
        config.auth.callout_subject = Some("sessions.check".to_owned());
    })
    .await;
    let _service = SessionService::start(&odin.nats.url(), "sessions.check", |question| {
        let is_known = question["token"] == "session-1" && question["ip"] == "127.0.0.1";
        Some(
            if is_known { json!({ "sub": "eve", "tier": "premium" }) } else { json!({ "error": "denied" }) }
                .to_string(),
        )
    })
    .await;
    let published = key.token(Some("k1"), &claims("ada"));
    for (token, sub) in [(published.as_str(), "ada"), (api_key, "robot"), ("session-1", "eve")] {
        let mut client = odin.client().await;
        // The keys may not have been read yet.
        let answer = until("the keys", async || match client.auth(token).await {
            ServerMessage::Error(error) if error.code == ErrorCode::AuthUnavailable => None,
            answer => Some(answer),
        });
        assert!(matches!(answer.await, ServerMessage::Authenticated { sub: found, .. } if found == sub), "{sub}");
        client.subscribe(&["trades"]).await;
        let seq = odin.publisher.publish(&format!("odin.users.{sub}.trades"), "1").await;
        assert_eq!(client.update().await.seq, seq);
    }
    let unknown = key.token(Some("k2"), &claims("ada"));
    for token in [unknown.as_str(), "odin_nobody", "session-2"] {
        let mut client = odin.client().await;
        assert!(
            matches!(client.auth(token).await, ServerMessage::Error(e) if e.code == ErrorCode::AuthFailed),
            "{token}"
        );
    }
}
