//! A whole gateway inside the library's own tests, where a connection can be made to hit a fault of ours.

use std::{net::SocketAddr, num::NonZeroUsize};

use odin_protocol::{
    close::CloseCode,
    frame::{Opcode, encode_frame},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use crate::{Listeners, config::Config, run};

/// What a client says to hit it.
const FAULT: &[u8] = b"hit a fault";

/// Called with every message of a client.
pub(super) fn hit_fault(message: &[u8]) {
    assert!(message != FAULT, "a fault of ours, as the test wants it");
}

/// A masked text frame with a key of zeros, which changes nothing.
fn text(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(Opcode::Text, message, &mut frame);
    frame[1] |= 0x80;
    frame.splice(2..2, [0; 4]);
    frame
}

async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = "GET /ws HTTP/1.1\r\nHost: odin\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

/// Reads until `what` has come.
async fn read_until(stream: &mut TcpStream, what: &[u8]) {
    let mut read = Vec::new();
    while !read.windows(what.len()).any(|part| part == what) {
        let count = stream.read_buf(&mut read).await.expect("readable");
        assert!(
            count > 0,
            "ended before {:?} came: {:?}",
            String::from_utf8_lossy(what),
            String::from_utf8_lossy(&read)
        );
    }
}

async fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: odin\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("metrics");
    text
}

/// Checklist 58: a panic while one connection is served ends that one, is counted, and disturbs nobody.
#[tokio::test]
async fn a_fault_in_one_connection_ends_only_that_one() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config { listen: local, admin_listen: local, shards: NonZeroUsize::MIN, ..Config::default() };
    // Port 1 is nobody's.
    config.nats.urls = vec!["nats://127.0.0.1:1".to_owned()];
    config.drain.pause = std::time::Duration::ZERO;
    config.drain.window = std::time::Duration::ZERO;
    let listeners = Listeners::bind(&config).expect("free ports");
    let (address, admin) = (listeners.address(), listeners.admin_address());
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = tokio::spawn(run(config, listeners, async {
        let _ = stopped.await;
    }));

    let mut bystander = connect(address).await;
    read_until(&mut bystander, b"connection:status").await;
    for _ in 0..3 {
        let mut unlucky = connect(address).await;
        read_until(&mut unlucky, b"connection:status").await;
        unlucky.write_all(&text(FAULT)).await.expect("sent");
        read_until(&mut unlucky, CloseCode::InternalError.reason().as_bytes()).await;
        let mut rest = Vec::new();
        // A reset is as good an end as any.
        let _ = unlucky.read_to_end(&mut rest).await;
    }
    bystander.write_all(&text(br#"{"type":"ping","id":"still here"}"#)).await.expect("sent");
    read_until(&mut bystander, b"still here").await;

    let lines = [
        "odin_gateway_panics_total 3",
        "odin_gateway_connections 1",
        "odin_gateway_connections_behind 0",
        "odin_gateway_connections_closed_total{reason=\"internal\"} 3",
    ];
    // What is counted after the last byte was written comes a moment later.
    let counted = async {
        let mut text = String::new();
        while !lines.iter().all(|line| text.contains(&format!("\n{line}\n"))) {
            text = metrics(admin).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.expect("counted");
    drop((bystander, stop));
    let outcome = gateway.await.expect("no panic").expect("a good end");
    assert_eq!(outcome.remained, 0);
}
