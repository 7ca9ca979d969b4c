//! The commands of the real program: what they print and how they exit.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use odin_devkit::{Gateway, GatewayBuilder};

const BINARY: &str = env!("CARGO_BIN_EXE_ws-gateway");
/// Nothing listens there.
const NO_NATS: &str = "nats://127.0.0.1:1";
/// Wide, for loaded machines; nothing waits this long when all is well.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the program with no `ODIN_*` variable but these.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ODIN_")) {
        command.env_remove(name);
    }
    command.args(args).envs(variables.iter().copied()).output().expect("the program exists")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn example_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/odin.toml")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("writable");
    file
}

fn gateway() -> GatewayBuilder {
    Gateway::builder(BINARY, NO_NATS)
}

#[test]
fn the_example_file_is_valid() {
    let output = run(&["check-config", "--config", &example_file().to_string_lossy()], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "the configuration is valid\n");
}

#[test]
fn check_config_reports_everything_at_once() {
    let file = file("[limits]\nstrikes = \"many\"\nstrikers = 1\n");
    let output = run(
        &["check-config", "--config", &file.path().to_string_lossy(), "--listen", "10.0.0.300:80"],
        &[("ODIN_DRAIN_WINDOW", "30"), ("ODIN_NONSENSE", "1")],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for part in [
        "limits.strikes: ",
        "limits.strikers: ",
        "--listen: ",
        "ODIN_DRAIN_WINDOW: ",
        "ODIN_NONSENSE: ",
        "5 problem(s)",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let output = run(&["check-config"], &[("ODIN_CONFIG", "/nonexistent/odin.toml")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("ODIN_CONFIG: cannot read /nonexistent/odin.toml"), "{}", stderr(&output));
}

#[test]
fn what_print_config_prints_can_be_read_again() {
    let first = run(&["print-config", "--limits-strikes", "3", "--shards", "2"], &[("ODIN_DRAIN_PAUSE", "7s")]);
    let file = file(&stdout(&first));
    let second = run(&["print-config", "--config", &file.path().to_string_lossy()], &[]);
    assert!(second.status.success(), "{}", stderr(&second));
    assert_eq!(stdout(&first), stdout(&second));
    assert!(stdout(&first).contains("strikes = 3") && stdout(&first).contains("pause = \"7s\""));
}

#[test]
fn print_config_masks_secrets() {
    for format in ["toml", "json"] {
        let output = run(
            &["print-config", "--format", format, "--nats-url", "nats://u:hunter2@h"],
            &[("ODIN_NATS_TOKEN", "hunter2")],
        );
        let text = stdout(&output);
        assert!(output.status.success() && text.contains("***") && !text.contains("hunter2"), "{text}");
        if format == "json" {
            let json: serde_json::Value = serde_json::from_str(&text).expect("json");
            assert_eq!(json["nats"]["token"], "***");
        }
    }
}

#[test]
fn a_bad_secret_is_not_repeated() {
    let output = run(&["check-config", "--nats-url", "nats://u:hunter2@"], &[("ODIN_NATS_PASSWORD", "hunter2")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}

#[test]
fn every_shell_gets_a_completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell], &[]);
        assert!(output.status.success() && stdout(&output).contains("limits-message-bytes"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for args in [&[][..], &["fly"], &["serve", "--unknown"], &["print-config", "--format", "yaml"]] {
        assert_eq!(run(args, &[]).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn help_names_variable_and_default() {
    let output = run(&["serve", "--help"], &[]);
    assert!(output.status.success());
    let text = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("[env: ODIN_LIMITS_MESSAGE_BYTES] [default: \"64KiB\"]"), "{text}");
}

#[test]
fn a_taken_address_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on {address}")), "{}", stderr(&output));
}

#[tokio::test]
async fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let mut first = gateway().start_listening().await.expect("a gateway");
    let address = first.listen().to_owned();
    let args = ["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0", "--nats-url", "nats://127.0.0.1:1"];
    let second = tokio::task::spawn_blocking({
        let args = args.map(str::to_owned);
        move || run(&args.each_ref().map(String::as_str), &[])
    });
    let second = second.await.expect("no panic");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("Address already in use"), "{}", stderr(&second));
    // A successor takes it at once.
    first.terminate().await.expect("it ends");
    let next = gateway().args(["--listen", &address]).start_listening().await.expect("the port is free again");
    assert_eq!(next.listen(), address);
}

#[test]
fn provision_without_nats_is_a_clear_error() {
    let output = run(&["provision", "--nats-url", NO_NATS], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot provision: cannot connect to nats"), "{}", stderr(&output));
}

#[tokio::test]
async fn serves_without_nats_but_is_not_ready() {
    let gateway = gateway().start_listening().await.expect("it listens");
    assert_eq!(gateway.admin_get("/livez").await.expect("an answer").0, 200);
    let (status, body) = gateway.admin_get("/readyz").await.expect("an answer");
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).expect("json");
    assert_eq!(body["status"], "not_ready");
    assert!(["starting", "nats_disconnected"].contains(&body["reason"].as_str().expect("text")), "{body}");
    assert_eq!(gateway.admin_get("/ws").await.expect("an answer").0, 404);
    let metrics = gateway.admin_get("/metrics").await.expect("an answer").1;
    assert!(metrics.contains("odin_gateway_nats_connected 0"), "{metrics}");
}

#[tokio::test]
async fn says_how_a_running_gateway_is() {
    let gateway = gateway().start_listening().await.expect("a gateway");
    let admin = gateway.admin_url().trim_start_matches("http://").to_owned();
    let ask = async |args: &[&str]| {
        let args: Vec<String> =
            ["health", "--address", &admin].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        tokio::task::spawn_blocking(move || run(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[]))
            .await
            .expect("no panic")
    };
    let live = ask(&["--live"]).await;
    assert_eq!((live.status.code(), stdout(&live).trim()), (Some(0), r#"{"status":"live"}"#));
    // There is no NATS.
    let ready = ask(&[]).await;
    assert_eq!(ready.status.code(), Some(1));
    assert!(stderr(&ready).contains("nats_disconnected"), "{}", stderr(&ready));
    let nobody = run(&["health", "--admin-listen", "127.0.0.1:1"], &[]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("no answer from http://127.0.0.1:1/readyz"), "{}", stderr(&nobody));
    assert_eq!(run(&["health", "--address", "nowhere"], &[]).status.code(), Some(2));
}

/// Container runtimes often begin with 1,024.
#[tokio::test]
async fn takes_as_many_file_descriptors_as_it_may_and_says_when_they_are_too_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("gateway");
    odin_devkit::write_script(&script, &format!("ulimit -S -n 128 && ulimit -H -n 2000 && exec '{BINARY}' \"$@\""));
    let few = odin_devkit::Gateway::builder(&script, "nats://127.0.0.1:1").args(["--limits-connections", "5000"]);
    let gateway = few.start_listening().await.expect("it listens");
    let line = gateway.process().wait_for_line("too few file descriptors", LIMIT).await.expect("it says so");
    assert!(line.contains(r#""allowed":2000"#), "{line}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.process().pid())).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(files.split_whitespace().nth(3), Some("2000"), "{files}");
}

#[tokio::test]
async fn a_signal_drains_and_exits_with_0() {
    let builder = gateway().args(["--drain-pause", "0s", "--drain-window", "0s"]);
    let mut gateway = builder.start_listening().await.expect("it listens");
    let status = gateway.terminate().await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", gateway.process().log());
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let gateway = gateway().args(["--drain-pause", "10m"]).start_listening().await.expect("it listens");
    let process = gateway.process();
    process.signal(Signal::SIGTERM).expect("it runs");
    process.wait_for_line("a second signal ends the process at once", LIMIT).await.expect("it drains");
    process.signal(Signal::SIGINT).expect("it runs");
    let status = process.wait(LIMIT).await.expect("it ends");
    assert_eq!(status.code(), Some(130), "{}", process.log());
}

#[tokio::test]
async fn logs_the_effective_configuration_without_secrets() {
    let builder = gateway().env("ODIN_NATS_TOKEN", "hunter2").args(["--limits-strikes", "3"]);
    let gateway = builder.start_listening().await.expect("it listens");
    let log = gateway.process().log();
    assert!(log.contains(r#"\"strikes\":3"#) && log.contains("***") && !log.contains("hunter2"), "{log}");
}

/// Checklist 56: a broken file keeps the old configuration, and says so; a good one is taken, and says what changed.
#[tokio::test]
async fn reads_its_configuration_again_at_a_hangup_and_keeps_the_old_one_if_the_new_is_bad() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("odin.toml");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    write("[limits]\nstrikes = 3\n");
    let builder = gateway().arg("--config").arg(&path);
    let gateway = builder.start_listening().await.expect("it listens");
    let process = gateway.process();
    write("[limits]\nstrikes = \"many\"\nmessage_bytes = 1\n");
    process.signal(Signal::SIGHUP).expect("it runs");
    let line = process.wait_for_line("the configuration was not reloaded", LIMIT).await.expect("it says so");
    assert!(line.contains("limits.strikes") && line.contains("limits.message_bytes"), "all of it at once: {line}");
    write(
        "[limits]\nstrikes = 4\n[stream]\nname = \"OTHER\"\n[auth]\nhs256_secret = \"hunter2 hunter2 hunter2 hunter2 hunter2\"\nalgorithms = [\"HS256\"]\n",
    );
    process.signal(Signal::SIGHUP).expect("it runs");
    let line = process.wait_for_line("configuration reloaded", LIMIT).await.expect("it says so");
    for part in ["limits.strikes", "auth.hs256_secret", "needsRestart", "stream.name"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!process.log().contains("hunter2"));
    let metrics = gateway.admin_get("/metrics").await.expect("an answer").1;
    for sample in ["odin_gateway_config_reloads_total{result=\"ok\"} 1", "{result=\"failed\"} 1"] {
        assert!(metrics.contains(sample), "{sample} is not in {metrics}");
    }
}
