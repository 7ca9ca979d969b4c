//! The `odin` program: what it prints, and how it ends.

use std::process::{Output, Stdio};

use odin_client::protocol::{ClientMessage, RequestId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Heard, Manners, Peer, Place, Server, soon};

/// The program with these arguments, nothing inherited that would change what it does.
pub(crate) fn odin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin"));
    command.args(args).env_remove("NO_COLOR");
    for name in ["ODIN_URL", "ODIN_NATS_URL", "ODIN_TOKEN", "ODIN_TOKEN_FILE", "ODIN_TLS_CA"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(crate) fn start(args: &[&str]) -> Child {
    odin(args).spawn().expect("the program starts")
}

pub(crate) async fn end(child: Child) -> Output {
    soon("the end of the program", child.wait_with_output()).await.expect("an outcome")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub(crate) async fn three_updates(server: &mut Server) -> Peer {
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    for seq in 1..=3 {
        peer.update("price:BTC", seq - 1, seq).await;
    }
    peer
}

#[tokio::test]
async fn tail_prints_one_line_of_json_for_each_update() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--json", "--count", "3", "--stats", "--url", &server.url(), "price:BTC"]);
    let _peer = three_updates(&mut server).await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 3);
    assert_eq!(
        lines.lines().next(),
        Some(
            r#"{"type":"update","channel":"price:BTC","seq":1,"prev":0,"ts":1,"epoch":"k3j9x2m4","data":{"price":1.5}}"#
        )
    );
    let notes = text(&output.stderr);
    assert!(notes.contains("updates     3 in"), "{notes}");
    assert!(notes.contains("0 announced, 0 not announced"), "{notes}");
}

#[tokio::test]
async fn tail_keeps_an_update_on_one_line() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--json", "--count", "1", "--url", &server.url(), "price:BTC"]);
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    peer.say("{\"type\":\"update\",\"channel\":\"price:BTC\",\"seq\":1,\"ts\":1,\"epoch\":\"k3j9x2m4\",\"data\":{\n \"a\":\r\n \"b\\n\"}}").await;
    let output = end(child).await;
    assert!(text(&output.stdout).ends_with("\"data\":{  \"a\":   \"b\\n\"}}\n"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn tail_prints_lines_for_people() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--count", "3", "--codec", "msgpack", "--url", &server.url(), "price:BTC"]);
    let _peer = three_updates(&mut server).await;
    let output = end(child).await;
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().next(), Some("00:00:00.001 price:BTC  1.5  clock skew  seq 1"));
}

#[tokio::test]
async fn watch_prints_lines_when_there_is_no_terminal() {
    let mut server = Server::start().await;
    let mut child = start(&["watch", "--url", &server.url(), "price:BTC"]);
    let _peer = three_updates(&mut server).await;
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = soon("a line", lines.next_line()).await.expect("readable").expect("a line");
    assert!(line.contains("price:BTC  1.5"), "{line}");
}

#[tokio::test]
async fn ends_quietly_when_nobody_reads_its_output() {
    let mut server = Server::start().await;
    let mut child = start(&["tail", "--json", "--url", &server.url(), "price:BTC"]);
    let mut peer = three_updates(&mut server).await;
    let mut output = child.stdout.take().expect("piped");
    soon("some output", output.read_u8()).await.expect("a byte");
    drop(output);
    // one write may still find a reader: a process that is just being started has a copy of everything
    let more = peer.say_until_gone(|number| {
        let (prev, seq) = (number + 3, number + 4);
        format!(
            r#"{{"type":"update","channel":"price:BTC","seq":{seq},"prev":{prev},"ts":1,"epoch":"k3j9x2m4","data":1}}"#
        )
    });
    let (output, ()) = tokio::join!(end(child), soon("a client that is gone", more));
    assert_eq!(output.status.code(), Some(0));
    let notes = text(&output.stderr);
    assert!(!notes.contains("panicked") && !notes.to_lowercase().contains("pipe"), "{notes}");
}

