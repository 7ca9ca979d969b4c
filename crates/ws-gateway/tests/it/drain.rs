//! How a gateway leaves.

use std::{collections::HashSet, time::Duration};

use odin_protocol::{ServerMessage, SystemState, close::CloseCode};
use tokio::net::TcpStream;
use ws_gateway::Outcome;

use crate::support::{Client, Gateway, Odin, frame, until};

/// Reads the notice, and how long the connection still has.
async fn notice(client: &mut Client) -> u64 {
    match client.message().await {
        ServerMessage::System { status: SystemState::Draining, reconnect_in_ms, .. } => {
            reconnect_in_ms.expect("draining says when")
        }
        other => panic!("expected a notice, not {other:?}"),
    }
}

async fn refuses_connections(gateway: &Gateway) {
    until("connections to be refused", async || TcpStream::connect(gateway.address).await.is_err().then_some(())).await;
}

#[tokio::test]
async fn tells_everybody_and_lets_them_go_spread_over_the_window() {
    let mut gateway = Gateway::without_nats(|config| config.drain.window = Duration::from_secs(2));
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(&gateway).await);
    }
    gateway.begin_stop();
    let mut moments = HashSet::new();
    for client in &mut clients {
        let moment = notice(client).await;
        assert!(moment <= 2000, "{moment} ms are more than the window");
        moments.insert(moment);
    }
    assert!(moments.len() >= 10, "spread: {moments:?}");
    refuses_connections(&gateway).await;
    for client in &mut clients {
        client.closed_with(CloseCode::ServiceRestart).await;
    }
    // A client ends its side when it sees the server's.
    drop(clients);
    assert_eq!(gateway.ended().await, Outcome { left: 20, remained: 0 });
    let is_gone = async || TcpStream::connect(gateway.admin).await.is_err().then_some(());
    until("the admin listener to go too", is_gone).await;
}

/// Nobody can ask any more then, and the shards must not go round because of it.
#[tokio::test]
async fn turns_only_when_there_is_something_to_do() {
    let mut gateway = Gateway::without_nats(|config| config.drain.window = Duration::from_secs(2));
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(&gateway).await);
    }
    gateway.begin_stop();
    for client in &mut clients {
        notice(client).await;
        client.closed_with(CloseCode::ServiceRestart).await;
    }
    let turns = gateway.metric("odin_gateway_shard_turn_seconds_count").await;
    // A tick has one, ten in a second, and every event a few.
    assert!(turns < 2_000, "{turns} turns");
}

#[tokio::test]
async fn is_not_ready_but_serves_while_the_load_balancer_looks_away() {
    let mut odin = Odin::start_with(|config| config.drain.pause = Duration::from_secs(3600)).await;
    let mut before = odin.client().await;
    before.subscribe(&["price:BTC"]).await;
    odin.gateway.begin_stop();
    odin.gateway.not_ready("draining").await;
    assert_eq!(odin.gateway.get("/livez").await.status, 200);
    let mut during = odin.client().await;
    during.subscribe(&["price:BTC"]).await;
    let seq = odin.publisher.price("BTC", 1).await;
    for client in [&mut before, &mut during] {
        assert_eq!(client.update().await.seq, seq);
    }
    // NATS may say what it likes: a drain's word stands.
    odin.nats.kill().await;
    odin.gateway.metric_becomes("odin_gateway_nats_connected", 0).await;
    odin.gateway.not_ready("draining").await;
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn serves_everybody_until_their_moment() {
    let mut odin = Odin::start_with(|config| config.drain.window = Duration::from_secs(4)).await;
    let mut clients = [odin.client().await, odin.client().await];
    for client in &mut clients {
        client.subscribe(&["price:BTC"]).await;
    }
    odin.gateway.begin_stop();
    let mut moments = Vec::new();
    for client in &mut clients {
        moments.push(notice(client).await);
    }
    let [first, last] = &mut clients;
    let (first, last) = if moments[0] < moments[1] { (first, last) } else { (last, first) };
    first.closed_with(CloseCode::ServiceRestart).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!(last.update().await.seq, seq);
    last.ask(1, &["market:summary"]).await;
    assert!(matches!(last.message().await, ServerMessage::Subscribed { .. }));
    last.closed_with(CloseCode::ServiceRestart).await;
    odin.gateway.is_balanced().await;
}

#[tokio::test]
async fn ends_at_once_when_nobody_is_there() {
    let mut gateway = Gateway::without_nats(|config| config.drain.window = Duration::from_secs(3600));
    drop(Client::connect(&gateway).await);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    gateway.begin_stop();
    assert_eq!(gateway.ended().await, Outcome { left: 0, remained: 0 });
}

#[tokio::test]
async fn ends_as_soon_as_the_last_one_has_left_by_itself() {
    let mut gateway = Gateway::without_nats(|config| config.drain.window = Duration::from_secs(3600));
    // The first leaves at once, the others would have an hour.
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(&gateway).await);
    }
    gateway.begin_stop();
    for client in &mut clients {
        notice(client).await;
    }
    for mut client in clients {
        client.send_raw(&frame(0x88, &[0x03, 0xE8])).await;
    }
    assert_eq!(gateway.ended().await.remained, 0);
}

/// Attack: hold up a deployment by connections that do not leave, do not read, or never shake hands.
#[tokio::test]
async fn is_not_held_up_by_those_who_do_not_leave() {
    let mut gateway = Gateway::without_nats(|_| {});
    let deaf = [Client::connect(&gateway).await, Client::connect(&gateway).await];
    let silent = TcpStream::connect(gateway.address).await.expect("a connection");
    gateway.metric_becomes("odin_gateway_handshakes_pending", 1).await;
    gateway.begin_stop();
    // They are told, asked to leave, and then left behind.
    let outcome = gateway.ended().await;
    assert_eq!(outcome.left + outcome.remained, 2);
    drop((deaf, silent));
}

#[tokio::test]
async fn drains_all_shards() {
    let mut gateway = Gateway::without_nats(|config| {
        config.shards = 2.try_into().expect("not zero");
        config.drain.window = Duration::from_secs(1);
    });
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(Client::connect(&gateway).await);
    }
    gateway.begin_stop();
    for client in &mut clients {
        notice(client).await;
        client.closed_with(CloseCode::ServiceRestart).await;
    }
    drop(clients);
    assert_eq!(gateway.ended().await, Outcome { left: 30, remained: 0 });
}

#[tokio::test]
async fn hands_its_clients_over_to_another_gateway() {
    let mut odin = Odin::start().await;
    let other = odin.another_gateway().await;
    let mut client = odin.client().await;
    client.subscribe_all(&["price:BTC"]).await;
    odin.publisher.price("BTC", 1).await;
    let last = client.update().await;
    odin.gateway.begin_stop();
    client.closed_with(CloseCode::ServiceRestart).await;
    let mut client = Client::connect(&other).await;
    client.subscribe_all(&["price:BTC"]).await;
    let update = client.update().await;
    assert_eq!((update.seq, update.epoch), (last.seq, last.epoch));
    odin.gateway.is_balanced().await;
}
