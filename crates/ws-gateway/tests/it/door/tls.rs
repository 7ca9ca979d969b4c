//! Clients that come by TLS to the gateway itself.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use odin_protocol::{Codec, ServerMessage, close::CloseCode, message::RequestId};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use ws_gateway::{Listeners, Reload, config::Config};

use super::{GOOD, refuses, shake_on};
use crate::support::{Chains, Client, Gateway, Odin, Received, config, exchange_bytes, frame, in_time, request, until};

/// A certificate that clients here trust, in files.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let mut certificate =
            Self { der: CertificateDer::from(Vec::new()), folder: tempfile::tempdir().expect("a folder") };
        certificate.renew();
        certificate
    }

    /// Another certificate in the same files.
    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(self.cert_file(), made.cert.pem()).expect("written");
        std::fs::write(self.key_file(), made.signing_key.serialize_pem()).expect("written");
        self.der = made.cert.der().clone();
    }

    fn cert_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub(crate) fn is_for(&self, config: &mut Config) {
        config.tls.cert_file = Some(self.cert_file());
        config.tls.key_file = Some(self.key_file());
    }

    /// Connects as somebody who trusts this certificate and no other.
    async fn secure(
        &self,
        stream: TcpStream,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        in_time("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.expect("a connection");
        self.secure(stream, &[&TLS13]).await.expect("trusted")
    }

    async fn client(&self, address: SocketAddr) -> Client<TlsStream<TcpStream>> {
        client_on(self.connect(address).await, Codec::Json, b"").await
    }
}

/// A WebSocket on this connection, with bytes in the same write as the request.
async fn client_on(stream: TlsStream<TcpStream>, codec: Codec, early: &[u8]) -> Client<TlsStream<TcpStream>> {
    let protocol = format!("{GOOD}Sec-WebSocket-Protocol: {}\r\n", codec.protocol());
    let mut bytes = request("GET /ws HTTP/1.1", &protocol).into_bytes();
    bytes.extend_from_slice(early);
    Client::shake_hands(stream, &bytes, codec).await
}

#[tokio::test]
async fn serves_clients_by_tls_like_others() {
    let certificate = Certificate::new();
    let odin = Odin::start_with(|config| {
        certificate.is_for(config);
        config.http.require_tls = true;
    })
    .await;
    let mut clients = Vec::new();
    for (version, codec) in [(&TLS12, Codec::Json), (&TLS13, Codec::MsgPack), (&TLS13, Codec::Json)] {
        let stream = TcpStream::connect(odin.gateway.address).await.expect("a connection");
        let stream = certificate.secure(stream, &[version]).await.expect("trusted");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut client = client_on(stream, codec, b"").await;
        client.subscribe(&["price:BTC"]).await;
        clients.push(client);
    }
    let mut chains: Vec<Chains> = clients.iter().map(|_| Chains::default()).collect();
    for price in 0..50 {
        let seq = odin.publisher.price("BTC", price).await;
        for (client, chains) in clients.iter_mut().zip(&mut chains) {
            let update = client.update().await;
            assert_eq!(update.seq, seq);
            chains.take(&update);
        }
    }
    for client in &mut clients {
        assert!(client.sync(9).await.is_empty());
        client.send_raw(&frame(0x88, &[0x03, 0xE8])).await;
        assert!(matches!(client.next().await, Received::Close(Some(1000), _)));
        assert!(matches!(client.next().await, Received::End));
    }
    odin.gateway.metric_becomes("odin_gateway_connections", 0).await;
    odin.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"normal\"}", 3).await;
}

