//! What clients by HTTP may have of what all have together: places, and who they are.

use odin_protocol::Mode;
use serde_json::json;
use tokio::net::TcpStream;
use ws_gateway::{
    config::Config,
    rules::{Access, RuleSource},
};

use super::support::{Events, Web, ask, bearer, get_with, is_refused};
use crate::door::connect_from;
use crate::reload::reloadable;
use crate::support::{Canary, Client, Gateway, Odin, token, with_rules, with_users};

const POLL: &str = "/v1/poll?channels=price:BTC&wait=0";

/// The address that these tests trust, and one that they do not.
const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 2];

fn behind_a_proxy(config: &mut Config) {
    config.http.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
}

async fn from(source: [u8; 4], gateway: &Gateway) -> Web {
    Web::on(connect_from(source, gateway).await)
}

/// A stream on this connection.
async fn stream(on: TcpStream, headers: &str) -> Events {
    Events::on(on, &Events::request("price:BTC", headers)).await
}

/// Checklist 43: an event stream is a connection of its user like any other.
#[tokio::test]
async fn a_stream_counts_as_a_connection_of_its_user() {
    let gateway = Gateway::without_nats(|config| {
        with_users(config);
        config.limits.connections_per_user = Some(1);
    });
    let ada = bearer(&token("ada", json!({})));
    let first = Events::open_with(&gateway, "price:BTC", &ada).await;
    let refused = get_with(&gateway, "/v1/events?channels=price:BTC", &ada).await;
    is_refused(&refused, 429, "too_many_connections");
    assert_eq!(refused.json()["error"]["limit"], 1);
    let _bob = Events::open_with(&gateway, "price:BTC", &bearer(&token("bob", json!({})))).await;
    // What is answered and over is none: it would take the place of one.
    let value = get_with(&gateway, "/v1/channels/price:BTC/latest", &ada).await;
    is_refused(&value, 503, "unavailable");
    gateway.metric_becomes("odin_gateway_user_connections", 2).await;
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"user_limit\"}", 1).await;
    drop(first);
    gateway.metric_becomes("odin_gateway_user_connections", 1).await;
    Events::open_with(&gateway, "price:BTC", &ada).await;
}

/// Checklist 11: as many connections as an address may have, whoever it says to be.
#[tokio::test]
async fn an_address_has_its_places_for_streams_and_requests() {
    let gateway = Gateway::without_nats(|config| config.limits.connections_per_ip = Some(2));
    let first = stream(connect_from(STRANGER, &gateway).await, "").await;
    let mut second = from(STRANGER, &gateway).await;
    assert_eq!(second.ask("GET", "/v1/nothing", "", "").await.status, 404);
    second.ended().await;
    let _second = stream(connect_from(STRANGER, &gateway).await, "X-Forwarded-For: 203.0.113.7\r\n").await;
    let mut third = from(STRANGER, &gateway).await;
    let refused = third.ask("GET", POLL, "X-Forwarded-For: 203.0.113.8\r\n", "").await;
    is_refused(&refused, 429, "too_many_connections");
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"address\"}", 1).await;
    drop(first);
    gateway.metric_becomes("odin_gateway_connections", 1).await;
    stream(connect_from(STRANGER, &gateway).await, "").await;
}

/// Checklist 11: behind a proxy each client counts by its own address, and nobody is believed who is none.
#[tokio::test]
async fn clients_behind_a_proxy_have_places_of_their_own() {
    let gateway = Gateway::without_nats(|config| {
        behind_a_proxy(config);
        config.limits.connections_per_ip = Some(1);
    });
    let seven = "X-Forwarded-For: 203.0.113.7\r\n";
    let first = stream(connect_from(PROXY, &gateway).await, seven).await;
    // A proxy uses its connections for everybody.
    let mut shared = from(PROXY, &gateway).await;
    let asks = "/v1/events?channels=price:BTC";
    is_refused(&shared.ask("GET", asks, seven, "").await, 429, "too_many_connections");
    let mut shared = from(PROXY, &gateway).await;
    is_refused(
        &shared.ask("GET", asks, "X-Forwarded-For: 203.0.113.8, 203.0.113.7\r\n", "").await,
        429,
        "too_many_connections",
    );
    let _eight = stream(connect_from(PROXY, &gateway).await, "X-Forwarded-For: 203.0.113.8\r\n").await;
    let mut shared = from(PROXY, &gateway).await;
    is_refused(&shared.ask("GET", asks, "X-Forwarded-For: somebody\r\n", "").await, 400, "bad_request");
    drop(first);
    gateway.metric_becomes("odin_gateway_connections", 1).await;
    stream(connect_from(PROXY, &gateway).await, seven).await;
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"address\"}", 2).await;
}

