//! The examination finds bad clients out. A good one passes it in the tests of `odin-client`.

use std::process::Stdio;
use std::time::Duration;

use odin_devkit::conformance::{Behaviour, Conformance, Options, Verdict};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::LIMIT;

/// Waits so short that nothing is waited for.
fn options(only: &[&str]) -> Options {
    Options {
        backoff_base: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(50),
        patience: Duration::from_secs(5),
        only: only.iter().map(|name| (*name).to_owned()).collect(),
        ..Options::default()
    }
}

/// A client that does what a test says, however wrong.
struct Puppet(TcpStream);

impl Puppet {
    /// Connects and reads the answer to the handshake.
    async fn connect(conformance: &Conformance, path: &str) -> (Puppet, String) {
        let address = conformance.url().replace("ws://", "");
        let mut stream = TcpStream::connect(&address).await.expect("it listens");
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: odin.v1.json\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        (Puppet(stream), String::from_utf8(head).expect("text"))
    }

    async fn join(conformance: &Conformance, path: &str) -> Puppet {
        let (puppet, head) = Puppet::connect(conformance, path).await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        puppet
    }

    /// Sends a short text with a mask of zeros, or without any.
    async fn say(&mut self, text: &str, is_masked: bool) {
        let length = u8::try_from(text.len()).expect("short");
        let mut frame = vec![0x81];
        match (length, is_masked) {
            (0..126, false) => frame.push(length),
            (0..126, true) => frame.extend([0x80 | length, 0, 0, 0, 0]),
            (_, _) => frame.extend([0x80 | 126, 0, length, 0, 0, 0, 0]),
        }
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.expect("it reads");
    }

    async fn subscribe(&mut self, channel: &str, since: Option<&str>) {
        let since = since.map_or_else(String::new, |since| format!(r#","since":"{since}""#));
        self.say(&format!(r#"{{"type":"subscribe","id":1,"channels":["{channel}"]{since}}}"#), true).await;
    }

    /// Answers pings until it is told to leave; gives everything that was said.
    async fn listen(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(opcode) = self.0.read_u8().await {
            let length = match self.0.read_u8().await.expect("a length") {
                126 => usize::from(self.0.read_u16().await.expect("a length")),
                127 => usize::try_from(self.0.read_u64().await.expect("a length")).expect("64 bits"),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.expect("a payload");
            match opcode {
                0x89 => {
                    let mut pong = vec![0x8A, 0x80 | u8::try_from(length).expect("a control frame"), 0, 0, 0, 0];
                    pong.extend(&payload);
                    self.0.write_all(&pong).await.expect("it reads");
                }
                0x88 => return texts,
                0x81 => texts.push(String::from_utf8(payload).expect("text")),
                _ => {}
            }
        }
        texts
    }
}

async fn verdict(mut conformance: Conformance, behaviour: Behaviour) -> Verdict {
    tokio::time::timeout(LIMIT, conformance.ended()).await.expect("it ends");
    let report = conformance.report();
    let row = report.rows().iter().find(|(row, _)| *row == behaviour).expect("it is looked for");
    row.1.clone()
}

fn is_wrong(verdict: &Verdict, why: &str) -> bool {
    matches!(verdict, Verdict::Wrong(detail) if detail.contains(why))
}

/// Checklist 21: an unmasked frame.
#[tokio::test]
async fn a_client_that_does_not_mask_is_found_out() {
    let conformance = Conformance::start(options(&["forbidden"])).await.expect("a port");
    let mut puppet = Puppet::join(&conformance, "forbidden").await;
    puppet.say(r#"{"type":"subscribe","channels":["price:BTC"]}"#, false).await;
    let verdict = verdict(conformance, Behaviour::MasksFrames).await;
    assert!(is_wrong(&verdict, "not masked"), "{verdict:?}");
}

#[tokio::test]
async fn a_client_that_comes_back_after_never_is_found_out() {
    let conformance = Conformance::start(options(&["forbidden"])).await.expect("a port");
    let mut puppet = Puppet::join(&conformance, "forbidden").await;
    puppet.subscribe("price:BTC", None).await;
    puppet.listen().await;
    let second = TcpStream::connect(conformance.url().replace("ws://", "")).await;
    let mut second = second.expect("it listens");
    second.write_all(b"GET /forbidden HTTP/1.1\r\n\r\n").await.expect("it reads");
    let verdict = verdict(conformance, Behaviour::StaysAway).await;
    assert!(is_wrong(&verdict, "after 4403"), "{verdict:?}");
}

#[tokio::test]
async fn a_client_that_resumes_a_pattern_from_an_update_is_found_out() {
    let conformance = Conformance::start(options(&["checkpoint"])).await.expect("a port");
    let mut puppet = Puppet::join(&conformance, "checkpoint").await;
    puppet.subscribe("price:*", None).await;
    let texts = puppet.listen().await;
    assert!(texts.iter().any(|text| text.contains(r#""type":"checkpoint""#)), "{texts:?}");
    let update: Value = serde_json::from_str(texts.last().expect("it said something")).expect("JSON");
    let since = format!("1.k3j9x2m4.{}.{}", update["seq"], update["ts"]);
    for _ in 0..2 {
        let mut puppet = Puppet::join(&conformance, "checkpoint").await;
        puppet.subscribe("price:*", Some(&since)).await;
        puppet.listen().await;
    }
    let verdict = verdict(conformance, Behaviour::ResumesFromCheckpoint).await;
    assert!(is_wrong(&verdict, "the checkpoint was"), "{verdict:?}");
}

#[tokio::test]
async fn a_client_that_waits_not_at_all_does_not_draw() {
    let slow = Options { backoff_base: Duration::from_secs(5), ..options(&["waits"]) };
    let conformance =
        Conformance::start(Options { backoff_cap: Duration::from_secs(30), ..slow }).await.expect("a port");
    for _ in 0..7 {
        let mut puppet = Puppet::join(&conformance, "waits").await;
        puppet.subscribe("price:BTC", None).await;
        puppet.listen().await;
    }
    let verdict = verdict(conformance, Behaviour::WaitsDiffer).await;
    assert!(is_wrong(&verdict, "each wait is 0.0"), "{verdict:?}");
}

#[tokio::test]
async fn a_path_that_is_no_scenario_is_not_found() {
    let conformance = Conformance::start(options(&["forbidden"])).await.expect("a port");
    let (_, head) = Puppet::connect(&conformance, "waits").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[tokio::test]
async fn the_program_fails_when_nothing_was_shown_and_says_what() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-devkit"));
        command.arg("conform").args(args).stdin(Stdio::null()).kill_on_drop(true).output()
    };
    let output = run(&["--only", "forbidden,publish", "--limit", "0", "--json"]).await.expect("the program starts");
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["scenarios"][1]["publish"], 40, "{text}");
    assert_eq!(lines[1]["passed"], false, "{text}");
    assert_eq!(lines[1]["behaviours"][0]["verdict"], "not_shown", "{text}");

    let output = run(&["--only", "rain"]).await.expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(r#"no scenario is called "rain""#), "{text}");
}