/// Checklist 10: frames in the same packet as the handshake, and a message in many records.
#[tokio::test]
async fn loses_nothing_between_tls_http_and_frames() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.limits.messages_per_second = 60_000;
    });
    // More than one record, all of it before the answer to the request: hyper has read some of it, TLS some more.
    let mut early = Vec::new();
    let pings = 400;
    for id in 0..pings {
        early.extend(frame(0x81, format!(r#"{{"type":"ping","id":{id},"padding":"{}"}}"#, "x".repeat(100)).as_bytes()));
    }
    assert!(early.len() > 3 * 16 * 1024);
    let mut client = client_on(certificate.connect(gateway.address).await, Codec::Json, &early).await;
    for id in 0..pings {
        let pong = client.message().await;
        assert!(matches!(pong, ServerMessage::Pong { id: Some(RequestId::Number(n)), .. } if n == id), "{pong:?}");
    }
    // One message, in as many records as it has pieces.
    let message = format!(r#"{{"type":"ping","id":7,"padding":"{}"}}"#, "y".repeat(60_000));
    for piece in frame(0x81, message.as_bytes()).chunks(700) {
        client.send_raw(piece).await;
        client.stream.flush().await.expect("sent");
    }
    assert!(matches!(client.message().await, ServerMessage::Pong { id: Some(RequestId::Number(7)), .. }));
}

/// Checklist 32: a peer that does not read.
#[tokio::test]
async fn lets_a_slow_reader_catch_up_over_tls() {
    let certificate = Certificate::new();
    let odin = Odin::start_with(|config| {
        certificate.is_for(config);
        config.sockets.send_buffer_bytes = Some(16 * 1024);
        config.sockets.notsent_lowat_bytes = Some(16 * 1024);
    })
    .await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size the system takes");
    let stream = socket.connect(odin.gateway.address).await.expect("a connection");
    let stream = certificate.secure(stream, &[&TLS13]).await.expect("trusted");
    let mut slow = client_on(stream, Codec::Json, b"").await;
    slow.subscribe_all(&["price:BTC"]).await;
    let mut awake = certificate.client(odin.gateway.address).await;
    awake.subscribe_all(&["price:BTC"]).await;
    let (sequences, ()) = tokio::join!(odin.publisher.prices("BTC", 1, 1000, 1000), async {
        for _ in 0..1000 {
            awake.update().await;
        }
    });
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 1).await;
    let mut chains = Chains::default();
    for seq in &sequences {
        let update = slow.update().await;
        assert_eq!(update.seq, *seq);
        chains.take(&update);
    }
    odin.gateway.metric_becomes("odin_gateway_connections_behind", 0).await;
    let seq = odin.publisher.price("BTC", 1).await;
    assert_eq!((slow.update().await.seq, awake.update().await.seq), (seq, seq));
}

/// Checklist 32: a peer that does not read and is told to leave: the last words wait for it, but not for long.
#[tokio::test]
async fn says_goodbye_to_whoever_reads_again() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| certificate.is_for(config));
    let mut client = certificate.client(gateway.address).await;
    client.send_text(r#"{"type":"ping","id":1}"#).await;
    client.send_raw(&frame(0x82, b"binary, on a connection of text")).await;
    assert!(matches!(client.message().await, ServerMessage::Pong { .. }));
    assert!(matches!(client.next().await, Received::Close(code, _) if code == Some(CloseCode::UnsupportedData.code())));
    let end = client.stream.read(&mut [0; 1]).await.expect("an end with a word, or the client's TLS would fail");
    assert_eq!(end, 0);
    // Now by the client's TLS, without a word of WebSocket.
    let mut client = certificate.client(gateway.address).await;
    client.stream.shutdown().await.expect("sent");
    gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"peer_gone\"}", 1).await;
    gateway.metric_becomes("odin_gateway_connections", 0).await;
}

