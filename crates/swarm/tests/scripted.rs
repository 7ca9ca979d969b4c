//! The program against a gateway that breaks its promises: each of them is found.

use odin_protocol::{
    ClientMessage, Codec,
    frame::{Decoder, Limits, Message, Opcode, encode_close, encode_frame},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

const HELLO: &str = r#"{"type":"connection:status","status":"connected","connectionId":"c","heartbeatMs":25000,"connectedClients":1,"maxMessageBytes":65536}"#;

/// The server's end of a WebSocket.
struct Peer {
    stream: TcpStream,
    decoder: Decoder,
}

impl Peer {
    /// The next connection, with its request answered.
    async fn accept(listener: &TcpListener, answer: &str) -> Peer {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.expect("a request");
        }
        stream.write_all(answer.as_bytes()).await.expect("it listens");
        Peer { stream, decoder: Decoder::default() }
    }

    async fn say(&mut self, text: &str) {
        let mut bytes = Vec::new();
        encode_frame(Opcode::Text, text.as_bytes(), &mut bytes);
        self.stream.write_all(&bytes).await.expect("it listens");
    }

    async fn update(&mut self, prev: u64, seq: u64) {
        self.say(&format!(
            r#"{{"type":"update","channel":"price:T0","seq":{seq},"prev":{prev},"ts":5,"epoch":"k3j9x2m4","data":1}}"#
        ))
        .await;
    }

    /// Hears a `subscribe`, confirms it, and gives its `since`.
    async fn confirm(&mut self, recovered: bool) -> Option<String> {
        let limits = Limits { message_bytes: 65536, fragments: 1 };
        loop {
            let mut bytes = Vec::with_capacity(4096);
            assert!(self.stream.read_buf(&mut bytes).await.expect("it speaks") > 0, "it left");
            let mut since = None;
            let mut messages = self.decoder.read(&mut bytes, &limits);
            while let Some(message) = messages.next() {
                let Ok(Message::Text(text)) = message else { panic!("{message:?}") };
                let read = ClientMessage::decode(Codec::Json, text.as_bytes()).expect("a message");
                let ClientMessage::Subscribe { channels, .. } = read else { panic!("{read:?}") };
                since = Some(channels[0].since.clone());
            }
            if let Some(since) = since {
                self.say(&format!(
                    r#"{{"type":"subscribed","id":1,"channel":"price:T0","mode":"all","recovered":{recovered}}}"#
                ))
                .await;
                return since;
            }
        }
    }

    async fn close(mut self, code: u16) {
        let mut bytes = Vec::new();
        encode_close(code, "as told", &mut bytes);
        self.stream.write_all(&bytes).await.expect("it listens");
        let _ = self.stream.read_buf(&mut Vec::new()).await;
    }
}

const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: odin.v1.json\r\n\r\n";
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn finds_every_broken_promise_and_comes_back_as_the_codes_say() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
    let path = std::env::temp_dir().join(format!("odin-swarm-scripted-{}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-swarm"));
    command.args([
        "--url",
        &url,
        "--clients",
        "1",
        "--tokens",
        "1",
        "--mode",
        "all",
        "--resume",
        "--duration",
        "10min",
    ]);
    let child = command
        .args(["--quiet", "--report"])
        .arg(&path)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");

    let mut peer = Peer::accept(&listener, WELCOME).await;
    peer.say(HELLO).await;
    assert_eq!(peer.confirm(false).await, None, "there is no position yet");
    // The first one, its successor, a jump over 12, the same again, and an older one.
    for (prev, seq) in [(0, 10), (10, 11), (12, 13), (12, 13), (10, 11)] {
        peer.update(prev, seq).await;
    }
    // Announced, and so no loss.
    peer.say(r#"{"type":"gap","channel":"price:T0","after":13,"until":20,"reason":"removed"}"#).await;
    peer.update(20, 21).await;
    peer.say(r#"{"type":"update","channel":"price:T7","seq":1,"ts":5,"epoch":"k3j9x2m4","data":1}"#).await;
    peer.close(1012).await;
    drop(Peer::accept(&listener, FULL).await);
    // A loss in the gap between two connections.
    let mut peer = Peer::accept(&listener, WELCOME).await;
    peer.say(HELLO).await;
    assert_eq!(peer.confirm(true).await.as_deref(), Some("1.k3j9x2m4.21.5"));
    peer.update(24, 25).await;
    peer.close(4403).await;

    // It may not come back: it ends when it is told to.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().expect("it runs") as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("it runs");
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success());
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("a report")).expect("JSON");
    let figures = ["lost", "twice", "reordered", "gaps", "stray", "recovered", "drops", "ended", "connected", "tried"];
    let figures = figures.map(|name| report["figures"][name].as_f64().expect(name) as u64);
    assert_eq!(figures, [2, 1, 1, 1, 1, 1, 2, 1, 2, 3], "{report:#}");
    assert_eq!(report["counts"]["closes"], serde_json::json!({ "1012": 1, "4403": 1 }));
    assert_eq!(report["counts"]["refused"], serde_json::json!({ "503": 1 }));
    std::fs::remove_file(&path).expect("ours");
}