/// A request has its place for as long as it lasts.
#[tokio::test]
async fn requests_of_one_client_through_a_proxy_give_their_places_back() {
    let odin = Odin::start_with(|config| {
        behind_a_proxy(config);
        config.limits.connections_per_ip = Some(1);
    })
    .await;
    let mut shared = Web::connect(&odin.gateway).await;
    for n in 0..20 {
        let headers = format!("X-Forwarded-For: 203.0.113.{}\r\n", n % 3);
        assert_eq!(shared.ask("GET", POLL, &headers, "").await.status, 200);
    }
}

/// Checklist 12: a gateway that is full has no room for streams either.
#[tokio::test]
async fn a_full_gateway_opens_no_stream() {
    let gateway = Gateway::without_nats(|config| config.limits.connections = 2);
    let _first = Events::open(&gateway, "price:BTC").await;
    let _second = Client::connect(&gateway).await;
    gateway.metric_becomes("odin_gateway_connections", 2).await;
    let refused = get_with(&gateway, "/v1/events?channels=price:BTC", "").await;
    is_refused(&refused, 503, "try_again_later");
    gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"capacity\"}", 1).await;
}

/// Checklist 11: `X-Forwarded-Proto` from a client without TLS.
#[tokio::test]
async fn refuses_clients_without_tls_where_it_is_required() {
    let odin = Odin::start_with(|config| {
        behind_a_proxy(config);
        config.http.require_tls = true;
    })
    .await;
    for (source, headers, status) in [
        (PROXY, "X-Forwarded-Proto: https\r\n", 200),
        (PROXY, "X-Forwarded-Proto: http\r\n", 403),
        (PROXY, "", 403),
        (STRANGER, "X-Forwarded-Proto: https\r\n", 403),
        (STRANGER, "", 403),
    ] {
        let answer = from(source, &odin.gateway).await.ask("GET", POLL, headers, "").await;
        assert_eq!(answer.status, status, "{source:?} {headers}");
        if status == 403 {
            is_refused(&answer, 403, "insecure_transport");
        }
    }
    odin.gateway.metric_becomes("odin_gateway_handshakes_refused_total{reason=\"insecure\"}", 4).await;
}

/// Checklist 17: a token where it may end up in logs.
#[tokio::test]
async fn a_token_in_the_query_is_not_taken_where_it_is_not_allowed_and_never_logged() {
    let canary = Canary::new("http");
    let headers = bearer(canary.word());
    for query_token in [true, false] {
        let gateway = Gateway::without_nats(|config| {
            with_users(config);
            config.auth.query_token = query_token;
        });
        for target in ["/v1/poll?channels=price:BTC&wait=0", "/v1/events?channels=price:BTC"] {
            is_refused(&get_with(&gateway, target, &headers).await, 401, "auth_failed");
            let target = format!("{target}&token={}", canary.word());
            let answer = get_with(&gateway, &target, "").await;
            match query_token {
                true => is_refused(&answer, 401, "auth_failed"),
                false => is_refused(&answer, 400, "bad_request"),
            }
            assert!(!answer.head.contains("canary") && !answer.body.contains("canary"), "{answer:?}");
            is_refused(&get_with(&gateway, &target, &headers).await, 400, "bad_request");
        }
        for path in ["latest", "history"] {
            let target = format!("/v1/channels/{}/{path}?token={}&since=x", canary.word(), canary.word());
            assert!([400, 401].contains(&get_with(&gateway, &target, "").await.status));
        }
        let target = format!("/v1/channels/price:BTC/publish?token={}", canary.word());
        let answer = ask(&gateway, "POST", &target, "", canary.word()).await;
        assert!([400, 401].contains(&answer.status), "{}", answer.status);
        assert_eq!(get_with(&gateway, &format!("/{}?token={}", canary.word(), canary.word()), "").await.status, 404);
        let metrics = gateway.get("/metrics").await.body;
        assert!(!metrics.contains("canary"));
    }
    canary.was_not_logged();
}

