//! The `odin-publisher` program from the outside: arguments, input, exit code, report, and what is stored.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use odin_publisher::telemetry::collector::Collector;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{World, odin_stream, soon};

/// The program with these arguments, without the environment of whoever runs the tests.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-publisher"));
    for (name, _) in std::env::vars_os() {
        if ["ODIN_", "OTEL_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The same, publishing to the world's server and reporting as JSON.
fn publishing(world: &World, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.args(["--report", "json", "--nats-url"]).arg(world.server.url());
    command
}

async fn finish(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("its standard input");
    let write = async {
        // a program that stops early closes it
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (output, ()) = soon("the program's end", async { tokio::join!(child.wait_with_output(), write) }).await;
    output.expect("its output")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr)))
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

const REPRODUCIBLE: [&str; 9] =
    ["simulate", "--seed", "7", "--start-time", "2026-01-31T12:00:00Z", "--tokens", "20", "--count", "600"];

#[tokio::test]
async fn the_same_seed_and_start_time_print_the_same_bytes() {
    let with = |extra: &[&str]| {
        let mut command = program(&REPRODUCIBLE);
        command.arg("--print").args(extra);
        finish(command, "")
    };
    let (first, second, other) = tokio::join!(with(&[]), with(&[]), with(&["--users", "3"]));
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout).lines().count(), 600);
    assert_eq!(first.stdout, second.stdout);
    assert_ne!(first.stdout, other.stdout);
}

#[tokio::test]
async fn what_is_simulated_is_what_is_stored_and_a_second_run_changes_nothing() {
    let mut world = World::start().await;
    let mut print = program(&REPRODUCIBLE);
    print.arg("--print");
    let printed = text(&finish(print, "").await.stdout);

    let mut arguments = REPRODUCIBLE.to_vec();
    arguments.extend(["--rate", "max"]);
    // the nominal rate decides the market's own clock: the same as above
    let first = finish(publishing(&world, &arguments), "").await;
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let figures = report(&first);
    assert_eq!(
        (&figures["published"], &figures["acked"], &figures["ended"]),
        (&600.into(), &600.into(), &"count".into())
    );
    assert!(figures["ackLatencyMs"]["max"].as_f64().unwrap() > 0.0);

    let stored = world.stored().await;
    let mut by_id: std::collections::HashMap<String, (String, Vec<u8>)> =
        stored.into_iter().map(|message| (message.id, (message.subject, message.payload))).collect();
    for line in printed.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (subject, payload) = by_id.remove(line["id"].as_str().unwrap()).expect("stored");
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&line["subject"], &line["data"]), (&Value::from(subject), &payload));
    }
    assert!(by_id.is_empty());

    let second = finish(publishing(&world, &arguments), "").await;
    assert_eq!(report(&second)["duplicates"], 600);
    assert_eq!(world.stored().await.len(), 600);
}

#[tokio::test]
async fn simulating_without_a_stream_says_how_to_get_one() {
    let world =
        World::with(async_nats::jetstream::stream::Config { subjects: vec!["other.>".to_owned()], ..odin_stream() })
            .await;
    let output = finish(publishing(&world, &["simulate", "--count", "5"]), "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ws-gateway provision"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_signal_ends_a_simulation_with_everything_acknowledged() {
    let mut world = World::start().await;
    let mut command = publishing(&world, &["simulate", "--rate", "500", "--report-every", "100ms"]);
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    soon("published messages", async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("ack_p50_ms") && !line.contains("acked=0 ") {
                break;
            }
        }
    })
    .await;
    let drained = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let output = soon("the program's end", child.wait_with_output()).await.unwrap();
    drained.await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let figures = report(&output);
    assert_eq!(figures["ended"], "signal");
    assert_eq!(figures["published"], figures["acked"]);
    assert_eq!(world.stored().await.len() as u64, figures["acked"].as_u64().unwrap());
}