/// Checklist 3: garbage, silence, or half a ClientHello on the port of TLS.
#[tokio::test]
async fn counts_those_who_do_not_get_through_the_tls_handshake() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.limits.handshake_timeout = Duration::from_secs(1);
    });
    let mut bystander = certificate.client(gateway.address).await;
    let plain = request("GET /ws HTTP/1.1", GOOD);
    for garbage in [plain.as_bytes(), &[0; 64], &[0xFF; 40_000], b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"] {
        let answer = exchange_bytes(gateway.address, garbage).await;
        assert!(answer.is_empty() || answer.starts_with(b"\x15\x03"), "an alert: {answer:?}");
    }
    refuses(&gateway, "tls", 4).await;
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec();
    hello.resize(300, 0);
    for stalled in [&b""[..], &hello] {
        assert_eq!(exchange_bytes(gateway.address, stalled).await, b"");
    }
    refuses(&gateway, "timeout", 2).await;
    // Who does not trust us says so, and leaves.
    let stream = TcpStream::connect(gateway.address).await.expect("a connection");
    Certificate::new().secure(stream, &[&TLS13]).await.expect_err("not trusted");
    refuses(&gateway, "tls", 5).await;
    assert!(bystander.sync(1).await.is_empty());
    gateway.metric_becomes("odin_gateway_handshakes_pending", 0).await;
}

/// Checklist 2: a TLS handshake, and then a request that never ends.
#[tokio::test]
async fn has_one_limit_for_tls_and_http() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.limits.handshake_timeout = Duration::from_secs(1);
    });
    let mut stream = certificate.connect(gateway.address).await;
    in_time("the gateway to lose patience", async {
        while stream.write_all(b"GET /ws HTTP/1.1\r\nX: x").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    refuses(&gateway, "timeout", 1).await;
}

/// Checklist 12: more connections than there is room for, each of which would cost a signature.
#[tokio::test]
async fn resets_connections_beyond_the_cap_before_tls() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.limits.connections = 1;
    });
    let first = certificate.client(gateway.address).await;
    for _ in 0..3 {
        let refused = in_time("a reset", async {
            let stream = TcpStream::connect(gateway.address).await.ok()?;
            certificate.secure(stream, &[&TLS13]).await.ok()
        });
        assert!(refused.await.is_none());
    }
    refuses(&gateway, "capacity", 3).await;
    drop(first);
    gateway.metric_becomes("odin_gateway_connections", 0).await;
    assert!(certificate.client(gateway.address).await.sync(1).await.is_empty());
}

/// Checklist 11: a PROXY header stands before TLS, and not a byte of TLS is lost behind it.
#[tokio::test]
async fn takes_a_proxy_header_before_tls() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.http.proxy_protocol = true;
        config.http.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        config.limits.connections_per_ip = Some(1);
    });
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n").await.expect("sent");
    let stream = certificate.secure(stream, &[&TLS13]).await.expect("trusted");
    let mut client = client_on(stream, Codec::Json, b"").await;
    assert!(client.sync(1).await.is_empty());
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 4712 443\r\n").await.expect("sent");
    assert!(certificate.secure(stream, &[&TLS13]).await.is_err(), "sent away before TLS");
    refuses(&gateway, "address", 1).await;
}

#[tokio::test]
async fn answers_refusals_by_tls_too() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| {
        certificate.is_for(config);
        config.http.allow_missing_origin = false;
    });
    let (answer, _) = shake_on(certificate.connect(gateway.address).await, "/ws", "").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &"origin_not_allowed".into()));
}

/// Checklist 56: a certificate that is renewed, and one that is broken.
#[tokio::test]
async fn takes_a_renewed_certificate_for_those_who_come_and_keeps_it_when_the_next_is_broken() {
    let mut certificate = Certificate::new();
    let mut config = config("nats://127.0.0.1:1");
    certificate.is_for(&mut config);
    let again = config.clone();
    let reload = Reload::new(move || Ok(again.clone()));
    let reloader = reload.reloader();
    let gateway = Gateway::start_reloadable(config, reload);
    let mut before = certificate.client(gateway.address).await;
    certificate.renew();
    let stream = TcpStream::connect(gateway.address).await.expect("a connection");
    certificate.secure(stream, &[&TLS13]).await.expect_err("not in force yet");
    until("the gateway to run", async || reloader.reload().await.ok()).await;
    let mut after = certificate.client(gateway.address).await;
    std::fs::write(certificate.key_file(), "no key").expect("written");
    let error = reloader.reload().await.expect_err("broken").to_string();
    assert!(error.contains("key.pem") && !error.contains("no key"), "{error}");
    let mut last = certificate.client(gateway.address).await;
    for client in [&mut before, &mut after, &mut last] {
        assert!(client.sync(1).await.iter().all(|message| !matches!(message, ServerMessage::Error(_))));
    }
}

