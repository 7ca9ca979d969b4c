//! The program against real gateways and a real nats-server: everybody is on one that is killed, and nothing is lost.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use odin_devkit::{Gateway, NatsServer, Process, START_LIMIT};
use odin_publisher::{Options, Publisher};
use serde_json::Value;
use tokio::process::{Child, Command};

const CLIENTS: u64 = 200;
/// All but those who poll are connections.
const CONNECTIONS: u64 = 190;
const TOKENS: u64 = 20;

/// The gateway of this build: beside the folder of the tests.
fn gateway_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let binary = profile.join("ws-gateway");
    assert!(binary.is_file(), "{} is missing: build it first, in the same profile", binary.display());
    binary
}

struct Stage {
    gateways: Vec<Gateway>,
    publishing: tokio::task::JoinHandle<()>,
    _nats: NatsServer,
}

impl Stage {
    async fn start(gateways: usize) -> Stage {
        let binary = gateway_binary();
        let nats = NatsServer::start().await.expect("nats-server starts");
        let provision = ["provision", "--nats-url", &nats.url()];
        let provision = Process::builder("provision", &binary).args(provision).spawn().expect("the program starts");
        assert!(provision.wait(START_LIMIT).await.expect("it ends").success(), "{}", provision.log());
        let mut all = Vec::new();
        for _ in 0..gateways {
            all.push(Gateway::builder(&binary, nats.url()).keep_ports().start().await.expect("a gateway starts"));
        }
        let options = Options { urls: vec![nats.url()], ..Options::default() };
        let publisher = Publisher::connect(options).await.expect("nats is there");
        let publishing = tokio::spawn(async move {
            for number in 0u64.. {
                let payload = format!(r#"{{"n":{number},"timestamp":{}}}"#, number + 1);
                let subject = format!("odin.tokens.T{}.price", number % TOKENS);
                publisher.publish(&subject, payload).await.expect("accepted").await.expect("stored");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Stage { gateways: all, publishing, _nats: nats }
    }

    fn urls(&self) -> String {
        self.gateways.iter().map(Gateway::ws_url).collect::<Vec<_>>().join(",")
    }

    /// Waits until the gateways that run have so many connections, together.
    async fn until_connected(&self, running: &[usize], connections: u64) {
        let wait = async {
            loop {
                let mut sum = 0;
                for at in running {
                    let (_, body) = self.gateways[*at].admin_get("/metrics").await.unwrap_or_default();
                    let line = body.lines().find_map(|line| line.strip_prefix("odin_gateway_connections "));
                    sum += line.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) as u64;
                }
                if sum >= connections {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(2 * START_LIMIT, wait).await.expect("they connect");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.publishing.abort();
    }
}

/// A swarm that ends when it is told to.
fn swarm(urls: &str, report: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-swarm"));
    command.args(["--url", urls, "--duration", "10min", "--settle", "30s", "--quiet", "--report"]).arg(report);
    command.args(["--clients", &CLIENTS.to_string(), "--tokens", &TOKENS.to_string(), "--per-client", "3"]);
    command.args(more).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts")
}

async fn end(child: Child, report: &Path) -> (Option<i32>, Value, String) {
    kill(Pid::from_raw(child.id().expect("it runs") as i32), Signal::SIGTERM).expect("it runs");
    let output = child.wait_with_output().await.expect("it ends");
    let table = String::from_utf8(output.stdout).expect("text");
    let report = std::fs::read_to_string(report).expect("it was written");
    (output.status.code(), serde_json::from_str(&report).expect("JSON"), table)
}

/// Checklist 53: kill -9 of a gateway, and clients of every kind go on at the others. Checklist 51: no tick is lost or
/// comes twice on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_gateway_is_killed() {
    let folder = std::env::temp_dir().join(format!("odin-swarm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("report.json");
    let mut stage = Stage::start(2).await;
    let bars = "lost>0,twice>0,reordered>0,gaps>0,behind>0,stray>0,not_recovered>0,faults>0,errors>0,away>0,ended>0";
    let more = ["--transport", "mix", "--format", "mix", "--mode", "mix", "--resume", "--churn", "5", "--slow", "5"];
    let slow = ["--slow-for", "1s", "--slow-every", "1s", "--processes", "2", "--fail-on", bars];
    let child = swarm(&stage.urls(), &path, &[&more[..], &slow[..]].concat());
    stage.until_connected(&[0, 1], CONNECTIONS).await;
    for killed in [0, 1] {
        stage.gateways[killed].kill().await;
        stage.until_connected(&[1 - killed], CONNECTIONS).await;
        stage.gateways[killed].restart().await.expect("it starts again");
        stage.gateways[killed].wait_ready(START_LIMIT).await.expect("it becomes ready");
    }
    let (code, report, table) = end(child, &path).await;
    assert_eq!(code, Some(0), "{table}");
    let figure = |name: &str| report["figures"][name].as_f64().unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!((figure("clients"), figure("live")), (CLIENTS as f64, CLIENTS as f64), "{table}");
    // Everybody but pollers lost a connection at least once, and went on with each of three channels.
    assert!(figure("drops") >= CONNECTIONS as f64 && figure("recovered") >= 3.0 * CONNECTIONS as f64, "{table}");
    assert!(figure("deliveries") > 1000.0 && figure("back_count") >= CONNECTIONS as f64, "{table}");
    assert!(figure("resubscribed") + figure("churned") > 0.0 && figure("slowed") > 0.0, "{table}");
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bar_that_does_not_hold_is_an_exit_code() {
    let folder = std::env::temp_dir().join(format!("odin-swarm-bar-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("report.json");
    let stage = Stage::start(1).await;
    let watch = format!("gateway={}", stage.gateways[0].pid());
    let child = swarm(&stage.urls(), &path, &["--fail-on", "connected>0,lost>0", "--watch", &watch]);
    stage.until_connected(&[0], CLIENTS).await;
    let (code, report, table) = end(child, &path).await;
    assert_eq!(code, Some(1), "{table}");
    assert_eq!((&report["bars"][0]["held"], &report["bars"][1]["held"]), (&false.into(), &true.into()));
    assert!(report["servers"][0]["rss_most_kib"].as_u64().is_some_and(|kib| kib > 0), "{report}");
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[tokio::test]
async fn options_that_are_wrong_are_another_exit_code() {
    for wrong in [&["--url", "wss://127.0.0.1/ws"][..], &["--url", "ws://127.0.0.1:1", "--channels", "price:>"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-swarm"));
        let output = command.args(wrong).output().await.expect("the program starts");
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}

/// Nobody listens: it is counted, and the run goes on to its end.
#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_failed_connect() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-swarm"));
    command.args(["--url", "ws://127.0.0.1:1/ws", "--clients", "5", "--duration", "1s", "--settle", "0s"]);
    let output = command.args(["--fail-on", "failed<5,success_pct>0,connected>0"]).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
