//! `odin-devkit stage` as another program drives it: by lines.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{LIMIT, exists, gateway_binary, jetstream};

struct Stage {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    addresses: Value,
    asked: u64,
}

impl Stage {
    async fn start(more: &[&str]) -> Option<Stage> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-devkit"));
        command.arg("stage").arg("--gateway").arg(gateway_binary()?).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut stage = Stage { child, orders, answers, addresses: Value::Null, asked: 0 };
        stage.addresses = stage.line().await;
        Some(stage)
    }

    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(LIMIT, self.answers.next_line()).await.expect("a line in time");
        let line = line.expect("UTF-8").expect("the program has not ended");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?} is no JSON"))
    }

    async fn answer(&mut self, mut order: Value) -> Value {
        self.asked += 1;
        order["id"] = self.asked.into();
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it reads");
        let answer = self.line().await;
        assert_eq!(answer["id"], self.asked, "{answer}");
        answer
    }

    async fn done(&mut self, order: Value) -> Value {
        let answer = self.answer(order).await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer
    }

    /// The status line of a request through the balancer; `None` when the connection was cut.
    async fn get(&self, upgrade: bool) -> Option<String> {
        let mut stream = TcpStream::connect(self.addresses["balancer"].as_str()?).await.ok()?;
        let more = if upgrade {
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        } else {
            "Connection: close\r\n"
        };
        let request = format!("GET /ws HTTP/1.1\r\nHost: odin\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        Some(String::from_utf8_lossy(&head).into_owned())
    }
}

const WELCOME: &str = "HTTP/1.1 101";

#[tokio::test]
async fn a_stage_survives_what_its_orders_do_to_it() {
    let Some(mut stage) = Stage::start(&[]).await else { return };
    assert_eq!(stage.addresses["gateways"].as_array().map(Vec::len), Some(2));
    assert_eq!(stage.get(true).await.as_deref(), Some(WELCOME));

    let order = json!({"do": "publish", "subject": "odin.tokens.BTC.price", "data": {"price": 1.0}});
    let first = stage.done(order.clone()).await["seq"].as_u64().expect("a sequence");
    let url = stage.addresses["nats"].as_str().expect("an address").to_owned();
    let stream = jetstream(&[url]).await.get_stream("ODIN").await.expect("provisioned");
    let stored = stream.get_raw_message(first).await.expect("stored");
    assert_eq!(&stored.payload[..], br#"{"price":1.0}"#);

    // One gateway is enough, none is too few.
    stage.done(json!({"do": "kill_gateway", "index": 0})).await;
    assert_eq!(stage.get(true).await.as_deref(), Some(WELCOME));
    stage.done(json!({"do": "balance", "only": 0})).await;
    assert_eq!(stage.get(true).await, None);
    let refused = stage.answer(json!({"do": "start_gateway", "index": 1})).await;
    assert_eq!(refused["error"], "gateway 1 runs");
    stage.done(json!({"do": "start_gateway", "index": 0})).await;
    assert_eq!(stage.get(true).await.as_deref(), Some(WELCOME), "on the address the balancer knows");
    stage.done(json!({"do": "drain_gateway", "index": 1})).await;
    stage.done(json!({"do": "start_gateway", "index": 1})).await;
    stage.done(json!({"do": "balance", "only": null})).await;

    // What is stored outlives the server.
    stage.done(json!({"do": "stop_nats"})).await;
    stage.done(json!({"do": "start_nats"})).await;
    let second = stage.done(order).await["seq"].as_u64().expect("a sequence");
    assert!(second > first, "{second} after {first}");
}

#[tokio::test]
async fn the_balancer_obeys() {
    let Some(mut stage) = Stage::start(&["--gateways", "1", "--", "--drain-window", "1s"]).await else { return };
    stage.done(json!({"do": "block_websocket", "on": true})).await;
    assert_eq!(stage.get(true).await, None);
    assert!(stage.get(false).await.is_some(), "plain HTTP passes");
    stage.done(json!({"do": "block_websocket", "on": false})).await;
    assert_eq!(stage.get(true).await.as_deref(), Some(WELCOME));

    let mut held =
        TcpStream::connect(stage.addresses["balancer"].as_str().expect("an address")).await.expect("accepts");
    while stage.done(json!({"do": "connections"})).await["connections"][0] == 0 {}
    stage.done(json!({"do": "pause_traffic", "on": true})).await;
    stage.done(json!({"do": "pause_traffic", "on": false})).await;
    stage.done(json!({"do": "cut"})).await;
    let end = tokio::time::timeout(LIMIT, held.read(&mut [0; 1])).await.expect("cut");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

    for (order, error) in [
        (json!({"do": "kill_gateway", "index": 7}), "there is no gateway 7"),
        (json!({"do": "stop_nats", "index": 1}), "there is no nats-server 1"),
        (json!({"do": "fly"}), "unknown order \"fly\""),
    ] {
        assert_eq!(stage.answer(order).await["error"], error);
    }
}

#[tokio::test]
async fn the_end_of_its_input_ends_everything() {
    let Some(mut stage) = Stage::start(&["--gateways", "1"]).await else { return };
    let logs = stage.addresses["gateways"][0]["log"].as_str().expect("a path").to_owned();
    let ours = stage.child.id().expect("it runs").to_string();
    let children = children_of(&ours);
    assert!(!cfg!(target_os = "linux") || children.len() >= 2, "{children:?}");
    drop(stage.orders);
    let status = tokio::time::timeout(LIMIT, stage.child.wait()).await.expect("it ends").expect("it is ours");
    assert!(status.success(), "{status}");
    assert!(!children.into_iter().any(exists), "something runs on");
    assert!(!PathBuf::from(logs).exists(), "its logs were temporary");
}

/// Process ids of the children, where the system tells.
fn children_of(pid: &str) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(pid)
    };
    ids.filter(is_child).collect()
}
