//! A host that runs out of something, and a log that is written to by strangers. Real processes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use odin_devkit::{NatsServer, Process, write_script};
use odin_protocol::message::ServerMessage;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use ws_gateway::provision::provision;

use crate::support::{Client, Dial, Feeder, PATIENCE, config, exchange, in_seconds, in_time, request, token, until};

const BINARY: &str = env!("CARGO_BIN_EXE_ws-gateway");

const GOOD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The program, after a line of shell.
fn after(line: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("ws-gateway");
    write_script(&script, &format!("{line}\nexec {BINARY} \"$@\""));
    (folder, script)
}

/// Processor time that a process has used so far, in hundredths of a second.
fn used_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The name, in brackets, may have spaces; behind it `utime` and `stime` are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a free port")
}

/// Checklist 55, 12: no file descriptor left for clients. Those there are get their data, probes and metrics are
/// answered, the accept loop does not spin, and whoever comes when others have left is served.
#[tokio::test]
async fn keeps_serving_when_file_descriptors_run_out() {
    let nats = NatsServer::start().await.expect("a nats-server");
    provision(&config(&nats.url()), false).await.expect("streams");
    let publisher = Feeder::connect(vec![nats.url()]).await;
    let (_folder, script) = after("ulimit -n 100");
    let gateway = odin_devkit::Gateway::builder(script, nats.url()).args(["--shards", "1"]).start().await;
    let gateway = gateway.expect("a gateway");
    let address: SocketAddr = gateway.listen().parse().expect("an address");
    let mut there = Client::dial(address, Dial::default()).await;
    there.subscribe(&["price:BTC"]).await;

    let mut crowd = Vec::new();
    let exhausted = in_time("an accept that fails", gateway.process().wait_for_line("cannot accept", PATIENCE));
    tokio::pin!(exhausted);
    let line = loop {
        tokio::select! {
            line = &mut exhausted => break line.expect("a line"),
            // Twice as many as it can have.
            stream = TcpStream::connect(address), if crowd.len() < 200 => {
                // Reset, from some number on.
                if let Ok(mut stream) = stream {
                    let _ = stream.write_all(request("GET /ws HTTP/1.1", GOOD).as_bytes()).await;
                    crowd.push(stream);
                }
            }
        }
    };
    assert!(line.contains("\"level\":\"warn\""), "{line}");

    let (used, began) = (used_ticks(gateway.pid()), Instant::now());
    let mut price = 0;
    while began.elapsed() < Duration::from_secs(1) {
        price += 1;
        let seq = publisher.price("BTC", price).await;
        assert_eq!(there.update().await.seq, seq);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = in_time("an answer of the admin listener", gateway.admin_get(path)).await;
        assert_eq!(answer.expect("an answer").0, 200, "{path}");
    }
    let used = used_ticks(gateway.pid()) - used;
    let passed = began.elapsed().as_millis() as u64 / 10;
    assert!(used < passed / 2, "{used} of {passed} hundredths of a second: it spins");
    let warnings = gateway.process().log().lines().filter(|line| line.contains("cannot accept")).count();
    assert!(warnings <= 3, "{warnings} lines: a flood");

    drop(crowd);
    let mut late = Client::dial(address, Dial::default()).await;
    late.subscribe(&["price:BTC"]).await;
    let seq = publisher.price("BTC", 0).await;
    until("the price", async || (late.update().await.seq == seq).then_some(())).await;
    assert_eq!(there.update().await.seq, seq);
}

/// Starts a gateway by this line of shell, in which `$0` is the program and `$@` what it needs; gives where it listens.
async fn started_by(line: &str) -> (Process, SocketAddr) {
    let address = free_address();
    let process = Process::builder("gateway", "/bin/sh")
        .args(["-c", line, BINARY, "serve", "--shards", "1", "--nats-url", "nats://127.0.0.1:1"])
        .args(["--admin-listen", "127.0.0.1:0", "--log-level", "trace"])
        .args(["--listen".to_owned(), address.to_string()])
        .spawn()
        .expect("a shell");
    until("a gateway", async || TcpStream::connect(address).await.ok()).await;
    (process, address)
}

/// Makes it log a lot, and expects to be served as ever.
async fn is_served_whatever_it_logs(address: SocketAddr) {
    let mut there = Client::dial(address, Dial::default()).await;
    for n in 0..500 {
        assert_eq!(exchange(address, &request(&format!("GET /{n} HTTP/1.1"), "")).await.status, 404);
    }
    there.sync(1).await;
    Client::dial(address, Dial::default()).await.sync(1).await;
}

/// Checklist 55: the disk for the log is full.
#[tokio::test]
async fn needs_no_log_to_serve() {
    let (process, address) = started_by("exec \"$0\" \"$@\" 2>/dev/full").await;
    is_served_whatever_it_logs(address).await;
    assert!(process.is_running());
    let status = process.terminate(Duration::from_secs(45)).await.expect("an end");
    assert!(status.success(), "{status}");
}

