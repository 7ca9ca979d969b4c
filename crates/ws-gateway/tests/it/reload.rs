//! Another configuration while the gateway runs: everybody is served by it from then on, or nothing changes.

use std::sync::{Arc, Mutex};

use odin_protocol::{
    error::ErrorCode,
    message::{Mode, ServerMessage},
};
use ws_gateway::{
    Reload, Reloader,
    config::{Config, ConfigError, Problem, Source},
    rules::{Access, RuleSource},
};

use crate::support::{Client, Gateway, Odin, with_rules, with_users};

/// What the gateway reads when it reads its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Files(Arc<Mutex<Result<Config, String>>>);

impl Files {
    fn of(config: &Config) -> (Self, Reload) {
        let files = Self(Arc::new(Mutex::new(Ok(config.clone()))));
        let reading = files.clone();
        let read = move || reading.0.lock().expect("no panic").clone().map_err(problem);
        (files, Reload::new(read))
    }

    pub(crate) fn write(&self, config: Config) {
        *self.0.lock().expect("no panic") = Ok(config);
    }

    fn spoil(&self, why: &str) {
        *self.0.lock().expect("no panic") = Err(why.to_owned());
    }
}

fn problem(message: String) -> ConfigError {
    ConfigError { problems: vec![Problem { source_name: Source::Default, key: String::new(), message }] }
}

/// A second gateway of an odin, whose configuration can be changed.
pub(crate) async fn reloadable(odin: &Odin) -> (Gateway, Files, Reloader) {
    let (files, reload) = Files::of(&odin.config);
    let reloader = reload.reloader();
    let gateway = Gateway::start_reloadable(odin.config.clone(), reload);
    gateway.ready().await;
    (gateway, files, reloader)
}

#[tokio::test]
async fn serves_everybody_by_the_new_rules() {
    let odin = Odin::start().await;
    let (gateway, files, reloader) = reloadable(&odin).await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe(&["price:BTC", "volume:BTC", "market:summary"]).await;
    let mut config = odin.config.clone();
    with_rules(
        &mut config,
        vec![
            // Not for everybody any more.
            RuleSource::new("volume:{token}", "odin.tokens.{token}.volume", Access::SignedIn, Mode::Latest),
            // Something else under the same name.
            RuleSource::new("market:{kind}", "odin.other.{kind}", Access::Public, Mode::Latest),
        ],
    );
    files.write(config);
    let change = reloader.reload().await.expect("a good configuration");
    assert_eq!(change["changed"], serde_json::json!(["rules ~volume:{token}", "rules ~market:{kind}"]));
    let error = client.error().await;
    assert_eq!((error.code, error.channel.as_deref()), (ErrorCode::AuthRequired, Some("volume:BTC")));
    assert!(matches!(client.message().await, ServerMessage::Unsubscribed { channel, .. } if channel == "volume:BTC"));
    assert!(
        matches!(client.message().await, ServerMessage::Subscribed { id: None, channel, .. } if channel == "market:summary")
    );
    odin.publisher.publish("odin.market.summary", "1").await;
    odin.publisher.publish("odin.tokens.BTC.volume", "1").await;
    let other = odin.publisher.publish("odin.other.summary", "2").await;
    let price = odin.publisher.price("BTC", 3).await;
    let mut got = [client.update().await.seq, client.update().await.seq];
    got.sort_unstable();
    assert_eq!(got, [other, price]);
    assert!(client.sync(2).await.is_empty());
}

#[tokio::test]
async fn takes_new_limits_and_ways_to_sign_in_at_once() {
    let odin = Odin::start().await;
    let (gateway, files, reloader) = reloadable(&odin).await;
    let mut client = Client::connect(&gateway).await;
    assert!(matches!(client.auth("x").await, ServerMessage::Error(e) if e.code == ErrorCode::AuthUnavailable));
    let mut config = odin.config.clone();
    with_users(&mut config);
    config.limits.subscriptions_per_connection = 1;
    config.limits.payload_bytes = 100;
    files.write(config);
    reloader.reload().await.expect("a good configuration");
    // The shard and the bus hear of it by their own.
    while matches!(client.auth("x").await, ServerMessage::Error(e) if e.code == ErrorCode::AuthUnavailable) {}
    client.sign_in(&crate::support::token("ada", serde_json::json!({}))).await;
    client.subscribe(&["price:BTC"]).await;
    client.ask(2, &["price:ETH"]).await;
    assert_eq!(client.error().await.code, ErrorCode::TooManySubscriptions);
}

/// Checklist 56: whatever is wrong with the new one, the old one stays, whole.
#[tokio::test]
async fn keeps_the_old_configuration_when_anything_is_wrong_with_the_new_one() {
    let odin = Odin::start().await;
    let (gateway, files, reloader) = reloadable(&odin).await;
    let mut client = Client::connect(&gateway).await;
    client.subscribe(&["price:BTC"]).await;
    files.spoil("nonsense");
    assert!(reloader.reload().await.expect_err("nonsense").to_string().contains("nonsense"));
    // Good by itself, but the keys that it names are not there.
    let mut config = odin.config.clone();
    config.auth.algorithms = vec!["RS256".parse().expect("an algorithm")];
    config.auth.public_key_file = Some("/nonexistent/key.pem".into());
    with_rules(
        &mut config,
        vec![RuleSource::new("price:{token}", "odin.tokens.{token}.price", Access::Admin, Mode::Latest)],
    );
    files.write(config);
    assert!(reloader.reload().await.expect_err("no key").to_string().contains("/nonexistent/key.pem"));
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(client.update().await.seq, seq, "the old rules hold");
    gateway.metric_becomes("odin_gateway_config_reloads_total{result=\"failed\"}", 2).await;
    assert_eq!(gateway.metric("odin_gateway_config_reloads_total{result=\"ok\"}").await, 0);
}