#[tokio::test]
async fn exit_code_2_for_a_channel_that_is_no_name() {
    let output = end(start(&["tail", "price:>"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("invalid channel \"price:>\""), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_2_for_an_address_that_makes_no_sense() {
    let output = end(start(&["tail", "--url", "http://x/", "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the scheme must be ws"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_2_for_a_message_that_is_not_json() {
    let output = end(start(&["publish", "price:BTC", "{"])).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_1_when_nats_is_not_there() {
    let output = end(start(&["publish", "--nats-url", "nats://127.0.0.1:1", "price:BTC", "{}"])).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot connect to NATS"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_3_when_no_gateway_is_there() {
    let nobody = Server::start().await.stop();
    let output = end(start(&["tail", "--max-attempts", "1", "--url", &nobody, "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("connection failed"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_3_when_the_gateway_closes_for_good() {
    let server = Server::with(Manners::Refuse { status: 403, retry_after: "1" }).await;
    let output = end(start(&["tail", "--url", &server.url(), "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(3));
}

#[tokio::test]
async fn exit_code_4_when_every_channel_is_refused() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--url", &server.url(), "signals:all"]);
    let mut peer = server.greet().await;
    let id = loop {
        match peer.hear().await {
            Heard::Message(ClientMessage::Subscribe { id: Some(RequestId::Number(id)), .. }) => break id,
            Heard::Message(ClientMessage::Ping { .. }) => {}
            other => panic!("expected a subscribe, heard {other:?}"),
        }
    };
    peer.say(&format!(
        r#"{{"type":"error","id":{id},"code":"auth_required","message":"sign in first","channel":"signals:all"}}"#
    ))
    .await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("signals:all auth_required: sign in first"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_5_when_too_few_updates_come_in_time() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--count", "9", "--seconds", "1.5", "--url", &server.url(), "price:BTC"]);
    let _peer = three_updates(&mut server).await;
    assert_eq!(end(child).await.status.code(), Some(5));
}

#[tokio::test]
async fn exit_code_6_when_the_gateway_broke_its_promise() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--json", "--events", "--stats", "--count", "3", "--url", &server.url(), "price:BTC"]);
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    for (prev, seq) in [(0, 1), (0, 1), (1, 2), (6, 7)] {
        peer.update("price:BTC", prev, seq).await;
    }
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let violations: Vec<_> = lines.lines().filter(|line| line.contains("violation")).collect();
    assert_eq!(
        violations,
        [
            r#"{"channel":"price:BTC","kind":"repeated","seq":1,"type":"violation"}"#,
            r#"{"after":2,"channel":"price:BTC","kind":"missing","type":"violation","until":6}"#
        ]
    );
    let notes = text(&output.stderr);
    assert!(notes.contains("2 VIOLATIONS"), "{notes}");
    assert!(notes.contains("0 announced, 1 not announced"), "{notes}");
    assert!(notes.contains("continue    --since price:BTC=1.k3j9x2m4.7.7"), "{notes}");
}

#[tokio::test]
async fn tail_prints_everything_a_program_needs_to_continue() {
    let mut server = Server::start().await;
    let child = start(&["tail", "--json", "--events", "--count", "1", "--url", &server.url(), "price:*"]);
    let mut peer = server.greet().await;
    peer.confirm(false).await;
    for message in [
        r#"{"type":"stale","reason":"bus_lost"}"#,
        r#"{"type":"live"}"#,
        r#"{"type":"gap","channel":"price:*","after":1,"until":2,"reason":"removed"}"#,
        r#"{"type":"checkpoint","cursor":"1.k3j9x2m4.4.4"}"#,
    ] {
        peer.say(message).await;
    }
    peer.update("price:BTC", 0, 5).await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "an announced gap is no violation");
    let types: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["type"].as_str().expect("text").to_owned()
        })
        .collect();
    assert_eq!(types, ["connected", "subscribed", "stale", "live", "gap", "checkpoint", "update"]);
}

#[tokio::test]
async fn tail_continues_where_the_last_run_with_the_file_ended() {
    let place = Place::new("continues");
    let mut server = Server::start().await;
    let url = server.url();
    let run = || start(&["tail", "--json", "--count", "2", "--cursor-file", place.path(), "--url", &url, "price:BTC"]);
    let child = run();
    let _peer = three_updates(&mut server).await;
    let output = end(child).await;
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 2));

    let child = run();
    let mut peer = server.greet().await;
    let asked = peer.confirm(true).await;
    assert!(asked.contains(r#""since":"1.k3j9x2m4.2.2""#), "what was not printed does not count: {asked}");
    for seq in 3..=4 {
        peer.update("price:BTC", seq - 1, seq).await;
    }
    assert!(text(&end(child).await.stdout).contains(r#""seq":3"#));
    assert!(std::fs::read_to_string(place.path()).expect("written").contains("price:BTC 1.k3j9x2m4.4.4"));
}

#[tokio::test]
async fn tail_keeps_its_place_when_it_is_killed() {
    let place = Place::new("killed");
    let mut server = Server::start().await;
    let mut child = start(&["tail", "--json", "--cursor-file", place.path(), "--url", &server.url(), "price:*"]);
    let mut peer = three_updates(&mut server).await;
    let kept = async {
        for seq in 4.. {
            peer.say(&format!(r#"{{"type":"checkpoint","cursor":"1.k3j9x2m4.{seq}.{seq}"}}"#)).await;
            if std::fs::read_to_string(place.path()).is_ok_and(|text| text.contains("price:* 1.k3j9x2m4.")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("the file", kept).await;
    child.kill().await.expect("it ran");
    let child = start(&["tail", "--cursor-file", place.path(), "--url", &server.url(), "price:*"]);
    let asked = server.greet().await.confirm(true).await;
    assert!(asked.contains(r#""since":"1.k3j9x2m4."#), "{asked}");
    drop(child);
}

#[tokio::test]
async fn exit_code_2_for_a_cursor_file_that_is_something_else() {
    let place = Place::new("other");
    std::fs::write(place.path(), "price:BTC 1\n").expect("writable");
    let output = end(start(&["tail", "--cursor-file", place.path(), "price:BTC"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot use cursor file"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn exit_code_1_when_the_position_cannot_be_kept() {
    let mut server = Server::start().await;
    let path = std::env::temp_dir().join("odin-no-such-folder").join("file");
    let path = path.to_str().expect("UTF-8");
    let child = start(&["tail", "--count", "3", "--cursor-file", path, "--url", &server.url(), "price:BTC"]);
    let _peer = three_updates(&mut server).await;
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot write cursor file"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn prints_completions_for_a_shell() {
    let output = end(start(&["completions", "bash"])).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("complete -F _odin"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn documents_the_exit_codes() {
    for command in ["watch", "tail", "publish"] {
        let output = end(start(&[command, "--help"])).await;
        assert!(text(&output.stdout).contains("Exit codes:"), "{command}");
    }
}