#[tokio::test]
async fn does_not_start_without_its_certificate() {
    let mut config = config("nats://127.0.0.1:1");
    config.tls.cert_file = Some("/nowhere/cert.pem".into());
    config.tls.key_file = Some("/nowhere/key.pem".into());
    let listeners = Listeners::bind(&config).expect("free ports");
    let error = ws_gateway::run(config, listeners, std::future::pending()).await.expect_err("no certificate");
    assert_eq!(error.to_string(), "cannot speak TLS");
}

/// The admin listener is for machines of the same network: it has no TLS, and says nothing on the public address.
#[tokio::test]
async fn has_its_metrics_beside_tls() {
    let certificate = Certificate::new();
    let gateway = Gateway::without_nats(|config| certificate.is_for(config));
    assert_eq!(gateway.get("/livez").await.status, 200);
    let mut stream = certificate.connect(gateway.address).await;
    stream.write_all(request("GET /metrics HTTP/1.1", "").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer, and an end with a word");
    assert!(answer.starts_with(b"HTTP/1.1 404"));
}

/// What an idle, subscribed connection costs, with TLS and without. Ask for it by
/// `cargo test -p ws-gateway --test it -- --ignored --nocapture costs_of_idle_connections`.
#[tokio::test]
#[ignore = "a measurement"]
async fn costs_of_idle_connections() {
    const COUNT: i64 = 4000;
    let certificate = Certificate::new();
    let nats = odin_devkit::NatsServer::start().await.expect("a nats-server");
    ws_gateway::provision::provision(&config(&nats.url()), false).await.expect("streams");
    let files = [("--tls-cert-file", certificate.cert_file()), ("--tls-key-file", certificate.key_file())];
    let with_tls: Vec<_> = files.into_iter().flat_map(|(flag, file)| [flag.into(), file.into_os_string()]).collect();
    for args in [Vec::new(), with_tls] {
        let is_secure = !args.is_empty();
        let binary = env!("CARGO_BIN_EXE_ws-gateway");
        let gateway = odin_devkit::Gateway::builder(binary, nats.url()).args(["--shards", "1"]).args(args);
        let gateway = gateway.start().await.expect("a gateway");
        let address: SocketAddr = gateway.listen().parse().expect("an address");
        let resident = async || {
            // The allocator gives back what a storm of handshakes needed, in its own time.
            tokio::time::sleep(Duration::from_secs(3)).await;
            let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("a process");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a number");
            line.trim().trim_end_matches(" kB").parse::<i64>().expect("a number") * 1024
        };
        let (mut plain, mut secure) = (Vec::new(), Vec::new());
        let mut connect = async |count| {
            for _ in 0..count {
                if is_secure {
                    let mut client = certificate.client(address).await;
                    client.subscribe(&["price:BTC"]).await;
                    secure.push(client);
                } else {
                    let mut client = Client::dial(address, crate::support::Dial::default()).await;
                    client.subscribe(&["price:BTC"]).await;
                    plain.push(client);
                }
            }
        };
        // What is there once, whatever the number.
        connect(COUNT).await;
        let before = resident().await;
        connect(COUNT).await;
        println!("tls: {is_secure}, bytes of each connection: {}", (resident().await - before) / COUNT);
    }
}