/// Checklist 55: whoever collects the log has stopped reading it.
#[tokio::test]
async fn waits_for_nobody_who_reads_its_log() {
    let (process, address) = started_by("\"$0\" \"$@\" 2>&1 >/dev/null | sleep 1000").await;
    is_served_whatever_it_logs(address).await;
    assert!(process.is_running());
}

/// Checklist 60: line breaks, escapes and whole entries of a log, in everything that a client can say.
#[tokio::test]
async fn lets_nobody_write_lines_into_its_log() {
    let gateway = odin_devkit::Gateway::builder(BINARY, "nats://127.0.0.1:1").args(["--log-level", "trace"]);
    let gateway = gateway.start_listening().await.expect("a gateway");
    let address: SocketAddr = gateway.listen().parse().expect("an address");
    let forged = r#"{"level":"forged","message":"by a client"}"#;
    let stream = in_time("a connection", TcpStream::connect(address)).await.expect("a connection");
    let headers = format!(
        "{GOOD}User-Agent: x\t\\n{forged}\r\nOrigin: https://a.example\\n{forged}\r\n\
         X-Forwarded-For: {forged}\r\nSec-WebSocket-Protocol: odin.v1.json, {forged}\r\n"
    );
    let text = request(&format!("GET /ws?q=%0a{} HTTP/1.1", "%7b%22level%22%3a%22forged%22%7d"), &headers);
    let mut client = Client::shake_hands(stream, text.as_bytes(), odin_protocol::Codec::Json).await;
    let escaped = forged.replace('"', "\\\"");
    for text in [
        format!(r#"{{"type":"subscribe","id":"\n{escaped}\n","channels":["price:\n{escaped}\n"]}}"#),
        format!(r#"{{"type":"\n{escaped}\n"}}"#),
        format!(r#"{{"type":"auth","token":"\n{escaped}\n"}}"#),
        format!("\n{forged}\n"),
    ] {
        client.send_text(&text).await;
        client.error().await;
    }
    let agent = format!("User-Agent: \u{1b}[31m\r{forged}\r\n");
    for (line, headers) in [
        ("GET /%0aforged HTTP/1.1".to_owned(), ""),
        (format!("\n{forged}\n\nGET / HTTP/1.1"), ""),
        ("GET /ws HTTP/1.1".to_owned(), &*agent),
    ] {
        exchange(address, &request(&line, headers)).await;
    }
    let log = gateway.process().log();
    let mut count = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no entry: {line}"));
        let level = line["level"].as_str().expect("a level");
        assert!(["trace", "debug", "info", "warn", "error"].contains(&level), "{line}");
        count += 1;
    }
    assert!(count > 10, "nothing was logged, so nothing is proved");
}

/// Where Debian's package `faketime` has its library.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

/// Checklist 55: the clock of the host jumps by an hour, forwards and back. Timers do not notice: nobody is taken for
/// silent, idle or expired, and everything goes on.
#[tokio::test]
async fn serves_on_when_the_clock_jumps_by_an_hour() {
    let Some(library) = FAKETIME.iter().find(|path| fs::exists(path).is_ok_and(|is_there| is_there)) else {
        assert!(std::env::var_os("CI").is_none(), "libfaketime is missing: install the package faketime");
        eprintln!("skipped: libfaketime is missing");
        return;
    };
    let nats = NatsServer::start().await.expect("a nats-server");
    provision(&config(&nats.url()), false).await.expect("streams");
    let publisher = Feeder::connect(vec![nats.url()]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").expect("written");
    let (_script, script) = after(&format!(
        "export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
        clock.display()
    ));
    let gateway = odin_devkit::Gateway::builder(script, nats.url())
        .args(["--shards", "1", "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s"])
        .args(["--heartbeat-not-reading-timeout", "3s", "--heartbeat-idle-timeout", "1m"])
        .args(["--auth-algorithms", "HS256", "--auth-hs256-secret", "a secret of thirty-two bytes or more"])
        .start()
        .await
        .expect("a gateway");
    let address: SocketAddr = gateway.listen().parse().expect("an address");
    let mut client = Client::dial(address, Dial::default()).await;
    client.sign_in(&token("ada", serde_json::json!({ "exp": in_seconds(1800) }))).await;
    client.subscribe(&["price:BTC", "trades"]).await;
    for offset in ["+3600", "-3600", "+0"] {
        fs::write(&clock, offset).expect("written");
        // The gateway's own word for the time shows that it jumped.
        client.ping(1).await;
        let off_s = match client.message().await {
            ServerMessage::Pong { ts, .. } => ts / 1000 - in_seconds(0),
            other => panic!("{other:?}"),
        };
        assert!((off_s - offset.parse::<i64>().expect("a number")).abs() < 60, "{offset}: {off_s}");
        // Longer than every limit in time above.
        for price in 0..40 {
            let seq = publisher.price("BTC", price).await;
            assert_eq!(client.update().await.seq, seq);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(gateway.admin_get("/readyz").await.expect("an answer").0, 200);
    let metrics = gateway.admin_get("/metrics").await.expect("an answer").1;
    assert!(metrics.contains("\nodin_gateway_panics_total 0\n"), "{metrics}");
}
