//! Orders and revocations, from an operator to every gateway.

use odin_devkit::NatsServer;
use ws_gateway::config::{Config, Credentials, Secret};
use ws_gateway::provision::provision;

use crate::support::{Client, Gateway, Odin, config, until};

const MANUAL: &str = include_str!("../../../../docs/operations/control.md");

const TOKEN: &str = "0123456789abcdef";

/// An operator may order, and users may sign in.
fn controlled(config: &mut Config) {
    config.admin.token = Some(Secret::new(TOKEN));
    config.auth.algorithms = vec!["HS256".parse().expect("an algorithm")];
    config.auth.hs256_secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
}

async fn revocations(gateway: &Gateway) -> serde_json::Value {
    gateway.order("GET", "/v1/revocations", TOKEN, "").await.json()
}

/// Checklist 19: revoked on one gateway, known on all, and on those that start later before they are ready.
#[tokio::test]
async fn what_is_revoked_on_one_gateway_is_known_to_all_and_to_those_that_come() {
    let odin = Odin::start_with(controlled).await;
    let second = odin.another_gateway().await;
    let body = r#"{"sub":"alice","issuedBefore":"2026-01-01T00:00:00Z","expiresIn":"1h"}"#;
    let issued = odin.gateway.order("POST", "/v1/revocations", TOKEN, body).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    let id = issued.json()["id"].as_str().expect("an id").to_owned();
    let token = odin.gateway.order("POST", "/v1/revocations", TOKEN, r#"{"jti":"token-1"}"#).await;
    assert_eq!(token.status, 200, "{}", token.body);
    for gateway in [&odin.gateway, &second] {
        until("both", async || (revocations(gateway).await["count"] == 2).then_some(())).await;
        gateway.metric_becomes("odin_gateway_revocations", 2).await;
    }
    let third = odin.another_gateway().await;
    let found = revocations(&third).await;
    assert_eq!(found["count"], 2, "known as soon as it is ready");
    let of_user = found["revocations"].as_array().expect("a list").iter().find(|one| one["id"] == *id);
    let of_user = of_user.expect("the user's");
    assert_eq!((&of_user["sub"], &of_user["issuedBeforeMs"]), (&"alice".into(), &1_767_225_600_000_i64.into()));

    let lifted = second.order("DELETE", &format!("/v1/revocations/{id}"), TOKEN, "").await;
    assert_eq!(lifted.status, 200, "{}", lifted.body);
    for gateway in [&odin.gateway, &second, &third] {
        until("one", async || (revocations(gateway).await["count"] == 1).then_some(())).await;
    }
    assert_eq!(third.order("DELETE", &format!("/v1/revocations/{id}"), TOKEN, "").await.status, 404);
}

/// Checklist 44: what is needed is not there, and the probe says what.
#[tokio::test]
async fn a_gateway_where_users_sign_in_is_not_ready_before_it_knows_who_is_revoked() {
    let odin = Odin::start_with(controlled).await;
    odin.jetstream().await.delete_stream(&odin.config.control_stream.name).await.expect("deleted");
    let gateway = Gateway::start(odin.config.clone());
    gateway.not_ready("control_missing").await;
    odin.gateway.metric_becomes("odin_gateway_control_lost", 1).await;
    assert_eq!(odin.gateway.get("/readyz").await.status, 200, "one that knew goes on");
    let answer = odin.gateway.order("POST", "/v1/users/alice/disconnect", TOKEN, "").await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("unavailable")));
    provision(&odin.config, false).await.expect("created");
    gateway.ready().await;
    odin.gateway.metric_becomes("odin_gateway_control_lost", 0).await;

    let mut open = config(&odin.nats.url());
    open.control_stream.name = "NONE".to_owned();
    Gateway::start(open).ready().await;
}

/// A gateway may do what it needs, as the manual has it, and not speak for the server.
#[tokio::test]
async fn the_permissions_of_the_manual_are_enough() {
    let users = MANUAL.split_once("```nats\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    let nats = NatsServer::builder().extra_config(users).start().await.expect("a nats-server");
    let mut config = config(&nats.url());
    controlled(&mut config);
    let user = |user: &str, password: &str| Credentials::UserPassword {
        user: user.to_owned(),
        password: Secret::new(password),
    };
    config.nats.credentials = user("operator", "change-me-too");
    provision(&config, false).await.expect("streams");
    config.nats.credentials = user("gateway", "change-me");
    let gateways = [Gateway::start(config.clone()), Gateway::start(config.clone())];
    for gateway in &gateways {
        gateway.ready().await;
        gateway.metric_becomes("odin_gateway_cluster_peers", 1).await;
    }
    let mut client = Client::connect(&gateways[0]).await;
    client.subscribe(&["price:BTC"]).await;
    let operator = async_nats::ConnectOptions::with_user_and_password("operator".into(), "change-me-too".into());
    let operator = async_nats::jetstream::new(operator.connect(nats.url()).await.expect("a connection"));
    let price = operator.publish("odin.tokens.BTC.price", r#"{"price":1}"#.into()).await.expect("sent");
    price.await.expect("stored");
    client.update().await;
    // So many that a consumer has to be made.
    let mut acks = Vec::new();
    for token in 0..1_100 {
        let subject = format!("odin.tokens.T{token}.price");
        acks.push(operator.publish(subject, r#"{"price":1}"#.into()).await.expect("sent"));
    }
    for ack in acks {
        ack.await.expect("stored");
    }
    let mut all = Client::connect(&gateways[0]).await;
    all.subscribe(&["price:*"]).await;
    gateways[0].metric_becomes("odin_gateway_wide_feeds", 1).await;
    for _ in 0..=1_100 {
        all.update().await;
    }
    let issued = gateways[0].order("POST", "/v1/revocations", TOKEN, r#"{"sub":"alice"}"#).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    for gateway in &gateways {
        gateway.metric_becomes("odin_gateway_revocations", 1).await;
    }

    let gateway = config.nats.connect_options().await.expect("no file to be read");
    let gateway = async_nats::jetstream::new(gateway.connect(nats.url()).await.expect("a connection"));
    assert!(gateway.get_stream("ODIN_LAST").await.is_err(), "it does not need the other stream");
    let stream = gateway.get_stream("ODIN_CTL").await.expect("it reads the control stream");
    assert!(stream.delete_message(1).await.is_err() && stream.purge().await.is_err(), "and takes nothing away");
}
