//! Publications of clients: who may, what is taken, and that an answer means that it is stored.

use odin_protocol::{
    error::ErrorCode,
    message::{ClientMessage, Mode, RequestId, ServerMessage},
};
use serde_json::{json, value::RawValue};
use ws_gateway::{
    config::Config,
    rules::{Access, RuleSource},
};

use crate::support::{Client, Gateway, Odin, token, with_rules, with_users};

/// Rooms for everybody who has signed in, a board for operators, drafts of one's own.
pub(crate) fn rooms(config: &mut Config) {
    with_users(config);
    let rule = |channel, subject, access, publish| RuleSource {
        publish: Some(publish),
        ..RuleSource::new(channel, subject, access, Mode::All)
    };
    with_rules(
        config,
        vec![
            rule("chat:{room}", "odin.chat.{room}", Access::Public, Access::SignedIn),
            rule("board", "odin.board", Access::Public, Access::Admin),
            rule("drafts", "odin.users.{sub}.drafts", Access::Owner, Access::Owner),
        ],
    );
}

async fn publish(client: &mut Client, id: u64, channel: &str, data: &str) -> ServerMessage {
    client.send(&message(id, channel, data)).await;
    client.message().await
}

fn message(id: u64, channel: &str, data: &str) -> ClientMessage {
    let data = RawValue::from_string(data.to_owned()).expect("json");
    ClientMessage::Publish { id: Some(RequestId::Number(id)), channel: channel.to_owned(), data }
}

fn refusal(answer: ServerMessage) -> ErrorCode {
    match answer {
        ServerMessage::Error(error) => error.code,
        other => panic!("expected an error, not {other:?}"),
    }
}

#[tokio::test]
async fn stores_what_a_client_publishes_and_everybody_gets_it() {
    let odin = Odin::start_with(rooms).await;
    let mut reader = odin.client().await;
    reader.subscribe(&["chat:lobby"]).await;
    let mut ada = odin.client().await;
    ada.sign_in(&token("ada", json!({}))).await;
    let data = r#"{ "text" : "hello", "n":1.0 }"#;
    let (seq, epoch) = match publish(&mut ada, 7, "chat:lobby", data).await {
        ServerMessage::Published { id: Some(RequestId::Number(7)), channel, seq, epoch } => {
            assert_eq!(channel, "chat:lobby");
            (seq, epoch)
        }
        other => panic!("{other:?}"),
    };
    let update = reader.update().await;
    assert_eq!((update.seq, update.epoch, update.data.get()), (seq, epoch, data), "untouched");
    let stream = odin.jetstream().await.get_stream("ODIN").await.expect("the stream");
    let stored = stream.get_raw_message(seq).await.expect("stored");
    assert_eq!(stored.subject.as_str(), "odin.chat.lobby");
    assert_eq!(stored.headers.get("Odin-Sender").map(|sender| sender.as_str()), Some("ada"));
    odin.gateway.metric_becomes("odin_gateway_client_publications_total", 1).await;
}

#[tokio::test]
async fn takes_publications_only_where_and_from_whom_a_rule_says_so() {
    let odin = Odin::start_with(rooms).await;
    let mut nobody = odin.client().await;
    assert_eq!(refusal(publish(&mut nobody, 1, "chat:lobby", "1").await), ErrorCode::AuthRequired);
    let mut ada = odin.client().await;
    ada.sign_in(&token("ada", json!({}))).await;
    for (channel, code) in [
        ("board", ErrorCode::Forbidden),
        ("price:BTC", ErrorCode::Unsupported),
        ("chat:*", ErrorCode::Unsupported),
        ("nothing:here", ErrorCode::UnknownChannel),
        ("chat:>", ErrorCode::InvalidChannel),
        ("$JS.API", ErrorCode::InvalidChannel),
    ] {
        assert_eq!(refusal(publish(&mut ada, 1, channel, "1").await), code, "{channel}");
    }
    let mut admin = odin.client().await;
    admin.sign_in(&token("root", json!({ "admin": true }))).await;
    assert!(matches!(publish(&mut admin, 1, "board", "1").await, ServerMessage::Published { .. }));
    // Whose drafts these are, the token says and nobody else.
    ada.subscribe(&["drafts"]).await;
    assert!(matches!(publish(&mut admin, 2, "drafts", "2").await, ServerMessage::Published { .. }));
    assert!(ada.sync(3).await.is_empty());
}

/// Attack: publish what would hurt whoever reads it, or too much of it.
#[tokio::test]
async fn refuses_payloads_that_are_none_and_too_many_of_them() {
    let odin = Odin::start_with(|config| {
        rooms(config);
        config.limits.payload_bytes = 1_000;
        config.limits.publishes_per_second = 5;
        config.limits.strikes = 100;
    })
    .await;
    let mut ada = odin.client().await;
    ada.sign_in(&token("ada", json!({}))).await;
    let big = format!("\"{}\"", "x".repeat(1_000));
    for data in [big.as_str(), "1e999", r#""\ud800""#] {
        ada.send_text(&format!(r#"{{"type":"publish","id":1,"channel":"chat:lobby","data":{data}}}"#)).await;
        let code = refusal(ada.message().await);
        assert!([ErrorCode::InvalidPayload, ErrorCode::InvalidMessage].contains(&code), "{data}: {code:?}");
    }
    for id in 0..20 {
        ada.send(&message(id, "chat:lobby", "1")).await;
    }
    let (mut stored, mut limited) = (0, 0);
    for _ in 0..20 {
        match ada.message().await {
            ServerMessage::Published { .. } => stored += 1,
            ServerMessage::Error(error) if error.limit == Some(5) => limited += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(stored >= 5 && limited > 0, "{stored} stored, {limited} refused");
}

#[tokio::test]
async fn says_so_when_it_cannot_be_stored() {
    let gateway = Gateway::without_nats(rooms);
    let mut ada = Client::connect(&gateway).await;
    ada.sign_in(&token("ada", json!({}))).await;
    assert_eq!(refusal(publish(&mut ada, 1, "chat:lobby", "1").await), ErrorCode::Unavailable);
    let odin = Odin::start_with(rooms).await;
    let mut ada = odin.client().await;
    ada.sign_in(&token("ada", json!({}))).await;
    odin.nats.pause();
    ada.send(&message(1, "chat:lobby", "1")).await;
    loop {
        match ada.message().await {
            ServerMessage::Stale { .. } => {}
            answer => {
                assert_eq!(refusal(answer), ErrorCode::Unavailable);
                break;
            }
        }
    }
    odin.nats.resume();
}