#[tokio::test]
async fn pipes_lines_and_says_which_ones_it_did_not_understand() {
    let mut world = World::start().await;
    let input = r#"{"subject":"odin.tokens.BTC.price","data":{"price":1,"nonce":"n1"}}
{"channel":"price:ETH","data":{"price":2}}
nonsense

{"token":"SOL","data":{"price":3}}
{"token":"S O L","data":{"price":4}}
{"token":"SOL","data":{"price":5}}"#;
    let output = finish(publishing(&world, &["pipe"]), input).await;
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let figures = report(&output);
    assert_eq!((&figures["acked"], &figures["badLines"]), (&4.into(), &2.into()));
    assert!(stderr.contains("line=3") && stderr.contains("line=6"), "{stderr}");
    let stored = world.stored().await;
    let sol: Vec<&[u8]> =
        stored.iter().filter(|m| m.subject == "odin.tokens.SOL.price").map(|m| &m.payload[..]).collect();
    assert_eq!(sol, [br#"{"price":3}"#, br#"{"price":5}"#]);
    assert!(stored.iter().any(|message| message.id == "n1"));
}

#[tokio::test]
async fn strictly_a_line_that_is_not_understood_ends_it() {
    let mut world = World::start().await;
    let template = ["pipe", "--strict", "--subject-template", "odin.tokens.{tokenId}.price"];
    let input = "{\"tokenId\":\"BTC\",\"price\":1}\n{\"price\":2}\n{\"tokenId\":\"BTC\",\"price\":3}\n";
    let output = finish(publishing(&world, &template), input).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(report(&output)["ended"], "bad_line");
    let stored = world.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].payload, br#"{"tokenId":"BTC","price":1}"#);
}

#[tokio::test]
async fn what_is_refused_shows_in_the_exit_code() {
    let world = World::start().await;
    let large = format!("{{\"token\":\"BTC\",\"data\":\"{}\"}}\n", "x".repeat(70_000));
    let input = format!("{large}{}{}", r#"{"subject":"elsewhere.a","data":1}"#, "\n{\"token\":\"BTC\",\"data\":1}\n");
    let output = finish(publishing(&world, &["pipe"]), &input).await;
    assert_eq!(output.status.code(), Some(3));
    let figures = report(&output);
    assert_eq!((&figures["acked"], &figures["refused"]), (&1.into(), &2.into()));
    assert_eq!(figures["refusedByCause"], serde_json::json!({"no_stream": 1, "too_large": 1}));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("line 1") && stderr.contains("line 2") && stderr.contains("ws-gateway provision"),
        "{stderr}"
    );
}

#[tokio::test]
async fn replays_a_csv_file_in_order() {
    let mut world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("trades.csv");
    let mut rows = String::from("ts,symbol,close\n");
    for number in 0..300 {
        rows.push_str(&format!("{},T{},{number}.5\n", 1_700_000_000 + number, number % 3));
    }
    tokio::fs::write(&file, rows).await.unwrap();
    let path = file.to_str().unwrap();
    let arguments = [
        "replay",
        path,
        "--speed",
        "1000000",
        "--time-column",
        "ts",
        "--column",
        "tokenId=symbol",
        "--column",
        "price=close",
        "--set",
        "type=price:update",
    ];
    let output = finish(publishing(&world, &arguments), "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut last = [-1.0; 3];
    let stored = world.stored().await;
    assert_eq!(stored.len(), 300);
    for message in stored {
        let data: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(data["type"], "price:update");
        assert_eq!(data["nonce"], message.id.as_str());
        let token: usize = data["tokenId"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(message.subject, format!("odin.tokens.T{token}.price"));
        let price = data["price"].as_f64().unwrap();
        assert!(price > last[token]);
        last[token] = price;
    }
}

#[tokio::test]
async fn replays_what_a_simulation_has_printed() {
    let mut world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("market.ndjson");
    let mut print = program(&REPRODUCIBLE);
    print.arg("--print");
    tokio::fs::write(&file, finish(print, "").await.stdout).await.unwrap();
    let arguments = ["replay", file.to_str().unwrap(), "--speed", "max"];
    let output = finish(publishing(&world, &arguments), "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(report(&output)["acked"], 600);
    assert_eq!(world.stored().await.len(), 600);
}

#[tokio::test]
async fn a_file_or_server_that_is_not_there_is_a_failure_to_start() {
    let world = World::start().await;
    let output = finish(publishing(&world, &["replay", "not-there.csv"]), "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot open not-there.csv"));
    let nowhere = program(&["simulate", "--nats-url", "nats://user:hunter2@127.0.0.1:1"]);
    let output = finish(nowhere, "").await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("nats://***@127.0.0.1:1") && !stderr.contains("hunter2"), "{stderr}");
}

/// Checklist 17: secrets in what is logged.
#[tokio::test]
async fn tells_a_collector_and_no_log_its_secret() {
    let (world, mut collector) = (World::start().await, Collector::start().await);
    let arguments = ["simulate", "--count", "5", "--rate", "max", "--trace-ratio", "1", "--log-level", "trace"];
    let mut traced = publishing(&world, &arguments);
    traced.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    traced.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20topsecret");
    let output = finish(traced, "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(report(&output)["acked"], 5);
    let request = collector.request().await;
    assert_eq!(request.headers["authorization"], "Bearer topsecret");
    assert!(!text(&output.stderr).contains("topsecret") && !text(&output.stdout).contains("topsecret"));

    let nowhere = finish(publishing(&world, &["simulate", "--count", "5", "--trace-ratio", "1"]), "").await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("--otlp-endpoint"), "{}", text(&nowhere.stderr));
}

/// A collector that is not there.
#[tokio::test]
async fn publishes_all_the_same_and_says_that_spans_were_lost() {
    let world = World::start().await;
    let arguments = ["simulate", "--count", "5", "--rate", "max", "--trace-ratio", "1"];
    let mut traced = publishing(&world, &arguments);
    traced.args(["--otlp-endpoint", "http://127.0.0.1:1"]);
    let output = finish(traced, "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(report(&output)["acked"], 5);
    assert_eq!(text(&output.stderr).matches("spans cannot be sent").count(), 1, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not all spans were sent"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn explains_itself() {
    let help = finish(program(&["replay", "--help"]), "").await;
    assert_eq!(help.status.code(), Some(0));
    for wanted in ["--speed", "--column", "--subject-template", "ODIN_NATS_URL", "--report", "CSV row", "--trace-ratio"]
    {
        assert!(text(&help.stdout).contains(wanted), "{wanted}");
    }
    let completions = finish(program(&["completions", "bash"]), "").await;
    assert!(text(&completions.stdout).contains("odin-publisher"));
    let usage = finish(program(&["simulate", "--rate", "5", "--per-token-interval", "5s"]), "").await;
    assert_eq!(usage.status.code(), Some(2));
}