/// A browser's `EventSource` can send no header.
#[tokio::test]
async fn a_token_in_the_query_opens_a_stream_where_it_is_allowed() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.auth.query_token = true;
    })
    .await;
    let asks = format!("trades&token={}", token("ada", json!({})));
    let mut events = Events::open(&odin.gateway, &asks).await;
    odin.gateway.metric_becomes("odin_gateway_user_connections", 1).await;
    events.message().await;
    let said = events.message().await;
    assert!(matches!(&said, odin_protocol::ServerMessage::Authenticated { sub, .. } if sub == "ada"), "{said:?}");
}

/// Checklist 18: where users must sign in, nothing is served to nobody.
#[tokio::test]
async fn serves_nobody_in_particular_where_users_must_sign_in() {
    let odin = Odin::start_with(|config| {
        with_users(config);
        config.auth.required = true;
    })
    .await;
    let published = odin.publisher.price("BTC", 1).await;
    let targets = [
        "/v1/poll?channels=price:BTC&wait=0",
        "/v1/events?channels=price:BTC",
        "/v1/channels/price:BTC/latest",
        "/v1/channels/price:BTC/history",
    ];
    for target in targets {
        let answer = get_with(&odin.gateway, target, "").await;
        is_refused(&answer, 401, "auth_required");
        assert_eq!(answer.header("www-authenticate"), Some("bearer"), "RFC 6750 §3");
    }
    is_refused(&ask(&odin.gateway, "POST", "/v1/channels/price:BTC/publish", "", "1").await, 401, "auth_required");
    let ada = bearer(&token("ada", json!({})));
    for target in targets.iter().filter(|target| !target.contains("events")) {
        let answer = get_with(&odin.gateway, target, &ada).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.body.contains(&format!("\"seq\":{published}")), "{}", answer.body);
        let control = answer.header("cache-control").expect("said");
        assert!(control.starts_with("private"), "{target}: {control}");
    }
    let mut events = Events::open_with(&odin.gateway, "price:BTC", &ada).await;
    events.message().await;
    assert!(matches!(events.message().await, odin_protocol::ServerMessage::Authenticated { .. }));
    assert!(matches!(
        events.message().await,
        odin_protocol::ServerMessage::Subscribed { mode: Mode::Latest, recovered: false, .. }
    ));
    assert_eq!(events.update().await.seq, published);
}

/// A connection may go on for hours; who may ask what is looked at with each of its requests.
#[tokio::test]
async fn a_connection_is_served_by_what_was_reloaded_since_it_came() {
    let odin = Odin::start_with(with_users).await;
    odin.publisher.price("BTC", 1).await;
    let (gateway, files, reloader) = reloadable(&odin).await;
    let mut web = Web::connect(&gateway).await;
    let target = "/v1/channels/price:BTC/latest";
    let page = "Origin: https://good.example\r\n";
    let answer = web.ask("GET", target, page, "").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("public, max-age=1")));
    let mut config = odin.config.clone();
    let prices = RuleSource::new("price:{token}", "odin.tokens.{token}.price", Access::SignedIn, Mode::Latest);
    with_rules(&mut config, vec![prices]);
    config.auth.audience = Some("somebody else".to_owned());
    files.write(config.clone());
    reloader.reload().await.expect("a good configuration");
    // A refusal ends the connection, so that there is one for each kind.
    let mut others = [web, Web::connect(&gateway).await, Web::connect(&gateway).await];
    is_refused(&others[0].ask("GET", target, page, "").await, 401, "auth_required");
    config.http.origins = vec!["https://other.example".parse().expect("an origin")];
    let ada = bearer(&token("ada", json!({ "aud": "somebody else" })));
    let answer = others[1].ask("GET", target, &format!("{page}{ada}"), "").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-cache")));
    assert_eq!(others[2].ask("GET", target, &ada, "").await.status, 200);
    files.write(config);
    reloader.reload().await.expect("a good configuration");
    is_refused(&others[1].ask("GET", target, &format!("{page}{ada}"), "").await, 403, "origin_not_allowed");
    let old = bearer(&token("ada", json!({})));
    is_refused(&others[2].ask("GET", target, &old, "").await, 401, "auth_failed");
}
